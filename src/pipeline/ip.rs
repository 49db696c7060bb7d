//! What local files know of addresses, live: read whole, checked whole, swapped whole. A candidate with a mistake changes nothing but
//! the refusal. It reloads when the policy does, and for the same causes; files that have not changed are not read again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tracing::{info, warn};

use crate::audit::record::{IpFileRecord, IpRecord, RECORDED_PROBLEMS_MAX};
use crate::domain::ip_facts::IpFacts;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::ip::files::{IpError, IpFiles};
use crate::ip::knowledge::IpKnowledge;
use crate::pipeline::retired::Retired;

/// A database that was made longer ago is warned of, unless config says otherwise: MaxMind publishes twice a week, others monthly.
pub const DATABASE_AGE_MAX_DEFAULT: Duration = Duration::from_secs(45 * 86_400);

/// Which files, and how old they may become.
#[derive(Clone, Debug)]
pub struct IpSettings {
    /// The files.
    pub files: IpFiles,
    /// A database that was made longer ago is warned of.
    pub database_age_max: Duration,
}

impl Default for IpSettings {
    fn default() -> Self {
        Self { files: IpFiles::default(), database_age_max: DATABASE_AGE_MAX_DEFAULT }
    }
}

/// What is live, and why the last candidate was refused.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct IpStatus {
    /// Every database.
    pub databases: Vec<DatabaseStatus>,
    /// Every list.
    pub lists: Vec<ListFileStatus>,
    /// Since when, in RFC 3339.
    pub live_since: String,
    /// Why the last candidate was refused; absent when the last one went live.
    pub refused: Option<IpRefusal>,
    /// How many candidates have gone live since the start.
    pub reloads: u64,
    /// How many have been refused.
    pub refusals: u64,
}

/// One database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DatabaseStatus {
    /// Its file.
    pub file: PathBuf,
    /// What it calls itself.
    pub kind: String,
    /// Hash of its bytes.
    pub sha256: Box<str>,
    /// When it was made, in RFC 3339.
    pub built_at: String,
    /// Whether that is longer ago than config allows.
    pub is_old: bool,
}

/// One list.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ListFileStatus {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Hash of its bytes.
    pub sha256: Box<str>,
    /// How many addresses and blocks it holds.
    pub entries: usize,
}

/// Why a candidate was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IpRefusal {
    /// When, in RFC 3339.
    pub at: String,
    /// What asked for it.
    pub cause: &'static str,
    /// Every mistake, with its file and line.
    pub errors: Vec<String>,
}

/// What came of a reload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IpReloaded {
    /// On disk lies what is live already.
    Unchanged,
    /// The candidate is live.
    Live,
    /// The candidate was refused; what was live still is.
    Refused(Vec<String>),
}

/// Keeps what is live.
pub struct IpKeeper {
    live: ArcSwap<IpKnowledge>,
    settings: IpSettings,
    status: Mutex<Changes>,
    /// Held while a candidate is read, so that the one read last is the one that stays.
    reloading: Mutex<()>,
    retired: Retired<IpKnowledge>,
    /// Lookups by what they found.
    pub(super) lookups: Lookups,
}

/// How often lookups found what.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pub(super) known: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) reserved: AtomicU64,
}

struct Changes {
    live_since: EventTime,
    refused: Option<IpRefusal>,
    reloads: u64,
    refusals: u64,
}

impl std::fmt::Debug for IpKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IpKeeper").field("files", &self.settings.files).finish_non_exhaustive()
    }
}

impl IpKeeper {
    /// Starts with what has been loaded from these files.
    pub fn new(first: IpKnowledge, settings: IpSettings, now: EventTime) -> std::io::Result<Self> {
        let keeper = Self {
            live: ArcSwap::from_pointee(first),
            settings,
            status: Mutex::new(Changes { live_since: now, refused: None, reloads: 0, refusals: 0 }),
            reloading: Mutex::new(()),
            retired: Retired::start()?,
            lookups: Lookups::default(),
        };
        keeper.warn_of_age(now);
        Ok(keeper)
    }

    /// What is known of the address of a transaction; `None` when it has none. Waits for nothing.
    pub fn look_up(&self, transaction: &Transaction) -> Option<IpFacts> {
        let facts = self.live.load().look_up(transaction.device.ip.as_ref()?);
        let is_known = facts.country.is_some()
            || facts.asn.is_some()
            || facts.lists.as_ref().is_some_and(|lists| !lists.is_empty());
        let count = match () {
            () if facts.kind.is_reserved() => &self.lookups.reserved,
            () if is_known => &self.lookups.known,
            () => &self.lookups.unknown,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Some(facts)
    }

    /// What is live.
    pub fn live(&self) -> Arc<IpKnowledge> {
        self.live.load_full()
    }

    /// The files.
    pub fn watched(&self) -> impl Iterator<Item = &Path> {
        self.settings.files.paths()
    }

    /// What is live, and why the last candidate was refused; `None` when config names no file.
    pub fn status(&self, now: EventTime) -> Option<IpStatus> {
        if self.settings.files.is_empty() {
            return None;
        }
        let changes = self.status.lock();
        Some(self.status_of(&self.live.load(), &changes, now))
    }

    fn status_of(&self, live: &IpKnowledge, changes: &Changes, now: EventTime) -> IpStatus {
        let databases = live.databases().iter().map(|database| DatabaseStatus {
            file: database.file.clone(),
            kind: database.kind().to_owned(),
            sha256: database.sha256.clone(),
            built_at: built_at(database.built_at_s()),
            is_old: age(database.built_at_s(), now) > self.settings.database_age_max,
        });
        let lists = live.lists().iter().map(|list| ListFileStatus {
            name: list.config.name.clone(),
            file: list.config.file.clone(),
            sha256: list.sha256.clone(),
            entries: list.entries,
        });
        IpStatus {
            databases: databases.collect(),
            lists: lists.collect(),
            live_since: changes.live_since.to_string(),
            refused: changes.refused.clone(),
            reloads: changes.reloads,
            refusals: changes.refusals,
        }
    }

    /// Reads the files again, if they are others than those that were read. A sound candidate goes live when `record`, given what the status will
    /// be, has put it into the log: so no decision that saw it stands before that record, and one that cannot be recorded is refused. Blocks while
    /// it reads, checks and records.
    pub fn reload(
        &self,
        cause: &'static str,
        now: EventTime,
        record: &dyn Fn(IpStatus) -> Result<(), String>,
    ) -> IpReloaded {
        let _alone = self.reloading.lock();
        if self.live.load().is_of(&self.settings.files) {
            self.status.lock().refused = None;
            return IpReloaded::Unchanged;
        }
        let candidate = match IpKnowledge::load(&self.settings.files) {
            Ok(candidate) => candidate,
            Err(mistakes) => {
                return self.refuse(mistakes.iter().map(IpError::to_string).collect(), cause, now);
            }
        };
        let changes = {
            let changes = self.status.lock();
            Changes { live_since: now, refused: None, reloads: changes.reloads + 1, ..*changes }
        };
        if let Err(error) = record(self.status_of(&candidate, &changes, now)) {
            let error = format!(
                "the files about addresses are sound, but cannot be recorded, so they do not go live: {error}; reload again"
            );
            return self.refuse(vec![error], cause, now);
        }
        *self.status.lock() = changes;
        self.retired.take(self.live.swap(Arc::new(candidate)));
        info!(cause, "the files about addresses have changed and are live");
        self.warn_of_age(now);
        IpReloaded::Live
    }

    fn refuse(&self, errors: Vec<String>, cause: &'static str, now: EventTime) -> IpReloaded {
        for error in &errors {
            warn!(cause, "files about addresses were refused, and those before stay: {error}");
        }
        let mut changes = self.status.lock();
        changes.refusals += 1;
        changes.refused = Some(IpRefusal { at: now.to_string(), cause, errors: errors.clone() });
        IpReloaded::Refused(errors)
    }

    fn warn_of_age(&self, now: EventTime) {
        for database in self.live.load().databases() {
            let age = age(database.built_at_s(), now);
            if age > self.settings.database_age_max {
                warn!(
                    file = %database.file.display(),
                    built_at = built_at(database.built_at_s()),
                    days = age.as_secs() / 86_400,
                    "a database of addresses is old: networks have changed hands since"
                );
            }
        }
    }
}

impl IpStatus {
    /// As a record of a change keeps it.
    pub fn record(&self) -> IpRecord {
        let file = |file: &Path, sha256: &str| IpFileRecord { file: file.to_owned(), sha256: sha256.into() };
        let databases = self.databases.iter().map(|it| file(&it.file, &it.sha256));
        let lists = self.lists.iter().map(|it| file(&it.file, &it.sha256));
        let refused = self.refused.iter().flat_map(|it| &it.errors);
        IpRecord {
            files: databases.chain(lists).collect(),
            refused: refused.take(RECORDED_PROBLEMS_MAX).cloned().collect(),
        }
    }
}

/// How long ago a database was made.
pub(super) fn age(built_at_s: u64, now: EventTime) -> Duration {
    let now_s = u64::try_from(now.unix_millis() / 1_000).unwrap_or(0);
    Duration::from_secs(now_s.saturating_sub(built_at_s))
}

fn built_at(built_at_s: u64) -> String {
    let millis = i64::try_from(built_at_s).ok().and_then(|seconds| seconds.checked_mul(1_000));
    let at = millis.and_then(|millis| EventTime::from_unix_millis(millis).ok());
    at.map_or_else(|| format!("{built_at_s} s"), |at| at.to_string())
}
