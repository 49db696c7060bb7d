//! Decisions that ask for a person and have no verdict yet: the queue of reviews.

use std::collections::BTreeSet;

use crate::domain::decision::Outcome;
use crate::search::facts::Facts;
use crate::search::key::{Field, SearchKey};
use crate::search::paged::PageError;
use crate::search::part::Part;

/// Most open reviews that are remembered, about 16 bytes each; the oldest is forgotten first, and stays findable by search.
pub const OPEN_REVIEWS_MAX: usize = 1_000_000;

/// The sequences of the decisions that are open.
#[derive(Debug, Default)]
pub struct OpenReviews {
    open: BTreeSet<u64>,
    forgotten: u64,
}

impl OpenReviews {
    /// Takes the next record in.
    pub fn take(&mut self, sequence: u64, facts: &Facts) {
        match facts {
            Facts::Decision(decision) if decision.decision == Outcome::Review => self.insert(sequence),
            Facts::Review(_, decision) => {
                self.open.remove(decision);
            }
            _ => {}
        }
    }

    /// Takes the next part in.
    pub fn take_part(&mut self, key: &SearchKey, part: &impl Part) -> Result<(), PageError> {
        for row in part.postings(key.hash(Field::Outcome, Outcome::Review.name()))? {
            self.insert(part.first() + u64::from(row));
        }
        for decision in part.reviewed()? {
            self.open.remove(&decision);
        }
        Ok(())
    }

    fn insert(&mut self, sequence: u64) {
        self.open.insert(sequence);
        if self.open.len() > OPEN_REVIEWS_MAX {
            self.open.pop_first();
            self.forgotten += 1;
        }
    }

    /// Forgets those before the record `oldest`, which are gone with their segments.
    pub fn forget_before(&mut self, oldest: u64) {
        let stay = self.open.split_off(&oldest);
        self.forgotten += std::mem::replace(&mut self.open, stay).len() as u64;
    }

    /// The open ones after that sequence, the oldest first, `count` at most.
    pub fn after(&self, sequence: u64, count: usize) -> Vec<u64> {
        self.open.range(sequence.saturating_add(1)..).take(count).copied().collect()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many have been forgotten because there were too many, or because their segments are gone.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
