//! `observe`: what the windows say of a transaction at its event time, counting it in the same step.

use crate::domain::transaction::{Mode, Transaction};
use crate::engine::state::{Counted, State};
use crate::feature::catalogue::Catalogue;
use crate::feature::vector::FeatureVector;
use crate::window::event::Presence;

/// What `observe` saw.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The window features; everything else of the vector is still missing.
    pub windows: FeatureVector,
    /// What the state knows the transaction by.
    pub counted: Counted,
    /// Whether this call counted it: not when it is a dry run, and not when it had been counted before.
    pub is_new: bool,
}

/// What can be done before `observe`, and outside any lock: hashes who took part, and asks the processor for what is held of them.
pub fn prepare(state: &State, catalogue: &Catalogue, transaction: &Transaction) -> Counted {
    let counted = state.counted(catalogue, transaction);
    state.windows.prefetch(&counted.attempt);
    counted
}

/// Reads every window feature as of the transaction's event time, with the transaction itself counted once.
pub fn observe(state: &State, catalogue: &Catalogue, counted: Counted, mode: Mode) -> Observation {
    let (presence, is_new) = match mode {
        Mode::DryRun if state.ledger.has_attempt(counted.transaction) => (Presence::Counted, false),
        Mode::DryRun => (Presence::Virtual, false),
        Mode::Live if state.ledger.count_attempt(counted.transaction) => (Presence::Add, true),
        Mode::Live => (Presence::Counted, false),
    };
    let mut windows = FeatureVector::missing(catalogue.features.len());
    state.windows.observe(&catalogue.plan, &counted.attempt, presence, windows.numbers_mut());
    Observation { windows, counted, is_new }
}
