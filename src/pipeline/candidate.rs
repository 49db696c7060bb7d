//! Rules that decide beside the live ones, and change nothing: read and checked like them, together with them, and anew with them.
//!
//! A candidate with a mistake is refused whole; the one before stays, and the live policy never knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::domain::time::EventTime;
use crate::engine::policy::{Policy, load_rules};
use crate::pipeline::policy::Refusal;

/// A candidate that decides beside the live policy.
#[derive(Debug)]
pub struct Candidate {
    /// The live catalogue and model with the candidate's rules.
    pub policy: Policy,
    /// Since when.
    pub since: EventTime,
}

/// Keeps the candidate.
#[derive(Debug, Default)]
pub struct CandidateKeeper {
    directory: Option<PathBuf>,
    current: ArcSwapOption<Candidate>,
    refused: Mutex<Option<Refusal>>,
    /// Held while files are read, so that what was read last is what stays.
    reloading: Mutex<()>,
}

impl CandidateKeeper {
    /// For the rules in a directory, if there is one. Nothing is read yet.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, ..Self::default() }
    }

    /// The directory of the rules.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The candidate that decides now.
    pub fn current(&self) -> Option<Arc<Candidate>> {
        self.current.load_full()
    }

    /// Why the last one was refused; `None` when it was not.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused.lock().clone()
    }

    /// Reads the rules again, for the policy that is live now. Blocks while it reads and checks.
    pub fn reload(
        &self,
        live: impl FnOnce() -> Arc<crate::pipeline::policy::LivePolicy>,
        cause: &'static str,
        now: EventTime,
    ) {
        let Some(directory) = &self.directory else { return };
        let _alone = self.reloading.lock();
        let live = live();
        match load_rules(directory, &live.policy.catalogue) {
            Ok(rules) => {
                *self.refused.lock() = None;
                let policy = live.policy.with_rules(rules);
                if self.current().is_none_or(|current| current.policy.hash != policy.hash) {
                    info!(cause, rules = %policy.versions.rules, "a new candidate decides beside the live rules");
                    self.current.store(Some(Arc::new(Candidate { policy, since: now })));
                }
            }
            Err(problems) => {
                let errors: Vec<String> = problems.iter().map(ToString::to_string).collect();
                for error in &errors {
                    warn!(cause, "the candidate rules were refused: {error}");
                }
                *self.refused.lock() = Some(Refusal { at: now.to_string(), cause, errors, problems });
                // The rules before may name what the catalogue does not have any more.
                let fits =
                    |current: &Candidate| current.policy.versions.features == live.policy.versions.features;
                if self.current().is_some_and(|current| !fits(&current)) {
                    self.current.store(None);
                }
            }
        }
    }
}
