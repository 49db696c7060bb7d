//! When requests come: at constant intervals, at random as from many independent customers, or as a file says.

use std::time::Duration;

use clap::ValueEnum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::Serialize;

use crate::load::replay::Replay;

/// How requests of a given rate are spread over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spread {
    /// One every 1/rate seconds.
    Constant,
    /// At random and independent of each other (a Poisson process), as customers come: also several at once.
    Poisson,
}

/// One request that comes.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// After the start of the run.
    pub(crate) after: Duration,
    /// Whether it belongs to the warm-up.
    pub(crate) is_warm_up: bool,
    /// What is sent, where the file says it.
    pub(crate) body: Option<Box<[u8]>>,
}

/// All requests of a run, one after the other.
#[derive(Debug)]
pub(crate) enum Arrivals {
    /// At constant intervals.
    Constant {
        /// A second.
        rate: f64,
        /// Requests of the warm-up.
        warm_up: u64,
        /// Requests in all.
        total: u64,
        /// The next one.
        next: u64,
    },
    /// At random.
    Poisson {
        /// A second, on average.
        rate: f64,
        /// How long the warm-up is.
        warm_up: Duration,
        /// How long the run is, warm-up included.
        end: Duration,
        /// Where the intervals come from.
        random: Box<ChaCha8Rng>,
        /// When the last one came, in seconds.
        at_s: f64,
    },
    /// As a file says.
    Replay {
        /// The file, being read.
        replay: Replay,
        /// How long the warm-up is.
        warm_up: Duration,
        /// How long the run is, warm-up included; none: to the end of the file.
        end: Option<Duration>,
    },
}

impl Arrivals {
    /// `rate` a second, first for `warm_up` and then for `duration`.
    pub(crate) fn at_rate(
        spread: Spread,
        rate: f64,
        warm_up: Duration,
        duration: Duration,
        seed: u64,
    ) -> Self {
        match spread {
            Spread::Constant => {
                let warm_up = requests(rate, warm_up);
                Self::Constant { rate, warm_up, total: warm_up + requests(rate, duration), next: 0 }
            }
            Spread::Poisson => Self::Poisson {
                rate,
                warm_up,
                end: warm_up + duration,
                random: Box::new(ChaCha8Rng::seed_from_u64(seed)),
                at_s: 0.0,
            },
        }
    }

    /// How many there will be, as far as that is known before.
    pub(crate) fn expected(&self) -> Option<u64> {
        match self {
            Self::Constant { total, .. } => Some(*total),
            Self::Poisson { rate, end, .. } => Some(requests(*rate, *end)),
            Self::Replay { .. } => None,
        }
    }

    /// After how long there are none left, as far as that is known before.
    pub(crate) fn end(&self) -> Option<Duration> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "there are at most 10^9 requests")]
            Self::Constant { rate, total, .. } => Some(Duration::from_secs_f64(*total as f64 / *rate)),
            Self::Poisson { end, .. } => Some(*end),
            Self::Replay { end, .. } => *end,
        }
    }

    /// The next one; `None` at the end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Arrival>> {
        match self {
            Self::Constant { rate, warm_up, total, next } => {
                let index = *next;
                if index == *total {
                    return Ok(None);
                }
                *next += 1;
                #[expect(clippy::cast_precision_loss, reason = "there are at most 10^9 requests")]
                let after = Duration::from_secs_f64(index as f64 / *rate);
                Ok(Some(Arrival { after, is_warm_up: index < *warm_up, body: None }))
            }
            Self::Poisson { rate, warm_up, end, random, at_s } => {
                *at_s += -(1.0 - share(random)).ln() / *rate;
                let after = Duration::from_secs_f64(*at_s);
                Ok((after < *end).then_some(Arrival { after, is_warm_up: after < *warm_up, body: None }))
            }
            Self::Replay { replay, warm_up, end } => {
                let Some((after, body)) = replay.next()? else { return Ok(None) };
                if end.is_some_and(|end| after >= end) {
                    return Ok(None);
                }
                Ok(Some(Arrival { after, is_warm_up: after < *warm_up, body: Some(body) }))
            }
        }
    }
}

/// Evenly from 0 up to, not including, 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what a f64 holds")]
pub(crate) fn share(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// How many come in that time at a constant rate.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are positive and bounded")]
pub(crate) fn requests(rate: f64, duration: Duration) -> u64 {
    (rate * duration.as_secs_f64()).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut arrivals: Arrivals) -> Vec<Arrival> {
        std::iter::from_fn(|| arrivals.next().unwrap()).collect()
    }

    #[test]
    fn constant_intervals() {
        let (warm_up, duration) = (Duration::from_millis(10), Duration::from_millis(15));
        let arrivals = all(Arrivals::at_rate(Spread::Constant, 200.0, warm_up, duration, 1));
        let after: Vec<_> = arrivals.iter().map(|it| (it.after.as_millis(), it.is_warm_up)).collect();
        assert_eq!(after, [(0, true), (5, true), (10, false), (15, false), (20, false)]);
    }

    /// The intervals of a Poisson process are exponential: mean and standard deviation are equal, and 1/e of them are longer.
    #[test]
    fn random_intervals_are_those_of_a_poisson_process() {
        let (rate, seconds) = (1_000.0, 100);
        let poisson = |seed| {
            let duration = Duration::from_secs(seconds);
            all(Arrivals::at_rate(Spread::Poisson, rate, Duration::ZERO, duration, seed))
        };
        let arrivals = poisson(1);
        let count = arrivals.len() as f64;
        assert!((count - 100_000.0).abs() < 4.0 * 100_000_f64.sqrt(), "{count}");
        let intervals: Vec<f64> =
            arrivals.windows(2).map(|pair| (pair[1].after - pair[0].after).as_secs_f64() * rate).collect();
        let mean = intervals.iter().sum::<f64>() / intervals.len() as f64;
        let variance = intervals.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / intervals.len() as f64;
        let longer = intervals.iter().filter(|it| **it > 1.0).count() as f64 / intervals.len() as f64;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert!((longer - (-1.0_f64).exp()).abs() < 0.01, "{longer}");
        let same = |a: &[Arrival], b: &[Arrival]| a.iter().map(|it| it.after).eq(b.iter().map(|it| it.after));
        assert!(same(&arrivals, &poisson(1)) && !same(&arrivals, &poisson(2)));
    }
}
