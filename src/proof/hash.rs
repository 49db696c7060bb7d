//! Hashes of the tree: SHA-256 with the prefixes of RFC 6962, section 2.1, so that no node can pass as a leaf.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Length of a hash, in bytes.
pub const HASH_BYTES: usize = 32;

/// One hash of a tree. In text: 44 characters of standard Base 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHash(pub [u8; HASH_BYTES]);

/// Not the Base 64 of a hash.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be 32 bytes in standard Base 64 (44 characters)")]
pub struct HashTextError;

impl TreeHash {
    /// The root of the tree without entries.
    pub fn empty() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// Of an entry.
    pub fn leaf(entry: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(entry);
        Self(hasher.finalize().into())
    }

    /// Of a node over two others.
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut bytes = [1; 1 + 2 * HASH_BYTES];
        bytes[1..=HASH_BYTES].copy_from_slice(&left.0);
        bytes[1 + HASH_BYTES..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }

    /// Of the perfect tree over `hashes`, whose number is a power of two.
    pub fn perfect(hashes: &[Self]) -> Self {
        debug_assert!(hashes.len().is_power_of_two());
        let mut row = hashes.to_vec();
        while row.len() > 1 {
            row = row.chunks_exact(2).map(|pair| Self::node(&pair[0], &pair[1])).collect();
        }
        row.first().copied().unwrap_or_else(Self::empty)
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeHash({self})")
    }
}

impl FromStr for TreeHash {
    type Err = HashTextError;

    fn from_str(text: &str) -> Result<Self, HashTextError> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| HashTextError)?;
        bytes.try_into().map(Self).map_err(|_| HashTextError)
    }
}

impl serde::Serialize for TreeHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
