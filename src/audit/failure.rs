//! Why the log does not take a record.

use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::audit::frame::BodyTooLong;

/// Why the log cannot be written, as a reader of metrics tells it apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// No room: disk full, quota or file size limit reached.
    DiskFull,
    /// The disk refused to write, or to make a file.
    Write,
    /// The disk refused to bring what was written to stable storage.
    Sync,
    /// The writer is gone: a hook panicked. Only a restart helps.
    Stopped,
}

/// Why the log cannot be written.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the audit log cannot be written: {message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What, where, and what happens next.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, doing: &str, path: &Path, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                FailureKind::DiskFull
            }
            _ => kind,
        };
        Self { kind, message: format!("{doing} {}: {error}; trying again until it works", path.display()) }
    }
}

/// Why a record was not taken. It is not in the log, and gets no sequence. Two exceptions, in which only the next start tells: after `Closed`, and if the
/// process dies while the disk refuses to take a failed write back.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LogError {
    /// Too many records wait to be written. Says so at once.
    #[error("the audit log is busy: {limit} records wait to be written")]
    Full {
        /// The most that may wait.
        limit: usize,
    },
    /// The log cannot be written at the moment.
    #[error(transparent)]
    Failed(Arc<Failure>),
    /// The body is longer than a record holds.
    #[error(transparent)]
    BodyTooLong(#[from] BodyTooLong),
    /// The log was closed before the record was acknowledged. Whether it is in the log is known after the next start.
    #[error("the audit log is closed")]
    Closed,
}
