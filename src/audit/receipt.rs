//! Names of things in the log: which log, which record, where it lies, what it hashes to.
//!
//! In text, hashes and log ids are lower-case hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::domain::time::EventTime;

/// Not the hex text of a value of that length.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("must be {digits} hex digits")]
pub struct HexError {
    /// How many digits the text must have.
    pub digits: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = HexError { digits: 2 * N };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(error);
    }
    let mut bytes = [0_u8; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let mut value = 0_u32;
        for digit in pair {
            let Some(digit) = char::from(*digit).to_digit(16) else { return Err(error) };
            value = value * 16 + digit;
        }
        *byte = u8::try_from(value).unwrap_or(u8::MAX);
    }
    Ok(bytes)
}

macro_rules! hex_bytes {
    ($name:ident, $length:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                parse_hex::<$length>(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The name of one log: 16 random bytes, drawn once when the log is made. In text: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

/// The BLAKE3 hash of one record, which covers the hash of the record before it. In text: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHash(pub [u8; 32]);

hex_bytes!(LogId, 16);
hex_bytes!(RecordHash, 32);

impl RecordHash {
    /// What the first record of a log names as its previous hash. It depends on the log id, so that no record of one
    /// log can pass as a record of another.
    pub fn genesis(log_id: LogId) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"tollgate audit log, genesis\0");
        hasher.update(&log_id.0);
        Self(*hasher.finalize().as_bytes())
    }
}

/// Where a record begins. Never changes for a record that was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Position {
    /// The first sequence of the segment: its file name.
    pub segment: u64,
    /// Bytes from the start of that file.
    pub offset: u64,
}

/// What the log says about a record that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// From 1, without gaps.
    pub sequence: u64,
    /// The record's hash.
    pub hash: RecordHash,
    /// Where the record lies.
    pub position: Position,
    /// The time of recording that the record carries.
    pub recorded_at: EventTime,
}

/// The last record of a log; sequence 0 and the genesis hash for an empty log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Head {
    /// The last sequence.
    pub sequence: u64,
    /// The last record's hash.
    pub hash: RecordHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_in_and_out() {
        let id = LogId([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!("AB".repeat(16).parse::<LogId>(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<LogId>(&json).unwrap(), id);
        for wrong in ["", "ab", &"ag".repeat(16), &"é".repeat(16), &"ab".repeat(17)] {
            assert_eq!(wrong.parse::<LogId>(), Err(HexError { digits: 32 }), "{wrong}");
        }
    }

    #[test]
    fn genesis_depends_on_the_log() {
        assert_ne!(RecordHash::genesis(LogId([0; 16])), RecordHash::genesis(LogId([1; 16])));
    }
}
