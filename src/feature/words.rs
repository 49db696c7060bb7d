//! What a feature is called when it is named to people, as a reason of a decision.

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::domain::value::ValueType;

/// Most entries of one catalogue.
pub const WORDS_MAX: usize = 4_096;
/// Longest words, in bytes.
pub const WORDS_BYTES_MAX: usize = 200;

/// Words for all features with such a name.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct WordsEntry {
    /// A name; each `*` in it stands for any part of a name.
    pub features: Spanned<String>,
    /// The words; `{1}` is what the first `*` stands for, and so on.
    pub say: String,
}

impl WordsEntry {
    /// The words for a feature, if they are for it.
    pub fn for_feature(&self, name: &str) -> Option<String> {
        let parts = parts(&self.features.value, name)?;
        let words = self.say.clone();
        let say =
            |words: String, (number, part): (usize, &str)| words.replace(&format!("{{{number}}}"), part);
        Some((1..).zip(parts).fold(words, say))
    }
}

/// What each `*` of a pattern stands for in a name: as little as possible, from the left. `None` when the name is not like that.
fn parts<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let mut pieces = pattern.split('*');
    let mut rest = name.strip_prefix(pieces.next()?)?;
    let Some(last) = pieces.next_back() else { return rest.is_empty().then(Vec::new) };
    let mut parts = Vec::new();
    for piece in pieces {
        let (part, after) = rest.split_once(piece)?;
        parts.push(part);
        rest = after;
    }
    parts.push(rest.strip_suffix(last)?);
    Some(parts)
}

/// The words and the value: `attempts of this card in 1h: 12`.
pub fn sentence(words: &str, value_type: ValueType, value: f64) -> String {
    let text = match value_type {
        _ if value.is_nan() => "missing".to_owned(),
        ValueType::Bool => (if value == 0.0 { "no" } else { "yes" }).to_owned(),
        _ if value == 0.0 => "0".to_owned(),
        // Enough digits to see the value, whatever its size.
        _ if !(1e-3..1e15).contains(&value.abs()) => format!("{value:.2e}"),
        _ if value == value.trunc() => format!("{value:.0}"),
        _ if value.abs() >= 1.0 => trimmed(&format!("{value:.2}")),
        _ => trimmed(&format!("{value:.4}")),
    };
    format!("{words}: {text}")
}

fn trimmed(number: &str) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_part_of_a_name() {
        let cases = [
            ("card.speed_kmh", "card.speed_kmh", Some(vec![])),
            ("card.speed_kmh", "card.speed_kmh_2", None),
            ("*.count_*", "card.count_5m", Some(vec!["card", "5m"])),
            ("*.count_*", "card.count_1h_share_of_24h", Some(vec!["card", "1h_share_of_24h"])),
            ("*.count_*", "card.approved_count_5m", None),
            ("*.*_distinct_*", "card.ip_distinct_24h", Some(vec!["card", "ip", "24h"])),
            ("tx.*", "tx.hour", Some(vec!["hour"])),
            ("*", "tx.hour", Some(vec!["tx.hour"])),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(parts(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_sentence_shows_the_value_as_people_write_it() {
        let say = |value_type, value| sentence("it", value_type, value);
        assert_eq!(say(ValueType::Int, 12.0), "it: 12");
        assert_eq!(say(ValueType::Double, 12.5), "it: 12.5");
        assert_eq!(say(ValueType::Double, 1_234.567), "it: 1234.57");
        assert_eq!(say(ValueType::Double, -0.062_51), "it: -0.0625");
        assert_eq!(say(ValueType::Double, 0.000_031), "it: 3.10e-5");
        assert_eq!(say(ValueType::Double, -1e300), "it: -1.00e300");
        assert_eq!(say(ValueType::Double, -0.0), "it: 0");
        assert_eq!(say(ValueType::Double, f64::NAN), "it: missing");
        assert_eq!([0.0, 1.0].map(|value| say(ValueType::Bool, value)), ["it: no", "it: yes"]);
    }
}
