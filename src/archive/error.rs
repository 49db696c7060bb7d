//! Why work on the archive ends early.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::receipt::LogId;
use crate::audit::segment::LockError;

/// Why work on the archive ends early.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The log's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The archive's store refuses.
    #[error("the archive {place}: cannot {doing} {path}: {source}")]
    Store {
        /// Where the archive is.
        place: String,
        /// What was to be done.
        doing: &'static str,
        /// To which object.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file on this machine.
    #[error("{path}: cannot {doing}: {source}", path = path.display())]
    Local {
        /// Which.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A Parquet file cannot be written or read.
    #[error("{path}: {error}")]
    Parquet {
        /// Which.
        path: String,
        /// Why.
        error: parquet::errors::ParquetError,
    },
    /// The archive does not hold what it should.
    #[error("the archive is not intact: {path}: {what}")]
    Damaged {
        /// Which object.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Two logs, one archive.
    #[error(
        "the archive {place} holds log {archived}, and this is log {log}: give each log an archive of its own (archive.url)"
    )]
    OtherLog {
        /// Where the archive is.
        place: String,
        /// The log that it holds.
        archived: LogId,
        /// This one.
        log: LogId,
    },
    /// The log says something else than the archive does.
    #[error(
        "the log and its archive disagree at segment {segment}: {what}. Nothing was changed. Has the log been restored from an older copy? Then it goes \
         on under another archive.url"
    )]
    Diverged {
        /// The first sequence of the segment.
        segment: u64,
        /// How.
        what: String,
    },
    /// Records that the archive does not hold.
    #[error("the archive {place} holds {what}")]
    NotThere {
        /// Where the archive is.
        place: String,
        /// What it holds instead.
        what: String,
    },
    /// Somebody else works on it.
    #[error("{path} is locked: another process works on this archive; wait for it", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A settings mistake.
    #[error("archive.url {url:?}: {what}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// Too little room on the disk; the last of it is the log's.
    #[error("{path}: {free_bytes} bytes are free, {need_bytes} are needed", path = path.display())]
    NoRoom {
        /// Which disk.
        path: PathBuf,
        /// What there is.
        free_bytes: u64,
        /// What there must be.
        need_bytes: u64,
    },
    /// What would leave could not be recorded in the log before.
    #[error(
        "records {first} to {last} stay, although {rule} says that they may go: their leaving cannot be recorded in the log: {why}"
    )]
    NotRecorded {
        /// The first record.
        first: u64,
        /// The last record.
        last: u64,
        /// The setting.
        rule: &'static str,
        /// Why.
        why: String,
    },
    /// Asked to stop.
    #[error("stopped before it was done; the next run goes on from here")]
    Stopped,
}

impl ArchiveError {
    /// Damage of an object.
    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// For `map_err` of what is done to a file on this machine.
    pub(crate) fn local(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Local { path, doing, source }
    }

    /// For `map_err` of what the Parquet library does.
    pub(crate) fn parquet(path: &str) -> impl Fn(parquet::errors::ParquetError) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Parquet { path: path.clone(), error }
    }
}
