//! The service's own archiver: a thread that archives closed segments, merges small files, applies retention and removes local segments.
//!
//! It works for at most a quarter of the time, and touches no decision: what fails is logged, counted, and tried again.
//!
//! What still needs the log, and so holds segments here: the state snapshots, which a start goes on from; the index of answered requests,
//! whose answers are read again from the log; the search index and the Merkle tree, which say themselves how far they have come; everybody
//! else who follows the log, by their notes (`archive::needs`).

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info, warn};

use crate::archive::archiver::{Archive, ArchiveSettings, Work};
use crate::archive::error::ArchiveError;
use crate::archive::needs::of_followers;
use crate::archive::prune::{Need, Pruned};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::record;
use crate::audit::retention_record::RetentionRecord;
use crate::audit::segment::{list_segments, segment_path};
use crate::pipeline::fold::Consequence;
use crate::pipeline::service::Service;
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_file::read_header;

/// How often it looks whether a segment was closed.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How often it does everything, also when none was: days pass.
const FULL_INTERVAL: Duration = Duration::from_secs(3_600);
/// Wait after a failure; doubled after each one.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(10);
/// Longest such wait.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);
const DAY_MS: i64 = 86_400_000;
/// It rests so many times as long as it has worked.
const REST_FACTOR: u32 = 3;
/// Longest rest between two pieces of work.
const REST_MAX: Duration = Duration::from_secs(5);

/// The thread. It ends with this value.
#[derive(Debug)]
pub struct Archiving {
    is_ending: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Archiving {
    /// Starts to archive the log of `service` under the data directory `data`.
    pub fn start(service: &Arc<Service>, data: &Path, settings: ArchiveSettings) -> io::Result<Self> {
        let is_ending = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            service: Arc::clone(service),
            data: data.to_owned(),
            settings,
            is_ending: Arc::clone(&is_ending),
            archive: None,
            last_closed: 0,
            kept: None,
        };
        let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(move || worker.run())?;
        Ok(Self { is_ending, thread: Mutex::new(Some(thread)) })
    }

    /// Ends it after the piece of work at hand. Blocks.
    pub fn close(&self) {
        self.is_ending.store(true, Ordering::Release);
        let Some(thread) = self.thread.lock().take() else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            error!("the thread that archives the log had ended by a defect");
        }
    }
}

impl Drop for Archiving {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
    }
}

struct Worker {
    service: Arc<Service>,
    data: PathBuf,
    settings: ArchiveSettings,
    is_ending: Arc<AtomicBool>,
    archive: Option<Archive>,
    /// The open segment when everything was done last.
    last_closed: u64,
    kept: Option<String>,
}

impl Worker {
    fn run(mut self) {
        let mut failures = 0_u32;
        let mut full_at: Option<Instant> = None;
        while !self.is_ending.load(Ordering::Acquire) {
            let now = self.service.clock.instant();
            let is_due = full_at.is_none_or(|at| now >= at) || self.has_closed_one();
            let result = if is_due { self.round() } else { Ok(()) };
            let metrics = &self.service.metrics.archive;
            match result {
                Ok(()) => {
                    failures = 0;
                    if is_due {
                        full_at = Some(now + FULL_INTERVAL);
                        metrics.succeeded(self.service.clock.now());
                    }
                    std::thread::park_timeout(LOOK_INTERVAL);
                }
                Err(ArchiveError::Stopped) => {}
                Err(error) => {
                    metrics.failed();
                    failures += 1;
                    error!(%error, failures, "the log could not be archived; trying on");
                    self.archive = None;
                    let doubled = RETRY_WAIT_MIN.saturating_mul(1 << failures.min(10));
                    std::thread::park_timeout(doubled.min(RETRY_WAIT_MAX));
                }
            }
        }
    }

    fn open_segment(&self) -> Option<u64> {
        list_segments(&self.service.log_directory).ok().and_then(|segments| segments.last().copied())
    }

    fn has_closed_one(&self) -> bool {
        self.open_segment().is_some_and(|open| open != self.last_closed)
    }

    fn round(&mut self) -> Result<(), ArchiveError> {
        let open_segment = self.open_segment().unwrap_or(0);
        let now = self.service.clock.now();
        let archive = match self.archive.take() {
            Some(archive) => archive,
            None => Archive::open(&self.data, self.settings.clone(), now)?,
        };
        let archive = self.archive.insert(archive);
        let worked_since = std::cell::Cell::new(self.service.clock.instant());
        let go_on = || {
            let worked = self.service.clock.instant().saturating_duration_since(worked_since.get());
            if !self.is_ending.load(Ordering::Acquire) {
                std::thread::park_timeout(worked.saturating_mul(REST_FACTOR).min(REST_MAX));
            }
            worked_since.set(self.service.clock.instant());
            !self.is_ending.load(Ordering::Acquire)
        };
        let work = Work { now, go_on: &go_on, done: &|_| {} };
        let log = &self.service.log_directory;
        let metrics = &self.service.metrics.archive;
        let archived = archive.archive_closed(log, work)?;
        metrics.archived(&archived);
        if archived.segments > 0 {
            info!(?archived, "segments of the log are archived");
        }
        let compacted = archive.compact(false, work)?;
        if compacted.files_before > 0 {
            info!(?compacted, "small files of the archive are merged");
        }
        let record = |removed: &RetentionRecord| self.service.record_retention(removed);
        let removed = archive.retain(work, &record)?;
        metrics.removed(removed.records);
        if removed.records > 0 {
            info!(?removed, "days have outlived their retention in the archive");
        }
        let needs = needs(&self.service, &self.data, self.settings.hold_open_reviews_days)?;
        let pruned = archive.prune(log, &needs, work, &record)?;
        metrics.pruned(&pruned);
        self.last_closed = open_segment;
        let Pruned { segments, bytes, kept } = pruned;
        if segments > 0 {
            if let Err(error) = self.service.search.prune() {
                warn!(%error, "the segments of the log cannot be listed");
            }
            info!(segments, bytes, "segments that are archived have left the log's directory");
        }
        if kept != self.kept {
            info!(reason = kept.as_deref().unwrap_or("none is left"), "the oldest closed segment of the log");
            self.kept = kept;
        }
        Ok(())
    }
}

impl Service {
    /// Records what is about to be deleted, and returns when that survives a power loss: what is deleted is gone for ever, so must its record not be.
    fn record_retention(&self, removed: &RetentionRecord) -> Result<(), String> {
        let body = record::encode(removed).map_err(|error| error.to_string())?;
        let ticket = self.log.reserve_spare().map_err(|error| error.to_string())?;
        let pending = ticket.commit(Kind::Retention, self.clock.now(), body, Consequence::Retention);
        let receipt = pending.wait_blocking().map_err(|error| error.to_string())?;
        let path = segment_path(&self.log_directory, receipt.position.segment);
        File::open(&path)
            .and_then(|file| file.sync_data())
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Everything that needs the log of `service`, from where on.
pub(crate) fn needs(
    service: &Service,
    data: &Path,
    hold_open_reviews_days: u64,
) -> Result<Vec<Need>, ArchiveError> {
    let mut needs = of_followers(data, service.log_id)?;
    needs.push(of_snapshots(data)?);
    if let Some(oldest) = service.index.oldest() {
        needs.push(Need {
            who: "the index of answered requests (decision.idempotency_keys_max bounds it)".to_owned(),
            from_sequence: oldest.segment,
        });
    }
    let status = service.search.status();
    needs.push(Need { who: "the search index".to_owned(), from_sequence: status.through.saturating_add(1) });
    if hold_open_reviews_days > 0 {
        let held_ms = i64::try_from(hold_open_reviews_days).unwrap_or(i64::MAX).saturating_mul(DAY_MS);
        let from_ms = service.clock.now().unix_millis().saturating_sub(held_ms);
        let oldest = if status.is_whole { service.search.oldest_open_review(from_ms) } else { Some(1) };
        needs.extend(oldest.map(|from_sequence| Need {
            who: "the oldest open review (archive.hold_open_reviews_days)".to_owned(),
            from_sequence,
        }));
    }
    let tree = service.board.needs();
    needs.extend(match tree {
        Ok(from) => from.map(|from_sequence| Need {
            who: "the log's tree (audit.checkpoints; what was signed last lies in <data>/proof)".to_owned(),
            from_sequence,
        }),
        Err(error) => Some(Need { who: format!("the log's tree ({error})"), from_sequence: 1 }),
    });
    Ok(needs)
}

/// A start goes on from the newest snapshot, or from the one before. Without two, it may have to fold the whole log.
fn of_snapshots(data: &Path) -> Result<Need, ArchiveError> {
    /// Snapshots that are kept: with fewer that can be read, nothing may go.
    const SNAPSHOTS: usize = 2;
    let directory = StateDirectory::new(data);
    let sequences = directory
        .sequences()
        .map_err(|source| ArchiveError::Log(ReadError::Io { path: directory.file(0), source }))?;
    let mut whole = Vec::new();
    for sequence in sequences {
        let file = directory.file(sequence);
        let header =
            File::open(&file).map_err(Into::into).and_then(|file| read_header(&mut BufReader::new(file)));
        match header {
            Ok(header) => whole.push(header.applied.sequence),
            Err(reason) => warn!(file = %file.display(), %reason, "a state snapshot cannot be read"),
        }
    }
    let oldest = whole.iter().min().copied().filter(|_| whole.len() >= SNAPSHOTS);
    Ok(Need {
        who: match oldest {
            Some(_) => "a start from the state snapshots (state.snapshot_interval_s)".to_owned(),
            None => "a start, for which there are no two state snapshots yet (state.snapshot_interval_s),"
                .to_owned(),
        },
        from_sequence: oldest.unwrap_or(1),
    })
}
