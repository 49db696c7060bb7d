//! How far the log is known to be on stable storage: `log.mark`, beside the segments. It holds two places, in sectors of their own, which are written
//! in turns, so that one is whole whenever the writing of the other is cut off; the later one counts. One place:
//!
//! ```text
//!  0  6  magic F5 "TGMRK"
//!  6  2  format version, 1
//!  8  4  crc32c of everything after this field
//! 12  4  zero
//! 16 16  log id
//! 32  8  segment
//! 40  8  offset in it, in bytes
//! 48  8  sequence of the last record before that place
//! 56 32  hash of that record
//! ```
//!
//! What lies before the mark survives power loss, so damage there is never a crash's doing, and a log that ends before its mark has lost records.
//! What lies after it may be missing in any part after power loss, and is written once more at the next start. The mark follows behind the truth: it
//! is written after a sync, and need not be synced itself.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::audit::disk::Disk;
use crate::audit::receipt::{Head, LogId, Position, RecordHash};

/// The name of the file.
pub const MARK_FILE: &str = "log.mark";
/// Length of a place.
const MARK_BYTES: usize = 88;
/// From one place to the other.
const SECTOR_BYTES: usize = 512;
const MAGIC: [u8; 6] = *b"\xf5TGMRK";
const FORMAT_VERSION: u16 = 1;

/// A place between two records: the records before it, and their files' names, are on stable storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Where the next record begins.
    pub(crate) position: Position,
    /// The record before.
    pub(crate) head: Head,
}

fn array<const N: usize>(bytes: &[u8; MARK_BYTES], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

impl Mark {
    fn encode(&self, log_id: LogId) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[0..6].copy_from_slice(&MAGIC);
        bytes[6..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&log_id.0);
        bytes[32..40].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.head.sequence.to_le_bytes());
        bytes[56..88].copy_from_slice(&self.head.hash.0);
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; MARK_BYTES]) -> Option<(LogId, Self)> {
        let is_mark = bytes[0..6] == MAGIC
            && array(bytes, 6) == FORMAT_VERSION.to_le_bytes()
            && array(bytes, 8) == crc32c::crc32c(&bytes[12..]).to_le_bytes();
        let mark = Self {
            position: Position {
                segment: u64::from_le_bytes(array(bytes, 32)),
                offset: u64::from_le_bytes(array(bytes, 40)),
            },
            head: Head { sequence: u64::from_le_bytes(array(bytes, 48)), hash: RecordHash(array(bytes, 56)) },
        };
        is_mark.then_some((LogId(array(bytes, 16)), mark))
    }

    /// The mark of the log in `directory`, and the log that it is of; none where there is none, or none that can be read: then
    /// nothing is known.
    pub(crate) fn read(directory: &Path) -> io::Result<Option<(LogId, Self)>> {
        let bytes = match std::fs::read(directory.join(MARK_FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let places = bytes.chunks(SECTOR_BYTES).take(2).filter_map(|sector| sector.first_chunk());
        Ok(places.filter_map(Self::decode).max_by_key(|(_, mark)| mark.position))
    }
}

/// Moves the mark of a log that is written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Marker {
    disk: Arc<dyn Disk>,
    log_id: LogId,
    file: Arc<File>,
    /// And whether the second place was written last.
    state: Arc<Mutex<(Mark, bool)>>,
}

impl std::fmt::Debug for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Marker").field(&self.mark()).finish()
    }
}

impl Marker {
    /// Sets the mark of the log in `directory`, and returns when it is on stable storage.
    pub(crate) fn set(disk: Arc<dyn Disk>, directory: &Path, log_id: LogId, mark: Mark) -> io::Result<Self> {
        let path = directory.join(MARK_FILE);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&path),
            opened => opened,
        }?;
        let place = mark.encode(log_id);
        let mut both = [0; SECTOR_BYTES + MARK_BYTES];
        both[..MARK_BYTES].copy_from_slice(&place);
        both[SECTOR_BYTES..].copy_from_slice(&place);
        disk.write_all_at(&file, &both, 0)?;
        disk.sync(&file)?;
        // The file may be there, and its name not be on stable storage: whoever made it may have been interrupted before that.
        disk.sync_directory(directory)?;
        Ok(Self { disk, log_id, file: Arc::new(file), state: Arc::new(Mutex::new((mark, true))) })
    }

    /// The mark as it stands.
    pub(crate) fn mark(&self) -> Mark {
        self.state.lock().0
    }

    /// Everything up to there is on stable storage.
    pub(crate) fn advance(&self, mark: Mark) {
        let is_second = {
            let mut state = self.state.lock();
            *state = (mark, !state.1);
            state.1
        };
        let offset = if is_second { SECTOR_BYTES as u64 } else { 0 };
        // A mark that stays behind says less, and nothing wrong.
        let _ = self.disk.write_all_at(&self.file, &mark.encode(self.log_id), offset);
    }

    /// Brings the mark itself to stable storage.
    pub(crate) fn sync(&self) {
        let _ = self.disk.sync(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::disk::SystemDisk;

    #[test]
    fn a_mark_reads_back_and_a_wrong_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(directory.path()).unwrap(), None);
        let log_id = LogId([5; 16]);
        let head = Head { sequence: 41, hash: RecordHash([9; 32]) };
        let mut mark = Mark { position: Position { segment: 7, offset: 4711 }, head };
        let first = mark;
        let marker = Marker::set(Arc::new(SystemDisk), directory.path(), log_id, mark).unwrap();
        assert_eq!(Mark::read(directory.path()).unwrap(), Some((log_id, mark)));
        mark.position.offset += 100;
        marker.advance(mark);
        assert_eq!((marker.mark(), Mark::read(directory.path()).unwrap()), (mark, Some((log_id, mark))));
        let path = directory.path().join(MARK_FILE);
        let good = std::fs::read(&path).unwrap();
        for bit in (0..MARK_BYTES * 8).step_by(5) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(Mark::read(directory.path()).unwrap(), Some((log_id, first)), "bit {bit}");
            bad[SECTOR_BYTES + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(Mark::read(directory.path()).unwrap(), None, "bit {bit}");
        }
        std::fs::write(&path, &good[..MARK_BYTES - 1]).unwrap();
        assert_eq!(Mark::read(directory.path()).unwrap(), None);
    }
}
