//! The start of a service: policy, log, state rebuilt from a snapshot and the log, and only then the first request.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use crate::audit::damage::ReadError;
use crate::audit::disk::{Disk, SystemDisk};
use crate::audit::follow::{FollowError, FollowThread, Follower};
use crate::audit::lookup::LogLookup;
use crate::audit::open::{LogOptions, OpenError, OpenedLog};
use crate::audit::receipt::LogId;
use crate::audit::writer::{Ack, LogWriter, WriterOptions};
use crate::domain::time::Clock;
use crate::engine::policy::PolicyFiles;
use crate::engine::settings::MissingPolicy;
use crate::enrich::profiles::Profiles;
use crate::ip::knowledge::IpKnowledge;
use crate::pipeline::candidate::CandidateKeeper;
use crate::pipeline::checkpoints::Board;
use crate::pipeline::fold::{self, Consequence};
use crate::pipeline::ip::{IpKeeper, IpSettings};
use crate::pipeline::lane::Lane;
use crate::pipeline::lists::LIST_CHANGES_IN_FLIGHT_MAX;
use crate::pipeline::metrics::Metrics;
use crate::pipeline::policy::{LivePolicy, PolicyKeeper};
use crate::pipeline::privacy::{Privacy, PrivacySettings};
use crate::pipeline::recover::{Fold, RecoverError, consequences_max};
use crate::pipeline::restore::{Beginning, Restore};
use crate::pipeline::reviews::REVIEWS_IN_FLIGHT_MAX;
use crate::pipeline::secret::{Secret, SecretError};
use crate::pipeline::service::Service;
use crate::pipeline::settings::ServiceSettings;
use crate::pipeline::shadow::{Shadow, ShadowQueue, ShadowSettings};
use crate::pipeline::snapshot::{Snapshots, Source};
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_header::Identity;
use crate::policy_archive::error::StoreError;
use crate::policy_archive::store::PolicyArchive;
use crate::privacy::key_store::KeyStoreError;
use crate::search::live::{Indexer, LiveIndex};
use crate::search::parts::SEARCH_DIRECTORY;

/// The directory of the log inside the data directory.
pub const LOG_DIRECTORY: &str = "log";

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The policy has mistakes.
    #[error("the policy is not sound:\n  {}", .0.join("\n  "))]
    Policy(Vec<String>),
    /// It cannot be archived.
    #[error(transparent)]
    Archive(#[from] StoreError),
    /// A file about addresses has mistakes.
    #[error("the files about addresses are not sound:\n  {}", .0.join("\n  "))]
    Ip(Vec<String>),
    /// The data directory cannot be used.
    #[error("{path}: the data directory cannot be made: {error}")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// No secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// No thread for keys.
    #[error("the thread that syncs the keys of subjects cannot be started: {0}")]
    Keeper(std::io::Error),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The state cannot be rebuilt from it.
    #[error("the state cannot be rebuilt from the log: {0}")]
    Recover(#[from] RecoverError),
    /// No writer thread.
    #[error("the log's writer cannot be started: {0}")]
    Writer(std::io::Error),
    /// No thread for what is looked at after a decision.
    #[error("the thread that scores challengers and measures drift cannot be started: {0}")]
    Shadow(std::io::Error),
    /// No thread for replaced policies.
    #[error("the thread that lets go of replaced policies cannot be started: {0}")]
    Policies(std::io::Error),
    /// The search index cannot be opened.
    #[error("the search index cannot be opened: {0}")]
    Search(ReadError),
    /// No thread for the search index.
    #[error(transparent)]
    Indexer(FollowError),
    /// No snapshot thread.
    #[error("the thread that takes snapshots of the state cannot be started: {0}")]
    Snapshots(std::io::Error),
}

/// How the log is written.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// When a record counts as written.
    pub ack: Ack,
    /// With `Ack::Disk`: how long records are gathered for one sync.
    pub commit_interval: Duration,
    /// Longest segment, in bytes.
    pub segment_bytes_max: u64,
    /// Most records on their way.
    pub queue_max: usize,
}

/// Everything that a service is made of.
#[derive(Debug)]
pub struct Parts {
    /// The data directory.
    pub data: PathBuf,
    /// Where the policy lies.
    pub files: PolicyFiles,
    /// What missing parts mean.
    pub missing: MissingPolicy,
    /// What local files know of addresses.
    pub ip: IpSettings,
    /// The request path.
    pub settings: ServiceSettings,
    /// The log.
    pub log: LogSettings,
    /// How personal data is recorded.
    pub privacy: PrivacySettings,
    /// What is looked at after a decision.
    pub shadow: ShadowSettings,
    /// How often a snapshot of the state is taken; none: never. One that is there is read in any case.
    pub snapshot_interval: Option<Duration>,
}

impl Service {
    /// Loads the policy, opens the log, rebuilds the state from it and starts the log's writer. Blocks while it does.
    pub fn start(parts: Parts, profiles: Profiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        Self::start_on(Arc::new(SystemDisk), parts, profiles, clock)
    }

    /// The same with the log on any disk.
    pub fn start_on(
        disk: Arc<dyn Disk>,
        parts: Parts,
        profiles: Profiles,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StartError> {
        let policy = LivePolicy::load(&parts.files, parts.missing)
            .map_err(|found| StartError::Policy(found.iter().map(ToString::to_string).collect()))?;
        let ip = IpKnowledge::load(&parts.ip.files)
            .map_err(|found| StartError::Ip(found.iter().map(ToString::to_string).collect()))?;
        std::fs::create_dir_all(&parts.data)
            .map_err(|error| StartError::Data { path: parts.data.clone(), error })?;
        let secret = Secret::load_or_create(&parts.data)?;
        let catalogue = Arc::clone(&policy.policy.catalogue);
        let decisions_max = parts.settings.decisions_max;

        let (now, started) = (clock.now(), clock.instant());
        let directory = parts.data.join(LOG_DIRECTORY);
        let options = LogOptions { segment_bytes_max: parts.log.segment_bytes_max, ..LogOptions::default() };
        let opened = OpenedLog::open_on(&disk, &directory, LogId(secret.log_id(now)), now, options)?;
        for repair in &opened.repairs {
            warn!(?repair, "the audit log was repaired");
        }
        // Under the log's lock, so that one process writes it.
        let archive = PolicyArchive::create(&parts.data)?;
        archive.store(&policy.policy, &parts.files)?;
        let log_id = opened.log_id();
        let mut privacy = Privacy::open(&parts.data, &secret, log_id, parts.log.ack, parts.privacy)?;
        let identity = Identity::new(log_id, &secret, decisions_max, &catalogue);
        let snapshots = StateDirectory::new(&parts.data);
        let restore = Restore {
            snapshots: &snapshots,
            log: &directory,
            head: opened.head(),
            identity: &identity,
            layout: &catalogue.layout,
            secret: &secret,
            decisions_max,
        };
        let Beginning { state, index, reader, restored } =
            restore.begin(&*clock).map_err(RecoverError::from)?;
        let state = Arc::new(state);
        let waiting_max = consequences_max(parts.log.queue_max);
        let recovered = Fold::new(&catalogue, &secret, &state, &index, &privacy.keys, waiting_max).run(
            reader,
            |sequence| {
                if sequence.is_multiple_of(1_000_000) {
                    info!(sequence, "rebuilding the state from the log");
                }
            },
        )?;
        if recovered.keys_lost > 0 {
            let (decisions, keys) = (recovered.keys_lost, privacy.keys.keys().path().display());
            warn!(decisions, %keys, "the keys of recorded decisions are not there: restore them from a backup, if nobody erased them");
        }
        // An erasure that was cut short is finished before anything is answered.
        privacy.keys.destroy_doomed()?;
        privacy.start_keeper().map_err(StartError::Keeper)?;
        info!(
            decisions = recovered.decisions,
            labels = recovered.labels,
            list_changes = recovered.list_changes,
            list_entries = state.lists.load().len(),
            records = recovered.records,
            erasures = recovered.erasures,
            unreadable = recovered.unreadable,
            snapshot = restored.as_ref().map(|restored| restored.header.applied.sequence),
            seconds = clock.instant().saturating_duration_since(started).as_secs_f64(),
            "the state is rebuilt"
        );

        let applied = recovered.last.or(restored.as_ref().map(|restored| restored.header.applied));
        let lane = Arc::new(Mutex::new(Lane { applied }));
        let metrics = Arc::new(Metrics::new(clock.instant()));
        let writer = WriterOptions {
            ack: parts.log.ack,
            queue_max: parts.log.queue_max,
            commit_interval: parts.log.commit_interval,
            before_group: Some(privacy.before_group()),
            clock: Arc::clone(&clock),
            disk,
            ..WriterOptions::default()
        };
        let candidates = Arc::new(CandidateKeeper::new(parts.shadow.candidate_rules.clone()));
        let (shadow_queue, seen) = ShadowQueue::new(parts.shadow.queue_max, &metrics, &candidates);
        let search = LiveIndex::open(
            &parts.data.join(SEARCH_DIRECTORY),
            &directory,
            log_id,
            secret.search_key(),
            privacy.bodies.clone(),
        )
        .map_err(StartError::Search)?;
        let on_committed = {
            let (state, lane, keys) = (Arc::clone(&state), Arc::clone(&lane), Arc::clone(&privacy.keys));
            let search = Arc::clone(&search);
            Box::new(move |committed: std::vec::Drain<'_, _>| {
                fold::apply(&state, &lane, &shadow_queue, &keys, &search, committed);
            })
        };
        let on_failed = Box::new(|failed: std::vec::Drain<'_, crate::audit::writer::Failed<Consequence>>| {
            // Each context is dropped, which releases its claim: the client may ask again.
            for failed in failed {
                error!(error = %failed.error, "a record could not be written");
            }
        });
        let log = LogWriter::start(opened, writer, on_committed, on_failed).map_err(StartError::Writer)?;
        let source = Source {
            state: Arc::clone(&state),
            index: Arc::clone(&index),
            lane: Arc::clone(&lane),
            log: log.clone(),
            keys: Arc::clone(&privacy.keys),
            identity,
            directory: snapshots,
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
        };
        let snapshots = Snapshots::start(source, parts.snapshot_interval, restored.as_ref())
            .map_err(StartError::Snapshots)?;
        let shadow =
            Shadow::start(seen, &parts.shadow, log.clone(), Arc::clone(&metrics), Arc::clone(&clock))
                .map_err(StartError::Shadow)?;
        let indexed = search.status().through;
        // The first review waits until the index knows of all that came before this start.
        let head = log.status().head.sequence;
        let indexer = FollowThread::start(
            "search-index",
            Follower::after(&directory, log_id, indexed, Arc::clone(&clock)),
            {
                let log = log.clone();
                move || log.status().head.sequence
            },
            Indexer::new(Arc::clone(&search), Arc::clone(&clock)),
        )
        .map_err(StartError::Indexer)?;
        let layout = Arc::clone(&catalogue.layout);
        let policies = PolicyKeeper::new(policy, parts.files, parts.missing, layout, archive, now)
            .map_err(StartError::Policies)?;
        let ip = IpKeeper::new(ip, parts.ip, now).map_err(StartError::Policies)?;
        shadow.follow(|| policies.live());
        candidates.reload(|| policies.live(), "start", now);
        Ok(Arc::new(Self {
            policies,
            ip,
            shadow,
            in_flight: Semaphore::new(parts.settings.in_flight_max),
            list_changes: Arc::new(Semaphore::new(LIST_CHANGES_IN_FLIGHT_MAX)),
            board: Arc::new(Board::new(&parts.data)),
            lookup: LogLookup::new(&directory),
            search,
            indexer,
            last_review: tokio::sync::Mutex::new(head),
            reviews: Semaphore::new(REVIEWS_IN_FLIGHT_MAX),
            log_directory: directory,
            privacy,
            candidates,
            backtests: Arc::new(Semaphore::new(1)),
            erasures: Arc::new(Semaphore::new(1)),
            data: parts.data,
            settings: parts.settings,
            draining: AtomicBool::new(false),
            clock,
            secret,
            state,
            lane,
            profiles,
            log,
            snapshots,
            log_id,
            index,
            metrics,
        }))
    }
}
