//! Whether a record belongs where it stands: sequence without gaps, and the hash of the one before.

use thiserror::Error;

use crate::audit::frame::Frame;
use crate::audit::receipt::{Head, RecordHash};

/// A record that does not follow the one before it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// Another sequence than the next one.
    #[error("record {found} stands where record {expected} belongs")]
    Sequence {
        /// The next sequence.
        expected: u64,
        /// The sequence that stands there.
        found: u64,
    },
    /// It names another previous hash.
    #[error(
        "record {sequence} does not follow the one before it: its previous hash is {found}, not {expected}"
    )]
    Hash {
        /// The record.
        sequence: u64,
        /// The hash of the record before.
        expected: RecordHash,
        /// What the record names.
        found: RecordHash,
    },
}

/// The head of the chain while walking it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain(Head);

impl Chain {
    /// A walk that has come to `head`.
    pub const fn new(head: Head) -> Self {
        Self(head)
    }

    /// The last record of the walk so far.
    pub const fn head(&self) -> Head {
        self.0
    }

    /// Steps to `frame`, and says its hash. After an error the walk stands where it stood.
    pub fn step(&mut self, frame: &Frame<'_>) -> Result<RecordHash, ChainError> {
        let header = &frame.header;
        let expected = self.0.sequence.saturating_add(1);
        if header.sequence != expected {
            return Err(ChainError::Sequence { expected, found: header.sequence });
        }
        if header.previous_hash != self.0.hash {
            return Err(ChainError::Hash {
                sequence: header.sequence,
                expected: self.0.hash,
                found: header.previous_hash,
            });
        }
        let hash = frame.hash();
        self.0 = Head { sequence: header.sequence, hash };
        Ok(hash)
    }
}
