//! Running totals over events, from the newest back: exact integers until the last step.

use std::collections::HashSet;

use smallvec::SmallVec;

use crate::domain::money::{Currency, minor_to_major};

/// Totals of amounts in one currency. Exact: sums in 128 bits, whatever the order of additions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amounts {
    count: u64,
    sum: i128,
    square_sum: u128,
    extremes: Option<(i64, i64)>,
}

impl Amounts {
    /// Adds an amount of minor units, which is never negative.
    pub fn add(&mut self, minor: i64) {
        self.count += 1;
        self.sum += i128::from(minor);
        self.square_sum += u128::from(minor.unsigned_abs()).pow(2);
        self.extremes =
            Some(self.extremes.map_or((minor, minor), |(min, max)| (min.min(minor), max.max(minor))));
    }

    /// Without one amount that was added; its extremes are left as they were.
    pub fn without(mut self, minor: i64) -> Self {
        self.count -= 1;
        self.sum -= i128::from(minor);
        self.square_sum -= u128::from(minor.unsigned_abs()).pow(2);
        self
    }

    /// The total in major units; 0 for none.
    pub fn sum(&self, currency: Currency) -> f64 {
        minor_to_major(self.sum, currency)
    }

    /// The mean in major units; missing for none.
    #[expect(clippy::cast_precision_loss, reason = "one key never holds 2^53 events")]
    pub fn mean(&self, currency: Currency) -> f64 {
        if self.count == 0 { f64::NAN } else { self.sum(currency) / self.count as f64 }
    }

    /// The population standard deviation in major units: the root of (n * sum of squares - square of the sum) / n^2, whose
    /// numerator is exact. 0 for one, missing for none.
    #[expect(clippy::cast_precision_loss, reason = "the only rounding, and the documented one")]
    pub fn stddev(&self, currency: Currency) -> f64 {
        if self.count == 0 {
            return f64::NAN;
        }
        let square_of_sum = self.sum.unsigned_abs().saturating_pow(2);
        let numerator = u128::from(self.count).saturating_mul(self.square_sum).saturating_sub(square_of_sum);
        (numerator as f64).sqrt() / self.count as f64 / currency.minor_per_major() as f64
    }

    /// How far `minor` is from the mean, in standard deviations; missing for fewer than two amounts or when all are equal.
    pub fn zscore(&self, minor: i64, currency: Currency) -> f64 {
        let stddev = self.stddev(currency);
        if self.count < 2 || stddev <= 0.0 {
            return f64::NAN;
        }
        (minor_to_major(i128::from(minor), currency) - self.mean(currency)) / stddev
    }

    /// The smallest in major units; missing for none.
    pub fn min(&self, currency: Currency) -> f64 {
        self.extremes.map_or(f64::NAN, |(min, _)| minor_to_major(i128::from(min), currency))
    }

    /// The largest in major units; missing for none.
    pub fn max(&self, currency: Currency) -> f64 {
        self.extremes.map_or(f64::NAN, |(_, max)| minor_to_major(i128::from(max), currency))
    }
}

/// How many different values a list is searched for before a set is cheaper.
const LIST_MAX: usize = 24;

/// Different values: exact up to collisions of 64-bit keyed hashes.
#[derive(Debug, Default)]
pub struct Distinct {
    few: SmallVec<[u64; LIST_MAX]>,
    many: HashSet<u64>,
}

impl Distinct {
    /// Adds a value; 0 stands for a missing one and counts for nothing.
    pub fn add(&mut self, value: u64) {
        if value == 0 {
            return;
        }
        if !self.many.is_empty() {
            self.many.insert(value);
        } else if !self.few.contains(&value) {
            if self.few.len() < LIST_MAX {
                self.few.push(value);
            } else {
                self.many.extend(self.few.drain(..));
                self.many.insert(value);
            }
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        if self.many.is_empty() { self.few.len() } else { self.many.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let euro = Currency::parse("EUR").unwrap();
        let mut amounts = Amounts::default();
        assert!(amounts.mean(euro).is_nan() && amounts.stddev(euro).is_nan() && amounts.max(euro).is_nan());
        assert_eq!(amounts.sum(euro), 0.0);
        for minor in [1_000, 2_000, 3_000] {
            amounts.add(minor);
        }
        assert_eq!((amounts.sum(euro), amounts.mean(euro)), (60.0, 20.0));
        assert_eq!((amounts.min(euro), amounts.max(euro)), (10.0, 30.0));
        assert_eq!(amounts.stddev(euro), (200.0_f64 / 3.0).sqrt());
        assert_eq!(amounts.without(3_000).zscore(3_000, euro), 3.0);
        assert!(amounts.without(3_000).without(2_000).zscore(2_000, euro).is_nan());
    }

    #[test]
    fn distinct_grows_into_a_set() {
        let mut distinct = Distinct::default();
        for value in (0..100).chain(0..100) {
            distinct.add(value);
        }
        assert_eq!(distinct.len(), 99, "0 is missing");
    }
}
