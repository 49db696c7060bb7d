//! Deciding past transactions as if they came live: `observe`, `judge` and their consequences, one after the other.
//!
//! The consequences of a decision reach the windows before the next transaction is looked at: what a client sees that waits
//! for each answer before it sends the next. The clock is the transaction's own time, and the enrichment store is empty.

use std::path::Path;

use crate::domain::enrichment::Enrichment;
use crate::domain::label::Label;
use crate::domain::transaction::{Mode, Transaction};
use crate::engine::judge::{Judgement, judge};
use crate::engine::ledger::TRANSACTIONS_MAX;
use crate::engine::observe::{observe, prepare};
use crate::engine::policy::Policy;
use crate::engine::state::State;
use crate::offline::error::InputError;
use crate::offline::labels::LabelTable;
use crate::offline::mapping::Mapping;
use crate::offline::replay::{LabelSource, Replay};
use crate::offline::transactions::{ReadOptions, TransactionReader};
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
}

impl<'p> Session<'p> {
    /// An empty state.
    pub fn new(policy: &'p Policy) -> Self {
        let layout = std::sync::Arc::clone(&policy.catalogue.layout);
        Self {
            policy,
            state: State::new(layout, PUBLIC_SECRET, TRANSACTIONS_MAX),
            no_profiles: Enrichment::absent(policy.catalogue.profile.len()),
            no_lists: RunTimeLists::default(),
        }
    }

    /// Decides a transaction and lets its consequences happen. A dry run changes nothing.
    pub fn decide(&self, transaction: &Transaction, mode: Mode) -> Judgement {
        let counted = prepare(&self.state, &self.policy.catalogue, transaction);
        let observation = observe(&self.state, &self.policy.catalogue, counted, mode);
        let (profiles, lists) = (&self.no_profiles, &self.no_lists);
        let judgement = judge(self.policy, transaction, observation.windows, profiles, lists, &mut |_| {});
        if mode == Mode::Live {
            self.state.record_outcome(&observation.counted, judgement.outcome);
        }
        judgement
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

/// What to replay, and how to read it.
#[derive(Clone, Copy, Debug)]
pub struct ReplayFiles<'a> {
    /// Transactions.
    pub input: &'a Path,
    /// Labels.
    pub labels: Option<&'a Path>,
    /// Which column is which field.
    pub mapping: Option<&'a Mapping>,
    /// Whether to leave out wrong rows.
    pub skip_bad_rows: bool,
}

impl ReplayFiles<'_> {
    /// Opens the files and reads the labels.
    pub fn open(&self) -> Result<Replay<TransactionReader>, InputError> {
        let options = ReadOptions { mapping: self.mapping, skip_bad_rows: self.skip_bad_rows };
        let table = self.labels.map(|labels| LabelTable::load(labels, options)).transpose()?;
        let labels = LabelSource::choose(self.mapping, table)?;
        Ok(Replay::new(TransactionReader::open(self.input, options)?, labels))
    }
}
