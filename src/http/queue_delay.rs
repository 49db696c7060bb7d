//! Whether requests wait because the service cannot keep up, or because the machine was busy for a moment.
//!
//! After CoDel (RFC 8289) in the form that suits servers (Maurer, "Fail at Scale", ACM Queue 2015): a burst may wait, since its
//! queue goes again; a queue that stands helps nobody, it only makes every answer late. The difference is in the time, so the
//! delays are averaged over time and not over requests: a thousand requests that waited through one pause are one pause.

use std::time::{Duration, Instant};

/// What the average remembers, about.
const MEMORY_S: f64 = 0.1;
/// A standing queue is gone when the average is below this share of the target. Shedding itself holds delays near the target,
/// so that the target would be too early.
const CALM_SHARE: f64 = 0.2;

/// The delay of one queue.
#[derive(Clone, Debug)]
pub struct QueueDelay {
    target_s: f64,
    average_s: f64,
    last: Option<Instant>,
    is_standing: bool,
}

impl QueueDelay {
    /// A queue that should not wait for longer than `target` on average.
    pub const fn new(target: Duration) -> Self {
        Self { target_s: target.as_secs_f64(), average_s: 0.0, last: None, is_standing: false }
    }

    /// A request is taken out of the queue at `now`, after `delay`. Says whether the queue stands.
    pub fn observe(&mut self, now: Instant, delay: Duration) -> bool {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        let weight = 1.0 - (-passed.as_secs_f64() / MEMORY_S).exp();
        self.average_s += (delay.as_secs_f64() - self.average_s) * weight;
        let limit_s = if self.is_standing { self.target_s * CALM_SHARE } else { self.target_s };
        self.is_standing = self.average_s > limit_s;
        self.is_standing
    }

    /// Whether the queue stood when it was last looked at.
    pub const fn is_standing(&self) -> bool {
        self.is_standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{Clock, SystemClock};

    #[test]
    fn what_stands_and_what_goes_again() {
        /// (requests, microseconds between them, microseconds that each waited, whether the queue stands then)
        type Step = (u32, u64, u64, bool);
        let facts: [(&str, &[Step]); 6] = [
            ("nothing waits", &[(1_000, 1_000, 100, false)]),
            (
                "one pause of 40 ms at 5,000/s",
                &[(1_000, 200, 100, false), (200, 1, 40_000, false), (100, 200, 100, false)],
            ),
            ("a queue of 8 ms for a second", &[(5_000, 200, 8_000, true)]),
            ("a queue of 4 ms for a second", &[(5_000, 200, 4_000, false)]),
            (
                "shedding holds it at 4 ms: it stands",
                &[(5_000, 200, 40_000, true), (5_000, 200, 4_000, true)],
            ),
            ("the load goes", &[(5_000, 200, 8_000, true), (2_500, 200, 100, false)]),
        ];
        for (what, steps) in facts {
            let mut queue = QueueDelay::new(Duration::from_millis(5));
            let mut now = SystemClock.instant();
            for (number, (requests, between_us, delay_us, expected)) in steps.iter().enumerate() {
                for _ in 0..*requests {
                    now += Duration::from_micros(*between_us);
                    queue.observe(now, Duration::from_micros(*delay_us));
                }
                assert_eq!(queue.is_standing(), *expected, "{what}, step {number}: {queue:?}");
            }
        }
    }
}
