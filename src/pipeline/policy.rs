//! The live policy: loaded whole, checked whole, swapped whole. A candidate with a mistake changes nothing but the refusal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tracing::warn;

use crate::domain::decision::{ChallengerVersion, Versions};
use crate::domain::field::Field;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::domain::value::{Value, ValueType};
use crate::engine::mistake::Mistake;
use crate::engine::policy::{Policy, PolicyFiles};
use crate::engine::settings::MissingPolicy;
use crate::enrich::plan::{ProfilePlan, ProfileType};
use crate::enrich::source::ProfileKeys;
use crate::pipeline::ip::IpStatus;
use crate::pipeline::retired::Retired;
use crate::pipeline::rule_counts::RuleCounts;
use crate::policy_archive::store::{ArchiveSize, PolicyArchive};
use crate::rules::problem::Problem;
use crate::window::layout::Layout;

/// A policy with what the shell needs beside it.
#[derive(Debug)]
pub struct LivePolicy {
    /// The policy.
    pub policy: Policy,
    /// What to ask the enrichment store for.
    pub profile_plan: ProfilePlan,
    /// How often its rules matched.
    pub counts: RuleCounts,
    profile_keys: Box<[Field]>,
}

impl LivePolicy {
    /// Reads and checks everything that a policy is made of; every mistake is reported at once.
    pub fn load(files: &PolicyFiles, missing: MissingPolicy) -> Result<Self, Vec<Mistake>> {
        let policy = Policy::check(files, missing)?;
        for warning in policy.catalogue_warnings() {
            warn!("{warning}");
        }
        let mut plan = ProfilePlan::builder();
        for feature in &policy.catalogue.profile {
            let kind = match feature.value_type {
                ValueType::Bool => ProfileType::Bool,
                ValueType::Int => ProfileType::Int,
                ValueType::Text => ProfileType::Text,
                _ => ProfileType::Number,
            };
            plan.field(&feature.entity, &feature.field, kind)
                .map_err(|error| vec![Mistake::of_catalogue(&files.features, error.to_string())])?;
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
        // They begin when it goes live.
        let counts = RuleCounts::new(&policy.rules, EventTime::EPOCH);
        Ok(Self { policy, profile_plan, counts, profile_keys })
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
    /// The models that score beside it.
    pub challengers: Vec<ChallengerVersion>,
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
    /// The files about addresses; absent where config names none. They are no part of the policy, but reload with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpStatus>,
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
    /// The same in parts: file, line, column, rule, message, suggestion.
    pub problems: Vec<Problem>,
}

/// Keeps the live policy.
pub struct PolicyKeeper {
    live: ArcSwap<LivePolicy>,
    files: PolicyFiles,
    missing: MissingPolicy,
    layout: Arc<Layout>,
    /// What every policy is put into before it decides.
    archive: PolicyArchive,
    status: Mutex<PolicyStatus>,
    /// Held while a candidate is read, so that the one read last is the one that stays.
    reloading: Mutex<()>,
    retired: Retired<LivePolicy>,
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
    /// Starts with a policy that has been loaded from `files` and archived; `layout` is what the window store was made for.
    pub fn new(
        mut first: LivePolicy,
        files: PolicyFiles,
        missing: MissingPolicy,
        layout: Arc<Layout>,
        archive: PolicyArchive,
        now: EventTime,
    ) -> io::Result<Self> {
        first.counts = RuleCounts::new(&first.policy.rules, now);
        let status = PolicyStatus {
            policy: first.policy.hash.clone(),
            versions: first.policy.versions.clone(),
            challengers: first.policy.challenger_versions(),
            live_since: now.to_string(),
            cause: "start",
            refused: None,
            reloads: 0,
            refusals: 0,
            ip: None,
        };
        Ok(Self {
            live: ArcSwap::from_pointee(first),
            files,
            missing,
            layout,
            archive,
            status: Mutex::new(status),
            reloading: Mutex::new(()),
            retired: Retired::start()?,
        })
    }

    /// The policy that decides now. Whoever holds it finishes with it.
    pub fn live(&self) -> Arc<LivePolicy> {
        self.live.load_full()
    }

    /// What is live, and why the last candidate was refused; without the files about addresses, which `Service` adds.
    pub fn status(&self) -> PolicyStatus {
        self.status.lock().clone()
    }

    /// How much the policy archive holds.
    pub fn archive_size(&self) -> ArchiveSize {
        self.archive.size()
    }

    /// Where the rules lie.
    pub fn rules_directory(&self) -> &Path {
        &self.files.rules
    }

    /// Where the file of a list lies.
    pub fn list_file(&self, list: &str) -> String {
        self.files.rules.join("lists").join(format!("{list}.txt")).display().to_string()
    }

    /// The files and directories that a policy is read from.
    pub fn watched(&self) -> Vec<PathBuf> {
        self.files.watched()
    }

    /// Reads the files again. A sound candidate goes live when `record`, given what the status will be, has put it into the log: so
    /// no decision by it stands before that record, and a candidate that cannot be recorded is refused. Blocks while it reads, checks and records.
    pub fn reload(
        &self,
        cause: &'static str,
        now: EventTime,
        record: &dyn Fn(&PolicyStatus) -> Result<(), String>,
    ) -> (Reloaded, PolicyStatus) {
        let _alone = self.reloading.lock();
        let reloaded = self.reload_alone(cause, now, record);
        (reloaded, self.status())
    }

    /// Refuses a candidate that could not be looked at to the end.
    pub fn refuse(&self, cause: &'static str, now: EventTime, message: String) -> (Reloaded, PolicyStatus) {
        let directory = self.files.rules.display().to_string();
        let refused = self.refused(&[Mistake::Rules(Problem::error(directory, message))], cause, now);
        (refused, self.status())
    }

    fn refused(&self, found: &[Mistake], cause: &'static str, now: EventTime) -> Reloaded {
        let (errors, problems): (Vec<_>, Vec<_>) =
            found.iter().map(|mistake| (mistake.to_string(), mistake.problem())).unzip();
        let mut status = self.status.lock();
        status.refused = Some(Refusal { at: now.to_string(), cause, errors: errors.clone(), problems });
        status.refusals += 1;
        Reloaded::Refused(errors)
    }

    fn reload_alone(
        &self,
        cause: &'static str,
        now: EventTime,
        record: &dyn Fn(&PolicyStatus) -> Result<(), String>,
    ) -> Reloaded {
        let candidate = LivePolicy::load(&self.files, self.missing).and_then(|candidate| {
            let live = self.live();
            let (old, new) = (&live.policy.catalogue.entities, &candidate.policy.catalogue.entities);
            // Keys and attributes in memory were made with the old entities: they mean something else under new ones.
            let changed = old.iter().zip(new.iter()).find(|(old, new)| old != new);
            let what = match changed {
                Some((old, _)) => Some(format!("the entity `{}` or what is counted of it by `distinct`", old.name)),
                None if old.len() != new.len() => Some("the list of entities".to_owned()),
                None if !self.layout.covers(&candidate.policy.catalogue.layout) => {
                    Some("a window or a stream, of which more is needed than is kept".to_owned())
                }
                None => None,
            };
            what.map_or(Ok(candidate), |what| {
                let message =
                    format!("changes {what}; the windows in memory cannot follow: restart to rebuild them from the log");
                Err(vec![Mistake::of_catalogue(&self.files.features, message)])
            })
        });
        let candidate = candidate.and_then(|candidate| {
            if candidate.policy.hash != self.live.load().policy.hash {
                self.archive.store(&candidate.policy, &self.files).map_err(|error| {
                    vec![Mistake::Archive { file: error.file().to_owned(), message: error.to_string() }]
                })?;
            }
            Ok(candidate)
        });
        let mut candidate = match candidate {
            Ok(candidate) => candidate,
            Err(found) => return self.refused(&found, cause, now),
        };
        let live = self.live();
        if candidate.policy.hash == live.policy.hash {
            self.status.lock().refused = None;
            return Reloaded::Unchanged;
        }
        let mut status = self.status();
        status.policy = candidate.policy.hash.clone();
        status.versions = candidate.policy.versions.clone();
        status.challengers = candidate.policy.challenger_versions();
        status.live_since = now.to_string();
        status.cause = cause;
        status.refused = None;
        status.reloads += 1;
        if let Err(error) = record(&status) {
            let directory = self.files.rules.display().to_string();
            let message =
                format!("is sound, but cannot be recorded, so it does not go live: {error}; reload again");
            return self.refused(&[Mistake::Rules(Problem::error(directory, message))], cause, now);
        }
        candidate.counts = live.counts.following(&live.policy.rules, &candidate.policy.rules, now);
        drop(live);
        *self.status.lock() = status;
        self.retired.take(self.live.swap(Arc::new(candidate)));
        Reloaded::Live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::settings::OnMissing;
    use crate::model::backend::Backend;

    const CATALOGUE: &str = "version: 1
entities:
  card: {key: card.fingerprint}
  customer: {key: customer.id}
windows:
  - {entity: card, stream: attempts, count: [1h, 24h]}
  - {entity: customer, stream: attempts, of: device.ip, distinct: [24h]}
";

    #[test]
    fn a_catalogue_goes_live_only_if_what_is_in_memory_means_the_same_under_it() {
        let directory = tempfile::tempdir().unwrap();
        let rules = directory.path().join("rules");
        std::fs::create_dir(&rules).unwrap();
        std::fs::write(rules.join("default.yaml"), "default: {then: APPROVE, reason: no_rule_matched}\n")
            .unwrap();
        let features = directory.path().join("features.yaml");
        let files = PolicyFiles {
            rules,
            model: None,
            challengers: Vec::new(),
            backend: Backend::default(),
            features,
        };
        let missing = MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Review,
            overload: OnMissing::Continue,
        };
        std::fs::write(&files.features, CATALOGUE).unwrap();
        let first = LivePolicy::load(&files, missing).unwrap();
        let layout = Arc::clone(&first.policy.catalogue.layout);
        let now = EventTime::from_unix_millis(0).unwrap();
        let archive = PolicyArchive::create(directory.path()).unwrap();
        let keeper = PolicyKeeper::new(first, files.clone(), missing, layout, archive, now).unwrap();

        let cases = [
            ("another window within the longest", "[1h, 24h]", "[5m, 24h]", None),
            ("a longer window", "[1h, 24h]", "[1h, 30d]", Some("a window")),
            ("another key", "card.fingerprint", "card.bin", Some("`card`")),
            ("another field counted", "of: device.ip", "of: device.id", Some("`customer`")),
            ("an entity more", "  card: {", "  bin: {key: card.bin}\n  card: {", Some("`card`")),
            ("nothing at all", "version: 1", "version: 1", None),
        ];
        for (what, old, new, refusal) in cases {
            std::fs::write(&files.features, CATALOGUE.replace(old, new)).unwrap();
            match (keeper.reload("api", now, &|_| Ok(())).0, refusal) {
                (Reloaded::Refused(errors), Some(part)) => {
                    assert!(
                        errors[0].contains("features.yaml") && errors[0].contains(part),
                        "{what}: {errors:?}"
                    );
                }
                (Reloaded::Live, None) => {}
                (other, _) => panic!("{what}: {other:?}"),
            }
        }
    }
}
