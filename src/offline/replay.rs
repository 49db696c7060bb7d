//! Transactions and labels as one stream, in the order in which a live service would have seen them.
//!
//! Transactions come in file order: that is the order of arrival, and windows are by event time. A label comes before the
//! first transaction that happens at its time or later, and brings the transaction that it is for, because the engine counts
//! it for everyone who took part. A label that is known before its transaction comes, or never meets it, is not delivered
//! but counted; so is one whose time does not come before the file ends. A transaction id that repeats is passed on every time:
//! the engine counts it once.
//!
//! Memory: a transaction is kept from its row until its last label has been delivered. That is the delay for labels in the
//! same file, and at most [`PENDING_MAX`] transactions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::decision::Outcome;
use crate::domain::label::{Label, LabelKind, Verdict};
use crate::domain::time::EventTime;
use crate::domain::transaction::{Mode, Transaction};
use crate::evaluation::report::ReplayCounts;
use crate::evaluation::truth::IdHash;
use crate::offline::error::InputError;
use crate::offline::labels::LabelTable;
use crate::offline::mapping::Mapping;
use crate::offline::transactions::TransactionRow;

/// Most transactions that wait for their labels at a time: some five gigabytes of them.
pub const PENDING_MAX: usize = 8_000_000;

/// What happens next.
#[derive(Clone, Debug)]
pub enum ReplayEvent {
    /// A transaction is to be decided.
    Attempt {
        /// The transaction.
        transaction: Arc<Transaction>,
        /// Its row in the file, from 1.
        row: u64,
        /// What became of it in the end. Nobody who decides may look at it: it is for measuring.
        truth: Option<Verdict>,
        /// What the file says was decided.
        decision: Option<Outcome>,
    },
    /// A label has become known.
    Label {
        /// The label.
        label: Label,
        /// The transaction that it is for.
        transaction: Arc<Transaction>,
    },
}

/// Where labels come from.
#[derive(Debug)]
pub enum LabelSource {
    /// There are none.
    None,
    /// From the row of the transaction itself, that much later.
    SameFile {
        /// How much later.
        delay: Duration,
        /// What kind they are said to be.
        kind: LabelKind,
    },
    /// From a file of their own.
    File(LabelTable),
}

impl LabelSource {
    /// The source that a mapping and a labels file stand for; both together are refused.
    pub fn choose(mapping: Option<&Mapping>, table: Option<LabelTable>) -> Result<Self, InputError> {
        match (mapping.and_then(|mapping| mapping.label.as_ref()), table) {
            (Some(_), Some(_)) => Err(InputError::TwoSourcesOfLabels),
            (Some(label), None) => Ok(Self::SameFile { delay: label.delay, kind: label.kind }),
            (None, Some(table)) => Ok(Self::File(table)),
            (None, None) => Ok(Self::None),
        }
    }
}

/// The stream.
#[derive(Debug)]
pub struct Replay<I> {
    source: I,
    labels: Delivery,
    next: Option<TransactionRow>,
    counts: ReplayCounts,
    pending_max: usize,
}

#[derive(Debug)]
enum Delivery {
    None,
    SameFile(SameFile),
    File(FromFile),
}

#[derive(Debug)]
struct SameFile {
    delay: Duration,
    kind: LabelKind,
    pending: BinaryHeap<Reverse<Pending>>,
}

#[derive(Debug)]
struct Pending {
    due: EventTime,
    row: u64,
    verdict: Verdict,
    transaction: Arc<Transaction>,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.row) == (other.due, other.row)
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.row).cmp(&(other.due, other.row))
    }
}

#[derive(Debug)]
struct FromFile {
    table: LabelTable,
    delivered: usize,
    waiting: HashMap<IdHash, Arc<Transaction>>,
}

impl<I: Iterator<Item = Result<TransactionRow, InputError>>> Replay<I> {
    /// A stream of the transactions that `source` reads, with these labels.
    pub fn new(source: I, labels: LabelSource) -> Self {
        let labels = match labels {
            LabelSource::None => Delivery::None,
            LabelSource::SameFile { delay, kind } => {
                Delivery::SameFile(SameFile { delay, kind, pending: BinaryHeap::new() })
            }
            LabelSource::File(table) => {
                Delivery::File(FromFile { table, delivered: 0, waiting: HashMap::new() })
            }
        };
        Self { source, labels, next: None, counts: ReplayCounts::default(), pending_max: PENDING_MAX }
    }

    /// What happens next; `None` when the transactions are at their end.
    pub fn next_event(&mut self) -> Result<Option<ReplayEvent>, InputError> {
        while self.next.is_none() {
            match self.source.next() {
                None => return Ok(None),
                Some(row) => {
                    let row = row?;
                    if row.request.mode == Mode::DryRun {
                        self.counts.dry_runs += 1;
                    } else {
                        self.next = Some(row);
                    }
                }
            }
        }
        let Some(now) = self.next.as_ref().map(|row| row.request.transaction.occurred_at) else {
            return Ok(None);
        };
        if let Some(label) = self.labels.next_due(now, &mut self.counts.labels_unmatched) {
            self.counts.labels_delivered += 1;
            return Ok(Some(label));
        }
        let Some(row) = self.next.take() else { return Ok(None) };
        let transaction = Arc::new(row.request.transaction);
        let truth = self.labels.expect(&transaction, row.row, row.verdict);
        if self.labels.pending() > self.pending_max {
            return Err(InputError::TooMany {
                path: PathBuf::from("labels"),
                what: "transactions wait for their labels at a time",
                max: self.pending_max,
                next: "sort the file by time, shorten the delay, or split the file",
            });
        }
        self.counts.attempts += 1;
        Ok(Some(ReplayEvent::Attempt { transaction, row: row.row, truth, decision: row.decision }))
    }

    /// What has been seen so far.
    pub fn counts(&self) -> ReplayCounts {
        let labels_pending = match &self.labels {
            Delivery::None => 0,
            Delivery::SameFile(it) => it.pending.len() as u64,
            Delivery::File(it) => (it.table.labels().len() - it.delivered) as u64,
        };
        ReplayCounts { labels_pending, ..self.counts }
    }

    /// Where the transactions come from.
    pub const fn source(&self) -> &I {
        &self.source
    }
}

impl Delivery {
    /// The next label that is known by `now`.
    fn next_due(&mut self, now: EventTime, unmatched: &mut u64) -> Option<ReplayEvent> {
        match self {
            Self::None => None,
            Self::SameFile(it) => it.next_due(now),
            Self::File(it) => it.next_due(now, unmatched),
        }
    }

    /// Keeps a transaction for its labels, if there are any to come. What became of it in the end?
    fn expect(&mut self, transaction: &Arc<Transaction>, row: u64, said: Option<Verdict>) -> Option<Verdict> {
        match self {
            Self::None => None,
            Self::SameFile(it) => {
                let verdict = said?;
                let due = transaction.occurred_at.plus(it.delay);
                it.pending.push(Reverse(Pending { due, row, verdict, transaction: Arc::clone(transaction) }));
                Some(verdict)
            }
            Self::File(it) => it.expect(transaction),
        }
    }

    fn pending(&self) -> usize {
        match self {
            Self::None => 0,
            Self::SameFile(it) => it.pending.len(),
            Self::File(it) => it.waiting.len(),
        }
    }
}

impl SameFile {
    fn next_due(&mut self, now: EventTime) -> Option<ReplayEvent> {
        if self.pending.peek()?.0.due > now {
            return None;
        }
        let Reverse(pending) = self.pending.pop()?;
        let label = Label {
            transaction_id: pending.transaction.id.clone(),
            verdict: pending.verdict,
            kind: self.kind,
            occurred_at: pending.due,
            reason_code: None,
        };
        Some(ReplayEvent::Label { label, transaction: pending.transaction })
    }
}

impl FromFile {
    fn next_due(&mut self, now: EventTime, unmatched: &mut u64) -> Option<ReplayEvent> {
        loop {
            let timed = self.table.labels().get(self.delivered)?;
            if timed.occurred_at > now {
                return None;
            }
            let position = self.delivered;
            self.delivered += 1;
            let Some(transaction) = self.waiting.get(&timed.transaction).cloned() else {
                *unmatched += 1;
                continue;
            };
            if self.table.transaction(timed.transaction).is_none_or(|said| said.last_label <= position) {
                self.waiting.remove(&timed.transaction);
            }
            let label = Label {
                transaction_id: transaction.id.clone(),
                verdict: timed.verdict,
                kind: timed.kind,
                occurred_at: timed.occurred_at,
                reason_code: timed.reason_code.clone(),
            };
            return Some(ReplayEvent::Label { label, transaction });
        }
    }

    fn expect(&mut self, transaction: &Arc<Transaction>) -> Option<Verdict> {
        let id = IdHash::of(transaction.id.as_str());
        let said = self.table.transaction(id)?;
        if said.last_label >= self.delivered {
            self.waiting.entry(id).or_insert_with(|| Arc::clone(transaction));
        }
        Some(said.final_verdict)
    }
}
