//! Files by the hash of their bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::domain::hash::sha256;
use crate::policy_archive::error::{LoadError, StoreError};
use crate::policy_archive::manifest::ArchivedFile;

/// Hex digits of a hash.
const DIGITS: usize = 64;

/// The hex digits of a hash that is written `sha256:...`; none when it is no such thing, and no name of a file.
pub(crate) fn digits(hash: &str) -> Option<&str> {
    let digits = hash.strip_prefix("sha256:")?;
    let is_hash = digits.len() == DIGITS && digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then_some(digits)
}

/// The directory of the files.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file lies.
    pub(crate) fn path(&self, file: &ArchivedFile) -> Result<PathBuf, LoadError> {
        digits(&file.sha256).map(|digits| self.directory.join(digits)).ok_or_else(|| LoadError::Damaged {
            file: self.directory.clone(),
            what: format!("{:?}, which the policy names, is no hash of a file", file.sha256),
        })
    }

    /// How many bytes all of them have.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        fs::read_dir(&self.directory)?.map(|entry| entry?.metadata().map(|it| it.len())).sum()
    }

    /// Stores bytes, unless they are there. Says whether they were not.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(ArchivedFile, bool), StoreError> {
        let hash = sha256(bytes);
        let path = self.directory.join(hash.trim_start_matches("sha256:"));
        // What a failing disk has made of it is replaced.
        let is_there = fs::read(&path).is_ok_and(|stored| stored == bytes);
        if !is_there {
            write_synced(&path, bytes)
                .map_err(|error| StoreError::Unwritable { file: path.clone(), error })?;
        }
        let file = ArchivedFile { name: name.to_owned(), sha256: hash, bytes: bytes.len() as u64 };
        Ok((file, !is_there))
    }

    /// The bytes of a file, which are what they were.
    pub(crate) fn get(&self, file: &ArchivedFile) -> Result<Vec<u8>, LoadError> {
        let path = self.path(file)?;
        let bytes = fs::read(&path).map_err(|error| LoadError::Unreadable { file: path.clone(), error })?;
        if sha256(&bytes) != file.sha256 {
            let what = format!("is not the {} that was stored", file.name);
            return Err(LoadError::Damaged { file: path, what });
        }
        Ok(bytes)
    }

    /// The same as a text.
    pub(crate) fn text(&self, file: &ArchivedFile) -> Result<String, LoadError> {
        String::from_utf8(self.get(file)?).map_err(|_| LoadError::Damaged {
            file: self.directory.join(file.sha256.trim_start_matches("sha256:")),
            what: format!("{} is no UTF-8 text", file.name),
        })
    }
}

/// Writes a file under another name, brings it to stable storage, reads it back, and only then gives it its own. That the name is
/// there after a power loss, a sync of the directory says.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    if fs::read(&new)? != bytes {
        return Err(io::Error::other("what was written does not read back the same"));
    }
    fs::rename(new, path)
}
