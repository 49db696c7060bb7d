//! What enters a store: keys, attempts, and in which way an attempt is present.

use std::hash::Hasher;
use std::num::NonZeroU128;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use crate::domain::money::{Currency, Money};
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;

/// One key of one entity, as a keyed hash of 128 bits: who does not know the secret can neither choose keys that collide nor
/// find out who is behind one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(NonZeroU128);

impl Key {
    /// Bits that choose the shard. The map within a shard uses the other half, so the two are independent.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is meant")]
    pub(crate) fn shard_bits(self) -> usize {
        (self.0.get() >> 64) as usize
    }
}

/// Makes keys and attribute values: SipHash-1-3 with 128 bits under a secret. Everything that a store ever saw must have
/// been hashed under one secret.
#[derive(Clone, Debug)]
pub struct KeyHasher(SipHasher13);

impl KeyHasher {
    const KEY_DOMAIN: u8 = 0;
    const ATTRIBUTE_DOMAIN: u8 = 1;

    /// A hasher under that secret.
    pub fn new(secret: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&secret))
    }

    /// The key of `entity` (its position in the layout) that consists of `parts`, in this order. Parts are told apart by
    /// their lengths: `["ab", "c"]` and `["a", "bc"]` are two keys.
    pub fn key(&self, entity: u8, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Key {
        let hash = self.hash([Self::KEY_DOMAIN, entity], parts);
        Key(NonZeroU128::new(hash).unwrap_or(NonZeroU128::MIN))
    }

    /// The value of an attribute for distinct counts. Never 0, which stands for a missing one.
    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to tell values apart")]
    pub fn attribute(&self, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> u64 {
        (self.hash([Self::ATTRIBUTE_DOMAIN, 0], parts) as u64).max(1)
    }

    fn hash(&self, prefix: [u8; 2], parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> u128 {
        let mut hasher = self.0;
        hasher.write(&prefix);
        for part in parts {
            let part = part.as_ref();
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }
}

/// One transaction, as far as windows are concerned.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// Event time.
    pub at: EventTime,
    /// The amount.
    pub amount: Money,
    /// Where it happened. A location with a NaN in it is taken as none.
    pub location: Option<Location>,
    /// The key of each entity, by position in the layout; `None`, or no element, where the transaction has none.
    pub keys: SmallVec<[Option<Key>; 16]>,
    /// The attribute values of all entities, one entity after the other as `Layout::attribute_offset` says; 0, or no
    /// element, where the transaction has none.
    pub attributes: SmallVec<[u64; 64]>,
}

impl Attempt {
    /// A number that nearly always differs between two transactions with one key, time and amount. It tells a repeat's own
    /// event apart from others.
    #[expect(clippy::cast_possible_truncation, reason = "the parts are folded")]
    fn tag(&self) -> u32 {
        // A sum of independent products, so that the processor need not wait for one to begin the next.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let (mut sum, mut factor) = (0_u64, ODD);
        let mut mix = |word: u64| {
            sum = sum.wrapping_add((word ^ (word >> 32)).wrapping_mul(factor));
            factor = factor.wrapping_add(ODD << 1);
        };
        for key in &self.keys {
            mix(key.map_or(0, |key| key.0.get() as u64));
        }
        for &attribute in &self.attributes {
            mix(attribute);
        }
        if let Some(location) = self.location {
            mix(location.latitude.to_bits());
            mix(location.longitude.to_bits());
        }
        (sum ^ (sum >> 32)) as u32
    }

    /// What is the same for every entity.
    pub(crate) fn event(&self) -> Event {
        Event {
            at: self.at.unix_millis(),
            minor: self.amount.minor(),
            tag: self.tag(),
            currency: self.amount.currency(),
        }
    }

    /// A location that a distance can be computed from.
    pub(crate) fn located(&self) -> Option<Location> {
        self.location.filter(|location| location.latitude.is_finite() && location.longitude.is_finite())
    }

    /// The key of one entity.
    pub(crate) fn key(&self, entity: usize) -> Option<Key> {
        self.keys.get(entity).copied().flatten()
    }

    /// Attribute values from `offset` on, at most `count`; what is past the end is missing.
    pub(crate) fn attributes(&self, offset: usize, count: usize) -> &[u64] {
        let from = offset.min(self.attributes.len());
        let to = (offset + count).min(self.attributes.len());
        &self.attributes[from..to]
    }
}

/// In which way an attempt is present while it is observed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Read as of its time with this attempt counted, and add it.
    Add,
    /// A dry run: the numbers that `Add` would give, and nothing changes, not even the order of eviction.
    Virtual,
    /// It was added earlier, this is a repeat: read as of its time without counting it, or its own outcome, twice, and add
    /// nothing. Where it is no longer or was never held (too late, evicted, truncated) it is counted as in a dry run.
    Counted,
}

/// One event of `attempts`, `approved` or `declined`, as it is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    /// Milliseconds since the Unix epoch.
    pub(crate) at: i64,
    /// Minor units of `currency`; 0 to `AMOUNT_MINOR_MAX`.
    pub(crate) minor: i64,
    /// See `Attempt::tag`.
    pub(crate) tag: u32,
    /// The currency of the amount.
    pub(crate) currency: Currency,
}

/// One label, as it is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LabelEvent {
    /// Milliseconds since the Unix epoch, when it became known.
    pub(crate) at: i64,
    /// Whether it says fraud.
    pub(crate) fraud: bool,
}

/// Where one attempt was, as it is held.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct LocatedEvent {
    /// Milliseconds since the Unix epoch.
    pub(crate) at: i64,
    /// The place.
    pub(crate) location: Location,
}

/// What stands in a log in the order of its time.
pub(crate) trait Timed: Copy {
    /// Milliseconds since the Unix epoch.
    fn at(&self) -> i64;
}

impl Timed for Event {
    fn at(&self) -> i64 {
        self.at
    }
}

impl Timed for LabelEvent {
    fn at(&self) -> i64 {
        self.at
    }
}

impl Timed for LocatedEvent {
    fn at(&self) -> i64 {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_compact() {
        assert_eq!(size_of::<Event>(), 24);
        assert_eq!(size_of::<LabelEvent>(), 16);
        assert_eq!(size_of::<Option<Key>>(), 16);
    }

    #[test]
    fn keys_differ_by_entity_by_parts_and_by_secret() {
        let hasher = KeyHasher::new([7; 16]);
        let key = hasher.key(0, ["ab", "c"]);
        assert_eq!(key, hasher.key(0, ["ab", "c"]));
        assert_eq!(key, KeyHasher::new([7; 16]).key(0, [b"ab".as_slice(), b"c"]));
        let others = [
            hasher.key(1, ["ab", "c"]),
            hasher.key(0, ["a", "bc"]),
            hasher.key(0, ["abc"]),
            hasher.key(0, ["c", "ab"]),
            hasher.key(0, ["ab", "c", ""]),
            KeyHasher::new([8; 16]).key(0, ["ab", "c"]),
        ];
        for other in others {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn key_hashes_never_change() {
        // Snapshots and logs outlive a version: this value must stay.
        let hasher = KeyHasher::new(*b"0123456789abcdef");
        assert_eq!(hasher.key(3, ["card", "42"]).0.get(), KEY_GOLDEN);
        assert_eq!(hasher.attribute(["10.0.0.1"]), ATTRIBUTE_GOLDEN);
    }

    const KEY_GOLDEN: u128 = 280_240_132_141_479_600_578_078_263_336_628_160_021;
    const ATTRIBUTE_GOLDEN: u64 = 2_452_631_015_439_734_716;
}
