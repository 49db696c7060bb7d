//! Counts decisions, one after the other, and makes the report of them.
//!
//! Memory: 16 bytes per labelled, scored transaction, and one entry per day and card. Reasons, rules and currencies are as
//! many as the policy and ISO 4217 have.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use smallvec::SmallVec;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::money::Currency;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::evaluation::comparison::{ComparisonTally, SAMPLES_DEFAULT};
use crate::evaluation::metrics::{CardPrecision, Ranking, SCORED_ROWS_MAX, Scored};
use crate::evaluation::report::{
    BacktestReport, InputSummary, MissingRow, MoneyRow, PolicyVersions, Quality, ReasonRow, Speed,
    TruthCounts,
};
use crate::evaluation::report_parts::{operation, outcome_rows};
use crate::evaluation::rule_tally::{RuleInfo, RulesTally, rules_of};
use crate::evaluation::said::{Before, Said, Subject};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Cards that are looked at per day for card precision.
const CARDS_PER_DAY: usize = 100;
/// Most different reasons that are counted one by one; the rest is counted together.
const REASONS_MAX: usize = 10_000;
/// What the reasons past [`REASONS_MAX`] are counted under.
const OTHER_REASONS: &str = "(other reasons)";
/// Most points of the report's score curve.
const CURVE_POINTS_MAX: u64 = 200;

/// One decision and what became of its transaction.
#[derive(Clone, Debug)]
pub struct JudgedRow<'a> {
    /// The transaction.
    pub subject: Subject<'a>,
    /// The decision.
    pub said: Said<'a>,
    /// The fraud probability.
    pub score: Option<f64>,
    /// What was missing.
    pub missing: SmallVec<[&'a str; 2]>,
    /// The other decision, where there is one to compare with.
    pub before: Option<Before<'a>>,
}

impl<'a> JudgedRow<'a> {
    /// What `judge` said of a transaction.
    pub fn new(
        transaction: &'a Transaction,
        truth: Option<Verdict>,
        judgement: &'a Judgement,
        before: Option<Before<'a>>,
    ) -> Self {
        Self {
            subject: Subject::of(transaction, truth),
            said: Said::judged(judgement),
            score: judgement.score.map(f64::from),
            missing: judgement.missing.iter().map(|part| part.name()).collect(),
            before,
        }
    }
}

/// What the decisions are compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Against {
    /// `recorded`, or a directory of rules.
    pub name: String,
    /// The rules there, where they are known.
    pub rules: Vec<String>,
    /// How many samples are kept of each kind of change.
    pub samples_max: usize,
}

impl Against {
    /// The decisions that were recorded.
    pub fn recorded() -> Self {
        Self { name: "recorded".to_owned(), rules: Vec::new(), samples_max: SAMPLES_DEFAULT }
    }

    /// Another policy.
    pub fn policy(name: String, policy: &Policy) -> Self {
        let rules = rules_of(policy).into_iter().map(|rule| rule.id).collect();
        Self { name, rules, samples_max: SAMPLES_DEFAULT }
    }

    /// With so many samples.
    #[must_use]
    pub fn samples(mut self, samples_max: usize) -> Self {
        self.samples_max = samples_max;
        self
    }
}

/// The counts so far.
#[derive(Debug)]
pub struct Tally {
    rules: RulesTally,
    truth: TruthCounts,
    outcomes: BTreeMap<Outcome, TruthCounts>,
    reasons: HashMap<Box<str>, TruthCounts>,
    missing: HashMap<Box<str>, u64>,
    money: BTreeMap<Currency, MoneyTally>,
    scored: Vec<Scored>,
    cards: CardPrecision,
    degraded: u64,
    late: u64,
    period: Option<(EventTime, EventTime)>,
    comparison: Option<(Against, ComparisonTally)>,
}

#[derive(Debug, Default)]
struct MoneyTally {
    total: i128,
    fraud: i128,
    blocked: i128,
    fraud_blocked: i128,
    fraud_stopped: i128,
    legitimate_blocked: i128,
    legitimate_stopped: i128,
}

impl Tally {
    /// Nothing counted yet, for a policy with these rules and this default.
    pub fn new(rules: Vec<RuleInfo>, default: Outcome, against: Option<Against>) -> Self {
        let comparison = against.map(|against| {
            let counts = ComparisonTally::new(against.samples_max);
            (against, counts)
        });
        Self {
            rules: RulesTally::new(rules, default),
            truth: TruthCounts::default(),
            outcomes: BTreeMap::new(),
            reasons: HashMap::new(),
            missing: HashMap::new(),
            money: BTreeMap::new(),
            scored: Vec::new(),
            cards: CardPrecision::default(),
            degraded: 0,
            late: 0,
            period: None,
            comparison,
        }
    }

    /// Nothing counted yet, for a policy.
    pub fn of(policy: &Policy, against: Option<Against>) -> Self {
        Self::new(rules_of(policy), policy.rules.default_outcome(), against)
    }

    /// Counts a decision.
    pub fn add(&mut self, row: &JudgedRow<'_>) {
        let (subject, said) = (&row.subject, &row.said);
        let truth = subject.truth;
        self.truth.count(truth);
        self.outcomes.entry(said.outcome).or_default().count(truth);
        self.add_reason(said.reason, truth);
        self.rules.add(subject, said);
        self.add_money(subject, said.outcome);
        self.add_score(subject, row.score);
        for part in &row.missing {
            *self.missing.entry((*part).into()).or_default() += 1;
        }
        self.degraded += u64::from(!row.missing.is_empty());
        let (first, last) = self.period.unwrap_or((subject.at, subject.at));
        self.period = Some((first.min(subject.at), last.max(subject.at)));
        if let (Some((_, comparison)), Some(before)) = (&mut self.comparison, &row.before) {
            comparison.add(subject, before, said);
        }
    }

    /// Says how many transactions came too late to be added to the windows.
    pub const fn set_late(&mut self, late: u64) {
        self.late = late;
    }

    fn add_reason(&mut self, reason: &str, truth: Option<Verdict>) {
        let is_known = self.reasons.contains_key(reason) || self.reasons.len() < REASONS_MAX;
        let reason = if is_known { reason } else { OTHER_REASONS };
        match self.reasons.get_mut(reason) {
            Some(counts) => counts.count(truth),
            None => self.reasons.entry(reason.into()).or_default().count(truth),
        }
    }

    fn add_money(&mut self, subject: &Subject<'_>, outcome: Outcome) {
        let money = self.money.entry(subject.amount.currency()).or_default();
        let minor = i128::from(subject.amount.minor());
        let is_blocked = outcome == Outcome::Block;
        money.total += minor;
        if is_blocked {
            money.blocked += minor;
        }
        match subject.truth {
            Some(Verdict::Fraud) => {
                money.fraud += minor;
                if is_blocked {
                    money.fraud_blocked += minor;
                }
                if outcome != Outcome::Approve {
                    money.fraud_stopped += minor;
                }
            }
            Some(Verdict::Legitimate) => {
                if is_blocked {
                    money.legitimate_blocked += minor;
                }
                if outcome != Outcome::Approve {
                    money.legitimate_stopped += minor;
                }
            }
            None => {}
        }
    }

    fn add_score(&mut self, subject: &Subject<'_>, score: Option<f64>) {
        let (Some(score), Some(truth)) = (score, subject.truth) else { return };
        let scored = Scored { score, is_fraud: truth == Verdict::Fraud };
        if self.scored.len() < SCORED_ROWS_MAX {
            self.scored.push(scored);
        }
        if let Some(card) = subject.card {
            self.cards.add(subject.at.unix_millis().div_euclid(DAY_MS), card, scored);
        }
    }

    /// How many decisions have been counted.
    pub const fn decisions(&self) -> u64 {
        self.truth.total()
    }

    /// The report. `elapsed` is how long the run took.
    pub fn report(self, input: InputSummary, versions: PolicyVersions, elapsed: Duration) -> BacktestReport {
        let decisions = self.decisions();
        let (rules, truth) = (self.rules, self.truth);
        let comparison =
            self.comparison.map(|(against, counts)| counts.comparison(against.name, &rules, &against.rules));
        let ranking = Ranking::new(self.scored);
        BacktestReport {
            input: input.with_period(self.period),
            versions,
            truth,
            score_curve: ranking.curve(CURVE_POINTS_MAX),
            quality: quality(&ranking, &self.cards),
            operation: operation(&self.outcomes, &truth),
            decisions: outcome_rows(&self.outcomes, &truth),
            reasons: reason_rows(self.reasons),
            rules: rules.rows(&truth),
            money: self.money.into_iter().map(|(currency, money)| money.row(currency)).collect(),
            missing: missing_rows(self.missing),
            degraded: self.degraded,
            late: self.late,
            speed: speed(decisions, elapsed),
            comparison,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn speed(decisions: u64, elapsed: Duration) -> Speed {
    let seconds = elapsed.as_secs_f64();
    Speed {
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        transactions_per_s: if seconds > 0.0 { decisions as f64 / seconds } else { 0.0 },
    }
}

fn quality(ranking: &Ranking, cards: &CardPrecision) -> Option<Quality> {
    let scored = ranking.positives() + ranking.negatives();
    if scored == 0 {
        return None;
    }
    Some(Quality {
        scored,
        auc_roc: ranking.auc_roc(),
        average_precision: ranking.average_precision(),
        recall_at_fpr_0_1_percent: ranking.recall_at_false_positive_rate(0.001),
        recall_at_fpr_1_percent: ranking.recall_at_false_positive_rate(0.01),
        card_precision_at_100: cards.mean_at(CARDS_PER_DAY),
        log_loss: ranking.log_loss(),
        brier: ranking.brier(),
    })
}

fn reason_rows(reasons: HashMap<Box<str>, TruthCounts>) -> Vec<ReasonRow> {
    let rows = reasons.into_iter();
    let mut rows: Vec<_> = rows
        .map(|(reason, truth)| ReasonRow { reason: reason.into(), count: truth.total(), truth })
        .collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
    rows
}

fn missing_rows(missing: HashMap<Box<str>, u64>) -> Vec<MissingRow> {
    let mut rows: Vec<_> =
        missing.into_iter().map(|(part, count)| MissingRow { part: part.into(), count }).collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.part.cmp(&b.part)));
    rows
}

impl MoneyTally {
    fn row(self, currency: Currency) -> MoneyRow {
        MoneyRow {
            currency: currency.code(),
            total_minor: self.total,
            fraud_minor: self.fraud,
            blocked_minor: self.blocked,
            fraud_blocked_minor: self.fraud_blocked,
            fraud_stopped_minor: self.fraud_stopped,
            legitimate_blocked_minor: self.legitimate_blocked,
            legitimate_stopped_minor: self.legitimate_stopped,
        }
    }
}
