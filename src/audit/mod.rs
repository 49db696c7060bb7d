//! The audit log: one append-only, hash-chained log of everything that changes state.
//!
//! What must hold here:
//! - An acknowledged record is in the log (`process`: in the kernel's hands; `disk`: on stable storage) and can be read back
//!   byte for byte. The fold hook has seen it before its answer leaves.
//! - Ticket order is sequence order; sequences start at 1 and have no gaps; every record names the hash of the one before.
//! - Nothing is dropped silently: a torn tail is kept beside the log and reported, damage is an error with file and offset.
//! - Published format numbers (magic, format version, kinds) are never reused. `tests/data/audit/` keeps one golden file per version.
//! - Bodies are opaque bytes to the log files.
//!
//! Walk: `writer` takes tickets in order and encodes with `frame` into a `segment`; `open` finds the head at start and repairs;
//! `reader` and `lookup` read; `follow` does something with each record as it comes; `verify` checks everything. `scan` and `chain` are the shared parts of the reading side; `queue`,
//! `append`, `disk` and `sync` those of the writing side.

mod append;
pub mod bodies;
pub mod chain;
pub mod damage;
pub mod decision_body;
pub mod disk;
pub mod failure;
pub mod follow;
pub mod frame;
pub mod lookup;
pub mod open;
pub mod queue;
pub mod reader;
pub mod receipt;
pub mod record;
mod scan;
pub mod segment;
mod sync;
pub mod verify;
pub mod writer;

#[cfg(test)]
mod tests;
