//! A search over the log: by parts of the index, and by reading what no part covers. The newest first.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Serialize, Serializer};
use thiserror::Error;
use tracing::warn;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::lookup::LogLookup;
use crate::audit::reader::{LogReader, Record};
use crate::audit::receipt::{Position, RecordHash};
use crate::audit::record::RecordError;
use crate::domain::time::EventTime;
use crate::search::facts::{DecisionFacts, Facts};
use crate::search::file::PartFile;
use crate::search::key::SearchKey;
use crate::search::memory::MemoryPart;
use crate::search::paged::PageError;
use crate::search::part::{Candidate, Chunks, Part, Wanted, candidates};
use crate::search::query::Query;

/// How many records pass between two looks at the progress of reading.
const RECORDS_PER_PROGRESS: u64 = 1_024;

/// A stretch of the log, and what is known of it.
#[derive(Clone, Debug)]
pub enum Stretch {
    /// A part in memory, which may grow.
    Memory(Arc<RwLock<MemoryPart>>),
    /// A part in a file.
    File(Arc<PartFile>),
    /// Nothing: it must be read.
    Gap(Gap),
}

/// Records that no part covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The first of them.
    pub first: u64,
    /// The last; none: to the end of the log.
    pub last: Option<u64>,
    /// Where the record before the first lies, if that is in the same segment.
    pub after: Option<Position>,
}

impl Gap {
    /// A reader of its records.
    pub fn reader(&self, log: &Path) -> Result<LogReader, ReadError> {
        let mut reader = match self.after {
            Some(position) => LogReader::after(log, position)?,
            None => LogReader::from_sequence(log, self.first)?,
        };
        if let Some(last) = self.last {
            reader.limit(last);
        }
        Ok(reader)
    }
}

/// A decision that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// Its sequence.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: EventTime,
    /// Its record's hash.
    pub hash: RecordHash,
    /// Where it lies.
    pub position: Position,
    /// What it says.
    pub decision: DecisionFacts,
}

/// What was found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// The decisions, the newest first.
    pub hits: Vec<Hit>,
    /// Where to go on (`before`); none when there are no more.
    pub next: Option<u64>,
    /// Records that were read because no index covers them.
    pub scanned: u64,
    /// Records in what was looked at whose bodies could not be read, so that nothing finds them.
    pub unread: u64,
}

/// Why a search gives nothing.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that is wrong.
    #[error("record {sequence}: {error}")]
    Body {
        /// Its sequence.
        sequence: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Stopped,
}

/// Why a part does not help.
enum Useless {
    Page(PageError),
    /// The log has another record there.
    Stale,
}

#[derive(Serialize)]
struct HitJson<'a> {
    sequence: u64,
    recorded_at: String,
    hash: String,
    #[serde(flatten)]
    decision: &'a DecisionFacts,
}

impl Hit {
    /// Of a decision's record.
    pub const fn new(stored: &Record<'_>, decision: DecisionFacts) -> Self {
        Self {
            sequence: stored.header.sequence,
            recorded_at: stored.header.recorded_at,
            hash: stored.hash,
            position: stored.position,
            decision,
        }
    }
}

impl Serialize for Hit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (recorded_at, hash) = (self.recorded_at.to_string(), format!("blake3:{}", self.hash));
        HitJson { sequence: self.sequence, recorded_at, hash, decision: &self.decision }.serialize(serializer)
    }
}

/// Searches one log.
#[derive(Debug)]
pub struct Searcher {
    log: PathBuf,
    lookup: LogLookup,
    key: SearchKey,
    bodies: Bodies,
}

struct Search<'a, F> {
    query: &'a Query,
    wanted: Wanted,
    found: Found,
    each: F,
}

impl Searcher {
    /// Searches the log in `directory`.
    pub fn new(directory: &Path, key: SearchKey, bodies: Bodies) -> Self {
        Self { log: directory.to_owned(), lookup: LogLookup::new(directory), key, bodies }
    }

    /// What opens records.
    pub const fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// What keys the index.
    pub const fn key(&self) -> &SearchKey {
        &self.key
    }

    /// Where the log lies.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Records by position.
    pub const fn lookup(&self) -> &LogLookup {
        &self.lookup
    }

    /// Gives the record with that sequence to `see`; none where `stretches` do not hold it.
    pub fn record<T>(
        &self,
        stretches: &[Stretch],
        sequence: u64,
        see: impl FnOnce(&Record<'_>) -> T,
    ) -> Result<Option<T>, ReadError> {
        let mut buffer = Vec::new();
        for stretch in stretches {
            let position = match stretch {
                Stretch::Memory(part) => position(&*part.read(), sequence),
                Stretch::File(part) => position(&**part, sequence),
                Stretch::Gap(gap) => {
                    if gap.first > sequence || gap.last.is_some_and(|last| last < sequence) {
                        continue;
                    }
                    None
                }
            };
            match position.map(|position| self.lookup.read_at(position, &mut buffer)) {
                Some(Ok(stored)) if stored.header.sequence == sequence => return Ok(Some(see(&stored))),
                Some(_) => {}
                None if matches!(stretch, Stretch::Gap(_)) => {}
                None => continue,
            }
            return match LogReader::from_sequence(&self.log, sequence) {
                Ok(mut reader) => Ok(reader.next()?.map(|stored| see(&stored))),
                Err(ReadError::NotThere { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        }
        Ok(None)
    }

    /// Searches `stretches`, which come the newest first. `each` is told how many records had to be read so far.
    pub fn search(
        &self,
        stretches: &[Stretch],
        query: &Query,
        each: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Found, SearchError> {
        let mut search = Search { query, wanted: query.wanted(&self.key), found: Found::default(), each };
        for stretch in stretches {
            match stretch {
                Stretch::Memory(part) => {
                    search.found.unread += u64::from(part.read().unread());
                    let looked = self.in_part(&mut search, |wanted, before, max| {
                        candidates(&*part.read(), wanted, before, max)
                    });
                    if let Err(useless) = looked? {
                        // It was made from these very records: only the log can have changed.
                        warn!(%useless, "the index in memory does not fit the log");
                    }
                }
                Stretch::File(part) => {
                    let hits = search.found.hits.len();
                    search.found.unread += u64::from(part.unread());
                    let looked = self
                        .in_part(&mut search, |wanted, before, max| candidates(&**part, wanted, before, max));
                    if let Err(useless) = looked? {
                        warn!(part = %part.path().display(), %useless, "a part of the search index is not used");
                        part.set_damaged();
                        search.found.hits.truncate(hits);
                        search.found.next = None;
                        let gap = Gap { first: part.first(), last: Some(part.last()), after: None };
                        self.in_gap(&mut search, gap)?;
                    }
                }
                Stretch::Gap(gap) => self.in_gap(&mut search, *gap)?,
            }
            if search.found.next.is_some() {
                break;
            }
        }
        Ok(search.found)
    }

    fn in_part<F>(
        &self,
        search: &mut Search<'_, F>,
        ask: impl Fn(&Wanted, u64, usize) -> Result<Vec<Candidate>, PageError>,
    ) -> Result<Result<(), Useless>, SearchError> {
        let (mut before, mut buffer) = (search.query.before, Vec::new());
        loop {
            // One more than fits tells whether there is a next page.
            let max = search.query.limit + 1 - search.found.hits.len();
            let found = match ask(&search.wanted, before, max) {
                Ok(found) => found,
                Err(error) => return Ok(Err(Useless::Page(error))),
            };
            let may_be_more = found.len() == max;
            for candidate in found {
                let stored = match self.lookup.read_at(candidate.position, &mut buffer) {
                    Ok(stored) if stored.header.sequence == candidate.sequence => stored,
                    Ok(_) | Err(ReadError::Damaged { .. }) => return Ok(Err(Useless::Stale)),
                    // The segment has gone to the archive since.
                    Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                        return Ok(Ok(()));
                    }
                    Err(error) => return Err(error.into()),
                };
                before = candidate.sequence;
                if let Ok(Facts::Decision(decision)) = Facts::read(&self.bodies, &stored)
                    && search.query.takes(&decision, stored.header.recorded_at)
                    && search.is_full_with(Hit::new(&stored, *decision))
                {
                    return Ok(Ok(()));
                }
            }
            if !may_be_more {
                return Ok(Ok(()));
            }
        }
    }

    /// Reads a stretch forwards and keeps the last that fit.
    fn in_gap<F: FnMut(u64) -> ControlFlow<()>>(
        &self,
        search: &mut Search<'_, F>,
        gap: Gap,
    ) -> Result<(), SearchError> {
        if gap.first >= search.query.before {
            return Ok(());
        }
        let mut reader = match gap.reader(&self.log) {
            Ok(reader) => reader,
            // An empty log.
            Err(ReadError::NotThere { oldest: None, .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        reader.limit(gap.last.unwrap_or(u64::MAX).min(search.query.before - 1));
        let max = search.query.limit + 1 - search.found.hits.len();
        let mut last: VecDeque<Hit> = VecDeque::with_capacity(max);
        while let Some(stored) = reader.next()? {
            search.found.scanned += 1;
            if search.found.scanned.is_multiple_of(RECORDS_PER_PROGRESS)
                && (search.each)(search.found.scanned).is_break()
            {
                return Err(SearchError::Stopped);
            }
            match Facts::read(&self.bodies, &stored) {
                Ok(Facts::Decision(decision)) if search.query.takes(&decision, stored.header.recorded_at) => {
                    if last.len() == max {
                        last.pop_front();
                    }
                    last.push_back(Hit::new(&stored, *decision));
                }
                Ok(_) => {}
                Err(_) => search.found.unread += 1,
            }
        }
        for hit in last.into_iter().rev() {
            if search.is_full_with(hit) {
                break;
            }
        }
        Ok(())
    }
}

/// Where a record lies, if a part covers it.
fn position(part: &impl Part, sequence: u64) -> Option<Position> {
    let row = sequence.checked_sub(part.first()).and_then(|row| u32::try_from(row).ok());
    let row = row.filter(|row| *row < part.rows())?;
    let row = Chunks { part, first: 0, rows: Vec::new() }.get(row).ok()?;
    Some(Position { segment: part.segment(), offset: row.offset })
}

impl<F> Search<'_, F> {
    /// Takes a hit, or learns by it that there is another page.
    fn is_full_with(&mut self, hit: Hit) -> bool {
        if self.found.hits.len() < self.query.limit {
            self.found.hits.push(hit);
            return false;
        }
        self.found.next = self.found.hits.last().map(|last| last.sequence);
        true
    }
}

impl std::fmt::Display for Useless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Page(error) => error.fmt(f),
            Self::Stale => f.write_str("the log has another record there"),
        }
    }
}
