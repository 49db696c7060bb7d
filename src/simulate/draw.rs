//! Random draws that are the same on every machine: ChaCha8 words, and only exact or `libm` arithmetic on top of them.
//!
//! The distributions are written here and not taken from a crate, because a crate may change how many words a draw takes
//! from one minor version to the next, and with it every simulated file.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Most steps of the counting loop of `poisson`; above this mean the normal approximation is used.
const POISSON_COUNTED_MEAN_MAX: f64 = 30.0;
/// Most steps of `geometric` and `poisson`, so that no draw runs away.
const STEPS_MAX: u32 = 10_000;

/// One stream of random draws.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    words: ChaCha8Rng,
}

impl Draw {
    /// The stream number `stream` of `seed`. Streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..].copy_from_slice(b"tollgate simulation, v1.");
        let mut words = ChaCha8Rng::from_seed(key);
        words.set_stream(stream);
        Self { words }
    }

    /// 64 random bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.words.next_u64()
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with that probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..bound; 0 when `bound` is 0. The bias is below bound / 2^64.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the high word of a product with `bound` is below `bound`"
    )]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// A position in a sequence of `length`; 0 when it is empty.
    #[expect(clippy::cast_possible_truncation, reason = "the result is below `length`, which is a usize")]
    pub(crate) fn position(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// One of `items`, each equally likely; `None` when there is none.
    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let position = self.position(items.len());
        items.get(position).copied()
    }

    /// Standard normal (Box-Muller, the cosine half).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Lognormal with that median and that standard deviation of the logarithm.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// Exponential with that mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// Poisson with that mean.
    pub(crate) fn poisson(&mut self, mean: f64) -> u32 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > POISSON_COUNTED_MEAN_MAX {
            return super::cast::count((mean + mean.sqrt() * self.normal()).round());
        }
        let limit = libm::exp(-mean);
        let mut product = self.unit();
        let mut count = 0;
        while product > limit && count < STEPS_MAX {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// Geometric on `least`, `least + 1`, … with that mean; `least` itself when the mean is not above it.
    pub(crate) fn geometric(&mut self, least: u32, mean: f64) -> u32 {
        let excess = mean - f64::from(least);
        if excess <= 0.0 {
            return least;
        }
        let steps = libm::floor(libm::log(1.0 - self.unit()) / libm::log(excess / (1.0 + excess)));
        least.saturating_add(super::cast::count(steps).min(STEPS_MAX))
    }
}

/// Weighted choice among positions, by binary search over running totals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weighted {
    totals: Vec<f64>,
}

impl Weighted {
    /// Takes the weights in order; none may be negative.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut total = 0.0;
        let totals = weights
            .into_iter()
            .map(|weight| {
                total += weight;
                total
            })
            .collect();
        Self { totals }
    }

    /// A position, or `None` when there are no weights.
    pub(crate) fn pick(&self, draw: &mut Draw) -> Option<usize> {
        let target = draw.unit() * self.totals.last()?;
        Some(self.totals.partition_point(|total| *total <= target).min(self.totals.len() - 1))
    }
}

/// Spreads a number over 64 bits, one to one (the finaliser of MurmurHash3 by Austin Appleby).
pub(crate) const fn mix(number: u64) -> u64 {
    let mut bits = number;
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(mut next: impl FnMut() -> f64) -> f64 {
        (0..20_000).map(|_| next()).sum::<f64>() / 20_000.0
    }

    #[test]
    fn every_distribution_has_its_mean() {
        let mut draw = Draw::new(7, 0);
        let cases = [
            ("unit", mean_of(|| draw.unit()), 0.5),
            ("below", mean_of(|| draw.below(11) as f64), 5.0),
            ("normal", mean_of(|| draw.normal()), 0.0),
            ("exponential", mean_of(|| draw.exponential(2.0)), 2.0),
            ("poisson", mean_of(|| f64::from(draw.poisson(1.5))), 1.5),
            ("poisson, large", mean_of(|| f64::from(draw.poisson(80.0))), 80.0),
            ("geometric", mean_of(|| f64::from(draw.geometric(2, 5.0))), 5.0),
            ("geometric at its least", mean_of(|| f64::from(draw.geometric(2, 1.0))), 2.0),
        ];
        for (name, actual, expected) in cases {
            assert!((actual - expected).abs() < 0.05 + expected * 0.03, "{name}: {actual}, not {expected}");
        }
    }

    #[test]
    fn weights_are_followed_and_nothing_is_picked_from_nothing() {
        let mut draw = Draw::new(7, 1);
        let weighted = Weighted::new([1.0, 0.0, 3.0]);
        let mut counts = [0; 3];
        for _ in 0..8_000 {
            counts[weighted.pick(&mut draw).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((1_800..2_200).contains(&counts[0]), "{counts:?}");
        assert_eq!(Weighted::default().pick(&mut draw), None);
        assert_eq!(draw.one_of::<u8>(&[]), None);
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let first = |seed, stream| Draw::new(seed, stream).word();
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
    }
}
