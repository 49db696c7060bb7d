//! Proofs as files: C2SP tlog-proof for the inclusion of an entry; for consistency the body of `add-checkpoint` of C2SP tlog-witness.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use thiserror::Error;

use crate::proof::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::proof::hash::TreeHash;
use crate::proof::key::VerifierKey;
use crate::proof::path::{self, PATH_HASHES_MAX, PathError};

/// Longest file of a proof, in bytes: a record of 1 MiB in Base 64, and a note.
pub const PROOF_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How the file of an inclusion proof begins.
pub const INCLUSION_HEAD: &str = "c2sp.org/tlog-proof@v1";

/// Why a file proves nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// Not the form.
    #[error("it is no proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// That an entry stands at its place in the tree of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InclusionProof {
    /// What goes with it, unproven in itself: bytes that the entry can be made from.
    pub extra: Option<Vec<u8>>,
    /// The entry's index, from 0.
    pub index: u64,
    /// The hashes, from the leaf's sibling up.
    pub path: Vec<TreeHash>,
    /// The checkpoint, as it was signed.
    pub note: String,
}

/// That the tree of a checkpoint begins with an earlier tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsistencyProof {
    /// How many entries the earlier tree has.
    pub old_size: u64,
    /// The hashes.
    pub path: Vec<TreeHash>,
    /// The later checkpoint, as it was signed.
    pub note: String,
}

/// A proof of either kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Of an entry.
    Inclusion(InclusionProof),
    /// Of an earlier tree.
    Consistency(ConsistencyProof),
}

fn write_path(text: &mut String, path: &[TreeHash]) {
    for hash in path {
        let _ = writeln!(text, "{hash}");
    }
    text.push('\n');
}

fn parse_path(lines: &str) -> Result<Vec<TreeHash>, ProofError> {
    let mut path = Vec::new();
    for line in lines.lines() {
        if path.len() == PATH_HASHES_MAX {
            return Err(ProofError::Malformed("more hashes than a proof can need"));
        }
        path.push(line.parse().map_err(|_| ProofError::Malformed("a line is not the Base 64 of a hash"))?);
    }
    Ok(path)
}

impl Proof {
    /// Reads either kind.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, note) =
            text.split_once("\n\n").ok_or(ProofError::Malformed("no empty line before the checkpoint"))?;
        let note = note.to_owned();
        let (first, mut rest) = head.split_once('\n').unwrap_or((head, ""));
        if first != INCLUSION_HEAD {
            let old_size = first.strip_prefix("old ").and_then(decimal).ok_or(ProofError::Malformed(
                "line 1 is neither c2sp.org/tlog-proof@v1 nor `old` and a number",
            ))?;
            return Ok(Self::Consistency(ConsistencyProof { old_size, path: parse_path(rest)?, note }));
        }
        let mut extra = None;
        if let Some(after) = rest.strip_prefix("extra ") {
            let (encoded, after) =
                after.split_once('\n').ok_or(ProofError::Malformed("no line with the index"))?;
            let decoded = BASE64_STANDARD.decode(encoded);
            extra = Some(decoded.map_err(|_| ProofError::Malformed("the line `extra` is not Base 64"))?);
            rest = after;
        }
        let (index, path) = rest.split_once('\n').unwrap_or((rest, ""));
        let index = index.strip_prefix("index ").and_then(decimal);
        let index = index.ok_or(ProofError::Malformed("no line `index` with a number"))?;
        Ok(Self::Inclusion(InclusionProof { extra, index, path: parse_path(path)?, note }))
    }
}

impl InclusionProof {
    /// As a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{INCLUSION_HEAD}\n");
        if let Some(extra) = &self.extra {
            let _ = writeln!(text, "extra {}", BASE64_STANDARD.encode(extra));
        }
        let _ = writeln!(text, "index {}", self.index);
        write_path(&mut text, &self.path);
        text + &self.note
    }

    /// Checks that `entry` is proven, by a checkpoint that one of `keys` has signed.
    pub fn check(&self, entry: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let (checkpoint, _) = Checkpoint::open(&self.note, keys)?;
        self.check_path(entry, &checkpoint)?;
        Ok(checkpoint)
    }

    /// The same against a checkpoint that is believed.
    pub fn check_path(&self, entry: &[u8], checkpoint: &Checkpoint) -> Result<(), ProofError> {
        let leaf = TreeHash::leaf(entry);
        Ok(path::check_inclusion(leaf, self.index, checkpoint.size, &self.path, checkpoint.root)?)
    }
}

impl ConsistencyProof {
    /// As a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old_size);
        write_path(&mut text, &self.path);
        text + &self.note
    }

    /// Checks that the tree of the later checkpoint, which one of `keys` has signed, begins with that of `old`.
    pub fn check(&self, old: &Checkpoint, keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let (checkpoint, _) = Checkpoint::open(&self.note, keys)?;
        self.check_path(old, &checkpoint)?;
        Ok(checkpoint)
    }

    /// The same for a later checkpoint that is believed.
    pub fn check_path(&self, old: &Checkpoint, checkpoint: &Checkpoint) -> Result<(), ProofError> {
        if old.size != self.old_size {
            return Err(ProofError::Malformed("it begins with another size than the earlier checkpoint has"));
        }
        if old.origin != checkpoint.origin {
            return Err(ProofError::Malformed("the two checkpoints are of different logs"));
        }
        Ok(path::check_consistency((old.size, old.root), (checkpoint.size, checkpoint.root), &self.path)?)
    }
}
