//! Reading the records back out of a Parquet file of the archive.

use std::fs::File;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::archive::error::ArchiveError;

/// Rows that are decoded at once. A record has at most about a mebibyte.
const BATCH_ROWS: usize = 64;

/// Gives each record's bytes to `see`, in the order of the file, and makes sure that the column `sequence` says the same as the row's place:
/// from `first_sequence` on, without gaps. Says how many there were. `path` is what errors call it.
pub fn each_frame(
    file: File,
    path: &str,
    first_sequence: u64,
    see: &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>,
) -> Result<u64, ArchiveError> {
    let parquet = ArchiveError::parquet(path);
    let file = SerializedFileReader::new(file).map_err(&parquet)?;
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let position = |name: &str| {
        let found = (0..schema.num_columns()).find(|at| schema.column(*at).path().string() == name);
        found.ok_or_else(|| ArchiveError::damaged(path, format!("it has no column {name}")))
    };
    let (sequence_at, frame_at) = (position("sequence")?, position("frame")?);
    let mut rows = 0;
    for at in 0..file.num_row_groups() {
        let group = file.get_row_group(at).map_err(&parquet)?;
        let mut sequences = long_column(&*group, sequence_at, path)?;
        let mut frames = byte_column(&*group, frame_at, path)?;
        loop {
            let (mut numbers, mut bodies): (Vec<i64>, Vec<ByteArray>) = (Vec::new(), Vec::new());
            let (read, _, _) = frames.read_records(BATCH_ROWS, None, None, &mut bodies).map_err(&parquet)?;
            sequences.read_records(BATCH_ROWS, None, None, &mut numbers).map_err(&parquet)?;
            if read == 0 {
                break;
            }
            if numbers.len() != bodies.len() {
                return Err(ArchiveError::damaged(path, "its columns differ in length"));
            }
            for (number, body) in numbers.iter().zip(&bodies) {
                if u64::try_from(*number) != Ok(first_sequence + rows) {
                    let what =
                        format!("row {rows} is of record {number}, not of record {}", first_sequence + rows);
                    return Err(ArchiveError::damaged(path, what));
                }
                see(body.data())?;
                rows += 1;
            }
        }
    }
    Ok(rows)
}

fn long_column(
    group: &dyn RowGroupReader,
    at: usize,
    path: &str,
) -> Result<ColumnReaderImpl<Int64Type>, ArchiveError> {
    match group.get_column_reader(at).map_err(ArchiveError::parquet(path))? {
        ColumnReader::Int64ColumnReader(column) => Ok(column),
        _ => Err(ArchiveError::damaged(path, "its column sequence is not of whole numbers")),
    }
}

fn byte_column(
    group: &dyn RowGroupReader,
    at: usize,
    path: &str,
) -> Result<ColumnReaderImpl<ByteArrayType>, ArchiveError> {
    match group.get_column_reader(at).map_err(ArchiveError::parquet(path))? {
        ColumnReader::ByteArrayColumnReader(column) => Ok(column),
        _ => Err(ArchiveError::damaged(path, "its column frame is not of bytes")),
    }
}
