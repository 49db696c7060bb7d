//! Writes feature tables: the transaction's id, then one column per feature. What is missing is an empty field or a null.
//!
//! A table is written under a name of its own and takes the asked-for name only when it is complete, so that a run that was
//! broken off leaves no half a table that looks whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use thiserror::Error;

use crate::domain::value::{Value, ValueType};
use crate::offline::input::{COLUMNS_MAX, Format};
#[cfg(feature = "parquet")]
use crate::offline::output_parquet::ParquetTable;

/// How much is written to the system at once, in bytes.
const WRITE_BYTES: usize = 1024 * 1024;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnType {
    /// Whole numbers; `true` is 1.
    Int64,
    /// Numbers.
    Double,
    /// Texts, and moments in RFC 3339.
    Text,
}

impl ColumnType {
    /// The column that holds a feature of that type.
    pub const fn of(value_type: ValueType) -> Self {
        match value_type {
            ValueType::Bool | ValueType::Int => Self::Int64,
            ValueType::Double => Self::Double,
            ValueType::Text | ValueType::Time | ValueType::Duration => Self::Text,
        }
    }
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub column_type: ColumnType,
}

/// Why a table cannot be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The system says no.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// A name that does not say the format.
    #[error("{path}: the format is not clear from the name; expected .csv, .csv.gz or .parquet", path = .0.display())]
    UnknownFormat(PathBuf),
    /// A Parquet file, and a build that cannot write it.
    #[error("{path}: this build reads and writes no Parquet; build it with `cargo build --release --features parquet`, or use .csv", path = .0.display())]
    ParquetNotBuilt(PathBuf),
    /// Something that the format cannot hold.
    #[error("{path}: {detail}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What, and where.
        detail: String,
    },
}

/// A table that is being written.
pub struct FeatureTable {
    path: PathBuf,
    partial: PathBuf,
    columns: Vec<Column>,
    sink: Option<Sink>,
    rows: u64,
}

impl std::fmt::Debug for FeatureTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeatureTable")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

enum Sink {
    Csv(Box<csv::Writer<CsvFile>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetTable>),
}

enum CsvFile {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl FeatureTable {
    /// Starts a table. The first column is the transaction id's: `Text`, or `Int64` where the input holds whole numbers.
    pub fn create(path: &Path, columns: Vec<Column>) -> Result<Self, OutputError> {
        let unwritable = |detail: String| OutputError::Unwritable { path: path.to_owned(), detail };
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(unwritable(format!(
                "two columns would be called {:?}; rename the input's id column",
                pair[0]
            )));
        }
        if columns.len() > COLUMNS_MAX {
            return Err(unwritable(format!("would have more than {COLUMNS_MAX} columns")));
        }
        let (format, is_gzip) =
            Format::of_path(path).map_err(|_| OutputError::UnknownFormat(path.to_owned()))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let io = |source| OutputError::Io { path: path.to_owned(), source };
        let create =
            || File::create(&partial).map(|file| BufWriter::with_capacity(WRITE_BYTES, file)).map_err(io);
        let sink = match format {
            Format::Ndjson => return Err(OutputError::UnknownFormat(path.to_owned())),
            Format::Csv => {
                let file = create()?;
                let file = if is_gzip {
                    CsvFile::Gzip(GzEncoder::new(file, Compression::fast()))
                } else {
                    CsvFile::Plain(file)
                };
                let mut writer = csv::Writer::from_writer(file);
                let names = columns.iter().map(|column| column.name.as_str());
                writer.write_record(names).map_err(|error| csv_error(path, error))?;
                Sink::Csv(Box::new(writer))
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                let table = ParquetTable::new(create()?, &columns);
                Sink::Parquet(Box::new(table.map_err(|error| unwritable(error.to_string()))?))
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(OutputError::ParquetNotBuilt(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), partial, columns, sink: Some(sink), rows: 0 })
    }

    /// Writes a row: the transaction's id, and as many values as there are features.
    pub fn write_row(&mut self, transaction_id: &str, values: &[Value<'_>]) -> Result<(), OutputError> {
        let unwritable = |detail: String| OutputError::Unwritable { path: self.path.clone(), detail };
        if values.len() + 1 != self.columns.len() {
            let detail = format!("a row has {} values for {} features", values.len(), self.columns.len() - 1);
            return Err(unwritable(detail));
        }
        let id = match self.columns[0].column_type {
            ColumnType::Int64 => Value::Int(transaction_id.parse().map_err(|_| {
                unwritable(format!("the transaction id {transaction_id:?} is no whole number"))
            })?),
            ColumnType::Double | ColumnType::Text => Value::Text(transaction_id),
        };
        for (value, column) in values.iter().zip(&self.columns[1..]) {
            if !fits(value, column.column_type) {
                return Err(unwritable(format!("the column {:?} cannot hold {value:?}", column.name)));
            }
        }
        match &mut self.sink {
            None => return Err(unwritable("is closed already".to_owned())),
            Some(Sink::Csv(writer)) => {
                for (value, column) in std::iter::once(&id).chain(values).zip(&self.columns) {
                    let text = csv_field(value, column.column_type);
                    writer.write_field(text.as_bytes()).map_err(|error| csv_error(&self.path, error))?;
                }
                writer.write_record(None::<&[u8]>).map_err(|error| csv_error(&self.path, error))?;
            }
            #[cfg(feature = "parquet")]
            Some(Sink::Parquet(table)) => {
                for (position, value) in std::iter::once(&id).chain(values).enumerate() {
                    table.push(position, value);
                }
                table.end_row().map_err(|error| unwritable(error.to_string()))?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// How many rows have been written.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the table and gives it its name.
    pub fn finish(mut self) -> Result<u64, OutputError> {
        let io = |source| OutputError::Io { path: self.path.clone(), source };
        let file = match self.sink.take() {
            None => return Ok(self.rows),
            Some(Sink::Csv(writer)) => match writer.into_inner().map_err(|error| io(error.into_error()))? {
                CsvFile::Plain(file) => file,
                CsvFile::Gzip(encoder) => encoder.finish().map_err(io)?,
            },
            #[cfg(feature = "parquet")]
            Some(Sink::Parquet(table)) => table.finish().map_err(|error| OutputError::Unwritable {
                path: self.path.clone(),
                detail: error.to_string(),
            })?,
        };
        file.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
        std::fs::rename(&self.partial, &self.path).map_err(io)?;
        Ok(self.rows)
    }
}

impl Drop for FeatureTable {
    fn drop(&mut self) {
        if self.sink.take().is_some() {
            // The run was broken off; that its half a table cannot be removed changes nothing about that.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

impl Write for CsvFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

fn csv_error(path: &Path, error: csv::Error) -> OutputError {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => OutputError::Io { path: path.to_owned(), source },
        other => OutputError::Unwritable { path: path.to_owned(), detail: format!("{other:?}") },
    }
}

/// Whether a column of that type can hold the value.
const fn fits(value: &Value<'_>, column_type: ColumnType) -> bool {
    match column_type {
        ColumnType::Int64 => matches!(value, Value::Missing | Value::Bool(_) | Value::Int(_)),
        ColumnType::Double => {
            matches!(value, Value::Missing | Value::Bool(_) | Value::Int(_) | Value::Double(_))
        }
        ColumnType::Text => true,
    }
}

/// A value in CSV. A double is written with the fewest digits that read back as the same double.
fn csv_field(value: &Value<'_>, column_type: ColumnType) -> String {
    match (column_type, value) {
        (_, Value::Missing) => String::new(),
        (ColumnType::Int64, Value::Bool(flag)) => u8::from(*flag).to_string(),
        (ColumnType::Double, value @ (Value::Bool(_) | Value::Int(_))) => format!("{:?}", value.as_f64()),
        (_, Value::Double(number)) => format!("{number:?}"),
        (_, value) => value.to_string(),
    }
}
