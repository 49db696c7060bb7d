//! One value of a foreign file, before anybody knows which field it is.
//!
//! What holds no value is `Missing` in every format alike: an absent field, a null, an empty text, a NaN.

use std::borrow::Cow;

use crate::wire::pan::contains_pan;

/// Most bytes of a cell that a message repeats.
const SHOWN_BYTES_MAX: usize = 40;
/// Whole numbers above this are not exact as doubles.
const EXACT_DOUBLE_MAX: f64 = 9_007_199_254_740_992.0;

/// One value as the file holds it.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Cell {
    /// Nothing there.
    #[default]
    Missing,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A 32-bit float, not NaN.
    Float(f32),
    /// A 64-bit float, not NaN.
    Double(f64),
    /// A number in decimal, exactly as it was written: a JSON number, a Parquet DECIMAL, a 64-bit unsigned integer.
    Number(Box<str>),
    /// A text, not empty.
    Text(Box<str>),
    /// A moment: milliseconds since 1970-01-01T00:00:00Z, finer fractions cut off.
    Instant(i64),
    /// A date and time of day that does not say where: milliseconds since 1970-01-01T00:00:00 of that place's calendar.
    Local(i64),
}

impl Cell {
    /// A text; missing when it is empty.
    pub fn from_text(text: &str) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Text(text.into()) }
    }

    /// A number; missing when it is NaN.
    pub fn from_double(number: f64) -> Self {
        if number.is_nan() { Self::Missing } else { Self::Double(number) }
    }

    /// A number; missing when it is NaN.
    pub fn from_float(number: f32) -> Self {
        if number.is_nan() { Self::Missing } else { Self::Float(number) }
    }

    /// Whether there is none.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// As decimal text, for amounts and epoch times: a float as the shortest decimal that denotes it. `None` for what is
    /// no number. A text is passed on trimmed, whatever it holds.
    pub fn decimal(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Int(number) => Some(number.to_string().into()),
            Self::Float(number) => Some(number.to_string().into()),
            Self::Double(number) => Some(number.to_string().into()),
            Self::Number(text) => Some(Cow::Borrowed(text)),
            Self::Text(text) => Some(Cow::Borrowed(text.trim())),
            Self::Missing | Self::Bool(_) | Self::Instant(_) | Self::Local(_) => None,
        }
    }

    /// As the text of an identifier or word. Whole numbers that a tool has turned into floats (`596.0`) are whole again;
    /// `None` for what is no such text: a missing value, a time, a float too large to be exact.
    pub fn word(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Double(number) if number.abs() > EXACT_DOUBLE_MAX => None,
            Self::Missing | Self::Instant(_) | Self::Local(_) => None,
            Self::Int(_) | Self::Float(_) | Self::Double(_) | Self::Number(_) => self.decimal(),
        }
    }

    /// As a message may show it: short, and never with a card number.
    pub fn shown(&self) -> String {
        match self {
            Self::Missing => "nothing".to_owned(),
            Self::Instant(_) => "a timestamp".to_owned(),
            Self::Local(_) => "a local date and time".to_owned(),
            Self::Text(text) => shown(text),
            other => shown(&other.word().unwrap_or(Cow::Borrowed("a number"))),
        }
    }
}

/// A text as a message may show it: quoted, short, without control characters, and never with a card number.
pub fn shown(text: &str) -> String {
    if contains_pan(text) {
        return "(a card number)".to_owned();
    }
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let dots = if end < text.len() { "…" } else { "" };
    format!("{:?}{dots}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_decimals() {
        let cases = [
            (Cell::Int(596), Some("596"), Some("596")),
            (Cell::Double(596.0), Some("596"), Some("596")),
            (Cell::Double(57.16), Some("57.16"), Some("57.16")),
            (Cell::Double(0.1 + 0.2), Some("0.30000000000000004"), Some("0.30000000000000004")),
            (Cell::Float(57.16), Some("57.16"), Some("57.16")),
            (Cell::Double(1e16), None, Some("10000000000000000")),
            (Cell::Number("1.50".into()), Some("1.50"), Some("1.50")),
            (Cell::from_text(" 12 "), Some(" 12 "), Some("12")),
            (Cell::Bool(true), Some("true"), None),
            (Cell::Instant(0), None, None),
            (Cell::from_text(""), None, None),
            (Cell::from_double(f64::NAN), None, None),
        ];
        for (cell, word, decimal) in cases {
            assert_eq!(cell.word().as_deref(), word, "{cell:?}");
            assert_eq!(cell.decimal().as_deref(), decimal, "{cell:?}");
        }
    }

    #[test]
    fn messages_are_short_and_hold_no_card_number() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert_eq!(shown("4242 4242 4242 4242"), "(a card number)");
        assert_eq!(shown(&"é".repeat(50)).chars().filter(|c| *c == 'é').count(), 20);
        assert_eq!(Cell::Int(4_242_424_242_424_242).shown(), "(a card number)");
    }
}
