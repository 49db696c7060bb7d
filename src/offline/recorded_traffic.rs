//! Recorded decisions as traffic that rules are held against.

use std::path::Path;

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::LogReader;
use crate::audit::record::{DecisionRecord, RecordError, decode};
use crate::audit::segment::list_segments;
use crate::engine::doubts::count;
use crate::engine::policy::Policy;
use crate::feature::vector::FeatureVector;
use crate::rules::lint::traffic::Traffic;
use crate::rules::run_time::RunTimeLists;

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

/// Counts the newest `last` decisions of the log in `directory`.
pub fn recorded(directory: &Path, policy: &Policy, last: u64) -> Result<Traffic, TrafficError> {
    let (start, skipped) = newest(directory, last)?;
    let mut traffic = Traffic::new(&policy.rules);
    let mut seen = 0;
    each_decision(directory, start, |sequence, body| {
        seen += 1;
        if seen <= skipped || seen > skipped + last {
            return Ok(());
        }
        let wrong = |source| TrafficError::Record { sequence, source };
        let record: DecisionRecord = decode(body).map_err(wrong)?;
        let transaction = record.transaction().map_err(wrong)?;
        let is_same = record.answer.versions.features == policy.catalogue.sha256
            && record.features.len() == policy.catalogue.features.len();
        let features = FeatureVector::recorded(&record.features, &record.feature_texts);
        let features = is_same.then_some((&features, record.answer.score));
        count(
            &mut traffic,
            policy,
            &transaction,
            record.ip.as_ref(),
            features,
            &RunTimeLists::of(&record.listed),
        );
        Ok(())
    })?;
    Ok(traffic)
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
        each_decision(directory, start, |_, _| {
            decisions += 1;
            Ok(())
        })?;
        if decisions >= last || segments.first().is_none_or(|first| *first == start) {
            return Ok((start, decisions.saturating_sub(last)));
        }
        wanted = wanted.saturating_mul(2).max(1);
    }
}

fn each_decision(
    directory: &Path,
    start: u64,
    mut see: impl FnMut(u64, &[u8]) -> Result<(), TrafficError>,
) -> Result<(), TrafficError> {
    let mut reader = LogReader::from_sequence(directory, start)?;
    while let Some(record) = reader.next()? {
        if record.header.kind == Kind::Decision {
            see(record.header.sequence, record.body)?;
        }
    }
    Ok(())
}
