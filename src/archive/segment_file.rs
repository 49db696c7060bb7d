//! Reading one closed segment of the log, whole, with everything checked.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::archive::error::ArchiveError;
use crate::audit::chain::Chain;
use crate::audit::damage::{Damage, ReadError};
use crate::audit::frame::{self, Frame, FrameError, HEADER_BYTES};
use crate::audit::receipt::{Head, RecordHash};
use crate::audit::segment::{FIRST_RECORD_OFFSET, SegmentHeader, segment_path};

/// Bytes that are read at once.
const READ_BYTES: usize = 1024 * 1024;

/// What sees a record, with its bytes and its hash.
pub type See<'a> = dyn FnMut(&Frame<'_>, &[u8], RecordHash) -> Result<(), ArchiveError> + 'a;

/// A segment that no record is added to any more: another one follows it.
#[derive(Debug)]
pub struct ClosedSegment {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: SegmentHeader,
    /// Where it ends, as the next one says.
    pub bytes: u64,
    /// Its last record, as the next one says.
    pub head: Head,
}

fn header_of(directory: &Path, segment: u64) -> Result<(PathBuf, File, SegmentHeader), ReadError> {
    let path = segment_path(directory, segment);
    let open = File::open(&path).and_then(|file| SegmentHeader::read(&file).map(|header| (file, header)));
    match open {
        Ok((file, Ok(header))) if header.first_sequence == segment => Ok((path, file, header)),
        Ok((_, Ok(header))) => {
            let damage = Damage::Name { name: segment, header: header.first_sequence };
            Err(ReadError::Damaged { path, offset: 0, damage })
        }
        Ok((_, Err(error))) => Err(ReadError::Damaged { path, offset: 0, damage: error.into() }),
        Err(source) => Err(ReadError::Io { path, source }),
    }
}

impl ClosedSegment {
    /// The segment that begins with `first`, which the one that begins with `next` follows.
    pub fn open(directory: &Path, first: u64, next: u64) -> Result<Self, ReadError> {
        let (path, _, header) = header_of(directory, first)?;
        let (next_path, _, following) = header_of(directory, next)?;
        if following.log_id != header.log_id {
            let damage = Damage::OtherLog { expected: header.log_id, found: following.log_id };
            return Err(ReadError::Damaged { path: next_path, offset: 0, damage });
        }
        Ok(Self { path, header, bytes: following.previous_bytes, head: following.previous() })
    }

    /// Brings it and the header that ends it to stable storage. Until then, a power loss may take its last records, and the log go on
    /// with others in their place.
    pub fn settle(&self, directory: &Path) -> Result<(), ReadError> {
        let next = segment_path(directory, self.head.sequence + 1);
        for path in [self.path.as_path(), next.as_path(), directory] {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        }
        Ok(())
    }

    /// Gives each record to `see` with its bytes and hash; then says the BLAKE3 of the segment. Checks checksums, chain, and that it ends
    /// where and with what the next segment says.
    pub fn read(&self, see: &mut See<'_>) -> Result<RecordHash, ArchiveError> {
        let damaged = |offset, damage| ReadError::Damaged { path: self.path.clone(), offset, damage };
        let io_error = |source| ReadError::Io { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(io_error)?;
        let mut input = BufReader::with_capacity(READ_BYTES, file.take(self.bytes));
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; usize::try_from(FIRST_RECORD_OFFSET).unwrap_or(0)];
        input.read_exact(&mut buffer).map_err(io_error)?;
        hasher.update(&buffer);
        let mut chain = Chain::new(self.header.previous());
        let mut offset = FIRST_RECORD_OFFSET;
        while offset < self.bytes {
            let have = usize::try_from(self.bytes - offset).unwrap_or(usize::MAX);
            let torn = |need| damaged(offset, Damage::Frame(FrameError::Torn { have, need }));
            if have < HEADER_BYTES {
                return Err(torn(HEADER_BYTES).into());
            }
            buffer.resize(HEADER_BYTES, 0);
            input.read_exact(&mut buffer).map_err(io_error)?;
            let need = frame::length(&buffer).map_err(|error| damaged(offset, error.into()))?;
            if have < need {
                return Err(torn(need).into());
            }
            buffer.resize(need, 0);
            input.read_exact(&mut buffer[HEADER_BYTES..]).map_err(io_error)?;
            let frame = frame::decode(&buffer).map_err(|error| damaged(offset, error.into()))?;
            let hash = chain.step(&frame).map_err(|error| damaged(offset, error.into()))?;
            hasher.update(&buffer);
            see(&frame, &buffer, hash)?;
            offset += need as u64;
        }
        if chain.head() != self.head {
            let damage = Damage::Junction { expected: self.head, found: chain.head() };
            return Err(damaged(offset, damage).into());
        }
        Ok(RecordHash(*hasher.finalize().as_bytes()))
    }
}
