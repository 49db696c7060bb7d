//! What opening a log sets aside at its end, shown before it is done: for a person who decides whether to give up what no crash explains.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::audit::frame::Kind;
use crate::audit::mark::Mark;
use crate::audit::open::{DamagedTail, LogOptions, OpenError, OpenedLog, Repair};
use crate::audit::receipt::LogId;
use crate::audit::repair::Repairs;
use crate::audit::scan::{ScanError, Scanner};
use crate::audit::segment::{LogLock, list_segments};
use crate::domain::time::EventTime;

/// Why nothing was shown or set aside.
#[derive(Debug, Error)]
pub enum TailError {
    /// Nothing to repair.
    #[error("{path}: no log", path = .0.display())]
    NoLog(PathBuf),
    /// Not even setting its end aside makes this log one that can be opened.
    #[error(
        "the log cannot be repaired by setting its end aside: {0}\nOnly damage in the last segment can be given up. Put the files back from a copy, \
         as of the archive; where there is none, a service can only begin a log of its own, with another --data, and this one stays as evidence"
    )]
    Elsewhere(OpenError),
    /// The lock, or the file system.
    #[error(transparent)]
    Open(OpenError),
    /// No record would be left.
    #[error(
        "no record of the log would be left: nothing was changed. Move <data>/log away to begin a new one"
    )]
    NothingLeft,
}

/// What can still be read of bytes that are set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Readable {
    /// Whole records.
    pub records: u64,
    /// Decisions among them.
    pub decisions: u64,
    /// The sequence of the first.
    pub first_sequence: Option<u64>,
    /// The sequence of the last.
    pub last_sequence: Option<u64>,
}

/// Bytes that are set aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Piece {
    /// Where, how many, and why.
    #[serde(flatten)]
    pub repair: Repair,
    /// What of them can still be read.
    pub readable: Readable,
}

/// The end of a log, and what of it is set aside.
#[derive(Debug, Serialize)]
pub struct Tail {
    /// The last record that stays.
    pub last_sequence: u64,
    /// Up to there, records were known to be on stable storage; none: nothing is known.
    pub stable_sequence: Option<u64>,
    /// Why a service refuses to start on this log; none: it repairs it by itself.
    pub refused: Option<String>,
    /// In the order of the repairs.
    pub pieces: Vec<Piece>,
}

impl Tail {
    /// Whether there is nothing to do.
    pub const fn is_sound(&self) -> bool {
        self.pieces.is_empty() && self.refused.is_none()
    }

    /// The records that were on stable storage and do not stay: the first and the last.
    pub fn given_up(&self) -> Option<(u64, u64)> {
        let stable = self.stable_sequence.filter(|stable| *stable > self.last_sequence)?;
        Some((self.last_sequence + 1, stable))
    }
}

fn options(damaged_tail: DamagedTail) -> LogOptions {
    LogOptions { damaged_tail, ..LogOptions::default() }
}

/// Takes the log's lock and says what would be set aside. Changes nothing.
pub fn look(directory: &Path) -> Result<Tail, TailError> {
    if list_segments(directory).map_or(true, |segments| segments.is_empty()) {
        return Err(TailError::NoLog(directory.to_owned()));
    }
    let _lock = LogLock::take(directory).map_err(|error| TailError::Open(error.into()))?;
    look_locked(directory)
}

fn look_locked(directory: &Path) -> Result<Tail, TailError> {
    let io_error = |source| TailError::Open(OpenError::Io { path: directory.to_owned(), source });
    let mark = Mark::read(directory).map_err(io_error)?.map(|(_, mark)| mark);
    let refused = match Repairs::new(None, directory, options(DamagedTail::Refuse), mark).make() {
        Err(error @ OpenError::Damaged { .. }) => Some(error.to_string()),
        Err(error) => return Err(TailError::Open(error)),
        Ok(_) => None,
    };
    let mut repairs = Repairs::new(None, directory, options(DamagedTail::SetAside), mark);
    let found = match repairs.make() {
        Err(error @ OpenError::Damaged { .. }) => return Err(TailError::Elsewhere(error)),
        Err(error) => return Err(TailError::Open(error)),
        Ok(found) => found,
    };
    let mut pieces = Vec::with_capacity(repairs.made.len());
    for repair in repairs.made {
        let path = repair.path.clone();
        let readable = readable(&repair.path, repair.offset)
            .map_err(|source| TailError::Open(OpenError::Io { path, source }))?;
        pieces.push(Piece { repair, readable });
    }
    let last_sequence = found.map_or(0, |found| found.head.sequence);
    Ok(Tail { last_sequence, stable_sequence: mark.map(|mark| mark.head.sequence), refused, pieces })
}

/// Sets it aside, beside the log, and says where it is.
pub fn set_aside(directory: &Path, now: EventTime) -> Result<Tail, TailError> {
    let mut tail = look(directory)?;
    if tail.is_sound() {
        return Ok(tail);
    }
    if tail.last_sequence == 0 {
        return Err(TailError::NothingLeft);
    }
    // Segments are there, so that no log is made with this id.
    let opened = OpenedLog::open(directory, LogId([0; 16]), now, options(DamagedTail::SetAside))
        .map_err(TailError::Open)?;
    tail.last_sequence = opened.head().sequence;
    for (piece, done) in tail.pieces.iter_mut().zip(&opened.repairs) {
        piece.repair.clone_from(done);
    }
    Ok(tail)
}

/// Walks the bytes from `offset` on, over whatever is no record.
fn readable(path: &Path, offset: u64) -> io::Result<Readable> {
    let mut scanner = Scanner::new(File::open(path)?, offset, None);
    let mut readable = Readable::default();
    loop {
        match scanner.advance() {
            Ok(None) => return Ok(readable),
            Ok(Some(_)) => {
                let Some(frame) = scanner.frame() else { continue };
                readable.records += 1;
                readable.decisions += u64::from(frame.header.kind == Kind::Decision);
                readable.first_sequence.get_or_insert(frame.header.sequence);
                readable.last_sequence = Some(frame.header.sequence);
            }
            Err(ScanError::Io(error)) => return Err(error),
            Err(ScanError::Frame(_)) => {
                if scanner.resync()?.is_none() {
                    return Ok(readable);
                }
            }
        }
    }
}
