//! Which checkpoint covers a record, as the data directory says it. Proves nothing: `tollgate audit prove` does.

use std::path::Path;

use serde::Serialize;

use crate::audit::checkpoint::CheckpointRecord;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::LogReader;
use crate::audit::verify_tree::CHECKPOINT_DISTANCE_MAX;
use crate::cli::output::say;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::pipeline::tree::{Signed, TREE_DIRECTORY};
use crate::proof::checkpoint::Checkpoint;
use crate::proof::note::Note;

/// The newest signed checkpoint, where it covers the record.
#[derive(Debug, Serialize)]
pub(super) struct CoveredBy {
    /// The name of the log in it.
    origin: String,
    /// It covers the records 1 to this one.
    size: u64,
    /// Who signed it: name and id of each key.
    signed_by: Vec<String>,
    /// When it was recorded, in RFC 3339; none where the log does not hold it (yet).
    recorded_at: Option<String>,
    /// The record that holds it.
    sequence: Option<u64>,
}

/// The newest checkpoint under `data`, if it covers the record `sequence`.
pub(super) fn covered_by(data: &Path, sequence: u64) -> anyhow::Result<Option<CoveredBy>> {
    let signed = Signed::read(&data.join(TREE_DIRECTORY))?;
    let Some(Signed { checkpoint, note }) = signed.filter(|signed| signed.checkpoint.size >= sequence) else {
        return Ok(None);
    };
    let signatures = Note::parse(&note)?.signatures;
    let signed_by = signatures.iter().map(|it| format!("{}+{:08x}", it.name, it.id)).collect();
    let recorded = recorded(&data.join(LOG_DIRECTORY), &checkpoint)?;
    let (recorded_at, sequence) = recorded.unzip();
    Ok(Some(CoveredBy { origin: checkpoint.origin, size: checkpoint.size, signed_by, recorded_at, sequence }))
}

/// When it was recorded, and in which record: shortly after the last one that it covers.
fn recorded(log: &Path, checkpoint: &Checkpoint) -> Result<Option<(String, u64)>, ReadError> {
    let mut reader = match LogReader::from_sequence(log, checkpoint.size + 1) {
        Ok(reader) => reader,
        Err(ReadError::NotThere { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    reader.limit(checkpoint.size.saturating_add(CHECKPOINT_DISTANCE_MAX));
    while let Some(record) = reader.next()? {
        if record.header.kind != Kind::Checkpoint {
            continue;
        }
        let found = CheckpointRecord::decode(record.body).ok();
        let found = found.and_then(|found| Checkpoint::read_unverified(&found.note).ok());
        if found.is_some_and(|found| found == *checkpoint) {
            return Ok(Some((record.header.recorded_at.to_string(), record.header.sequence)));
        }
    }
    Ok(None)
}

/// Prints it, for the record `sequence`.
pub(super) fn print(covered: Option<&CoveredBy>, sequence: u64) {
    let Some(CoveredBy { size, signed_by, recorded_at, sequence: record, .. }) = covered else {
        say!("    covered   by no checkpoint that is kept here: by the hash chain alone");
        return;
    };
    let when = match (recorded_at, record) {
        (Some(at), Some(record)) => format!(", at {at} (record {record})"),
        _ => ", and not recorded in this log".to_owned(),
    };
    say!(
        "    covered   by the checkpoint of records 1 to {size}, signed by {}{when}",
        signed_by.join(" and ")
    );
    say!("    tollgate audit prove {sequence} proves it");
}
