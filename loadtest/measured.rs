//! What is measured, by one thread, in one second, or by all in a whole run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use hdrhistogram::{CreationError, Histogram};

use crate::load::connection::Failure;

/// Latencies are held to three digits, up to this.
const LATENCY_US_MAX: u64 = 600_000_000;

/// What a request came to that was not answered 200.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum ErrorKind {
    /// Another status.
    Status(u16),
    /// No answer.
    Failed(Failure),
    /// It was due, and there was no time left to send it.
    NotSent,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status_{status}"),
            Self::Failed(failure) => f.write_str(failure.name()),
            Self::NotSent => f.write_str("not_sent"),
        }
    }
}

/// Everything that was measured, by one thread or by all.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// From when a request was due to its answer or failure.
    pub(crate) latency_us: Histogram<u64>,
    /// The same, of those answered 200 alone: when load is shed, what became of the rest must not flatter them.
    pub(crate) ok_us: Histogram<u64>,
    /// From when it was sent.
    pub(crate) exchange_us: Histogram<u64>,
    /// From when it was due to when it was sent, where a connection was free in time.
    pub(crate) lag_us: Histogram<u64>,
    /// What was counted.
    pub(crate) counts: Counts,
}

/// Numbers of requests.
#[derive(Clone, Default, Debug)]
pub(crate) struct Counts {
    /// Requests that are over, those of the warm-up included.
    pub(crate) answered: u64,
    /// Requests sent.
    pub(crate) sent: u64,
    /// Of these, repeated ones.
    pub(crate) duplicates: u64,
    /// Of these, payments of bursts.
    pub(crate) bursts: u64,
    /// Answered 200.
    pub(crate) ok: u64,
    /// Of these, degraded ones.
    pub(crate) degraded: u64,
    /// Of these, first answers given again.
    pub(crate) replayed: u64,
    /// Of the answers that were 200, those within the deadline.
    pub(crate) in_time: u64,
    /// Requests that were due while all connections were busy.
    pub(crate) waited: u64,
    /// All others.
    pub(crate) errors: BTreeMap<ErrorKind, u64>,
    /// When the last one was sent.
    pub(crate) last_sent: Option<Instant>,
}

impl Measured {
    /// Nothing measured yet.
    pub(crate) fn new() -> Result<Self, CreationError> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Ok(Self {
            latency_us: histogram()?,
            ok_us: histogram()?,
            exchange_us: histogram()?,
            lag_us: histogram()?,
            counts: Counts::default(),
        })
    }

    const fn histograms(&mut self) -> [&mut Histogram<u64>; 4] {
        [&mut self.latency_us, &mut self.ok_us, &mut self.exchange_us, &mut self.lag_us]
    }

    /// Adds what another thread measured.
    pub(crate) fn add(&mut self, other: &Self) {
        let others = [&other.latency_us, &other.ok_us, &other.exchange_us, &other.lag_us];
        for (all, one) in self.histograms().into_iter().zip(others) {
            // All have the same bounds.
            let _ = all.add(one);
        }
        let (counts, others) = (&mut self.counts, &other.counts);
        counts.answered += others.answered;
        counts.sent += others.sent;
        counts.duplicates += others.duplicates;
        counts.bursts += others.bursts;
        counts.ok += others.ok;
        counts.degraded += others.degraded;
        counts.replayed += others.replayed;
        counts.in_time += others.in_time;
        counts.waited += others.waited;
        for (kind, count) in &others.errors {
            *counts.errors.entry(*kind).or_default() += count;
        }
        counts.last_sent = counts.last_sent.max(others.last_sent);
    }

    /// Nothing measured again, in the same memory: this is done each second while others wait for the lock.
    pub(crate) fn clear(&mut self) {
        self.histograms().into_iter().for_each(Histogram::reset);
        self.counts = Counts::default();
    }

    /// A request that was never sent, and that has waited `age_us` in vain.
    pub(crate) fn not_sent(&mut self, age_us: u64) {
        self.latency_us.saturating_record(age_us);
        *self.counts.errors.entry(ErrorKind::NotSent).or_default() += 1;
    }
}
