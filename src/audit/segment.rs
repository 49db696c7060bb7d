//! Segment files: `<first sequence, 20 digits>.log`, each a header and then records; and the lock of a log's directory.
//!
//! ```text
//!  0  6  magic F5 "TGLOG"
//!  6  2  format version, 1
//!  8  4  crc32c of everything after this field, to the end of the header
//! 12  4  header length, 96
//! 16 16  log id
//! 32  8  first sequence
//! 40 32  hash of the record before the first; of the first segment: genesis
//! 72  8  length in bytes of the segment before; 0 of the first segment
//! 80  8  created at, milliseconds since 1970
//! 88  8  zero
//! ```
//!
//! A segment ends where the next one says that it ends. So the end of every segment but the last is known without reading it, and
//! bytes that a failed write left behind there are no part of the log.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::audit::disk::Disk;
use crate::audit::receipt::{Head, LogId, RecordHash};
use crate::domain::time::EventTime;

/// Length of a segment's header, in bytes.
pub const SEGMENT_HEADER_BYTES: usize = 96;
/// The same, as an offset.
pub const FIRST_RECORD_OFFSET: u64 = SEGMENT_HEADER_BYTES as u64;
/// A segment that would grow longer than this is closed, unless config says otherwise. In bytes.
pub const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most segments of one log.
pub const SEGMENTS_MAX: usize = 1_000_000;
/// The format version that is written.
pub const SEGMENT_FORMAT_VERSION: u16 = 1;
/// The name of the lock file.
pub const LOCK_FILE: &str = "log.lock";

const MAGIC: [u8; 6] = *b"\xf5TGLOG";

/// What a segment says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The log that it belongs to.
    pub log_id: LogId,
    /// The sequence of its first record.
    pub first_sequence: u64,
    /// The hash of the record before that.
    pub previous_hash: RecordHash,
    /// Where the segment before ends, in bytes; 0 if there is none.
    pub previous_bytes: u64,
    /// When the file was made.
    pub created_at: EventTime,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SegmentError {
    /// The file ends before the header does, or nothing but zeros arrived on the disk.
    #[error("segment header is incomplete")]
    Torn,
    /// A checksum or a field is wrong.
    #[error("segment header is damaged: {what}")]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
    /// No segment of an audit log.
    #[error("file is no segment of an audit log")]
    Foreign,
    /// Written by a newer version.
    #[error(
        "segment has format version {version}; this version reads up to {SEGMENT_FORMAT_VERSION}: use a newer one"
    )]
    NewerFormat {
        /// The version.
        version: u16,
    },
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

impl SegmentHeader {
    /// The record before the first.
    pub const fn previous(&self) -> Head {
        Head { sequence: self.first_sequence.saturating_sub(1), hash: self.previous_hash }
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..6].copy_from_slice(&MAGIC);
        bytes[6..8].copy_from_slice(&SEGMENT_FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&96_u32.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id.0);
        bytes[32..40].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[40..72].copy_from_slice(&self.previous_hash.0);
        bytes[72..80].copy_from_slice(&self.previous_bytes.to_le_bytes());
        bytes[80..88].copy_from_slice(&self.created_at.unix_millis().to_le_bytes());
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let there = &bytes[..bytes.len().min(SEGMENT_HEADER_BYTES)];
        if there.iter().all(|byte| *byte == 0) {
            return Err(SegmentError::Torn);
        }
        let prefix = there.len().min(MAGIC.len());
        if there[..prefix] != MAGIC[..prefix] {
            return Err(SegmentError::Foreign);
        }
        if there.len() < SEGMENT_HEADER_BYTES {
            return Err(SegmentError::Torn);
        }
        match u16::from_le_bytes(array(bytes, 6)) {
            SEGMENT_FORMAT_VERSION => {}
            0 => return Err(SegmentError::Corrupt { what: "format version 0" }),
            version => return Err(SegmentError::NewerFormat { version }),
        }
        if crc32c::crc32c(&bytes[12..SEGMENT_HEADER_BYTES]) != u32::from_le_bytes(array(bytes, 8)) {
            return Err(SegmentError::Corrupt { what: "checksum" });
        }
        if u32::from_le_bytes(array(bytes, 12)) != 96 {
            return Err(SegmentError::Corrupt { what: "header length" });
        }
        let created_at = EventTime::from_unix_millis(i64::from_le_bytes(array(bytes, 80)))
            .map_err(|_| SegmentError::Corrupt { what: "time of creation out of range" })?;
        let header = Self {
            log_id: LogId(array(bytes, 16)),
            first_sequence: u64::from_le_bytes(array(bytes, 32)),
            previous_hash: RecordHash(array(bytes, 40)),
            previous_bytes: u64::from_le_bytes(array(bytes, 72)),
            created_at,
        };
        match header.first_sequence {
            0 => Err(SegmentError::Corrupt { what: "first sequence is 0" }),
            1 if header.previous_hash != RecordHash::genesis(header.log_id) => Err(SegmentError::Corrupt {
                what: "previous hash of the first segment is not that of its log id",
            }),
            _ => Ok(header),
        }
    }

    /// Reads the header of an open segment.
    pub fn read(file: &File) -> io::Result<Result<Self, SegmentError>> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::decode(&bytes[..length]))
    }
}

/// The path of the segment that begins with `first_sequence`.
pub fn segment_path(directory: &Path, first_sequence: u64) -> PathBuf {
    directory.join(format!("{first_sequence:020}.log"))
}

fn first_sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|sequence| *sequence > 0)
}

/// The first sequences of all segments in `directory`, rising. Other files are passed over.
pub fn list_segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        if let Some(sequence) = entry?.file_name().to_str().and_then(first_sequence_of) {
            if segments.len() == SEGMENTS_MAX {
                return Err(io::Error::other(format!("more than {SEGMENTS_MAX} segments: archive old ones")));
            }
            segments.push(sequence);
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Makes a segment that holds its header and nothing else. Under its own name it is seen only when that is complete; with `durable` it is
/// on stable storage when this returns. Takes the place of an older file of that name, which the caller knows to hold no records.
pub fn create_segment(
    disk: &dyn Disk,
    directory: &Path,
    header: &SegmentHeader,
    durable: bool,
) -> io::Result<File> {
    let path = segment_path(directory, header.first_sequence);
    let unfinished = path.with_extension("new");
    let file = disk.create(&unfinished)?;
    disk.write_all_at(&file, &header.encode(), 0)?;
    if durable {
        disk.sync(&file)?;
    }
    disk.rename(&unfinished, &path)?;
    if durable {
        disk.sync_directory(directory)?;
    }
    Ok(file)
}

/// The right to write one log, held until dropped. The kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct LogLock {
    _file: File,
}

/// Why the lock could not be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path} is locked by another process{holder}: two processes must not write one log")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// ` (process 4711)`, if it says so.
        holder: String,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How often a lock that somebody holds is tried again, and how long after.
const LOCK_TRIES: u32 = 20;
const LOCK_RETRY: Duration = Duration::from_millis(10);

impl LogLock {
    /// Takes the lock of the log in `directory`; waits for at most a fifth of a second. A process that has just gone may still hold
    /// it for a moment, and so may a child process that it was starting.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(LOCK_FILE);
        let with_path = |source| LockError::Io { path: path.clone(), source };
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(with_path)?;
        let mut locked = file.try_lock();
        for _ in 0..LOCK_TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(LOCK_RETRY);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(with_path(source)),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.take(20).read_to_string(&mut text);
                let holder =
                    text.trim().parse::<u32>().map(|id| format!(" (process {id})")).unwrap_or_default();
                return Err(LockError::Held { path, holder });
            }
        }
        // Only for people who wonder who holds it, so a full disk is no reason to fail here.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::disk::SystemDisk;

    fn header() -> SegmentHeader {
        let log_id = LogId([3; 16]);
        SegmentHeader {
            log_id,
            first_sequence: 1,
            previous_hash: RecordHash::genesis(log_id),
            previous_bytes: 0,
            created_at: EventTime::from_unix_millis(1_792_497_600_000).unwrap(),
        }
    }

    #[test]
    fn the_header_reads_back_and_every_damage_is_found() {
        let good = header().encode();
        assert_eq!(SegmentHeader::decode(&good), Ok(header()));
        for length in 0..good.len() {
            assert_eq!(SegmentHeader::decode(&good[..length]), Err(SegmentError::Torn), "{length}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = SegmentHeader::decode(&bad).unwrap_err();
            assert_ne!(error, SegmentError::Torn, "bit {bit}");
        }
        let moved = SegmentHeader { log_id: LogId([4; 16]), ..header() };
        assert!(matches!(SegmentHeader::decode(&moved.encode()), Err(SegmentError::Corrupt { .. })));
    }

    #[test]
    fn segments_are_listed_in_order_and_other_files_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        for first_sequence in [900, 1, 20] {
            let header = SegmentHeader { first_sequence, ..header() };
            create_segment(&SystemDisk, directory.path(), &header, true).unwrap();
        }
        for name in ["1.log", "00000000000000000000.log", "0000000000000000000x.log", "log.lock"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(list_segments(directory.path()).unwrap(), [1, 20, 900]);
    }

    #[test]
    fn the_lock_is_exclusive() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LogLock::take(directory.path()).unwrap();
        let error = LogLock::take(directory.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
        drop(lock);
        LogLock::take(directory.path()).unwrap();
    }
}
