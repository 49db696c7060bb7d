//! One rule file: from text to rules whose fields have their types, with every problem at once.
//!
//! Expressions, messages and tests are still texts here; [`super::set`] compiles them against the schema.

use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, budget};

use crate::domain::decision::Outcome;
use crate::domain::time::EventTime;
use crate::expr::suggest::nearest;
use crate::rules::document::{Document, place_of};
use crate::rules::markup::{HOW_TO_QUOTE, markup};
use crate::rules::problem::{Kind, PROBLEMS_COLLECTED_MAX, Place, Problem};
use crate::rules::raw::{RawDefault, RawFile, RawRollout, RawRule, RawTest, Scalar};
use crate::rules::rollout::has_two_decimals;

/// Longest rule file, in bytes.
pub const RULE_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most rules of one set.
pub const RULES_MAX: usize = 20_000;
/// Most tests of one rule.
pub const TESTS_PER_RULE_MAX: usize = 64;
/// Longest id or reason, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 2_000;
/// Priorities lie between minus this and this.
pub const PRIORITY_MAX: i32 = 1_000_000;

/// What a rule is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being written: checked and tested, not evaluated.
    Draft,
    /// Evaluated and recorded; decides nothing.
    Shadow,
    /// Evaluated; decides.
    Live,
    /// Switched off for now: checked and tested, not evaluated.
    Paused,
}

/// A rule as its file says it. Without settings it is only checked: a wrong field must not hide a wrong condition.
#[derive(Debug)]
pub(crate) struct RuleSource {
    pub(crate) id: Box<str>,
    pub(crate) id_place: Place,
    pub(crate) description: Box<str>,
    pub(crate) owner: Option<Box<str>>,
    pub(crate) when: Scalar,
    pub(crate) settings: Option<Settings>,
    pub(crate) message: Option<Scalar>,
    pub(crate) rollout: Option<(f64, Scalar)>,
    pub(crate) starts: Option<EventTime>,
    pub(crate) ends: Option<EventTime>,
    pub(crate) tests: Vec<TestSource>,
}

/// The fields that a rule must have, all right.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) then: Outcome,
    pub(crate) reason: Box<str>,
    pub(crate) state: State,
    pub(crate) priority: i32,
}

/// A test as its file says it.
#[derive(Debug)]
pub(crate) struct TestSource {
    pub(crate) place: Place,
    pub(crate) name: Option<String>,
    pub(crate) given: Vec<(Scalar, Option<Scalar>)>,
    pub(crate) lists: Vec<(Scalar, Vec<Scalar>)>,
    pub(crate) expect_match: bool,
}

/// What `default:` says.
#[derive(Debug)]
pub(crate) struct DefaultSource {
    pub(crate) place: Place,
    pub(crate) then: Outcome,
    pub(crate) reason: Box<str>,
    pub(crate) description: Box<str>,
    pub(crate) owner: Option<Box<str>>,
}

/// What one file holds.
#[derive(Debug, Default)]
pub(crate) struct FileSource {
    pub(crate) rules: Vec<RuleSource>,
    pub(crate) default: Option<DefaultSource>,
}

/// The first moment after the day `2027-06-30` (UTC).
pub fn end_of_day(date: &str) -> Option<EventTime> {
    start_of_day(date).map(|start| start.plus(std::time::Duration::from_secs(86_400)))
}

/// The first moment of the day `2027-06-30` (UTC).
pub(crate) fn start_of_day(date: &str) -> Option<EventTime> {
    if date.len() != 10 {
        return None;
    }
    let day: jiff::civil::Date = date.parse().ok()?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    EventTime::from_unix_millis(start.as_millisecond()).ok()
}

/// Reads one file. Rules without an id or a condition are left out; the problems go to `problems`.
pub(crate) fn read(document: Document<'_>, problems: &mut Vec<Problem>) -> FileSource {
    let options = serde_saphyr::options! {
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        budget: budget! {
            max_nodes: 4_000_000,
            max_events: 8_000_000,
            max_aliases: 0,
            max_anchors: 0,
            max_documents: 1,
        },
    };
    // A file of comments only is an empty file, not a wrong one.
    if document.text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return FileSource::default();
    }
    let markup = markup(document);
    if !markup.problems.is_empty() {
        problems.extend(markup.problems);
        return FileSource::default();
    }
    let raw: RawFile = match serde_saphyr::from_str_with_options(document.text, options) {
        Ok(raw) => raw,
        Err(error) => {
            let mut message = error.without_snippet().to_string();
            let place = error.location().filter(|location| location.line() > 0);
            if let Some(location) = place {
                let suffix = format!(" at line {}, column {}", location.line(), location.column());
                message = message
                    .replace(&suffix, "")
                    .replace(", set DuplicateKeyPolicy in Options if acceptable", "");
            }
            let mut problem = Problem::error(document.file, message).of(Kind::InvalidYaml);
            if let Some(location) = place {
                problem = problem.at(place_of(location, 1), document.text);
            }
            if markup.breaks_off_in_condition {
                problem.message.push_str(HOW_TO_QUOTE);
            }
            problems.push(problem);
            return FileSource::default();
        }
    };
    if let Some(problem) = markup.breaks_off {
        problems.push(problem);
        return FileSource::default();
    }
    unknown_keys(document, None, &raw.unknown, RawFile::KEYS, problems);
    let rules = raw
        .rules
        .unwrap_or_default()
        .into_iter()
        .filter_map(|rule| {
            // Quoting the line of a problem walks the file: with thousands of them that would be quadratic.
            if problems.len() >= PROBLEMS_COLLECTED_MAX {
                return None;
            }
            Fields { document, rule: None, problems }.rule(place_of(rule.referenced, 1), rule.value)
        })
        .collect();
    let default = raw.default.and_then(|default| {
        Fields { document, rule: None, problems }.default(place_of(default.referenced, 1), default.value)
    });
    FileSource { rules, default }
}

fn unknown_keys(
    document: Document<'_>,
    rule: Option<&str>,
    unknown: &[Scalar],
    known: &[&str],
    problems: &mut Vec<Problem>,
) {
    for key in unknown {
        let suggestion = nearest(&key.value, known.iter().copied());
        let hint =
            if suggestion.is_some() { String::new() } else { format!("; known are {}", known.join(", ")) };
        let message = format!("unknown field `{}`{hint}", key.value);
        let problem = document.error(document.place(key), rule, message).of(Kind::UnknownField);
        problems.push(problem.suggesting(suggestion));
    }
}

/// Reads the fields of one rule and notes what is wrong with them.
struct Fields<'a> {
    document: Document<'a>,
    rule: Option<String>,
    problems: &'a mut Vec<Problem>,
}

impl Fields<'_> {
    fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(self.document.error(place, self.rule.as_deref(), message));
    }

    fn required(&mut self, place: Place, name: &str, field: Option<Scalar>) -> Option<Scalar> {
        if field.is_none() {
            self.wrong(place, format!("`{name}` is missing"));
        }
        field
    }

    /// A short name: letters, digits, `-`, `_` and `.`.
    fn code(&mut self, name: &str, field: &Scalar) -> Option<Box<str>> {
        let text = field.value.as_str();
        let well_formed = (1..=ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if well_formed {
            return Some(text.into());
        }
        let message = format!(
            "`{name}` has 1 to {ID_BYTES_MAX} letters, digits, `-`, `_` or `.`, such as velocity_exceeded"
        );
        self.wrong(self.document.place(field), message);
        None
    }

    fn text(&mut self, name: &str, field: &Scalar) -> Option<Box<str>> {
        if field.value.len() <= DESCRIPTION_BYTES_MAX {
            return Some(field.value.trim().into());
        }
        self.wrong(
            self.document.place(field),
            format!("`{name}` is longer than {DESCRIPTION_BYTES_MAX} bytes"),
        );
        None
    }

    fn one_of<T: Copy>(&mut self, name: &str, field: &Scalar, known: &[(&str, T)]) -> Option<T> {
        if let Some((_, found)) = known.iter().find(|(text, _)| *text == field.value) {
            return Some(*found);
        }
        let names: Vec<&str> = known.iter().map(|(text, _)| *text).collect();
        let problem = self
            .document
            .error(
                self.document.place(field),
                self.rule.as_deref(),
                format!("`{name}` is one of {}, not `{}`", names.join(", "), field.value),
            )
            .suggesting(nearest(&field.value, names));
        self.problems.push(problem);
        None
    }

    fn then(&mut self, field: &Scalar) -> Option<Outcome> {
        self.one_of("then", field, &Outcome::ALL.map(|outcome| (outcome.name(), outcome)))
    }

    fn date(
        &mut self,
        name: &str,
        field: Option<&Scalar>,
        read: impl Fn(&str) -> Option<EventTime>,
    ) -> Option<EventTime> {
        let field = field?;
        let date = read(&field.value);
        if date.is_none() {
            let message = format!("`{name}` is a date such as 2027-06-30, not `{}`", field.value);
            self.wrong(self.document.place(field), message);
        }
        date
    }

    fn rule(&mut self, place: Place, raw: RawRule) -> Option<RuleSource> {
        self.rule = raw.id.as_ref().map(|id| id.value.clone());
        let document = self.document;
        let rule_name = self.rule.clone();
        unknown_keys(document, rule_name.as_deref(), &raw.unknown, RawRule::KEYS, self.problems);
        let id = self.required(place, "id", raw.id);
        let when = self.required(place, "when", raw.when);
        let then = self.required(place, "then", raw.then);
        let reason = self.required(place, "reason", raw.reason);
        let id_place = id.as_ref().map_or(place, |id| document.place(id));
        let id = id.and_then(|id| self.code("id", &id));
        let then = then.and_then(|then| self.then(&then));
        let reason = reason.and_then(|reason| self.code("reason", &reason));
        let description =
            raw.description.and_then(|text| self.text("description", &text)).unwrap_or_default();
        let owner = raw.owner.and_then(|text| self.text("owner", &text));
        let state = raw.state.map_or(Some(State::Live), |state| {
            let states = [
                ("draft", State::Draft),
                ("shadow", State::Shadow),
                ("live", State::Live),
                ("paused", State::Paused),
            ];
            self.one_of("state", &state, &states)
        });
        let priority = raw.priority.map_or(Some(0), |field| {
            let number =
                field.value.parse().ok().filter(|number| (-PRIORITY_MAX..=PRIORITY_MAX).contains(number));
            if number.is_none() {
                let message = format!("`priority` is a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}");
                self.wrong(document.place(&field), message);
            }
            number
        });
        let rollout =
            raw.rollout.and_then(|rollout| self.rollout(place_of(rollout.referenced, 1), rollout.value));
        let starts = self.date("starts", raw.starts.as_ref(), start_of_day);
        let ends = self.date("expires", raw.expires.as_ref(), end_of_day);
        if let (Some(starts), Some(ends), Some(field)) = (starts, ends, &raw.expires)
            && ends <= starts
        {
            self.wrong(document.place(field), "`expires` lies before `starts`");
        }
        let tests = raw.tests.unwrap_or_default();
        if tests.len() > TESTS_PER_RULE_MAX {
            self.wrong(place, format!("more than {TESTS_PER_RULE_MAX} tests"));
        }
        let tests = tests
            .into_iter()
            .take(TESTS_PER_RULE_MAX)
            .filter_map(|test| self.test(place_of(test.referenced, 1), test.value))
            .collect();
        let settings = match (then, reason, state, priority) {
            (Some(then), Some(reason), Some(state), Some(priority)) => {
                Some(Settings { then, reason, state, priority })
            }
            _ => None,
        };
        Some(RuleSource {
            id: id?,
            id_place,
            description,
            owner,
            when: when?,
            settings,
            message: raw.message,
            rollout,
            starts,
            ends,
            tests,
        })
    }

    fn rollout(&mut self, place: Place, raw: RawRollout) -> Option<(f64, Scalar)> {
        let rule = self.rule.clone();
        unknown_keys(self.document, rule.as_deref(), &raw.unknown, RawRollout::KEYS, self.problems);
        let percent = self.required(place, "rollout.percent", raw.percent);
        let by = self.required(place, "rollout.by", raw.by);
        let percent = percent?;
        let place = self.document.place(&percent);
        let Some(number) = percent.value.parse().ok().filter(|number| (0.0..=100.0).contains(number)) else {
            self.wrong(place, "`percent` is a number from 0 to 100");
            return None;
        };
        if !has_two_decimals(number) {
            let (below, above) = ((number * 100.0).floor() / 100.0, (number * 100.0).ceil() / 100.0);
            let message = format!("`percent` has at most two decimals, not `{}`", percent.value);
            let problem = self.document.error(place, rule.as_deref(), message);
            self.problems.push(problem.advising(format!("write {below} or {above}")));
            return None;
        }
        Some((number, by?))
    }

    fn test(&mut self, place: Place, raw: RawTest) -> Option<TestSource> {
        let rule = self.rule.clone();
        unknown_keys(self.document, rule.as_deref(), &raw.unknown, RawTest::KEYS, self.problems);
        let expect = self.required(place, "expect", raw.expect)?;
        let expect_match = self.one_of("expect", &expect, &[("match", true), ("no_match", false)])?;
        Some(TestSource {
            place,
            name: raw.name.map(|name| name.value),
            given: raw.given.unwrap_or_default().0,
            lists: raw.lists.unwrap_or_default().0,
            expect_match,
        })
    }

    fn default(&mut self, place: Place, raw: RawDefault) -> Option<DefaultSource> {
        let (messages, unknown): (Vec<Scalar>, Vec<Scalar>) =
            raw.unknown.into_iter().partition(|key| key.value == "message");
        unknown_keys(self.document, None, &unknown, RawDefault::KEYS, self.problems);
        for key in &messages {
            let message =
                "unknown field `message`: when the default decides, nothing matched that it could tell of";
            let problem = self.document.error(self.document.place(key), None, message);
            let advice = "say why in `description`, or write a rule that matches what the message is about";
            self.problems.push(problem.of(Kind::UnknownField).advising(advice));
        }
        let then = self.required(place, "default.then", raw.then);
        let reason = self.required(place, "default.reason", raw.reason);
        let then = then.and_then(|then| self.then(&then));
        let reason = reason.and_then(|reason| self.code("reason", &reason));
        let description =
            raw.description.and_then(|text| self.text("description", &text)).unwrap_or_default();
        let owner = raw.owner.and_then(|text| self.text("owner", &text));
        Some(DefaultSource { place, then: then?, reason: reason?, description, owner })
    }
}
