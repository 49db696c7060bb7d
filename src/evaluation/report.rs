//! What a backtest found, as data. [`crate::evaluation::report_text`] renders it for people; `--json` and the admin port give it as
//! it is.
//!
//! Amounts are minor units, summed exactly. Every precision and recall is over transactions whose truth is known (`truth` says
//! how many), and absent where it would divide by zero. An estimate is a value with its 95 % interval.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::time::EventTime;
use crate::engine::policy::Policy;
use crate::evaluation::comparison::Comparison;
use crate::evaluation::interval::Estimate;
use crate::evaluation::metrics::CurvePoint;
use crate::evaluation::truth::Unlabelled;

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
    /// What thresholds on the score alone would give, from the highest down: the line to beat.
    pub score_curve: Vec<CurvePoint>,
    /// What the decisions catch and cost.
    pub operation: Operation,
    /// Decisions by outcome, most severe first.
    pub decisions: Vec<OutcomeRow>,
    /// Deciding reasons, the most frequent first.
    pub reasons: Vec<ReasonRow>,
    /// Every rule, live or shadow, in the order of the rule files.
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

/// Where the transactions come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A file, replayed.
    #[default]
    File,
    /// The audit log.
    Log,
    /// Live traffic, as it comes.
    Traffic,
}

/// Where the windows come from that the decisions see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Windows {
    /// Counted anew from the transactions and labels.
    #[default]
    Rebuilt,
    /// As the recorded decision saw them.
    Recorded,
}

/// Why a run ended before its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// Somebody asked for it.
    Interrupted,
    /// It took as long as it may.
    Time,
}

/// What was read.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct InputSummary {
    /// Where the transactions come from.
    pub origin: Origin,
    /// The file of transactions, or the directory of the log.
    pub file: String,
    /// The file of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_file: Option<String>,
    /// Rows or records read, skipped ones included.
    pub rows: u64,
    /// Rows or records that could not be read or decided again.
    pub rows_skipped: u64,
    /// The first of them.
    pub first_skipped: Vec<BadRow>,
    /// Why records were skipped, and how many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedRow>,
    /// What was replayed.
    pub replay: ReplayCounts,
    /// Where the windows come from.
    pub windows: Windows,
    /// Why, where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_note: Option<String>,
    /// In what the lists at run time that decisions were given may be incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists_note: Option<String>,
    /// Whose answers the streams `approved` and `declined` follow, where windows are rebuilt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes_follow: Option<OutcomesFollow>,
    /// What a transaction without a label counts as.
    pub unlabelled: Unlabelled,
    /// Why the run ended before its input; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// The earliest event, RFC 3339.
    pub first_event: Option<String>,
    /// The latest event, RFC 3339.
    pub last_event: Option<String>,
}

/// Whose answers rebuilt windows count as approved and declined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomesFollow {
    /// What was really answered.
    Recorded,
    /// The other rules', which the candidate is held against.
    Baseline,
    /// The candidate's own: there is nothing else.
    Candidate,
}

/// Records that were left out for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SkippedRow {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The sequence of the first one.
    pub first_sequence: u64,
}

/// One row that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BadRow {
    /// The file.
    pub file: String,
    /// The row, counted from 1; a header is none.
    pub row: u64,
    /// The column, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: row {}", self.file, self.row)?;
        if let Some(column) = &self.column {
            write!(f, ", column {column:?}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// What a replay has seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ReplayCounts {
    /// Transactions handed out.
    pub attempts: u64,
    /// Rows with `mode: dry_run`, which a live service would not have counted: left out.
    pub dry_runs: u64,
    /// Labels handed out.
    pub labels_delivered: u64,
    /// Labels whose transaction had not come when they became known, or never came.
    pub labels_unmatched: u64,
    /// Labels whose time has not come (yet).
    pub labels_pending: u64,
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

impl PolicyVersions {
    /// Of a policy.
    pub fn of(policy: &Policy) -> Self {
        Self {
            rules: policy.versions.rules.to_string(),
            model: policy.versions.model.as_deref().map(str::to_owned),
            features: policy.versions.features.to_string(),
        }
    }
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
    /// Takes one more in.
    pub const fn count(&mut self, truth: Option<Verdict>) {
        match truth {
            Some(Verdict::Fraud) => self.fraud += 1,
            Some(Verdict::Legitimate) => self.legitimate += 1,
            None => self.unlabelled += 1,
        }
    }

    /// With others.
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        Self {
            fraud: self.fraud + other.fraud,
            legitimate: self.legitimate + other.legitimate,
            unlabelled: self.unlabelled + other.unlabelled,
        }
    }

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

/// How the score ranks labelled transactions. Definitions: [`crate::evaluation::metrics`].
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
    /// Share of fraud among those whose truth is known.
    pub precision: Option<Estimate>,
    /// Share of all fraud.
    pub recall: Option<Estimate>,
    /// The money in them, by currency.
    pub value: Vec<RuleValue>,
    /// Of a live rule that asks for more than APPROVE: the hits that no other such rule has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<Part>,
    /// Of a live rule: the decisions that would be others without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_it: Option<Effect>,
    /// Of a shadow rule: the decisions that would be others if it were live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_live: Option<Effect>,
}

/// Some of the decisions.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Part {
    /// How many.
    pub count: u64,
    /// What became of their transactions.
    pub truth: TruthCounts,
    /// The money in them, by currency.
    pub value: Vec<RuleValue>,
}

/// Decisions that would be others, by direction.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Effect {
    /// To something more severe.
    pub more_severe: Part,
    /// To something milder.
    pub milder: Part,
}

impl Effect {
    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.more_severe.count + self.milder.count
    }
}

/// Money in some transactions of one currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RuleValue {
    /// ISO 4217.
    pub currency: &'static str,
    /// In frauds, in minor units.
    pub fraud_minor: i128,
    /// In legitimate transactions, in minor units.
    pub legitimate_minor: i128,
    /// In those of which nothing is known, in minor units.
    pub unlabelled_minor: i128,
}

/// What decisions catch and cost: of all that are not APPROVE, and of those that are BLOCK.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Operation {
    /// REVIEW, CHALLENGE and BLOCK.
    pub stopped: Point,
    /// BLOCK.
    pub blocked: Point,
}

/// Decisions as one operating point.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Point {
    /// How many.
    pub count: u64,
    /// What became of their transactions.
    pub truth: TruthCounts,
    /// Share of fraud among those whose truth is known.
    pub precision: Option<Estimate>,
    /// Share of all fraud.
    pub recall: Option<Estimate>,
    /// Share of all legitimate transactions.
    pub false_positive_rate: Option<Estimate>,
}

impl Point {
    /// Decisions of which that became, among `all`.
    pub fn new(truth: TruthCounts, all: &TruthCounts) -> Self {
        Self {
            count: truth.total(),
            truth,
            precision: Estimate::share(truth.fraud, truth.fraud + truth.legitimate),
            recall: Estimate::share(truth.fraud, all.fraud),
            false_positive_rate: Estimate::share(truth.legitimate, all.legitimate),
        }
    }
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
    /// In legitimate transactions that were blocked, challenged or reviewed.
    pub legitimate_stopped_minor: i128,
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
