//! Whether requests wait because the service cannot keep up, or because the machine was busy for a moment.
//!
//! After CoDel (RFC 8289), in the form that suits servers (Maurer, "Fail at Scale", ACM Queue 2015): a burst may wait, since its
//! queue goes again; a queue that stands helps nobody, it only makes every answer late. A queue stands when for a whole interval
//! nobody got through it quickly.

use std::time::{Duration, Instant};

/// A queue that was above its target for this long, without a break, stands.
const INTERVAL: Duration = Duration::from_millis(100);
/// It is gone when the average delay over about `INTERVAL` is below this share of the target: shedding itself holds delays near
/// the target, so that the target would be too early.
const CALM_SHARE: f64 = 0.2;

/// The delay of one queue.
#[derive(Clone, Debug)]
pub struct QueueDelay {
    target: Duration,
    above_since: Option<Instant>,
    average_s: f64,
    last: Option<Instant>,
    is_standing: bool,
}

impl QueueDelay {
    /// A queue that should not make anybody wait for longer than `target`.
    pub const fn new(target: Duration) -> Self {
        Self { target, above_since: None, average_s: 0.0, last: None, is_standing: false }
    }

    /// A request is taken out of the queue at `now`, after `delay`. Says whether the queue stands.
    pub fn observe(&mut self, now: Instant, delay: Duration) -> bool {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        // Over time and not over requests: a thousand that waited through one pause are one pause.
        let weight = 1.0 - (-passed.as_secs_f64() / INTERVAL.as_secs_f64()).exp();
        self.average_s += (delay.as_secs_f64() - self.average_s) * weight;
        if delay <= self.target {
            self.above_since = None;
        } else {
            let since = *self.above_since.get_or_insert(now);
            if !self.is_standing && now.saturating_duration_since(since) >= INTERVAL {
                (self.is_standing, self.average_s) = (true, delay.as_secs_f64());
            }
        }
        self.is_standing &= self.average_s > self.target.as_secs_f64() * CALM_SHARE;
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
        let facts: [(&str, &[Step]); 7] = [
            ("nothing waits", &[(1_000, 1_000, 100, false)]),
            (
                "pauses of 60 ms at 5,000/s",
                &[
                    (1_000, 200, 100, false),
                    (1, 60_000, 60_000, false),
                    (300, 30, 30_000, false),
                    (5, 200, 100, false),
                ],
            ),
            (
                "pauses at 10/s",
                &[(10, 100_000, 100, false), (1, 100_000, 60_000, false), (9, 100_000, 100, false)],
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
