//! Where somebody's data lies beside their keys: in which records, in clear in old ones, and in state snapshots.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memchr::memmem;
use serde::Serialize;

use crate::audit::bodies::sealed_with;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::LogReader;
use crate::pipeline::snapshot_directory::StateDirectory;

/// Bytes of a snapshot that are searched at once.
const READ_BYTES: usize = 1 << 20;
/// How many records pass between two questions whether to go on.
const RECORDS_PER_QUESTION: u64 = 256;

/// Records that an erasure concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Touched {
    /// Decisions whose personal data cannot be read any more; they are still counted.
    pub decisions: u64,
    /// Labels.
    pub labels: u64,
    /// Changes of lists.
    pub list_changes: u64,
    /// Reviews, whose notes are gone.
    pub reviews: u64,
    /// Records that name a value in clear, from before personal data was sealed: they stay readable.
    pub in_clear: u64,
    /// Whether the whole log was read to count them.
    pub is_complete: bool,
}

impl Touched {
    /// What somebody has to know of these numbers.
    pub fn note(&self) -> Option<String> {
        (self.in_clear > 0).then(|| {
            format!(
                "{} records from before personal data was sealed name an erased id in clear, and stay readable while the log holds them",
                self.in_clear
            )
        })
    }
}

/// Counts them up to the record `last`. `go_on` is asked now and then with the sequence of the last record read.
pub fn count(
    log_directory: &Path,
    last: u64,
    keys: &[u64],
    values: &[Box<str>],
    mut go_on: impl FnMut(u64) -> bool,
) -> Result<Touched, ReadError> {
    let mut touched = Touched::default();
    if last == 0 {
        return Ok(Touched { is_complete: true, ..touched });
    }
    // As they stand in JSON, with their quotes: another id may begin with this one.
    let quoted: Vec<memmem::Finder<'static>> = values
        .iter()
        .map(|value| {
            memmem::Finder::new(serde_json::Value::from(&**value).to_string().as_bytes()).into_owned()
        })
        .collect();
    let mut reader = LogReader::from_sequence_or_oldest(log_directory, 1)?;
    reader.limit(last);
    while let Some(stored) = reader.next()? {
        match sealed_with(&stored) {
            Some(key) if keys.binary_search(&key).is_ok() => match stored.header.kind {
                Kind::Decision => touched.decisions += 1,
                Kind::Label => touched.labels += 1,
                Kind::ListChange => touched.list_changes += 1,
                Kind::Review => touched.reviews += 1,
                _ => {}
            },
            Some(_) => {}
            None => touched.in_clear += u64::from(quoted.iter().any(|it| it.find(stored.body).is_some())),
        }
        let sequence = stored.header.sequence;
        if sequence.is_multiple_of(RECORDS_PER_QUESTION) && !go_on(sequence) {
            return Ok(touched);
        }
    }
    touched.is_complete = true;
    Ok(touched)
}

/// The state snapshots in a data directory that hold one of these values, by sequence.
pub fn snapshots_with(data: &Path, values: &[Box<str>]) -> Result<Vec<u64>, String> {
    let directory = StateDirectory::new(data);
    let mut found = Vec::new();
    for sequence in directory.sequences().map_err(|error| error.to_string())? {
        let file = directory.file(sequence);
        if holds(&file, values).map_err(|error| format!("{}: {error}", file.display()))? {
            found.push(sequence);
        }
    }
    Ok(found)
}

/// Removes them; says how many.
pub fn remove_snapshots(data: &Path, values: &[Box<str>]) -> Result<u64, String> {
    let (directory, found) = (StateDirectory::new(data), snapshots_with(data, values)?);
    let all = directory.sequences().map_err(|error| error.to_string())?;
    let kept: Vec<u64> = all.into_iter().filter(|sequence| !found.contains(sequence)).collect();
    directory.keep_only(&kept).map_err(|error| error.to_string())?;
    Ok(found.len() as u64)
}

fn holds(file: &Path, values: &[Box<str>]) -> io::Result<bool> {
    let finders: Vec<memmem::Finder<'_>> =
        values.iter().map(|value| memmem::Finder::new(value.as_bytes())).collect();
    let longest = values.iter().map(|value| value.len()).max().unwrap_or(0);
    let mut file = match File::open(file) {
        Ok(file) => file,
        // The thread that takes snapshots has just removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut buffer, mut kept) = (vec![0; READ_BYTES + longest], 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(false);
        }
        let end = kept + read;
        if finders.iter().any(|finder| finder.find(&buffer[..end]).is_some()) {
            return Ok(true);
        }
        // A value may begin at the end of this part.
        let from = end.saturating_sub(longest);
        buffer.copy_within(from..end, 0);
        kept = end - from;
    }
}
