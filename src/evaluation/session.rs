//! Deciding past transactions as if they came live: `observe`, `judge` and their consequences, one after the other.
//!
//! The consequences of a decision reach the windows before the next transaction is looked at: what a client sees that waits
//! for each answer before it sends the next. The clock is the transaction's own time, and the enrichment store is empty. Addresses are
//! looked up in the files that there are now: what they said then, only a record knows.

use std::sync::Arc;

use crate::domain::enrichment::Enrichment;
use crate::domain::label::Label;
use crate::domain::transaction::{Mode, Transaction};
use crate::engine::judge::Judgement;
use crate::engine::ledger::TRANSACTIONS_MAX;
use crate::engine::observe::{Observation, observe, prepare};
use crate::engine::policy::Policy;
use crate::engine::settings::Effort;
use crate::engine::state::State;
use crate::evaluation::again::decide_from_windows;
use crate::feature::vector::FeatureVector;
use crate::ip::knowledge::IpKnowledge;
use crate::rules::run_time::RunTimeLists;

/// What keys the hashes: files on one's own disk do not aim at them.
const PUBLIC_SECRET: [u8; 16] = [0; 16];

/// One policy and the state that it folds a file into.
#[derive(Debug)]
pub struct Session<'p> {
    policy: &'p Policy,
    state: State,
    no_profiles: Enrichment,
    /// Files of transactions do not say what stood on lists at run time: nothing.
    no_lists: RunTimeLists,
    ip: Arc<IpKnowledge>,
}

impl<'p> Session<'p> {
    /// An empty state, and nothing known of addresses but their kind.
    pub fn new(policy: &'p Policy) -> Self {
        Self::with_ip(policy, Arc::default())
    }

    /// An empty state, and local files that know of addresses.
    pub fn with_ip(policy: &'p Policy, ip: Arc<IpKnowledge>) -> Self {
        let layout = Arc::clone(&policy.catalogue.layout);
        Self {
            policy,
            state: State::new(layout, PUBLIC_SECRET, TRANSACTIONS_MAX),
            no_profiles: Enrichment::absent(policy.catalogue.profile.len()),
            no_lists: RunTimeLists::default(),
            ip,
        }
    }

    /// Decides a transaction and lets its consequences happen. A dry run changes nothing.
    pub fn decide(&self, transaction: &Transaction, mode: Mode) -> Judgement {
        let Observation { windows, counted, .. } = self.observe(transaction, mode);
        let judgement = self.judge(self.policy, transaction, windows);
        if mode == Mode::Live {
            self.state.record_outcome(&counted, judgement.outcome);
        }
        judgement
    }

    /// What the windows say of a transaction, counting it in the same step.
    pub fn observe(&self, transaction: &Transaction, mode: Mode) -> Observation {
        let counted = prepare(&self.state, &self.policy.catalogue, transaction);
        observe(&self.state, &self.policy.catalogue, counted, mode)
    }

    /// Decides by a policy with the same catalogue. No consequence happens.
    pub fn judge(&self, policy: &Policy, transaction: &Transaction, windows: FeatureVector) -> Judgement {
        let ip = transaction.device.ip.as_ref().map(|address| self.ip.look_up(address));
        let (profiles, lists) = (&self.no_profiles, &self.no_lists);
        decide_from_windows(policy, transaction, windows, profiles, ip, lists, Effort::Full)
    }

    /// Whose catalogue it is.
    pub const fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// The state that everything is counted in.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Counts a label for the transaction that it is for.
    pub fn label(&self, transaction: &Transaction, label: &Label) {
        self.state.record_label(&self.state.counted(&self.policy.catalogue, transaction), label);
    }

    /// How many attempts came too late to be counted for some entity: of the entity with the most.
    pub fn late_events(&self) -> u64 {
        self.state.windows.stats().iter().map(|stats| stats.late_attempts).max().unwrap_or(0)
    }
}
