//! What is measured, by one thread, in one second, or by all in a whole run.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::{CreationError, Histogram};

/// Latencies are held to three digits, up to this.
const LATENCY_US_MAX: u64 = 600_000_000;

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
    /// All others, by status or failure.
    pub(crate) errors: BTreeMap<String, u64>,
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
            answered: 0,
            sent: 0,
            duplicates: 0,
            bursts: 0,
            ok: 0,
            degraded: 0,
            replayed: 0,
            in_time: 0,
            waited: 0,
            errors: BTreeMap::new(),
            last_sent: None,
        })
    }

    /// Adds what another thread measured.
    pub(crate) fn add(&mut self, other: &Self) {
        for (all, one) in [
            (&mut self.latency_us, &other.latency_us),
            (&mut self.ok_us, &other.ok_us),
            (&mut self.exchange_us, &other.exchange_us),
            (&mut self.lag_us, &other.lag_us),
        ] {
            // All have the same bounds.
            let _ = all.add(one);
        }
        self.answered += other.answered;
        self.sent += other.sent;
        self.duplicates += other.duplicates;
        self.bursts += other.bursts;
        self.ok += other.ok;
        self.degraded += other.degraded;
        self.replayed += other.replayed;
        self.in_time += other.in_time;
        self.waited += other.waited;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
        self.last_sent = self.last_sent.max(other.last_sent);
    }

    /// Nothing measured again.
    pub(crate) fn clear(&mut self) {
        let mut histograms = [&mut self.latency_us, &mut self.ok_us, &mut self.exchange_us, &mut self.lag_us]
            .map(|histogram| std::mem::replace(histogram, Histogram::new_from(histogram)));
        for histogram in &mut histograms {
            histogram.reset();
        }
        let [latency_us, ok_us, exchange_us, lag_us] = histograms;
        *self = Self {
            latency_us,
            ok_us,
            exchange_us,
            lag_us,
            answered: 0,
            sent: 0,
            duplicates: 0,
            bursts: 0,
            ok: 0,
            degraded: 0,
            replayed: 0,
            in_time: 0,
            waited: 0,
            errors: BTreeMap::new(),
            last_sent: None,
        };
    }

    /// A request that was never sent, and that has waited `age_us` in vain.
    pub(crate) fn not_sent(&mut self, age_us: u64) {
        self.latency_us.saturating_record(age_us);
        *self.errors.entry("not_sent".to_owned()).or_default() += 1;
    }
}
