//! What a backtest found, as data. [`crate::offline::report_text`] renders it for people; `--json` prints it as it is.
//!
//! Amounts are minor units, summed exactly. Every precision and recall is over labelled transactions only, and absent where
//! it would divide by zero.

use serde::{Deserialize, Serialize};

use crate::domain::decision::Outcome;
use crate::domain::time::EventTime;
use crate::offline::error::BadRow;
use crate::offline::replay::ReplayCounts;

/// The whole report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BacktestReport {
    /// What was read.
    pub input: InputSummary,
    /// What decided.
    pub versions: PolicyVersions,
    /// What was known of the transactions in the end.
    pub truth: TruthCounts,
    /// How the score ranked them; absent when no labelled transaction was scored.
    pub quality: Option<Quality>,
    /// Decisions by outcome, most severe first.
    pub decisions: Vec<OutcomeRow>,
    /// Deciding reasons, the most frequent first.
    pub reasons: Vec<ReasonRow>,
    /// Every rule, in the order of the rule files.
    pub rules: Vec<RuleRow>,
    /// Money by currency, in the order of the codes.
    pub money: Vec<MoneyRow>,
    /// What was missing, the most frequent first.
    pub missing: Vec<MissingRow>,
    /// Decisions with anything missing.
    pub degraded: u64,
    /// Transactions that came too late to be added to the windows.
    pub late: u64,
    /// How fast it went.
    pub speed: Speed,
    /// How the decisions differ from others; absent when nothing was compared.
    pub comparison: Option<Comparison>,
}

/// What was read.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct InputSummary {
    /// The file of transactions.
    pub file: String,
    /// The file of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_file: Option<String>,
    /// Rows read, skipped ones included.
    pub rows: u64,
    /// Rows that could not be read.
    pub rows_skipped: u64,
    /// The first of them.
    pub first_skipped: Vec<BadRow>,
    /// What was replayed.
    pub replay: ReplayCounts,
    /// The earliest event, RFC 3339.
    pub first_event: Option<String>,
    /// The latest event, RFC 3339.
    pub last_event: Option<String>,
}

impl InputSummary {
    /// Fills in the period.
    pub fn with_period(mut self, period: Option<(EventTime, EventTime)>) -> Self {
        self.first_event = period.map(|(first, _)| first.to_string());
        self.last_event = period.map(|(_, last)| last.to_string());
        self
    }
}

/// What decided: content hashes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PolicyVersions {
    /// Of the rules.
    pub rules: String,
    /// Of the model, if there is one.
    pub model: Option<String>,
    /// Of the feature catalogue.
    pub features: String,
}

/// Transactions by what was known of them in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TruthCounts {
    /// Fraud.
    pub fraud: u64,
    /// Not.
    pub legitimate: u64,
    /// Nothing known.
    pub unlabelled: u64,
}

impl TruthCounts {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.fraud + self.legitimate + self.unlabelled
    }

    /// The share of fraud among the labelled.
    pub fn precision(&self) -> Option<f64> {
        share(self.fraud, self.fraud + self.legitimate)
    }

    /// How much of `all`'s fraud this is.
    pub fn recall(&self, all: &Self) -> Option<f64> {
        share(self.fraud, all.fraud)
    }
}

/// `part` / `whole`; `None` for nothing of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn share(part: u64, whole: u64) -> Option<f64> {
    if whole == 0 { None } else { Some(part as f64 / whole as f64) }
}

/// How the score ranks labelled transactions. Definitions: [`crate::offline::metrics`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Quality {
    /// Labelled transactions with a score.
    pub scored: u64,
    /// Area under the ROC curve.
    pub auc_roc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// Recall at a false-positive rate of 0.1 %.
    pub recall_at_fpr_0_1_percent: Option<f64>,
    /// Recall at a false-positive rate of 1 %.
    pub recall_at_fpr_1_percent: Option<f64>,
    /// Card precision@100.
    pub card_precision_at_100: Option<f64>,
    /// Log loss.
    pub log_loss: Option<f64>,
    /// Brier score.
    pub brier: Option<f64>,
}

/// Decisions of one outcome.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct OutcomeRow {
    /// The outcome.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// Of all decisions.
    pub share: Option<f64>,
    /// What became of them.
    pub truth: TruthCounts,
    /// Share of fraud among the labelled of them.
    pub precision: Option<f64>,
    /// Share of all fraud.
    pub recall: Option<f64>,
    /// Share of fraud among the labelled decisions with this outcome or a more severe one.
    pub precision_from_here: Option<f64>,
    /// Share of all fraud that got this outcome or a more severe one.
    pub recall_from_here: Option<f64>,
}

/// Decisions for one reason.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReasonRow {
    /// The reason's code.
    pub reason: String,
    /// How many decisions it decided.
    pub count: u64,
    /// What became of them.
    pub truth: TruthCounts,
}

/// Whether a rule decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It does.
    Live,
    /// It only watches.
    Shadow,
}

impl RuleState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Shadow => "shadow",
        }
    }
}

/// One rule.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RuleRow {
    /// Its id.
    pub rule: String,
    /// Whether it decides.
    pub state: RuleState,
    /// What it says.
    pub outcome: Outcome,
    /// How often it matched.
    pub hits: u64,
    /// How often it was what decided.
    pub decided: u64,
    /// What became of the transactions that it matched.
    pub truth: TruthCounts,
    /// Share of fraud among the labelled of them.
    pub precision: Option<f64>,
    /// Share of all fraud.
    pub recall: Option<f64>,
    /// The money in them, by currency.
    pub value: Vec<RuleValue>,
}

/// Money in the transactions that a rule matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RuleValue {
    /// ISO 4217.
    pub currency: &'static str,
    /// In frauds, in minor units.
    pub fraud_minor: i128,
    /// In everything else, in minor units.
    pub other_minor: i128,
}

/// Money in one currency, in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct MoneyRow {
    /// ISO 4217.
    pub currency: &'static str,
    /// In all transactions.
    pub total_minor: i128,
    /// In frauds.
    pub fraud_minor: i128,
    /// In blocked transactions.
    pub blocked_minor: i128,
    /// In frauds that were blocked.
    pub fraud_blocked_minor: i128,
    /// In frauds that were blocked, challenged or reviewed.
    pub fraud_stopped_minor: i128,
    /// In legitimate transactions that were blocked.
    pub legitimate_blocked_minor: i128,
}

/// Something that was missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MissingRow {
    /// What.
    pub part: String,
    /// In how many decisions.
    pub count: u64,
}

/// How fast it went.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Speed {
    /// How long it took.
    pub elapsed_ms: u64,
    /// Decisions per second.
    pub transactions_per_s: f64,
}

/// How the decisions differ from others over the same transactions.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// Against what.
    pub against: String,
    /// How many were compared.
    pub compared: u64,
    /// How many differ.
    pub changed: u64,
    /// By what it was and what it is, where the two differ.
    pub changes: Vec<ChangeRow>,
}

/// Decisions that changed alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ChangeRow {
    /// What it was.
    pub before: Outcome,
    /// What it is.
    pub after: Outcome,
    /// How many.
    pub count: u64,
    /// What became of them.
    pub truth: TruthCounts,
}
