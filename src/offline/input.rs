//! Opens a file of rows, whatever its format, and hands out the cells of one row after the other.
//!
//! Memory is bounded: by the longest line or record, or by one batch of a Parquet row group.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use crate::expr::suggest::nearest;
use crate::offline::cell::Cell;
use crate::offline::error::{InputError, NoSuchColumn, ReadError};
use crate::offline::input_csv::CsvRows;
use crate::offline::input_ndjson::NdjsonRows;
#[cfg(feature = "parquet")]
use crate::offline::input_parquet::ParquetRows;
use crate::offline::mapping::ColumnName;

/// Longest line of NDJSON, longest record of CSV, in bytes.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Most columns of a file.
pub const COLUMNS_MAX: usize = 4_096;
/// How much is read from the system at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// What is in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Comma-separated values (RFC 4180) with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// What a file's name says is in it, and whether it is gzipped. `-`, the standard input, holds NDJSON.
    pub fn of_path(path: &Path) -> Result<(Self, bool), InputError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().to_ascii_lowercase();
        let (stem, is_gzip) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
        let extension = stem.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension {
            "csv" => Ok((Self::Csv, is_gzip)),
            "ndjson" | "jsonl" | "json" => Ok((Self::Ndjson, is_gzip)),
            "parquet" | "pq" if !is_gzip => Ok((Self::Parquet, false)),
            _ if name == "-" => Ok((Self::Ndjson, false)),
            _ => Err(InputError::UnknownFormat(path.to_owned())),
        }
    }
}

/// How far reading has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Rows handed out so far.
    pub rows: u64,
    /// How much of the file is done, in bytes, or in rows where the file says how many it has.
    pub done: u64,
    /// How much there is, in the same unit; `None` when nobody knows.
    pub total: Option<u64>,
}

/// An open file of rows.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    format: RowsFormat,
    integer_columns: Vec<String>,
    rows: u64,
}

#[derive(Debug)]
enum RowsFormat {
    Csv(CsvRows),
    Ndjson(NdjsonRows),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetRows>),
}

impl Rows {
    /// Opens a file; `-` is the standard input.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let (format, is_gzip) = Format::of_path(path)?;
        let format = match format {
            Format::Csv => RowsFormat::Csv(CsvRows::new(path, ByteSource::open(path, is_gzip)?)?),
            Format::Ndjson => RowsFormat::Ndjson(NdjsonRows::new(path, ByteSource::open(path, is_gzip)?)),
            #[cfg(feature = "parquet")]
            Format::Parquet => RowsFormat::Parquet(Box::new(ParquetRows::open(path)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(InputError::ParquetNotBuilt(path.to_owned())),
        };
        let integer_columns = match &format {
            RowsFormat::Csv(_) | RowsFormat::Ndjson(_) => Vec::new(),
            #[cfg(feature = "parquet")]
            RowsFormat::Parquet(rows) => rows.integer_columns(),
        };
        Ok(Self { path: path.to_owned(), format, integer_columns, rows: 0 })
    }

    /// The file's name, as messages call it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The columns, if the format has a header. NDJSON has none: its objects may differ.
    pub fn columns(&self) -> Option<&[String]> {
        match &self.format {
            RowsFormat::Csv(rows) => Some(rows.columns()),
            RowsFormat::Ndjson(_) => None,
            #[cfg(feature = "parquet")]
            RowsFormat::Parquet(rows) => Some(rows.columns()),
        }
    }

    /// Whether the column holds whole numbers by its type.
    pub fn is_integer_column(&self, name: &str) -> bool {
        self.integer_columns.iter().any(|known| known == name)
    }

    /// Chooses the columns whose cells [`Rows::next_cells`] hands out. Every one must exist.
    pub fn select(&mut self, columns: &[ColumnName]) -> Result<(), InputError> {
        if let Some(known) = self.columns() {
            for column in columns {
                let times = known.iter().filter(|known| **known == column.name).count();
                if times == 0 {
                    return Err(no_such_column(&self.path, column, known));
                }
                if times > 1 {
                    let detail = format!("has {times} columns called {:?}; rename one of them", column.name);
                    return Err(InputError::Malformed { path: self.path.clone(), detail });
                }
            }
        }
        match &mut self.format {
            RowsFormat::Csv(rows) => {
                rows.select(columns);
                Ok(())
            }
            RowsFormat::Ndjson(rows) => rows.select(columns),
            #[cfg(feature = "parquet")]
            RowsFormat::Parquet(rows) => rows.select(columns),
        }
    }

    /// The cells of the next row, in the order of [`Rows::select`]; `false` at the end.
    pub fn next_cells(&mut self, cells: &mut Vec<Cell>) -> Result<bool, ReadError> {
        cells.clear();
        let result = match &mut self.format {
            RowsFormat::Csv(rows) => rows.next_cells(cells),
            RowsFormat::Ndjson(rows) => rows.next_cells(cells),
            #[cfg(feature = "parquet")]
            RowsFormat::Parquet(rows) => rows.next_cells(cells).map_err(ReadError::File),
        };
        self.count(&result, |found| *found);
        result
    }

    /// The next row of an NDJSON file as it is; `None` at the end, and for a file of columns.
    pub fn next_object(&mut self) -> Result<Option<Value>, ReadError> {
        let RowsFormat::Ndjson(rows) = &mut self.format else { return Ok(None) };
        let result = rows.next_object();
        self.count(&result, Option::is_some);
        result
    }

    fn count<T>(&mut self, result: &Result<T, ReadError>, is_row: impl FnOnce(&T) -> bool) {
        let is_row = match result {
            Ok(row) => is_row(row),
            Err(ReadError::Row(_)) => true,
            Err(ReadError::File(_)) => false,
        };
        self.rows += u64::from(is_row);
    }

    /// The number of the row handed out last, from 1.
    pub const fn row(&self) -> u64 {
        self.rows
    }

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        let (done, total) = match &self.format {
            RowsFormat::Csv(rows) => rows.bytes(),
            RowsFormat::Ndjson(rows) => rows.bytes(),
            #[cfg(feature = "parquet")]
            RowsFormat::Parquet(rows) => (self.rows, Some(rows.rows_total())),
        };
        Progress { rows: self.rows, done, total }
    }
}

/// The error for a column that is not there.
pub fn no_such_column(path: &Path, column: &ColumnName, known: &[String]) -> InputError {
    InputError::NoSuchColumn(Box::new(NoSuchColumn {
        file: path.display().to_string(),
        named_at: column.named_at.clone(),
        name: column.name.clone(),
        columns: known.to_vec(),
        suggestion: nearest(&column.name, known.iter().map(String::as_str)),
    }))
}

/// The bytes of a file, unzipped, with a count of how much of the file they took.
pub struct ByteSource {
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
    /// How many bytes of the file have been read.
    pub done: Arc<AtomicU64>,
    /// How long the file is; `None` for the standard input.
    pub total: Option<u64>,
}

impl std::fmt::Debug for ByteSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteSource")
            .field("done", &self.done)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl ByteSource {
    fn open(path: &Path, is_gzip: bool) -> Result<Self, InputError> {
        let done = Arc::new(AtomicU64::new(0));
        if path.as_os_str() == "-" {
            let reader = Counted { inner: std::io::stdin(), done: Arc::clone(&done) };
            return Ok(Self { reader: Box::new(reader), done, total: None });
        }
        let io = |source| InputError::Io { path: path.to_owned(), action: "open", source };
        let file = File::open(path).map_err(io)?;
        let total = file.metadata().map_err(io)?.len();
        let counted = Counted { inner: file, done: Arc::clone(&done) };
        let reader: Box<dyn Read + Send> = if is_gzip {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, counted)))
        } else {
            Box::new(counted)
        };
        Ok(Self { reader, done, total: Some(total) })
    }
}

struct Counted<R> {
    inner: R,
    done: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.done.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_format() {
        let cases = [
            ("a.csv", Some((Format::Csv, false))),
            ("a.b.CSV.gz", Some((Format::Csv, true))),
            ("x/a.ndjson", Some((Format::Ndjson, false))),
            ("a.jsonl.gz", Some((Format::Ndjson, true))),
            ("a.parquet", Some((Format::Parquet, false))),
            ("-", Some((Format::Ndjson, false))),
            ("a.parquet.gz", None),
            ("a", None),
            ("a.xlsx", None),
        ];
        for (name, expected) in cases {
            assert_eq!(Format::of_path(Path::new(name)).ok(), expected, "{name}");
        }
    }
}
