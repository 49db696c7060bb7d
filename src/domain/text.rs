//! Short texts that have been checked once, so that nobody downstream has to.

use std::fmt;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::domain::limits::{ID_BYTES_MAX, TEXT_BYTES_MAX, TRANSACTION_ID_BYTES_MAX};

/// Why a text is not what a field asks for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TextError {
    /// Empty.
    #[error("must not be empty")]
    Empty,
    /// Too long.
    #[error("must be at most {max} bytes long, is {actual}")]
    TooLong {
        /// The bound.
        max: usize,
        /// The length found.
        actual: usize,
    },
    /// A character that does not belong there.
    #[error("must be {0}")]
    Malformed(&'static str),
}

/// A `transaction_id` or idempotency key: 1..=128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TransactionId(Box<str>);

/// The identifier of an entity: 1..=256 bytes without control characters.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Id(Box<str>);

/// Free text: at most 1,024 bytes without control characters.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Text(Box<str>);

/// An ISO 3166-1 alpha-2 country code: two upper-case letters. Whether it is assigned is not checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

fn bounded(text: &str, max: usize) -> Result<(), TextError> {
    match text.len() {
        0 => Err(TextError::Empty),
        actual if actual > max => Err(TextError::TooLong { max, actual }),
        _ => Ok(()),
    }
}

fn printable(text: &str) -> Result<(), TextError> {
    if text.chars().any(char::is_control) {
        Err(TextError::Malformed("free of control characters"))
    } else {
        Ok(())
    }
}

impl TransactionId {
    /// Checks and takes a text.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, TRANSACTION_ID_BYTES_MAX)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TextError::Malformed("visible ASCII characters only"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Id {
    /// Checks and takes a text.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, ID_BYTES_MAX)?;
        printable(text)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text {
    /// Checks and takes a text, which may be empty.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if !text.is_empty() {
            bounded(text, TEXT_BYTES_MAX)?;
        }
        printable(text)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CountryCode {
    /// Checks and takes a code. Lower case is refused: two spellings of one country would be two countries to a rule.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match text.as_bytes() {
            &[a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([a, b])),
            _ => Err(TextError::Malformed("an ISO 3166-1 alpha-2 country code such as DE")),
        }
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

/// Digits only, of a length in `range`: BIN, last four, MCC, ECI.
pub fn parse_digits(
    text: &str,
    range: std::ops::RangeInclusive<usize>,
    what: &'static str,
) -> Result<Text, TextError> {
    if range.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(Text(text.into()))
    } else {
        Err(TextError::Malformed(what))
    }
}

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}
shown_as_text!(TransactionId, Id, Text, CountryCode);

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
