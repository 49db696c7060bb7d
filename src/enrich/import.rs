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
    /// Lines or rows read, blank ones included.
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
    /// A cell that holds no text, number or flag.
    #[error(
        "column {0:?} must hold texts, numbers or flags; a time has no form of its own here: write it as text"
    )]
    NotText(String),
    /// The rows of a file cannot be read.
    #[error("{0}")]
    Rows(String),
    /// A name, id or value outside its bounds.
    #[error("{0}")]
    Record(#[from] ProfileRecordError),
    /// The store refused.
    #[error("{0}")]
    Store(#[from] ProfileError),
}

/// Profiles on their way into a store, in batches. Reading blocks the thread: this is for the command line, not for a serving thread.
#[derive(Debug)]
pub struct Importer<'s, S> {
    source: &'s S,
    batch: Vec<ProfileRecord>,
    batch_bytes: usize,
    /// How far it has come; `lines` may be rows.
    pub done: ImportProgress,
}

impl<'s, S: ProfileSource> Importer<'s, S> {
    /// Nothing yet.
    pub fn new(source: &'s S) -> Self {
        Self { source, batch: Vec::new(), batch_bytes: 0, done: ImportProgress::default() }
    }

    /// Takes the next line of the input, which may be blank; says whether a batch was stored.
    pub async fn take(&mut self, record: Option<ProfileRecord>, bytes: usize) -> Result<bool, ImportError> {
        self.done.lines += 1;
        self.done.bytes += bytes as u64;
        self.batch.extend(record);
        self.batch_bytes += bytes;
        let is_full =
            self.batch.len() >= IMPORT_BATCH_RECORDS_MAX || self.batch_bytes >= IMPORT_BATCH_BYTES_MAX;
        if is_full {
            self.store().await?;
        }
        Ok(is_full)
    }

    /// Stores what is left.
    pub async fn store(&mut self) -> Result<(), ImportError> {
        let count = self.batch.len() as u64;
        let (line, stored) = (self.done.lines, self.done.stored);
        self.source.put_many(std::mem::take(&mut self.batch)).await.map_err(|error| ImportError {
            line,
            stored,
            fault: error.into(),
        })?;
        self.done.stored += count;
        self.batch_bytes = 0;
        Ok(())
    }

    /// The next line is wrong: stores what was good before it, so that the message tells the truth.
    pub async fn stop(mut self, fault: ImportFault) -> ImportError {
        match self.store().await {
            Ok(()) => ImportError { line: self.done.lines + 1, stored: self.done.stored, fault },
            Err(error) => error,
        }
    }
}

/// Reads profiles from `reader` and stores them, in batches; tells `progress` after each.
pub async fn import_ndjson<R: BufRead, S: ProfileSource>(
    mut reader: R,
    source: &S,
    mut progress: impl FnMut(ImportProgress),
) -> Result<ImportProgress, ImportError> {
    let mut importer = Importer::new(source);
    let mut line = Vec::new();
    loop {
        let read = match read_line(&mut reader, &mut line) {
            Ok(0) => break,
            Ok(read) => read,
            Err(fault) => return Err(importer.stop(fault).await),
        };
        match parse_line(&line) {
            Ok(record) => {
                if importer.take(record, read).await? {
                    progress(importer.done);
                }
            }
            Err(fault) => return Err(importer.stop(fault).await),
        }
    }
    importer.store().await?;
    progress(importer.done);
    Ok(importer.done)
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
