//! A state snapshot as bytes.
//!
//! # The format, version 2
//!
//! `MAGIC`, the version (u32), then frames (`window::frame`); all little-endian.
//!
//! | kind | content |
//! |---|---|
//! | 1 header, once, first | postcard: `Header` |
//! | (no frame) | the windows, in the format of `window::snapshot`, which has checksums and an end of its own |
//! | 2 ledger | number of the part (u32), transactions that it has forgotten (u64), then 17 bytes each: key, flags |
//! | 3 index | 48 bytes each: key, fingerprint, segment and offset of the record |
//! | 5 lists | postcard: a list of `StoredEntry`, what stands on lists at run time |
//! | 4 end, last | parts of the ledger, entries of the index, entries that the index has forgotten, entries of lists (u64 each) |
//!
//! Version 1 had no lists.
//!
//! The version stands for what the bytes are and for what they were counted by: raise it also when a record comes to mean something
//! else for the state. A file of another version, of another log, secret or catalogue, or with a wrong byte is refused; the log is
//! the truth, and the file only saves reading it.

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audit::receipt::Position;
use crate::domain::time::EventTime;
use crate::engine::ledger::{Ledger, LedgerPart, LedgerSnapshot};
use crate::engine::state::State;
use crate::pipeline::index::{DecisionIndex, IndexEntry};
use crate::pipeline::secret::Secret;
use crate::pipeline::snapshot_header::{Header, SnapshotRefusal, VERSION};
use crate::rules::run_time::{Entry, RunTimeLists};
use crate::window::frame::{Frame, read_u32, write_frame};
use crate::window::layout::Layout;
use crate::window::snapshot::{Snapshot, SnapshotSize};
use crate::window::store::WindowStore;

/// What a snapshot begins with.
const MAGIC: [u8; 16] = *b"tollgate state\r\n";

const HEADER: u8 = 1;
const LEDGER: u8 = 2;
const INDEX: u8 = 3;
const END: u8 = 4;
const LISTS: u8 = 5;

/// Bytes of a part of the ledger before its transactions, and of each of them.
const PART_HEAD_BYTES: usize = 12;
const TRANSACTION_BYTES: usize = 17;
/// Bytes of an entry of the index.
const ENTRY_BYTES: usize = 48;
/// Entries of lists in one frame.
const LIST_ENTRIES_PER_FRAME: usize = 4_096;

/// An entry of a list as it is stored. Times are milliseconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
struct StoredEntry<'a> {
    list: &'a str,
    value: &'a str,
    until_ms: Option<i64>,
    note: &'a str,
    by: &'a str,
    added_at_ms: i64,
    sequence: u64,
}

/// What a snapshot holds beside windows and ledger, which are read while they change.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The index: read as it is found.
    pub index: &'a DecisionIndex,
    /// What stood on lists when windows and ledger began.
    pub lists: &'a RunTimeLists,
}

/// Writes a snapshot whose windows and ledger have begun, while all of it is used and changed.
pub fn write(
    out: &mut impl Write,
    header: &Header,
    windows: Snapshot<'_>,
    ledger: LedgerSnapshot<'_>,
    beside: Beside<'_>,
) -> io::Result<SnapshotSize> {
    let mut bytes = write_head(out, header)?;
    // First what costs the most while it waits: of every key that changes meanwhile a copy is kept.
    let windows = windows.write(out, &mut |_| {})?;
    bytes += windows.bytes + write_rest(out, header, ledger, beside)?;
    Ok(SnapshotSize { keys: windows.keys, bytes })
}

pub(crate) fn write_head(out: &mut impl Write, header: &Header) -> io::Result<u64> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let header = postcard::to_stdvec(header).map_err(io::Error::other)?;
    Ok((MAGIC.len() + 4) as u64 + write_frame(out, HEADER, &header)?)
}

pub(crate) fn write_rest(
    out: &mut impl Write,
    header: &Header,
    ledger: LedgerSnapshot<'_>,
    Beside { index, lists }: Beside<'_>,
) -> io::Result<u64> {
    let (mut bytes, mut parts, mut requests) = (0, 0_u32, 0);
    let mut content = Vec::new();
    for part in ledger {
        content.clear();
        content.extend_from_slice(&parts.to_le_bytes());
        content.extend_from_slice(&part.forgotten.to_le_bytes());
        for (key, flags) in part.counted {
            content.extend_from_slice(&key.to_le_bytes());
            content.push(flags);
        }
        bytes += write_frame(out, LEDGER, &content)?;
        parts += 1;
    }
    let mut entries = index.entries(header.taken.position);
    for step in entries.by_ref() {
        content.clear();
        for IndexEntry { key, fingerprint, position } in &step {
            content.extend_from_slice(&key.to_le_bytes());
            content.extend_from_slice(&fingerprint.to_le_bytes());
            content.extend_from_slice(&position.segment.to_le_bytes());
            content.extend_from_slice(&position.offset.to_le_bytes());
        }
        bytes += write_frame(out, INDEX, &content)?;
        requests += step.len() as u64;
    }
    bytes += write_lists(out, lists)?;
    let numbers = [u64::from(parts), requests, entries.forgotten(requests), lists.len() as u64];
    bytes += write_frame(out, END, numbers.map(u64::to_le_bytes).as_flattened())?;
    Ok(bytes)
}

fn write_lists(out: &mut impl Write, lists: &RunTimeLists) -> io::Result<u64> {
    fn stored<'a>((list, value, entry): (&'a str, &'a str, &'a Entry)) -> StoredEntry<'a> {
        StoredEntry {
            list,
            value,
            until_ms: entry.until.map(EventTime::unix_millis),
            note: &entry.note,
            by: &entry.by,
            added_at_ms: entry.added_at.unix_millis(),
            sequence: entry.sequence,
        }
    }
    let (mut bytes, mut entries) = (0, lists.iter());
    loop {
        let frame: Vec<StoredEntry<'_>> = entries.by_ref().take(LIST_ENTRIES_PER_FRAME).map(stored).collect();
        if frame.is_empty() {
            return Ok(bytes);
        }
        let content = postcard::to_stdvec(&frame).map_err(io::Error::other)?;
        bytes += write_frame(out, LISTS, &content)?;
    }
}

fn read_lists(content: &[u8], lists: &mut RunTimeLists) -> Option<()> {
    let stored: Vec<StoredEntry<'_>> = postcard::from_bytes(content).ok()?;
    for StoredEntry { list, value, until_ms, note, by, added_at_ms, sequence } in stored {
        let until = until_ms.map(EventTime::from_unix_millis).transpose().ok()?;
        let added_at = EventTime::from_unix_millis(added_at_ms).ok()?;
        let entry = Entry { until, note: note.into(), by: by.into(), added_at, sequence };
        lists.put(list, value.into(), entry);
    }
    Some(())
}

/// Reads where and of what a snapshot was taken.
pub fn read_header(input: &mut impl Read) -> Result<Header, SnapshotRefusal> {
    let mut magic = [0; 16];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(SnapshotRefusal::NotASnapshot);
    }
    let found = read_u32(input)?;
    if found != VERSION {
        return Err(SnapshotRefusal::Version { found });
    }
    match Frame::read(input)? {
        Frame { kind: HEADER, content } => {
            postcard::from_bytes(&content).map_err(|_| SnapshotRefusal::Damaged("its header cannot be read"))
        }
        _ => Err(SnapshotRefusal::Damaged("it has no header")),
    }
}

/// Reads what follows the header into a new state and a new index, and says how many keys the windows hold. Whether they may be
/// used, the header has told.
pub fn read_state(
    input: &mut impl Read,
    layout: Arc<Layout>,
    secret: &Secret,
    decisions_max: usize,
) -> Result<(State, Arc<DecisionIndex>, u64), SnapshotRefusal> {
    let (windows, size) = WindowStore::restore(layout, input)?;
    let (ledger, index) = (Ledger::new(decisions_max), DecisionIndex::new(decisions_max));
    let (mut parts, mut requests, mut lists) = (0, 0, RunTimeLists::default());
    loop {
        let Frame { kind, content } = Frame::read(input)?;
        match kind {
            LEDGER => {
                let (number, part) = decode_part(&content)?;
                ledger.restore_part(number, &part).map_err(SnapshotRefusal::Damaged)?;
                parts += 1;
            }
            INDEX => {
                let (entries, rest) = content.as_chunks::<ENTRY_BYTES>();
                let entries: Vec<IndexEntry> = entries.iter().map(decode_entry).collect();
                if !rest.is_empty() || !index.restore(&entries) {
                    return Err(SnapshotRefusal::Damaged("its index is not what it should be"));
                }
                requests += entries.len() as u64;
            }
            LISTS => read_lists(&content, &mut lists)
                .ok_or(SnapshotRefusal::Damaged("an entry of a list cannot be read"))?,
            END => {
                let (numbers, _) = content.as_chunks::<8>();
                let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
                let [parts_written, requests_written, forgotten, lists_written] = numbers[..] else {
                    return Err(SnapshotRefusal::Damaged("its end cannot be read"));
                };
                let read = [parts, requests, lists.len() as u64];
                if [parts_written, requests_written, lists_written] != read || ledger.parts() as u64 != parts
                {
                    return Err(SnapshotRefusal::Damaged("a part is missing"));
                }
                index.restore_forgotten(forgotten);
                if input.read(&mut [0])? != 0 {
                    return Err(SnapshotRefusal::Damaged("something follows its end"));
                }
                let state = State::with(windows, ledger, secret.window_key());
                state.lists.store(Arc::new(lists));
                return Ok((state, index, size.keys));
            }
            _ => return Err(SnapshotRefusal::Damaged("a frame is of no known kind")),
        }
    }
}

fn decode_part(content: &[u8]) -> Result<(usize, LedgerPart), SnapshotRefusal> {
    let damaged = || SnapshotRefusal::Damaged("a part of the ledger cannot be read");
    let (head, transactions) = content.split_first_chunk::<PART_HEAD_BYTES>().ok_or_else(damaged)?;
    let number = usize::try_from(u32::from_le_bytes(array(head, 0))).map_err(|_| damaged())?;
    let (transactions, rest) = transactions.as_chunks::<TRANSACTION_BYTES>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    let decode = |bytes: &[u8; TRANSACTION_BYTES]| (u128::from_le_bytes(array(bytes, 0)), bytes[16]);
    let counted = transactions.iter().map(decode).collect();
    Ok((number, LedgerPart { forgotten: u64::from_le_bytes(array(head, 4)), counted }))
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> IndexEntry {
    IndexEntry {
        key: u128::from_le_bytes(array(bytes, 0)),
        fingerprint: u128::from_le_bytes(array(bytes, 16)),
        position: Position {
            segment: u64::from_le_bytes(array(bytes, 32)),
            offset: u64::from_le_bytes(array(bytes, 40)),
        },
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
