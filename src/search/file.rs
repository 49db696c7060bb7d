//! A part as a file: `<first sequence, 20 digits>.part`, never changed once it is there.
//!
//! ```text
//! page 0    magic F5 "TGIDX", format version (2 bytes), length of the header (2 bytes), the header (postcard)
//! rows      24 bytes for each record: offset 8, recorded at 8, score 4, kind 1, outcome 1, flags 1, zero 1
//! postings  for each key of several records their rows, rising: LEB128 of the first, then of the differences
//! keys      16 bytes for each key, sorted: hash 8, row or place in the postings 4, count 4
//! fan-out   4 bytes for each beginning of a hash: how many keys begin lower; and one more for all
//! reviewed  8 bytes for each review: the sequence of the decision that it is for
//! ```
//!
//! All numbers are little-endian; every page has a checksum (`paged`). A file says which log, which key and which last record it was
//! made from: one that does not fit is not used, and made again from the log.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::audit::receipt::{Head, LogId, Position, RecordHash};
use crate::search::key::SearchKey;
use crate::search::memory::{MemoryPart, PART_RECORDS_MAX};
use crate::search::paged::{self, PageError, PagedWriter};
use crate::search::part::Part;
use crate::search::row::{ROW_BYTES, Row};

/// How the names of part files end.
pub const PART_EXTENSION: &str = "part";
/// How the extensions of parts begin that are being written.
pub const UNFINISHED_PREFIX: &str = "new-";
/// The format version that is written and read.
pub const PART_FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 6] = *b"\xf5TGIDX";
const PREFIX_BYTES: usize = 10;
const KEY_BYTES: usize = 16;
/// Keys that share one beginning, on average.
const KEYS_PER_BUCKET: usize = 64;
const BUCKET_BITS_MAX: u32 = 20;
/// Rows of one chunk: 24 KiB.
const CHUNK_ROWS: u32 = 1_024;
/// Longest LEB128 of a row, as a part has less than 2^21 of them.
const POSTING_BYTES_MAX: usize = 3;

/// Why a file is no part that can be used.
#[derive(Debug, Error)]
pub enum PartError {
    /// It cannot be read, or its bytes are damaged.
    #[error("{path}: {source}", path = path.display())]
    Page {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PageError,
    },
    /// It is something else, or made by another version.
    #[error("{path}: it is no part of a search index that this version reads ({what})", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// What a file says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Header {
    log_id: [u8; 16],
    key_check: [u8; 16],
    segment: u64,
    first: u64,
    rows: u32,
    unread: u32,
    recorded_ms: (i64, i64),
    last_hash: [u8; 32],
    last_offset: u64,
    postings_at: u64,
    keys_at: u64,
    keys: u32,
    bucket_bits: u32,
    fan_out_at: u64,
    reviewed_at: u64,
    reviewed: u32,
}

/// A part in a file. Opening reads its header; each question reads the pages that it needs.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    header: Header,
    is_damaged: AtomicBool,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// The path of the part that begins with that record.
pub fn part_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{PART_EXTENSION}"))
}

impl PartFile {
    /// Writes a part, and opens the file. Under its own name it is seen only when it is whole.
    pub fn write(directory: &Path, key: &SearchKey, part: &MemoryPart) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = part_path(directory, part.first());
        // Two processes may make the same part: each writes a file of its own, and the names of both lead to the same bytes.
        let unfinished = path.with_extension(format!("{UNFINISHED_PREFIX}{}", std::process::id()));
        let written = Self::write_to(&unfinished, key, part);
        let header = written
            .and_then(|header| std::fs::rename(&unfinished, &path).map(|()| header))
            .inspect_err(|_| drop(std::fs::remove_file(&unfinished)))?;
        Ok(Self { path, header, is_damaged: AtomicBool::new(false) })
    }

    fn write_to(path: &Path, key: &SearchKey, part: &MemoryPart) -> io::Result<Header> {
        let mut out = PagedWriter::new(File::create(path)?)?;
        for row in part.all_rows() {
            out.write(&row.encode())?;
        }
        let postings_at = out.at();
        let mut keys: Vec<(u64, u32, u32)> = Vec::new();
        let mut bytes = Vec::new();
        for rows in part.sorted_keys().chunk_by(|(a, _), (b, _)| a == b) {
            let [(hash, first), more @ ..] = rows else { continue };
            let count = u32::try_from(rows.len()).map_err(io::Error::other)?;
            if more.is_empty() {
                keys.push((*hash, *first, count));
                continue;
            }
            let place = u32::try_from(out.at() - postings_at).map_err(io::Error::other)?;
            keys.push((*hash, place, count));
            bytes.clear();
            let mut before = 0;
            for (_, row) in rows {
                push_number(&mut bytes, row - before);
                before = *row;
            }
            out.write(&bytes)?;
        }
        let keys_at = out.at();
        for (hash, place, count) in &keys {
            out.write(&hash.to_le_bytes())?;
            out.write(&place.to_le_bytes())?;
            out.write(&count.to_le_bytes())?;
        }
        let fan_out_at = out.at();
        let bucket_bits = (keys.len() / KEYS_PER_BUCKET).max(1).ilog2().clamp(1, BUCKET_BITS_MAX);
        let mut lower = 0_u32;
        let mut rest = keys.as_slice();
        for bucket in 0..1_u64 << bucket_bits {
            out.write(&lower.to_le_bytes())?;
            let here = rest.partition_point(|(hash, ..)| hash >> (64 - bucket_bits) <= bucket);
            rest = &rest[here..];
            lower += u32::try_from(here).map_err(io::Error::other)?;
        }
        out.write(&lower.to_le_bytes())?;
        let reviewed_at = out.at();
        let reviewed = part.reviewed().map_err(io::Error::other)?;
        for sequence in &reviewed {
            out.write(&sequence.to_le_bytes())?;
        }
        let header = Header {
            log_id: part.log_id.0,
            key_check: key.check_value(),
            segment: part.segment(),
            first: part.first(),
            rows: part.rows(),
            unread: part.unread(),
            recorded_ms: part.recorded_ms(),
            last_hash: part.head().hash.0,
            last_offset: part.all_rows().last().map_or(0, |row| row.offset),
            postings_at,
            keys_at,
            keys: lower,
            bucket_bits,
            fan_out_at,
            reviewed_at,
            reviewed: u32::try_from(reviewed.len()).map_err(io::Error::other)?,
        };
        let body = postcard::to_stdvec(&header).map_err(io::Error::other)?;
        let mut page = MAGIC.to_vec();
        page.extend_from_slice(&PART_FORMAT_VERSION.to_le_bytes());
        page.extend_from_slice(&u16::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
        page.extend_from_slice(&body);
        out.finish(&page)?;
        Ok(header)
    }

    /// Opens a file: it must be whole, of this log and this key, and begin where its name says.
    pub fn open(directory: &Path, first: u64, log_id: LogId, key: &SearchKey) -> Result<Self, PartError> {
        let path = part_path(directory, first);
        let file = File::open(&path).map_err(PageError::from);
        let page = file.and_then(|file| paged::read_header(&file));
        let page = page.map_err(|source| PartError::Page { path: path.clone(), source })?;
        let foreign = |what| PartError::Foreign { path: path.clone(), what };
        if page[..6] != MAGIC {
            return Err(foreign("no such file"));
        }
        if u16::from_le_bytes(array(&page, 6)) != PART_FORMAT_VERSION {
            return Err(foreign("format version"));
        }
        let length = usize::from(u16::from_le_bytes(array(&page, 8)));
        let body = page.get(PREFIX_BYTES..PREFIX_BYTES + length).ok_or_else(|| foreign("header"))?;
        let header: Header = postcard::from_bytes(body).map_err(|_| foreign("header"))?;
        if header.log_id != log_id.0 {
            return Err(foreign("of another log"));
        }
        if header.key_check != key.check_value() {
            return Err(foreign("of another secret"));
        }
        let in_order = header.keys_at >= header.postings_at
            && header.fan_out_at >= header.keys_at
            && header.reviewed_at >= header.fan_out_at
            && (1..=BUCKET_BITS_MAX).contains(&header.bucket_bits);
        if header.first != first || header.rows == 0 || !in_order {
            return Err(foreign("header"));
        }
        Ok(Self { path, header, is_damaged: AtomicBool::new(false) })
    }

    /// Its last record, and where that lies.
    pub fn head(&self) -> (Head, Position) {
        let position = Position { segment: self.header.segment, offset: self.header.last_offset };
        (Head { sequence: self.last(), hash: RecordHash(self.header.last_hash) }, position)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many of its records could not be read when it was made.
    pub const fn unread(&self) -> u32 {
        self.header.unread
    }

    /// Notes that it did not say what the log says.
    pub fn set_damaged(&self) {
        self.is_damaged.store(true, Ordering::Release);
    }

    /// Whether that was noted.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Acquire)
    }

    fn file(&self) -> Result<File, PageError> {
        Ok(File::open(&self.path)?)
    }
}

impl Part for PartFile {
    fn segment(&self) -> u64 {
        self.header.segment
    }

    fn first(&self) -> u64 {
        self.header.first
    }

    fn rows(&self) -> u32 {
        self.header.rows
    }

    fn recorded_ms(&self) -> (i64, i64) {
        self.header.recorded_ms
    }

    fn postings(&self, key: u64) -> Result<Vec<u32>, PageError> {
        let (header, file) = (&self.header, self.file()?);
        let bucket = key >> (64 - header.bucket_bits);
        let ends = paged::read(&file, header.fan_out_at + 4 * bucket, 8)?;
        let (from, to) = (u32::from_le_bytes(array(&ends, 0)), u32::from_le_bytes(array(&ends, 4)));
        if from > to || to > header.keys {
            return Err(PageError::Damaged(0));
        }
        let keys = paged::read(
            &file,
            header.keys_at + u64::from(from) * KEY_BYTES as u64,
            usize::try_from(to - from).unwrap_or(0) * KEY_BYTES,
        )?;
        let found = keys.chunks_exact(KEY_BYTES).find(|entry| u64::from_le_bytes(array(entry, 0)) == key);
        let Some(entry) = found else { return Ok(Vec::new()) };
        let (place, count) = (u32::from_le_bytes(array(entry, 8)), u32::from_le_bytes(array(entry, 12)));
        if count == 1 {
            return Ok(vec![place]);
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let from = header.postings_at + u64::from(place);
        let left = usize::try_from(header.keys_at.saturating_sub(from)).unwrap_or(usize::MAX);
        let bytes = paged::read(&file, from, left.min(count.saturating_mul(POSTING_BYTES_MAX)))?;
        numbers(&bytes, count).ok_or(PageError::Damaged(0))
    }

    fn chunk(&self, row: u32) -> Result<(u32, Vec<Row>), PageError> {
        let first = row - row % CHUNK_ROWS;
        let count = self.header.rows.saturating_sub(first).min(CHUNK_ROWS);
        let bytes = usize::try_from(count).unwrap_or(0) * ROW_BYTES;
        let bytes = paged::read(&self.file()?, u64::from(first) * ROW_BYTES as u64, bytes)?;
        Ok((first, bytes.chunks_exact(ROW_BYTES).map(|row| Row::decode(&array(row, 0))).collect()))
    }

    fn reviewed(&self) -> Result<Vec<u64>, PageError> {
        let bytes = usize::try_from(self.header.reviewed).unwrap_or(0) * 8;
        let bytes = paged::read(&self.file()?, self.header.reviewed_at, bytes)?;
        Ok(bytes.chunks_exact(8).map(|it| u64::from_le_bytes(array(it, 0))).collect())
    }
}

/// LEB128.
fn push_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

/// Rising numbers from their differences.
fn numbers(bytes: &[u8], count: usize) -> Option<Vec<u32>> {
    let mut bytes = bytes.iter();
    let mut numbers = Vec::with_capacity(count.min(bytes.len()));
    let mut before = 0_u32;
    for _ in 0..count {
        let (mut number, mut shift) = (0_u32, 0);
        loop {
            let byte = *bytes.next()?;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        before = before.checked_add(number)?;
        numbers.push(before);
    }
    Some(numbers)
}

const _: () = assert!(PART_RECORDS_MAX < 1 << (7 * POSTING_BYTES_MAX));
