//! How one target is doing, for metrics and for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::domain::time::EventTime;
use crate::forward::settings::TargetName;

/// The live counters of a target. Its worker writes them.
#[derive(Debug)]
pub struct TargetStatus {
    name: TargetName,
    done: AtomicU64,
    waiting_since_ms: AtomicI64,
    is_up: AtomicBool,
    sent: AtomicU64,
    repeated: AtomicU64,
    retries: AtomicU64,
    dead: AtomicU64,
    dropped: AtomicU64,
    missed: AtomicU64,
    resent: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// The counters at one moment, since the start of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Records that the target has taken.
    pub sent: u64,
    /// Records that it had already when they were sent.
    pub repeated: u64,
    /// Batches that had to be sent again.
    pub retries: u64,
    /// Records that it refused and that are among the dead letters.
    pub dead: u64,
    /// Records that it refused and that the dead-letter file had no room for.
    pub dropped: u64,
    /// Records that were gone with their segment of the log before they were sent.
    pub missed: u64,
    /// Records by which it went back because the target had lost them.
    pub resent: u64,
}

/// No time: everything is sent.
const NOTHING_WAITS: i64 = i64::MIN;

impl TargetStatus {
    /// Of a target that has come to the record `done`.
    pub(super) const fn new(name: TargetName, done: u64) -> Self {
        Self {
            name,
            done: AtomicU64::new(done),
            waiting_since_ms: AtomicI64::new(NOTHING_WAITS),
            is_up: AtomicBool::new(true),
            sent: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// The target's name.
    pub const fn name(&self) -> &TargetName {
        &self.name
    }

    /// The last record that is done with.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether the last attempt to send went well.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Why the last attempt failed; none when it did not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// For how long the oldest record that is not sent has been in the log, in milliseconds; 0 when all is sent.
    pub fn lag_ms(&self, now: EventTime) -> u64 {
        match self.waiting_since_ms.load(Ordering::Relaxed) {
            NOTHING_WAITS => 0,
            since => u64::try_from(now.unix_millis().saturating_sub(since)).unwrap_or(0),
        }
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sent: read(&self.sent),
            repeated: read(&self.repeated),
            retries: read(&self.retries),
            dead: read(&self.dead),
            dropped: read(&self.dropped),
            missed: read(&self.missed),
            resent: read(&self.resent),
        }
    }

    pub(super) fn set_done(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    pub(super) fn waits_since(&self, since: Option<EventTime>) {
        self.waiting_since_ms.store(since.map_or(NOTHING_WAITS, EventTime::unix_millis), Ordering::Relaxed);
    }

    pub(super) fn went_well(&self) {
        if !self.is_up.swap(true, Ordering::Relaxed) {
            *self.trouble.lock() = None;
        }
    }

    pub(super) fn failed(&self, reason: &str) {
        self.is_up.store(false, Ordering::Relaxed);
        reason.clone_into(self.trouble.lock().get_or_insert_default());
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, taken: u64, repeated: u64) {
        self.sent.fetch_add(taken, Ordering::Relaxed);
        self.repeated.fetch_add(repeated, Ordering::Relaxed);
    }

    /// Answers how many there are with it.
    pub(super) fn count_dead(&self) -> u64 {
        self.dead.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Answers how many there are with it.
    pub(super) fn count_dropped(&self) -> u64 {
        self.dropped.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn count_missed(&self, records: u64) {
        self.missed.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn count_resent(&self, records: u64) {
        self.resent.fetch_add(records, Ordering::Relaxed);
    }
}
