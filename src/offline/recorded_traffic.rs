//! Recorded decisions as traffic that rules are held against.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;

use thiserror::Error;

use crate::audit::bodies::{Bodies, Opened};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::RecordError;
use crate::audit::segment::list_segments;
use crate::engine::doubts::count;
use crate::engine::policy::Policy;
use crate::evaluation::standing::StandingLists;
use crate::feature::vector::FeatureVector;
use crate::rules::lint::traffic::Traffic;

/// How many decisions are read when nobody says.
pub const DECISIONS_DEFAULT: u64 = 100_000;

/// Why recorded decisions cannot be read.
#[derive(Debug, Error)]
pub enum TrafficError {
    /// The log.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record of it.
    #[error("record {sequence}: {source}")]
    Record {
        /// Its sequence.
        sequence: u64,
        /// What is wrong with it.
        source: RecordError,
    },
}

/// What recorded decisions say of rules.
#[derive(Debug)]
pub struct RecordedTraffic {
    /// The counts.
    pub traffic: Traffic,
    /// In what the lists at run time may have been incomplete that the rules were given.
    pub lists_note: Option<String>,
}

/// Counts the newest `last` decisions of the log in `directory`. The rules may ask for what nobody asked then: what stood on lists
/// is read from the start of the log.
pub fn recorded(directory: &Path, policy: &Policy, last: u64) -> Result<RecordedTraffic, TrafficError> {
    let bodies =
        Bodies::beside(directory).map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
    let (start, skipped) = newest(directory, last)?;
    let asks = StandingLists::matter_to(policy);
    let mut lists = if asks { lists_before(directory, start)? } else { StandingLists::default() };
    let mut traffic = Traffic::new(&policy.rules);
    let mut seen = 0;
    let mut reader = LogReader::from_sequence(directory, start)?;
    while let Some(stored) = reader.next()? {
        let sequence = stored.header.sequence;
        let wrong = |source| TrafficError::Record { sequence, source };
        lists.take(&bodies, &stored).map_err(wrong)?;
        if stored.header.kind != Kind::Decision {
            continue;
        }
        seen += 1;
        if seen <= skipped {
            continue;
        }
        if seen > skipped + last {
            break;
        }
        count_one(&mut traffic, policy, &lists, &bodies, &stored).map_err(wrong)?;
    }
    let lists_note = lists.note().filter(|_| asks);
    Ok(RecordedTraffic { traffic, lists_note })
}

fn count_one(
    traffic: &mut Traffic,
    policy: &Policy,
    lists: &StandingLists,
    bodies: &Bodies,
    stored: &Record<'_>,
) -> Result<(), RecordError> {
    // What was erased says nothing of what rules would find.
    let Opened::Whole(record) = bodies.decision(stored)? else { return Ok(()) };
    let transaction = record.transaction()?;
    let is_same = record.answer.versions.features == policy.catalogue.sha256
        && record.features.len() == policy.catalogue.features.len();
    let features = FeatureVector::recorded(&record.features, &record.feature_texts);
    let features = is_same.then_some((&features, record.answer.score));
    count(traffic, policy, &transaction, record.ip.as_ref(), features, &lists.with_found(&record));
    Ok(())
}

fn lists_before(directory: &Path, start: u64) -> Result<StandingLists, ReadError> {
    let go_on = |_| ControlFlow::<Infallible>::Continue(());
    let ControlFlow::Continue(lists) = StandingLists::before(directory, start, go_on)?;
    Ok(lists)
}

/// From which sequence to read, and how many decisions to leave out from there, so that the newest `last` are left. Older segments
/// are only looked at when the newer ones hold fewer.
fn newest(directory: &Path, last: u64) -> Result<(u64, u64), TrafficError> {
    let segments =
        list_segments(directory).map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
    let newest = segments.last().copied().unwrap_or(1);
    let mut wanted = last;
    loop {
        let start = segments.iter().rev().copied().find(|first| newest - first >= wanted);
        let start = start.or(segments.first().copied()).unwrap_or(1);
        let mut decisions = 0_u64;
        let mut reader = LogReader::from_sequence(directory, start)?;
        while let Some(stored) = reader.next()? {
            decisions += u64::from(stored.header.kind == Kind::Decision);
        }
        if decisions >= last || segments.first().is_none_or(|first| *first == start) {
            return Ok((start, decisions.saturating_sub(last)));
        }
        wanted = wanted.saturating_mul(2).max(1);
    }
}
