//! What stopping every transaction from some score on would catch, miss and cost, in transactions and in money.
//!
//! The threshold is the lowest score at which no more than the asked share of the legitimate transactions is stopped; equal scores
//! stay together. It is chosen on the very rows that it is measured on, so the false-positive rate leans to the good side: by less
//! than one legitimate transaction, and by chance as the interval says.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::money::Currency;
use crate::evaluation::interval::{Amounts, Estimate};
use crate::offline::scored::ScoredAmount;

/// One threshold and what it does.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct OperatingPoint {
    /// The false-positive rate that was asked for, 0 to 1.
    pub asked_false_positive_rate: f64,
    /// Transactions with this score or a higher one are stopped; `None` when even the highest score stops too many.
    pub threshold: Option<f64>,
    /// How many are stopped.
    pub stopped: u64,
    /// How many of them are fraud.
    pub fraud_stopped: u64,
    /// Share of the frauds that is stopped.
    pub recall: Option<Estimate>,
    /// Share of fraud among what is stopped.
    pub precision: Option<Estimate>,
    /// Share of the legitimate transactions that is stopped.
    pub false_positive_rate: Option<Estimate>,
    /// Money by currency, in the order of the codes.
    pub money: Vec<MoneyAtPoint>,
}

/// What it does in one currency.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct MoneyAtPoint {
    /// ISO 4217.
    pub currency: &'static str,
    /// Amount of the frauds that are stopped.
    pub fraud_caught: AmountEstimate,
    /// Amount of the frauds that pass.
    pub fraud_missed: AmountEstimate,
    /// Amount of the legitimate transactions that are stopped.
    pub legitimate_stopped: AmountEstimate,
    /// Caught as a share of all fraud, by amount.
    pub recall_by_amount: Option<Estimate>,
}

/// An amount in minor units, exact, and where it may lie in another stretch as long: see [`Estimate::total`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct AmountEstimate {
    /// As counted.
    pub minor: i128,
    /// The lower end.
    pub low_minor: i128,
    /// The upper end.
    pub high_minor: i128,
}

/// Sorts rows as [`at_false_positive_rate`] takes them: the highest score first.
pub fn sort(rows: &mut [ScoredAmount]) {
    rows.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
}

/// The point for a false-positive rate (0 to 1) of sorted rows.
#[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
pub fn at_false_positive_rate(rows: &[ScoredAmount], rate: f64) -> OperatingPoint {
    let legitimate = count(rows, false);
    let is_allowed = |stopped: u64| stopped == 0 || stopped as f64 / legitimate as f64 <= rate;
    let (mut end, mut at, mut legitimate_stopped) = (0, 0, 0);
    while let Some(row) = rows.get(at) {
        // `==` holds -0.0 and 0.0 to be one score, which the sort puts next to each other.
        let ties = rows[at..].iter().take_while(|other| other.score == row.score).count();
        legitimate_stopped += count(&rows[at..at + ties], false);
        if !is_allowed(legitimate_stopped) {
            break;
        }
        at += ties;
        end = at;
    }
    let threshold = rows[..end].last().map(|row| row.score);
    point(rows, end, rate, threshold)
}

fn point(rows: &[ScoredAmount], end: usize, rate: f64, threshold: Option<f64>) -> OperatingPoint {
    let (stopped, passed) = rows.split_at(end);
    let fraud_stopped = count(stopped, true);
    let legitimate_stopped = stopped.len() as u64 - fraud_stopped;
    let frauds = fraud_stopped + count(passed, true);
    let legitimate = rows.len() as u64 - frauds;
    let mut money: BTreeMap<Currency, [Total; 3]> = BTreeMap::new();
    for row in stopped {
        let [caught, _, wrongly] = money.entry(row.amount.currency()).or_default();
        if row.is_fraud { caught.add(row) } else { wrongly.add(row) }
    }
    for row in passed {
        let [_, missed, _] = money.entry(row.amount.currency()).or_default();
        if row.is_fraud {
            missed.add(row);
        }
    }
    let money = money.into_iter().map(|(currency, [caught, missed, wrongly])| MoneyAtPoint {
        currency: currency.code(),
        fraud_caught: caught.estimate(),
        fraud_missed: missed.estimate(),
        legitimate_stopped: wrongly.estimate(),
        recall_by_amount: Estimate::share_of_total(caught.amounts(), missed.amounts()),
    });
    OperatingPoint {
        asked_false_positive_rate: rate,
        threshold,
        stopped: stopped.len() as u64,
        fraud_stopped,
        recall: Estimate::share(fraud_stopped, frauds),
        precision: Estimate::share(fraud_stopped, stopped.len() as u64),
        false_positive_rate: Estimate::share(legitimate_stopped, legitimate),
        money: money.collect(),
    }
}

fn count(rows: &[ScoredAmount], is_fraud: bool) -> u64 {
    rows.iter().filter(|row| row.is_fraud == is_fraud).count() as u64
}

/// A sum of amounts in minor units, and of their squares.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    rows: u64,
    minor: i128,
    squares: f64,
}

impl Total {
    #[expect(clippy::cast_precision_loss, reason = "a square enters a standard error, which may be rounded")]
    fn add(&mut self, row: &ScoredAmount) {
        let minor = row.amount.minor();
        self.rows += 1;
        self.minor += i128::from(minor);
        self.squares += (minor as f64).powi(2);
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum enters a share, which may be rounded")]
    const fn amounts(self) -> Amounts {
        Amounts { rows: self.rows, sum: self.minor as f64, squares: self.squares }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a sum of 2^26 amounts below 2^63 is far below 2^127"
    )]
    fn estimate(self) -> AmountEstimate {
        let estimate = Estimate::total(self.amounts().sum, self.squares);
        AmountEstimate {
            minor: self.minor,
            low_minor: estimate.low.round() as i128,
            high_minor: estimate.high.round() as i128,
        }
    }
}
