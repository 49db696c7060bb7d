//! What a shard has still to hand over for the running snapshot.

use crate::window::shard::ShardState;
use crate::window::table::Entry;

/// Places of a table that are looked at under one hold of the lock.
const STEP: usize = 128;

/// The part of a snapshot that one shard owes. Entries that change meanwhile are kept as they were when it began.
#[derive(Debug)]
pub(crate) struct Saving {
    state: ShardState,
    kept: Vec<Entry>,
    /// Places before this one have been looked at.
    cursor: usize,
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
    pub(crate) fn take_some(&mut self, table: &mut [Entry], epoch_mark: bool, out: &mut Vec<Entry>) -> bool {
        out.append(&mut self.kept);
        // Places that are done with are passed over quickly, and not counted.
        let mut left = STEP;
        while left > 0 {
            let Some(entry) = table.get_mut(self.cursor) else { return true };
            self.cursor += 1;
            if !entry.is_vacant() && entry.saved_mark() != epoch_mark {
                entry.set_saved_mark(epoch_mark);
                out.push(entry.clone());
                left -= 1;
            }
        }
        false
    }

    pub(crate) fn into_state(self) -> ShardState {
        self.state
    }
}
