//! What enters the store: keys that are keyed hashes, and attempts.

use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use crate::domain::money::Money;
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;
use crate::domain::value::Value;

/// One key of one entity: a keyed hash of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Key(u128);

/// For maps by key: keys are hashes already.
pub type BuildKeyHasher = BuildHasherDefault<KeyIsHash>;

/// Takes the low half of a key as its hash: keys are keyed hashes, which nobody outside can aim.
#[derive(Debug, Default)]
pub struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

impl Key {
    /// One of `shards` parts, by bits that the maps inside a shard do not start from.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below `shards`")]
    pub(super) fn shard(self, shards: usize) -> usize {
        ((self.0 >> 64) % shards as u128) as usize
    }
}

/// Makes keys.
#[derive(Clone, Debug)]
pub struct KeyHasher(SipHasher13);

impl KeyHasher {
    /// A hasher keyed with a secret.
    pub fn new(secret: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&secret))
    }

    /// The key of an entity.
    pub fn key(&self, entity: usize, parts: &[&str]) -> Key {
        let mut hasher = self.0;
        hasher.write_usize(entity);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        Key(hasher.finish128().as_u128())
    }

    /// The hash of an attribute's value; 0 when it is missing.
    pub fn attribute(&self, value: Value<'_>) -> u64 {
        let mut hasher = self.0;
        match value {
            Value::Missing => return 0,
            Value::Text(text) => hasher.write(text.as_bytes()),
            other => hasher.write_u64(other.as_f64().to_bits()),
        }
        hasher.finish().max(1)
    }
}

/// A transaction that was asked about, as the store sees it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it happened.
    pub at: EventTime,
    /// How much.
    pub amount: Money,
    /// Where.
    pub location: Option<Location>,
    /// Who took part, one for each entity of the layout; `None` where the transaction has no such entity.
    pub keys: SmallVec<[Option<Key>; 16]>,
    /// Hashes of the attributes of all entities one after the other, as the layout lists them; 0 is missing.
    pub attributes: SmallVec<[u64; 64]>,
}
