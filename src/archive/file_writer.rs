//! Writing one Parquet file of records: zstd, row groups of bounded size, Bloom filters over the ids.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{BloomFilterProperties, EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;

use crate::archive::error::ArchiveError;
use crate::archive::row::{Cell, Source};
use crate::archive::schema::{COLUMNS, Column, ColumnType, SCHEMA_VERSION, parquet_schema};
use crate::audit::frame::Frame;
use crate::audit::receipt::{LogId, RecordHash};

/// A row group is written when its records have that many bytes. It bounds what is in memory, and is what a reader decodes at a time.
const ROW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most rows of a row group.
const ROW_GROUP_ROWS_MAX: usize = 65_536;
/// The columns that people look single records up by: a Bloom filter says where they are not.
const BLOOM_COLUMNS: [&str; 2] = ["decision_id", "transaction_id"];
/// Of so many lookups of what is not there, one reads a row group for nothing.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// One column of the row group that is being filled.
struct Buffer {
    definition: Vec<i16>,
    /// Of lists alone.
    repetition: Vec<i16>,
    values: Values,
}

enum Values {
    Longs(Vec<i64>),
    Integers(Vec<i32>),
    Floats(Vec<f32>),
    Booleans(Vec<bool>),
    Bytes(Vec<ByteArray>),
}

impl Buffer {
    fn new(column: &Column) -> Self {
        let values = match column.column_type {
            ColumnType::Long | ColumnType::Timestamp | ColumnType::Amount => Values::Longs(Vec::new()),
            ColumnType::Integer => Values::Integers(Vec::new()),
            ColumnType::Float => Values::Floats(Vec::new()),
            ColumnType::Boolean => Values::Booleans(Vec::new()),
            ColumnType::Text | ColumnType::Texts | ColumnType::Bytes => Values::Bytes(Vec::new()),
        };
        Self { definition: Vec::new(), repetition: Vec::new(), values }
    }

    /// A value that the column's type cannot hold would be missing; `schema` gives none.
    fn push(&mut self, column: &Column, cell: Cell) {
        if let (Values::Bytes(values), Cell::Texts(texts)) = (&mut self.values, &cell) {
            for (index, text) in texts.iter().enumerate() {
                values.push(ByteArray::from(text.as_bytes().to_vec()));
                self.definition.push(column.present());
                self.repetition.push(i16::from(index > 0));
            }
            if texts.is_empty() {
                self.definition.push(1);
                self.repetition.push(0);
            }
            return;
        }
        let is_present = match (&mut self.values, cell) {
            (_, Cell::Null) => false,
            (Values::Longs(values), Cell::Int(number)) => {
                values.push(number);
                true
            }
            (Values::Integers(values), Cell::Int(number)) => {
                values.push(i32::try_from(number).unwrap_or(i32::MAX));
                true
            }
            (Values::Floats(values), Cell::Float(number)) => {
                values.push(number);
                true
            }
            (Values::Booleans(values), Cell::Bool(flag)) => {
                values.push(flag);
                true
            }
            (Values::Bytes(values), Cell::Text(text)) => {
                values.push(ByteArray::from(text.into_string().into_bytes()));
                true
            }
            (Values::Bytes(values), Cell::Bytes(bytes)) => {
                values.push(ByteArray::from(bytes));
                true
            }
            _ => false,
        };
        self.definition.push(if is_present { column.present() } else { 0 });
        self.repetition.push(0);
    }

    fn write(
        &mut self,
        column: &Column,
        group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    ) -> Result<(), ParquetError> {
        let definition = (!column.required).then_some(&self.definition[..]);
        let repetition = (column.column_type == ColumnType::Texts).then_some(&self.repetition[..]);
        match &mut self.values {
            Values::Longs(values) => write::<Int64Type>(group, values, definition, repetition)?,
            Values::Integers(values) => write::<Int32Type>(group, values, definition, repetition)?,
            Values::Floats(values) => write::<FloatType>(group, values, definition, repetition)?,
            Values::Booleans(values) => write::<BoolType>(group, values, definition, repetition)?,
            Values::Bytes(values) => write::<ByteArrayType>(group, values, definition, repetition)?,
        }
        self.definition.clear();
        self.repetition.clear();
        Ok(())
    }
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    values: &mut Vec<T::T>,
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, definition, repetition)?;
        column.close()?;
    }
    values.clear();
    Ok(())
}

/// A file that is being written, on this machine.
pub struct RecordsFile {
    path: PathBuf,
    name: String,
    writer: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Buffer>,
    group_rows: usize,
    group_bytes: usize,
    summary: Summary,
}

/// What a finished file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The first record.
    pub first_sequence: u64,
    /// The last record.
    pub last_sequence: u64,
    /// Its hash.
    pub last_hash: RecordHash,
    /// How many.
    pub rows: u64,
    /// Bytes of the records themselves.
    pub frame_bytes: u64,
    /// When the first was recorded, in milliseconds.
    pub recorded_min_ms: i64,
    /// When the last was, by time.
    pub recorded_max_ms: i64,
    /// Bytes of the file.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: RecordHash,
}

impl std::fmt::Debug for RecordsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordsFile")
            .field("path", &self.path)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

fn properties(log_id: LogId) -> WriterProperties {
    let note = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("tollgate ", env!("CARGO_PKG_VERSION")).to_owned())
        // Whole bodies: neither the same twice, nor of use as the bounds of a page.
        .set_column_dictionary_enabled(ColumnPath::from("frame"), false)
        .set_column_statistics_enabled(ColumnPath::from("frame"), EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![
            note("tollgate.log_id", log_id.to_string()),
            note("tollgate.schema", SCHEMA_VERSION.to_string()),
        ]));
    for column in BLOOM_COLUMNS {
        let filter = BloomFilterProperties::builder()
            .with_fpp(BLOOM_FALSE_POSITIVES)
            .with_max_ndv(ROW_GROUP_ROWS_MAX as u64)
            .build();
        builder = builder
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .set_column_bloom_filter_properties(ColumnPath::from(column), filter);
    }
    builder.build()
}

impl RecordsFile {
    /// Starts a file of records of that log.
    pub fn create(path: PathBuf, log_id: LogId) -> Result<Self, ArchiveError> {
        let name = path.display().to_string();
        let file = File::create(&path).map_err(ArchiveError::local(&path, "make it"))?;
        let parquet = ArchiveError::parquet(&name);
        let schema = parquet_schema().map_err(&parquet)?;
        let writer = SerializedFileWriter::new(BufWriter::new(file), schema, Arc::new(properties(log_id)));
        let summary = Summary {
            first_sequence: 0,
            last_sequence: 0,
            last_hash: RecordHash([0; 32]),
            rows: 0,
            frame_bytes: 0,
            recorded_min_ms: i64::MAX,
            recorded_max_ms: i64::MIN,
            bytes: 0,
            blake3: RecordHash([0; 32]),
        };
        Ok(Self {
            writer: writer.map_err(&parquet)?,
            path,
            name,
            columns: COLUMNS.iter().map(Buffer::new).collect(),
            group_rows: 0,
            group_bytes: 0,
            summary,
        })
    }

    /// Notes the header of a segment that begins in this file: with it, the records give the segment again, also without the manifest.
    pub fn note_segment(&mut self, first_sequence: u64, header: &[u8]) {
        let hex = header.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let key = format!("tollgate.segment_header.{first_sequence}");
        self.writer.append_key_value_metadata(KeyValue::new(key, hex));
    }

    /// Adds a record whose bytes are `bytes`. `true` when a row group was written: a moment to rest.
    pub fn push(
        &mut self,
        frame: &Frame<'_>,
        bytes: &[u8],
        hash: RecordHash,
        segment: u64,
    ) -> Result<bool, ArchiveError> {
        let source = Source::new(frame, bytes, segment);
        for (column, buffer) in COLUMNS.iter().zip(&mut self.columns) {
            buffer.push(column, (column.value)(&source));
        }
        let summary = &mut self.summary;
        if summary.rows == 0 {
            summary.first_sequence = frame.header.sequence;
        }
        let recorded_ms = frame.header.recorded_at.unix_millis();
        summary.last_sequence = frame.header.sequence;
        summary.last_hash = hash;
        summary.rows += 1;
        summary.frame_bytes += bytes.len() as u64;
        summary.recorded_min_ms = summary.recorded_min_ms.min(recorded_ms);
        summary.recorded_max_ms = summary.recorded_max_ms.max(recorded_ms);
        self.group_rows += 1;
        self.group_bytes += bytes.len();
        if self.group_rows < ROW_GROUP_ROWS_MAX && self.group_bytes < ROW_GROUP_BYTES_MAX {
            return Ok(false);
        }
        self.write_row_group()?;
        Ok(true)
    }

    fn write_row_group(&mut self) -> Result<(), ArchiveError> {
        let parquet = ArchiveError::parquet(&self.name);
        let mut group = self.writer.next_row_group().map_err(&parquet)?;
        for (column, buffer) in COLUMNS.iter().zip(&mut self.columns) {
            buffer.write(column, &mut group).map_err(&parquet)?;
        }
        group.close().map_err(&parquet)?;
        self.group_rows = 0;
        self.group_bytes = 0;
        Ok(())
    }

    /// Completes the file, and says what it holds.
    pub fn finish(mut self) -> Result<Summary, ArchiveError> {
        if self.group_rows > 0 {
            self.write_row_group()?;
        }
        let parquet = ArchiveError::parquet(&self.name);
        let file = self.writer.into_inner().map_err(&parquet)?;
        file.into_inner().map_err(|error| ArchiveError::local(&self.path, "write it")(error.into_error()))?;
        let (blake3, bytes) = hash_file(&self.path)?;
        Ok(Summary { bytes, blake3, ..self.summary })
    }
}

/// The BLAKE3 of a file, and its length.
pub fn hash_file(path: &Path) -> Result<(RecordHash, u64), ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::local(path, "open it"))?;
    hash_reader(file).map_err(ArchiveError::local(path, "read it"))
}

/// The BLAKE3 of all that a reader gives, and how many bytes that was.
pub(crate) fn hash_reader(mut input: impl Read) -> std::io::Result<(RecordHash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok((RecordHash(*hasher.finalize().as_bytes()), bytes)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
