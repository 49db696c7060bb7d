//! The audit log: one append-only, hash-chained log of everything that changes state.
//!
//! What must hold here:
//! - An acknowledged record is in the log (`process`: in the kernel's hands; `disk`: on stable storage) and can be read back
//!   byte for byte. The fold hook has seen it before its answer leaves.
//! - Ticket order is sequence order; sequences start at 1 and have no gaps; every record names the hash of the one before.
//! - Nothing is dropped silently: a torn tail is kept beside the log and reported, damage is an error with file and offset.
//! - A failed sync is never asked again: what may not be on stable storage is written once more, and the mark says how far nothing is in doubt.
//! - Published format numbers (magic, format version, kinds) are never reused. `tests/data/audit/` keeps one golden file per version.
//! - Bodies are opaque bytes to the log files.
//!
//! Walk: `writer` takes tickets in order and encodes with `frame` into a `segment`; `open` finds the head at start and repairs;
//! `reader`, `lookup` and `seek` read; `follow` does something with each record as it comes; `verify` checks everything, with
//! `verify_tree` the Merkle tree and its checkpoints. `scan` and `chain` are the shared parts of the reading side; `queue`,
//! `append`, `disk`, `mark`, `sync` and `rewrite` those of the writing side, `repair` and `set_aside` those of opening, which `tail` shows before.

mod append;
pub mod background;
pub mod bodies;
pub mod chain;
pub mod checkpoint;
pub mod damage;
pub mod decision_body;
pub mod disk;
pub mod failure;
pub mod follow;
pub mod frame;
pub mod lookup;
pub mod mark;
pub mod open;
mod packed;
pub mod queue;
pub mod reader;
pub mod receipt;
pub mod record;
pub mod record_view;
mod repair;
pub mod retention_record;
pub mod review_record;
mod rewrite;
mod scan;
pub mod seek;
pub mod segment;
mod set_aside;
mod sync;
pub mod tail;
pub mod verify;
pub mod verify_tree;
pub mod writer;

#[cfg(test)]
mod tests;
