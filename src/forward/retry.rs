//! How long a target is left alone after a failure.

use std::time::Duration;

use rand::RngExt as _;

/// Wait after the first failure, before jitter.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest wait. It bounds how late a target that is back is noticed.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Doubles from failure to failure. Between half and all of it is waited, by chance: so that the services that a broker has failed do not
/// all come back in the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let wait = WAIT_MIN.saturating_mul(1 << self.failures.min(16)).min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// How many failures there were in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_differ() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..100).map(|_| backoff.next()).collect();
        assert!((WAIT_MIN / 2..=WAIT_MIN).contains(&waits[0]), "{waits:?}");
        assert!(waits[50..].iter().all(|wait| (WAIT_MAX / 2..=WAIT_MAX).contains(wait)), "{waits:?}");
        assert!(waits[50..].windows(2).any(|pair| pair[0] != pair[1]), "{waits:?}");
        backoff.reset();
        assert!(backoff.next() <= WAIT_MIN);
    }
}
