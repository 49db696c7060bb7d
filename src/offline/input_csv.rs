//! CSV (RFC 4180): a header, commas, quotes where needed, UTF-8. An empty field is missing.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use crate::offline::cell::Cell;
use crate::offline::error::{InputError, ReadError, RowProblem};
use crate::offline::input::{ByteSource, COLUMNS_MAX, LINE_BYTES_MAX};
use crate::offline::mapping::ColumnName;

/// How much is parsed at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// The rows of a CSV file.
pub struct CsvRows {
    path: PathBuf,
    reader: csv::Reader<Rationed>,
    columns: Vec<String>,
    selected: Vec<(usize, String)>,
    record: ByteRecord,
    ration: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    total: Option<u64>,
}

impl fmt::Debug for CsvRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvRows")
            .field("path", &self.path)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl CsvRows {
    /// Reads the header.
    pub fn new(path: &Path, source: ByteSource) -> Result<Self, InputError> {
        let ration = Arc::new(AtomicU64::new(0));
        let reader = Rationed { inner: source.reader, left: Arc::clone(&ration) };
        let mut reader =
            ReaderBuilder::new().flexible(true).buffer_capacity(BUFFER_BYTES).from_reader(reader);
        refill(&ration);
        let header = reader.byte_headers().map_err(|error| file_error(path, error))?;
        let malformed =
            |detail: &str| InputError::Malformed { path: path.to_owned(), detail: detail.to_owned() };
        if header.is_empty() {
            return Err(malformed("is empty; expected a header with the names of the columns"));
        }
        if header.len() > COLUMNS_MAX {
            return Err(malformed("has more than 4096 columns"));
        }
        let names: Result<Vec<_>, _> =
            header.iter().map(|name| std::str::from_utf8(name).map(str::trim)).collect();
        let names = names.map_err(|_| malformed("the header is not UTF-8"))?;
        let columns = names.into_iter().map(str::to_owned).collect();
        Ok(Self {
            path: path.to_owned(),
            reader,
            columns,
            selected: Vec::new(),
            record: ByteRecord::new(),
            ration,
            done: source.done,
            total: source.total,
        })
    }

    /// The names in the header.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Chooses columns, which must exist.
    pub fn select(&mut self, columns: &[ColumnName]) {
        let position = |name: &str| self.columns.iter().position(|known| known == name);
        self.selected =
            columns.iter().filter_map(|it| position(&it.name).map(|at| (at, it.name.clone()))).collect();
    }

    /// The cells of the next row; `false` at the end.
    pub fn next_cells(&mut self, cells: &mut Vec<Cell>) -> Result<bool, ReadError> {
        refill(&self.ration);
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| file_error(&self.path, error))? {
            return Ok(false);
        }
        if self.record.len() != self.columns.len() {
            let (fields, columns) = (self.record.len(), self.columns.len());
            let reason = format!(
                "has {fields} fields, and the header has {columns}; a comma or a quote is missing or too many"
            );
            return Err(RowProblem::row(reason).into());
        }
        for (position, name) in &self.selected {
            let field = self.record.get(*position).unwrap_or_default();
            let text =
                std::str::from_utf8(field).map_err(|_| RowProblem::column(name.clone(), "is not UTF-8"))?;
            cells.push(Cell::from_text(text));
        }
        Ok(true)
    }

    /// Bytes of the file read, and how many there are.
    pub fn bytes(&self) -> (u64, Option<u64>) {
        (self.done.load(Ordering::Relaxed), self.total)
    }
}

fn file_error(path: &Path, error: csv::Error) -> InputError {
    match error.into_kind() {
        ErrorKind::Io(source) => InputError::Io { path: path.to_owned(), action: "read", source },
        other => InputError::Malformed { path: path.to_owned(), detail: format!("{other:?}") },
    }
}

/// Allows the parser to read one more record.
fn refill(ration: &AtomicU64) {
    ration.store((LINE_BYTES_MAX + BUFFER_BYTES) as u64, Ordering::Relaxed);
}

/// Refuses to read on when one record has taken more than its share: a quote that is never closed must not fill the memory.
struct Rationed {
    inner: Box<dyn Read + Send>,
    left: Arc<AtomicU64>,
}

impl Read for Rationed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            let detail = format!("a record is longer than {LINE_BYTES_MAX} bytes; is a quote never closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        let length = self.inner.read(buffer)?;
        self.left.store(left.saturating_sub(length as u64), Ordering::Relaxed);
        Ok(length)
    }
}
