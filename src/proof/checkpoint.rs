//! Checkpoints (C2SP tlog-checkpoint): which log, how many entries, and the root of their tree, as the text of a signed note.

use std::fmt;

use thiserror::Error;

use crate::proof::hash::TreeHash;
use crate::proof::key::{Signers, VerifierKey};
use crate::proof::note::{self, Note, NoteError};

/// Why a text is no checkpoint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// The note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text.
    #[error("it is no checkpoint: {0}")]
    Malformed(&'static str),
    /// Its origin.
    #[error("it is a checkpoint of the log {origin}, and {key} signs for another")]
    Origin {
        /// Of which log it is.
        origin: String,
        /// The name of the key that signed it.
        key: String,
    },
}

/// What a log commits itself to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries the tree has.
    pub size: u64,
    /// Its root.
    pub root: TreeHash,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root } = self;
        write!(f, "{origin}\n{size}\n{root}\n")
    }
}

/// A number without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

impl Checkpoint {
    /// The checkpoint of a note, whose signatures nobody has looked at.
    pub fn read_unverified(note: &str) -> Result<Self, CheckpointError> {
        Self::of(&Note::parse(note)?)
    }

    /// The checkpoint of a note that one of `keys` has signed, and those that have. The key must be of the log's own name: others, such as
    /// witnesses, say nothing about which log it is.
    pub fn open<'k>(
        note: &str,
        keys: &'k [VerifierKey],
    ) -> Result<(Self, Vec<&'k VerifierKey>), CheckpointError> {
        let note = Note::parse(note)?;
        let signed_by = note.verify(keys)?;
        let checkpoint = Self::of(&note)?;
        match signed_by.iter().find(|key| key.name() == checkpoint.origin) {
            Some(_) => Ok((checkpoint, signed_by)),
            None => Err(CheckpointError::Origin {
                origin: checkpoint.origin,
                key: signed_by.first().map_or_else(String::new, |key| key.name().to_owned()),
            }),
        }
    }

    fn of(note: &Note<'_>) -> Result<Self, CheckpointError> {
        let mut lines = note.text.strip_suffix('\n').unwrap_or(note.text).split('\n');
        let origin = lines.next().filter(|it| !it.is_empty());
        let origin = origin.ok_or(CheckpointError::Malformed("line 1, the origin, is empty"))?;
        let size = lines.next().filter(|it| !it.is_empty()).and_then(decimal);
        let size = size.ok_or(CheckpointError::Malformed("line 2, the tree's size, is no number"))?;
        let root = lines.next().and_then(|root| root.parse().ok());
        let root = root.ok_or(CheckpointError::Malformed("line 3, the root, is not 32 bytes in Base 64"))?;
        if lines.any(str::is_empty) {
            return Err(CheckpointError::Malformed("an extension line is empty"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// As a note, signed by each of the keys.
    pub fn sign(&self, signers: &Signers) -> String {
        note::sign(&self.to_string(), signers)
    }
}
