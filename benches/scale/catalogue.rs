//! The shipped catalogue with fewer and with more windows: the same lines, with other lists of spans in them.

use regex::{Captures, Regex};

/// Spans that are added, the first that a list does not have: none is longer than the longest shipped one.
const MORE: [&str; 12] = ["2m", "10m", "30m", "2h", "3h", "6h", "12h", "2d", "3d", "5d", "10d", "14d"];

/// Fewer windows: of each list the first third of its spans, and at least one.
pub(crate) fn fewer(text: &str) -> String {
    with_spans(text, |spans| {
        spans.iter().take(spans.len().div_ceil(3)).map(|span| (*span).to_owned()).collect()
    })
}

/// All windows.
pub(crate) fn whole(text: &str) -> String {
    with_spans(text, |spans| spans.iter().map(|span| (*span).to_owned()).collect())
}

/// More windows: to each list so many times as many spans as it has, while there are any.
pub(crate) fn more(text: &str, times: usize) -> String {
    with_spans(text, |spans| {
        let more = MORE.iter().filter(|span| !spans.contains(span)).take(times.saturating_mul(spans.len()));
        spans.iter().chain(more).map(|span| (*span).to_owned()).collect()
    })
}

/// Puts other spans into every list, and leaves out what names single window features: expressions over them, and their words.
fn with_spans(text: &str, spans_for: impl Fn(&[&str]) -> Vec<String>) -> String {
    let list =
        Regex::new(r"(count|sum|mean|stddev|min|max|distinct|rate): \[([0-9a-z, ]+)\]").expect("a pattern");
    let over_windows =
        Regex::new(r#"expr: ".*\b(customer|card|device|ip|merchant)\.(amount|count|card_|declined)"#)
            .expect("a pattern");
    let text = text.split("\nwords:").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !over_windows.is_match(line)).map(|line| {
        list.replace_all(line, |found: &Captures<'_>| {
            let spans: Vec<&str> = found[2].split(", ").collect();
            format!("{}: [{}]", &found[1], spans_for(&spans).join(", "))
        })
    });
    lines.fold(String::new(), |text, line| text + &line + "\n")
}
