//! The live policy: loaded whole, checked whole, swapped whole. A candidate with a mistake changes nothing but the refusal.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;

use crate::domain::decision::Versions;
use crate::domain::field::Field;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::domain::value::{Value, ValueType};
use crate::engine::policy::{Policy, PolicyFiles};
use crate::engine::settings::MissingPolicy;
use crate::enrich::plan::{ProfilePlan, ProfileType};
use crate::enrich::source::ProfileKeys;
use crate::window::layout::Layout;

/// A policy with what the shell needs beside it.
#[derive(Debug)]
pub struct LivePolicy {
    /// The policy.
    pub policy: Policy,
    /// What to ask the enrichment store for.
    pub profile_plan: ProfilePlan,
    profile_keys: Box<[Field]>,
}

impl LivePolicy {
    /// Reads and checks everything that a policy is made of; every mistake is reported at once.
    pub fn load(files: &PolicyFiles, missing: MissingPolicy) -> Result<Self, Vec<String>> {
        let policy = Policy::load(files, missing)?;
        let mut plan = ProfilePlan::builder();
        for feature in &policy.catalogue.profile {
            let kind = match feature.value_type {
                ValueType::Bool => ProfileType::Bool,
                ValueType::Int => ProfileType::Int,
                ValueType::Text => ProfileType::Text,
                _ => ProfileType::Number,
            };
            plan.field(&feature.entity, &feature.field, kind).map_err(|error| vec![error.to_string()])?;
        }
        let profile_plan = plan.build();
        let key_of =
            |entity: &str| policy.catalogue.profile.iter().find(|feature| &*feature.entity == entity);
        let profile_keys = profile_plan
            .entities()
            .iter()
            .filter_map(|entity| key_of(entity.name()))
            .map(|feature| feature.key)
            .collect();
        Ok(Self { policy, profile_plan, profile_keys })
    }

    /// Whose profiles a transaction asks for, in the order of the plan.
    pub fn profile_keys<'a>(&self, transaction: &'a Transaction) -> ProfileKeys<'a> {
        self.profile_keys
            .iter()
            .map(|field| match field.of(transaction) {
                Value::Text(text) => Some(text),
                _ => None,
            })
            .collect()
    }
}

/// What is live, since when, and why the last candidate was refused.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    /// The live policy, by content hash.
    pub policy: Box<str>,
    /// What it is made of.
    pub versions: Versions,
    /// Since when, in RFC 3339.
    pub live_since: String,
    /// What brought it: `start`, `file_change`, `sighup` or `api`.
    pub cause: &'static str,
    /// Why the last candidate was refused; absent when the last one went live.
    pub refused: Option<Refusal>,
    /// How many candidates have gone live since the start.
    pub reloads: u64,
    /// How many have been refused.
    pub refusals: u64,
}

/// Why a candidate was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// When, in RFC 3339.
    pub at: String,
    /// What asked for the reload.
    pub cause: &'static str,
    /// Every mistake, with its file and line.
    pub errors: Vec<String>,
}

/// Keeps the live policy.
pub struct PolicyKeeper {
    live: ArcSwap<LivePolicy>,
    files: PolicyFiles,
    missing: MissingPolicy,
    layout: Arc<Layout>,
    status: Mutex<PolicyStatus>,
}

impl std::fmt::Debug for PolicyKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyKeeper").field("status", &*self.status.lock()).finish_non_exhaustive()
    }
}

/// What came of a reload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reloaded {
    /// The files say what is live already.
    Unchanged,
    /// The candidate is live.
    Live,
    /// The candidate was refused; what was live still is.
    Refused(Vec<String>),
}

impl PolicyKeeper {
    /// Starts with a policy that has been loaded from `files`; `layout` is what the window store was made for.
    pub fn new(
        first: LivePolicy,
        files: PolicyFiles,
        missing: MissingPolicy,
        layout: Arc<Layout>,
        now: EventTime,
    ) -> Self {
        let status = PolicyStatus {
            policy: first.policy.hash.clone(),
            versions: first.policy.versions.clone(),
            live_since: now.to_string(),
            cause: "start",
            refused: None,
            reloads: 0,
            refusals: 0,
        };
        Self { live: ArcSwap::from_pointee(first), files, missing, layout, status: Mutex::new(status) }
    }

    /// The policy that decides now. Whoever holds it finishes with it.
    pub fn live(&self) -> Arc<LivePolicy> {
        self.live.load_full()
    }

    /// What is live, and why the last candidate was refused.
    pub fn status(&self) -> PolicyStatus {
        self.status.lock().clone()
    }

    /// The files and directories that a policy is read from.
    pub fn watched(&self) -> Vec<PathBuf> {
        self.files.watched()
    }

    /// Reads the files again. Blocks while it reads and checks.
    pub fn reload(&self, cause: &'static str, now: EventTime) -> Reloaded {
        let candidate = LivePolicy::load(&self.files, self.missing).and_then(|candidate| {
            if self.layout.covers(&candidate.policy.catalogue.layout) {
                Ok(candidate)
            } else {
                Err(vec![
                    "the feature catalogue counts for other entities, over longer windows or over other fields than the \
                     windows in memory; restart to rebuild them from the log"
                        .to_owned(),
                ])
            }
        });
        let mut status = self.status.lock();
        match candidate {
            Err(errors) => {
                status.refused = Some(Refusal { at: now.to_string(), cause, errors: errors.clone() });
                status.refusals += 1;
                Reloaded::Refused(errors)
            }
            Ok(candidate) if candidate.policy.hash == self.live.load().policy.hash => {
                status.refused = None;
                Reloaded::Unchanged
            }
            Ok(candidate) => {
                status.policy = candidate.policy.hash.clone();
                status.versions = candidate.policy.versions.clone();
                status.live_since = now.to_string();
                status.cause = cause;
                status.refused = None;
                status.reloads += 1;
                self.live.store(Arc::new(candidate));
                Reloaded::Live
            }
        }
    }
}
