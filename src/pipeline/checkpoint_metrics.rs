//! What Prometheus reads of the log's tree and its checkpoints.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The families.
#[derive(Debug, Default)]
pub(crate) struct CheckpointMetrics {
    records: Gauge,
    lag: Gauge,
    timestamp_seconds: Gauge<f64, AtomicU64>,
    signed: Counter,
    failures: Counter,
}

impl CheckpointMetrics {
    /// The families, registered.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "checkpoint_covered_records",
            "Records that the newest signed checkpoint covers",
            metrics.records.clone(),
        );
        registry.register(
            "checkpoint_lag_records",
            "Records of the log that its Merkle tree has not taken in yet",
            metrics.lag.clone(),
        );
        registry.register(
            "checkpoint_timestamp_seconds",
            "When the newest checkpoint was signed by this process, in seconds since the Unix epoch; 0: none yet",
            metrics.timestamp_seconds.clone(),
        );
        registry.register("checkpoint_signed", "Checkpoints signed since the start", metrics.signed.clone());
        registry.register(
            "checkpoint_failures",
            "Checkpoints that could not be signed or recorded; if it keeps growing, the log says why",
            metrics.failures.clone(),
        );
        metrics
    }

    /// Notes how many records the tree has not taken in.
    pub(crate) fn set_lag(&self, records: u64) {
        self.lag.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Notes the checkpoint that was found at the start.
    pub(crate) fn set_covered(&self, records: u64) {
        self.records.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Counts a new checkpoint.
    pub(crate) fn note_signed(&self, records: u64, at_ms: i64) {
        self.set_covered(records);
        self.timestamp_seconds.set(at_ms as f64 / 1000.0);
        self.signed.inc();
    }

    /// Counts one that failed.
    pub(crate) fn count_failure(&self) {
        self.failures.inc();
    }
}
