//! Reading the records of one segment file one after the other, through one buffer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::audit::frame::{self, FRAME_BYTES_MAX, Frame, FrameError, HEADER_BYTES, Header, MAGIC};

/// Bytes that are read at once; the first time fewer, then twice as many each time.
const READ_BYTES: usize = 1024 * 1024;
const FIRST_READ_BYTES: usize = 16 * 1024;
/// The buffer never grows beyond this.
const BUFFER_BYTES_MAX: usize = FRAME_BYTES_MAX + READ_BYTES;

/// Why there is no next record.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    Frame(FrameError),
}

/// Walks a file. After an error it stands where the wrong bytes begin.
#[derive(Debug)]
pub(crate) struct Scanner {
    file: File,
    /// Bytes from here on are not looked at; without it, the file's end as it is at each read.
    end: Option<u64>,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_offset: u64,
    /// Where in the buffer the next record begins.
    at: usize,
    last: Option<(usize, Header)>,
    read_bytes: usize,
}

impl Scanner {
    pub(crate) fn new(file: File, offset: u64, end: Option<u64>) -> Self {
        Self {
            file,
            end,
            buffer: Vec::new(),
            buffer_offset: offset,
            at: 0,
            last: None,
            read_bytes: FIRST_READ_BYTES,
        }
    }

    /// Where the next record begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.buffer_offset + self.at as u64
    }

    /// Forgets what was read ahead.
    pub(crate) fn reload(&mut self) {
        self.buffer_offset = self.offset();
        self.buffer.clear();
        self.at = 0;
        self.last = None;
    }

    /// Reads until `need` bytes are there, or the end.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        debug_assert!(need <= FRAME_BYTES_MAX);
        while self.buffer.len() - self.at < need {
            if self.at > 0 {
                self.buffer.drain(..self.at);
                self.buffer_offset += self.at as u64;
                self.at = 0;
            }
            let there = self.buffer.len();
            let from = self.buffer_offset + there as u64;
            let mut room = BUFFER_BYTES_MAX - there;
            if let Some(end) = self.end {
                room = room.min(usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX));
            }
            self.buffer.resize(there + room.min(self.read_bytes), 0);
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES);
            let read = self.file.read_at(&mut self.buffer[there..], from);
            self.buffer.truncate(there + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<Option<(Header, usize)>, ScanError> {
        self.last = None;
        self.fill(HEADER_BYTES).map_err(ScanError::Io)?;
        if self.at == self.buffer.len() {
            return Ok(None);
        }
        let need = frame::length(&self.buffer[self.at..]).map_err(ScanError::Frame)?;
        self.fill(need).map_err(ScanError::Io)?;
        let frame = frame::decode(&self.buffer[self.at..]).map_err(ScanError::Frame)?;
        Ok(Some((frame.header, frame.bytes())))
    }

    /// Steps over the next record, and says where it begins; none at the end.
    pub(crate) fn advance(&mut self) -> Result<Option<u64>, ScanError> {
        let Some((header, bytes)) = self.check()? else { return Ok(None) };
        let offset = self.offset();
        self.last = Some((bytes, header));
        self.at += bytes;
        Ok(Some(offset))
    }

    /// The record that the last `advance` stepped over.
    pub(crate) fn frame(&self) -> Option<Frame<'_>> {
        let (bytes, header) = self.last?;
        Some(Frame::from_checked(header, &self.buffer[self.at - bytes..self.at]))
    }

    /// Goes to the next readable record that begins after the place where this stands, and says where that is.
    pub(crate) fn resync(&mut self) -> io::Result<Option<u64>> {
        self.fill(1)?;
        if self.at == self.buffer.len() {
            return Ok(None);
        }
        self.at += 1;
        loop {
            self.fill(MAGIC.len())?;
            let rest = &self.buffer[self.at..];
            if rest.len() < MAGIC.len() {
                self.at = self.buffer.len();
                return Ok(None);
            }
            match rest.windows(MAGIC.len()).position(|window| window == MAGIC) {
                None => self.at = self.buffer.len() - (MAGIC.len() - 1),
                Some(ahead) => {
                    self.at += ahead;
                    match self.check() {
                        Ok(_) => return Ok(Some(self.offset())),
                        Err(ScanError::Io(error)) => return Err(error),
                        Err(ScanError::Frame(_)) => self.at += 1,
                    }
                }
            }
        }
    }
}

/// Where the zeros that fill the file's end begin, looking no further back than `from`.
pub(crate) fn zeros_from(file: &File, from: u64, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut at, mut zeros) = (from, from);
    while at < end {
        let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let read = file.read_at(&mut buffer[..want], at)?;
        if read == 0 {
            break;
        }
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            zeros = at + last as u64 + 1;
        }
        at += read as u64;
    }
    Ok(zeros)
}

/// Stretches of a file are found by this many bytes: the smallest unit that a disk writes whole.
const SECTOR_BYTES: u64 = 512;

/// Whether the record that begins at `from`, the last one, looks as if its end never reached the disk: from some sector on, zeros.
pub(crate) fn ends_in_lost_sectors(file: &File, from: u64, end: u64) -> io::Result<bool> {
    let zeros = zeros_from(file, from, end)?;
    Ok(zeros == from || zeros.next_multiple_of(SECTOR_BYTES) < end)
}

/// Whether a sector that `from..end` touches ends in zeros there, as one does that was written in part before, or never, and not again
/// before the power failed. Text holds no zeros.
pub(crate) fn has_lost_sector(file: &File, from: u64, end: u64) -> io::Result<bool> {
    let mut sector_end = (from + 1).next_multiple_of(SECTOR_BYTES);
    loop {
        let mut byte = [1];
        let last = sector_end.min(end).saturating_sub(1);
        if last < from {
            return Ok(false);
        }
        if file.read_at(&mut byte, last)? == 1 && byte[0] == 0 {
            return Ok(true);
        }
        if sector_end >= end {
            return Ok(false);
        }
        sector_end += SECTOR_BYTES;
    }
}
