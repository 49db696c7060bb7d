//! A circuit breaker: a dependency that mostly fails is left alone for a while, so that it costs nobody's budget.
//!
//! Closed, all is asked, and failures are counted over a sliding window. Once enough was asked in it and too great a share
//! failed, it opens: nothing is asked for `open`. Then it is half-open: a few may ask, as probes. As many successes close it, one
//! failure opens it again. What was admitted under an earlier state has no say in a later one.
//!
//! Time is an argument, so that all of it is decided by the order of events alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Slices of the window: it moves on by a tenth of its length.
const SLICES: usize = 10;
/// Share of failures that opens, in percent, unless config says otherwise.
pub const FAILURE_PERCENT_DEFAULT: u8 = 50;
/// The window, unless config says otherwise.
pub const WINDOW_DEFAULT: Duration = Duration::from_millis(500);
/// The least that must have been asked in the window, unless config says otherwise.
pub const REQUESTS_MIN_DEFAULT: u32 = 20;
/// How long nothing is asked, unless config says otherwise. It bounds how late a dependency that is back is noticed.
pub const OPEN_DEFAULT: Duration = Duration::from_millis(250);
/// Probes that must succeed, unless config says otherwise.
pub const PROBES_DEFAULT: u32 = 3;

/// When to open, and when to close again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// Share of failures in the window that opens, in percent; 0: never.
    pub failure_percent: u8,
    /// How far back failures count.
    pub window: Duration,
    /// The least that must have been asked in the window.
    pub requests_min: u32,
    /// How long nothing is asked before the first probes.
    pub open: Duration,
    /// So many probes at once, and so many successes to close.
    pub probes: u32,
}

impl BreakerSettings {
    /// Unless config says otherwise.
    pub const DEFAULT: Self = Self {
        failure_percent: FAILURE_PERCENT_DEFAULT,
        window: WINDOW_DEFAULT,
        requests_min: REQUESTS_MIN_DEFAULT,
        open: OPEN_DEFAULT,
        probes: PROBES_DEFAULT,
    };
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether the dependency is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// By all.
    Closed,
    /// By a few probes.
    HalfOpen,
    /// By nobody.
    Open,
}

impl BreakerState {
    /// All states, in the order of their numbers in metrics.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// The breaker as an operator sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerView {
    /// The state now.
    pub state: BreakerState,
    /// How often each state was entered, in the order of `BreakerState::ALL`.
    pub transitions: [u64; 3],
    /// What was not asked because of it.
    pub refused: u64,
}

/// The breaker of one dependency.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    inner: Mutex<Inner>,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// Counts transitions, so that a verdict can be told from one of an earlier state.
    epoch: u64,
    transitions: [u64; 3],
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open { until: Instant },
    HalfOpen { in_flight: u32, succeeded: u32 },
}

/// Successes and failures of the last slices; the one at `newest` is still being filled.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    slices: [(u32, u32); SLICES],
    newest: u64,
}

/// Leave to ask once. Dropped without a verdict, as when a client hangs up, it says nothing about the dependency.
#[derive(Debug)]
#[must_use]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    epoch: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        let inner = Inner { phase: Phase::Closed(Window::default()), epoch: 0, transitions: [0; 3] };
        Self { settings, inner: Mutex::new(inner), refused: AtomicU64::new(0) }
    }

    /// Leave to ask at `now`, or none.
    pub fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut inner = self.inner.lock();
        if let Phase::Open { until } = inner.phase
            && now >= until
        {
            inner.enter(Phase::HalfOpen { in_flight: 0, succeeded: 0 });
        }
        let is_admitted = match &mut inner.phase {
            Phase::Closed(_) => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { in_flight, succeeded } => {
                let is_place = in_flight.saturating_add(*succeeded) < self.settings.probes.max(1);
                *in_flight += u32::from(is_place);
                is_place
            }
        };
        if !is_admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit { breaker: self, epoch: inner.epoch })
    }

    /// The dependency gave a sign of life: an open breaker need not wait any longer for its probes.
    pub fn dependency_is_back(&self, now: Instant) {
        if let Phase::Open { until } = &mut self.inner.lock().phase {
            *until = now.min(*until);
        }
    }

    /// What an operator wants to see.
    pub fn view(&self) -> BreakerView {
        let inner = self.inner.lock();
        BreakerView {
            state: inner.phase.state(),
            transitions: inner.transitions,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn settle(&self, epoch: u64, now: Option<Instant>, is_success: bool) {
        let mut inner = self.inner.lock();
        if inner.epoch != epoch {
            return;
        }
        let next = match &mut inner.phase {
            Phase::Closed(window) => now.and_then(|now| {
                window.count(now, self.settings.window, is_success);
                let opens = !is_success && window.is_bad(&self.settings);
                opens.then_some(Phase::Open { until: now + self.settings.open })
            }),
            Phase::Open { .. } => None,
            Phase::HalfOpen { in_flight, succeeded } => {
                *in_flight = in_flight.saturating_sub(1);
                *succeeded += u32::from(is_success);
                let closes = *succeeded >= self.settings.probes;
                now.filter(|_| !is_success)
                    .map(|now| Phase::Open { until: now + self.settings.open })
                    .or_else(|| closes.then(|| Phase::Closed(Window::default())))
            }
        };
        if let Some(next) = next {
            inner.enter(next);
        }
    }
}

impl Inner {
    fn enter(&mut self, phase: Phase) {
        self.epoch += 1;
        let state = phase.state();
        for (count, counted) in self.transitions.iter_mut().zip(BreakerState::ALL) {
            *count += u64::from(counted == state);
        }
        self.phase = phase;
    }
}

impl Phase {
    const fn state(&self) -> BreakerState {
        match self {
            Self::Closed(_) => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

impl Window {
    fn count(&mut self, now: Instant, length: Duration, is_success: bool) {
        let began = *self.began.get_or_insert(now);
        let slice_ns = (length.as_nanos() / SLICES as u128).max(1);
        let slice =
            u64::try_from(now.saturating_duration_since(began).as_nanos() / slice_ns).unwrap_or(u64::MAX);
        // Slices that nobody came to fill are empty.
        let passed = usize::try_from(slice.saturating_sub(self.newest)).unwrap_or(usize::MAX).min(SLICES);
        for step in 1..=passed {
            self.slices[Self::place(slice.saturating_sub(passed as u64) + step as u64)] = (0, 0);
        }
        self.newest = self.newest.max(slice);
        let (succeeded, failed) = &mut self.slices[Self::place(self.newest)];
        let counter = if is_success { succeeded } else { failed };
        *counter = counter.saturating_add(1);
    }

    const fn place(slice: u64) -> usize {
        (slice % SLICES as u64) as usize
    }

    fn is_bad(&self, settings: &BreakerSettings) -> bool {
        let sum = |pick: fn(&(u32, u32)) -> u32| {
            self.slices.iter().map(|slice| u64::from(pick(slice))).sum::<u64>()
        };
        let (succeeded, failed) = (sum(|slice| slice.0), sum(|slice| slice.1));
        let asked = succeeded + failed;
        settings.failure_percent > 0
            && asked >= u64::from(settings.requests_min.max(1))
            && failed * 100 >= asked * u64::from(settings.failure_percent)
    }
}

impl Permit<'_> {
    /// It was answered.
    pub fn succeeded(self, now: Instant) {
        self.settle(Some(now), true);
    }

    /// It was not answered, or by an error that is the dependency's.
    pub fn failed(self, now: Instant) {
        self.settle(Some(now), false);
    }

    fn settle(self, now: Option<Instant>, is_success: bool) {
        let (breaker, epoch) = (self.breaker, self.epoch);
        std::mem::forget(self);
        breaker.settle(epoch, now, is_success);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.breaker.settle(self.epoch, None, false);
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
