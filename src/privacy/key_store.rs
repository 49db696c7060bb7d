//! Giving keys to subjects, and destroying them: the one writer of the file of keys, in the process that holds the lock of the log.
//!
//! In memory stands which number a tag has, for so many subjects; the keys themselves stay in the file, which the kernel keeps cached.
//! Whoever decides does not write: a new key is held in memory until `write_new`, which the log's writer calls before each group, so that the
//! file has a key before the log has a record that is sealed with it.
//! A subject beyond that bound is given a new key with each record (64 bytes more beside some 7,000): nothing is sealed in another way, and
//! all keys of a subject are found in the file when they are to be destroyed.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use thiserror::Error;

use crate::privacy::entry::{ENTRY_BYTES, Entry, SubjectKey, header};
use crate::privacy::key_file::{DIRECTORY, FILE_NAME, Held, KeyFile};
use crate::privacy::seal::SealingKey;
use crate::privacy::subject::{Subject, Tag, Tagger};

/// Parts of the map of tags: each stays small enough to grow within some 100 us.
const SHARDS: usize = 1_024;

/// Most new keys that wait to be written. With more, records that need one cannot be written either.
pub const UNWRITTEN_MAX: usize = 65_536;

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
    /// As many new keys as may wait for the disk.
    #[error(
        "{path}: {UNWRITTEN_MAX} new keys of subjects wait to be written, and no new ones are made before they are"
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
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

/// Keys that were given to subjects.
#[derive(Debug)]
struct Given {
    /// The number of the next entry.
    next: u64,
    /// Those that are not in the file yet, by their numbers in order; at most `UNWRITTEN_MAX`.
    unwritten: VecDeque<(u64, Tag, SubjectKey)>,
}

/// The keys of a log, to use and to change.
#[derive(Debug)]
pub struct KeyStore {
    keys: KeyFile,
    file: Arc<File>,
    tagger: Tagger,
    known: DashMap<Tag, u64>,
    /// How many these are: to ask the map takes the lock of each of its parts.
    known_count: AtomicUsize,
    known_max: usize,
    given: Mutex<Given>,
    /// Held while new keys are written.
    writing: Mutex<()>,
    /// Entries before this number are in the file.
    written_before: AtomicU64,
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

impl Given {
    fn unwritten(&self, number: u64) -> Option<SubjectKey> {
        let place = self.unwritten.binary_search_by_key(&number, |(number, ..)| *number).ok()?;
        self.unwritten.get(place).map(|(.., key)| key.clone())
    }
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
        // The number of an entry that was torn is not given again: a record may name it.
        let next = bytes.div_ceil(ENTRY_BYTES as u64).max(1);
        let store = Self {
            known: DashMap::with_shard_amount(SHARDS),
            known_count: AtomicUsize::new(0),
            known_max: subjects_max,
            given: Mutex::new(Given { next, unwritten: VecDeque::new() }),
            writing: Mutex::default(),
            written_before: AtomicU64::new(next),
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
        let has_room = self.known_count.load(Ordering::Relaxed) < self.known_max;
        if (has_room || self.known.contains_key(&tag)) && self.known.insert(tag, number).is_none() {
            self.known_count.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// From here on, whoever has this tag is new.
    fn forget_one(&self, tag: &Tag, is_it: impl FnOnce(&u64) -> bool) {
        if self.known.remove_if(tag, |_, number| is_it(number)).is_some() {
            self.known_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The key of a subject; a new one where it has none. Does not write: a new one is in the file after `write_new`.
    pub fn key_of(&self, subject: Subject<'_>) -> Result<SealingKey, KeyStoreError> {
        let tag = self.tagger.tag(subject);
        let known = || self.known.get(&tag).map(|number| *number);
        loop {
            let before = known();
            if let Some(number) = before
                && let Some(key) = self.key(number)?
            {
                return Ok(SealingKey { number, key });
            }
            self.check_spoiled()?;
            let mut given = self.given.lock();
            if known() != before {
                // Another request of the same subject was quicker.
                continue;
            }
            if given.unwritten.len() == UNWRITTEN_MAX {
                return Err(KeyStoreError::Full { path: self.keys.path().to_owned() });
            }
            let (number, key) = (given.next, SubjectKey(rand::random()));
            given.next += 1;
            given.unwritten.push_back((number, tag, key.clone()));
            self.made.fetch_add(1, Ordering::Relaxed);
            if !self.remember(tag, number) {
                self.made_beyond_bound.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(SealingKey { number, key });
        }
    }

    /// The key with that number, if it is there.
    fn key(&self, number: u64) -> Result<Option<SubjectKey>, KeyStoreError> {
        if number >= self.written_before.load(Ordering::Acquire)
            && let Some(key) = self.given.lock().unwritten(number)
        {
            return Ok(Some(key));
        }
        match self.keys.key(number).map_err(|error| self.failed(error))? {
            Held::Key(key) => Ok(Some(key)),
            Held::Erased | Held::Lost => Ok(None),
        }
    }

    /// Puts every key that was given until now into the kernel's hands. What fails stays to be written. Blocks.
    pub fn write_new(&self) -> Result<(), KeyStoreError> {
        if self.given.lock().unwritten.is_empty() {
            return Ok(());
        }
        let _writing = self.writing.lock();
        let (new, next) = {
            let given = self.given.lock();
            (given.unwritten.iter().cloned().collect::<Vec<_>>(), given.next)
        };
        for run in new.chunk_by(|one, other| one.0 + 1 == other.0) {
            let mut bytes = Vec::with_capacity(run.len() * ENTRY_BYTES);
            for (number, tag, key) in run {
                bytes.extend_from_slice(&Entry::Live { tag: *tag, key: key.clone() }.encode(*number));
            }
            let offset = run[0].0 * ENTRY_BYTES as u64;
            self.file.write_all_at(&bytes, offset).map_err(|error| self.failed(error))?;
        }
        self.written_before.store(next, Ordering::Release);
        self.given.lock().unwritten.drain(..new.len());
        Ok(())
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
        self.write_new()?;
        let before = self.written_before.load(Ordering::Acquire);
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

    /// Writes and syncs all entries, and destroys those that are doomed. Blocks.
    pub fn settle(&self) -> Result<(), KeyStoreError> {
        self.destroy_doomed()?;
        let last = self.given.lock().next.saturating_sub(1);
        self.sync_through(last)
    }

    /// Gives no number up to that one any more: a record names it, whose key a power loss took.
    pub fn skip_through(&self, number: u64) {
        let mut given = self.given.lock();
        given.next = given.next.max(number.saturating_add(1));
    }

    /// From here on, new records of these subjects get new keys.
    pub fn forget(&self, tags: &[Tag]) {
        for tag in tags {
            self.forget_one(tag, |_| true);
        }
    }

    /// The numbers of all live keys of these subjects, in order. Writes those that are not in the file yet, and reads all of it.
    pub fn numbers_of(&self, tags: &[Tag]) -> Result<Vec<u64>, KeyStoreError> {
        self.write_new()?;
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
                self.forget_one(&tag, |known| known == number);
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
            entries: self.given.lock().next - 1,
            known: self.known_count.load(Ordering::Relaxed) as u64,
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
