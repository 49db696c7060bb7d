//! Erasing in the data directory of a service that is stopped: the same steps, under the log's lock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::audit::bodies::open_body;
use crate::audit::damage::ReadError;
use crate::audit::failure::LogError;
use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenError, OpenedLog};
use crate::audit::reader::LogReader;
use crate::audit::record::RecordError;
use crate::audit::writer::{Ack, LogWriter, WriterOptions};
use crate::domain::time::Clock;
use crate::pipeline::erasure::{ErasureDone, ErasureRequest, tags};
use crate::pipeline::erasure_traces;
use crate::pipeline::privacy::tagger;
use crate::pipeline::secret::{Secret, SecretError};
use crate::pipeline::start::LOG_DIRECTORY;
use crate::privacy::key_store::{KeyStore, KeyStoreError};
use crate::search::erased::{Erased, remove_parts};
use crate::search::parts::SEARCH_DIRECTORY;

/// How long the record may take to be written.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);
/// Subjects whose keys are held in memory: nobody is given any.
const SUBJECTS_MAX: usize = 0;

/// Why nothing is erased, or not all.
#[derive(Debug, Error)]
pub enum StoppedError {
    /// No log is there.
    #[error("{0}: no audit log; name the data directory of the service with --data")]
    NoLog(String),
    /// The secret is gone, without which nobody is found.
    #[error("{0}: the installation's secret is not there; restore it from a backup")]
    NoSecret(String),
    /// No secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The log cannot be opened, perhaps since the service runs.
    #[error("{0}; where the service runs, name its admin port with --admin")]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The body of the record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record cannot be written.
    #[error("the erasure cannot be recorded, and nothing is erased: {0}")]
    Log(#[from] LogError),
    /// No thread.
    #[error("the log's writer cannot be started: {0}")]
    Writer(std::io::Error),
    /// State snapshots cannot be searched.
    #[error(
        "the keys are destroyed, and state snapshots cannot be searched for values of lists: {0}; remove them by hand"
    )]
    Snapshots(String),
    /// The search index.
    #[error(
        "the search index cannot be rid of hashes of the erased ids: {0}; remove <data>/search, which is made again from the log"
    )]
    Search(String),
    /// Somebody asked to stop, before anything was erased.
    #[error("interrupted; nothing is erased")]
    Interrupted,
}

/// Erases, if `is_wanted`; else only says what it would do. `go_on` is asked with each record that is counted: how far, and of how many.
pub fn erase_stopped(
    data: &Path,
    request: &ErasureRequest,
    is_wanted: bool,
    clock: Arc<dyn Clock>,
    mut go_on: impl FnMut(u64, u64) -> bool,
) -> Result<ErasureDone, StoppedError> {
    let directory = data.join(LOG_DIRECTORY);
    if LogReader::from_sequence_or_oldest(&directory, 1).is_err() {
        return Err(StoppedError::NoLog(directory.display().to_string()));
    }
    let secret = data.join("secret");
    if !secret.exists() {
        return Err(StoppedError::NoSecret(secret.display().to_string()));
    }
    let (secret, now) = (Secret::load_or_create(data)?, clock.now());
    let opened = OpenedLog::open(
        &directory,
        crate::audit::receipt::LogId(secret.log_id(now)),
        now,
        LogOptions::default(),
    )?;
    let (log, head) = (opened.log_id(), opened.head().sequence);
    let keys = KeyStore::open(data, log.0, tagger(&secret), SUBJECTS_MAX)?;
    let tagger = keys.tagger().clone();
    let numbers = keys.numbers_of(&tags(&request.subjects(&tagger)))?;
    let records =
        erasure_traces::count(&directory, head, &numbers, &request.values(), |done| go_on(done, head))?;
    if !records.is_complete {
        return Err(StoppedError::Interrupted);
    }
    let mut done = ErasureDone {
        log,
        sequences: Vec::new(),
        keys_destroyed: numbers.len() as u64,
        records,
        list_entries: 0,
        profiles_removed: 0,
        snapshots_removed: 0,
        notes: records.note().into_iter().collect(),
    };
    let snapshots =
        erasure_traces::snapshots_with(data, &request.values()).map_err(StoppedError::Snapshots)?;
    done.snapshots_removed = snapshots.len() as u64;
    if !is_wanted {
        return Ok(done);
    }
    let options =
        WriterOptions { ack: Ack::Disk, commit_interval: Duration::ZERO, clock, ..WriterOptions::default() };
    let writer = LogWriter::start::<()>(opened, options, Box::new(|_| {}), Box::new(|_| {}));
    let writer = writer.map_err(StoppedError::Writer)?;
    let in_search = |error: &dyn std::fmt::Display| StoppedError::Search(error.to_string());
    let (search, search_key) = (data.join(SEARCH_DIRECTORY), secret.search_key());
    let (erased, hashes) = (Erased::open(&search), request.search_hashes(&search_key));
    let erased = erased.map_err(|error| in_search(&error))?;
    erased.note(&hashes).map_err(|error| in_search(&error))?;
    for record in request.records(&tagger, &numbers, "cli") {
        let pending = writer.reserve()?.commit_body(Kind::Erasure, now, open_body(&record)?, ());
        done.sequences.push(pending.wait_blocking()?.sequence);
    }
    keys.doom(&numbers);
    keys.destroy_doomed()?;
    writer.close(CLOSE_PATIENCE)?;
    erased.are_due(&hashes, head);
    remove_parts(&erased, &directory, log, &search_key).map_err(|error| in_search(&error))?;
    erasure_traces::remove_snapshots(data, &request.values()).map_err(StoppedError::Snapshots)?;
    Ok(done)
}
