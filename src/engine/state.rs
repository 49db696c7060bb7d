//! Everything that records change: the windows, what has been counted, and what stands on lists at run time. A fold over the audit log, or over the end of it from
//! a snapshot on.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::decision::Outcome;
use crate::domain::label::Label;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::engine::ledger::Ledger;
use crate::feature::catalogue::Catalogue;
use crate::feature::extract;
use crate::rules::run_time::{Entry, ListChange, Listed, RunTimeLists};
use crate::window::event::{Attempt, Key, KeyHasher};
use crate::window::layout::{Layout, OutcomeStream};
use crate::window::store::WindowStore;

/// What `KeyHasher` counts transactions under; entities have the numbers below.
const TRANSACTION_KIND: u8 = u8::MAX;

/// The state.
#[derive(Debug)]
pub struct State {
    /// The windows.
    pub windows: WindowStore,
    /// What has been counted.
    pub ledger: Ledger,
    /// How entities become keys.
    pub hasher: KeyHasher,
    /// What stands on lists beside their files. Whoever decides reads one value of it; changes come one at a time.
    pub lists: ArcSwap<RunTimeLists>,
}

/// What the state knows a transaction by.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The transaction itself.
    pub transaction: Key,
    /// Who took part, when and with how much.
    pub attempt: Attempt,
}

impl State {
    /// An empty state. `secret` keys the hashes of entities, so that nobody outside can make two of them collide; the same
    /// secret gives the same state for the same log.
    pub fn new(layout: Arc<Layout>, secret: [u8; 16], transactions_max: usize) -> Self {
        Self::with(WindowStore::new(layout), Ledger::new(transactions_max), secret)
    }

    /// A state with windows and a ledger that are there already. They must have been made under this very secret.
    pub fn with(windows: WindowStore, ledger: Ledger, secret: [u8; 16]) -> Self {
        Self { windows, ledger, hasher: KeyHasher::new(secret), lists: ArcSwap::default() }
    }

    /// What the state knows a transaction by.
    pub fn counted(&self, catalogue: &Catalogue, transaction: &Transaction) -> Counted {
        Counted {
            transaction: self.hasher.key(TRANSACTION_KIND, [transaction.id.as_str()]),
            attempt: extract::attempt(catalogue, &self.hasher, transaction),
        }
    }

    /// Counts an attempt that has been decided before, without reading anything: how a log is folded.
    pub fn restore_attempt(&self, counted: &Counted) {
        if self.ledger.count_attempt(counted.transaction) {
            self.windows.prefetch(&counted.attempt);
            self.windows.add(&counted.attempt);
        }
    }

    /// Counts what was answered, for the streams `approved` and `declined`: of each transaction the first answer that is in the
    /// log, so that an attempt whose record failed and was sent again counts like any other.
    pub fn record_outcome(&self, counted: &Counted, outcome: Outcome) {
        if !self.ledger.count_outcome(counted.transaction) {
            return;
        }
        match outcome {
            Outcome::Approve => self.windows.record_outcome(OutcomeStream::Approved, &counted.attempt),
            Outcome::Block => self.windows.record_outcome(OutcomeStream::Declined, &counted.attempt),
            Outcome::Review | Outcome::Challenge => {}
        }
    }

    /// Does what a record says of a list, and answers what stood there before. Two at once would lose one: the caller orders them.
    pub fn change_list(&self, change: &ListChange, sequence: u64, at: EventTime) -> Option<Entry> {
        let mut lists = RunTimeLists::clone(&self.lists.load());
        let before = lists.apply(change, sequence, at);
        self.lists.store(Arc::new(lists));
        before
    }

    /// Takes off every list what is erased, as `change_list`; says how many entries.
    pub fn erase_listed(&self, is_erased: impl Fn(&str) -> bool) -> usize {
        let mut lists = RunTimeLists::clone(&self.lists.load());
        let erased = lists.remove_values(is_erased);
        if erased > 0 {
            self.lists.store(Arc::new(lists));
        }
        erased
    }

    /// Takes off what `RunTimeLists::expired` has named; in the order of changes, as `change_list`.
    pub fn sweep_lists(&self, expired: &[Listed], before: EventTime) {
        let mut lists = RunTimeLists::clone(&self.lists.load());
        lists.remove_expired(expired, before);
        self.lists.store(Arc::new(lists));
    }

    /// Counts a label at its time for everyone who took part in the labelled transaction. A transaction counts once as
    /// fraud and once as legitimate, however often it is said; `false` when it has been said before.
    pub fn record_label(&self, counted: &Counted, label: &Label) -> bool {
        let is_new = self.ledger.count_label(counted.transaction, label.verdict);
        if is_new {
            let fraud = label.verdict == crate::domain::label::Verdict::Fraud;
            self.windows.record_label(&counted.attempt.keys, label.occurred_at, fraud);
        }
        is_new
    }
}
