//! Proofs about a log, made from the tiles of its tree: that a record stands in it, and that it goes on from an earlier checkpoint.
//!
//! A proof is checked before it is given: one that would not convince is an error here.

use std::path::Path;

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::seek;
use crate::pipeline::service::Service;
use crate::pipeline::tree::Signed;
use crate::proof::bundle::{ConsistencyProof, InclusionProof, ProofError};
use crate::proof::path;
use crate::proof::tile::Tile;
use crate::proof::tiles::{TILE_DIRECTORY, TileError, TileReader, read_tile};

/// Why there is no proof.
#[derive(Debug, Error)]
pub enum ProveError {
    /// Nothing is signed yet.
    #[error(
        "no checkpoint is signed yet: the first comes audit.checkpoints.interval_s after the first record"
    )]
    NoCheckpoint,
    /// Nothing is ever signed.
    #[error("no checkpoints are signed: audit.checkpoints.interval_s is 0")]
    NotKept,
    /// One was asked for, and not signed.
    #[error("no checkpoint was signed: {0}")]
    NotSigned(&'static str),
    /// The record came after the checkpoint, or there is none.
    #[error(
        "the checkpoint covers records 1 to {size}; record {sequence} is not among them: newer records are covered by the next checkpoint"
    )]
    NotCovered {
        /// The record.
        sequence: u64,
        /// How many records the checkpoint covers.
        size: u64,
    },
    /// The log holds the record no more.
    #[error("the log does not hold record {sequence} any more: its segment is archived")]
    Gone {
        /// The record.
        sequence: u64,
    },
    /// The log.
    #[error("the log cannot be read: {0}")]
    Log(#[from] ReadError),
    /// A tile.
    #[error(
        "the tiles of the tree cannot be read: {0}; without the directory `tile` a start makes them again from the log"
    )]
    Tile(#[from] TileError),
    /// The proof does not hold.
    #[error(
        "record and tree do not fit together, so either was changed: {0}; `tollgate audit verify` says which"
    )]
    Wrong(#[from] ProofError),
}

/// That the record `sequence` of the log in `log` is covered by `signed`. With the record itself, unless `bare`.
pub fn inclusion(
    log: &Path,
    tree: &Path,
    signed: &Signed,
    sequence: u64,
    bare: bool,
) -> Result<InclusionProof, ProveError> {
    let size = signed.checkpoint.size;
    let Some(index) = sequence.checked_sub(1).filter(|index| *index < size) else {
        return Err(ProveError::NotCovered { sequence, size });
    };
    let found = seek::find(log, sequence)?.ok_or(ProveError::Gone { sequence })?;
    let path = path::inclusion(&mut TileReader::new(tree, size), index, size)?;
    let extra = (!bare).then_some(found.bytes);
    let proof = InclusionProof { extra, index, path, note: signed.note.clone() };
    proof.check_path(&found.hash.0, &signed.checkpoint)?;
    Ok(proof)
}

/// That `signed` goes on from the tree of the first `old_size` records.
pub fn consistency(tree: &Path, signed: &Signed, old_size: u64) -> Result<ConsistencyProof, ProveError> {
    let size = signed.checkpoint.size;
    if old_size > size {
        return Err(ProveError::NotCovered { sequence: old_size, size });
    }
    let mut reader = TileReader::new(tree, size);
    let path = path::consistency(&mut reader, old_size, size)?;
    let old_root = path::root(&mut reader, old_size)?;
    let new = (size, signed.checkpoint.root);
    path::check_consistency((old_size, old_root), new, &path).map_err(ProofError::from)?;
    Ok(ConsistencyProof { old_size, path, note: signed.note.clone() })
}

impl Service {
    /// The newest checkpoint.
    pub fn checkpoint_note(&self) -> Result<String, ProveError> {
        Ok(self.board.newest().ok_or(ProveError::NoCheckpoint)?.note.clone())
    }

    /// The file of a proof that the newest checkpoint covers a record. Reads from disk.
    pub fn inclusion_proof(&self, sequence: u64, bare: bool) -> Result<String, ProveError> {
        let signed = self.board.newest().ok_or(ProveError::NoCheckpoint)?;
        Ok(inclusion(&self.log_directory, &self.board.tree, &signed, sequence, bare)?.to_text())
    }

    /// The file of a proof that the newest checkpoint goes on from the tree of the first records. Reads from disk.
    pub fn consistency_proof(&self, old_size: u64) -> Result<String, ProveError> {
        let signed = self.board.newest().ok_or(ProveError::NoCheckpoint)?;
        Ok(consistency(&self.board.tree, &signed, old_size)?.to_text())
    }

    /// The bytes of a tile; none if the tree of the newest checkpoint does not have it. Reads from disk.
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, ProveError> {
        let signed = self.board.newest().ok_or(ProveError::NoCheckpoint)?;
        let there = Tile::of_tree(tile.kind, tile.index, signed.checkpoint.size);
        if there.is_none_or(|there| there.width < tile.width) {
            return Ok(None);
        }
        Ok(Some(read_tile(&self.board.tree.join(TILE_DIRECTORY), tile)?))
    }
}
