//! How long each stage of one request took.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::time::Clock;

/// Measures one lap after the other.
pub struct Stopwatch {
    clock: Arc<dyn Clock>,
    started: Instant,
    lap_started: Instant,
}

impl Stopwatch {
    /// Starts a request that came at `started`.
    pub fn new(clock: Arc<dyn Clock>, started: Instant) -> Self {
        let lap_started = clock.instant();
        Self { clock, started, lap_started }
    }

    /// Microseconds since the last lap ended.
    pub fn lap_us(&mut self) -> u64 {
        let now = self.clock.instant();
        let lap = now.saturating_duration_since(self.lap_started);
        self.lap_started = now;
        u64::try_from(lap.as_micros()).unwrap_or(u64::MAX)
    }

    /// When the last lap ended.
    pub const fn lap_started(&self) -> Instant {
        self.lap_started
    }

    /// Microseconds since the request came.
    pub fn total_us(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Time since the request came.
    pub fn elapsed(&self) -> std::time::Duration {
        self.clock.instant().saturating_duration_since(self.started)
    }
}
