//! Parquet, read column by column in batches: flat columns and columns inside structs (named in dots); lists are refused.
//!
//! Timestamps that are adjusted to UTC are moments; others, dates and the legacy INT96 are local and need a `zone`. DECIMAL
//! columns keep their digits.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{AsBytes, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::offline::cell::Cell;
use crate::offline::error::InputError;
use crate::offline::input::COLUMNS_MAX;
use crate::offline::mapping::ColumnName;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8_192;
/// Most bytes of a text in a column; a longer one is cut, and refused by every field that it could be for.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The rows of a Parquet file.
pub struct ParquetRows {
    path: PathBuf,
    file: SerializedFileReader<File>,
    names: Vec<String>,
    rows_total: u64,
    next_row_group: usize,
    selected: Vec<Selected>,
    /// Rows of the current batch, and how many of them have been handed out.
    batch_rows: usize,
    batch_done: usize,
}

impl fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetRows")
            .field("path", &self.path)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

struct Selected {
    position: usize,
    kind: Kind,
    def_level_max: i16,
    reader: Option<ColumnReader>,
    cells: Vec<Cell>,
}

/// What a column's values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Bool,
    Int,
    Unsigned,
    Float,
    Double,
    Text,
    Decimal { scale: i32 },
    Timestamp { unit: TimeUnit, is_utc: bool },
    Date,
    Int96,
}

impl ParquetRows {
    /// Reads the file's footer.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let io = |source| InputError::Io { path: path.to_owned(), action: "open", source };
        let file =
            SerializedFileReader::new(File::open(path).map_err(io)?).map_err(|error| broken(path, &error))?;
        let metadata = file.metadata();
        let schema = metadata.file_metadata().schema_descr();
        if schema.num_columns() > COLUMNS_MAX {
            let detail = format!("has more than {COLUMNS_MAX} columns");
            return Err(InputError::Malformed { path: path.to_owned(), detail });
        }
        let names = schema.columns().iter().map(|column| column.path().string()).collect();
        let rows_total = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        Ok(Self {
            path: path.to_owned(),
            file,
            names,
            rows_total,
            next_row_group: 0,
            selected: Vec::new(),
            batch_rows: 0,
            batch_done: 0,
        })
    }

    /// The names of the columns; a column inside a struct is named in dots.
    pub fn columns(&self) -> &[String] {
        &self.names
    }

    /// How many rows the footer says there are.
    pub const fn rows_total(&self) -> u64 {
        self.rows_total
    }

    /// The columns that hold whole numbers by their type.
    pub fn integer_columns(&self) -> Vec<String> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        let is_integer = |at: usize| kind_of(&schema.column(at)) == Ok(Kind::Int);
        self.names
            .iter()
            .enumerate()
            .filter(|(at, _)| is_integer(*at))
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// Chooses columns, which must exist.
    pub fn select(&mut self, columns: &[ColumnName]) -> Result<(), InputError> {
        let schema = self.file.metadata().file_metadata().schema_descr_ptr();
        let mut selected = Vec::with_capacity(columns.len());
        for column in columns {
            let Some(position) = self.names.iter().position(|known| *known == column.name) else { continue };
            let descriptor = schema.column(position);
            let kind = kind_of(&descriptor).map_err(|what| InputError::Malformed {
                path: self.path.clone(),
                detail: format!("column {:?} holds {what}, which no field can take", column.name),
            })?;
            let def_level_max = descriptor.max_def_level();
            selected.push(Selected { position, kind, def_level_max, reader: None, cells: Vec::new() });
        }
        self.selected = selected;
        Ok(())
    }

    /// The cells of the next row; `false` at the end.
    pub fn next_cells(&mut self, cells: &mut Vec<Cell>) -> Result<bool, InputError> {
        if self.batch_done == self.batch_rows && !self.next_batch()? {
            return Ok(false);
        }
        let row = self.batch_done;
        cells.extend(self.selected.iter_mut().map(|column| std::mem::take(&mut column.cells[row])));
        self.batch_done += 1;
        Ok(true)
    }

    fn next_batch(&mut self) -> Result<bool, InputError> {
        self.batch_done = 0;
        loop {
            let rows = self.decode_batch().map_err(|error| broken(&self.path, &error))?;
            self.batch_rows = rows;
            if rows > 0 {
                return Ok(true);
            }
            if self.selected.is_empty() || self.next_row_group >= self.file.num_row_groups() {
                return Ok(false);
            }
            self.open_row_group().map_err(|error| broken(&self.path, &error))?;
        }
    }

    fn open_row_group(&mut self) -> Result<(), ParquetError> {
        let group = self.file.get_row_group(self.next_row_group)?;
        for column in &mut self.selected {
            column.reader = Some(group.get_column_reader(column.position)?);
        }
        self.next_row_group += 1;
        Ok(())
    }

    /// Decodes up to `BATCH_ROWS` rows of the current row group; 0 at its end.
    fn decode_batch(&mut self) -> Result<usize, ParquetError> {
        let mut rows = None;
        for column in &mut self.selected {
            column.cells.clear();
            column.decode()?;
            let count = column.cells.len();
            if rows.is_some_and(|rows| rows != count) {
                return Err(ParquetError::General("columns of one row group differ in length".to_owned()));
            }
            rows = Some(count);
        }
        Ok(rows.unwrap_or(0))
    }
}

fn broken(path: &Path, error: &ParquetError) -> InputError {
    InputError::Malformed { path: path.to_owned(), detail: format!("is no readable Parquet file: {error}") }
}

/// What the column's values are, or what they are instead.
fn kind_of(column: &ColumnDescriptor) -> Result<Kind, String> {
    if column.max_rep_level() > 0 {
        return Err("a list or a map".to_owned());
    }
    let physical = column.physical_type();
    let refuse = || Err(format!("{physical} values of type {:?}", column.logical_type_ref()));
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Decimal(decimal)), _) => return Ok(Kind::Decimal { scale: decimal.scale }),
        (None, ConvertedType::DECIMAL) => return Ok(Kind::Decimal { scale: column.type_scale() }),
        (Some(LogicalType::Timestamp(timestamp)), _) => {
            return Ok(Kind::Timestamp { unit: timestamp.unit, is_utc: timestamp.is_adjusted_to_u_t_c });
        }
        (None, ConvertedType::TIMESTAMP_MILLIS) => {
            return Ok(Kind::Timestamp { unit: TimeUnit::MILLIS, is_utc: true });
        }
        (None, ConvertedType::TIMESTAMP_MICROS) => {
            return Ok(Kind::Timestamp { unit: TimeUnit::MICROS, is_utc: true });
        }
        (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => return Ok(Kind::Date),
        (Some(LogicalType::Integer(integer)), _) if !integer.is_signed => return Ok(Kind::Unsigned),
        (
            None,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64,
        ) => {
            return Ok(Kind::Unsigned);
        }
        (Some(LogicalType::Time(_)), _) | (None, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => {
            return refuse();
        }
        _ => {}
    }
    match physical {
        PhysicalType::BOOLEAN => Ok(Kind::Bool),
        PhysicalType::INT32 | PhysicalType::INT64 => Ok(Kind::Int),
        PhysicalType::INT96 => Ok(Kind::Int96),
        PhysicalType::FLOAT => Ok(Kind::Float),
        PhysicalType::DOUBLE => Ok(Kind::Double),
        PhysicalType::BYTE_ARRAY => Ok(Kind::Text),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => refuse(),
    }
}

impl Selected {
    fn decode(&mut self) -> Result<(), ParquetError> {
        let (kind, def_level_max, cells) = (self.kind, self.def_level_max, &mut self.cells);
        match &mut self.reader {
            None => Ok(()),
            Some(ColumnReader::BoolColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| Cell::Bool(*value))
            }
            Some(ColumnReader::Int32ColumnReader(it)) => fill(it, def_level_max, cells, |value| match kind {
                // The bits of an unsigned value are stored as a signed one.
                Kind::Unsigned => Cell::Int(i64::from(value.cast_unsigned())),
                _ => of_integer(i64::from(*value), kind),
            }),
            Some(ColumnReader::Int64ColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| of_integer(*value, kind))
            }
            Some(ColumnReader::Int96ColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| Cell::Local(value.to_millis()))
            }
            Some(ColumnReader::FloatColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| Cell::from_float(*value))
            }
            Some(ColumnReader::DoubleColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| Cell::from_double(*value))
            }
            Some(ColumnReader::ByteArrayColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| of_bytes(value.as_bytes(), kind))
            }
            Some(ColumnReader::FixedLenByteArrayColumnReader(it)) => {
                fill(it, def_level_max, cells, |value| of_bytes(value.as_bytes(), kind))
            }
        }
    }
}

/// Decodes one batch of a column.
fn fill<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    def_level_max: i16,
    cells: &mut Vec<Cell>,
    to_cell: impl Fn(&T::T) -> Cell,
) -> Result<(), ParquetError> {
    let mut values = Vec::with_capacity(BATCH_ROWS);
    if def_level_max == 0 {
        reader.read_records(BATCH_ROWS, None, None, &mut values)?;
        cells.extend(values.iter().map(to_cell));
        return Ok(());
    }
    let mut levels = Vec::with_capacity(BATCH_ROWS);
    reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values)?;
    let mut values = values.iter();
    for level in levels {
        let value = if level == def_level_max { values.next() } else { None };
        cells.push(value.map_or(Cell::Missing, &to_cell));
    }
    Ok(())
}

fn of_integer(value: i64, kind: Kind) -> Cell {
    match kind {
        Kind::Decimal { scale } => decimal(i128::from(value), scale),
        Kind::Unsigned => match u64::try_from(value) {
            Ok(_) => Cell::Int(value),
            Err(_) => Cell::Number(value.cast_unsigned().to_string().into()),
        },
        Kind::Timestamp { unit, is_utc } => {
            let millis = match unit {
                TimeUnit::MILLIS => value,
                TimeUnit::MICROS => value.div_euclid(1_000),
                TimeUnit::NANOS => value.div_euclid(1_000_000),
            };
            if is_utc { Cell::Instant(millis) } else { Cell::Local(millis) }
        }
        Kind::Date => Cell::Local(value.saturating_mul(DAY_MS)),
        _ => Cell::Int(value),
    }
}

fn of_bytes(bytes: &[u8], kind: Kind) -> Cell {
    if let Kind::Decimal { scale } = kind {
        // Big-endian two's complement; sixteen bytes hold every amount that there is.
        if bytes.is_empty() || bytes.len() > 16 {
            return Cell::Number("out of range".into());
        }
        let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
        let mut wide = [sign; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        return decimal(i128::from_be_bytes(wide), scale);
    }
    let bytes = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    // What is no UTF-8 gets replacement characters: it stays one value of its own, and is never mistaken for another text
    // that is UTF-8.
    Cell::from_text(&String::from_utf8_lossy(bytes))
}

/// `unscaled` / 10^`scale`, in digits.
fn decimal(unscaled: i128, scale: i32) -> Cell {
    let Ok(scale) = usize::try_from(scale) else { return Cell::Number(unscaled.to_string().into()) };
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale.min(64) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale.min(64));
    let point = if fraction.is_empty() { "" } else { "." };
    Cell::Number(format!("{sign}{whole}{point}{fraction}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        let text = |unscaled, scale| match decimal(unscaled, scale) {
            Cell::Number(text) => text.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(5_716, 2), "57.16");
        assert_eq!(text(5, 2), "0.05");
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(5, 0), "5");
        assert_eq!(of_bytes(&[0xff, 0xfb], Kind::Decimal { scale: 2 }), Cell::Number("-0.05".into()));
        assert_eq!(of_integer(-1, Kind::Unsigned), Cell::Number("18446744073709551615".into()));
        assert_eq!(
            of_integer(-1, Kind::Timestamp { unit: TimeUnit::MICROS, is_utc: true }),
            Cell::Instant(-1)
        );
    }
}
