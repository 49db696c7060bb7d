//! What a missing part means for the decision. Every failure has an outcome that somebody chose.

use serde::{Deserialize, Serialize};

use crate::domain::decision::Outcome;

/// What to do when a part of the decision is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnMissing {
    /// Decide with what is there.
    #[serde(rename = "continue")]
    Continue,
    /// At least this outcome: it holds unless the rules say something more severe.
    Review,
    /// See `Review`.
    Challenge,
    /// See `Review`.
    Block,
}

impl OnMissing {
    /// The outcome that the decision must not fall below.
    pub const fn floor(self) -> Option<Outcome> {
        match self {
            Self::Continue => None,
            Self::Review => Some(Outcome::Review),
            Self::Challenge => Some(Outcome::Challenge),
            Self::Block => Some(Outcome::Block),
        }
    }
}

/// The section `on_missing` of the config.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingPolicy {
    /// The enrichment store did not answer in time.
    pub enrich: OnMissing,
    /// The model could not score. A policy without a model misses nothing.
    pub model: OnMissing,
    /// Too much was asked at once, and rules alone decided, with neither profiles nor score.
    pub overload: OnMissing,
}

/// How much of a decision is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// All of it.
    Full,
    /// Windows and rules, without a score: what a service does that has no time for more.
    RulesAlone,
}

/// Something that should have been there and is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum Part {
    /// The stored profiles.
    EnrichProfile,
    /// The score.
    Model,
    /// The time for more than the rules.
    Overload,
}

impl Part {
    /// Its name in `missing`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EnrichProfile => "enrich.profile",
            Self::Model => "model",
            Self::Overload => "overload",
        }
    }
}
