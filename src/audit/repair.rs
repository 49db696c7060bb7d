//! Finding the end of a log after a crash, and repairing it. What is a crash's doing and what is damage, `mark` and the bytes tell.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::audit::chain::Chain;
use crate::audit::damage::{Damage, check_follows};
use crate::audit::disk::Disk;
use crate::audit::frame::FrameError;
use crate::audit::mark::Mark;
use crate::audit::open::{DamagedTail, LogOptions, OpenError, PROBE_FILE, Repair, RepairKind, ScanDepth};
use crate::audit::receipt::{Head, Position};
use crate::audit::scan::{ScanError, Scanner, ends_in_lost_sectors, has_lost_sector, zeros_from};
use crate::audit::segment::{FIRST_RECORD_OFFSET, SegmentError, SegmentHeader, list_segments, segment_path};
use crate::audit::set_aside::{cut, take_away};

/// What a log holds after repair.
pub(crate) struct Found {
    /// Of all segments, at least one.
    pub(crate) headers: Vec<SegmentHeader>,
    /// The last record.
    pub(crate) head: Head,
    /// Length of the last segment.
    pub(crate) bytes: u64,
}

/// Repairs one log, or says what it would repair.
pub(crate) struct Repairs<'a> {
    /// None: nothing is changed.
    disk: Option<&'a dyn Disk>,
    directory: &'a Path,
    options: LogOptions,
    mark: Option<Mark>,
    pub(crate) made: Vec<Repair>,
}

/// How far a segment is good.
struct Walked {
    head: Head,
    offset: u64,
    /// What is wrong there; none at the end.
    damage: Option<Damage>,
    /// The last record before the mark, where a record ends there.
    at_mark: Option<Head>,
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

fn damaged(path: &Path, offset: u64, damage: Damage) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), offset, damage: Box::new(damage), readable_from: None }
}

impl<'a> Repairs<'a> {
    pub(crate) fn new(
        disk: Option<&'a dyn Disk>,
        directory: &'a Path,
        options: LogOptions,
        mark: Option<Mark>,
    ) -> Self {
        Self { disk, directory, options, mark, made: Vec::new() }
    }

    /// Repairs, and says what is there; none if there are no segments.
    pub(crate) fn make(&mut self) -> Result<Option<Found>, OpenError> {
        let directory = self.directory;
        self.remove_leftovers().map_err(io_error(directory))?;
        let mut segments = list_segments(directory).map_err(io_error(directory))?;
        self.set_torn_segments_aside(&mut segments)?;
        let Some(last) = segments.len().checked_sub(1) else {
            return self.nothing_is_missing(0, directory, 0).map(|()| None);
        };
        let unsure = self.first_unsure(&segments, last)?;
        let mut headers = Vec::with_capacity(segments.len());
        for segment in &segments[..=unsure] {
            let path = segment_path(directory, *segment);
            let header = read_header(&path, *segment)?;
            headers.push(header.map_err(|damage| damaged(&path, 0, damage))?);
        }
        for pair in headers.windows(2) {
            self.close_segment(&pair[0], &pair[1])?;
        }
        let (head, bytes) = self.find_end(&segments, &mut headers)?;
        Ok(Some(Found { headers, head, bytes }))
    }

    /// Files that only an interrupted writer leaves. A segment that never got its name, with records in it, is kept.
    fn remove_leftovers(&mut self) -> io::Result<()> {
        let mut nameless = Vec::new();
        for entry in std::fs::read_dir(self.directory)? {
            let path = entry?.path();
            let unfinished = path.extension().is_some_and(|extension| extension == "new")
                && path.file_stem().is_some_and(|stem| stem.len() == 20);
            if unfinished && std::fs::metadata(&path)?.len() > FIRST_RECORD_OFFSET {
                nameless.push(path);
            } else if unfinished || path.file_name().is_some_and(|name| name == PROBE_FILE) {
                self.disk.map_or(Ok(()), |disk| disk.remove(&path))?;
            }
        }
        for path in nameless {
            let (bytes, kept) = self.take_away(&path)?;
            let reason = "the segment never got its name on the disk".to_owned();
            let kind = RepairKind::LostTail;
            self.made.push(Repair { kind, path, offset: 0, bytes, kept, last_sequence: 0, reason });
        }
        Ok(())
    }

    /// The last segments, if their headers never came to be: one, or with a mark all that come after it.
    fn set_torn_segments_aside(&mut self, segments: &mut Vec<u64>) -> Result<(), OpenError> {
        while let Some(segment) = segments.last().copied() {
            let path = segment_path(self.directory, segment);
            let known = self.mark.is_some_and(|mark| mark.position.segment >= segment);
            let enough = self.mark.is_none() && !self.made.is_empty();
            if known || enough || !is_torn(&path).map_err(io_error(&path))? {
                return Ok(());
            }
            if segments.len() == 1 && segment != 1 {
                // The records before it are in an archive, and their last hash was in the header that is gone.
                return Err(damaged(&path, 0, Damage::Segment(SegmentError::Torn)));
            }
            let reason = SegmentError::Torn.to_string();
            self.give_up_segment(segment, RepairKind::TornSegment, segment - 1, reason)?;
            self.sync_names().map_err(io_error(&path))?;
            segments.pop();
        }
        Ok(())
    }

    /// The index of the first segment that is not on stable storage to its end, as far as is known.
    fn first_unsure(&self, segments: &[u64], last: usize) -> Result<usize, OpenError> {
        let Some(mark) = self.mark else { return Ok(last) };
        match segments.binary_search(&mark.position.segment) {
            Ok(index) => Ok(index),
            // Archived, with all that was before the mark.
            Err(0) => Ok(0),
            Err(index) => {
                let segment = segments[index - 1];
                let path = segment_path(self.directory, segment);
                self.nothing_is_missing(segment.saturating_sub(1), &path, 0).map(|()| index - 1)
            }
        }
    }

    /// Refuses a log that ends before its mark, unless a person has asked for what is there.
    fn nothing_is_missing(&self, reached: u64, path: &Path, offset: u64) -> Result<(), OpenError> {
        let need = self.mark.map_or(0, |mark| mark.head.sequence);
        if need <= reached || self.options.damaged_tail == DamagedTail::SetAside {
            return Ok(());
        }
        Err(damaged(path, offset, Damage::Missing { have: reached, need }))
    }

    fn take_away(&self, path: &Path) -> io::Result<(u64, Option<PathBuf>)> {
        match self.disk {
            Some(disk) => take_away(disk, path),
            None => Ok((std::fs::metadata(path)?.len(), None)),
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.map_or(Ok(()), |disk| disk.sync_directory(self.directory))
    }

    fn give_up_segment(
        &mut self,
        segment: u64,
        kind: RepairKind,
        last_sequence: u64,
        reason: String,
    ) -> Result<(), OpenError> {
        let path = segment_path(self.directory, segment);
        let (bytes, kept) = self.take_away(&path).map_err(io_error(&path))?;
        self.made.push(Repair { kind, path, offset: 0, bytes, kept, last_sequence, reason });
        Ok(())
    }

    fn cut(
        &mut self,
        path: PathBuf,
        offset: u64,
        kind: RepairKind,
        last_sequence: u64,
        reason: String,
    ) -> Result<(), OpenError> {
        let (bytes, kept) = match self.disk {
            Some(disk) => cut(disk, &path, offset).map_err(io_error(&path))?,
            None => (std::fs::metadata(&path).map_err(io_error(&path))?.len().saturating_sub(offset), None),
        };
        self.made.push(Repair { kind, path, offset, bytes, kept, last_sequence, reason });
        Ok(())
    }

    /// Checks a segment that is not the last against the header of the one after it, and sets bytes after its end aside.
    fn close_segment(&mut self, header: &SegmentHeader, next: &SegmentHeader) -> Result<(), OpenError> {
        let path = segment_path(self.directory, header.first_sequence);
        let end = next.previous_bytes;
        let have = std::fs::metadata(&path).map_err(io_error(&path))?.len();
        if have < end {
            return Err(damaged(&path, have, Damage::TooShort { have, need: end }));
        }
        if header.log_id != next.log_id {
            let damage = Damage::OtherLog { expected: header.log_id, found: next.log_id };
            return Err(damaged(&segment_path(self.directory, next.first_sequence), 0, damage));
        }
        // Bytes are cut only where the records before them lead to the next segment: if a file between the two is missing, they do not.
        if self.options.scan == ScanDepth::All || have > end {
            let walked = self.walk(&path, header, Some(end))?;
            walked
                .damage
                .map_or_else(|| check_follows(next, header.log_id, walked.head, walked.offset), Err)
                .map_err(|damage| damaged(&path, walked.offset, damage))?;
        }
        self.cut_overhang(path, have, next)
    }

    fn cut_overhang(&mut self, path: PathBuf, have: u64, next: &SegmentHeader) -> Result<(), OpenError> {
        let end = next.previous_bytes;
        if have <= end {
            return Ok(());
        }
        let reason = Damage::Overhang { bytes: have - end }.to_string();
        self.cut(path, end, RepairKind::Overhang, next.first_sequence - 1, reason)
    }

    /// Walks a segment as far as it is good.
    fn walk(&self, path: &Path, header: &SegmentHeader, end: Option<u64>) -> Result<Walked, OpenError> {
        let file = File::open(path).map_err(io_error(path))?;
        let mut scanner = Scanner::new(file, FIRST_RECORD_OFFSET, end);
        let mut chain = Chain::new(header.previous());
        let mut at_mark = None;
        loop {
            let here = Position { segment: header.first_sequence, offset: scanner.offset() };
            if self.mark.is_some_and(|mark| mark.position == here) {
                at_mark = Some(chain.head());
            }
            let (offset, damage) = match scanner.advance() {
                Ok(None) => (here.offset, None),
                Ok(Some(offset)) => match scanner.frame().map(|frame| chain.step(&frame)) {
                    Some(Err(error)) => (offset, Some(Damage::Chain(error))),
                    _ => continue,
                },
                Err(ScanError::Io(error)) => return Err(io_error(path)(error)),
                Err(ScanError::Frame(error)) => (here.offset, Some(Damage::Frame(error))),
            };
            return Ok(Walked { head: chain.head(), offset, damage, at_mark });
        }
    }

    /// Walks on from the last of `headers`, which is the first segment that may not be on stable storage, and finds the last record.
    fn find_end(
        &mut self,
        segments: &[u64],
        headers: &mut Vec<SegmentHeader>,
    ) -> Result<(Head, u64), OpenError> {
        loop {
            let index = headers.len() - 1;
            let header = headers[index];
            let path = segment_path(self.directory, segments[index]);
            let Some(next_segment) = segments.get(index + 1).copied() else {
                let walked = self.walk(&path, &header, None)?;
                self.check_mark(&path, &header, &walked)?;
                return self.find_last(path, segments[index], &walked);
            };
            let next_path = segment_path(self.directory, next_segment);
            let next = read_header(&next_path, next_segment)?;
            let end = next.as_ref().ok().map(|next| next.previous_bytes);
            let walked = self.walk(&path, &header, end)?;
            let follows = match (walked.damage, next) {
                (Some(damage), _) | (None, Err(damage)) => Err(damage),
                (None, Ok(next)) => {
                    check_follows(&next, header.log_id, walked.head, walked.offset).map(|()| next)
                }
            };
            let have = std::fs::metadata(&path).map_err(io_error(&path))?.len();
            let damage = match follows {
                Ok(next) => {
                    self.check_mark(&path, &header, &walked)?;
                    self.cut_overhang(path, have, &next)?;
                    headers.push(next);
                    continue;
                }
                Err(damage) => damage,
            };
            let (walked, damage) = match end {
                // Perhaps that end is another segment's, which is missing.
                Some(end) if have > end => self.walk_to_gap(&path, &header, next_segment, walked, damage)?,
                _ => (walked, damage),
            };
            self.check_mark(&path, &header, &walked)?;
            let (offset, last) = (walked.offset, walked.head.sequence);
            let lost = self.is_after_mark(segments[index], offset) && {
                let extent = self.readable_from(&path, offset)?.unwrap_or(have).min(end.unwrap_or(have));
                is_lost(&path, damage, offset..extent, end.is_none_or(|end| have < end))
                    .map_err(io_error(&path))?
            };
            if !lost {
                return Err(damaged(&path, offset, damage));
            }
            for segment in segments[index + 1..].iter().rev() {
                self.give_up_segment(*segment, RepairKind::LostTail, last, damage.to_string())?;
            }
            self.sync_names().map_err(io_error(&path))?;
            if have > offset {
                self.cut(path, offset, RepairKind::LostTail, last, damage.to_string())?;
            }
            return Ok((walked.head, offset));
        }
    }

    /// Walks a segment to its own end; if records are missing between that and the next one, says so.
    fn walk_to_gap(
        &self,
        path: &Path,
        header: &SegmentHeader,
        next_segment: u64,
        walked: Walked,
        damage: Damage,
    ) -> Result<(Walked, Damage), OpenError> {
        let whole = self.walk(path, header, None)?;
        let found = Head { sequence: next_segment - 1, ..whole.head };
        Ok(if whole.head.sequence < found.sequence {
            let damage = Damage::Junction { expected: whole.head, found };
            (whole, damage)
        } else {
            (walked, damage)
        })
    }

    /// What was on stable storage must be there.
    fn check_mark(&self, path: &Path, header: &SegmentHeader, walked: &Walked) -> Result<(), OpenError> {
        let Some(mark) = self.mark else { return Ok(()) };
        if mark.position.segment != header.first_sequence
            || walked.at_mark == Some(mark.head)
            || self.options.damaged_tail == DamagedTail::SetAside
        {
            return Ok(());
        }
        let damage = match walked.damage {
            None | Some(Damage::Frame(FrameError::Torn { .. })) if walked.offset < mark.position.offset => {
                Damage::Missing { have: walked.head.sequence, need: mark.head.sequence }
            }
            Some(damage) if walked.offset < mark.position.offset => damage,
            _ => Damage::OtherRecord { sequence: mark.head.sequence },
        };
        let readable_from = self.readable_from(path, walked.offset)?;
        let offset = walked.offset;
        Err(OpenError::Damaged { path: path.to_owned(), offset, damage: Box::new(damage), readable_from })
    }

    fn is_after_mark(&self, segment: u64, offset: u64) -> bool {
        self.mark.is_some_and(|mark| mark.position <= Position { segment, offset })
    }

    fn readable_from(&self, path: &Path, offset: u64) -> Result<Option<u64>, OpenError> {
        let resync = || Scanner::new(File::open(path)?, offset, None).resync();
        resync().map_err(io_error(path))
    }

    /// Finds the end of the last segment, and repairs it.
    fn find_last(&mut self, path: PathBuf, segment: u64, walked: &Walked) -> Result<(Head, u64), OpenError> {
        let Walked { head, offset, damage, .. } = *walked;
        let Some(damage) = damage else { return Ok((head, offset)) };
        let mut readable_from = None;
        let kind = match damage {
            Damage::Frame(FrameError::Torn { .. }) => Some(RepairKind::TornRecord),
            Damage::Frame(FrameError::NewerFormat { .. } | FrameError::NewerKind { .. }) => None,
            _ => {
                readable_from = self.readable_from(&path, offset)?;
                let lost = matches!(damage, Damage::Frame(_)) && {
                    let file = File::open(&path).map_err(io_error(&path))?;
                    let end = file.metadata().map_err(io_error(&path))?.len();
                    let lost = if self.is_after_mark(segment, offset) {
                        has_lost_sector(&file, offset, readable_from.unwrap_or(end))
                    } else {
                        ends_in_lost_sectors(&file, offset, end).map(|lost| lost && readable_from.is_none())
                    };
                    lost.map_err(io_error(&path))?
                };
                match (lost, readable_from, self.options.damaged_tail) {
                    (true, None, _) => Some(RepairKind::TornRecord),
                    (true, Some(_), _) => Some(RepairKind::LostTail),
                    (false, _, DamagedTail::SetAside) => Some(RepairKind::DamagedTail),
                    (false, _, DamagedTail::Refuse) => None,
                }
            }
        };
        let Some(kind) = kind else {
            return Err(OpenError::Damaged { path, offset, damage: Box::new(damage), readable_from });
        };
        self.cut(path, offset, kind, head.sequence, damage.to_string())?;
        Ok((head, offset))
    }
}

fn read_header(path: &Path, segment: u64) -> Result<Result<SegmentHeader, Damage>, OpenError> {
    let header = File::open(path).and_then(|file| SegmentHeader::read(&file)).map_err(io_error(path))?;
    Ok(match header {
        Ok(header) if header.first_sequence == segment => Ok(header),
        Ok(header) => Err(Damage::Name { name: segment, header: header.first_sequence }),
        Err(error) => Err(Damage::Segment(error)),
    })
}

/// Whether the segment's header never came to be, and nothing after it.
fn is_torn(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let torn = SegmentHeader::read(&file)? == Err(SegmentError::Torn);
    Ok(torn && (bytes <= FIRST_RECORD_OFFSET || zeros_from(&file, 0, bytes)? == 0))
}

/// Whether that is what a power loss leaves of a segment that is not the last: bytes that never reached the disk, or files.
fn is_lost(path: &Path, damage: Damage, extent: Range<u64>, is_short: bool) -> io::Result<bool> {
    match damage {
        Damage::Frame(FrameError::NewerFormat { .. } | FrameError::NewerKind { .. }) => Ok(false),
        Damage::Frame(FrameError::Torn { .. }) | Damage::TooShort { .. } => Ok(is_short),
        Damage::Frame(_) => has_lost_sector(&File::open(path)?, extent.start, extent.end),
        Damage::Segment(SegmentError::Torn) => Ok(true),
        Damage::Junction { expected, found } => Ok(found.sequence > expected.sequence),
        _ => Ok(false),
    }
}
