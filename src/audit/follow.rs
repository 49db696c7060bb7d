//! Following the log: a thread that reads settled records in order and does something with them, off the way of every answer.
//!
//! It stands back behind the threads that decide (`background`). It reads the log itself and holds no queue: so it sees each record in the log's order, also those of before a restart or an
//! outage, and needs memory for one batch however far it lags. How far it has come is noted in a file about once a second. After a
//! crash it begins again at the note, so the same records may come twice: what is done with them must bear that.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::{error, warn};

use crate::audit::background::stand_back;
use crate::audit::damage::ReadError;
use crate::audit::reader::{LogReader, Record};
use crate::audit::receipt::{LogId, Position};
use crate::domain::time::Clock;

/// How often a follower looks for records when there were none.
const PAUSE: Duration = Duration::from_millis(20);
/// Wait before a log that could not be read is tried again.
const READ_RETRY_WAIT: Duration = Duration::from_secs(1);
/// How often it notes how far it has come.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// How long `FollowThread::close` waits for what is left to do.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How far a follower has come, as its file says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Of which log.
    pub log: String,
    /// The last record that is done with.
    pub sequence: u64,
    /// What the work keeps beside it, for example the last of these records that somebody has received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u64>,
}

impl Place {
    /// What the file says; none if there is no file.
    pub fn read(file: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(file) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file, whole or not at all. After a power loss it may be an older one.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let new = file.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(new, file)
    }
}

/// Why following cannot begin.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The note of how far it had come cannot be used; without it, records would be left out or done again.
    #[error("{path}: cannot be read: {error}; remove it to begin anew")]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No thread.
    #[error("the thread {name} cannot be started: {error}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// Where a follower stands in the log.
pub struct Follower {
    directory: PathBuf,
    /// None where what is made of the records says itself how far it has come.
    place_file: Option<PathBuf>,
    log: Box<str>,
    clock: Arc<dyn Clock>,
    reader: Option<LogReader>,
    done: u64,
    /// A record and where it lies, so that what comes after it can be read without what comes before.
    known: Option<(u64, Position)>,
    mark: Option<u64>,
    noted: Option<(u64, Option<u64>)>,
    noted_at: Instant,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("place_file", &self.place_file)
            .field("done", &self.done)
            .field("noted", &self.noted)
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// Begins after the record that `place_file` names. Where it names none of this log, begins after the record `otherwise`: 0 for the
    /// whole log, `settled` for what is new. Never begins after `settled`, the last record that the log will not take back.
    pub fn open(
        directory: &Path,
        log: LogId,
        place_file: PathBuf,
        settled: u64,
        otherwise: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FollowError> {
        let noted = Place::read(&place_file)
            .map_err(|error| FollowError::Place { path: place_file.clone(), error })?;
        // The place in another log says nothing about this one.
        let noted = noted.filter(|place| place.log == log.to_string());
        let mark = noted.as_ref().and_then(|place| place.mark);
        let done = noted.map_or(otherwise, |place| place.sequence).min(settled);
        Ok(Self { place_file: Some(place_file), mark, ..Self::after(directory, log, done, clock) })
    }

    /// Begins after the record `done`, and notes nothing: for work that can tell from what it made how far it had come.
    pub fn after(directory: &Path, log: LogId, done: u64, clock: Arc<dyn Clock>) -> Self {
        let noted_at = clock.instant();
        Self {
            directory: directory.to_owned(),
            place_file: None,
            log: log.to_string().into_boxed_str(),
            clock,
            reader: None,
            done,
            known: None,
            mark: None,
            noted: None,
            noted_at,
        }
    }

    /// The last record that is done with.
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// The log's id.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Reads at most `records_max` records from the first that is not done, up to `settled`, and says the sequence of the last: pass it
    /// to `is_done` when they are, or call `again`. Where the next record is gone with its segment, reading goes on with the oldest.
    /// Records are given until `see` says `false`; the one of which it does counts as read.
    pub fn read(
        &mut self,
        settled: u64,
        records_max: usize,
        mut see: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<u64, ReadError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open_reader()?,
        };
        reader.limit(settled);
        let mut last = self.done;
        for _ in 0..records_max {
            let Some(record) = reader.next()? else { break };
            last = record.header.sequence;
            self.known = Some((last, record.position));
            if !see(&record) {
                break;
            }
        }
        // Only a reader without an error goes on from where it is.
        self.reader = Some(reader);
        Ok(last)
    }

    /// A reader of what comes after what is done with.
    fn open_reader(&mut self) -> Result<LogReader, ReadError> {
        let known = self.known.take().filter(|(sequence, _)| *sequence == self.done);
        // Where that fails, its segment may be gone.
        let after = known.and_then(|(_, position)| LogReader::after(&self.directory, position).ok());
        match after.filter(|reader| reader.first() == self.done.saturating_add(1)) {
            Some(reader) => Ok(reader),
            None => LogReader::from_sequence_or_oldest(&self.directory, self.done.saturating_add(1)),
        }
    }

    /// What the work has marked, also before a restart.
    pub const fn mark(&self) -> Option<u64> {
        self.mark
    }

    /// Has a number of the work's own noted with the place.
    pub const fn set_mark(&mut self, mark: u64) {
        self.mark = Some(mark);
    }

    /// What came after the record `sequence` must be done again.
    pub fn back_to(&mut self, sequence: u64) {
        self.done = self.done.min(sequence);
        self.again();
    }

    /// Everything up to the record `sequence` is done with. Never goes back.
    pub fn is_done(&mut self, sequence: u64) {
        self.done = self.done.max(sequence);
    }

    /// Leaves out everything up to the record `sequence`.
    pub fn skip_to(&mut self, sequence: u64) {
        self.is_done(sequence);
        self.again();
    }

    /// Leaves out everything up to the record `sequence`, which lies at `position`: what comes before it in its segment is not read.
    pub fn skip_past(&mut self, sequence: u64, position: Position) {
        self.skip_to(sequence);
        self.known = Some((sequence, position));
    }

    /// What was read and is not done will be read again.
    pub fn again(&mut self) {
        self.reader = None;
    }

    /// Notes how far it has come, when it is time or `is_last`.
    fn note(&mut self, is_last: bool) {
        let Some(place_file) = &self.place_file else { return };
        let now = self.clock.instant();
        let is_time =
            is_last || now.saturating_duration_since(self.noted_at) >= NOTE_INTERVAL || self.noted.is_none();
        let place = Place { log: self.log.to_string(), sequence: self.done, mark: self.mark };
        if !is_time || self.noted == Some((place.sequence, place.mark)) {
            return;
        }
        self.noted_at = now;
        match place.write(place_file) {
            Ok(()) => self.noted = Some((place.sequence, place.mark)),
            Err(error) => {
                warn!(%error, file = %place_file.display(), "how far a follower of the log has come cannot be noted");
            }
        }
    }
}

/// Tells a follower's work that it should come to an end.
#[derive(Clone, Default, Debug)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Whether the thread is asked to end. Waits and retries stop then; what can be done at once is still done.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps for at most `wait`; less when the thread is asked to end meanwhile. May wake early.
    pub fn pause(&self, wait: Duration) {
        if !self.is_asked() {
            std::thread::park_timeout(wait);
        }
    }
}

/// What is done with the records.
pub trait Work: Send + 'static {
    /// One round: reads with `follower.read`, does something, and says so with `is_done` or `again`. Called again at once while
    /// that makes progress, and else after a pause of some milliseconds. An error is logged, and the round tried again after a
    /// second.
    fn round(&mut self, follower: &mut Follower, settled: u64, ending: &Ending) -> Result<(), ReadError>;

    /// After the last round.
    fn end(&mut self, _follower: &mut Follower) {}
}

/// The thread of a follower. It ends with this value.
#[derive(Debug)]
pub struct FollowThread {
    ending: Ending,
    thread: Mutex<Option<JoinHandle<()>>>,
    name: &'static str,
}

impl FollowThread {
    /// Starts it. `settled` says the sequence of the last record that the log's writer will not take back.
    pub fn start(
        name: &'static str,
        follower: Follower,
        settled: impl Fn() -> u64 + Send + 'static,
        work: impl Work,
    ) -> Result<Self, FollowError> {
        let ending = Ending::default();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let ending = ending.clone();
                move || {
                    stand_back();
                    run(name, follower, &settled, work, &ending);
                }
            })
            .map_err(|error| FollowError::Thread { name, error })?;
        Ok(Self { ending, thread: Mutex::new(Some(thread)), name })
    }

    /// Lets it do what is left, for so long as that may take in reason, and ends the thread. Blocks. The log must still be readable.
    pub fn close(&self) {
        self.ending.0.store(true, Ordering::Release);
        let Some(thread) = self.thread.lock().take() else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            error!(thread = self.name, "a follower of the log had ended by a defect");
        }
    }
}

impl Drop for FollowThread {
    fn drop(&mut self) {
        self.ending.0.store(true, Ordering::Release);
    }
}

fn run(name: &str, mut follower: Follower, settled: &dyn Fn() -> u64, mut work: impl Work, ending: &Ending) {
    let mut ends_at = None;
    loop {
        let is_ending = ending.is_asked();
        if is_ending {
            let now = follower.clock.instant();
            if now >= *ends_at.get_or_insert(now + CLOSE_PATIENCE) {
                break;
            }
        }
        let done_before = follower.done();
        if let Err(error) = work.round(&mut follower, settled(), ending) {
            error!(%error, thread = name, done = follower.done(), "the log cannot be read by its follower");
            follower.again();
            ending.pause(READ_RETRY_WAIT);
        }
        follower.note(false);
        if follower.done() == done_before {
            if is_ending {
                break;
            }
            ending.pause(PAUSE);
        }
    }
    work.end(&mut follower);
    follower.note(true);
}
