//! One record by its sequence, without reading all of its segment: by halving, as records carry their sequences.
//!
//! Checksums are checked; that the record follows the one before it is not, for what comes before is not read.

use std::fs::File;
use std::path::Path;

use crate::audit::damage::{Damage, ReadError};
use crate::audit::frame::Header;
use crate::audit::receipt::RecordHash;
use crate::audit::scan::{ScanError, Scanner};
use crate::audit::segment::{FIRST_RECORD_OFFSET, list_segments, segment_path};

/// A stretch that is not halved any more: reading it through costs as much.
const STRETCH_BYTES_MAX: u64 = 1024 * 1024;

/// A record by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Everything but the body.
    pub header: Header,
    /// The record's hash.
    pub hash: RecordHash,
    /// All of its bytes as they are in the log: `frame::decode` reads them.
    pub bytes: Vec<u8>,
}

/// The record with that sequence; none if the log in `directory` does not hold it, or not any more.
pub fn find(directory: &Path, sequence: u64) -> Result<Option<Found>, ReadError> {
    let segments =
        list_segments(directory).map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
    let after = segments.partition_point(|first| *first <= sequence);
    let Some(segment) = after.checked_sub(1).map(|index| segments[index]) else { return Ok(None) };
    let path = segment_path(directory, segment);
    let io_error = |source| ReadError::Io { path: path.clone(), source };
    let file = File::open(&path).map_err(io_error)?;
    let (mut low, mut high) = (FIRST_RECORD_OFFSET, file.metadata().map_err(io_error)?.len());
    while high.saturating_sub(low) > STRETCH_BYTES_MAX {
        let middle = low + (high - low) / 2;
        let mut scanner = Scanner::new(file.try_clone().map_err(io_error)?, middle, None);
        let at = scanner.resync().map_err(io_error)?;
        let here = at.filter(|at| *at < high).and_then(|at| Some((at, first(&mut scanner)?.sequence)));
        match here {
            Some((at, found)) if found <= sequence => low = at,
            // Where nothing can be read, the record lies before, or reading through finds the damage.
            _ => high = middle,
        }
    }
    let mut scanner = Scanner::new(file, low, None);
    loop {
        match scanner.advance() {
            Ok(None) => return Ok(None),
            Ok(Some(_)) => {}
            Err(ScanError::Io(source)) => return Err(io_error(source)),
            Err(ScanError::Frame(error)) if after < segments.len() => {
                let damage = Damage::Frame(error);
                return Err(ReadError::Damaged { path, offset: scanner.offset(), damage });
            }
            // The end of a log that is being written.
            Err(ScanError::Frame(_)) => return Ok(None),
        }
        let Some(frame) = scanner.frame() else { return Ok(None) };
        if frame.header.sequence == sequence {
            return Ok(Some(Found {
                header: frame.header,
                hash: frame.hash(),
                bytes: frame.as_bytes().to_vec(),
            }));
        }
        if frame.header.sequence > sequence {
            return Ok(None);
        }
    }
}

fn first(scanner: &mut Scanner) -> Option<Header> {
    scanner.advance().ok()??;
    scanner.frame().map(|frame| frame.header)
}
