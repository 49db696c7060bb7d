//! Making parts from the log.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::reader::Record;
use crate::search::facts::Facts;
use crate::search::file::PartFile;
use crate::search::memory::{MemoryPart, Stamp};
use crate::search::run::{Gap, Searcher};

/// How many records pass between two questions whether to go on.
const RECORDS_PER_QUESTION: u64 = 256;

/// Why parts are not made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A part cannot be written.
    #[error("a part of the search index cannot be written into {directory}: {source}")]
    Write {
        /// The directory.
        directory: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted; the parts that are done stay")]
    Stopped,
}

/// Makes the parts of a stretch of the log that `searcher` searches, and gives each to `done` when it is on disk. `each` is told the sequence and the
/// position of a record now and then.
pub fn build(
    searcher: &Searcher,
    directory: &Path,
    gap: Gap,
    mut each: impl FnMut(&Record<'_>) -> ControlFlow<()>,
    mut done: impl FnMut(Arc<PartFile>),
) -> Result<(), BuildError> {
    let key = searcher.key();
    let mut reader = gap.reader(searcher.log())?;
    let mut part = MemoryPart::new(reader.log_id());
    let mut write = |part: &MemoryPart| -> Result<(), BuildError> {
        let written = PartFile::write(directory, key, part);
        done(Arc::new(
            written.map_err(|source| BuildError::Write { directory: directory.to_owned(), source })?,
        ));
        Ok(())
    };
    while let Some(stored) = reader.next()? {
        if part.ends_before(stored.position.segment, stored.position.offset) {
            write(&part)?;
            part = MemoryPart::new(part.log_id);
        }
        let facts = Facts::read(searcher.bodies(), &stored);
        part.push(key, &Stamp::from(&stored), facts.as_ref().ok());
        if stored.header.sequence.is_multiple_of(RECORDS_PER_QUESTION) && each(&stored).is_break() {
            return Err(BuildError::Stopped);
        }
    }
    if part.is_empty() { Ok(()) } else { write(&part) }
}
