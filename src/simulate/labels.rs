//! How the truth becomes known: late, in part, and sometimes wrongly.
//!
//! A transaction has at most one label. Frauds are reported by chargeback, early warning or the customer, days to weeks after;
//! some never are. Legitimate transactions have a label only when an analyst looked at them or they were refunded: as in life,
//! most transactions never get one, and silence is no proof. Training and evaluation take the truth instead.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::domain::label::{Label, LabelKind, Verdict};
use crate::domain::text::Id;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::simulate::cast;
use crate::simulate::draw::Draw;
use crate::simulate::parameters::{Labels, Parameters};
use crate::simulate::simulation::Scenario;

/// Longest delay of a label, in days: the time in which the card networks allow a dispute.
pub const DELAY_DAYS_MAX: f64 = 120.0;
/// Shortest delay of a label, in days: about a minute.
const DELAY_DAYS_MIN: f64 = 0.0007;

/// Decides what becomes known of each transaction.
#[derive(Clone, Debug)]
pub(crate) struct Labeller {
    draw: Draw,
    labels: Labels,
}

impl Labeller {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self { draw: Draw::new(parameters.seed, 3), labels: parameters.labels }
    }

    /// The label of that transaction, if it ever gets one.
    pub(crate) fn label(&mut self, transaction: &Transaction, truth: Option<Scenario>) -> Option<Label> {
        // As many draws for every transaction, so that one more fraud does not change the labels of all later ones.
        let (reviewed, wrong, kind, spread) =
            (self.draw.unit(), self.draw.unit(), self.draw.unit(), self.draw.normal());
        let labels = &self.labels;
        let delay = |median: f64| median * libm::exp(labels.delay_sigma * spread);
        let is_wrong = wrong < labels.review_error_share;
        let (verdict, kind, days, reason) = match truth {
            Some(scenario)
                if scenario != Scenario::FriendlyFraud && reviewed < labels.reviewed_fraud_share =>
            {
                let verdict = if is_wrong { Verdict::Legitimate } else { Verdict::Fraud };
                (verdict, LabelKind::Review, delay(0.4), None)
            }
            Some(_) if wrong < labels.never_reported_share => return None,
            // Who disputes an own purchase goes to the bank, and late.
            Some(Scenario::FriendlyFraud) => {
                (Verdict::Fraud, LabelKind::Chargeback, delay(labels.chargeback_days * 1.6), Some("13.1"))
            }
            Some(_) if kind < labels.early_warning_share => {
                (Verdict::Fraud, LabelKind::EarlyFraudWarning, delay(labels.early_warning_days), None)
            }
            Some(_) if kind < labels.early_warning_share + labels.customer_report_share => {
                (Verdict::Fraud, LabelKind::CustomerReport, delay(labels.customer_report_days), None)
            }
            Some(_) => (Verdict::Fraud, LabelKind::Chargeback, delay(labels.chargeback_days), Some("10.4")),
            None if reviewed < labels.reviewed_legitimate_share => {
                let verdict = if is_wrong { Verdict::Fraud } else { Verdict::Legitimate };
                (verdict, LabelKind::Review, delay(0.4), None)
            }
            None if reviewed < labels.reviewed_legitimate_share + labels.refund_share => {
                (Verdict::Legitimate, LabelKind::Refund, delay(6.0), None)
            }
            None => return None,
        };
        let delay_ms = days.clamp(DELAY_DAYS_MIN, DELAY_DAYS_MAX) * 86_400_000.0;
        let delay = Duration::from_millis(u64::try_from(cast::whole(delay_ms)).unwrap_or(0));
        Some(Label {
            transaction_id: transaction.id.clone(),
            verdict,
            kind,
            occurred_at: transaction.occurred_at.plus(delay),
            reason_code: reason.and_then(|code| Id::parse(code).ok()),
        })
    }
}

/// Labels on their way: put in as their transactions happen, taken out in order of the time when they become known.
///
/// It holds what became known in no more than the last 120 days of transactions, about 3 % of them.
#[derive(Debug, Default)]
pub struct LabelQueue {
    waiting: BinaryHeap<Reverse<Waiting>>,
    inserted: u64,
}

#[derive(Debug)]
struct Waiting {
    label: Label,
    number: u64,
}

impl Waiting {
    const fn key(&self) -> (EventTime, u64) {
        (self.label.occurred_at, self.number)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl LabelQueue {
    /// Takes a label in.
    pub fn push(&mut self, label: Label) {
        self.waiting.push(Reverse(Waiting { label, number: self.inserted }));
        self.inserted += 1;
    }

    /// The earliest label that is known at `now`, or `None` when there is none yet. Of two that become known in the same
    /// millisecond, the one put in first comes first.
    pub fn pop_known(&mut self, now: EventTime) -> Option<Label> {
        let is_known = self.waiting.peek().is_some_and(|Reverse(waiting)| waiting.label.occurred_at <= now);
        if is_known { self.pop() } else { None }
    }

    /// The earliest label, known yet or not.
    pub fn pop(&mut self) -> Option<Label> {
        self.waiting.pop().map(|Reverse(waiting)| waiting.label)
    }

    /// How many labels wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
