//! NDJSON: one JSON object per line. Blank lines are passed over.
//!
//! A mapping's column is a key of the object, or a path of keys in dots. Numbers keep the digits that they are written with,
//! so that an amount never passes through a float.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::offline::cell::Cell;
use crate::offline::error::{InputError, ReadError, RowProblem};
use crate::offline::input::{ByteSource, LINE_BYTES_MAX, no_such_column};
use crate::offline::mapping::ColumnName;

/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes of the file's beginning that are searched for the columns of a mapping.
const PEEKED_BYTES_MAX: usize = 4 * LINE_BYTES_MAX;
/// Lines of the file's beginning that are searched for the columns of a mapping.
const PEEKED_LINES_MAX: usize = 1_000;

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// The rows of an NDJSON file.
pub struct NdjsonRows {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    peeked: std::collections::VecDeque<Vec<u8>>,
    line: Vec<u8>,
    selected: Vec<String>,
    done: Arc<AtomicU64>,
    total: Option<u64>,
}

impl fmt::Debug for NdjsonRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdjsonRows")
            .field("path", &self.path)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

enum Line {
    Read,
    TooLong,
    End,
}

impl NdjsonRows {
    /// Starts at the beginning.
    pub fn new(path: &Path, source: ByteSource) -> Self {
        Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(BUFFER_BYTES, source.reader),
            peeked: std::collections::VecDeque::new(),
            line: Vec::new(),
            selected: Vec::new(),
            done: source.done,
            total: source.total,
        }
    }

    /// Chooses columns. One that none of the first lines has does not exist.
    pub fn select(&mut self, columns: &[ColumnName]) -> Result<(), InputError> {
        self.selected = columns.iter().map(|column| column.name.clone()).collect();
        self.peek()?;
        let mut is_found = vec![false; columns.len()];
        let mut keys = std::collections::BTreeSet::new();
        let mut is_object = false;
        for line in &self.peeked {
            let Ok(object) = serde_json::from_slice::<Object<'_>>(line) else { continue };
            is_object = true;
            for (found, name) in is_found.iter_mut().zip(&self.selected) {
                *found = *found || find(&object, name).is_some();
            }
            keys.extend(object.keys().map(|key| key.to_string()));
        }
        match columns.iter().zip(is_found).find(|(_, found)| !found) {
            Some((column, _)) if is_object => {
                let keys: Vec<String> = keys.into_iter().collect();
                Err(no_such_column(&self.path, column, &keys))
            }
            _ => Ok(()),
        }
    }

    /// Reads the file's first lines into `peeked`.
    fn peek(&mut self) -> Result<(), InputError> {
        let mut bytes = 0;
        while bytes < PEEKED_BYTES_MAX && self.peeked.len() < PEEKED_LINES_MAX {
            match self.read_line()? {
                Line::End => break,
                // Handed out as it is: longer than a line can be, which `next_line` says again.
                Line::TooLong | Line::Read => {
                    bytes += self.line.len();
                    self.peeked.push_back(std::mem::take(&mut self.line));
                }
            }
        }
        Ok(())
    }

    /// The cells of the next row; `false` at the end.
    pub fn next_cells(&mut self, cells: &mut Vec<Cell>) -> Result<bool, ReadError> {
        if !self.next_line()? {
            return Ok(false);
        }
        let object: Object<'_> = serde_json::from_slice(&self.line).map_err(|error| not_json(&error))?;
        for name in &self.selected {
            let cell = find(&object, name).map_or(Ok(Cell::Missing), |raw| cell_of(raw.get()));
            cells.push(cell.map_err(|reason| RowProblem::column(name.clone(), reason))?);
        }
        Ok(true)
    }

    /// The next row as it is; `None` at the end.
    pub fn next_object(&mut self) -> Result<Option<Value>, ReadError> {
        if !self.next_line()? {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&self.line).map_err(|error| not_json(&error))?))
    }

    /// Bytes of the file read, and how many there are.
    pub fn bytes(&self) -> (u64, Option<u64>) {
        (self.done.load(Ordering::Relaxed), self.total)
    }

    /// Moves on to the next line that is not blank.
    fn next_line(&mut self) -> Result<bool, ReadError> {
        let line = match self.peeked.pop_front() {
            Some(line) => {
                self.line = line;
                if self.line.len() > LINE_BYTES_MAX { Line::TooLong } else { Line::Read }
            }
            None => self.read_line()?,
        };
        match line {
            Line::Read => Ok(true),
            Line::TooLong => Err(RowProblem::row(format!("is longer than {LINE_BYTES_MAX} bytes")).into()),
            Line::End => Ok(false),
        }
    }

    /// Reads the next line that is not blank. Of one that is too long, the beginning.
    fn read_line(&mut self) -> Result<Line, InputError> {
        loop {
            self.line.clear();
            let is_end = read_bounded(&mut self.reader, &mut self.line).map_err(|source| InputError::Io {
                path: self.path.clone(),
                action: "read",
                source,
            })?;
            if self.line.len() > LINE_BYTES_MAX {
                return Ok(Line::TooLong);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Line::Read);
            }
            if is_end {
                return Ok(Line::End);
            }
        }
    }
}

/// Reads up to the next line feed, keeping at most one byte more than a line can have; `true` at the end of the file.
fn read_bounded(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(true);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let consumed = end.map_or(part.len(), |end| end + 1);
        reader.consume(consumed);
        if end.is_some() {
            return Ok(false);
        }
    }
}

fn not_json(error: &serde_json::Error) -> RowProblem {
    // The text of the error names a place, and for data errors a kind of value, but repeats no value that was sent.
    let what = if error.is_data() { "is not a JSON object" } else { "is not JSON" };
    RowProblem::row(format!("{what} (byte {})", error.column()))
}

/// The value under a key, or under a path of keys in dots.
fn find<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    if let Some(raw) = object.get(name) {
        return Some(raw);
    }
    let mut dots = name.match_indices('.').map(|(dot, _)| dot);
    dots.find_map(|dot| {
        let inner = object.get(&name[..dot])?;
        let inner: Object<'a> = serde_json::from_str(inner.get()).ok()?;
        find(&inner, &name[dot + 1..])
    })
}

fn cell_of(json: &str) -> Result<Cell, &'static str> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Cow<'_, str>>(json)
            .map(|text| Cell::from_text(&text))
            .map_err(|_| "is a broken text"),
        Some(b't') => Ok(Cell::Bool(true)),
        Some(b'f') => Ok(Cell::Bool(false)),
        Some(b'n') => Ok(Cell::Missing),
        Some(b'{' | b'[') => {
            Err("is an object or an array; name a value inside it, such as `card.fingerprint`")
        }
        _ => Ok(json.parse().map_or_else(|_| Cell::Number(json.into()), Cell::Int)),
    }
}
