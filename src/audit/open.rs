//! Opening a log for writing: takes the lock, finds the head, repairs what a crash leaves behind.
//!
//! A crash leaves an incomplete record at the end of the last segment, a last segment without a complete header, or bytes after the end of a segment
//! where a failed write could not be taken back. A power loss may in addition leave, after the mark (`mark`), sectors of zeros, segments that are too short, and
//! segments behind them. Those bytes are put into `*.torn` files beside the log, synced, and only then cut off; each is
//! reported as a `Repair` for the caller to log. What then lies after the mark is written once more and synced (`rewrite`). Anything else that is wrong,
//! and a log that ends before its mark, is an error that says file, offset and what to do.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::audit::damage::Damage;
use crate::audit::disk::{Disk, SystemDisk};
use crate::audit::mark::{Mark, Marker};
use crate::audit::receipt::{Head, LogId, Position, RecordHash};
use crate::audit::repair::Repairs;
use crate::audit::rewrite::rewrite;
use crate::audit::segment::{
    FIRST_RECORD_OFFSET, LockError, LogLock, SEGMENT_BYTES_MAX, SegmentHeader, create_segment, segment_path,
};
use crate::domain::time::EventTime;

/// The name of the file with which the writer tries whether the disk works again.
pub(crate) const PROBE_FILE: &str = "log.probe";

/// How much is read at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ScanDepth {
    /// Every record of the last segment; of the others the header and the length.
    #[default]
    LastSegment,
    /// Every record.
    All,
}

/// What to do about damage in the last segment that no crash of the service explains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DamagedTail {
    /// Refuse to open.
    #[default]
    Refuse,
    /// Set everything from there on aside, readable records too. For a person who has looked at it.
    SetAside,
}

/// How to open a log.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How much is read.
    pub scan: ScanDepth,
    /// What to do about a damaged tail.
    pub damaged_tail: DamagedTail,
    /// Longest segment, in bytes. A longer record gets a segment of its own.
    pub segment_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            scan: ScanDepth::default(),
            damaged_tail: DamagedTail::default(),
            segment_bytes_max: SEGMENT_BYTES_MAX,
        }
    }
}

/// What was repaired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairKind {
    /// The last record was incomplete.
    TornRecord,
    /// The last segment had no complete header.
    TornSegment,
    /// Bytes stood after the end of a segment that is not the last.
    Overhang,
    /// Records after the mark did not reach the disk before the power failed, and this comes after them.
    LostTail,
    /// The last segment was damaged, and the caller asked to set the damaged tail aside.
    DamagedTail,
}

/// One repair that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Repair {
    /// What was repaired.
    pub kind: RepairKind,
    /// The file that was cut, or moved away.
    pub path: PathBuf,
    /// From where on, in bytes.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// The file that holds them now; none if there were none.
    pub kept: Option<PathBuf>,
    /// The last sequence that the log holds before the cut.
    pub last_sequence: u64,
    /// What was wrong, in words.
    pub reason: String,
}

/// Why a log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file system refused.
    #[error("cannot open the log: {path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Damage that no crash of the service explains.
    #[error(
        "the log is damaged: {path} at byte {offset}: {damage}{after}. Nothing was changed. `tollgate audit verify` shows all \
         of the damage; restore the file from a copy, as of the archive (`tollgate archive restore`). Where there is none, `tollgate audit \
         repair` shows what would have to be given up for the log to go on",
        path = path.display(),
        after = match readable_from { Some(offset) => format!("; readable records follow from byte {offset}"), None => String::new() }
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Bytes from its start.
        offset: u64,
        /// What is wrong.
        damage: Box<Damage>,
        /// Where in the same file the next readable record begins, if one follows.
        readable_from: Option<u64>,
    },
}

/// A log that is ready to be written: held by lock, its end known and clean.
#[derive(Debug)]
pub struct OpenedLog {
    /// What was repaired, in the order of the repairs.
    pub repairs: Vec<Repair>,
    pub(crate) directory: PathBuf,
    pub(crate) log_id: LogId,
    pub(crate) head: Head,
    pub(crate) file: File,
    pub(crate) segment: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_bytes_max: u64,
    pub(crate) previous_bytes: u64,
    /// Of all segments but the last.
    pub(crate) closed_bytes: u64,
    pub(crate) marker: Marker,
    pub(crate) lock: LogLock,
}

impl OpenedLog {
    /// The log's id.
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The last record.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Where the log is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the log in `directory` (`<data>/log`); makes it, with the id `new_log_id`, if there is none.
    pub fn open(
        directory: &Path,
        new_log_id: LogId,
        now: EventTime,
        options: LogOptions,
    ) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        Self::open_on(&disk, directory, new_log_id, now, options)
    }

    /// The same on any disk.
    pub fn open_on(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        new_log_id: LogId,
        now: EventTime,
        options: LogOptions,
    ) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(io_error)?;
        let lock = LogLock::take(directory)?;
        let mark = Mark::read(directory).map_err(io_error)?.map(|(_, mark)| mark);
        let mut repairs = Repairs::new(Some(&**disk), directory, options, mark);
        let headers_and_end = repairs.make()?;
        let repairs = repairs.made;
        let (headers, head, bytes) = match headers_and_end {
            Some(found) => (found.headers, found.head, found.bytes),
            None => {
                let head = Head { sequence: 0, hash: RecordHash::genesis(new_log_id) };
                let header = SegmentHeader {
                    log_id: new_log_id,
                    first_sequence: 1,
                    previous_hash: head.hash,
                    previous_bytes: 0,
                    created_at: now,
                };
                create_segment(&**disk, directory, &header, true).map_err(io_error)?;
                (vec![header], head, FIRST_RECORD_OFFSET)
            }
        };
        let Some(last) = headers.last() else { return Err(io_error(io::ErrorKind::NotFound.into())) };
        let segment = last.first_sequence;
        let end = Mark { position: Position { segment, offset: bytes }, head };
        // Without a mark nobody knows what of the last segment is on stable storage.
        let beginning = Mark { position: Position { segment, offset: 0 }, head: last.previous() };
        let from = mark.filter(|mark| mark.position <= end.position).unwrap_or(beginning);
        if from != end {
            rewrite(&**disk, directory, &from, &end).map_err(io_error)?;
        }
        let marker = Marker::set(Arc::clone(disk), directory, last.log_id, end).map_err(io_error)?;
        let path = segment_path(directory, segment);
        let file = disk.open(&path).map_err(|source| OpenError::Io { path, source })?;
        Ok(Self {
            repairs,
            directory: directory.to_owned(),
            log_id: last.log_id,
            head,
            file,
            segment,
            segment_bytes: bytes,
            segment_bytes_max: options.segment_bytes_max,
            previous_bytes: last.previous_bytes,
            closed_bytes: headers.iter().skip(1).map(|header| header.previous_bytes).sum(),
            marker,
            lock,
        })
    }
}
