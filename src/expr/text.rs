//! The string functions of CEL's strings extension. Positions are counted in Unicode code points, from 0; a position outside
//! the text is CEL's error, so `None`.

/// Longest text that `replace` makes, in bytes: calls of it can stand inside each other, and each could multiply the length.
pub(crate) const REPLACED_BYTES_MAX: usize = 64 * 1024;

/// The byte at which code point number `position` begins; the text's length for the position just behind the last one.
fn byte_at(text: &str, position: i64) -> Option<usize> {
    let position = usize::try_from(position).ok()?;
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(position)
}

fn position_of(text: &str, byte: usize) -> Option<i64> {
    i64::try_from(text.get(..byte)?.chars().count()).ok()
}

/// From one position up to another, or to the end.
pub(crate) fn substring(text: &str, from: i64, to: Option<i64>) -> Option<&str> {
    let start = byte_at(text, from)?;
    let end = to.map_or(Some(text.len()), |to| byte_at(text, to))?;
    text.get(start..end)
}

/// One code point as a text; just behind the last one there is the empty text.
pub(crate) fn char_at(text: &str, position: i64) -> Option<&str> {
    let rest = text.get(byte_at(text, position)?..)?;
    rest.get(..rest.chars().next().map_or(0, char::len_utf8))
}

/// Where `part` begins first at `from` or later; -1 when it does not.
pub(crate) fn index_of(text: &str, part: &str, from: i64) -> Option<i64> {
    let start = byte_at(text, from)?;
    match text.get(start..)?.find(part) {
        Some(byte) => position_of(text, start + byte),
        None => Some(-1),
    }
}

/// Where `part` begins last, at `at` or earlier; -1 when it does not.
pub(crate) fn last_index_of(text: &str, part: &str, at: Option<i64>) -> Option<i64> {
    let start = at.map_or(Some(text.len()), |at| byte_at(text, at))?;
    let end = start.saturating_add(part.len()).min(text.len());
    // A match of whole characters in UTF-8 begins and ends between characters, also where `end` does not.
    match memchr::memmem::rfind(text.as_bytes().get(..end)?, part.as_bytes()) {
        Some(byte) => position_of(text, byte),
        None => Some(-1),
    }
}

/// With the first `limit` occurrences of `old` replaced; all of them when `limit` is negative. `None` when that gets too long.
pub(crate) fn replace(text: &str, old: &str, new: &str, limit: i64) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = text.matches(old).take(limit).count();
    let grown = count.checked_mul(new.len())?.checked_add(text.len())?;
    if grown - count * old.len() > REPLACED_BYTES_MAX {
        return None;
    }
    Some(text.replacen(old, new, limit))
}

/// As `bool(x)` reads a text.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_replacement_is_bounded() {
        let long = "a".repeat(1_000);
        assert_eq!(replace(&long, "a", &"b".repeat(65), -1).map(|text| text.len()), Some(65_000));
        assert_eq!(replace(&long, "a", &"b".repeat(66), -1), None);
        assert_eq!(replace(&long, "a", &"b".repeat(66), 10).map(|text| text.len()), Some(990 + 660));
        assert_eq!(replace("", "", &"b".repeat(REPLACED_BYTES_MAX + 1), -1), None);
        assert_eq!(replace(&long, &long, "", -1).as_deref(), Some(""));
    }

    /// The same over a list of characters.
    fn find(text: &[char], part: &[char], positions: impl Iterator<Item = usize>) -> i64 {
        for position in positions {
            if text[position..].starts_with(part) {
                return i64::try_from(position).unwrap();
            }
        }
        -1
    }

    proptest! {
        #[test]
        fn positions_are_those_of_a_list_of_characters(text in "[aä€😀]{0,8}", part in "[aä€😀]{0,3}", from in -2_i64..11, to in -2_i64..11) {
            let (chars, parts): (Vec<char>, Vec<char>) = (text.chars().collect(), part.chars().collect());
            let inside = |position: i64| usize::try_from(position).ok().filter(|position| *position <= chars.len());
            let expected = inside(from).zip(inside(to)).filter(|(from, to)| from <= to)
                .map(|(from, to)| chars[from..to].iter().collect::<String>());
            prop_assert_eq!(substring(&text, from, Some(to)), expected.as_deref());
            let expected = inside(from).map(|at| chars.get(at).map(char::to_string).unwrap_or_default());
            prop_assert_eq!(char_at(&text, from), expected.as_deref());
            prop_assert_eq!(index_of(&text, &part, from), inside(from).map(|from| find(&chars, &parts, from..=chars.len())));
            prop_assert_eq!(last_index_of(&text, &part, Some(from)), inside(from).map(|at| find(&chars, &parts, (0..=at).rev())));
            prop_assert_eq!(last_index_of(&text, &part, None), Some(find(&chars, &parts, (0..=chars.len()).rev())));
        }
    }
}
