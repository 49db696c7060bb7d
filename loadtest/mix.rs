//! What the next request carries: mostly the transaction whose turn it is, at times one that was sent before, at times one of a burst of fraud.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use tollgate::domain::time::EventTime;

use crate::load::arrivals::share;

/// Payments of one burst.
pub(crate) const BURST_PAYMENTS: u64 = 40;
/// Requests that a duplicate is one of.
const RECENT_MAX: usize = 1_024;

/// What one request carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// The transaction whose turn it is.
    New,
    /// One that was sent before, to the byte: a client that had no answer sends it again.
    Again {
        /// The request that had it first.
        index: u64,
        /// When that was due.
        occurred_at: EventTime,
    },
    /// One of many payments with one card.
    Burst {
        /// Which burst: the request that began it.
        number: u64,
        /// Which payment of it.
        payment: u64,
    },
    /// What the file says.
    Given(Box<[u8]>),
}

/// Shares of all requests.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Shares {
    /// That were sent before.
    pub(crate) duplicates: f64,
    /// That belong to bursts.
    pub(crate) bursts: f64,
}

impl Shares {
    /// Transactions in turn alone.
    pub(crate) const NONE: Self = Self { duplicates: 0.0, bursts: 0.0 };
}

/// Draws what comes next, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Mix {
    shares: Shares,
    random: ChaCha8Rng,
    recent: VecDeque<(u64, EventTime)>,
    /// The last burst.
    burst: u64,
    /// Payments of it that are still to come.
    left: u64,
}

impl Mix {
    /// Nothing sent yet.
    pub(crate) fn new(shares: Shares, seed: u64) -> Self {
        let recent = VecDeque::with_capacity(RECENT_MAX);
        Self { shares, random: ChaCha8Rng::seed_from_u64(seed), recent, burst: 0, left: 0 }
    }

    /// What request `index` carries.
    #[expect(clippy::cast_precision_loss, reason = "a burst has few payments")]
    pub(crate) fn next(&mut self, index: u64, occurred_at: EventTime) -> What {
        if self.left > 0 && share(&mut self.random) < 0.5 {
            self.left -= 1;
            return What::Burst { number: self.burst, payment: BURST_PAYMENTS - 1 - self.left };
        }
        let drawn = share(&mut self.random);
        if self.left == 0 && drawn < self.shares.bursts / BURST_PAYMENTS as f64 {
            (self.burst, self.left) = (index, BURST_PAYMENTS - 1);
            return What::Burst { number: index, payment: 0 };
        }
        if 1.0 - drawn <= self.shares.duplicates && !self.recent.is_empty() {
            let at = self.random.next_u64() % self.recent.len() as u64;
            let (index, occurred_at) = self.recent[usize::try_from(at).unwrap_or_default()];
            return What::Again { index, occurred_at };
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((index, occurred_at));
        What::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_was_asked_for() {
        let now = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let mut mix = Mix::new(Shares { duplicates: 0.02, bursts: 0.05 }, 7);
        let drawn: Vec<What> = (0..200_000).map(|index| mix.next(index, now)).collect();
        let share =
            |is: fn(&What) -> bool| drawn.iter().filter(|what| is(what)).count() as f64 / drawn.len() as f64;
        let (again, burst) =
            (share(|it| matches!(it, What::Again { .. })), share(|it| matches!(it, What::Burst { .. })));
        assert!((again - 0.02).abs() < 0.002, "{again}");
        assert!((burst - 0.05).abs() < 0.01, "{burst}");
        for (index, what) in (0..).zip(&drawn) {
            if let What::Again { index: first, .. } = what {
                assert!(*first < index, "{index} repeats {first}");
                assert_eq!(drawn[usize::try_from(*first).unwrap()], What::New);
            }
        }
        let mut none = Mix::new(Shares::NONE, 7);
        assert!((0..10_000).all(|index| none.next(index, now) == What::New));
    }
}
