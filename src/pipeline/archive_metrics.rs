//! What Prometheus reads of the archive.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::archive::archiver::Archived;
use crate::archive::prune::Pruned;
use crate::domain::time::EventTime;

/// The families.
#[derive(Debug, Default)]
pub(crate) struct ArchiveMetrics {
    up: Gauge,
    success: Gauge<f64, AtomicU64>,
    failures: Counter,
    segments: Counter,
    records: Counter,
    log_bytes: Counter,
    file_bytes: Counter,
    removed: Counter,
    pruned: Counter,
}

impl ArchiveMetrics {
    /// The families, registered.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "archive_up",
            "1 while the last run of the archiver did not fail",
            metrics.up.clone(),
        );
        registry.register_with_unit(
            "archive_success_timestamp",
            "When the archiver last had nothing left to do, in seconds since the epoch",
            Unit::Seconds,
            metrics.success.clone(),
        );
        for (name, help, counter) in [
            ("archive_failures", "Runs of the archiver that failed", &metrics.failures),
            ("archive_segments", "Segments of the log whose archive copy was proven", &metrics.segments),
            ("archive_records", "Their records", &metrics.records),
            ("archive_log_bytes", "Their bytes in the log", &metrics.log_bytes),
            ("archive_file_bytes", "Bytes of the files made of them", &metrics.file_bytes),
            ("archive_removed_records", "Records that outlived their retention", &metrics.removed),
            ("archive_pruned_segments", "Archived segments that left the log's directory", &metrics.pruned),
        ] {
            registry.register(name, help, counter.clone());
        }
        metrics
    }

    pub(crate) fn succeeded(&self, now: EventTime) {
        self.up.set(1);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century are exact")]
        self.success.set(now.unix_millis() as f64 / 1_000.0);
    }

    pub(crate) fn failed(&self) {
        self.up.set(0);
        self.failures.inc();
    }

    pub(crate) fn archived(&self, archived: &Archived) {
        self.segments.inc_by(archived.segments);
        self.records.inc_by(archived.records);
        self.log_bytes.inc_by(archived.log_bytes);
        self.file_bytes.inc_by(archived.file_bytes);
    }

    pub(crate) fn removed(&self, records: u64) {
        self.removed.inc_by(records);
    }

    pub(crate) fn pruned(&self, pruned: &Pruned) {
        self.pruned.inc_by(pruned.segments);
    }
}
