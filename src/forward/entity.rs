//! Whose record it is: what stays in order at a target, and goes to one partition.
//!
//! The key is a keyed hash, the same for all records of one customer. It says no more about the customer than that.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::audit::frame::Kind;

/// What keys the hashes: of the installation's secret.
#[derive(Clone)]
pub struct EntityHasher([u8; 32]);

impl fmt::Debug for EntityHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntityHasher(..)")
    }
}

/// An entity. In text: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EntityKey(u128);

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for EntityKey {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for EntityKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntityKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What of a body says whose it is. Each part may be absent, or be sealed.
#[derive(Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    transaction: Option<Transaction<'a>>,
    #[serde(borrow, default)]
    label: Option<Label<'a>>,
    #[serde(default)]
    sealed: Option<Sealed>,
}

/// A sealed part names the key that it is sealed with, by number; each person has one.
#[derive(Deserialize)]
struct Sealed {
    key: u64,
}

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow, default)]
    transaction_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    customer: Option<Customer<'a>>,
    #[serde(borrow, default)]
    card: Option<Card<'a>>,
}

#[derive(Deserialize)]
struct Customer<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Card<'a> {
    #[serde(borrow, default)]
    fingerprint: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow, default)]
    transaction_id: Option<Cow<'a, str>>,
}

impl EntityHasher {
    /// With a key that nobody else has.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Of whom a part is sealed for; else of the customer, else of the card, else of the transaction. Records that are about none of
    /// them keep the order of their kind; and so does one whose body cannot be read, which is sent all the same.
    pub fn key(&self, kind: Kind, body: &[u8]) -> EntityKey {
        let body: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
        if let Some(sealed) = body.sealed {
            return self.hash("sealed", &sealed.key.to_string());
        }
        let label_of = body.label.and_then(|label| label.transaction_id);
        let (customer, card, transaction) = match body.transaction {
            Some(it) => (
                it.customer.and_then(|customer| customer.id),
                it.card.and_then(|card| card.fingerprint),
                it.transaction_id,
            ),
            None => (None, None, None),
        };
        if let Some(customer) = customer {
            self.hash("customer", &customer)
        } else if let Some(card) = card {
            self.hash("card", &card)
        } else if let Some(transaction) = transaction.or(label_of) {
            self.hash("transaction", &transaction)
        } else {
            self.hash("kind", kind.name())
        }
    }

    fn hash(&self, space: &str, text: &str) -> EntityKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(space.as_bytes()).update(&[0]).update(text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        EntityKey(u128::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_has_one_key_whatever_the_record_says_beside_it() {
        let hasher = EntityHasher::new([7; 32]);
        let of = |kind, body: &str| hasher.key(kind, body.as_bytes());
        let customer =
            of(Kind::Decision, r#"{"transaction":{"customer":{"id":"c_7"},"card":{"fingerprint":"a"}}}"#);
        for (kind, body, same) in [
            (Kind::Decision, r#"{"x":1,"transaction":{"transaction_id":"t","customer":{"id":"c_7"}}}"#, true),
            (
                Kind::Label,
                r#"{"label":{"transaction_id":"t"},"transaction":{"customer":{"id":"c_7"}}}"#,
                true,
            ),
            (Kind::Decision, r#"{"transaction":{"customer":{"id":"c_8"}}}"#, false),
            // Another space, though the text is the same.
            (Kind::Decision, r#"{"transaction":{"card":{"fingerprint":"c_7"}}}"#, false),
            (Kind::Decision, r#"{"transaction":{"transaction_id":"c_7"}}"#, false),
        ] {
            assert_eq!(of(kind, body) == customer, same, "{body}");
        }
        let sealed = |kind, number| {
            of(kind, &format!(r#"{{"transaction":{{}},"sealed":{{"key":{number},"text":"x"}}}}"#))
        };
        assert_eq!(sealed(Kind::Decision, 7), sealed(Kind::Label, 7));
        assert_ne!(sealed(Kind::Decision, 7), sealed(Kind::Decision, 8));
        let unknown = of(Kind::Label, r#"{"label":{"transaction_id":"t"}}"#);
        assert_eq!(unknown, of(Kind::Decision, r#"{"transaction":{"transaction_id":"t"}}"#));
        assert_eq!(of(Kind::ListChange, r#"{"list":"a"}"#), of(Kind::ListChange, "not JSON"));
        assert_ne!(of(Kind::ListChange, "{}"), of(Kind::PolicyChange, "{}"));
        assert_ne!(EntityHasher::new([8; 32]).key(Kind::ListChange, b"{}"), of(Kind::ListChange, "{}"));
        assert_eq!(customer.to_string().parse(), Ok(customer));
    }
}
