//! "Did you mean": the nearest known name.

/// Names longer than this are not compared: the cost is quadratic.
const NAME_BYTES_MAX: usize = 128;

/// The candidate nearest to `wrong` by edit distance, if at most a third of its letters differ.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let allowed = (wrong.chars().count() / 3).clamp(1, 6);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != wrong && candidate.len().max(wrong.len()) <= NAME_BYTES_MAX)
        .map(|candidate| (edit_distance(&wrong.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein's distance: insertions, deletions and substitutions cost one each.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbour() {
        let names = ["tx_id", "customer_id", "amount"];
        let cases =
            [("txid", Some("tx_id")), ("Custmer_id", Some("customer_id")), ("weather", None), ("", None)];
        for (wrong, expected) in cases {
            assert_eq!(nearest(wrong, names).as_deref(), expected, "{wrong}");
        }
    }
}
