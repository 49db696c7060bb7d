//! What a rule, a feature or a profile can hold: one scalar, or nothing.

use std::fmt;
use std::time::Duration;

use crate::domain::time::EventTime;

/// The type of a value, under the name that CEL gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ValueType {
    /// `bool`
    Bool,
    /// `int`: 64-bit signed
    Int,
    /// `double`
    Double,
    /// `string`
    Text,
    /// `timestamp`
    Time,
    /// `duration`
    Duration,
}

impl ValueType {
    /// The name that CEL gives the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::Time => "timestamp",
            Self::Duration => "duration",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One scalar, borrowed from wherever it lives. `Missing` is not zero, not false and not the empty text.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Value<'a> {
    /// Not there.
    #[default]
    Missing,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number. Never NaN: what has no value is `Missing`.
    Double(f64),
    /// A text.
    Text(&'a str),
    /// A moment.
    Time(EventTime),
}

impl<'a> Value<'a> {
    /// `Double`, or `Missing` for NaN.
    pub fn from_f64(number: f64) -> Self {
        if number.is_nan() { Self::Missing } else { Self::Double(number) }
    }

    /// The text, or `Missing`.
    pub fn from_text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Missing, Self::Text)
    }

    /// As a number for the model: `true` is 1, `false` is 0, and what is missing or no number is NaN.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Bool(flag) => f64::from(u8::from(flag)),
            Self::Int(number) => number as f64,
            Self::Double(number) => number,
            Self::Missing | Self::Text(_) | Self::Time(_) => f64::NAN,
        }
    }

    /// Whether there is a value.
    pub fn is_present(self) -> bool {
        !matches!(self, Self::Missing)
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Double(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}

/// Why a text is no length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a length of time such as 30s, 5m, 24h or 7d")]
pub struct DurationError(String);

/// Reads `30s`, `5m`, `24h` or `7d`: a whole positive number and one unit, at most 400 days.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.chars().take(32).collect());
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds_per_unit: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count = &text[..text.len() - 1];
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds =
        count.parse::<u64>().ok().and_then(|count| count.checked_mul(seconds_per_unit)).ok_or_else(wrong)?;
    if (1..=400 * 86_400).contains(&seconds) { Ok(Duration::from_secs(seconds)) } else { Err(wrong()) }
}
