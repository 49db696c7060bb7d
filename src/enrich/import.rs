//! Profiles from NDJSON into a store: `{"entity":"customer","id":"c_7","lifetime_orders":5,"last_country":"DE"}`.
//!
//! Besides `entity` and `id`, every member is a field: a string, a number or a boolean replaces the stored value, `null`
//! removes it, and fields that are not named stay. Blank lines are skipped. The first wrong line stops the import; the lines
//! before it are stored, and importing the corrected file again is safe.

use std::io::{self, BufRead, Read as _};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::enrich::record::{ProfileRecord, ProfileRecordError};
use crate::enrich::source::{ProfileError, ProfileSource};

/// Longest line, in bytes, without its end.
pub const IMPORT_LINE_BYTES_MAX: usize = 256 * 1024;
/// Most profiles that are written together.
pub const IMPORT_BATCH_RECORDS_MAX: usize = 512;
/// A batch that holds this much is written, in bytes of input. Small enough to pass a slow network before the connection
/// behind it is taken for stalled.
pub const IMPORT_BATCH_BYTES_MAX: usize = 256 * 1024;

/// How far an import is, or how far it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportProgress {
    /// Lines read, blank ones included.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Profiles stored.
    pub stored: u64,
}

/// Why an import stopped.
#[derive(Debug, Error)]
#[error("line {line}: {fault} ({stored} profiles were stored before; importing again is safe)")]
pub struct ImportError {
    /// The line at fault, from 1; for a failed write, the last line of its batch.
    pub line: u64,
    /// Profiles stored before.
    pub stored: u64,
    /// What is wrong.
    #[source]
    pub fault: ImportFault,
}

/// What is wrong with a line, or with what surrounds it.
#[derive(Debug, Error)]
pub enum ImportFault {
    /// The input could not be read.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// A line without end.
    #[error("longer than {IMPORT_LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Not one JSON object.
    #[error("not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// `entity` or `id` is not there, or is no string.
    #[error("{0:?} must be there, and a string")]
    Key(&'static str),
    /// A list or an object as a value.
    #[error("field {0:?} must be a string, a number, a boolean or null")]
    NotScalar(String),
    /// A name, id or value outside its bounds.
    #[error("{0}")]
    Record(#[from] ProfileRecordError),
    /// The store refused.
    #[error("{0}")]
    Store(#[from] ProfileError),
}

/// Reads profiles from `reader` and stores them, in batches; tells `progress` after each. Reading blocks the thread: this is
/// for the command line, not for a serving thread.
pub async fn import_ndjson<R: BufRead, S: ProfileSource>(
    mut reader: R,
    source: &S,
    mut progress: impl FnMut(ImportProgress),
) -> Result<ImportProgress, ImportError> {
    let mut done = ImportProgress::default();
    let mut line = Vec::new();
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    loop {
        let read = match read_line(&mut reader, &mut line) {
            Ok(read) => read,
            Err(fault) => return Err(stop(source, batch, done, fault).await),
        };
        let is_end = read == 0;
        if !is_end {
            done.lines += 1;
            done.bytes += read as u64;
            match parse_line(&line) {
                Ok(Some(record)) => batch.push(record),
                Ok(None) => {}
                Err(fault) => {
                    // The fault is of this line, which is already counted.
                    done.lines -= 1;
                    return Err(stop(source, batch, done, fault).await);
                }
            }
            batch_bytes += read;
        }
        if is_end || batch.len() >= IMPORT_BATCH_RECORDS_MAX || batch_bytes >= IMPORT_BATCH_BYTES_MAX {
            let count = batch.len() as u64;
            source.put_many(std::mem::take(&mut batch)).await.map_err(|error| ImportError {
                line: done.lines,
                stored: done.stored,
                fault: error.into(),
            })?;
            done.stored += count;
            batch_bytes = 0;
            progress(done);
        }
        if is_end {
            return Ok(done);
        }
    }
}

/// Stores what was good before the fault, so that the message tells the truth.
async fn stop<S: ProfileSource>(
    source: &S,
    batch: Vec<ProfileRecord>,
    done: ImportProgress,
    fault: ImportFault,
) -> ImportError {
    let count = batch.len() as u64;
    match source.put_many(batch).await {
        Ok(()) => ImportError { line: done.lines + 1, stored: done.stored + count, fault },
        Err(error) => ImportError { line: done.lines, stored: done.stored, fault: error.into() },
    }
}

/// One line with its end into `line`; the number of bytes read, 0 at the end of the input.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<usize, ImportFault> {
    line.clear();
    let read = reader.by_ref().take(IMPORT_LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.len() > IMPORT_LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        return Err(ImportFault::TooLong);
    }
    Ok(read)
}

fn parse_line(line: &[u8]) -> Result<Option<ProfileRecord>, ImportFault> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let members: Map<String, Value> = serde_json::from_slice(line)?;
    let text_of = |name: &'static str| match members.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        _ => Err(ImportFault::Key(name)),
    };
    let (entity, id) = (text_of("entity")?, text_of("id")?);
    let mut fields: Vec<(&str, Option<std::borrow::Cow<'_, str>>)> = Vec::with_capacity(members.len());
    for (name, value) in &members {
        let value = match value {
            _ if name == "entity" || name == "id" => continue,
            Value::Null => None,
            Value::String(text) => Some(text.as_str().into()),
            Value::Bool(flag) => Some(if *flag { "true" } else { "false" }.into()),
            Value::Number(number) => Some(number.to_string().into()),
            Value::Array(_) | Value::Object(_) => {
                return Err(ImportFault::NotScalar(name.chars().take(64).collect()));
            }
        };
        fields.push((name, value));
    }
    let fields = fields.iter().map(|(name, value)| (*name, value.as_deref()));
    Ok(Some(ProfileRecord::new(entity, id, fields)?))
}
