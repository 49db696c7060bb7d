//! The part files of one log: which there are, which of them are used, and what of the log they leave out.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::audit::damage::ReadError;
use crate::audit::lookup::LogLookup;
use crate::audit::reader::LogReader;
use crate::audit::receipt::LogId;
use crate::audit::segment::list_segments;
use crate::search::file::{PART_EXTENSION, PartFile, UNFINISHED_PREFIX, part_path};
use crate::search::key::SearchKey;
use crate::search::part::Part as _;
use crate::search::run::{Gap, Stretch};

/// The directory of the search index inside the data directory.
pub const SEARCH_DIRECTORY: &str = "search";
/// Most parts of one index: with the shortest parts that the log's own bound allows, more than any log has.
pub const PARTS_MAX: usize = 1_000_000;

/// The parts that are used, and what was found beside them.
#[derive(Debug, Default)]
pub struct Parts {
    /// Rising, and none covers what another covers.
    pub files: Vec<Arc<PartFile>>,
    /// The first sequences of the log's segments, rising.
    pub segments: Vec<u64>,
    /// Why files are not used, in words.
    pub refused: Vec<String>,
    /// The first sequences of those files.
    pub useless: Vec<u64>,
}

/// The id of the log in a directory; none while it is empty.
pub fn log_id(log: &Path) -> Result<Option<LogId>, ReadError> {
    match LogReader::from_sequence_or_oldest(log, 1) {
        Ok(reader) => Ok(Some(reader.log_id())),
        Err(ReadError::NotThere { oldest: None, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Parts {
    /// Opens the parts in `directory` of the log in `log`. A part is used when it is whole and was made from this log under this key.
    /// By the chain of hashes it is enough to look at the last record of the newest: an older one may only be older than a loss of
    /// the log's end if a newer one, made after it, is too.
    pub fn open(
        directory: &Path,
        log: &Path,
        log_id: LogId,
        key: &SearchKey,
        lookup: &LogLookup,
    ) -> Result<Self, ReadError> {
        let mut parts = Self::without_files(log)?;
        let there = list(directory).map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
        for first in there {
            match PartFile::open(directory, first, log_id, key) {
                Ok(part) => parts.add(part),
                Err(error) => parts.refuse(first, error.to_string()),
            }
        }
        let mut buffer = Vec::new();
        while let Some(newest) = parts.files.last() {
            let (head, position) = newest.head();
            match lookup.read_at(position, &mut buffer) {
                Ok(stored) if stored.header.sequence == head.sequence && stored.hash == head.hash => break,
                Err(ReadError::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(ReadError::Io { path: log.to_owned(), source });
                }
                Ok(_) | Err(_) => {
                    let why = format!("{}: the log has no such records", newest.path().display());
                    let first = newest.first();
                    parts.files.pop();
                    parts.refuse(first, why);
                }
            }
        }
        Ok(parts)
    }

    /// The log in `log` without an index.
    pub fn without_files(log: &Path) -> Result<Self, ReadError> {
        let segments = list_segments(log).map_err(|source| ReadError::Io { path: log.to_owned(), source })?;
        Ok(Self { segments, ..Self::default() })
    }

    /// The oldest record of the log that is there; 0 for an empty log.
    pub fn oldest(&self) -> u64 {
        self.segments.first().copied().unwrap_or(0)
    }

    fn add(&mut self, part: PartFile) {
        if part.segment() < self.oldest() {
            let why = format!("{}: its segment is gone", part.path().display());
            self.refuse(part.first(), why);
        } else if self.files.last().is_some_and(|before| part.first() <= before.last()) {
            let why = format!("{}: another part covers its records", part.path().display());
            self.refuse(part.first(), why);
        } else {
            self.files.push(Arc::new(part));
        }
    }

    fn refuse(&mut self, first: u64, why: String) {
        self.refused.push(why);
        self.useless.push(first);
    }

    /// Removes the files that are not used, and what a maker that has died left unfinished. Nobody else may make parts meanwhile.
    pub fn remove_useless(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| extension.starts_with(UNFINISHED_PREFIX)) {
                let _ = std::fs::remove_file(path);
            }
        }
        for first in self.useless.drain(..) {
            // One that cannot be removed is refused again at the next start.
            let _ = std::fs::remove_file(part_path(directory, first));
        }
    }

    /// The last record that is covered without a gap to the end of the parts; 0 for none.
    pub fn last(&self) -> u64 {
        self.files.last().map_or(0, |part| part.last())
    }
}

/// The first sequences of all parts in a directory, rising. Other files are passed over.
pub fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 20);
        if path.extension().is_some_and(|extension| extension == PART_EXTENSION)
            && let Some(first) = stem.and_then(|stem| stem.parse().ok()).filter(|first| *first > 0)
        {
            if parts.len() == PARTS_MAX {
                return Err(io::Error::other(format!("more than {PARTS_MAX} parts")));
            }
            parts.push(first);
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

/// What no part covers between the record `oldest` and the last part, rising.
pub fn gaps(files: &[Arc<PartFile>], oldest: u64) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut next = oldest.max(1);
    for part in files {
        if part.first() > next {
            gaps.push(Gap { first: next, last: Some(part.first() - 1), after: None });
        }
        next = part.last() + 1;
    }
    gaps
}

impl Parts {
    /// The log as stretches, the newest first: parts, gaps between them, and what comes after the last part. A gap ends with its
    /// segment, so that the newest records of a long one are read first.
    pub fn stretches(&self) -> Vec<Stretch> {
        let oldest = self.oldest();
        if oldest == 0 {
            return Vec::new();
        }
        let mut missing = gaps(&self.files, oldest);
        missing.push(match self.files.last() {
            None => Gap { first: oldest, last: None, after: None },
            Some(part) => {
                let (head, position) = part.head();
                Gap { first: head.sequence + 1, last: None, after: Some(position) }
            }
        });
        let missing = missing.into_iter().flat_map(|gap| self.by_segment(gap));
        let mut all: Vec<(u64, Stretch)> = missing.map(|gap| (gap.first, Stretch::Gap(gap))).collect();
        all.extend(self.files.iter().map(|part| (part.first(), Stretch::File(Arc::clone(part)))));
        all.sort_by_key(|(first, _)| std::cmp::Reverse(*first));
        all.into_iter().map(|(_, stretch)| stretch).collect()
    }

    fn by_segment(&self, gap: Gap) -> Vec<Gap> {
        let from = self.segments.partition_point(|segment| *segment <= gap.first);
        let inside = |segment: &&u64| gap.last.is_none_or(|last| **segment <= last);
        let mut pieces = vec![gap];
        for segment in self.segments[from..].iter().take_while(inside) {
            if let Some(before) = pieces.last_mut() {
                before.last = Some(*segment - 1);
            }
            pieces.push(Gap { first: *segment, last: gap.last, after: None });
        }
        pieces
    }
}
