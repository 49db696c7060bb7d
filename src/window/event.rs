//! What enters a store: keys, attempts, and in which way an attempt is present.

use std::hash::Hasher;
use std::num::NonZeroU128;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use crate::domain::money::{Currency, Money};
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;
use crate::window::layout::OutcomeStream;
use crate::window::place::Place;

/// One key of one entity, as a keyed hash of 128 bits: who does not know the secret can neither choose keys that collide nor
/// find out who is behind one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(NonZeroU128);

impl Key {
    /// Bits that choose the shard: independent of those below.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is meant")]
    pub(crate) fn shard_bits(self) -> usize {
        (self.0.get() >> 64) as usize
    }

    /// Bits that choose the place in a shard.
    #[expect(clippy::cast_possible_truncation, reason = "a quarter is meant")]
    pub(crate) fn slot_bits(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// Bits that a key's history is known by once its place is found.
    #[expect(clippy::cast_possible_truncation, reason = "a quarter is meant")]
    pub(crate) fn check_bits(self) -> u32 {
        self.0.get() as u32
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
    /// Where it happened. A location that is not on earth is taken as none.
    pub location: Option<Location>,
    /// The key of each entity, by position in the layout; `None`, or no element, where the transaction has none.
    pub keys: SmallVec<[Option<Key>; 16]>,
    /// The attribute values of all entities, one entity after the other as `Layout::attribute_offset` says; 0, or no
    /// element, where the transaction has none.
    pub attributes: SmallVec<[u64; 64]>,
}

impl Attempt {
    /// A number of `TAG_BITS` that tells a repeat's own event apart from others of the same key, time, amount and currency.
    #[expect(clippy::cast_possible_truncation, reason = "the upper bits are meant")]
    pub(crate) fn tag(&self) -> u16 {
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
        (sum >> (u64::BITS - TAG_BITS)) as u16
    }

    /// What is the same for every entity.
    pub(crate) fn event(&self) -> Event {
        Event {
            at: self.at.unix_millis(),
            minor: self.amount.minor(),
            currency: self.amount.currency(),
            tag: self.tag(),
            place: self.location.and_then(Place::of),
        }
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

/// Bits of `Event::tag`: two twins (same key, time, amount and currency) share one in 2,048 times.
pub(crate) const TAG_BITS: u32 = 11;

/// One attempt, as every entity sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Event {
    /// Milliseconds since the Unix epoch.
    pub(crate) at: i64,
    /// Minor units of `currency`; 0 to `AMOUNT_MINOR_MAX`.
    pub(crate) minor: i64,
    /// The currency of the amount.
    pub(crate) currency: Currency,
    /// See `Attempt::tag`.
    pub(crate) tag: u16,
    /// Where it happened.
    pub(crate) place: Option<Place>,
}

/// The attempt that is being decided, as one entity sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<'a> {
    pub(crate) event: Event,
    /// Short attribute values, 0 where missing; may be fewer than the entity has: what is not there is missing.
    pub(crate) values: &'a [u32],
    /// Whether it was added earlier and this is a repeat: then its own event is passed over, and it is counted once.
    pub(crate) is_repeat: bool,
}

impl Present<'_> {
    /// The short value of an attribute, 0 when it is missing.
    pub(crate) fn value(&self, attribute: usize) -> u32 {
        self.values.get(attribute).copied().unwrap_or(0)
    }
}

/// An attribute's value as it is held: 32 bits of its keyed hash. Two of n different values agree with a chance of n^2 / 2^33. 0
/// is a missing one.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
pub(crate) const fn short_value(value: u64) -> u32 {
    match (value, value as u32) {
        (0, _) => 0,
        (_, 0) => 1,
        (_, short) => short,
    }
}

/// What an event is, as bits: an attempt, how it ended, or a label.
pub(crate) mod flag {
    /// It was asked about.
    pub(crate) const ATTEMPT: u8 = 1;
    /// It was approved.
    pub(crate) const APPROVED: u8 = 2;
    /// It was declined.
    pub(crate) const DECLINED: u8 = 4;
    /// It is a label.
    pub(crate) const LABEL: u8 = 8;
    /// It is a label that says fraud.
    pub(crate) const FRAUD: u8 = 16;
}

/// The flag of an outcome.
pub(crate) const fn outcome_flag(stream: OutcomeStream) -> u8 {
    match stream {
        OutcomeStream::Approved => flag::APPROVED,
        OutcomeStream::Declined => flag::DECLINED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compact() {
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
