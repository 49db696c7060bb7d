//! Confidence intervals of 95 %. They take rows as independent; the transactions of one card are not, so they are the least
//! that there is to doubt.

use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// A figure and where it may lie.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Estimate {
    /// As counted.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// The share `part` / `whole` with Wilson's interval (Wilson, *Probable Inference, the Law of Succession, and Statistical
    /// Inference*, 1927), which holds for small counts as well. `None` for nothing of nothing.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
    pub fn share(part: u64, whole: u64) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        let (part, whole, square) = (part as f64, whole as f64, NORMAL_QUANTILE * NORMAL_QUANTILE);
        let value = part / whole;
        let scale = 1.0 + square / whole;
        let centre = (value + square / (2.0 * whole)) / scale;
        let spread = (value * (1.0 - value) / whole + square / (4.0 * whole * whole)).sqrt();
        let half = NORMAL_QUANTILE / scale * spread;
        Some(Self { value, low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
    }

    /// A total of amounts of rows that come by chance, as a compound Poisson sum: its variance is estimated by the sum of the
    /// squares. Not below 0.
    pub fn total(sum: f64, squares: f64) -> Self {
        let half = NORMAL_QUANTILE * squares.sqrt();
        Self { value: sum, low: (sum - half).max(0.0), high: sum + half }
    }

    /// The share of a sum of amounts that lies in `inside`, by linearisation of the ratio of two sums (Cochran, *Sampling
    /// Techniques*, 3rd edition, 6.4). Where all of it lies on one side that would be an interval without width, and Wilson's over
    /// the rows stands in for it. `None` for a share of nothing.
    pub fn share_of_total(inside: Amounts, outside: Amounts) -> Option<Self> {
        let whole = inside.sum + outside.sum;
        if whole <= 0.0 {
            return None;
        }
        let value = inside.sum / whole;
        if inside.sum <= 0.0 || outside.sum <= 0.0 {
            let rows = if inside.sum <= 0.0 { 0 } else { inside.rows };
            let of_rows = Self::share(rows, if rows == 0 { outside.rows } else { rows })?;
            return Some(Self { value, ..of_rows });
        }
        let variance = (1.0 - value).powi(2) * inside.squares + value * value * outside.squares;
        let half = NORMAL_QUANTILE * variance.sqrt() / whole;
        Some(Self { value, low: (value - half).max(0.0), high: (value + half).min(1.0) })
    }
}

/// What an interval needs of some amounts, in any one unit.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Amounts {
    /// How many.
    pub rows: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(estimate: Estimate, value: f64, low: f64, high: f64) {
        for (have, want) in [(estimate.value, value), (estimate.low, low), (estimate.high, high)] {
            assert!((have - want).abs() < 5e-7, "{estimate:?}");
        }
    }

    #[test]
    fn shares_have_wilsons_interval() {
        // SciPy: binomtest(part, whole).proportion_ci(method="wilson")
        near(Estimate::share(0, 10).unwrap(), 0.0, 0.0, 0.277_532_8);
        near(Estimate::share(5, 10).unwrap(), 0.5, 0.236_593_1, 0.763_406_9);
        near(Estimate::share(81, 263).unwrap(), 0.307_984_8, 0.255_288_5, 0.366_209_6);
        near(Estimate::share(10, 10).unwrap(), 1.0, 0.722_467_2, 1.0);
        assert_eq!(Estimate::share(0, 0), None);
    }

    #[test]
    fn totals_and_their_shares() {
        near(Estimate::total(100.0, 900.0), 100.0, 41.201_080_5, 158.798_919_5);
        near(Estimate::total(10.0, 100.0), 10.0, 0.0, 29.599_639_8);
        // Equal amounts of 1: the share of rows with the plain normal interval.
        let of = |rows: u32| Amounts { rows: rows.into(), sum: rows.into(), squares: rows.into() };
        near(Estimate::share_of_total(of(30), of(70)).unwrap(), 0.3, 0.210_183_2, 0.389_816_8);
        near(Estimate::share_of_total(of(0), of(10)).unwrap(), 0.0, 0.0, 0.277_532_8);
        near(Estimate::share_of_total(of(10), of(0)).unwrap(), 1.0, 0.722_467_2, 1.0);
        assert_eq!(Estimate::share_of_total(Amounts::default(), Amounts::default()), None);
    }
}
