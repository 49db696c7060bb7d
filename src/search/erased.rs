//! What erasures leave to be done in an index: the parts that hold keyed hashes of somebody's ids are made anew from the log, where these stand no more.
//!
//! The hashes are noted in a file beside the parts before the erasure is recorded, so that no crash forgets them, and worked on once the keys are
//! destroyed: before, a part that is made anew would hold the same again. The file goes with the last of them.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tracing::warn;

use crate::audit::damage::ReadError;
use crate::audit::lookup::LogLookup;
use crate::audit::receipt::LogId;
use crate::search::key::SearchKey;
use crate::search::part::Part;
use crate::search::parts::Parts;

/// The file, beside the parts.
pub const ERASED_FILE: &str = "erased";
/// Most hashes that wait. Beyond, every part is made anew.
const ERASED_MAX: usize = 10_000;
/// What stands in the file in place of hashes when every part is to be made anew.
const ALL: &str = "all";

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// None: whatever a part holds.
    hash: Option<u64>,
    /// Once its keys are destroyed: the last record that may be indexed by what was known of it before.
    due_after: Option<u64>,
    number: u64,
}

/// Hashes that parts are to be rid of. Noted by erasures, worked on by the indexer.
#[derive(Debug)]
pub struct Erased {
    directory: PathBuf,
    entries: Mutex<(Vec<Entry>, u64)>,
}

/// One pass over the parts.
#[derive(Clone, Debug)]
pub struct Pass {
    hashes: Vec<Option<u64>>,
    /// It is of the entries up to this number.
    through: u64,
    /// How far the index had come.
    taken: u64,
}

impl Entry {
    fn is_due(&self, taken: u64) -> bool {
        self.due_after.is_some_and(|after| after <= taken)
    }
}

impl Erased {
    /// What waits of an index in `directory`. Everything that was noted is due: a start has destroyed what was to be destroyed.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(directory.join(ERASED_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let hash = u64::from_str_radix(line, 16).ok();
            if hash.is_none() && line != ALL {
                warn!(file = ERASED_FILE, line, "no hash; every part of the search index is made anew");
            }
            entries.push(Entry { hash, due_after: Some(0), number });
        }
        let last = entries.len() as u64;
        Ok(Self { directory: directory.to_owned(), entries: Mutex::new((entries, last)) })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.lock().0.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes hashes of somebody whose data is about to be erased, and returns when that is on stable storage.
    pub fn note(&self, hashes: &[u64]) -> io::Result<()> {
        let mut entries = self.entries.lock();
        let mut new = entries.0.clone();
        let mut last = entries.1;
        let mut add = |new: &mut Vec<Entry>, hash| {
            last += 1;
            new.push(Entry { hash, due_after: None, number: last });
        };
        if new.len() + hashes.len() > ERASED_MAX {
            new.clear();
            add(&mut new, None);
        } else {
            hashes.iter().for_each(|hash| add(&mut new, Some(*hash)));
        }
        self.write(&new)?;
        *entries = (new, last);
        Ok(())
    }

    /// The keys of those whose hashes these are have been destroyed, as the record `sequence` says.
    pub fn are_due(&self, hashes: &[u64], sequence: u64) {
        for entry in &mut self.entries.lock().0 {
            if entry.hash.is_none_or(|hash| hashes.contains(&hash)) {
                entry.due_after.get_or_insert(sequence);
            }
        }
    }

    /// What is to be done in an index that has come to the record `taken`: not before it holds the record of the erasure, since it may still be told
    /// of records before that.
    pub fn pass(&self, taken: u64) -> Option<Pass> {
        let entries = self.entries.lock();
        let due = || entries.0.iter().filter(|entry| entry.is_due(taken));
        let through = due().map(|entry| entry.number).max()?;
        Some(Pass { hashes: due().map(|entry| entry.hash).collect(), through, taken })
    }

    /// The parts hold nothing of it any more.
    pub fn is_done(&self, pass: &Pass) -> io::Result<()> {
        let mut entries = self.entries.lock();
        let mut new = entries.0.clone();
        new.retain(|entry| !entry.is_due(pass.taken) || entry.number > pass.through);
        self.write(&new)?;
        entries.0 = new;
        Ok(())
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let file = self.directory.join(ERASED_FILE);
        if entries.is_empty() {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            let unfinished = file.with_extension("new");
            let mut new = File::create(&unfinished)?;
            for entry in entries {
                match entry.hash {
                    Some(hash) => writeln!(new, "{hash:016x}")?,
                    None => writeln!(new, "{ALL}")?,
                }
            }
            new.sync_all()?;
            std::fs::rename(unfinished, file)?;
        }
        File::open(&self.directory)?.sync_all()
    }
}

impl Pass {
    /// Whether a part holds something of it. One that cannot be read does.
    pub fn concerns(&self, part: &impl Part) -> bool {
        self.hashes
            .iter()
            .any(|hash| hash.is_none_or(|hash| part.postings(hash).map_or(true, |rows| !rows.is_empty())))
    }
}

/// Removes the parts that hold something of what is due, of a service that is stopped: its next start makes them again.
pub fn remove_parts(erased: &Erased, log: &Path, log_id: LogId, key: &SearchKey) -> Result<(), ReadError> {
    let directory = &erased.directory;
    let io_error = |source| ReadError::Io { path: directory.clone(), source };
    let Some(pass) = erased.pass(u64::MAX) else { return Ok(()) };
    let mut parts = Parts::open(directory, log, log_id, key, &LogLookup::new(log))?;
    parts.remove_useless(directory);
    for part in parts.files.iter().filter(|part| pass.concerns(&***part)) {
        std::fs::remove_file(part.path()).map_err(io_error)?;
    }
    erased.is_done(&pass).map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_there_until_it_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(ERASED_FILE);
        let erased = Erased::open(directory.path()).unwrap();
        erased.note(&[7, 8]).unwrap();
        assert!(erased.pass(u64::MAX).is_none(), "the keys are not destroyed");
        erased.are_due(&[7, 8], 40);
        assert!(erased.pass(39).is_none(), "the index may still be told of them");
        erased.note(&[9]).unwrap();
        let pass = erased.pass(40).unwrap();
        assert_eq!(pass.hashes, [Some(7), Some(8)]);
        // Erased once more while the pass goes on.
        erased.note(&[7]).unwrap();
        erased.are_due(&[7], 41);
        erased.is_done(&pass).unwrap();
        assert_eq!(erased.pass(41).unwrap().hashes, [Some(7)]);
        drop(erased);

        let again = Erased::open(directory.path()).unwrap();
        let pass = again.pass(0).unwrap();
        assert_eq!(pass.hashes, [Some(9), Some(7)], "a start has destroyed all keys");
        again.is_done(&pass).unwrap();
        assert!(again.is_empty() && !file.exists());

        // Too many, and what nobody can read, is everything.
        again.note(&(0..=ERASED_MAX as u64).collect::<Vec<_>>()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "all\n");
        std::fs::write(&file, "00000000000000zz\n").unwrap();
        assert_eq!(Erased::open(directory.path()).unwrap().pass(0).unwrap().hashes, [None]);
    }
}
