//! When each request is due and what it carries, whatever the service does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use tollgate::domain::time::{Clock, EventTime, SystemClock};

use crate::load::arrivals::Arrivals;
use crate::load::mix::{Mix, What};

/// A sleeping thread looks this often whether the run was stopped.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// One request that is due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// Its number: no other request of this program has it.
    pub(crate) index: u64,
    /// When it is to be sent.
    pub(crate) at: Instant,
    /// The same on the calendar.
    pub(crate) occurred_at: EventTime,
    /// Whether it belongs to the warm-up.
    pub(crate) is_warm_up: bool,
    /// What it carries.
    pub(crate) what: What,
}

/// The schedule that all connections take their requests from, one after another.
#[derive(Debug)]
pub(crate) struct Schedule {
    started: Instant,
    started_at: EventTime,
    warm_up: Duration,
    plan: Mutex<Plan>,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct Plan {
    arrivals: Arrivals,
    mix: Mix,
    next: u64,
    /// When the last one that was taken is due.
    last: Option<Instant>,
    is_over: bool,
    failed: Option<anyhow::Error>,
}

impl Plan {
    fn next(&mut self, started: Instant, started_at: EventTime) -> Option<Due> {
        if self.is_over {
            return None;
        }
        let arrival = match self.arrivals.next() {
            Ok(Some(arrival)) => arrival,
            ended => {
                self.failed = ended.err();
                self.is_over = true;
                return None;
            }
        };
        let index = self.next;
        self.next += 1;
        let occurred_at = started_at.plus(arrival.after);
        let what = arrival.body.map_or_else(|| self.mix.next(index, occurred_at), What::Given);
        let at = started + arrival.after;
        self.last = Some(at);
        Some(Due { index, at, occurred_at, is_warm_up: arrival.is_warm_up, what })
    }
}

impl Schedule {
    /// The first request has the number `first` and is due at `started`; those of the first `warm_up` are not measured.
    pub(crate) fn new(
        first: u64,
        started: Instant,
        started_at: EventTime,
        warm_up: Duration,
        arrivals: Arrivals,
        mix: Mix,
    ) -> Self {
        let plan = Plan { arrivals, mix, next: first, last: None, is_over: false, failed: None };
        Self { started, started_at, warm_up, plan: Mutex::new(plan), stopped: AtomicBool::new(false) }
    }

    /// The next request that nobody has taken; `None` when there is none left or the run was stopped.
    pub(crate) fn take(&self) -> Option<Due> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        self.plan.lock().next(self.started, self.started_at)
    }

    /// The number that no request has had yet.
    pub(crate) fn next_index(&self) -> u64 {
        self.plan.lock().next
    }

    /// When the first measured request may be due.
    pub(crate) fn measured_from(&self) -> Instant {
        self.started + self.warm_up
    }

    /// When the last request is due; where nobody knows that yet, when the last that was taken is.
    pub(crate) fn end_or_last_due(&self) -> Instant {
        let plan = self.plan.lock();
        let last = || plan.last.unwrap_or(self.started);
        plan.arrivals.end().map_or_else(last, |end| self.started + end)
    }

    /// Takes the measured requests that are due by `now` and that nobody has taken.
    pub(crate) fn untaken(&self, now: Instant) -> Vec<Instant> {
        let mut plan = self.plan.lock();
        std::iter::from_fn(|| plan.next(self.started, self.started_at))
            .take_while(|due| due.at <= now)
            .filter(|due| !due.is_warm_up)
            .map(|due| due.at)
            .collect()
    }

    /// Why requests ended early, if they did.
    pub(crate) fn failed(&self) -> Option<anyhow::Error> {
        self.plan.lock().failed.take()
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
    use crate::load::arrivals::Spread;
    use crate::load::mix::Shares;

    #[test]
    fn requests_are_due_whatever_becomes_of_them() {
        let started = SystemClock.instant();
        let started_at = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let (warm_up, duration) = (Duration::from_millis(10), Duration::from_millis(15));
        let schedule = || {
            let arrivals = Arrivals::at_rate(Spread::Constant, 200.0, warm_up, duration, 1);
            Schedule::new(7, started, started_at, warm_up, arrivals, Mix::new(Shares::NONE, 1))
        };
        let taken = schedule();
        let due: Vec<_> = std::iter::from_fn(|| taken.take()).collect();
        assert_eq!(
            due.iter().map(|due| (due.at - started).as_millis()).collect::<Vec<_>>(),
            [0, 5, 10, 15, 20]
        );
        assert_eq!((due[0].index, due[4].index, taken.next_index()), (7, 11, 12));
        assert_eq!(due[4].occurred_at.to_string(), "2026-10-20T12:00:00.020Z");
        assert_eq!(taken.measured_from() - started, Duration::from_millis(10));
        assert_eq!(taken.end_or_last_due() - started, Duration::from_millis(25));

        let stopped = schedule();
        stopped.take();
        stopped.stop();
        assert!(stopped.take().is_none());
        assert_eq!(stopped.untaken(started + Duration::from_millis(16)).len(), 2);
    }
}
