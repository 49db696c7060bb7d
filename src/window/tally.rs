//! What has been counted so far on the way from the shortest window to the longest, and the numbers of one window written out.

use crate::domain::money::Currency;
use crate::window::amounts::{Amounts, minor_per_major};
use crate::window::compiled::{Number, OverAmounts, WindowPlan, counted, write};

/// Counts of one key as of the present attempt. Amounts are those in its currency.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Minor units in a major one.
    major: f64,
    /// By position as in `compiled::counted`, in all currencies. The present attempt is included.
    pub(crate) counts: [u64; counted::ALL],
    /// The earlier attempts, without the present one.
    pub(crate) earlier: Amounts,
    pub(crate) approved: Amounts,
    pub(crate) declined: Amounts,
}

impl Tally {
    /// The present attempt alone.
    pub(crate) fn new(currency: Currency) -> Self {
        let mut counts = [0; counted::ALL];
        counts[counted::ATTEMPTS] = 1;
        Self {
            major: minor_per_major(currency),
            counts,
            earlier: Amounts::NONE,
            approved: Amounts::NONE,
            declined: Amounts::NONE,
        }
    }

    fn fraud_rate(&self) -> f64 {
        let (labels, frauds) = (self.counts[counted::LABELS], self.counts[counted::FRAUDS]);
        if labels > 0 { count(frauds) / count(labels) } else { f64::NAN }
    }

    /// Writes the numbers of a window; `minor` is the present amount, and `distinct` says how many different values there are of the
    /// attribute at a position of `EntityPlan::attributes`, the present one included.
    #[inline]
    pub(crate) fn write(
        &self,
        window: &WindowPlan,
        minor: i64,
        distinct: impl Fn(usize) -> u64,
        out: &mut [f64],
    ) {
        for &(counted, output) in &window.counts {
            let number = self.counts.get(counted as usize).map_or(f64::NAN, |&number| count(number));
            write(out, output as usize, number);
        }
        for &(attribute, output) in &window.distinct {
            write(out, output as usize, count(distinct(attribute as usize)));
        }
        if !window.reads.is_empty() {
            self.write_others(window, minor, out);
        }
    }

    fn write_others(&self, window: &WindowPlan, minor: i64, out: &mut [f64]) {
        let all = self.earlier.with(minor);
        for read in &window.reads {
            let number = match read.number {
                Number::FraudRate => self.fraud_rate(),
                // Against the earlier ones: of attempts the present one is left out, of outcomes all are earlier.
                Number::OfAttempts(over @ OverAmounts::ZScore) => {
                    self.earlier.number(over, minor, self.major)
                }
                Number::OfAttempts(over) => all.number(over, minor, self.major),
                Number::OfApproved(over) => self.approved.number(over, minor, self.major),
                Number::OfDeclined(over) => self.declined.number(over, minor, self.major),
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
