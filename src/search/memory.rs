//! A part in memory: of the records that came last, until there are enough of them for a file.

use crate::audit::frame::{Header, Kind};
use crate::audit::reader::Record;
use crate::audit::receipt::{Head, LogId, Position, Receipt, RecordHash};
use crate::domain::time::EventTime;
use crate::search::facts::Facts;
use crate::search::key::SearchKey;
use crate::search::paged::PageError;
use crate::search::part::Part;
use crate::search::row::Row;

/// Most records of one part.
pub const PART_RECORDS_MAX: usize = 131_072;
/// Most keys of all records of one part, 16 bytes each. A part may go beyond it by the keys of its last record.
pub const PART_KEYS_MAX: usize = 2_000_000;
/// Most bytes of the log that one part covers; also the most that has to be read again after a restart.
pub const PART_LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Keys that are gathered before they are sorted.
const RUN_KEYS_MIN: usize = 4_096;
/// Rows of one chunk.
const CHUNK_ROWS: u32 = 1_024;

/// What an index keeps of a record beside its facts.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its sequence.
    pub sequence: u64,
    /// What it is about.
    pub kind: Kind,
    /// When it was recorded.
    pub recorded_at: EventTime,
    /// Where it lies.
    pub position: Position,
    /// Its hash.
    pub hash: RecordHash,
}

impl From<&Record<'_>> for Stamp {
    fn from(stored: &Record<'_>) -> Self {
        let Header { sequence, kind, recorded_at, .. } = stored.header;
        Self { sequence, kind, recorded_at, position: stored.position, hash: stored.hash }
    }
}

impl Stamp {
    /// Of a record that was written just now.
    pub const fn of(kind: Kind, receipt: &Receipt) -> Self {
        let Receipt { sequence, hash, position, recorded_at } = *receipt;
        Self { sequence, kind, recorded_at, position, hash }
    }
}

/// A part that grows.
#[derive(Debug)]
pub struct MemoryPart {
    /// The log.
    pub(crate) log_id: LogId,
    segment: u64,
    first: u64,
    rows: Vec<Row>,
    /// Keys with their rows. Each run is sorted, and its rows come after those of the run before.
    runs: Vec<Vec<(u64, u32)>>,
    /// The last keys, in the order in which they came.
    latest: Vec<(u64, u32)>,
    keys: usize,
    reviewed: Vec<u64>,
    recorded_ms: (i64, i64),
    last_hash: RecordHash,
    unread: u32,
}

impl MemoryPart {
    /// Of a log, without records.
    pub const fn new(log_id: LogId) -> Self {
        Self {
            log_id,
            segment: 0,
            first: 0,
            rows: Vec::new(),
            runs: Vec::new(),
            latest: Vec::new(),
            keys: 0,
            reviewed: Vec::new(),
            recorded_ms: (i64::MAX, i64::MIN),
            last_hash: RecordHash([0; 32]),
            unread: 0,
        }
    }

    /// Whether it has no records yet.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the next record, in `segment` at `offset`, belongs to another part.
    pub fn ends_before(&self, segment: u64, offset: u64) -> bool {
        let Some(first) = self.rows.first() else { return false };
        self.segment != segment
            || self.rows.len() >= PART_RECORDS_MAX
            || self.keys >= PART_KEYS_MAX
            || offset.saturating_sub(first.offset) >= PART_LOG_BYTES_MAX
    }

    /// Takes the next record in; `facts` is none when its body cannot be read.
    pub fn push(&mut self, key: &SearchKey, stamp: &Stamp, facts: Option<&Facts>) {
        if self.rows.is_empty() {
            self.segment = stamp.position.segment;
            self.first = stamp.sequence;
        }
        let number = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let recorded_at_ms = stamp.recorded_at.unix_millis();
        self.rows.push(Row::new(stamp.position.offset, recorded_at_ms, stamp.kind, facts));
        self.recorded_ms = (self.recorded_ms.0.min(recorded_at_ms), self.recorded_ms.1.max(recorded_at_ms));
        self.last_hash = stamp.hash;
        match facts {
            None => self.unread += 1,
            Some(facts) => {
                let from = self.latest.len();
                let latest = &mut self.latest;
                facts.each_key(key, |key| {
                    if !latest[from..].iter().any(|(it, _)| *it == key) {
                        latest.push((key, number));
                    }
                });
                self.keys += self.latest.len() - from;
                if let Facts::Review(_, decision) = facts {
                    self.reviewed.push(*decision);
                }
            }
        }
        if self.latest.len() >= RUN_KEYS_MIN {
            self.sort_latest();
        }
    }

    /// Runs are merged as soon as one is not longer than the next, so that there are few, and each key is moved seldom.
    fn sort_latest(&mut self) {
        let mut run = std::mem::take(&mut self.latest);
        run.sort_unstable();
        while let Some(mut before) = self.runs.pop_if(|before| before.len() <= run.len()) {
            before.append(&mut run);
            // Two sorted runs in a row: a stable sort merges them.
            before.sort();
            run = before;
        }
        self.runs.push(run);
    }

    /// All keys with their rows, sorted.
    pub(crate) fn sorted_keys(&self) -> Vec<(u64, u32)> {
        let mut keys = Vec::with_capacity(self.keys);
        self.runs.iter().for_each(|run| keys.extend_from_slice(run));
        keys.extend_from_slice(&self.latest);
        keys.sort();
        keys
    }

    pub(crate) fn all_rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) const fn unread(&self) -> u32 {
        self.unread
    }

    /// Its last record.
    pub fn head(&self) -> Head {
        Head { sequence: if self.rows.is_empty() { 0 } else { self.last() }, hash: self.last_hash }
    }
}

impl Part for MemoryPart {
    fn segment(&self) -> u64 {
        self.segment
    }

    fn first(&self) -> u64 {
        self.first
    }

    fn rows(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    fn recorded_ms(&self) -> (i64, i64) {
        self.recorded_ms
    }

    fn postings(&self, key: u64) -> Result<Vec<u32>, PageError> {
        let mut rows = Vec::new();
        for run in &self.runs {
            let from = run.partition_point(|(it, _)| *it < key);
            rows.extend(run[from..].iter().take_while(|(it, _)| *it == key).map(|(_, row)| *row));
        }
        rows.extend(self.latest.iter().filter(|(it, _)| *it == key).map(|(_, row)| *row));
        Ok(rows)
    }

    fn chunk(&self, row: u32) -> Result<(u32, Vec<Row>), PageError> {
        let first = row - row % CHUNK_ROWS;
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).min(self.rows.len());
        let rows = self.rows[place(first)..place(first.saturating_add(CHUNK_ROWS))].to_vec();
        Ok((first, rows))
    }

    fn reviewed(&self) -> Result<Vec<u64>, PageError> {
        Ok(self.reviewed.clone())
    }
}
