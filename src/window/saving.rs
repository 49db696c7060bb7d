//! What a shard has still to hand over for the running snapshot, and how one key is written down.

use crate::window::busy::history::Busy;
use crate::window::held::Held;
use crate::window::shard::ShardState;
use crate::window::table::Entry;

/// Entries that are handed over under one hold of the lock, and about how many bytes: a busy key alone may be more.
const STEP: usize = 128;
/// See `STEP`.
const STEP_BYTES: usize = 1 << 15;
/// Bytes of an entry before those of its history: marks and hash, activity, length.
const PREFIX_BYTES: usize = 12;
/// Stands in the length of a history that is a busy key's.
const BUSY: u32 = 1 << 31;

/// The part of a snapshot that one shard owes. Entries that change meanwhile are kept as they were when it began.
#[derive(Debug)]
pub(crate) struct Saving {
    state: ShardState,
    kept: Vec<Entry>,
    /// Places before this one have been looked at.
    cursor: usize,
}

/// What a shard hands over at a time.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    /// Entries of ordinary keys, written down.
    pub(crate) bytes: Vec<u8>,
    /// Copies of others, to be written down when the lock is no longer held: a busy key takes its time.
    pub(crate) copies: Vec<Entry>,
    /// How many keys these are.
    pub(crate) keys: u64,
    /// The state of the shard comes with the last ones.
    pub(crate) state: Option<ShardState>,
}

impl HandedOver {
    /// Writes down what has only been copied.
    pub(crate) fn finish(&mut self) -> Result<(), postcard::Error> {
        self.copies.drain(..).try_for_each(|entry| encode(&entry, &mut self.bytes))
    }
}

impl Saving {
    pub(crate) const fn new(state: ShardState) -> Self {
        Self { state, kept: Vec::new(), cursor: 0 }
    }

    /// Keeps an entry as it was.
    pub(crate) fn keep(&mut self, entry: Entry) {
        self.kept.push(entry);
    }

    /// Entries may have moved to places that have been looked at: look again. Those that were handed over are known by their mark.
    pub(crate) const fn entries_moved(&mut self) {
        self.cursor = 0;
    }

    /// Hands over what has been kept and some more entries; true when these were the last.
    pub(crate) fn take_some(&mut self, table: &mut [Entry], epoch_mark: bool, out: &mut HandedOver) -> bool {
        out.keys += self.kept.len() as u64;
        out.copies.append(&mut self.kept);
        // Places that are done with are passed over quickly, and not counted.
        let (mut left, end) = (STEP, out.bytes.len() + STEP_BYTES);
        while left > 0 && out.bytes.len() < end {
            let Some(entry) = table.get_mut(self.cursor) else { return true };
            self.cursor += 1;
            if entry.is_vacant() || entry.saved_mark() == epoch_mark {
                continue;
            }
            entry.set_saved_mark(epoch_mark);
            out.keys += 1;
            left -= 1;
            match &entry.held {
                Held::Block(block) => append(entry, 0, block, &mut out.bytes),
                Held::Busy(_) => {
                    out.copies.push(entry.clone());
                    left = left.saturating_sub(STEP / 4);
                }
            }
        }
        false
    }

    pub(crate) fn into_state(self) -> ShardState {
        self.state
    }
}

/// Appends an entry.
fn encode(entry: &Entry, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
    match &entry.held {
        Held::Block(block) => append(entry, 0, block, out),
        Held::Busy(busy) => append(entry, BUSY, &postcard::to_stdvec(&**busy)?, out),
    }
    Ok(())
}

/// Appends an entry whose history is written down already.
fn append(entry: &Entry, kind: u32, history: &[u8], out: &mut Vec<u8>) {
    // A history is far below two gigabytes, and a frame with one that is not would be refused.
    let length = u32::try_from(history.len()).unwrap_or(BUSY - 1) | kind;
    for word in [entry.bits(), entry.active, length] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(history);
}

/// Reads entries that were written one after the other; `None` when they are not whole.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let word = |bytes: &[u8], at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (bits, active, length) = (word(bytes, 0)?, word(bytes, 4)?, word(bytes, 8)?);
        let end = PREFIX_BYTES + usize::try_from(length & !BUSY).ok()?;
        let history = bytes.get(PREFIX_BYTES..end)?;
        let held = if length & BUSY == 0 {
            Held::Block(history.into())
        } else {
            Held::Busy(Box::new(postcard::from_bytes::<Busy>(history).ok()?))
        };
        if held.is_nothing() {
            return None;
        }
        entries.push(Entry::from_bits(held, bits, active));
        bytes = &bytes[end..];
    }
    Some(entries)
}
