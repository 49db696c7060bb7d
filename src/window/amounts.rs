//! Totals of amounts in one currency, and every floating-point step that is taken from them. Totals are integers, so the order in
//! which events enter does not matter.

use serde::{Deserialize, Serialize};

use crate::domain::limits::AMOUNT_MINOR_MAX;
use crate::domain::money::Currency;
use crate::window::block::shape::BLOCK_EVENTS_MAX;
use crate::window::compiled::OverAmounts;

/// `variance` is exact as long as events times the largest amount in a window stay below this, some 1.8e19 minor units; past it the
/// deviation is held at the largest number. Sums have no such bound.
const EVENTS_TIMES_AMOUNT_MAX: u128 = 1 << 64;

const _: () = {
    assert!(u128::MAX / EVENTS_TIMES_AMOUNT_MAX >= EVENTS_TIMES_AMOUNT_MAX - 1);
    // In a block it always is.
    assert!((BLOCK_EVENTS_MAX as u128 + 1) * AMOUNT_MINOR_MAX as u128 <= EVENTS_TIMES_AMOUNT_MAX);
};

/// Exact totals of amounts in one currency. Amounts are never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amounts {
    pub(crate) count: u64,
    pub(crate) sum: u128,
    pub(crate) squares: u128,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Amounts {
    pub(crate) const NONE: Self = Self { count: 0, sum: 0, squares: 0, min: i64::MAX, max: i64::MIN };

    pub(crate) fn push(&mut self, minor: i64) {
        let amount = u128::from(minor.unsigned_abs());
        self.count += 1;
        self.sum += amount;
        self.squares += amount * amount;
        self.min = self.min.min(minor);
        self.max = self.max.max(minor);
    }

    pub(crate) fn with(&self, minor: i64) -> Self {
        let mut with = *self;
        with.push(minor);
        with
    }

    /// A measure; `minor` is the present amount, for `ZScore`.
    ///
    /// Never inlined: else the compiler computes every measure ahead of the loop over what is asked for.
    #[inline(never)]
    pub(crate) fn number(&self, over: OverAmounts, minor: i64, major: f64) -> f64 {
        match over {
            OverAmounts::Sum => rounded(self.sum) / major,
            _ if self.count == 0 => f64::NAN,
            OverAmounts::Mean => rounded(self.sum) / self.divisor(major),
            OverAmounts::Stddev => rounded(self.variance()).sqrt() / self.divisor(major),
            OverAmounts::Min => minor_rounded(self.min) / major,
            OverAmounts::Max => minor_rounded(self.max) / major,
            OverAmounts::ZScore => self.zscore(minor),
        }
    }

    /// Without one amount that was pushed; the smallest and the largest stay.
    pub(crate) fn take_out(&mut self, minor: i64) {
        let amount = u128::from(minor.unsigned_abs());
        if self.count > 0 && self.sum >= amount && self.squares >= amount * amount {
            self.count -= 1;
            self.sum -= amount;
            self.squares -= amount * amount;
        }
    }

    /// `n * sum(x^2) - sum(x)^2`, which is n^2 times the variance of the population, in minor units squared. Never negative.
    fn variance(&self) -> u128 {
        // Nearly all totals fit 64 bits, and then both products fit 128.
        if let (Ok(sum), Ok(squares)) = (u64::try_from(self.sum), u64::try_from(self.squares)) {
            return u128::from(self.count) * u128::from(squares) - u128::from(sum) * u128::from(sum);
        }
        let squares = u128::from(self.count).checked_mul(self.squares);
        let sum = self.sum.checked_mul(self.sum);
        squares.zip(sum).map_or(u128::MAX, |(squares, sum)| squares.saturating_sub(sum))
    }

    /// How many standard deviations `minor` lies above the mean: `(x - S/n) / (sqrt(n * Q - S^2) / n)`, with n taken out.
    #[expect(clippy::cast_precision_loss, reason = "one rounding of an exact total")]
    fn zscore(&self, minor: i64) -> f64 {
        let variance = self.variance();
        if self.count < 2 || variance == 0 {
            return f64::NAN;
        }
        let above = i128::from(self.count) * i128::from(minor) - self.sum.cast_signed();
        above as f64 / rounded(variance).sqrt()
    }

    /// Events times minor units in a major one: a whole number far below 2^53, so exact.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn divisor(&self, major: f64) -> f64 {
        self.count as f64 * major
    }
}

/// Minor units in a major one.
#[expect(clippy::cast_precision_loss, reason = "at most 10^4")]
pub(crate) fn minor_per_major(currency: Currency) -> f64 {
    currency.minor_per_major() as f64
}

/// An amount.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn minor_rounded(minor: i64) -> f64 {
    minor as f64
}

/// The nearest double. Totals that fit 64 bits, nearly all, take the short way to the same number.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "one rounding of an exact total")]
fn rounded(total: u128) -> f64 {
    i64::try_from(total).map_or(total as f64, |short| short as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(minors: &[i64]) -> Amounts {
        minors.iter().fold(Amounts::NONE, |amounts, &minor| amounts.with(minor))
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
            let actual = [OverAmounts::Sum, OverAmounts::Mean, OverAmounts::Stddev]
                .map(|over| amounts.number(over, 0, minor_per_major(euro)));
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
    fn past_the_bound_the_deviation_is_held_at_the_largest() {
        let amount = AMOUNT_MINOR_MAX as u128;
        let count = 40_000;
        let amounts = Amounts {
            count,
            sum: amount * u128::from(count) / 2,
            squares: amount * amount * u128::from(count) / 2,
            ..Amounts::NONE
        };
        let yen = Currency::parse("JPY").unwrap();
        let number = |over| amounts.number(over, 0, minor_per_major(yen));
        assert!(number(OverAmounts::Stddev) > 4e14 && number(OverAmounts::Mean) > 4.9e14, "{amounts:?}");
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        let half = Amounts { count: 1, squares: (AMOUNT_MINOR_MAX as u128).pow(2), ..Amounts::NONE };
        let half = Amounts { sum: AMOUNT_MINOR_MAX as u128, ..half };
        let times = 9_000;
        let amounts = Amounts {
            count: 2 * times,
            sum: half.sum * u128::from(times),
            squares: half.squares * u128::from(times),
            ..half
        };
        let yen = Currency::parse("JPY").unwrap();
        let stddev = amounts.number(OverAmounts::Stddev, 0, minor_per_major(yen));
        assert!((stddev / 5e14 - 1.0).abs() < 1e-6);
        assert!((amounts.zscore(AMOUNT_MINOR_MAX) - 1.0).abs() < 1e-3);
    }
}
