//! Finding recorded decisions by their id, or by the id of their transaction.

use std::borrow::Cow;
use std::ops::ControlFlow;

use memchr::memmem;
use serde::Deserialize;
use thiserror::Error;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::Record;
use crate::audit::receipt::{Position, RecordHash};
use crate::audit::record::{self, BODY_SCHEMA, DecisionRecord, RecordError, Unreadable};
use crate::domain::time::EventTime;
use crate::search::key::Field;
use crate::search::paged::PageError;
use crate::search::part::{Chunks, Part};
use crate::search::run::{Gap, Searcher, Stretch};

/// Most ids that are looked for at once.
pub const IDS_MAX: usize = 32;
/// How many records pass between two looks at the progress.
const RECORDS_PER_PROGRESS: u64 = 256;

/// Why decisions cannot be found.
#[derive(Debug, Error)]
pub enum FindError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record of a later version.
    #[error(
        "record {sequence} has a body of schema {schema}; this version reads up to {BODY_SCHEMA}: use a newer one"
    )]
    Schema {
        /// Its sequence.
        sequence: u64,
        /// The schema.
        schema: u16,
    },
    /// A record that is wrong.
    #[error("record {sequence}: {source}")]
    Record {
        /// Its sequence.
        sequence: u64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// More ids than [`IDS_MAX`].
    #[error("more than {IDS_MAX} ids at once")]
    TooMany,
    /// Somebody asked to stop.
    #[error("interrupted")]
    Stopped,
}

/// A decision that was found.
#[derive(Debug)]
pub struct Found {
    /// What it was found by.
    pub id: String,
    /// The sequence of its record.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: EventTime,
    /// Its record's hash.
    pub hash: RecordHash,
    /// Where it lies.
    pub position: Position,
    /// The record.
    pub record: DecisionRecord,
    /// Why it is only what stands in clear, if it is.
    pub unreadable: Option<Unreadable>,
}

/// As much of a decision as tells whose it is.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(borrow)]
    decision_id: Cow<'a, str>,
    #[serde(borrow)]
    transaction_id: Cow<'a, str>,
}

struct Wanted<'a> {
    id: &'a str,
    keys: [u64; 2],
    /// The id as it stands in a body: only bodies that hold it are decoded.
    text: memmem::Finder<'static>,
    found: Option<Found>,
}

impl Searcher {
    /// The decisions with those ids, in the order of the ids; none where the log has none. Of several decisions of one transaction, the
    /// newest. `stretches` come the newest first; `each` is told how many records had to be read so far.
    pub fn find(
        &self,
        stretches: &[Stretch],
        ids: &[String],
        mut each: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Option<Found>>, FindError> {
        if ids.len() > IDS_MAX {
            return Err(FindError::TooMany);
        }
        let mut wanted: Vec<Wanted<'_>> = ids
            .iter()
            .map(|id| {
                let quoted = serde_json::Value::from(id.as_str()).to_string();
                let keys = [Field::Decision, Field::Transaction].map(|field| self.key().hash(field, id));
                Wanted { id, keys, text: memmem::Finder::new(quoted.as_bytes()).into_owned(), found: None }
            })
            .collect();
        let mut scanned = 0;
        for stretch in stretches {
            let mut open: Vec<&mut Wanted<'_>> = wanted.iter_mut().filter(|it| it.found.is_none()).collect();
            if open.is_empty() {
                break;
            }
            let gap = match stretch {
                Stretch::Memory(part) => {
                    for it in &mut open {
                        let places = places(&*part.read(), it.keys).unwrap_or_default();
                        it.read_newest(self, &places)?;
                    }
                    continue;
                }
                Stretch::File(part) => {
                    let places =
                        open.iter().map(|it| places(&**part, it.keys)).collect::<Result<Vec<_>, _>>();
                    let looked = places.map_err(drop).and_then(|places| {
                        let mut looked =
                            open.iter_mut().zip(places).map(|(it, at)| it.read_newest(self, &at));
                        looked.find(Result::is_err).map_or(Ok(()), |_| Err(()))
                    });
                    if looked.is_ok() {
                        continue;
                    }
                    part.set_damaged();
                    Gap { first: part.first(), last: Some(part.last()), after: None }
                }
                Stretch::Gap(gap) => *gap,
            };
            self.find_in_gap(gap, &mut open, &mut scanned, &mut each)?;
        }
        Ok(wanted.into_iter().map(|it| it.found).collect())
    }

    fn find_in_gap(
        &self,
        gap: Gap,
        open: &mut [&mut Wanted<'_>],
        scanned: &mut u64,
        each: &mut impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), FindError> {
        let mut reader = match gap.reader(self.log()) {
            Ok(reader) => reader,
            Err(ReadError::NotThere { oldest: None, .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(stored) = reader.next()? {
            if stored.header.kind == Kind::Decision {
                open.iter_mut().try_for_each(|it| it.look_at(self.bodies(), &stored))?;
            }
            *scanned += 1;
            if scanned.is_multiple_of(RECORDS_PER_PROGRESS) && each(*scanned).is_break() {
                return Err(FindError::Stopped);
            }
        }
        Ok(())
    }
}

impl Wanted<'_> {
    fn look_at(&mut self, bodies: &Bodies, stored: &Record<'_>) -> Result<(), FindError> {
        if self.text.find(stored.body).is_none() {
            return Ok(());
        }
        let (sequence, schema) = (stored.header.sequence, stored.header.schema);
        let wrong = |source| FindError::Record { sequence, source };
        let ids: Ids<'_> = record::decode(stored.body).map_err(wrong)?;
        if ids.decision_id != self.id && ids.transaction_id != self.id {
            return Ok(());
        }
        if schema > BODY_SCHEMA {
            return Err(FindError::Schema { sequence, schema });
        }
        let (record, unreadable) = bodies.decision(stored).map_err(wrong)?.or_left();
        self.found = Some(Found {
            id: self.id.to_owned(),
            sequence,
            recorded_at: stored.header.recorded_at,
            hash: stored.hash,
            position: stored.position,
            record,
            unreadable,
        });
        Ok(())
    }

    /// Of those places, which come the newest first, the first that is meant.
    fn read_newest(&mut self, searcher: &Searcher, places: &[Position]) -> Result<(), FindError> {
        let mut buffer = Vec::new();
        for position in places {
            self.look_at(searcher.bodies(), &searcher.lookup().read_at(*position, &mut buffer)?)?;
            if self.found.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// Where the records with one of the keys lie, the newest first.
fn places(part: &impl Part, keys: [u64; 2]) -> Result<Vec<Position>, PageError> {
    let mut rows = Vec::new();
    for key in keys {
        rows.extend(part.postings(key)?);
    }
    rows.sort_unstable_by(|a, b| b.cmp(a));
    let mut chunks = Chunks { part, first: 0, rows: Vec::new() };
    let place = |row| Ok(Position { segment: part.segment(), offset: chunks.get(row)?.offset });
    rows.into_iter().map(place).collect()
}
