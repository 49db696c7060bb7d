//! What decisions add to profiles, off the way of every answer: a thread follows the log and writes to the enrichment store.
//!
//! It reads the records themselves, as they are settled, and no queue: so it sees them in the log's order, each of them, also those of
//! before a restart or an outage, and holds one batch in memory however far it lags. Each step carries its record's sequence, so that
//! the store takes it once (`enrich::update`). How far it has come is noted in a file about once a second; what was
//! done since then is sent again after a crash, and changes nothing.
//!
//! Too far behind, it skips to the last records that the bound allows, and counts what it left out. Switched on for the first time,
//! it begins with the next decision. What a Redis loses afterwards, as in a failover before it was replicated, is not sent again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::audit::bodies::Opened;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::LogReader;
use crate::enrich::source::ProfileSource as _;
use crate::enrich::update::ProfileUpdate;
use crate::pipeline::profile_steps::Steps;
use crate::pipeline::service::Service;
use crate::pipeline::start::LOG_DIRECTORY;

/// The furthest behind that it catches up, in records, unless config says otherwise.
pub const CATCH_UP_RECORDS_MAX_DEFAULT: u64 = 1_000_000;
/// Most records of one batch.
const BATCH_RECORDS_MAX: usize = 256;
/// How often it looks for records when there were none.
const PAUSE: Duration = Duration::from_millis(20);
/// Wait before a failed write is tried again; doubled after each failure.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest such wait. It bounds how late a store that is back is noticed.
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);
/// Wait before a log that could not be read is tried again.
const READ_RETRY_WAIT: Duration = Duration::from_secs(1);
/// How often it notes how far it has come.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the service waits for what is left to write.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// The file in the data directory that says how far it has come.
pub const PLACE_FILE: &str = "profile_updates.json";

/// What the operator chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfileUpdateSettings {
    /// The furthest behind that it catches up, in records; older ones are left out and counted.
    pub catch_up_records_max: u64,
}

/// How far it has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Place {
    /// Of which log.
    log: String,
    /// The last record that the store has seen.
    sequence: u64,
}

/// Why updates cannot begin.
#[derive(Debug, Error)]
pub enum ProfileUpdatesError {
    /// The note of how far they came cannot be used; without it, decisions would be left out or counted from the wrong one.
    #[error("{path}: cannot be read: {error}; remove it to begin with the next decision")]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No thread.
    #[error("the thread that updates profiles cannot be started: {0}")]
    Thread(io::Error),
}

/// The thread. It ends with this value.
#[derive(Debug)]
pub struct ProfileUpdates {
    is_ending: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ProfileUpdates {
    /// Starts to follow the log of `service` under the data directory `data`. Writes run on `runtime`.
    pub fn start(
        service: &Arc<Service>,
        data: &Path,
        settings: ProfileUpdateSettings,
        runtime: Handle,
    ) -> Result<Self, ProfileUpdatesError> {
        let place_file = data.join(PLACE_FILE);
        let log = service.log_id.to_string();
        let head = service.log_status().head.sequence;
        let noted = read_place(&place_file)
            .map_err(|error| ProfileUpdatesError::Place { path: place_file.clone(), error })?;
        // The place of another log says nothing about this one.
        let noted = noted.filter(|place| place.log == log);
        let done = noted.map_or(head, |place| place.sequence.min(head));
        info!(from = done + 1, behind = head - done, "decisions update profiles");
        let is_ending = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            service: Arc::clone(service),
            directory: data.join(LOG_DIRECTORY),
            place_file,
            log: log.into(),
            settings,
            runtime,
            is_ending: Arc::clone(&is_ending),
            done,
            noted: None,
            noted_at: service.clock.instant(),
        };
        let thread = std::thread::Builder::new()
            .name("profile-updates".to_owned())
            .spawn(move || worker.run())
            .map_err(ProfileUpdatesError::Thread)?;
        Ok(Self { is_ending, thread: Mutex::new(Some(thread)) })
    }

    /// Writes what is left, for so long as that may take in reason, and ends the thread. Blocks. The log must still be readable.
    pub fn close(&self) {
        self.is_ending.store(true, Ordering::Release);
        let Some(thread) = self.thread.lock().take() else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            error!("the thread that updates profiles had ended by a defect");
        }
    }
}

impl Drop for ProfileUpdates {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
    }
}

struct Worker {
    service: Arc<Service>,
    directory: PathBuf,
    place_file: PathBuf,
    log: Box<str>,
    settings: ProfileUpdateSettings,
    runtime: Handle,
    is_ending: Arc<AtomicBool>,
    /// The last record that the store has seen.
    done: u64,
    /// What the file says.
    noted: Option<u64>,
    noted_at: Instant,
}

impl Worker {
    fn run(mut self) {
        let mut reader = None;
        let mut ends_at = None;
        loop {
            let is_ending = self.is_ending.load(Ordering::Acquire);
            if is_ending {
                let now = self.service.clock.instant();
                if now >= *ends_at.get_or_insert(now + CLOSE_PATIENCE) {
                    break;
                }
            }
            let head = self.service.log_status().head.sequence;
            let metrics = &self.service.metrics.profiles;
            metrics.set_update_lag(head.saturating_sub(self.done));
            let skipped = head.saturating_sub(self.done).saturating_sub(self.settings.catch_up_records_max);
            if skipped > 0 {
                warn!(skipped, "profiles are too far behind the log; decisions are left out of them");
                metrics.count_updates_skipped(skipped);
                self.done += skipped;
                reader = None;
            }
            let done_before = self.done;
            if self.done < head && !self.step(&mut reader, head) {
                reader = None;
                std::thread::park_timeout(READ_RETRY_WAIT);
            }
            self.note(false);
            if self.done == done_before {
                if is_ending {
                    break;
                }
                std::thread::park_timeout(PAUSE);
            }
        }
        self.note(true);
    }

    /// Reads one batch up to `head` and writes it; `false` when the log cannot be read.
    fn step(&mut self, reader: &mut Option<LogReader>, head: u64) -> bool {
        let (updates, last) = match self.read(reader, head) {
            Ok(read) => read,
            Err(error) => {
                error!(%error, done = self.done, "the log cannot be read to update profiles");
                return false;
            }
        };
        if self.write(&updates) {
            self.done = last;
            true
        } else {
            // What was read is not written: it is read again.
            *reader = None;
            true
        }
    }

    fn read(
        &self,
        reader: &mut Option<LogReader>,
        head: u64,
    ) -> Result<(Vec<ProfileUpdate>, u64), ReadError> {
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(LogReader::from_sequence(&self.directory, self.done + 1)?),
        };
        reader.limit(head);
        let (mut steps, mut last) = (Steps::new(&self.log), self.done);
        for _ in 0..BATCH_RECORDS_MAX {
            let Some(record) = reader.next()? else { break };
            last = record.header.sequence;
            if record.header.kind != Kind::Decision {
                continue;
            }
            let decided = self.service.privacy.bodies.decision(&record);
            match decided.and_then(|decided| match decided {
                Opened::Whole(decided) => steps.take(last, &decided),
                // Nobody is left whose profile it could change.
                Opened::Left(..) => Ok(()),
            }) {
                Ok(()) => {}
                Err(error) => error!(%error, sequence = last, "a decision cannot be read to update profiles"),
            }
        }
        Ok((steps.into_updates(), last))
    }

    /// Writes until it is done; `false` when the service ends first.
    fn write(&self, updates: &[ProfileUpdate]) -> bool {
        let mut wait = RETRY_WAIT_MIN;
        let mut failures = 0_u64;
        let metrics = &self.service.metrics.profiles;
        loop {
            match self.runtime.block_on(self.service.profiles.apply(updates.to_vec())) {
                Ok(applied) => {
                    metrics.count_updates(applied);
                    return true;
                }
                Err(error) => {
                    failures += 1;
                    metrics.count_update_failure();
                    if failures.is_power_of_two() {
                        warn!(%error, failures, "profiles cannot be updated; trying on");
                    }
                }
            }
            if self.is_ending.load(Ordering::Acquire) {
                return false;
            }
            let behind = self.service.log_status().head.sequence.saturating_sub(self.done);
            metrics.set_update_lag(behind);
            std::thread::park_timeout(wait);
            wait = wait.saturating_mul(2).min(RETRY_WAIT_MAX);
        }
    }

    /// Notes how far it has come, when it is time.
    fn note(&mut self, is_last: bool) {
        let now = self.service.clock.instant();
        let is_time =
            is_last || now.saturating_duration_since(self.noted_at) >= NOTE_INTERVAL || self.noted.is_none();
        if !is_time || self.noted == Some(self.done) {
            return;
        }
        self.noted_at = now;
        let place = Place { log: self.log.to_string(), sequence: self.done };
        match write_place(&self.place_file, &place) {
            Ok(()) => self.noted = Some(self.done),
            Err(error) => {
                warn!(%error, file = %self.place_file.display(), "how far profiles have come cannot be noted");
            }
        }
    }
}

fn read_place(file: &Path) -> io::Result<Option<Place>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all; an older note after a power loss only has more sent again.
fn write_place(file: &Path, place: &Place) -> io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(place)?)?;
    std::fs::rename(new, file)
}
