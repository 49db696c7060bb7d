//! Reading single records by their position, which is what the indexes in memory keep. From any thread, also while the log is written.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::audit::damage::{Damage, ReadError};
use crate::audit::frame;
use crate::audit::reader::Record;
use crate::audit::receipt::Position;
use crate::audit::segment::segment_path;

/// Most segment files that are kept open.
pub const OPEN_FILES_MAX: usize = 64;
/// Bytes that are read at first: most records are shorter.
const FIRST_READ_BYTES: usize = 4096;

/// Reads records by position.
#[derive(Debug)]
pub struct LogLookup {
    directory: PathBuf,
    files: Mutex<LruCache<u64, Arc<File>>>,
}

impl LogLookup {
    /// Lookups in the log in `directory`.
    pub fn new(directory: &Path) -> Self {
        let files_max = NonZeroUsize::new(OPEN_FILES_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { directory: directory.to_owned(), files: Mutex::new(LruCache::new(files_max)) }
    }

    /// The record at `position`, with its checksums checked; its bytes are put into `buffer`, whose content is replaced.
    /// That it belongs to the log, the caller knows from where the position came from.
    pub fn read_at<'a>(&self, position: Position, buffer: &'a mut Vec<u8>) -> Result<Record<'a>, ReadError> {
        let path = || segment_path(&self.directory, position.segment);
        let with_path = |source| ReadError::Io { path: path(), source };
        let damaged = |error| ReadError::Damaged {
            path: path(),
            offset: position.offset,
            damage: Damage::Frame(error),
        };
        let file = self.file(position.segment).map_err(with_path)?;
        buffer.clear();
        extend(&file, position.offset, FIRST_READ_BYTES, buffer).map_err(with_path)?;
        let bytes = frame::length(buffer).map_err(damaged)?;
        extend(&file, position.offset, bytes, buffer).map_err(with_path)?;
        let frame = frame::decode(buffer).map_err(damaged)?;
        Ok(Record { header: frame.header, body: frame.body, hash: frame.hash(), position })
    }

    fn file(&self, segment: u64) -> io::Result<Arc<File>> {
        if let Some(file) = self.files.lock().get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(segment_path(&self.directory, segment))?);
        self.files.lock().put(segment, Arc::clone(&file));
        Ok(file)
    }
}

/// Reads on until the buffer holds `bytes` from `offset`, or the file ends.
fn extend(file: &File, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut there = buffer.len();
    if there < bytes {
        buffer.resize(bytes, 0);
    }
    while there < bytes {
        match file.read_at(&mut buffer[there..], offset.saturating_add(there as u64)) {
            Ok(0) => break,
            Ok(read) => there += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(there);
    Ok(())
}
