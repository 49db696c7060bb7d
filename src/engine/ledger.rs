//! Which transactions and labels have been counted, so that none counts twice.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::domain::label::Verdict;
use crate::window::event::Key;

/// Most transactions remembered, unless a ledger is made smaller. One that is repeated after so many others counts again.
pub const TRANSACTIONS_MAX: usize = 4_000_000;

/// Most parts of a ledger.
const PARTS_MAX: usize = 1_024;
/// A ledger has one part for so many transactions.
const TRANSACTIONS_PER_PART: usize = 256;

/// What has been counted of one transaction.
#[derive(Clone, Copy, Default, Debug)]
struct Counted {
    attempt: bool,
    outcome: bool,
    fraud: bool,
    legitimate: bool,
}

/// The transactions counted so far; of each part the oldest is forgotten first. In many parts, because a map that grows holds
/// up whoever needs it meanwhile.
#[derive(Debug)]
pub struct Ledger {
    parts: Box<[Mutex<Part>]>,
    transactions_per_part: usize,
}

#[derive(Debug, Default)]
struct Part {
    counted: HashMap<Key, Counted>,
    order: VecDeque<Key>,
    forgotten: u64,
}

impl Ledger {
    /// An empty ledger that remembers about that many transactions, and never more.
    pub fn new(transactions_max: usize) -> Self {
        let parts = (transactions_max / TRANSACTIONS_PER_PART).clamp(1, PARTS_MAX);
        Self {
            parts: (0..parts).map(|_| Mutex::default()).collect(),
            transactions_per_part: (transactions_max / parts).max(1),
        }
    }

    /// Whether the transaction's attempt has been counted.
    pub fn has_attempt(&self, transaction: Key) -> bool {
        self.part(transaction).lock().counted.get(&transaction).is_some_and(|counted| counted.attempt)
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
        self.parts
            .iter()
            .map(|part| part.lock())
            .fold((0, 0), |(held, forgotten), part| (held + part.counted.len(), forgotten + part.forgotten))
    }

    fn part(&self, transaction: Key) -> &Mutex<Part> {
        &self.parts[transaction.shard_bits() % self.parts.len()]
    }

    fn count(&self, transaction: Key, flag: impl FnOnce(&mut Counted) -> &mut bool) -> bool {
        let mut part = self.part(transaction).lock();
        if !part.counted.contains_key(&transaction) {
            if part.counted.len() >= self.transactions_per_part
                && let Some(oldest) = part.order.pop_front()
            {
                part.counted.remove(&oldest);
                part.forgotten += 1;
            }
            part.order.push_back(transaction);
        }
        let flag = flag(part.counted.entry(transaction).or_default());
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
