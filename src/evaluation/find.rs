//! Finding recorded decisions by their id, or by the id of their transaction.
//!
//! The log has no index on disk: its segments are read from the newest backwards, each from its start, until everything is found.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;

use memchr::memmem;
use serde::Deserialize;
use thiserror::Error;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{self, BODY_SCHEMA, DecisionRecord, RecordError, Unreadable};
use crate::audit::segment::{list_segments, segment_path};
use crate::domain::time::EventTime;
use crate::engine::policy::Policy;
use crate::evaluation::standing::StandingLists;
use crate::rules::run_time::RunTimeLists;

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
    /// The record.
    pub record: DecisionRecord,
    /// Why it is only what stands in clear, if it is.
    pub unreadable: Option<Unreadable>,
}

/// How far a search has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// So many bytes of the log.
    pub bytes_done: u64,
    /// Of so many.
    pub bytes_total: u64,
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
    /// The id as it stands in a body: only bodies that hold it are decoded.
    text: memmem::Finder<'static>,
    found: Option<Found>,
}

/// The decisions with those ids, in the order of the ids; none where the log in `directory` has none. Of several decisions of one
/// transaction, the newest.
pub fn find(
    directory: &Path,
    ids: &[String],
    mut each: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Option<Found>>, FindError> {
    if ids.len() > IDS_MAX {
        return Err(FindError::TooMany);
    }
    let mut wanted: Vec<Wanted<'_>> = ids
        .iter()
        .map(|id| {
            let quoted = serde_json::Value::from(id.as_str()).to_string();
            Wanted { id, text: memmem::Finder::new(quoted.as_bytes()).into_owned(), found: None }
        })
        .collect();
    let unreadable = |source| ReadError::Io { path: directory.to_owned(), source };
    let bodies = Bodies::beside(directory).map_err(unreadable)?;
    let segments = list_segments(directory).map_err(unreadable)?;
    let sizes = segments.iter().map(|first| std::fs::metadata(segment_path(directory, *first)));
    let sizes =
        sizes.map(|found| found.map(|it| it.len())).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let mut progress = Progress { bytes_done: 0, bytes_total: sizes.iter().sum() };
    let mut after = None;
    for (first, size) in segments.iter().copied().zip(sizes).rev() {
        let mut open: Vec<&mut Wanted<'_>> = wanted.iter_mut().filter(|it| it.found.is_none()).collect();
        if open.is_empty() {
            break;
        }
        let mut reader = LogReader::from_sequence(directory, first)?;
        if let Some(after) = after {
            reader.limit(after - 1);
        }
        let before = progress.bytes_done;
        while let Some(stored) = reader.next()? {
            if stored.header.kind == Kind::Decision {
                open.iter_mut().try_for_each(|it| it.look_at(&bodies, &stored))?;
            }
            if stored.header.sequence.is_multiple_of(RECORDS_PER_PROGRESS) {
                progress.bytes_done = before + stored.position.offset;
                if each(progress).is_break() {
                    return Err(FindError::Stopped);
                }
            }
        }
        progress.bytes_done = before + size;
        after = Some(first);
    }
    Ok(wanted.into_iter().map(|it| it.found).collect())
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
        let (id, recorded_at) = (self.id.to_owned(), stored.header.recorded_at);
        self.found = Some(Found { id, sequence, recorded_at, record, unreadable });
        Ok(())
    }
}

/// What stood on lists at a decision that was found.
#[derive(Clone, Debug, Default)]
pub struct ListsThen {
    /// For deciding it again.
    pub deciding: RunTimeLists,
    /// For asking what was never asked.
    pub explaining: RunTimeLists,
    /// In what they may be incomplete.
    pub note: Option<String>,
}

/// What stood on lists at a decision, by all of the log before it. A policy without lists needs no reading.
pub fn lists_then(
    directory: &Path,
    policy: &Policy,
    found: &Found,
    mut go_on: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<ListsThen, FindError> {
    if !StandingLists::matter_to(policy) {
        return Ok(ListsThen::default());
    }
    match StandingLists::before(directory, found.sequence, &mut go_on)? {
        ControlFlow::Break(()) => Err(FindError::Stopped),
        ControlFlow::Continue(standing) => Ok(ListsThen {
            deciding: standing.for_deciding(policy, &found.record),
            explaining: standing.with_found(&found.record),
            note: standing.note(),
        }),
    }
}
