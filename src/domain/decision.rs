//! What Tollgate answers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The four answers, from the mildest to the most severe. There is no default: every failure chooses its outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// Let it through.
    Approve,
    /// Let a person look at it.
    Review,
    /// Ask the customer to prove who they are (3-D Secure, one-time code).
    Challenge,
    /// Refuse it.
    Block,
}

impl Outcome {
    /// All of them, mildest first.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Review, Self::Challenge, Self::Block];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "APPROVE",
            Self::Review => "REVIEW",
            Self::Challenge => "CHALLENGE",
            Self::Block => "BLOCK",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A coarse reading of the score for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// No model could score.
    Unknown,
    /// Below the model's `elevated` threshold.
    Low,
    /// From `elevated` to below `high`.
    Elevated,
    /// From `high` up.
    High,
}

/// Where a reason comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonSource {
    /// A rule matched.
    Rule,
    /// A feature moved the score.
    Model,
    /// Something was missing, and config says what that means.
    Degraded,
}

/// One reason of a decision.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// A rule's `reason`, a feature's name, or what was missing.
    pub code: Box<str>,
    /// Where it comes from.
    pub source: ReasonSource,
    /// The rule's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<Box<str>>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// The feature's value; absent when it is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// By how much the feature moved the margin (log-odds); positive is riskier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contribution: Option<f32>,
}
