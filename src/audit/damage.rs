//! What can be wrong with a log, in words for the person who must act on it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::audit::chain::ChainError;
use crate::audit::frame::FrameError;
use crate::audit::receipt::{Head, LogId};
use crate::audit::segment::{SegmentError, SegmentHeader};

/// What is wrong at one place of a log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Damage {
    /// The bytes of a record.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A record that does not belong there.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The header of a segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The file's name and its header disagree.
    #[error("file is named after record {name}, but its header says that it begins with record {header}")]
    Name {
        /// The first sequence of the name.
        name: u64,
        /// The first sequence of the header.
        header: u64,
    },
    /// A segment of another log.
    #[error("segment belongs to log {found}, not to {expected}")]
    OtherLog {
        /// The log.
        expected: LogId,
        /// What the segment says.
        found: LogId,
    },
    /// A segment that does not follow the one before it.
    #[error("segment begins after record {found}, but the records before it end with {expected}", found = found.sequence, expected = expected.sequence)]
    Junction {
        /// The last record before.
        expected: Head,
        /// What the segment says it was.
        found: Head,
    },
    /// A segment that is shorter than the next one says.
    #[error("segment has {have} bytes, but had {need} when the next one was begun: records are missing")]
    TooShort {
        /// Bytes that are there.
        have: u64,
        /// Bytes that were there.
        need: u64,
    },
    /// The log ends before its mark.
    #[error(
        "the log ends with record {have}, but up to record {need} it was on stable storage: records are missing"
    )]
    Missing {
        /// The last record that is there.
        have: u64,
        /// The last record that was there.
        need: u64,
    },
    /// Another record than the one that the mark names.
    #[error("record {sequence} is another one than the one that was on stable storage")]
    OtherRecord {
        /// The record.
        sequence: u64,
    },
    /// Bytes after the end that the next segment gives.
    #[error(
        "{bytes} bytes stand after the end of the segment: a failed write left them; opening the log sets them aside"
    )]
    Overhang {
        /// How many.
        bytes: u64,
    },
}

/// Why a log could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log is damaged there.
    #[error("{path} at byte {offset}: {damage}; run verify over the log and restore the file from a copy", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Bytes from its start.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// Records that old are not in this directory.
    #[error("record {sequence} is not in {path}: the oldest there is {oldest:?}", path = path.display())]
    NotThere {
        /// The directory.
        path: PathBuf,
        /// The record asked for.
        sequence: u64,
        /// The oldest that is there, if any is.
        oldest: Option<u64>,
    },
}

/// Checks that a segment follows `previous`, which ends at `previous_bytes` of the file before.
pub(crate) fn check_follows(
    header: &SegmentHeader,
    log_id: LogId,
    previous: Head,
    previous_bytes: u64,
) -> Result<(), Damage> {
    if header.log_id != log_id {
        return Err(Damage::OtherLog { expected: log_id, found: header.log_id });
    }
    if header.previous() != previous {
        return Err(Damage::Junction { expected: previous, found: header.previous() });
    }
    if header.previous_bytes != previous_bytes {
        return Err(Damage::TooShort { have: previous_bytes, need: header.previous_bytes });
    }
    Ok(())
}
