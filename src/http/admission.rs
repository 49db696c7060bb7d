//! Admission: which decisions are begun, before their bodies are looked at.
//!
//! A service that begins everything it is asked answers everything late once it cannot keep up. So a request that has waited too
//! long already, or that finds too many others in work, is shed at once: refused with 503, or decided by rules alone.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::engine::settings::Effort;
use crate::http::body::ResponseBody;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::queue_delay::QueueDelay;

/// When whoever was shed may come again, in seconds: the shortest that the header can say. A queue that stood is gone by then.
const RETRY_AFTER_S: &str = "1";
/// What is decided by rules alone costs less, but not nothing: at this many times a limit even that is refused.
const RULES_ONLY_SHARE: u32 = 2;
/// While no queue stands, a request may have waited for this part of its budget: there is time left to decide it.
const BURST_PART: u32 = 2;

/// What happens to a request for which there is no time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOverload {
    /// 503 with Retry-After.
    Refuse,
    /// A decision by rules alone, recorded and counted; 503 when there is no time for that either.
    RulesOnly,
}

/// What admission can be told.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionOptions {
    /// What happens to a request for which there is no time.
    pub on_overload: OnOverload,
    /// Most decisions in work at once on each thread; 0: no limit.
    pub in_flight_max: usize,
    /// How long requests may wait on average, and each when the queue stands; zero: for ever.
    pub queue_delay_target: Duration,
    /// The budget of a request that names none.
    pub deadline_default: Duration,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            on_overload: OnOverload::Refuse,
            in_flight_max: 32,
            queue_delay_target: Duration::from_millis(5),
            deadline_default: Duration::from_millis(80),
        }
    }
}

/// Why a request is shed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shed {
    /// Too many are in work on its thread.
    InFlight,
    /// It has waited for too long.
    QueueDelay,
}

impl Shed {
    /// All of them, in order.
    pub const ALL: [Self; 2] = [Self::InFlight, Self::QueueDelay];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::QueueDelay => "queue_delay",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::InFlight => "more requests are in work than can be decided in time",
            Self::QueueDelay => "requests wait for longer than lets them be decided in time",
        }
    }

    /// The 503, made once: an answer that is given because there is no time must take none.
    pub fn response(self) -> Response<ResponseBody> {
        static BODIES: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
            Shed::ALL.map(|it| Bytes::from(Problem::new(ProblemKind::Overloaded, it.detail()).to_json()))
        });
        let mut response = Response::new(ResponseBody::full(BODIES[self as usize].clone()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        response
    }
}

/// Upper ends of the buckets of queue delays, in microseconds.
pub const DELAY_BUCKETS_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 1_000_000];

/// What is counted of admission.
#[derive(Debug, Default)]
pub struct Counts {
    /// Shed, by reason: refused, and decided by rules alone.
    pub shed: [[AtomicU64; 2]; 2],
    /// Delays by bucket; the last counts those beyond all.
    pub delays: [AtomicU64; DELAY_BUCKETS_US.len() + 1],
    /// All delays together, in microseconds.
    pub delay_us: AtomicU64,
}

/// The door of one thread.
#[derive(Debug)]
struct Gate {
    in_flight: AtomicUsize,
    delay: Mutex<QueueDelay>,
}

/// A decision in work, until it is dropped.
#[derive(Debug)]
pub struct Permit<'a>(&'a AtomicUsize);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The doors of all threads.
#[derive(Debug)]
pub struct Admission {
    options: AdmissionOptions,
    gates: Box<[Gate]>,
    /// What is counted.
    pub counts: Counts,
}

impl Admission {
    /// A door for each of `threads` threads.
    pub fn new(options: AdmissionOptions, threads: usize) -> Self {
        let gate = |_| Gate {
            in_flight: AtomicUsize::new(0),
            delay: Mutex::new(QueueDelay::new(options.queue_delay_target)),
        };
        Self { options, gates: (0..threads.max(1)).map(gate).collect(), counts: Counts::default() }
    }

    /// Lets a request in at `now` that was received at `received`, and says what there is time for; or sheds it.
    pub fn admit(
        &self,
        worker: usize,
        now: Instant,
        received: Instant,
        budget: Option<Duration>,
    ) -> Result<(Permit<'_>, Effort), Shed> {
        let gate = &self.gates[worker % self.gates.len()];
        let delay = now.saturating_duration_since(received);
        self.count_delay(delay);
        let delay_max = self.delay_max(gate, now, delay, budget);
        let in_flight_max = match self.options.in_flight_max {
            0 => usize::MAX,
            max => max,
        };
        // Counted first, so that two that come at once cannot both be the last one.
        let in_flight = gate.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let permit = Permit(&gate.in_flight);
        let over = |share: u32| {
            if in_flight > in_flight_max.saturating_mul(share as usize) {
                Some(Shed::InFlight)
            } else {
                delay_max.filter(|max| delay > *max * share).map(|_| Shed::QueueDelay)
            }
        };
        let Some(reason) = over(1) else { return Ok((permit, Effort::Full)) };
        let refused = match self.options.on_overload {
            OnOverload::Refuse => Some(reason),
            OnOverload::RulesOnly => over(RULES_ONLY_SHARE),
        };
        let answer = usize::from(refused.is_none());
        self.counts.shed[reason as usize][answer].fetch_add(1, Ordering::Relaxed);
        if reason == Shed::InFlight {
            // What is in work waits for the writer of the log, which may wait for this very processor.
            std::thread::yield_now();
        }
        refused.map_or(Ok((permit, Effort::RulesAlone)), Err)
    }

    /// How long this request may have waited.
    fn delay_max(
        &self,
        gate: &Gate,
        now: Instant,
        delay: Duration,
        budget: Option<Duration>,
    ) -> Option<Duration> {
        let target = self.options.queue_delay_target;
        if target.is_zero() {
            return None;
        }
        let burst = budget.unwrap_or(self.options.deadline_default) / BURST_PART;
        let is_standing = gate.delay.lock().observe(now, delay);
        Some(if is_standing { target.min(burst) } else { burst })
    }

    fn count_delay(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket = DELAY_BUCKETS_US.partition_point(|end| *end < delay_us);
        self.counts.delays[bucket].fetch_add(1, Ordering::Relaxed);
        self.counts.delay_us.fetch_add(delay_us, Ordering::Relaxed);
    }

    /// Decisions in work on all threads.
    pub fn in_flight(&self) -> usize {
        self.gates.iter().map(|gate| gate.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// Most decisions in work on all threads; 0: no limit.
    pub fn in_flight_max(&self) -> usize {
        self.options.in_flight_max * self.gates.len()
    }

    /// Threads whose queue stands.
    pub fn standing(&self) -> usize {
        self.gates.iter().filter(|gate| gate.delay.lock().is_standing()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{Clock, SystemClock};

    const MS: Duration = Duration::from_millis(1);

    /// What becomes of a request that waited for `delay`, where the queue has stood for a second or has not.
    fn one(
        options: AdmissionOptions,
        in_work: usize,
        stands: bool,
        delay: Duration,
        budget: Option<u32>,
    ) -> &'static str {
        let admission = Admission::new(options, 1);
        let mut now = SystemClock.instant() + Duration::from_secs(100);
        for _ in 0..if stands { 1_000 } else { 0 } {
            now += MS;
            let _ = admission.admit(0, now, now - 9 * MS, None);
        }
        let _in_work: Vec<_> = (0..in_work).map(|_| admission.admit(0, now, now, None)).collect();
        match admission.admit(0, now, now - delay, budget.map(|ms| ms * MS)) {
            Ok((_, Effort::Full)) => "full",
            Ok((_, Effort::RulesAlone)) => "rules",
            Err(Shed::InFlight) => "in flight",
            Err(Shed::QueueDelay) => "queue delay",
        }
    }

    #[test]
    fn who_is_let_in() {
        let refuse = AdmissionOptions { in_flight_max: 4, ..AdmissionOptions::default() };
        let rules = AdmissionOptions { on_overload: OnOverload::RulesOnly, ..refuse };
        let off = AdmissionOptions { in_flight_max: 0, queue_delay_target: Duration::ZERO, ..refuse };
        // (options, in work, whether the queue stands, waited for ms, budget in ms, what becomes of it)
        let facts = [
            (refuse, 0, false, 0, None, "full"),
            (refuse, 3, false, 0, None, "full"),
            (refuse, 4, false, 0, None, "in flight"),
            (refuse, 0, false, 40, None, "full"),
            (refuse, 0, false, 41, None, "queue delay"),
            (refuse, 0, false, 41, Some(1_000), "full"),
            (refuse, 0, false, 6, Some(10), "queue delay"),
            (refuse, 0, true, 5, None, "full"),
            (refuse, 0, true, 6, None, "queue delay"),
            (refuse, 0, true, 6, Some(1_000), "queue delay"),
            (refuse, 0, true, 2, Some(2), "queue delay"),
            (rules, 4, false, 0, None, "rules"),
            (rules, 8, false, 0, None, "in flight"),
            (rules, 0, true, 6, None, "rules"),
            (rules, 0, true, 10, None, "rules"),
            (rules, 0, true, 11, None, "queue delay"),
            (rules, 0, false, 81, None, "queue delay"),
            (off, 1_000, true, 10_000, Some(1), "full"),
        ];
        for (options, in_work, stands, delay_ms, budget_ms, expected) in facts {
            let actual = one(options, in_work, stands, delay_ms * MS, budget_ms);
            assert_eq!(actual, expected, "{options:?} {in_work} {stands} {delay_ms} {budget_ms:?}");
        }
    }

    #[test]
    fn places_come_back_and_threads_have_their_own() {
        let admission =
            Admission::new(AdmissionOptions { in_flight_max: 1, ..AdmissionOptions::default() }, 2);
        let now = SystemClock.instant();
        let first = admission.admit(0, now, now, None);
        assert!(first.is_ok() && admission.admit(0, now, now, None).is_err());
        assert!(admission.admit(1, now, now, None).is_ok());
        assert_eq!(admission.in_flight(), 1);
        drop(first);
        assert_eq!(admission.in_flight(), 0);
        assert!(admission.admit(0, now, now, None).is_ok());
        assert_eq!(admission.counts.shed[0][0].load(Ordering::Relaxed), 1);
    }
}
