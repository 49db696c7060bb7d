//! A checkpoint of the Delta log: one Parquet file with the protocol, the table's metadata and every file that it has.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use crate::archive::error::ArchiveError;

/// Row 0 has the protocol, row 1 the metadata, and each other one a file.
const SCHEMA: &str = "message checkpoint {
  optional group protocol {
    required int32 minReaderVersion;
    required int32 minWriterVersion;
  }
  optional group metaData {
    optional binary id (STRING);
    optional binary name (STRING);
    optional group format {
      optional binary provider (STRING);
      optional group options (MAP) {
        repeated group key_value { required binary key (STRING); optional binary value (STRING); }
      }
    }
    optional binary schemaString (STRING);
    optional group partitionColumns (LIST) { repeated group list { optional binary element (STRING); } }
    optional group configuration (MAP) {
      repeated group key_value { required binary key (STRING); optional binary value (STRING); }
    }
    optional int64 createdTime;
  }
  optional group add {
    required binary path (STRING);
    optional group partitionValues (MAP) {
      repeated group key_value { required binary key (STRING); optional binary value (STRING); }
    }
    required int64 size;
    required int64 modificationTime;
    required boolean dataChange;
    optional binary stats (STRING);
  }
}";

/// Writes it, and says how many rows it has.
pub(crate) fn write(path: &Path, metadata: &Value, adds: &[Value]) -> Result<u64, ArchiveError> {
    let name = path.display().to_string();
    let file = File::create(path).map_err(ArchiveError::local(path, "make it"))?;
    let attempt = || {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(file, schema, properties)?;
        let mut group = writer.next_row_group()?;
        Rows { group: &mut group, adds }.write(&metadata["metaData"])?;
        group.close()?;
        writer.close()
    };
    attempt().map_err(ArchiveError::parquet(&name))?;
    Ok(adds.len() as u64 + 2)
}

struct Rows<'a, 'b> {
    group: &'a mut SerializedRowGroupWriter<'b, File>,
    adds: &'a [Value],
}

fn string(value: &Value) -> ByteArray {
    ByteArray::from(value.as_str().unwrap_or_default().as_bytes().to_vec())
}

fn long(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

impl Rows<'_, '_> {
    /// All columns, in the order of the schema. Each says at which level its value stands in the rows that have it; the empty maps of
    /// the metadata have no value, and stop one level above it.
    fn write(&mut self, metadata: &Value) -> Result<(), ParquetError> {
        self.once::<Int32Type>(0, 1, Some(1), false)?;
        self.once::<Int32Type>(0, 1, Some(2), false)?;
        self.once::<ByteArrayType>(1, 2, Some(string(&metadata["id"])), false)?;
        self.once::<ByteArrayType>(1, 2, Some(string(&metadata["name"])), false)?;
        self.once::<ByteArrayType>(1, 3, Some(string(&metadata["format"]["provider"])), false)?;
        self.once::<ByteArrayType>(1, 3, None, true)?;
        self.once::<ByteArrayType>(1, 3, None, true)?;
        self.once::<ByteArrayType>(1, 2, Some(string(&metadata["schemaString"])), false)?;
        self.once::<ByteArrayType>(1, 4, Some(string(&metadata["partitionColumns"][0])), true)?;
        self.once::<ByteArrayType>(1, 2, None, true)?;
        self.once::<ByteArrayType>(1, 2, None, true)?;
        self.once::<Int64Type>(1, 2, Some(long(&metadata["createdTime"])), false)?;
        self.each::<ByteArrayType>(1, |add| string(&add["path"]), false)?;
        self.each::<ByteArrayType>(3, |_| ByteArray::from("date"), true)?;
        self.each::<ByteArrayType>(4, |add| string(&add["partitionValues"]["date"]), true)?;
        self.each::<Int64Type>(1, |add| long(&add["size"]), false)?;
        self.each::<Int64Type>(1, |add| long(&add["modificationTime"]), false)?;
        self.each::<BoolType>(1, |_| false, false)?;
        self.each::<ByteArrayType>(2, |add| string(&add["stats"]), false)
    }

    /// A column that has a value in one row.
    fn once<T: DataType>(
        &mut self,
        row: usize,
        level: i16,
        value: Option<T::T>,
        repeated: bool,
    ) -> Result<(), ParquetError> {
        let mut levels = vec![0; self.adds.len() + 2];
        levels[row] = level;
        self.column::<T>(&value.into_iter().collect::<Vec<_>>(), &levels, repeated)
    }

    /// A column that has a value in the row of each file.
    fn each<T: DataType>(
        &mut self,
        level: i16,
        value: impl Fn(&Value) -> T::T,
        repeated: bool,
    ) -> Result<(), ParquetError> {
        let mut levels = vec![level; self.adds.len() + 2];
        levels[..2].fill(0);
        let values: Vec<T::T> = self.adds.iter().map(|add| value(&add["add"])).collect();
        self.column::<T>(&values, &levels, repeated)
    }

    fn column<T: DataType>(
        &mut self,
        values: &[T::T],
        levels: &[i16],
        repeated: bool,
    ) -> Result<(), ParquetError> {
        let repetition = vec![0; levels.len()];
        if let Some(mut column) = self.group.next_column()? {
            column.typed::<T>().write_batch(values, Some(levels), repeated.then_some(&repetition[..]))?;
            column.close()?;
        }
        Ok(())
    }
}
