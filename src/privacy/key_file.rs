//! Reading keys by their number. From any thread and process, also while keys are added and destroyed: each is read when it is asked
//! for, so that a destroyed one is gone at once, and no key stays in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::privacy::entry::{ENTRY_BYTES, Entry, SubjectKey, log_of};

/// The directory of the keys inside the data directory, beside the log.
pub const DIRECTORY: &str = "keys";
/// The file of keys in it.
pub const FILE_NAME: &str = "subjects";

/// What is there of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// The key.
    Key(SubjectKey),
    /// It was destroyed on request.
    Erased,
    /// It is not there: a power loss took it, or the file is not the log's own.
    Lost,
}

/// The keys of one log, to read. Clones share the file.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    file: Option<Arc<File>>,
    log: [u8; 16],
}

impl KeyFile {
    /// The keys that lie beside a log; without a file, every key is lost.
    pub fn beside(log_directory: &Path) -> io::Result<Self> {
        let data = log_directory.parent().unwrap_or(log_directory);
        Self::open(&data.join(DIRECTORY).join(FILE_NAME))
    }

    /// The keys in a file; where there is none, every key is lost.
    pub fn open(path: &Path) -> io::Result<Self> {
        match File::open(path) {
            Ok(file) => Self::of(path, Arc::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { path: path.to_owned(), file: None, log: [0; 16] })
            }
            Err(error) => Err(error),
        }
    }

    /// The keys in a file that is open.
    pub(crate) fn of(path: &Path, file: Arc<File>) -> io::Result<Self> {
        let mut header = [0; ENTRY_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let log = log_of(&header).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no file of subjects' keys, or one of a newer version",
            )
        })?;
        Ok(Self { path: path.to_owned(), file: Some(file), log })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the log that its keys belong to; zeros where there is no file.
    pub const fn log(&self) -> [u8; 16] {
        self.log
    }

    /// The entry with that number.
    pub fn entry(&self, number: u64) -> io::Result<Entry> {
        let (Some(file), Some(offset)) = (&self.file, number.checked_mul(ENTRY_BYTES as u64)) else {
            return Ok(Entry::Lost);
        };
        let mut bytes = [0; ENTRY_BYTES];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) if number > 0 => Ok(Entry::decode(number, &bytes)),
            Ok(()) => Ok(Entry::Lost),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Entry::Lost),
            Err(error) => Err(error),
        }
    }

    /// The key with that number.
    pub fn key(&self, number: u64) -> io::Result<Held> {
        Ok(match self.entry(number)? {
            Entry::Live { key, .. } => Held::Key(key),
            Entry::Erased => Held::Erased,
            Entry::Lost => Held::Lost,
        })
    }

    /// Gives every entry that is there, with its number, from the first on.
    pub fn each(&self, mut see: impl FnMut(u64, Entry)) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut buffer = vec![0_u8; READ_ENTRIES * ENTRY_BYTES];
        let mut number = 1_u64;
        loop {
            let read = fill(file, &mut buffer, number * ENTRY_BYTES as u64)?;
            for bytes in buffer[..read].chunks_exact(ENTRY_BYTES) {
                let mut entry = [0; ENTRY_BYTES];
                entry.copy_from_slice(bytes);
                see(number, Entry::decode(number, &entry));
                number += 1;
            }
            if read < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// Entries that are read at once.
const READ_ENTRIES: usize = 16_384;

/// Reads on until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
