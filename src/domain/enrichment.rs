//! What the enrichment store said, with the difference between "nothing there" and "no answer in time".

use serde::{Deserialize, Serialize};

use crate::domain::value::Value;

/// The answer of a dependency for one thing asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup<T> {
    /// The store holds this.
    Known(T),
    /// The store answered, and holds nothing.
    Absent,
    /// No answer in time, or none at all: nobody knows.
    TimedOut,
}

impl<T> Lookup<T> {
    /// The value, if it is known.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::TimedOut => None,
        }
    }
}

/// One value of a stored profile, as the catalogue types it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProfileValue {
    /// `type: bool`
    Bool(bool),
    /// `type: int`
    Int(i64),
    /// `type: number`; finite.
    Number(f64),
    /// `type: string`
    Text(Box<str>),
}

impl ProfileValue {
    /// As a value for rules and features.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Int(number) => Value::Int(*number),
            Self::Number(number) => Value::from_f64(*number),
            Self::Text(text) => Value::Text(text),
        }
    }
}

/// The values of one transaction's profile features, in catalogue order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Enrichment(pub Box<[Lookup<ProfileValue>]>);

impl Enrichment {
    /// What a store that does not answer leaves: `count` values of which nothing is known.
    pub fn timed_out(count: usize) -> Self {
        Self(vec![Lookup::TimedOut; count].into())
    }

    /// What an empty store answers.
    pub fn absent(count: usize) -> Self {
        Self(vec![Lookup::Absent; count].into())
    }

    /// Whether any value did not arrive.
    pub fn is_incomplete(&self) -> bool {
        self.0.iter().any(|lookup| matches!(lookup, Lookup::TimedOut))
    }
}
