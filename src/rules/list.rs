//! Lists of values by name: `rules/lists/<name>.txt`.
//!
//! One value a line, `#` begins a comment, and `value,2027-01-01` holds until the end of that day (UTC) by the
//! transaction's event time. Values are compared as they are written: case counts. Of two lines with one value, the one that holds
//! longer counts, whichever comes first: a card that is blocked for good does not come free by a line with a date.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::Write as _;

use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::time::EventTime;
use crate::domain::value::Value;
use crate::rules::file::end_of_day;
use crate::rules::problem::{Kind, Place, Problem};

/// Most entries of one list.
pub const LIST_ENTRIES_MAX: usize = 5_000_000;
/// Longest list file, in bytes.
pub const LIST_FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most lists.
pub const LISTS_MAX: usize = 256;
/// Most problems that one list file reports.
const PROBLEMS_MAX: usize = 20;

/// One list.
#[derive(Debug, Default)]
pub struct List {
    name: Box<str>,
    /// Each value with the first moment at which it no longer counts. The standard hasher is seeded, so that nobody who
    /// can add values can slow the table down.
    entries: HashMap<Box<str>, Option<EventTime>>,
    /// What is doubtful, though it can be read.
    warnings: Vec<Problem>,
}

impl List {
    /// Reads the text of a list file; `file` is its name for people.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let mut entries: HashMap<Box<str>, Option<EventTime>> = HashMap::new();
        let mut problems = Vec::new();
        let mut doubled: Vec<(usize, &str, &str)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match entry(line) {
                Ok(None) => {}
                Ok(Some((value, until))) => {
                    if entries.len() >= LIST_ENTRIES_MAX {
                        problems.push(
                            Problem::error(file, format!("holds more than {LIST_ENTRIES_MAX} values"))
                                .of(Kind::Unreadable),
                        );
                        return Err(problems);
                    }
                    match entries.entry(value.into()) {
                        Entry::Vacant(entry) => {
                            entry.insert(until);
                        }
                        Entry::Occupied(mut entry) => {
                            if *entry.get() != until && doubled.len() < PROBLEMS_MAX {
                                doubled.push((index, line, value));
                            }
                            *entry.get_mut() = longer(*entry.get(), until);
                        }
                    }
                }
                Err(message) => {
                    problems.push(at_line(file, index, line, message));
                    if problems.len() >= PROBLEMS_MAX {
                        return Err(problems);
                    }
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = of_doubled(file, text, &doubled);
        Ok(Self { name: name.into(), entries, warnings })
    }

    /// Values that stand on it twice, with different dates; the first few of them.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The name that rules use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many values it holds, expired ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a text, or a whole number as it is written, stands on the list at that moment. Nothing else ever does.
    pub fn contains(&self, value: Value<'_>, at: EventTime) -> bool {
        as_listed(value, |text| self.holds(text, at))
    }

    /// What the file says of a value: nothing, or the moment from which it no longer counts, if there is one.
    pub fn entry(&self, text: &str) -> Option<Option<EventTime>> {
        self.entries.get(text).copied()
    }

    fn holds(&self, text: &str, at: EventTime) -> bool {
        self.entries.get(text).is_some_and(|until| until.is_none_or(|until| at < until))
    }
}

/// The longer of two validities; nothing is longer than one without an end.
fn longer(one: Option<EventTime>, other: Option<EventTime>) -> Option<EventTime> {
    one.zip(other).map(|(one, other)| one.max(other))
}

fn at_line(file: &str, index: usize, line: &str, message: impl Into<String>) -> Problem {
    let mut problem = Problem::error(file, message).of(Kind::InvalidList);
    problem.source_line = Some(line.chars().take(120).collect());
    problem.place = Some(Place { line: index + 1, column: 1, width: line.chars().count().max(1) });
    problem
}

/// A warning for each of these lines, with the first line of its value. Where that stands is looked for only now: few lists have any.
fn of_doubled(file: &str, text: &str, doubled: &[(usize, &str, &str)]) -> Vec<Problem> {
    let mut first_lines: HashMap<&str, usize> = HashMap::new();
    if let Some((last, _, _)) = doubled.last() {
        let wanted: HashSet<&str> = doubled.iter().map(|(_, _, value)| *value).collect();
        for (index, line) in text.lines().enumerate().take(*last) {
            if let Ok(Some((value, _))) = entry(line)
                && wanted.contains(value)
            {
                first_lines.entry(value).or_insert(index + 1);
            }
        }
    }
    let warning = |(index, line, value): &(usize, &str, &str)| {
        let first = first_lines.get(value).copied().unwrap_or_default();
        let message =
            format!("`{value}` stands in line {first} already, with another end; the later end counts");
        at_line(file, *index, line, message)
            .of(Kind::DuplicateEntry)
            .warning()
            .advising("leave one of the two lines")
    };
    doubled.iter().map(warning).collect()
}

/// Asks about a value as lists write it: a text, or a whole number; false for anything else. Allocates nothing.
pub(crate) fn as_listed(value: Value<'_>, ask: impl FnOnce(&str) -> bool) -> bool {
    match value {
        Value::Text(text) => ask(text),
        Value::Int(number) => {
            let mut digits = [0_u8; 20];
            let mut rest = digits.as_mut_slice();
            let written = if write!(rest, "{number}").is_ok() { 20 - rest.len() } else { 0 };
            std::str::from_utf8(&digits[..written]).is_ok_and(ask)
        }
        Value::Missing | Value::Bool(_) | Value::Double(_) | Value::Time(_) => false,
    }
}

/// One line: nothing, or a value with the moment from which it no longer counts.
fn entry(line: &str) -> Result<Option<(&str, Option<EventTime>)>, String> {
    let line = line.trim().trim_start_matches('\u{feff}');
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.find(" #").map_or(line, |comment| &line[..comment]).trim_end();
    let (value, until) = match line.rsplit_once(',') {
        None => (line, None),
        Some((value, date)) => {
            let until = end_of_day(date.trim())
                .ok_or_else(|| format!("`{}` is no date such as 2027-01-31", date.trim()))?;
            (value.trim_end(), Some(until))
        }
    };
    if value.is_empty() || value.len() > ID_BYTES_MAX {
        return Err(format!("a value has 1 to {ID_BYTES_MAX} bytes; this one has {}", value.len()));
    }
    Ok(Some((value, until)))
}

/// All lists, by number.
#[derive(Debug, Default)]
pub struct Lists(Vec<List>);

impl Lists {
    /// The lists in this order; a list's number is its position.
    pub fn new(lists: Vec<List>) -> Self {
        Self(lists)
    }

    /// Whether a value stands on the list with that number at that moment; false when there is no such list.
    pub fn contains(&self, list: usize, value: Value<'_>, at: EventTime) -> bool {
        self.0.get(list).is_some_and(|list| list.contains(value, at))
    }

    /// The list with that number.
    pub fn get(&self, list: usize) -> Option<&List> {
        self.0.get(list)
    }

    /// The list with that name.
    pub fn named(&self, name: &str) -> Option<&List> {
        self.0.iter().find(|list| list.name() == name)
    }

    /// The number of a list.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|list| list.name() == name)
    }

    /// The lists, by number.
    pub fn iter(&self) -> std::slice::Iter<'_, List> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_what_its_lines_say() {
        let text = "\u{feff}# stolen in March\nfp_1\n  fp_2  \nfp_3,2026-12-31\n\nfp_4 # by phone\n42\nfp_5 , 2026-12-31\n";
        let list = List::parse("blocked", "blocked.txt", text).unwrap();
        let before = EventTime::parse_rfc3339("2026-12-31T23:59:59.999Z").unwrap();
        let after = EventTime::parse_rfc3339("2027-01-01T00:00:00Z").unwrap();
        let cases = [
            (Value::Text("fp_1"), before, true),
            (Value::Text("fp_2"), before, true),
            (Value::Text("fp_3"), before, true),
            (Value::Text("fp_3"), after, false),
            (Value::Text("fp_4"), after, true),
            (Value::Text("fp_5"), before, true),
            (Value::Text("FP_1"), before, false),
            (Value::Text(""), before, false),
            (Value::Int(42), before, true),
            (Value::Int(i64::MIN), before, false),
            (Value::Missing, before, false),
            (Value::Bool(true), before, false),
        ];
        for (value, at, expected) in cases {
            assert_eq!(list.contains(value, at), expected, "{value:?} at {at}");
        }
        assert_eq!(list.len(), 6);
    }

    #[test]
    fn wrong_lines_are_named() {
        let problems = List::parse("x", "x.txt", "good\nbad,soon\n,2027-01-01\n").unwrap_err();
        let shown: Vec<String> = problems.iter().map(|problem| format!("{problem}")).collect();
        assert!(shown[0].starts_with("x.txt:2:1: error: `soon` is no date"), "{shown:?}");
        assert!(shown[1].starts_with("x.txt:3:1: error: a value has 1 to 256 bytes"), "{shown:?}");
    }

    #[test]
    fn of_two_lines_with_one_value_the_longer_counts() {
        let now = EventTime::parse_rfc3339("2026-06-01T00:00:00Z").unwrap();
        let cases = [
            ("fp_1\nfp_1,2020-01-01\n", true, Some(2)),
            ("fp_1,2020-01-01\nfp_1\n", true, Some(2)),
            ("fp_1,2020-01-01\nfp_2\nfp_1,2026-12-31 # again\n", true, Some(3)),
            ("fp_1,2026-12-31\nfp_2\nfp_1,2020-01-01\n", true, Some(3)),
            ("fp_1,2019-01-01\nfp_1,2020-01-01\n", false, Some(2)),
            ("fp_1\nfp_1\n", true, None),
            ("fp_1,2020-01-01\nfp_1,2020-01-01\n", false, None),
            ("fp_1\nFP_1,2020-01-01\n", true, None),
        ];
        for (text, holds, warned) in cases {
            let list = List::parse("x", "x.txt", text).unwrap();
            assert_eq!(list.contains(Value::Text("fp_1"), now), holds, "{text}");
            let lines: Vec<_> = list.warnings().iter().map(|it| it.place.unwrap().line).collect();
            assert_eq!(lines, warned.into_iter().collect::<Vec<_>>(), "{text}");
        }
        let list = List::parse("x", "x.txt", "# ours\nfp_1\nfp_1,2020-01-01\n").unwrap();
        let expected = "x.txt:3:1: warning: `fp_1` stands in line 2 already, with another end; the later end counts; leave one of the two lines\n";
        assert!(list.warnings()[0].to_string().starts_with(expected), "{}", list.warnings()[0]);
        let many: String = (0..1_000).map(|number| format!("c_{number}\nc_{number},2020-01-01\n")).collect();
        assert_eq!(List::parse("x", "x.txt", &many).unwrap().warnings().len(), PROBLEMS_MAX);
    }

    #[test]
    fn a_million_lines() {
        let text: String = (0..1_000_000).map(|number| format!("card_{number}\n")).collect();
        let list = List::parse("many", "many.txt", &text).unwrap();
        let at = EventTime::from_unix_millis(0).unwrap();
        assert_eq!(list.len(), 1_000_000);
        assert!(list.contains(Value::Text("card_999999"), at));
        assert!(!list.contains(Value::Text("card_1000000"), at));
    }
}
