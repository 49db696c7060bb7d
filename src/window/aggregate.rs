//! The numbers over a window: accumulators that grow from the shortest window to the longest, and the pass that feeds them.
//!
//! Accumulators hold integers only, so the order in which events enter does not matter. Every floating-point step stands here, once.

use std::collections::HashSet;
use std::ops::Range;

use smallvec::SmallVec;

use crate::domain::limits::AMOUNT_MINOR_MAX;
use crate::domain::money::{Currency, minor_to_major};
use crate::window::event::{Event, LabelEvent, Timed};
use crate::window::layout::EVENTS_PER_KEY_MAX;
use crate::window::log::Log;
use crate::window::plan::{Measure, StreamPlan, WindowPlan, write};

// `variance` below is exact as long as this holds.
const _: () = {
    let events = EVENTS_PER_KEY_MAX as u128 + 1;
    let amount = AMOUNT_MINOR_MAX as u128;
    assert!(u128::MAX / (events * events) >= amount * amount);
};

/// Exact totals of amounts in one currency. Amounts are never negative.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    count: u64,
    sum: u128,
    squares: u128,
    min: i64,
    max: i64,
}

impl Amounts {
    const NONE: Self = Self { count: 0, sum: 0, squares: 0, min: i64::MAX, max: i64::MIN };

    fn push(&mut self, minor: i64) {
        let amount = u128::from(minor.unsigned_abs());
        self.count += 1;
        self.sum += amount;
        self.squares += amount * amount;
        self.min = self.min.min(minor);
        self.max = self.max.max(minor);
    }

    fn with(mut self, minor: Option<i64>) -> Self {
        if let Some(minor) = minor {
            self.push(minor);
        }
        self
    }

    /// `n * sum(x^2) - sum(x)^2`, which is n^2 times the variance of the population, in minor units squared. Never negative.
    fn variance(self) -> u128 {
        u128::from(self.count) * self.squares - self.sum * self.sum
    }

    fn sum(self, currency: Currency) -> f64 {
        minor_to_major(self.sum.cast_signed(), currency)
    }

    #[expect(clippy::cast_precision_loss, reason = "one rounding of an exact total")]
    fn mean(self, currency: Currency) -> f64 {
        if self.count == 0 { f64::NAN } else { self.sum as f64 / self.divisor(currency) }
    }

    #[expect(clippy::cast_precision_loss, reason = "one rounding of an exact total")]
    fn stddev(self, currency: Currency) -> f64 {
        if self.count == 0 { f64::NAN } else { (self.variance() as f64).sqrt() / self.divisor(currency) }
    }

    /// How many standard deviations `minor` lies above the mean: `(x - S/n) / (sqrt(n * Q - S^2) / n)`, with n taken out.
    #[expect(clippy::cast_precision_loss, reason = "one rounding of an exact total")]
    fn zscore(self, minor: i64) -> f64 {
        let variance = self.variance();
        if self.count < 2 || variance == 0 {
            return f64::NAN;
        }
        let above = i128::from(self.count) * i128::from(minor) - self.sum.cast_signed();
        above as f64 / (variance as f64).sqrt()
    }

    fn extreme(self, minor: i64, currency: Currency) -> f64 {
        if self.count == 0 { f64::NAN } else { minor_to_major(i128::from(minor), currency) }
    }

    /// Events times minor units in a major one: a whole number far below 2^53, so exact.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn divisor(self, currency: Currency) -> f64 {
        self.count as f64 * currency.minor_per_major() as f64
    }
}

/// Different values, counted exactly. Few lie in a list, many in a hash set.
#[derive(Debug, Default)]
struct Distinct {
    few: SmallVec<[u64; Self::FEW_MAX]>,
    many: HashSet<u64>,
}

impl Distinct {
    const FEW_MAX: usize = 16;

    /// 0 is a missing value and counts for nothing.
    fn push(&mut self, value: u64) {
        if value == 0 {
            return;
        }
        if !self.many.is_empty() {
            self.many.insert(value);
        } else if !self.few.contains(&value) {
            if self.few.len() < Self::FEW_MAX {
                self.few.push(value);
            } else {
                self.many = self.few.iter().copied().chain([value]).collect();
            }
        }
    }

    fn count(&self) -> usize {
        if self.many.is_empty() { self.few.len() } else { self.many.len() }
    }
}

/// The attempt that is being decided, as one entity sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<'a> {
    pub(crate) event: Event,
    /// May be shorter than the log's rows: what is not there is missing.
    pub(crate) attributes: &'a [u64],
}

impl Present<'_> {
    /// The position of the event in `log` that is this attempt.
    pub(crate) fn position_in(&self, log: &Log<Event>) -> Option<usize> {
        let events = log.events();
        let end = log.count_until(self.event.at);
        let same_time = events[..end].iter().rev().take_while(|event| event.at == self.event.at);
        same_time.zip((0..end).rev()).find(|(event, _)| **event == self.event).map(|(_, position)| position)
    }
}

/// Reads `attempts`, `approved` or `declined`.
///
/// `own` is the position of the event that is the present attempt itself: it is passed over. With `included` the present
/// attempt is counted, once, on top of what the log holds.
pub(crate) fn read_events(
    log: &Log<Event>,
    plan: &StreamPlan,
    present: &Present<'_>,
    own: Option<usize>,
    included: bool,
    out: &mut [f64],
) {
    let (at, currency) = (present.event.at, present.event.currency);
    let counted = included.then_some(present.event.minor);
    let mut distinct: SmallVec<[Distinct; 4]> = plan.attributes.iter().map(|_| Distinct::default()).collect();
    if included {
        for (distinct, &attribute) in distinct.iter_mut().zip(&plan.attributes) {
            distinct.push(present.attributes.get(usize::from(attribute)).copied().unwrap_or(0));
        }
    }
    let end = log.count_until(at);
    let mut amounts = Amounts::NONE;
    let mut first = end;
    for window in &plan.windows {
        let from = first_after(log, first, at - window.window_ms);
        for segment in without(from..first, own) {
            if window.amounts {
                for event in &log.events()[segment.clone()] {
                    if event.currency == currency {
                        amounts.push(event.minor);
                    }
                }
            }
            if window.attributes > 0 {
                for position in segment {
                    let row = log.attributes(position);
                    for (distinct, &attribute) in
                        distinct.iter_mut().zip(&plan.attributes[..window.attributes])
                    {
                        distinct.push(row.get(usize::from(attribute)).copied().unwrap_or(0));
                    }
                }
            }
        }
        first = from;
        let passed_over = usize::from(own.is_some_and(|own| (first..end).contains(&own)));
        let count = end - first - passed_over + usize::from(included);
        write_window(window, count, &amounts, &distinct, counted, present, out);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn write_window(
    window: &WindowPlan,
    count: usize,
    earlier: &Amounts,
    distinct: &[Distinct],
    counted: Option<i64>,
    present: &Present<'_>,
    out: &mut [f64],
) {
    let currency = present.event.currency;
    let all = earlier.with(counted);
    for read in &window.reads {
        let number = match read.measure {
            Measure::Count => count as f64,
            Measure::Sum => all.sum(currency),
            Measure::Mean => all.mean(currency),
            Measure::Stddev => all.stddev(currency),
            Measure::Min => all.extreme(all.min, currency),
            Measure::Max => all.extreme(all.max, currency),
            Measure::ZScore => earlier.zscore(present.event.minor),
            Measure::Distinct { attribute } => {
                distinct.get(usize::from(attribute)).map_or(f64::NAN, |distinct| distinct.count() as f64)
            }
            // A compiled plan has these on labels only.
            Measure::FraudCount | Measure::FraudRate => f64::NAN,
        };
        write(out, read.output, number);
    }
}

/// Reads `labels` as of `at`; `log` is `None` for a key without labels.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn read_labels(log: Option<&Log<LabelEvent>>, plan: &StreamPlan, at: i64, out: &mut [f64]) {
    let empty = Log::new(0);
    let log = log.unwrap_or(&empty);
    let end = log.count_until(at);
    let (mut first, mut fraud) = (end, 0_usize);
    for window in &plan.windows {
        let from = first_after(log, first, at - window.window_ms);
        fraud += log.events()[from..first].iter().filter(|label| label.fraud).count();
        first = from;
        let labels = end - first;
        for read in &window.reads {
            let number = match read.measure {
                Measure::Count => labels as f64,
                Measure::FraudCount => fraud as f64,
                Measure::FraudRate if labels > 0 => fraud as f64 / labels as f64,
                _ => f64::NAN,
            };
            write(out, read.output, number);
        }
    }
}

/// The position of the first event after `at` among the first `end`.
fn first_after<E: Timed>(log: &Log<E>, end: usize, at: i64) -> usize {
    log.events()[..end].partition_point(|event| event.at() <= at)
}

/// A range of positions in two parts, without one of them.
fn without(range: Range<usize>, own: Option<usize>) -> [Range<usize>; 2] {
    match own {
        Some(own) if range.contains(&own) => [range.start..own, own + 1..range.end],
        _ => [range.clone(), range.end..range.end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(minors: &[i64]) -> Amounts {
        minors.iter().fold(Amounts::NONE, |amounts, &minor| amounts.with(Some(minor)))
    }

    fn bits(numbers: [f64; 3]) -> [u64; 3] {
        numbers.map(f64::to_bits)
    }

    #[test]
    fn known_means_and_deviations() {
        let euro = Currency::parse("EUR").unwrap();
        let cases: [(&[i64], [f64; 3]); 4] = [
            (&[], [0.0, f64::NAN, f64::NAN]),
            (&[1_999], [19.99, 19.99, 0.0]),
            (&[200, 400, 400, 400, 500, 500, 700, 900], [40.0, 5.0, 2.0]),
            (&[10, 20], [0.3, 0.15, 0.05]),
        ];
        for (minors, expected) in cases {
            let amounts = amounts(minors);
            let actual = [amounts.sum(euro), amounts.mean(euro), amounts.stddev(euro)];
            assert_eq!(bits(actual), bits(expected), "{minors:?}");
        }
    }

    #[test]
    fn a_zscore_needs_two_earlier_ones_that_differ() {
        assert!(amounts(&[]).zscore(100).is_nan());
        assert!(amounts(&[100]).zscore(100).is_nan());
        assert!(amounts(&[100, 100]).zscore(900).is_nan());
        let eight = amounts(&[2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!([9, 5, 1].map(|minor| eight.zscore(minor).to_bits()), [2.0, 0.0, -2.0].map(f64::to_bits));
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        let mut amounts = Amounts::NONE;
        for number in 0..=EVENTS_PER_KEY_MAX {
            amounts.push(if number % 2 == 0 { AMOUNT_MINOR_MAX } else { 0 });
        }
        let yen = Currency::parse("JPY").unwrap();
        assert!((amounts.stddev(yen) / 5e14 - 1.0).abs() < 1e-6);
        assert!((amounts.zscore(AMOUNT_MINOR_MAX) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn distinct_values_are_counted_past_the_short_list() {
        let mut distinct = Distinct::default();
        for round in 0..2 {
            for value in 0..=100 {
                distinct.push(value);
                let expected = if round == 0 { value } else { 100 };
                assert_eq!(distinct.count() as u64, expected);
            }
        }
    }
}
