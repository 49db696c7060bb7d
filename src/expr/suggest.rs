//! "Did you mean": the nearest known name by edit distance.

/// Names longer than this are not compared: the cost is quadratic.
const NAME_BYTES_MAX: usize = 128;

/// The candidate nearest to `wrong`, if it is near enough to be a misspelling: at most a third of its letters differ.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if wrong.len() > NAME_BYTES_MAX {
        return None;
    }
    let allowed = (wrong.chars().count() / 3).clamp(1, 6);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(wrong.len()) <= allowed * 4 && *candidate != wrong)
        .map(|candidate| (distance(wrong, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours cost one each; case is free.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let substitution = last[j] + usize::from(from != to);
            let mut best = substitution.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbour() {
        let names = ["card.count_5m", "card.count_1h", "customer.id", "score", "amount"];
        let cases = [
            ("card.cuont_5m", Some("card.count_5m")),
            ("card.count5m", Some("card.count_5m")),
            ("custmer.id", Some("customer.id")),
            ("Score", Some("score")),
            ("amont", Some("amount")),
            ("weather", None),
            ("", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(nearest(wrong, names).as_deref(), expected, "{wrong}");
        }
        assert_eq!(nearest(&"x".repeat(10_000), names), None);
    }

    #[test]
    fn swaps_cost_one() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
