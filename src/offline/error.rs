//! What can be wrong with a file, its mapping or one of its rows.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::evaluation::report::BadRow;

/// Most bad rows that are listed when they are skipped; the rest is only counted.
pub const SKIPPED_LISTED_MAX: usize = 20;
/// Most columns that a message names.
const COLUMNS_NAMED_MAX: usize = 40;

/// Why a file cannot be read, or cannot be read on.
#[derive(Debug, Error)]
pub enum InputError {
    /// The system says no.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `open`, `read`, `write`.
        action: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// A file name that does not say what is in it.
    #[error("{path}: the format is not clear from the name; expected .csv, .ndjson, .jsonl (each also with .gz) or .parquet", path = .0.display())]
    UnknownFormat(PathBuf),
    /// A Parquet file, and a build that cannot read it.
    #[error("{path}: this build reads and writes no Parquet; build it with `cargo build --release --features parquet`, or use CSV", path = .0.display())]
    ParquetNotBuilt(PathBuf),
    /// A file that is not what its name says.
    #[error("{path}: {detail}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The mapping is wrong.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The mapping names a column that the file does not have.
    #[error(transparent)]
    NoSuchColumn(Box<NoSuchColumn>),
    /// A row is wrong.
    #[error("{0}; `--skip-bad-rows` would skip and count such rows")]
    BadRow(Box<BadRow>),
    /// More than a bound allows.
    #[error("{path}: more than {max} {what}; {next}", path = path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
        /// What to do about it.
        next: &'static str,
    },
    /// Two sources of labels.
    #[error(
        "labels are asked for twice: the mapping has `label`, and there is a labels file; take one of them away"
    )]
    TwoSourcesOfLabels,
    /// A labels file, and a mapping that does not say how to read it.
    #[error("{0}: the mapping does not say how to read a labels file; add a section `labels`")]
    NoLabelsMapping(String),
}

/// Why a mapping is refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct MappingError {
    /// The mapping's file name.
    pub file: String,
    /// From 1; 0 when it concerns the whole file.
    pub line: u64,
    /// From 1; 0 when it concerns the whole file.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.detail)
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.detail)
        }
    }
}

/// A column that the mapping names and the file does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoSuchColumn {
    /// The file.
    pub file: String,
    /// Where the mapping names it, as `file:line:column`; empty without a mapping.
    pub named_at: String,
    /// Its name.
    pub name: String,
    /// What the file has.
    pub columns: Vec<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl std::error::Error for NoSuchColumn {}

impl fmt::Display for NoSuchColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.named_at.is_empty() {
            write!(f, "{}: ", self.named_at)?;
        }
        write!(f, "{} has no column {:?}", self.file, self.name)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean {suggestion:?}?")?;
        }
        let named = &self.columns[..self.columns.len().min(COLUMNS_NAMED_MAX)];
        write!(f, " (its columns: {}", named.join(", "))?;
        if named.len() < self.columns.len() {
            write!(f, " and {} more", self.columns.len() - named.len())?;
        }
        f.write_str(")")
    }
}

/// What is wrong with a row, before file and number are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowProblem {
    /// The column, if it is one.
    pub column: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl RowProblem {
    /// A problem of the whole row.
    pub fn row(reason: impl Into<String>) -> Self {
        Self { column: None, reason: reason.into() }
    }

    /// A problem of one column.
    pub fn column(column: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { column: Some(column.into()), reason: reason.into() }
    }
}

/// Why there is no next row.
#[derive(Debug)]
pub enum ReadError {
    /// This row is bad; the one after it can be read.
    Row(RowProblem),
    /// Nothing more can be read.
    File(InputError),
}

impl From<InputError> for ReadError {
    fn from(error: InputError) -> Self {
        Self::File(error)
    }
}

impl From<RowProblem> for ReadError {
    fn from(problem: RowProblem) -> Self {
        Self::Row(problem)
    }
}

/// What to do with bad rows, and what became of them.
#[derive(Clone, Debug, Default)]
pub struct BadRows {
    skip: bool,
    count: u64,
    first: Vec<BadRow>,
}

impl BadRows {
    /// `skip`: count bad rows and go on; otherwise the first one stops the run.
    pub const fn new(skip: bool) -> Self {
        Self { skip, count: 0, first: Vec::new() }
    }

    /// Takes note of a bad row, or makes an error of it.
    pub fn take(&mut self, file: &str, row: u64, problem: RowProblem) -> Result<(), InputError> {
        let bad = BadRow { file: file.to_owned(), row, column: problem.column, reason: problem.reason };
        if !self.skip {
            return Err(InputError::BadRow(Box::new(bad)));
        }
        self.count += 1;
        if self.first.len() < SKIPPED_LISTED_MAX {
            self.first.push(bad);
        }
        Ok(())
    }

    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, at most [`SKIPPED_LISTED_MAX`].
    pub fn first(&self) -> &[BadRow] {
        &self.first
    }
}
