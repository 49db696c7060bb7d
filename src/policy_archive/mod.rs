//! The policy archive: of every policy that has decided, the very bytes that it was made of, so that a recorded decision can be made
//! again from the log and this alone.
//!
//! ```text
//! <data>/policies/<64 hex digits of the policy's hash>.json   what it is made of, by name and hash
//! <data>/policies/blobs/<64 hex digits of its SHA-256>        a file: `sha256sum` prints its name
//! ```
//!
//! What must hold here:
//! - A policy is archived, synced and read back before it decides; one that cannot be archived does not go live.
//! - A file is stored once, however many policies have it, and is never changed.
//! - Nothing is ever deleted: records of seven years name what is here, also records that have left the log for an archive of their
//!   own. So it grows with what goes live and is new; how far, two metrics say (`tollgate_policy_archive_*`).
//! - What is loaded has the hash that it is loaded by, or it is an error that says why.

pub mod blobs;
pub mod error;
pub mod manifest;
pub mod store;

#[cfg(test)]
mod tests;
