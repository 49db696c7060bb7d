//! The order in which what follows from records reaches the windows, when a log is folded.
//!
//! While serving, the windows see an attempt when its ticket is taken, and what became of it (approved, declined, labels) only
//! when its record is in the log: other attempts come between. A record says which consequences its windows had seen. So here they
//! wait, and before an attempt is counted, those that its record had seen are applied, and no others.

use std::collections::VecDeque;

use crate::domain::decision::Outcome;
use crate::domain::label::Label;
use crate::engine::state::{Counted, State};

/// What a record does to the windows once it is in the log.
#[derive(Debug)]
pub enum Consequence {
    /// Something was answered.
    Outcome(Outcome),
    /// Something became known.
    Label(Box<Label>),
}

#[derive(Debug)]
struct Waiting {
    sequence: u64,
    counted: Counted,
    what: Consequence,
}

/// Consequences that the windows have not seen yet, in the order of the log.
#[derive(Debug)]
pub struct Consequences {
    waiting: VecDeque<Waiting>,
    waiting_max: usize,
}

impl Consequences {
    /// None yet; at most so many wait, then the oldest is applied.
    pub const fn new(waiting_max: usize) -> Self {
        Self { waiting: VecDeque::new(), waiting_max }
    }

    /// Lets one wait.
    pub fn push(&mut self, state: &State, sequence: u64, counted: Counted, what: Consequence) {
        self.waiting.push_back(Waiting { sequence, counted, what });
        if self.waiting.len() > self.waiting_max
            && let Some(oldest) = self.waiting.pop_front()
        {
            oldest.apply(state);
        }
    }

    /// Applies those of records up to that sequence.
    pub fn apply_until(&mut self, state: &State, sequence: u64) {
        while let Some(next) = self.waiting.pop_front_if(|next| next.sequence <= sequence) {
            next.apply(state);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Waiting {
    fn apply(&self, state: &State) {
        match &self.what {
            Consequence::Outcome(outcome) => state.record_outcome(&self.counted, *outcome),
            Consequence::Label(label) => {
                state.record_label(&self.counted, label);
            }
        }
    }
}
