//! Whose data it is, and the keyed hash that stands for them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Whose data it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject<'a> {
    /// A customer, by id.
    Customer(&'a str),
    /// The holder of a card, by its fingerprint, where nobody says which customer it is.
    Card(&'a str),
    /// Who used a device, by its id, where nobody says more.
    Device(&'a str),
    /// Whom a value on a list is about: what kind of value it is, a list does not say.
    Listed(&'a str),
    /// Nobody who could ask: all data of a day (days since 1970, UTC) that names neither customer nor card nor device.
    Day(i64),
}

impl<'a> Subject<'a> {
    /// Whose data a transaction is that was received at that moment.
    pub fn of(transaction: &'a Transaction, received_at: EventTime) -> Self {
        if let Some(id) = &transaction.customer.id {
            Self::Customer(id.as_str())
        } else if let Some(fingerprint) = &transaction.card.fingerprint {
            Self::Card(fingerprint.as_str())
        } else if let Some(id) = &transaction.device.id {
            Self::Device(id.as_str())
        } else {
            Self::Day(received_at.unix_millis().div_euclid(DAY_MS))
        }
    }

    /// The name of the kind, in records.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Card(_) => "card",
            Self::Device(_) => "device",
            Self::Listed(_) => "listed",
            Self::Day(_) => "day",
        }
    }
}

/// A keyed hash of 128 bits that stands for a subject. In text: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 16]);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| serde::de::Error::custom("must be 32 hex digits"))
    }
}

/// Makes tags. Whoever lacks the installation's secret cannot try ids against them.
#[derive(Clone)]
pub struct Tagger([u8; 32]);

impl fmt::Debug for Tagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagger(..)")
    }
}

impl Tagger {
    /// Under a key that is derived from the installation's secret.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The tag of a subject.
    pub fn tag(&self, subject: Subject<'_>) -> Tag {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(subject.kind().as_bytes()).update(&[0]);
        match subject {
            Subject::Customer(id) | Subject::Card(id) | Subject::Device(id) | Subject::Listed(id) => {
                hasher.update(id.as_bytes());
            }
            Subject::Day(day) => {
                hasher.update(&day.to_le_bytes());
            }
        }
        let mut tag = [0; 16];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Tag(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_secrets_keep_tags_apart() {
        let (ours, theirs) = (Tagger::new([1; 32]), Tagger::new([2; 32]));
        let subjects = [
            Subject::Customer("a"),
            Subject::Customer("b"),
            Subject::Card("a"),
            Subject::Device("a"),
            Subject::Listed("a"),
            Subject::Day(0),
            Subject::Day(1),
        ];
        let mut tags: Vec<Tag> =
            subjects.iter().flat_map(|subject| [ours.tag(*subject), theirs.tag(*subject)]).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 2 * subjects.len());
        let tag = ours.tag(subjects[0]);
        assert_eq!(serde_json::from_str::<Tag>(&serde_json::to_string(&tag).unwrap()).unwrap(), tag);
        for wrong in ["\"ab\"", "\"+0000000000000000000000000000000\"", "7"] {
            assert!(serde_json::from_str::<Tag>(wrong).is_err(), "{wrong}");
        }
    }
}
