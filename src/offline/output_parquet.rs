//! A feature table in Parquet: nullable columns, zstd, row groups of bounded size.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::domain::value::Value;
use crate::offline::output::{Column, ColumnType};

/// Most cells of a row group: some 64 MB of doubles.
const ROW_GROUP_CELLS_MAX: usize = 8_000_000;
/// Most rows of a row group.
const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Fewest rows of a row group, however many columns there are.
const ROW_GROUP_ROWS_MIN: usize = 1_024;
/// Most bytes of texts in a row group.
const ROW_GROUP_TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A Parquet file that is being written.
pub struct ParquetTable {
    writer: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Buffer>,
    rows: usize,
    rows_max: usize,
    text_bytes: usize,
}

/// One column of the row group that is being filled: which rows have a value (definition level 1), and the values.
struct Buffer {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl ParquetTable {
    /// Starts the file.
    pub fn new(file: BufWriter<File>, columns: &[Column]) -> Result<Self, ParquetError> {
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let builder = match column.column_type {
                ColumnType::Int64 => Type::primitive_type_builder(&column.name, PhysicalType::INT64),
                ColumnType::Double => Type::primitive_type_builder(&column.name, PhysicalType::DOUBLE),
                ColumnType::Text => Type::primitive_type_builder(&column.name, PhysicalType::BYTE_ARRAY)
                    .with_logical_type(Some(LogicalType::String)),
            };
            fields.push(Arc::new(builder.with_repetition(Repetition::OPTIONAL).build()?));
        }
        let schema = Arc::new(Type::group_type_builder("features").with_fields(fields).build()?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("tollgate ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let buffers = columns.iter().map(|column| Buffer {
            levels: Vec::new(),
            values: match column.column_type {
                ColumnType::Int64 => Values::Int64(Vec::new()),
                ColumnType::Double => Values::Double(Vec::new()),
                ColumnType::Text => Values::Text(Vec::new()),
            },
        });
        let rows_max = ROW_GROUP_CELLS_MAX / columns.len().max(1);
        Ok(Self {
            writer: SerializedFileWriter::new(file, schema, Arc::new(properties))?,
            columns: buffers.collect(),
            rows: 0,
            rows_max: rows_max.clamp(ROW_GROUP_ROWS_MIN, ROW_GROUP_ROWS_MAX),
            text_bytes: 0,
        })
    }

    /// Adds a value to a column of the present row. The caller has made sure that it fits; one that does not is missing.
    pub fn push(&mut self, position: usize, value: &Value<'_>) {
        let Some(Buffer { levels, values }) = self.columns.get_mut(position) else { return };
        let is_present = match (values, value) {
            (_, Value::Missing) => false,
            (Values::Int64(column), Value::Int(number)) => {
                column.push(*number);
                true
            }
            (Values::Int64(column), Value::Bool(flag)) => {
                column.push(i64::from(*flag));
                true
            }
            (Values::Double(column), Value::Int(_) | Value::Bool(_) | Value::Double(_)) => {
                column.push(value.as_f64());
                true
            }
            (Values::Text(column), value) => {
                let text = value.to_string();
                self.text_bytes += text.len();
                column.push(ByteArray::from(text.into_bytes()));
                true
            }
            (Values::Int64(_) | Values::Double(_), _) => false,
        };
        levels.push(i16::from(is_present));
    }

    /// Ends the present row.
    pub fn end_row(&mut self) -> Result<(), ParquetError> {
        self.rows += 1;
        if self.rows >= self.rows_max || self.text_bytes >= ROW_GROUP_TEXT_BYTES_MAX {
            self.write_row_group()?;
        }
        Ok(())
    }

    fn write_row_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for Buffer { levels, values } in &mut self.columns {
            match values {
                Values::Int64(values) => write_column::<Int64Type>(&mut group, values, levels)?,
                Values::Double(values) => write_column::<DoubleType>(&mut group, values, levels)?,
                Values::Text(values) => write_column::<ByteArrayType>(&mut group, values, levels)?,
            }
        }
        group.close()?;
        self.rows = 0;
        self.text_bytes = 0;
        Ok(())
    }

    /// Completes the file.
    pub fn finish(mut self) -> Result<BufWriter<File>, ParquetError> {
        if self.rows > 0 {
            self.write_row_group()?;
        }
        self.writer.into_inner()
    }
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    values: &mut Vec<T::T>,
    levels: &mut Vec<i16>,
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, Some(levels), None)?;
        column.close()?;
    }
    values.clear();
    levels.clear();
    Ok(())
}
