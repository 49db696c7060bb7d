//! The last decisions that a candidate made beside the live ones, with what became of them, for the report.
//!
//! They are kept as they are counted, not counted at once: so a label that comes later changes the truth of what it is for, and the
//! report is always over the last decisions. About 500 bytes each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::money::Money;
use crate::domain::time::EventTime;
use crate::engine::policy::Policy;
use crate::evaluation::report::{BacktestReport, InputSummary, Origin, PolicyVersions, Windows};
use crate::evaluation::said::{Before, Differences, Said, Subject};
use crate::evaluation::tally::{Against, JudgedRow, Tally};
use crate::evaluation::truth::{IdHash, Unlabelled};

/// Most decisions that are remembered; the oldest is forgotten first.
pub const REMEMBERED_MAX: usize = 50_000;
/// Most names (reasons and rules) that are shared among them; past that, they are all learnt anew.
const NAMES_MAX: usize = 50_000;

/// One side of a remembered decision.
#[derive(Debug)]
struct Side {
    outcome: Outcome,
    reason: Arc<str>,
    rule: Option<Arc<str>>,
    hits: Box<[Arc<str>]>,
}

impl Side {
    fn said(&self) -> Said<'_> {
        Said {
            outcome: self.outcome,
            reason: &self.reason,
            rule: self.rule.as_deref(),
            hits: self.hits.iter().map(|hit| &**hit).collect(),
        }
    }
}

/// A remembered decision.
#[derive(Debug)]
struct Row {
    id: Box<str>,
    hash: IdHash,
    at: EventTime,
    amount: Money,
    card: Option<Box<str>>,
    score: Option<f64>,
    missing: SmallVec<[&'static str; 2]>,
    before: Side,
    differences: Differences,
    after: Side,
}

/// What is known of a transaction that is remembered.
#[derive(Debug, Default)]
struct Known {
    rows: u32,
    said: Option<(EventTime, Verdict)>,
}

/// The last decisions of one candidate.
#[derive(Debug)]
pub struct Remembered {
    rows: VecDeque<Arc<Row>>,
    known: HashMap<IdHash, Known>,
    names: HashSet<Arc<str>>,
    max: usize,
    decided: u64,
}

impl Default for Remembered {
    fn default() -> Self {
        Self::new(REMEMBERED_MAX)
    }
}

impl Remembered {
    /// Nothing yet; at most so many decisions.
    pub fn new(max: usize) -> Self {
        let (rows, known, names) = (VecDeque::new(), HashMap::new(), HashSet::new());
        Self { rows, known, names, max: max.max(1), decided: 0 }
    }

    /// Remembers a decision that was made twice.
    pub fn add(&mut self, row: &JudgedRow<'_>, missing: SmallVec<[&'static str; 2]>) {
        let Some(before) = &row.before else { return };
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        let (subject, hash) = (&row.subject, IdHash::of(row.subject.id));
        let row = Row {
            id: subject.id.into(),
            hash,
            at: subject.at,
            amount: subject.amount,
            card: subject.card.map(Into::into),
            score: row.score,
            missing,
            before: self.side(&before.said),
            differences: before.differences,
            after: self.side(&row.said),
        };
        self.decided += 1;
        self.known.entry(hash).or_default().rows += 1;
        self.rows.push_back(Arc::new(row));
        if self.rows.len() > self.max
            && let Some(oldest) = self.rows.pop_front()
            && let Some(known) = self.known.get_mut(&oldest.hash)
        {
            known.rows -= 1;
            if known.rows == 0 {
                self.known.remove(&oldest.hash);
            }
        }
    }

    fn side(&mut self, said: &Said<'_>) -> Side {
        Side {
            outcome: said.outcome,
            reason: self.name(said.reason),
            rule: said.rule.map(|rule| self.name(rule)),
            hits: said.hits.iter().map(|hit| self.name(hit)).collect(),
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Takes a label in, if its transaction is remembered. The one that became known last holds.
    pub fn tell(&mut self, transaction: IdHash, known_at: EventTime, verdict: Verdict) {
        let Some(known) = self.known.get_mut(&transaction) else { return };
        if known.said.is_none_or(|(before, _)| known_at >= before) {
            known.said = Some((known_at, verdict));
        }
    }

    /// How many have been decided, forgotten ones included.
    pub const fn decided(&self) -> u64 {
        self.decided
    }

    /// The decisions as they are now, for a report that is made without holding anything up.
    pub fn snapshot(&self) -> Snapshot {
        let truth = |row: &Row| self.known.get(&row.hash).and_then(|known| known.said).map(|(_, said)| said);
        let rows = self.rows.iter().map(|row| (Arc::clone(row), truth(row))).collect();
        Snapshot { rows, decided: self.decided }
    }
}

/// The decisions at one moment.
#[derive(Debug)]
pub struct Snapshot {
    rows: Vec<(Arc<Row>, Option<Verdict>)>,
    decided: u64,
}

impl Snapshot {
    /// The report on the candidate `policy`, which came from `directory` and has decided for `elapsed`.
    pub fn report(
        &self,
        policy: &Policy,
        against: Against,
        directory: String,
        unlabelled: Unlabelled,
        elapsed: Duration,
    ) -> BacktestReport {
        let mut tally = Tally::of(policy, Some(against));
        for (row, verdict) in &self.rows {
            tally.add(&JudgedRow {
                subject: Subject {
                    id: &row.id,
                    at: row.at,
                    amount: row.amount,
                    card: row.card.as_deref(),
                    truth: unlabelled.truth(*verdict),
                },
                said: row.after.said(),
                score: row.score,
                missing: row.missing.iter().copied().collect(),
                before: Some(Before { said: row.before.said(), differences: row.differences }),
            });
        }
        let input = InputSummary {
            origin: Origin::Traffic,
            file: directory,
            rows: self.decided,
            windows: Windows::Recorded,
            unlabelled,
            ..InputSummary::default()
        };
        tally.report(input, PolicyVersions::of(policy), elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn at(second: i64) -> EventTime {
        EventTime::from_unix_millis(second * 1_000).unwrap()
    }

    fn add(remembered: &mut Remembered, id: &str) {
        let euro = Currency::parse("EUR").unwrap();
        let amount = Money::from_minor(100, euro).unwrap();
        let before = Before { said: Said::outcome(Outcome::Approve), differences: Differences::default() };
        let row = JudgedRow {
            subject: Subject { id, at: at(0), amount, card: None, truth: None },
            said: Said::outcome(Outcome::Block),
            score: None,
            missing: SmallVec::new(),
            before: Some(before),
        };
        remembered.add(&row, SmallVec::new());
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_a_label_finds_what_is_remembered() {
        let mut remembered = Remembered::new(3);
        for id in ["a", "b", "a", "c"] {
            add(&mut remembered, id);
        }
        // The first `a` is forgotten, the second is not.
        for (id, second, verdict) in [
            ("a", 5, Verdict::Fraud),
            ("b", 5, Verdict::Fraud),
            ("b", 9, Verdict::Legitimate),
            ("b", 7, Verdict::Fraud),
            ("nobody", 5, Verdict::Fraud),
        ] {
            remembered.tell(IdHash::of(id), at(second), verdict);
        }
        let truth = |remembered: &Remembered| {
            let rows = remembered.snapshot().rows;
            rows.iter().map(|(row, truth)| (row.id.to_string(), *truth)).collect::<Vec<_>>()
        };
        let row = |id: &str, truth| (id.to_owned(), truth);
        let expected = [row("b", Some(Verdict::Legitimate)), row("a", Some(Verdict::Fraud)), row("c", None)];
        assert_eq!(truth(&remembered), expected);
        for id in ["d", "e", "f"] {
            add(&mut remembered, id);
        }
        assert_eq!(truth(&remembered), [row("d", None), row("e", None), row("f", None)]);
        assert_eq!((remembered.known.len(), remembered.decided()), (3, 7));
    }
}
