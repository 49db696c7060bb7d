//! Why a body is refused.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::domain::limits::FIELD_ERRORS_MAX;

/// One wrong field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldError {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole body.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// Why a body is refused: it is no JSON, or it has wrong fields.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Rejection {
    /// Not JSON, or nested deeper than 128 levels.
    NotJson(String),
    /// JSON, with these wrong fields (at most 64 of them).
    Invalid(Vec<FieldError>),
}

impl Rejection {
    /// A rejection for one field.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(detail) => write!(f, "not JSON: {detail}"),
            Self::Invalid(errors) => {
                for (position, error) in errors.iter().enumerate() {
                    let separator = if position == 0 { "" } else { "; " };
                    let pointer = if error.pointer.is_empty() { "body" } else { &error.pointer };
                    write!(f, "{separator}{pointer} {}", error.detail)?;
                }
                Ok(())
            }
        }
    }
}

/// Wrong fields as they are found, up to a bound.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Adds one, unless there are already as many as an answer names.
    pub fn push(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < FIELD_ERRORS_MAX {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them as a rejection.
    pub fn into_rejection(self) -> Rejection {
        Rejection::Invalid(self.0)
    }
}
