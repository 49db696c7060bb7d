//! Reading a log in order, with everything checked: checksums, chain, contiguity, the joints between segments.
//!
//! A reader may follow a log that is being written: at its end, `next` gives none, and gives more later. The writer takes back records
//! that it could not acknowledge, so a reader of a live log is told with `limit` how far the log is settled (the writer's `status().sequence`).

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::audit::chain::Chain;
use crate::audit::damage::{Damage, ReadError, check_follows};
use crate::audit::frame::{FrameError, Header};
use crate::audit::receipt::{Head, LogId, Position, RecordHash};
use crate::audit::scan::{ScanError, Scanner};
use crate::audit::segment::{FIRST_RECORD_OFFSET, SegmentHeader, list_segments, segment_path};

/// How often wrong bytes are read again before they count as damage: a writer may just be putting others there.
const READS_MAX: u32 = 3;

/// One record as a reader gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Everything but the body.
    pub header: Header,
    /// The body.
    pub body: &'a [u8],
    /// The record's hash.
    pub hash: RecordHash,
    /// Where it lies.
    pub position: Position,
}

/// Reads a log from some sequence on.
#[derive(Debug)]
pub struct LogReader {
    directory: PathBuf,
    log_id: LogId,
    segment: u64,
    /// The segment that followed this one when the directory was last listed.
    next_segment: Option<u64>,
    scanner: Scanner,
    chain: Chain,
    from: u64,
    limit: u64,
}

fn open_segment(directory: &Path, segment: u64) -> Result<(File, SegmentHeader), ReadError> {
    let path = segment_path(directory, segment);
    let read = File::open(&path).and_then(|file| SegmentHeader::read(&file).map(|header| (file, header)));
    let (file, header) = read.map_err(|source| ReadError::Io { path: path.clone(), source })?;
    let header = header.map_err(Damage::from).and_then(|header| {
        if header.first_sequence == segment {
            Ok(header)
        } else {
            Err(Damage::Name { name: segment, header: header.first_sequence })
        }
    });
    let header = header.map_err(|damage| ReadError::Damaged { path, offset: 0, damage })?;
    Ok((file, header))
}

impl LogReader {
    /// A reader of the log in `directory` whose first record is the one with that sequence (0 or 1: the first), which need not be written yet.
    /// Reads and checks its segment from the start.
    pub fn from_sequence(directory: &Path, sequence: u64) -> Result<Self, ReadError> {
        let sequence = sequence.max(1);
        let segments = list_segments(directory)
            .map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
        let after = segments.partition_point(|first| *first <= sequence);
        let Some(segment) = after.checked_sub(1).map(|index| segments[index]) else {
            return Err(ReadError::NotThere {
                path: directory.to_owned(),
                sequence,
                oldest: segments.first().copied(),
            });
        };
        let (file, header) = open_segment(directory, segment)?;
        Ok(Self {
            directory: directory.to_owned(),
            log_id: header.log_id,
            segment,
            next_segment: segments.get(after).copied(),
            scanner: Scanner::new(file, FIRST_RECORD_OFFSET, None),
            chain: Chain::new(header.previous()),
            from: sequence,
            limit: u64::MAX,
        })
    }

    /// The same; where that record is gone with its segment, the first is the oldest one that is there.
    pub fn from_sequence_or_oldest(directory: &Path, sequence: u64) -> Result<Self, ReadError> {
        match Self::from_sequence(directory, sequence) {
            Err(ReadError::NotThere { oldest: Some(oldest), .. }) if oldest > sequence => {
                Self::from_sequence(directory, oldest)
            }
            opened => opened,
        }
    }

    /// A reader of the records after the one at `position`, which is read and is the first `head`. What lies before it in its
    /// segment is not looked at.
    pub fn after(directory: &Path, position: Position) -> Result<Self, ReadError> {
        let (file, header) = open_segment(directory, position.segment)?;
        let path = || segment_path(directory, position.segment);
        let damaged = |damage| ReadError::Damaged { path: path(), offset: position.offset, damage };
        let too_short =
            || damaged(Damage::TooShort { have: position.offset, need: position.offset.saturating_add(1) });
        let mut scanner = Scanner::new(file, position.offset, None);
        match scanner.advance() {
            Ok(Some(_)) => {}
            Ok(None) => return Err(too_short()),
            Err(ScanError::Io(source)) => return Err(ReadError::Io { path: path(), source }),
            Err(ScanError::Frame(error)) => return Err(damaged(Damage::Frame(error))),
        }
        let frame = scanner.frame().ok_or_else(too_short)?;
        let head = Head { sequence: frame.header.sequence, hash: frame.hash() };
        let segments = list_segments(directory)
            .map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
        Ok(Self {
            directory: directory.to_owned(),
            log_id: header.log_id,
            segment: position.segment,
            next_segment: segments.into_iter().find(|segment| *segment > position.segment),
            scanner,
            chain: Chain::new(head),
            from: head.sequence.saturating_add(1),
            limit: u64::MAX,
        })
    }

    /// The log's id.
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The last record that was read and checked.
    pub const fn head(&self) -> Head {
        self.chain.head()
    }

    /// The sequence of the first record that it gives, or gave.
    pub const fn first(&self) -> u64 {
        self.from
    }

    /// From now on, gives no record after that sequence.
    pub const fn limit(&mut self, sequence: u64) {
        self.limit = sequence;
    }

    /// The next record; none at the end of what is there now. After an error, the same error again.
    #[expect(clippy::should_implement_trait, reason = "the record borrows the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let mut reads = 0;
        let (hash, position) = loop {
            if self.chain.head().sequence >= self.limit {
                return Ok(None);
            }
            let damage = match self.scanner.advance() {
                Ok(Some(offset)) => match self.step() {
                    Ok(hash) if self.chain.head().sequence >= self.from => {
                        break (hash, Position { segment: self.segment, offset });
                    }
                    Ok(_) => continue,
                    Err(damage) => {
                        self.scanner = self.scanner_at(offset)?;
                        Some(damage)
                    }
                },
                Ok(None) => None,
                Err(ScanError::Io(source)) => return Err(ReadError::Io { path: self.path(), source }),
                Err(ScanError::Frame(error)) => Some(Damage::Frame(error)),
            };
            if self.step_to_next_segment()? {
                continue;
            }
            match damage {
                None if self.next_segment.is_none() => {
                    if self.scanner.offset() == FIRST_RECORD_OFFSET {
                        // After a failed write, a segment without records can be replaced by a new file.
                        self.scanner = self.scanner_at(FIRST_RECORD_OFFSET)?;
                    }
                    return Ok(None);
                }
                Some(Damage::Frame(FrameError::Torn { .. })) if self.next_segment.is_none() => {
                    self.scanner.reload();
                    return Ok(None);
                }
                Some(_) if reads < READS_MAX => {
                    reads += 1;
                    self.scanner.reload();
                }
                damage => {
                    let offset = self.scanner.offset();
                    let damage = damage.unwrap_or(Damage::TooShort { have: offset, need: offset + 1 });
                    return Err(ReadError::Damaged { path: self.path(), offset, damage });
                }
            }
        };
        Ok(self.scanner.frame().map(|frame| Record {
            header: frame.header,
            body: frame.body,
            hash,
            position,
        }))
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.directory, self.segment)
    }

    fn scanner_at(&self, offset: u64) -> Result<Scanner, ReadError> {
        let (file, _) = open_segment(&self.directory, self.segment)?;
        Ok(Scanner::new(file, offset, None))
    }

    fn step(&mut self) -> Result<RecordHash, Damage> {
        let Some(frame) = self.scanner.frame() else {
            return Err(Damage::Frame(FrameError::Foreign));
        };
        Ok(self.chain.step(&frame)?)
    }

    /// If the next segment begins where this one stands, goes there.
    fn step_to_next_segment(&mut self) -> Result<bool, ReadError> {
        let head = self.chain.head();
        let next = head.sequence.saturating_add(1);
        if next == self.segment || self.next_segment.is_some_and(|segment| segment != next) {
            return Ok(false);
        }
        let (file, header) = match open_segment(&self.directory, next) {
            Ok(opened) => opened,
            Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        check_follows(&header, self.log_id, head, self.scanner.offset()).map_err(|damage| {
            ReadError::Damaged { path: segment_path(&self.directory, next), offset: 0, damage }
        })?;
        let segments = list_segments(&self.directory)
            .map_err(|source| ReadError::Io { path: self.directory.clone(), source })?;
        self.next_segment = segments.into_iter().find(|segment| *segment > next);
        self.segment = next;
        self.scanner = Scanner::new(file, FIRST_RECORD_OFFSET, None);
        Ok(true)
    }
}
