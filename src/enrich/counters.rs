//! Counters of a profile store, for the metrics page. They only ever grow, apart from `connections_up`.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one store, or of several connections to one store: share it behind an `Arc`.
#[derive(Debug, Default)]
pub struct ProfileCounters {
    pub(super) fetches: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) malformed_values: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) hedges_won: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) disconnects: AtomicU64,
    pub(super) connections_up: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProfileCounts {
    /// Fetches that had something to ask.
    pub fetches: u64,
    /// Fetches that the store did not answer in time.
    pub timeouts: u64,
    /// Fetches answered `TimedOut` at once, because there was no connection or the breaker was open.
    pub unavailable: u64,
    /// Fetches in which the connection broke, or questions that the store answered with an error.
    pub errors: u64,
    /// Stored values that are not of the type that the catalogue declares; answered `Absent`.
    pub malformed_values: u64,
    /// Fetches that asked a second time, over another connection.
    pub hedges: u64,
    /// Those of them where the second question was the one that was answered.
    pub hedges_won: u64,
    /// Connections made, the first one included.
    pub connects: u64,
    /// Connections lost or given up.
    pub disconnects: u64,
    /// Connections that stand now. The embedded store has none.
    pub connections_up: u64,
}

impl ProfileCounters {
    /// Reads all counters. Each is exact; together they are not one instant.
    pub fn read(&self) -> ProfileCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProfileCounts {
            fetches: read(&self.fetches),
            timeouts: read(&self.timeouts),
            unavailable: read(&self.unavailable),
            errors: read(&self.errors),
            malformed_values: read(&self.malformed_values),
            hedges: read(&self.hedges),
            hedges_won: read(&self.hedges_won),
            connects: read(&self.connects),
            disconnects: read(&self.disconnects),
            connections_up: read(&self.connections_up),
        }
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
