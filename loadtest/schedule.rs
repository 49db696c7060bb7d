//! When each request is due: at constant intervals, whatever the service does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate::domain::time::{Clock, EventTime, SystemClock};

/// A sleeping thread looks this often whether the run was stopped.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// One request that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Its number, from 0.
    pub(crate) index: u64,
    /// When it is to be sent.
    pub(crate) at: Instant,
    /// The same on the calendar.
    pub(crate) occurred_at: EventTime,
    /// Whether it belongs to the warm-up.
    pub(crate) is_warm_up: bool,
}

/// The schedule that all connections take their requests from, one after another.
#[derive(Debug)]
pub(crate) struct Schedule {
    started: Instant,
    started_at: EventTime,
    rate: f64,
    /// Requests of the warm-up.
    warm_up: u64,
    /// Requests in all.
    total: u64,
    next: AtomicU64,
    stopped: AtomicBool,
}

impl Schedule {
    /// `warm_up` and then `measured` requests, `rate` per second, the first one at `started`.
    pub(crate) fn new(
        started: Instant,
        started_at: EventTime,
        rate: f64,
        warm_up: u64,
        measured: u64,
    ) -> Self {
        Self {
            started,
            started_at,
            rate,
            warm_up,
            total: warm_up + measured,
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The next request that nobody has taken; `None` when there is none left or the run was stopped.
    pub(crate) fn take(&self) -> Option<Due> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.total).then(|| self.due(index))
    }

    fn due(&self, index: u64) -> Due {
        #[expect(clippy::cast_precision_loss, reason = "there are at most 10^9 requests")]
        let after = Duration::from_secs_f64(index as f64 / self.rate);
        Due {
            index,
            at: self.started + after,
            occurred_at: self.started_at.plus(after),
            is_warm_up: index < self.warm_up,
        }
    }

    /// When the first measured request is due.
    pub(crate) fn measured_from(&self) -> Instant {
        self.due(self.warm_up).at
    }

    /// Measured requests that are due by `now` and that nobody has taken.
    pub(crate) fn untaken(&self, now: Instant) -> impl Iterator<Item = Due> + '_ {
        let next = self.next.load(Ordering::Relaxed).max(self.warm_up);
        (next..self.total).map(|index| self.due(index)).take_while(move |due| due.at <= now)
    }

    /// Requests in all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Gives out no more requests.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Sleeps until `due`. `Some(true)` when there was time to sleep, `Some(false)` when it was due already, `None` when the
    /// run was stopped meanwhile.
    pub(crate) fn wait_for(&self, due: &Due) -> Option<bool> {
        let mut slept = false;
        loop {
            let left = due.at.saturating_duration_since(SystemClock.instant());
            if left.is_zero() {
                return Some(slept);
            }
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            slept = true;
            std::thread::sleep(left.min(STOP_CHECK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_constant_intervals() {
        let started = SystemClock.instant();
        let started_at = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let schedule = Schedule::new(started, started_at, 200.0, 2, 3);
        let due: Vec<_> = std::iter::from_fn(|| schedule.take()).collect();
        let offsets: Vec<_> = due.iter().map(|due| (due.at - started).as_millis()).collect();
        assert_eq!(offsets, [0, 5, 10, 15, 20]);
        assert_eq!(due.iter().filter(|due| due.is_warm_up).count(), 2);
        assert_eq!(due[4].occurred_at.to_string(), "2026-10-20T12:00:00.020Z");
        assert_eq!(schedule.measured_from() - started, Duration::from_millis(10));

        let schedule = Schedule::new(started, started_at, 200.0, 2, 3);
        schedule.take();
        schedule.stop();
        assert!(schedule.take().is_none());
        assert_eq!(schedule.untaken(started + Duration::from_millis(16)).count(), 2);
    }
}
