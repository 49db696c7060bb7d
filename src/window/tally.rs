//! What has been counted so far on the way from the shortest window to the longest, and the numbers of one window written out.

use smallvec::SmallVec;

use crate::domain::money::Currency;
use crate::window::amounts::{Amounts, minor_per_major};
use crate::window::compiled::{Number, OverAmounts, WindowPlan, write};

/// The events of one outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeTally {
    pub(crate) count: u64,
    pub(crate) amounts: Amounts,
}

impl OutcomeTally {
    pub(crate) const NONE: Self = Self { count: 0, amounts: Amounts::NONE };
}

/// Counts of one key as of the present attempt. Amounts are those in its currency.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Minor units in a major one.
    major: f64,
    /// Attempts in all currencies, the present one included.
    pub(crate) attempts: u64,
    /// The earlier ones, without the present one.
    pub(crate) earlier: Amounts,
    /// The earlier ones and the present one: see `include`.
    all: Amounts,
    pub(crate) approved: OutcomeTally,
    pub(crate) declined: OutcomeTally,
    pub(crate) labels: u64,
    pub(crate) frauds: u64,
    /// Different values, by position in `EntityPlan::attributes`, the present attempt included.
    pub(crate) distinct: SmallVec<[u64; 8]>,
}

impl Tally {
    /// The present attempt alone.
    pub(crate) fn new(attributes: usize, currency: Currency) -> Self {
        Self {
            major: minor_per_major(currency),
            attempts: 1,
            earlier: Amounts::NONE,
            all: Amounts::NONE,
            approved: OutcomeTally::NONE,
            declined: OutcomeTally::NONE,
            labels: 0,
            frauds: 0,
            distinct: SmallVec::from_elem(0, attributes),
        }
    }

    /// Never inlined: see `Amounts::number`.
    #[inline(never)]
    fn fraud_rate(&self) -> f64 {
        if self.labels > 0 { count(self.frauds) / count(self.labels) } else { f64::NAN }
    }

    /// Puts the present amount to the earlier ones, after those have changed.
    pub(crate) fn include(&mut self, minor: i64) {
        self.all = self.earlier.with(minor);
    }

    /// Writes the numbers of a window; `minor` is the present amount.
    pub(crate) fn write(&self, window: &WindowPlan, minor: i64, out: &mut [f64]) {
        for read in &window.reads {
            let number = match read.number {
                Number::Attempts => count(self.attempts),
                Number::Approved => count(self.approved.count),
                Number::Declined => count(self.declined.count),
                Number::Labels => count(self.labels),
                Number::Frauds => count(self.frauds),
                Number::FraudRate => self.fraud_rate(),
                Number::Distinct(attribute) => {
                    self.distinct.get(usize::from(attribute)).map_or(f64::NAN, |&distinct| count(distinct))
                }
                // Against the earlier ones: of attempts the present one is left out, of outcomes all are earlier.
                Number::OfAttempts(over @ OverAmounts::ZScore) => {
                    self.earlier.number(over, minor, self.major)
                }
                Number::OfAttempts(over) => self.all.number(over, minor, self.major),
                Number::OfApproved(over) => self.approved.amounts.number(over, minor, self.major),
                Number::OfDeclined(over) => self.declined.amounts.number(over, minor, self.major),
            };
            write(out, read.output as usize, number);
        }
    }
}

/// A count is far below 2^53, and so a double.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count(number: u64) -> f64 {
    number.cast_signed() as f64
}
