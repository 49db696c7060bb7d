//! What was said of one transaction, by whomever: a policy now, a record, or a row of a file.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::audit::record::DecisionRecord;
use crate::domain::decision::{Outcome, Reason, ReasonSource};
use crate::domain::label::Verdict;
use crate::domain::money::Money;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::engine::judge::Judgement;

/// Ids of rules.
pub type RuleIds<'a> = SmallVec<[&'a str; 8]>;

/// A decision as it is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said<'a> {
    /// What to do.
    pub outcome: Outcome,
    /// The code that decided; empty when nobody knows.
    pub reason: &'a str,
    /// The rule that decided.
    pub rule: Option<&'a str>,
    /// The rules that matched, live and shadow.
    pub hits: RuleIds<'a>,
}

impl<'a> Said<'a> {
    /// What `judge` said.
    pub fn judged(judgement: &'a Judgement) -> Self {
        Self {
            outcome: judgement.outcome,
            reason: &judgement.reason,
            rule: decided_by(&judgement.reasons),
            hits: judgement.hits.iter().map(|hit| &*hit.rule).collect(),
        }
    }

    /// What a record says.
    pub fn recorded(record: &'a DecisionRecord) -> Self {
        Self {
            outcome: record.answer.decision,
            reason: &record.answer.reason,
            rule: decided_by(&record.answer.reasons),
            hits: record.hits.iter().map(|hit| &*hit.rule).collect(),
        }
    }

    /// An outcome of which nothing else is known.
    pub fn outcome(outcome: Outcome) -> Self {
        Self { outcome, reason: "", rule: None, hits: SmallVec::new() }
    }
}

/// The rule that decided: the first reason, if it is a rule's.
pub fn decided_by(reasons: &[Reason]) -> Option<&str> {
    let first = reasons.first().filter(|reason| reason.source == ReasonSource::Rule)?;
    first.rule.as_deref()
}

/// In what two decisions of one transaction differ beside the outcome. What one of them does not say counts as equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Differences {
    /// The code that decided.
    pub reason: bool,
    /// Any of the reasons, in code, message, value or contribution.
    pub reasons: bool,
    /// The score or the margin, in any bit.
    pub score: bool,
    /// The rules that matched, or whether they were live.
    pub hits: bool,
}

impl Differences {
    /// Between a record and what is decided now.
    pub fn from_record(record: &DecisionRecord, judgement: &Judgement) -> Self {
        let bits = |number: Option<f32>| number.map(f32::to_bits);
        let before = record.hits.iter().map(|hit| (&*hit.rule, hit.shadow));
        Self {
            reason: record.answer.reason != judgement.reason,
            reasons: record.answer.reasons != judgement.reasons,
            score: bits(record.answer.score) != bits(judgement.score)
                || bits(record.margin) != bits(judgement.margin),
            hits: !before.eq(hits(judgement)),
        }
    }

    /// Between two judgements.
    pub fn between(before: &Judgement, after: &Judgement) -> Self {
        let bits = |number: Option<f32>| number.map(f32::to_bits);
        Self {
            reason: before.reason != after.reason,
            reasons: before.reasons != after.reasons,
            score: bits(before.margin) != bits(after.margin),
            hits: !hits(before).eq(hits(after)),
        }
    }
}

/// The rules that matched, and whether they only watched.
fn hits(judgement: &Judgement) -> impl Iterator<Item = (&str, bool)> {
    judgement.hits.iter().map(|hit| (&*hit.rule, hit.is_shadow))
}

/// What a decision was before, and in what else it differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Before<'a> {
    /// The decision.
    pub said: Said<'a>,
    /// In what it differs from the new one.
    pub differences: Differences,
}

/// What of a transaction is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject<'a> {
    /// The gateway's id.
    pub id: &'a str,
    /// When it happened.
    pub at: EventTime,
    /// What it was about.
    pub amount: Money,
    /// The card, or else the customer, for card precision.
    pub card: Option<&'a str>,
    /// What became of it.
    pub truth: Option<Verdict>,
}

impl<'a> Subject<'a> {
    /// Of a transaction.
    pub fn of(transaction: &'a Transaction, truth: Option<Verdict>) -> Self {
        let card = transaction.card.fingerprint.as_ref().or(transaction.customer.id.as_ref());
        Self {
            id: transaction.id.as_str(),
            at: transaction.occurred_at,
            amount: transaction.amount,
            card: card.map(|card| card.as_str()),
            truth,
        }
    }
}
