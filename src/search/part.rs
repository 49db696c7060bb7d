//! What a part of the index answers, whether it lies in memory or in a file; and which of its records a search may be after.
//!
//! A part covers the records of one stretch of the log without a gap, inside one segment. A record's number in its part is its
//! *row*.

use crate::audit::receipt::Position;
use crate::domain::decision::Outcome;
use crate::search::paged::PageError;
use crate::search::row::Row;

/// A stretch of the log, indexed.
pub trait Part {
    /// The segment that it lies in.
    fn segment(&self) -> u64;
    /// The sequence of its first record.
    fn first(&self) -> u64;
    /// How many records it covers.
    fn rows(&self) -> u32;
    /// The earliest and the latest time of recording, in milliseconds since the Unix epoch.
    fn recorded_ms(&self) -> (i64, i64);
    /// The rows that have a key, rising.
    fn postings(&self, key: u64) -> Result<Vec<u32>, PageError>;
    /// The rows from the chunk that holds `row`, and the number of the first of them.
    fn chunk(&self, row: u32) -> Result<(u32, Vec<Row>), PageError>;
    /// For each review in it, the sequence of the decision that it is for.
    fn reviewed(&self) -> Result<Vec<u64>, PageError>;

    /// The sequence of its last record.
    fn last(&self) -> u64 {
        self.first() + u64::from(self.rows()).saturating_sub(1)
    }
}

/// What is asked of rows and postings. Everything in it must hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wanted {
    /// Keys that a record must have.
    pub keys: Vec<u64>,
    /// Recorded then or later, in milliseconds since the Unix epoch.
    pub from_ms: Option<i64>,
    /// Recorded before then.
    pub until_ms: Option<i64>,
    /// At least that risky.
    pub score_min: Option<f32>,
    /// At most that risky.
    pub score_max: Option<f32>,
    /// With that outcome.
    pub outcome: Option<Outcome>,
    /// Degraded, or not.
    pub degraded: Option<bool>,
}

impl Wanted {
    /// Whether a row passes. A decision without a score passes no bound of scores.
    pub fn takes(&self, row: &Row) -> bool {
        row.is_decision()
            && !row.is_unread()
            && self.from_ms.is_none_or(|from| row.recorded_at_ms >= from)
            && self.until_ms.is_none_or(|until| row.recorded_at_ms < until)
            && self.score_min.is_none_or(|min| row.score >= min)
            && self.score_max.is_none_or(|max| row.score <= max)
            && self.outcome.is_none_or(|outcome| row.has_outcome(outcome))
            && self.degraded.is_none_or(|degraded| row.is_degraded() == degraded)
    }

    fn may_be_in(&self, part: &impl Part) -> bool {
        let (earliest, latest) = part.recorded_ms();
        self.from_ms.is_none_or(|from| latest >= from) && self.until_ms.is_none_or(|until| earliest < until)
    }
}

/// A record that has the keys and the row that are wanted. Whether it is meant, only its body says: two values may have one hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its sequence.
    pub sequence: u64,
    /// Where it lies.
    pub position: Position,
}

/// Up to `max` candidates with a sequence less than `before`, the newest first.
pub fn candidates(
    part: &impl Part,
    wanted: &Wanted,
    before: u64,
    max: usize,
) -> Result<Vec<Candidate>, PageError> {
    let mut found = Vec::new();
    if before <= part.first() || max == 0 || !wanted.may_be_in(part) {
        return Ok(found);
    }
    let end = u32::try_from(before - part.first()).unwrap_or(u32::MAX).min(part.rows());
    let mut rows = Chunks { part, first: 0, rows: Vec::new() };
    let mut look = |number: u32| -> Result<bool, PageError> {
        let row = rows.get(number)?;
        if wanted.takes(&row) {
            let position = Position { segment: part.segment(), offset: row.offset };
            found.push(Candidate { sequence: part.first() + u64::from(number), position });
        }
        Ok(found.len() < max)
    };
    match with_all_keys(part, &wanted.keys)? {
        None => {
            for number in (0..end).rev() {
                if !look(number)? {
                    break;
                }
            }
        }
        Some(numbers) => {
            for number in numbers.into_iter().rev().skip_while(|number| *number >= end) {
                if !look(number)? {
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The rows that have all of the keys, rising; none when there are no keys.
pub fn with_all_keys(part: &impl Part, keys: &[u64]) -> Result<Option<Vec<u32>>, PageError> {
    let mut common: Option<Vec<u32>> = None;
    for key in keys {
        let rows = part.postings(*key)?;
        let both = match common {
            None => rows,
            Some(before) => {
                let (few, many) = if before.len() < rows.len() { (before, rows) } else { (rows, before) };
                few.into_iter().filter(|row| many.binary_search(row).is_ok()).collect()
            }
        };
        if both.is_empty() {
            return Ok(Some(both));
        }
        common = Some(both);
    }
    Ok(common)
}

/// Rows by number, read a chunk at a time.
pub(crate) struct Chunks<'a, P> {
    pub(crate) part: &'a P,
    pub(crate) first: u32,
    pub(crate) rows: Vec<Row>,
}

impl<P: Part> Chunks<'_, P> {
    pub(crate) fn get(&mut self, number: u32) -> Result<Row, PageError> {
        let place = |first: u32| usize::try_from(number.wrapping_sub(first)).unwrap_or(usize::MAX);
        if let Some(row) = self.rows.get(place(self.first)) {
            return Ok(*row);
        }
        (self.first, self.rows) = self.part.chunk(number)?;
        self.rows.get(place(self.first)).copied().ok_or(PageError::Damaged(0))
    }
}
