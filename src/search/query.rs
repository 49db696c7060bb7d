//! What is searched for: each filter by its name, as the command line and the admin API both read it.

use thiserror::Error;

use crate::domain::decision::Outcome;
use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::time::EventTime;
use crate::domain::value::parse_duration;
use crate::search::facts::DecisionFacts;
use crate::search::key::{Field, SearchKey};
use crate::search::part::Wanted;

/// Decisions of a page that does not say how many.
pub const PAGE_DEFAULT: usize = 50;
/// Most decisions of one page.
pub const PAGE_MAX: usize = 1_000;
/// Longest value of a filter: policies are named by more than an id may have.
const VALUE_BYTES_MAX: usize = if ID_BYTES_MAX > 256 { ID_BYTES_MAX } else { 256 };

/// The filters that ask for one value of a field, by name.
const FIELDS: [(&str, Field); 9] = [
    ("customer", Field::Customer),
    ("card", Field::Card),
    ("merchant", Field::Merchant),
    ("device", Field::Device),
    ("transaction_id", Field::Transaction),
    ("decision_id", Field::Decision),
    ("rule", Field::Rule),
    ("reason", Field::Reason),
    ("policy", Field::Policy),
];
/// The other filters, and what pages.
const OTHERS: [&str; 8] =
    ["from", "until", "outcome", "score_min", "score_max", "degraded", "before", "limit"];

/// Which decisions, and how many of them. All filters must hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// Fields that must have a value.
    equal: Vec<(Field, Box<str>)>,
    from: Option<EventTime>,
    until: Option<EventTime>,
    outcome: Option<Outcome>,
    score_min: Option<f32>,
    score_max: Option<f32>,
    degraded: Option<bool>,
    /// Only records with a sequence less than that: the cursor.
    pub before: u64,
    /// How many decisions at most.
    pub limit: usize,
}

/// A filter that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum QueryError {
    /// No filter has that name.
    #[error("there is no such filter; there are {}", names().collect::<Vec<_>>().join(", "))]
    Unknown,
    /// Its value is wrong.
    #[error("{0}")]
    Value(String),
    /// It was given before.
    #[error("must be given once")]
    Twice,
}

/// The names of all filters.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name).chain(OTHERS)
}

impl Default for Query {
    fn default() -> Self {
        Self {
            equal: Vec::new(),
            from: None,
            until: None,
            outcome: None,
            score_min: None,
            score_max: None,
            degraded: None,
            before: u64::MAX,
            limit: PAGE_DEFAULT,
        }
    }
}

impl Query {
    /// Sets a filter by its name. Times are RFC 3339, a date (its beginning in UTC), or so long before `now`, such as `90m`, `24h`, `7d`.
    pub fn set(&mut self, name: &str, text: &str, now: EventTime) -> Result<(), QueryError> {
        if let Some((_, field)) = FIELDS.iter().find(|(it, _)| *it == name) {
            return self.equal_to(*field, text);
        }
        match name {
            "from" => once(&mut self.from, time(text, now)?),
            "until" => once(&mut self.until, time(text, now)?),
            "outcome" => {
                let outcome = Outcome::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(text));
                let outcome = outcome
                    .ok_or_else(|| wrong("must be one of APPROVE, REVIEW, CHALLENGE, BLOCK".to_owned()))?;
                once(&mut self.outcome, outcome)
            }
            "score_min" => once(&mut self.score_min, score(text)?),
            "score_max" => once(&mut self.score_max, score(text)?),
            "degraded" => match text {
                "true" | "false" => once(&mut self.degraded, text == "true"),
                _ => Err(wrong("must be true or false".to_owned())),
            },
            "before" => {
                let before = text.parse().map_err(|_| wrong("must be a sequence".to_owned()))?;
                self.before = before;
                Ok(())
            }
            "limit" => {
                let limit = text.parse().ok().filter(|it| (1..=PAGE_MAX).contains(it));
                self.limit =
                    limit.ok_or_else(|| wrong(format!("must be a whole number from 1 to {PAGE_MAX}")))?;
                Ok(())
            }
            _ => Err(QueryError::Unknown),
        }
    }

    /// Asks for one value of a field.
    pub fn equal_to(&mut self, field: Field, value: &str) -> Result<(), QueryError> {
        if self.equal.iter().any(|(it, _)| *it == field) {
            return Err(QueryError::Twice);
        }
        if !(1..=VALUE_BYTES_MAX).contains(&value.len()) {
            return Err(wrong(format!("must have 1 to {VALUE_BYTES_MAX} bytes")));
        }
        self.equal.push((field, value.into()));
        Ok(())
    }

    /// The same for those with that outcome.
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Whether it asks for nothing in particular.
    pub fn is_for_all(&self) -> bool {
        let Self { before, limit, .. } = *self;
        *self == Self { before, limit, ..Self::default() }
    }

    /// What an index is asked.
    pub fn wanted(&self, key: &SearchKey) -> Wanted {
        let mut keys: Vec<u64> = self.equal.iter().map(|(field, value)| key.hash(*field, value)).collect();
        keys.extend(self.outcome.map(|outcome| key.hash(Field::Outcome, outcome.name())));
        Wanted {
            keys,
            from_ms: self.from.map(EventTime::unix_millis),
            until_ms: self.until.map(EventTime::unix_millis),
            score_min: self.score_min,
            score_max: self.score_max,
            outcome: self.outcome,
            degraded: self.degraded,
        }
    }

    /// Whether a decision is meant, by its own values.
    pub fn takes(&self, decision: &DecisionFacts, recorded_at: EventTime) -> bool {
        self.from.is_none_or(|from| recorded_at >= from)
            && self.until.is_none_or(|until| recorded_at < until)
            && self.outcome.is_none_or(|outcome| decision.decision == outcome)
            && self.degraded.is_none_or(|degraded| decision.degraded == degraded)
            && self.score_min.is_none_or(|min| decision.score.is_some_and(|score| score >= min))
            && self.score_max.is_none_or(|max| decision.score.is_some_and(|score| score <= max))
            && self.equal.iter().all(|(field, value)| decision.has(*field, value))
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), QueryError> {
    if place.replace(value).is_some() { Err(QueryError::Twice) } else { Ok(()) }
}

const fn wrong(text: String) -> QueryError {
    QueryError::Value(text)
}

fn score(text: &str) -> Result<f32, QueryError> {
    let score = text.parse().ok().filter(|score| (0.0..=1.0).contains(score));
    score.ok_or_else(|| wrong("must be a number from 0 to 1".to_owned()))
}

fn time(text: &str, now: EventTime) -> Result<EventTime, QueryError> {
    let is_date = text.len() == 10 && text.as_bytes().iter().filter(|byte| **byte == b'-').count() == 2;
    let whole = if is_date { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let ago = || parse_duration(text).ok().map(|duration| now.minus(duration));
    EventTime::parse_rfc3339(&whole).ok().or_else(ago).ok_or_else(|| {
        wrong("must be an RFC 3339 timestamp with an offset, a date such as 2027-01-31, or how long ago, such as 90m or 7d".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_by_name() {
        let now = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let from = |text: &str| {
            let mut query = Query::default();
            query.set("from", text, now).map(|()| query.from.unwrap().to_string())
        };
        assert_eq!(from("2026-10-19").unwrap(), "2026-10-19T00:00:00.000Z");
        assert_eq!(from("2026-10-19T01:00:00+02:00").unwrap(), "2026-10-18T23:00:00.000Z");
        assert_eq!(from("90m").unwrap(), "2026-10-20T10:30:00.000Z");
        for (name, text, good) in [
            ("from", "yesterday", false),
            ("outcome", "block", true),
            ("outcome", "REFUSE", false),
            ("score_min", "0.5", true),
            ("score_min", "1.5", false),
            ("score_max", "NaN", false),
            ("degraded", "true", true),
            ("degraded", "yes", false),
            ("limit", "1000", true),
            ("limit", "1001", false),
            ("limit", "0", false),
            ("before", "17", true),
            ("before", "-1", false),
            ("customer", "c_1", true),
            ("customer", "", false),
            ("custommer", "c_1", false),
        ] {
            assert_eq!(Query::default().set(name, text, now).is_ok(), good, "{name}={text}");
        }
        let mut query = Query::default();
        query.set("card", "fp_1", now).unwrap();
        assert_eq!(query.set("card", "fp_1", now), Err(QueryError::Twice));
        assert!(!query.is_for_all() && Query::default().is_for_all());
        for name in names() {
            assert_ne!(Query::default().set(name, "", now), Err(QueryError::Unknown), "{name}");
        }
    }
}
