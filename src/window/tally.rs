//! What has been counted so far on the way from the shortest window to the longest, and the numbers of one window written out.

use smallvec::SmallVec;

use crate::domain::money::Currency;
use crate::window::amounts::Amounts;
use crate::window::layout::Stream;
use crate::window::plan::{Measure, WindowPlan, write};

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
    /// Attempts in all currencies, the present one included.
    pub(crate) attempts: u64,
    /// The earlier ones, without the present one.
    pub(crate) earlier: Amounts,
    pub(crate) approved: OutcomeTally,
    pub(crate) declined: OutcomeTally,
    pub(crate) labels: u64,
    pub(crate) frauds: u64,
    /// Different values, by position in `EntityPlan::attributes`, the present attempt included.
    pub(crate) distinct: SmallVec<[u64; 8]>,
}

impl Tally {
    /// The present attempt alone.
    pub(crate) fn new(attributes: usize) -> Self {
        Self {
            attempts: 1,
            earlier: Amounts::NONE,
            approved: OutcomeTally::NONE,
            declined: OutcomeTally::NONE,
            labels: 0,
            frauds: 0,
            distinct: SmallVec::from_elem(0, attributes),
        }
    }

    /// Writes the numbers of a window; `minor` is the present amount.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(crate) fn write(&self, window: &WindowPlan, minor: i64, currency: Currency, out: &mut [f64]) {
        let all = self.earlier.with(Some(minor));
        for read in &window.reads {
            let (count, amounts) = match read.stream {
                Stream::Attempts => (self.attempts, &all),
                Stream::Approved => (self.approved.count, &self.approved.amounts),
                Stream::Declined => (self.declined.count, &self.declined.amounts),
                Stream::Labels => (self.labels, &Amounts::NONE),
            };
            let number = match read.measure {
                Measure::Count => count as f64,
                Measure::Sum => amounts.sum(currency),
                Measure::Mean => amounts.mean(currency),
                Measure::Stddev => amounts.stddev(currency),
                Measure::Min => amounts.extreme(amounts.min, currency),
                Measure::Max => amounts.extreme(amounts.max, currency),
                // Against the earlier ones: of attempts the present one is left out, of outcomes all are earlier.
                Measure::ZScore if read.stream == Stream::Attempts => self.earlier.zscore(minor),
                Measure::ZScore => amounts.zscore(minor),
                Measure::Distinct { attribute } => {
                    self.distinct.get(usize::from(attribute)).map_or(f64::NAN, |&count| count as f64)
                }
                Measure::FraudCount => self.frauds as f64,
                Measure::FraudRate if self.labels > 0 => self.frauds as f64 / self.labels as f64,
                Measure::FraudRate => f64::NAN,
            };
            write(out, read.output, number);
        }
    }
}
