//! Counts decisions, one after the other, and makes the report of them.
//!
//! Memory: 16 bytes per labelled, scored transaction, and one entry per day and card. Reasons, rules and currencies are as
//! many as the policy and ISO 4217 have.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::money::Currency;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::offline::metrics::{CardPrecision, Ranking, SCORED_ROWS_MAX, Scored};
use crate::offline::report::{
    BacktestReport, ChangeRow, Comparison, InputSummary, MissingRow, MoneyRow, OutcomeRow, PolicyVersions,
    Quality, ReasonRow, RuleRow, RuleState, RuleValue, Speed, TruthCounts, share,
};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Cards that are looked at per day for card precision.
const CARDS_PER_DAY: usize = 100;
/// Most different reasons that are counted one by one; the rest is counted together.
const REASONS_MAX: usize = 10_000;
/// What the reasons past [`REASONS_MAX`] are counted under.
const OTHER_REASONS: &str = "(other reasons)";

/// A rule of the policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleInfo {
    /// Its id.
    pub id: String,
    /// Whether it decides.
    pub state: RuleState,
    /// What it says.
    pub outcome: Outcome,
}

/// One decision and what became of its transaction.
#[derive(Clone, Copy, Debug)]
pub struct JudgedRow<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// What became of it.
    pub truth: Option<Verdict>,
    /// The decision.
    pub outcome: Outcome,
    /// The code that decided.
    pub reason: &'a str,
    /// The rule that decided.
    pub decided_by: Option<&'a str>,
    /// The fraud probability.
    pub score: Option<f64>,
    /// The ids of the rules that matched, live and shadow.
    pub hits: &'a [&'a str],
    /// What was missing.
    pub missing: &'a [&'a str],
    /// Whether it came too late to be added to the windows.
    pub is_late: bool,
}

/// The counts so far.
#[derive(Debug, Default)]
pub struct Tally {
    rules: Vec<RuleTally>,
    rules_by_id: HashMap<String, usize>,
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
    compared: u64,
    changes: BTreeMap<(Outcome, Outcome), TruthCounts>,
}

#[derive(Debug)]
struct RuleTally {
    info: RuleInfo,
    decided: u64,
    truth: TruthCounts,
    value: BTreeMap<Currency, (i128, i128)>,
}

#[derive(Debug, Default)]
struct MoneyTally {
    total: i128,
    fraud: i128,
    blocked: i128,
    fraud_blocked: i128,
    fraud_stopped: i128,
    legitimate_blocked: i128,
}

fn count(counts: &mut TruthCounts, truth: Option<Verdict>) {
    match truth {
        Some(Verdict::Fraud) => counts.fraud += 1,
        Some(Verdict::Legitimate) => counts.legitimate += 1,
        None => counts.unlabelled += 1,
    }
}

impl Tally {
    /// Nothing counted yet, for a policy with these rules.
    pub fn new(rules: Vec<RuleInfo>) -> Self {
        let rules_by_id = rules.iter().enumerate().map(|(at, rule)| (rule.id.clone(), at)).collect();
        let rules = rules.into_iter().map(|info| RuleTally {
            info,
            decided: 0,
            truth: TruthCounts::default(),
            value: BTreeMap::new(),
        });
        Self { rules: rules.collect(), rules_by_id, ..Self::default() }
    }

    /// Counts a decision.
    pub fn add(&mut self, row: &JudgedRow<'_>) {
        let truth = row.truth;
        count(&mut self.truth, truth);
        count(self.outcomes.entry(row.outcome).or_default(), truth);
        self.add_reason(row.reason, truth);
        self.add_rules(row);
        self.add_money(row);
        self.add_score(row);
        for part in row.missing {
            *self.missing.entry((*part).into()).or_default() += 1;
        }
        self.degraded += u64::from(!row.missing.is_empty());
        self.late += u64::from(row.is_late);
        let at = row.transaction.occurred_at;
        let (first, last) = self.period.unwrap_or((at, at));
        self.period = Some((first.min(at), last.max(at)));
    }

    /// Counts what another policy, or the recorded decision, said about the same transaction.
    pub fn compare(&mut self, before: Outcome, after: Outcome, truth: Option<Verdict>) {
        self.compared += 1;
        if before != after {
            count(self.changes.entry((before, after)).or_default(), truth);
        }
    }

    fn add_reason(&mut self, reason: &str, truth: Option<Verdict>) {
        let is_known = self.reasons.contains_key(reason) || self.reasons.len() < REASONS_MAX;
        let reason = if is_known { reason } else { OTHER_REASONS };
        match self.reasons.get_mut(reason) {
            Some(counts) => count(counts, truth),
            None => count(self.reasons.entry(reason.into()).or_default(), truth),
        }
    }

    fn add_rules(&mut self, row: &JudgedRow<'_>) {
        let amount = row.transaction.amount;
        for id in row.hits {
            let Some(rule) = self.rules_by_id.get(*id).and_then(|at| self.rules.get_mut(*at)) else {
                continue;
            };
            count(&mut rule.truth, row.truth);
            let (fraud, other) = rule.value.entry(amount.currency()).or_default();
            let sum = if row.truth == Some(Verdict::Fraud) { fraud } else { other };
            *sum += i128::from(amount.minor());
        }
        let decided = row.decided_by.and_then(|id| self.rules_by_id.get(id));
        if let Some(rule) = decided.and_then(|at| self.rules.get_mut(*at)) {
            rule.decided += 1;
        }
    }

    fn add_money(&mut self, row: &JudgedRow<'_>) {
        let money = self.money.entry(row.transaction.amount.currency()).or_default();
        let minor = i128::from(row.transaction.amount.minor());
        let is_blocked = row.outcome == Outcome::Block;
        money.total += minor;
        if is_blocked {
            money.blocked += minor;
        }
        match row.truth {
            Some(Verdict::Fraud) => {
                money.fraud += minor;
                if is_blocked {
                    money.fraud_blocked += minor;
                }
                if row.outcome != Outcome::Approve {
                    money.fraud_stopped += minor;
                }
            }
            Some(Verdict::Legitimate) if is_blocked => money.legitimate_blocked += minor,
            Some(Verdict::Legitimate) | None => {}
        }
    }

    fn add_score(&mut self, row: &JudgedRow<'_>) {
        let (Some(score), Some(truth)) = (row.score, row.truth) else { return };
        let scored = Scored { score, is_fraud: truth == Verdict::Fraud };
        if self.scored.len() < SCORED_ROWS_MAX {
            self.scored.push(scored);
        }
        let transaction = row.transaction;
        if let Some(card) = transaction.card.fingerprint.as_ref().or(transaction.customer.id.as_ref()) {
            self.cards.add(transaction.occurred_at.unix_millis().div_euclid(DAY_MS), card.as_str(), scored);
        }
    }

    /// How many decisions have been counted.
    pub const fn decisions(&self) -> u64 {
        self.truth.total()
    }

    /// The report. `elapsed` is how long the run took; `against` is what was compared with.
    pub fn report(
        self,
        input: InputSummary,
        versions: PolicyVersions,
        elapsed: Duration,
        against: Option<String>,
    ) -> BacktestReport {
        let decisions = self.decisions();
        let comparison = against.map(|against| Comparison {
            against,
            compared: self.compared,
            changed: self.changes.values().map(TruthCounts::total).sum(),
            changes: change_rows(&self.changes),
        });
        BacktestReport {
            input: input.with_period(self.period),
            versions,
            truth: self.truth,
            quality: quality(self.scored, &self.cards),
            decisions: outcome_rows(&self.outcomes, &self.truth),
            reasons: reason_rows(self.reasons),
            rules: self.rules.into_iter().map(|rule| rule.row(&self.truth)).collect(),
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

fn quality(scored: Vec<Scored>, cards: &CardPrecision) -> Option<Quality> {
    let ranking = Ranking::new(scored);
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

fn outcome_rows(outcomes: &BTreeMap<Outcome, TruthCounts>, all: &TruthCounts) -> Vec<OutcomeRow> {
    let mut from_here = TruthCounts::default();
    let mut rows = Vec::with_capacity(Outcome::ALL.len());
    for outcome in Outcome::ALL.into_iter().rev() {
        let truth = outcomes.get(&outcome).copied().unwrap_or_default();
        from_here.fraud += truth.fraud;
        from_here.legitimate += truth.legitimate;
        rows.push(OutcomeRow {
            outcome,
            count: truth.total(),
            share: share(truth.total(), all.total()),
            truth,
            precision: truth.precision(),
            recall: truth.recall(all),
            precision_from_here: from_here.precision(),
            recall_from_here: from_here.recall(all),
        });
    }
    rows
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

fn change_rows(changes: &BTreeMap<(Outcome, Outcome), TruthCounts>) -> Vec<ChangeRow> {
    let rows = changes.iter();
    rows.map(|((before, after), truth)| ChangeRow {
        before: *before,
        after: *after,
        count: truth.total(),
        truth: *truth,
    })
    .collect()
}

impl RuleTally {
    fn row(self, all: &TruthCounts) -> RuleRow {
        let value = self.value.into_iter().map(|(currency, (fraud_minor, other_minor))| RuleValue {
            currency: currency.code(),
            fraud_minor,
            other_minor,
        });
        RuleRow {
            rule: self.info.id,
            state: self.info.state,
            outcome: self.info.outcome,
            hits: self.truth.total(),
            decided: self.decided,
            truth: self.truth,
            precision: self.truth.precision(),
            recall: self.truth.recall(all),
            value: value.collect(),
        }
    }
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
        }
    }
}
