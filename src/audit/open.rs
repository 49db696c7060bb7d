//! Opening a log for writing: takes the lock, finds the head, repairs what a crash leaves behind.
//!
//! A crash leaves an incomplete record at the end of the last segment, a last segment without a complete header, or bytes after the end of a segment
//! where a failed write could not be taken back. Those bytes are put into a `*.torn` file beside the log, synced, and only then cut off; each is
//! reported as a `Repair` for the caller to log. Anything else that is wrong is an error that says file, offset and what to do.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::audit::chain::Chain;
use crate::audit::damage::{Damage, check_follows};
use crate::audit::disk::SystemDisk;
use crate::audit::frame::FrameError;
use crate::audit::receipt::{Head, LogId, RecordHash};
use crate::audit::scan::{ScanError, Scanner, ends_in_lost_sectors, zeros_from};
use crate::audit::segment::{
    FIRST_RECORD_OFFSET, LockError, LogLock, SEGMENT_BYTES_MAX, SegmentError, SegmentHeader, create_segment,
    list_segments, segment_path,
};
use crate::domain::time::EventTime;

/// Most `*.torn` files of one place in the log.
pub const TORN_FILES_MAX: u32 = 1000;
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
        "the log is damaged: {path} at byte {offset}: {damage}{after}. Nothing was changed. Restore the file from a copy; or look at it with verify, and if the \
         records from there on can be given up, open with the damaged tail set aside",
        path = path.display(),
        after = match readable_from { Some(offset) => format!("; readable records follow from byte {offset}"), None => String::new() }
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Bytes from its start.
        offset: u64,
        /// What is wrong.
        damage: Damage,
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
        let io_error = |source| OpenError::Io { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(io_error)?;
        let lock = LogLock::take(directory)?;
        let mut repairs = Vec::new();
        remove_leftovers(directory).map_err(io_error)?;
        let mut segments = list_segments(directory).map_err(io_error)?;
        if let Some(last) = segments.last().copied()
            && let Some(repair) = set_torn_segment_aside(directory, last).map_err(io_error)?
        {
            if segments.len() == 1 && last != 1 {
                // The records before it are in an archive, and their last hash was in the header that is gone.
                return Err(OpenError::Damaged {
                    path: segment_path(directory, last),
                    offset: 0,
                    damage: Damage::Segment(SegmentError::Torn),
                    readable_from: None,
                });
            }
            finish_torn_segment(&repair).map_err(io_error)?;
            repairs.push(repair);
            segments.pop();
        }
        let Some(last) = segments.last().copied() else {
            let head = Head { sequence: 0, hash: RecordHash::genesis(new_log_id) };
            let header = SegmentHeader {
                log_id: new_log_id,
                first_sequence: 1,
                previous_hash: head.hash,
                previous_bytes: 0,
                created_at: now,
            };
            let file = create_segment(&SystemDisk, directory, &header, true).map_err(io_error)?;
            return Ok(Self {
                repairs,
                directory: directory.to_owned(),
                log_id: new_log_id,
                head,
                file,
                segment: 1,
                segment_bytes: FIRST_RECORD_OFFSET,
                segment_bytes_max: options.segment_bytes_max,
                previous_bytes: 0,
                closed_bytes: 0,
                lock,
            });
        };
        let headers = read_headers(directory, &segments)?;
        for pair in headers.windows(2) {
            close_segment(directory, &pair[0], &pair[1], options.scan, &mut repairs)?;
        }
        let Some(header) = headers.last() else { return Err(io_error(io::ErrorKind::NotFound.into())) };
        let path = segment_path(directory, last);
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let (head, segment_bytes) = find_end(&path, &file, header, options.damaged_tail, &mut repairs)?;
        Ok(Self {
            repairs,
            directory: directory.to_owned(),
            log_id: header.log_id,
            head,
            file,
            segment: last,
            segment_bytes,
            segment_bytes_max: options.segment_bytes_max,
            previous_bytes: header.previous_bytes,
            closed_bytes: headers.iter().skip(1).map(|header| header.previous_bytes).sum(),
            lock,
        })
    }
}

/// Files that only an interrupted writer leaves; they never held an acknowledged record.
fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let unfinished = path.extension().is_some_and(|extension| extension == "new")
            && path.file_stem().is_some_and(|stem| stem.len() == 20);
        if unfinished || path.file_name().is_some_and(|name| name == PROBE_FILE) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Copies the bytes of `file` from `offset` on into a `*.torn` file, and waits until they are on stable storage.
fn keep(path: &Path, file: &File, offset: u64) -> io::Result<Option<PathBuf>> {
    let bytes = file.metadata()?.len().saturating_sub(offset);
    if bytes == 0 {
        return Ok(None);
    }
    for number in 1..=TORN_FILES_MAX {
        let kept = path.with_extension(format!("{offset}.{number}.torn"));
        let copy = match File::options().write(true).create_new(true).open(&kept) {
            Ok(copy) => copy,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        let mut buffer = vec![0; 1024 * 1024];
        let mut at = 0;
        while at < bytes {
            let want = buffer.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
            file.read_exact_at(&mut buffer[..want], offset + at)?;
            copy.write_all_at(&buffer[..want], at)?;
            at += want as u64;
        }
        copy.sync_all()?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        return Ok(Some(kept));
    }
    Err(io::Error::other(format!("{TORN_FILES_MAX} *.torn files of {}: move them away", path.display())))
}

fn cut(
    path: &Path,
    offset: u64,
    kind: RepairKind,
    last_sequence: u64,
    reason: String,
) -> Result<Repair, OpenError> {
    let attempt = || {
        let file = File::options().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len().saturating_sub(offset);
        let kept = keep(path, &file, offset)?;
        file.set_len(offset)?;
        file.sync_all()?;
        Ok(Repair { kind, path: path.to_owned(), offset, bytes, kept, last_sequence, reason })
    };
    attempt().map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

/// If the segment's header never came to be, keeps a copy of the file.
fn set_torn_segment_aside(directory: &Path, segment: u64) -> io::Result<Option<Repair>> {
    let path = segment_path(directory, segment);
    let file = File::open(&path)?;
    let bytes = file.metadata()?.len();
    let torn = SegmentHeader::read(&file)? == Err(SegmentError::Torn);
    if !torn || (bytes > FIRST_RECORD_OFFSET && zeros_from(&file, 0, bytes)? > 0) {
        return Ok(None);
    }
    Ok(Some(Repair {
        kind: RepairKind::TornSegment,
        kept: keep(&path, &file, 0)?,
        path,
        offset: 0,
        bytes,
        last_sequence: segment - 1,
        reason: SegmentError::Torn.to_string(),
    }))
}

fn finish_torn_segment(repair: &Repair) -> io::Result<()> {
    std::fs::remove_file(&repair.path)?;
    match repair.path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn read_headers(directory: &Path, segments: &[u64]) -> Result<Vec<SegmentHeader>, OpenError> {
    let mut headers = Vec::with_capacity(segments.len());
    for segment in segments {
        let path = segment_path(directory, *segment);
        let header = match File::open(&path).and_then(|file| SegmentHeader::read(&file)) {
            Ok(Ok(header)) if header.first_sequence == *segment => Ok(header),
            Ok(Ok(header)) => Err(Damage::Name { name: *segment, header: header.first_sequence }),
            Ok(Err(error)) => Err(Damage::Segment(error)),
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        headers.push(header.map_err(|damage| OpenError::Damaged {
            path,
            offset: 0,
            damage,
            readable_from: None,
        })?);
    }
    Ok(headers)
}

/// Checks a segment that is not the last against the header of the one after it, and sets bytes after its end aside.
fn close_segment(
    directory: &Path,
    header: &SegmentHeader,
    next: &SegmentHeader,
    scan: ScanDepth,
    repairs: &mut Vec<Repair>,
) -> Result<(), OpenError> {
    let path = segment_path(directory, header.first_sequence);
    let damaged =
        |offset, damage| OpenError::Damaged { path: path.clone(), offset, damage, readable_from: None };
    let io_error = |source| OpenError::Io { path: path.clone(), source };
    let end = next.previous_bytes;
    let have = std::fs::metadata(&path).map_err(io_error)?.len();
    if have < end {
        return Err(damaged(have, Damage::TooShort { have, need: end }));
    }
    if header.log_id != next.log_id {
        let damage = Damage::OtherLog { expected: header.log_id, found: next.log_id };
        return Err(OpenError::Damaged {
            path: segment_path(directory, next.first_sequence),
            offset: 0,
            damage,
            readable_from: None,
        });
    }
    if scan == ScanDepth::All {
        let file = File::open(&path).map_err(io_error)?;
        let (head, offset, stop) = walk(file, header, Some(end)).map_err(io_error)?;
        stop.map_or_else(|| check_follows(next, header.log_id, head, offset), Err)
            .map_err(|damage| damaged(offset, damage))?;
    }
    if have > end {
        let reason = Damage::Overhang { bytes: have - end }.to_string();
        repairs.push(cut(&path, end, RepairKind::Overhang, next.first_sequence - 1, reason)?);
    }
    Ok(())
}

/// Walks a segment as far as it is good: the last record, where it ends, and what is wrong there.
fn walk(file: File, header: &SegmentHeader, end: Option<u64>) -> io::Result<(Head, u64, Option<Damage>)> {
    let mut scanner = Scanner::new(file, FIRST_RECORD_OFFSET, end);
    let mut chain = Chain::new(header.previous());
    loop {
        match scanner.advance() {
            Ok(None) => return Ok((chain.head(), scanner.offset(), None)),
            Ok(Some(offset)) => {
                if let Some(Err(error)) = scanner.frame().map(|frame| chain.step(&frame)) {
                    return Ok((chain.head(), offset, Some(Damage::Chain(error))));
                }
            }
            Err(ScanError::Io(error)) => return Err(error),
            Err(ScanError::Frame(error)) => {
                return Ok((chain.head(), scanner.offset(), Some(Damage::Frame(error))));
            }
        }
    }
}

/// Finds the end of the last segment, and repairs it.
fn find_end(
    path: &Path,
    file: &File,
    header: &SegmentHeader,
    damaged_tail: DamagedTail,
    repairs: &mut Vec<Repair>,
) -> Result<(Head, u64), OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    let own = || file.try_clone().map_err(io_error);
    let (head, offset, damage) = walk(own()?, header, None).map_err(io_error)?;
    let Some(damage) = damage else { return Ok((head, offset)) };
    let mut readable_from = None;
    let kind = match damage {
        Damage::Frame(FrameError::Torn { .. }) => RepairKind::TornRecord,
        Damage::Frame(FrameError::NewerFormat { .. } | FrameError::NewerKind { .. }) => {
            return Err(OpenError::Damaged { path: path.to_owned(), offset, damage, readable_from });
        }
        _ => {
            let end = file.metadata().map_err(io_error)?.len();
            readable_from = Scanner::new(own()?, offset, None).resync().map_err(io_error)?;
            let lost = readable_from.is_none()
                && matches!(damage, Damage::Frame(_))
                && ends_in_lost_sectors(file, offset, end).map_err(io_error)?;
            match damaged_tail {
                _ if lost => RepairKind::TornRecord,
                DamagedTail::SetAside => RepairKind::DamagedTail,
                DamagedTail::Refuse => {
                    return Err(OpenError::Damaged { path: path.to_owned(), offset, damage, readable_from });
                }
            }
        }
    };
    repairs.push(cut(path, offset, kind, head.sequence, damage.to_string())?);
    Ok((head, offset))
}
