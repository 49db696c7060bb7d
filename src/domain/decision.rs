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

/// Which rules, model and features decided, by content hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versions {
    /// The rule files and lists.
    pub rules: Box<str>,
    /// The model file; `null` when there is none.
    pub model: Option<Box<str>>,
    /// The feature catalogue.
    pub features: Box<str>,
}

/// A model that scores beside the one that decides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChallengerVersion {
    /// What config calls it.
    pub name: Box<str>,
    /// The model file, by content hash.
    pub model: Box<str>,
}

/// How the customer is to prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Challenge {
    /// EMV 3-D Secure with a challenge requested.
    ThreeDs,
}

/// The answer to one transaction: what is sent, recorded, and sent again for a repeated request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// `dec_` and a ULID.
    pub decision_id: Box<str>,
    /// The gateway's id of the transaction.
    pub transaction_id: Box<str>,
    /// What to do.
    pub decision: Outcome,
    /// The code that decided.
    pub reason: Box<str>,
    /// All reasons, most decisive first.
    pub reasons: Vec<Reason>,
    /// The fraud probability, 0..=1; `None` when no model could score.
    pub score: Option<f32>,
    /// The score for people.
    pub risk_level: RiskLevel,
    /// For `CHALLENGE`: how.
    pub challenge: Option<Challenge>,
    /// Whether something was missing that should have been there.
    pub degraded: bool,
    /// What.
    pub missing: Vec<Box<str>>,
    /// By what it was decided.
    pub versions: Versions,
}
