//! What became of transactions: the last word of all their labels.
//!
//! Transaction ids are held as 128-bit hashes; that two of fifty million ids meet has a chance of one in 10^23.

use std::collections::HashMap;

use serde::Serialize;
use siphasher::sip128::SipHasher13;

use crate::domain::label::Verdict;
use crate::domain::time::EventTime;

/// Most transactions with a label: some 60 bytes each.
pub const LABELLED_MAX: usize = 50_000_000;

/// A transaction id's hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct IdHash(u128);

impl IdHash {
    /// The hash of an id.
    pub fn of(id: &str) -> Self {
        Self(
            SipHasher13::new_with_keys(0x746f_6c6c_6761_7465, 0x6c61_6265_6c73).hash(id.as_bytes()).as_u128(),
        )
    }
}

/// What a transaction without a label is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlabelled {
    /// Nobody complained: what most systems hear of legitimate transactions.
    Legitimate,
    /// Unknown, and not counted.
    #[default]
    LeftOut,
}

impl Unlabelled {
    /// What a transaction is taken for of which the labels say `verdict`.
    pub fn truth(self, verdict: Option<Verdict>) -> Option<Verdict> {
        match self {
            Self::Legitimate => Some(verdict.unwrap_or(Verdict::Legitimate)),
            Self::LeftOut => verdict,
        }
    }
}

/// The last word on each transaction. Of two labels the one that became known later holds; at the same time, the one that was told
/// later.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    verdicts: HashMap<IdHash, (EventTime, Verdict)>,
}

impl Truth {
    /// Takes a label in; `false` when there are too many transactions, and this one is new.
    pub fn tell(&mut self, transaction: IdHash, known_at: EventTime, verdict: Verdict) -> bool {
        if self.verdicts.len() >= LABELLED_MAX && !self.verdicts.contains_key(&transaction) {
            return false;
        }
        let said = self.verdicts.entry(transaction).or_insert((known_at, verdict));
        if known_at >= said.0 {
            *said = (known_at, verdict);
        }
        true
    }

    /// What became of a transaction; `None` when nobody said.
    pub fn of(&self, transaction: IdHash) -> Option<Verdict> {
        self.verdicts.get(&transaction).map(|(_, verdict)| *verdict)
    }

    /// How many transactions have a label.
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told<'a> = &'a [(i64, Verdict)];

    #[test]
    fn the_label_that_became_known_last_holds() {
        let at = |ms| EventTime::from_unix_millis(ms).unwrap();
        let (fraud, good) = (Verdict::Fraud, Verdict::Legitimate);
        // What is told, in this order, and what holds in the end.
        let facts: [(Told<'_>, Option<Verdict>); 5] = [
            (&[], None),
            (&[(5, fraud)], Some(fraud)),
            (&[(5, fraud), (9, good)], Some(good)),
            (&[(9, good), (5, fraud)], Some(good)),
            (&[(5, fraud), (5, good)], Some(good)),
        ];
        for (told, expected) in facts {
            let (mut truth, id) = (Truth::default(), IdHash::of("t"));
            for (known_at, verdict) in told {
                assert!(truth.tell(id, at(*known_at), *verdict));
            }
            assert_eq!(truth.of(id), expected, "{told:?}");
            assert_eq!(Unlabelled::Legitimate.truth(truth.of(id)), Some(expected.unwrap_or(good)));
            assert_eq!(Unlabelled::LeftOut.truth(truth.of(id)), expected);
        }
    }
}
