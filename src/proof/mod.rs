//! Proof that nothing in an append-only log was changed: a Merkle tree over it (RFC 6962), signed checkpoints, proofs.
//!
//! What must hold here:
//! - Formats are those of C2SP, so that witnesses, monitors and verifiers of others read them: signed-note, tlog-checkpoint,
//!   tlog-tiles, tlog-proof. `README.md` says what an entry of the tree is, and how to check one with other tools.
//! - Nothing here knows the log: an entry is 32 bytes. Verification needs public keys and no file but what it verifies.
//! - Two different trees of one size are never signed: that is for `pipeline::checkpoints`, which owns the keys, to see to.
//!
//! Walk: `hash` and `range` build trees, `path` makes and checks proofs; `tile` names tiles and `tiles` keeps them as files; `note`
//! and `key` sign and verify text, `checkpoint` says what the text is; `bundle` is a proof as one file.

pub mod bundle;
pub mod checkpoint;
pub mod hash;
pub mod key;
pub mod note;
pub mod path;
pub mod range;
pub mod tile;
pub mod tiles;

#[cfg(test)]
mod tests;
