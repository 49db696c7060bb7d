//! Which transactions and labels have been counted, so that none counts twice.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::domain::label::Verdict;
use crate::window::event::Key;

/// Most transactions remembered, unless a ledger is made smaller. One that is repeated after so many others counts again.
pub const TRANSACTIONS_MAX: usize = 4_000_000;

/// What has been counted of one transaction.
#[derive(Clone, Copy, Default, Debug)]
struct Counted {
    attempt: bool,
    outcome: bool,
    fraud: bool,
    legitimate: bool,
}

/// The transactions counted so far, the oldest forgotten first.
#[derive(Debug)]
pub struct Ledger {
    transactions_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counted: HashMap<Key, Counted>,
    order: VecDeque<Key>,
    forgotten: u64,
}

impl Ledger {
    /// An empty ledger that remembers at most that many transactions.
    pub fn new(transactions_max: usize) -> Self {
        Self { transactions_max: transactions_max.max(1), inner: Mutex::default() }
    }

    /// Whether the transaction's attempt has been counted.
    pub fn has_attempt(&self, transaction: Key) -> bool {
        self.inner.lock().counted.get(&transaction).is_some_and(|counted| counted.attempt)
    }

    /// Counts the transaction's attempt; `false` when it has been counted before.
    pub fn count_attempt(&self, transaction: Key) -> bool {
        self.count(transaction, |counted| &mut counted.attempt)
    }

    /// Counts what the transaction was answered; `false` when that has been counted before.
    pub fn count_outcome(&self, transaction: Key) -> bool {
        self.count(transaction, |counted| &mut counted.outcome)
    }

    /// Counts a label; `false` when the transaction has one with this verdict already.
    pub fn count_label(&self, transaction: Key, verdict: Verdict) -> bool {
        self.count(transaction, |counted| match verdict {
            Verdict::Fraud => &mut counted.fraud,
            Verdict::Legitimate => &mut counted.legitimate,
        })
    }

    /// How many transactions are remembered, and how many have been forgotten.
    pub fn len_and_forgotten(&self) -> (usize, u64) {
        let inner = self.inner.lock();
        (inner.counted.len(), inner.forgotten)
    }

    fn count(&self, transaction: Key, flag: impl FnOnce(&mut Counted) -> &mut bool) -> bool {
        let mut inner = self.inner.lock();
        if !inner.counted.contains_key(&transaction) {
            if inner.counted.len() >= self.transactions_max
                && let Some(oldest) = inner.order.pop_front()
            {
                inner.counted.remove(&oldest);
                inner.forgotten += 1;
            }
            inner.order.push_back(transaction);
        }
        let flag = flag(inner.counted.entry(transaction).or_default());
        !std::mem::replace(flag, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::event::KeyHasher;

    #[test]
    fn everything_counts_once_and_the_oldest_is_forgotten() {
        let hasher = KeyHasher::new([7; 16]);
        let key = |id: &str| hasher.key(0, [id]);
        let ledger = Ledger::new(2);
        assert!(ledger.count_attempt(key("a")));
        assert!(!ledger.count_attempt(key("a")));
        assert!(ledger.count_outcome(key("a")));
        assert!(!ledger.count_outcome(key("a")));
        assert!(ledger.count_label(key("a"), Verdict::Fraud));
        assert!(!ledger.count_label(key("a"), Verdict::Fraud));
        assert!(ledger.count_label(key("a"), Verdict::Legitimate));
        assert!(ledger.count_attempt(key("b")));
        assert!(ledger.count_attempt(key("c")));
        assert!(!ledger.has_attempt(key("a")));
        assert!(ledger.has_attempt(key("b")) && ledger.has_attempt(key("c")));
        assert_eq!(ledger.len_and_forgotten(), (2, 1));
    }
}
