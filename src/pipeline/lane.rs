//! What orders `observe`, and how far the consequences of records have reached the windows.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::audit::reader::Record;
use crate::audit::receipt::{Position, Receipt, RecordHash};

/// One record of the log: which it is, what it hashes to, where it lies. Two logs that hold one record with one hash are the same
/// up to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Its sequence.
    pub sequence: u64,
    /// Its hash.
    pub hash: RecordHash,
    /// Where it lies.
    pub position: Position,
}

impl From<&Receipt> for Mark {
    fn from(receipt: &Receipt) -> Self {
        Self { sequence: receipt.sequence, hash: receipt.hash, position: receipt.position }
    }
}

impl From<&Record<'_>> for Mark {
    fn from(record: &Record<'_>) -> Self {
        Self { sequence: record.header.sequence, hash: record.hash, position: record.position }
    }
}

/// Held while a ticket is taken and the windows see its transaction, and while they see the consequences of a record.
#[derive(Debug, Default)]
pub struct Lane {
    /// The last record whose consequences the windows hold; none before the first record of the log.
    pub applied: Option<Mark>,
}

/// The one lane of a service.
pub type SharedLane = Arc<Mutex<Lane>>;

impl Lane {
    /// The sequence of the last record whose consequences the windows hold.
    pub fn state_sequence(&self) -> u64 {
        self.applied.map_or(0, |applied| applied.sequence)
    }
}
