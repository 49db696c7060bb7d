//! Giving keys to subjects, and destroying them: the one writer of the file of keys, in the process that holds the lock of the log.
//!
//! In memory stands which number a tag has, for so many subjects; the keys themselves stay in the file, which the kernel keeps cached.
//! A subject beyond that bound is given a new key with each record (64 bytes more beside some 7,000): nothing is sealed in another way, and
//! all keys of a subject are found in the file when they are to be destroyed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use thiserror::Error;

use crate::privacy::entry::{ENTRY_BYTES, Entry, SubjectKey, header};
use crate::privacy::key_file::{DIRECTORY, FILE_NAME, Held, KeyFile};
use crate::privacy::seal::SealingKey;
use crate::privacy::subject::{Subject, Tag, Tagger};

/// Parts of the map of tags: each stays small enough to grow within some 100 us.
const SHARDS: usize = 1_024;

/// Why keys cannot be used.
#[derive(Debug, Error)]
pub enum KeyStoreError {
    /// The file cannot be read or written.
    #[error("{path}: the keys of subjects cannot be read or written: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The keys of another log.
    #[error("{0}: the keys are those of another log: restore the file that belongs to this data directory")]
    OtherLog(PathBuf),
    /// What was written may not be on stable storage, and nobody can find out.
    #[error("{0}: keys could not be synced, and no new ones are made before a restart")]
    Spoiled(PathBuf),
}

/// How many keys there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyCounts {
    /// Entries of the file, those of erased subjects included.
    pub entries: u64,
    /// Subjects whose key is found in memory.
    pub known: u64,
    /// Keys made since the start.
    pub made: u64,
    /// Keys made because the bound on subjects in memory was reached, since the start.
    pub made_beyond_bound: u64,
    /// Keys destroyed since the start.
    pub destroyed: u64,
    /// Keys that are to be destroyed and could not be yet.
    pub doomed: u64,
}

/// The keys of a log, to use and to change.
#[derive(Debug)]
pub struct KeyStore {
    keys: KeyFile,
    file: Arc<File>,
    tagger: Tagger,
    known: DashMap<Tag, u64>,
    known_max: usize,
    /// The number of the next entry.
    next: Mutex<u64>,
    /// Held while syncing.
    syncing: Mutex<()>,
    /// Entries before this number are on stable storage.
    synced_before: AtomicU64,
    is_spoiled: AtomicBool,
    /// Keys that the log says are erased, and that are still there.
    doomed: Mutex<BTreeSet<u64>>,
    made: AtomicU64,
    made_beyond_bound: AtomicU64,
    destroyed: AtomicU64,
}

impl KeyStore {
    /// Opens the keys in a data directory, or makes the file. The file is readable by its owner only.
    pub fn open(
        data: &Path,
        log: [u8; 16],
        tagger: Tagger,
        subjects_max: usize,
    ) -> Result<Self, KeyStoreError> {
        let directory = data.join(DIRECTORY);
        let path = directory.join(FILE_NAME);
        let failed = |error| KeyStoreError::Io { path: path.clone(), error };
        if !directory.exists() {
            fs::DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
            sync_directory(data).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = Arc::new(file.map_err(failed)?);
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes < ENTRY_BYTES as u64 {
            // New, or torn before there was any entry.
            file.write_all_at(&header(log), 0).and_then(|()| file.sync_all()).map_err(failed)?;
            sync_directory(&directory).map_err(failed)?;
        }
        let keys = KeyFile::of(&path, Arc::clone(&file)).map_err(failed)?;
        if keys.log() != log {
            return Err(KeyStoreError::OtherLog(path));
        }
        let store = Self {
            known: DashMap::with_shard_amount(SHARDS),
            known_max: subjects_max,
            // The number of an entry that was torn is not given again: a record may name it.
            next: Mutex::new(bytes.div_ceil(ENTRY_BYTES as u64).max(1)),
            syncing: Mutex::default(),
            synced_before: AtomicU64::new(1),
            is_spoiled: AtomicBool::new(false),
            doomed: Mutex::default(),
            made: AtomicU64::new(0),
            made_beyond_bound: AtomicU64::new(0),
            destroyed: AtomicU64::new(0),
            keys,
            file,
            tagger,
        };
        let each = store.keys.each(|number, entry| {
            if let Entry::Live { tag, .. } = entry {
                store.remember(tag, number);
            }
        });
        each.map_err(|error| store.failed(error))?;
        Ok(store)
    }

    fn failed(&self, error: io::Error) -> KeyStoreError {
        KeyStoreError::Io { path: self.keys.path().to_owned(), error }
    }

    /// The keys, to read.
    pub const fn keys(&self) -> &KeyFile {
        &self.keys
    }

    /// What makes tags.
    pub const fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    fn remember(&self, tag: Tag, number: u64) -> bool {
        let has_room = self.known.len() < self.known_max;
        if has_room || self.known.contains_key(&tag) {
            self.known.insert(tag, number);
        }
        has_room
    }

    /// The key of a subject; a new one where it has none. A new one is in the kernel's hands.
    pub fn key_of(&self, subject: Subject<'_>) -> Result<SealingKey, KeyStoreError> {
        let tag = self.tagger.tag(subject);
        if let Some(key) = self.known_key(tag)? {
            return Ok(key);
        }
        let mut next = self.next.lock();
        // Another request of the same subject may have been quicker.
        if let Some(key) = self.known_key(tag)? {
            return Ok(key);
        }
        self.check_spoiled()?;
        let (number, key) = (*next, SubjectKey(rand::random()));
        let entry = Entry::Live { tag, key: key.clone() }.encode(number);
        self.file.write_all_at(&entry, number * ENTRY_BYTES as u64).map_err(|error| self.failed(error))?;
        *next += 1;
        self.made.fetch_add(1, Ordering::Relaxed);
        if !self.remember(tag, number) {
            self.made_beyond_bound.fetch_add(1, Ordering::Relaxed);
        }
        Ok(SealingKey { number, key })
    }

    fn known_key(&self, tag: Tag) -> Result<Option<SealingKey>, KeyStoreError> {
        let Some(number) = self.known.get(&tag).map(|number| *number) else { return Ok(None) };
        match self.keys.key(number).map_err(|error| self.failed(error))? {
            Held::Key(key) => Ok(Some(SealingKey { number, key })),
            Held::Erased | Held::Lost => Ok(None),
        }
    }

    /// Whether the entry with that number is on stable storage.
    pub fn is_synced(&self, number: u64) -> bool {
        number < self.synced_before.load(Ordering::Acquire)
    }

    /// Returns when the entry with that number is on stable storage. Those who wait meanwhile share one sync. Blocks.
    pub fn sync_through(&self, number: u64) -> Result<(), KeyStoreError> {
        let _syncing = self.syncing.lock();
        if self.is_synced(number) {
            return Ok(());
        }
        self.check_spoiled()?;
        let before = *self.next.lock();
        if let Err(error) = self.file.sync_data() {
            // The kernel forgets what it could not write: a second sync would succeed without it.
            self.is_spoiled.store(true, Ordering::Release);
            return Err(self.failed(error));
        }
        self.synced_before.fetch_max(before, Ordering::AcqRel);
        Ok(())
    }

    fn check_spoiled(&self) -> Result<(), KeyStoreError> {
        if self.is_spoiled.load(Ordering::Acquire) {
            return Err(KeyStoreError::Spoiled(self.keys.path().to_owned()));
        }
        Ok(())
    }

    /// Syncs all entries, and destroys those that are doomed. Blocks.
    pub fn settle(&self) -> Result<(), KeyStoreError> {
        self.destroy_doomed()?;
        let last = (*self.next.lock()).saturating_sub(1);
        self.sync_through(last)
    }

    /// Gives no number up to that one any more: a record names it, whose key a power loss took.
    pub fn skip_through(&self, number: u64) {
        let mut next = self.next.lock();
        *next = (*next).max(number.saturating_add(1));
    }

    /// From here on, new records of these subjects get new keys.
    pub fn forget(&self, tags: &[Tag]) {
        for tag in tags {
            self.known.remove(tag);
        }
    }

    /// The numbers of all live keys of these subjects, in order. Reads the whole file.
    pub fn numbers_of(&self, tags: &[Tag]) -> Result<Vec<u64>, KeyStoreError> {
        let mut numbers = Vec::new();
        let each = self.keys.each(|number, entry| {
            if matches!(entry, Entry::Live { tag, .. } if tags.contains(&tag)) {
                numbers.push(number);
            }
        });
        each.map_err(|error| self.failed(error))?;
        Ok(numbers)
    }

    /// Notes that the log says that these keys are erased: `destroy_doomed` destroys them.
    pub fn doom(&self, numbers: &[u64]) {
        self.doomed.lock().extend(numbers);
    }

    /// Overwrites the keys that are doomed, and syncs. What fails stays doomed. Blocks.
    pub fn destroy_doomed(&self) -> Result<(), KeyStoreError> {
        let doomed: Vec<u64> = self.doomed.lock().iter().copied().collect();
        if doomed.is_empty() {
            return Ok(());
        }
        let mut destroyed = 0;
        for number in &doomed {
            let entry = self.keys.entry(*number).map_err(|error| self.failed(error))?;
            if let Entry::Live { tag, .. } = entry {
                self.known.remove_if(&tag, |_, known| known == number);
                destroyed += 1;
            }
            // Also over what is lost: whatever a torn write left there is gone then.
            self.file
                .write_all_at(&Entry::Erased.encode(*number), number * ENTRY_BYTES as u64)
                .map_err(|error| self.failed(error))?;
        }
        self.file.sync_data().map_err(|error| self.failed(error))?;
        self.destroyed.fetch_add(destroyed, Ordering::Relaxed);
        let mut left = self.doomed.lock();
        for number in &doomed {
            left.remove(number);
        }
        Ok(())
    }

    /// How many keys there are.
    pub fn counts(&self) -> KeyCounts {
        KeyCounts {
            entries: *self.next.lock() - 1,
            known: self.known.len() as u64,
            made: self.made.load(Ordering::Relaxed),
            made_beyond_bound: self.made_beyond_bound.load(Ordering::Relaxed),
            destroyed: self.destroyed.load(Ordering::Relaxed),
            doomed: self.doomed.lock().len() as u64,
        }
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
