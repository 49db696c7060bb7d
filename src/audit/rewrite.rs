//! Writing once more what may not be on stable storage.
//!
//! After a failed sync, the kernel may keep what could not be written as if it had been: reading gives it, and the next sync says that all is
//! well. So the records after the mark are read, checked against the chain, written again to where they stand, and only then synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::audit::chain::Chain;
use crate::audit::disk::Disk;
use crate::audit::mark::Mark;
use crate::audit::scan::{ScanError, Scanner};
use crate::audit::segment::{FIRST_RECORD_OFFSET, SegmentHeader, list_segments, segment_path};

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Writes everything between two places of the log once more, headers included, and returns when it is on stable storage, with the
/// names of the files.
pub(crate) fn rewrite(disk: &dyn Disk, directory: &Path, from: &Mark, to: &Mark) -> io::Result<()> {
    let (first, last) = (from.position.segment, to.position.segment);
    let segments: Vec<u64> =
        list_segments(directory)?.into_iter().filter(|segment| (first..=last).contains(segment)).collect();
    let mut chain: Option<Chain> = None;
    for (index, segment) in segments.iter().enumerate() {
        let path = segment_path(directory, *segment);
        let file = disk.open(&path)?;
        let header = read_header(&file)?;
        let end = match segments.get(index + 1) {
            None => to.position.offset,
            Some(next) => read_header(&disk.open(&segment_path(directory, *next))?)?.previous_bytes,
        };
        let (begin, records) = if *segment == first {
            (from.position.offset, from.position.offset.max(FIRST_RECORD_OFFSET))
        } else {
            (0, FIRST_RECORD_OFFSET)
        };
        let before = if *segment == first && begin >= FIRST_RECORD_OFFSET {
            Chain::new(from.head)
        } else {
            Chain::new(header.previous())
        };
        if chain.is_some_and(|chain| chain.head() != before.head()) {
            return Err(lost(&path, 0));
        }
        chain = Some(check(&path, &file, before, records, end)?);
        write_again(disk, &file, begin, end)?;
        disk.sync(&file)?;
    }
    if chain.is_none_or(|chain| chain.head() != to.head) {
        return Err(lost(&segment_path(directory, last), to.position.offset));
    }
    disk.sync_directory(directory)
}

fn lost(path: &Path, offset: u64) -> io::Error {
    let message = format!("what was written to {} before byte {offset} cannot be read back", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn read_header(file: &File) -> io::Result<SegmentHeader> {
    SegmentHeader::read(file)?.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Walks the records between two offsets.
fn check(path: &Path, file: &File, mut chain: Chain, begin: u64, end: u64) -> io::Result<Chain> {
    let mut scanner = Scanner::new(file.try_clone()?, begin, Some(end));
    loop {
        match scanner.advance() {
            Ok(None) if scanner.offset() == end => return Ok(chain),
            Ok(Some(offset)) => {
                let follows = scanner.frame().is_some_and(|frame| chain.step(&frame).is_ok());
                if !follows {
                    return Err(lost(path, offset));
                }
            }
            Err(ScanError::Io(error)) => return Err(error),
            Ok(None) | Err(ScanError::Frame(_)) => return Err(lost(path, scanner.offset())),
        }
    }
}

fn write_again(disk: &dyn Disk, file: &File, begin: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = begin;
    while at < end {
        let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..want], at)?;
        disk.write_all_at(file, &buffer[..want], at)?;
        at += want as u64;
    }
    Ok(())
}
