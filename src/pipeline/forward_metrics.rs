//! What Prometheus reads of forwarding: taken from the targets' own counters when it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::time::EventTime;
use crate::forward::status::TargetStatus;

type Labels = Vec<(&'static str, String)>;
type Counted = Family<Labels, Counter<u64, AtomicU64>>;

/// The families, and where their numbers come from.
#[derive(Debug, Default)]
pub(crate) struct ForwardMetrics {
    targets: Mutex<Vec<Arc<TargetStatus>>>,
    up: Family<Labels, Gauge>,
    lag_records: Family<Labels, Gauge>,
    lag_seconds: Family<Labels, Gauge<f64, AtomicU64>>,
    sent: Counted,
    repeated: Counted,
    retries: Counted,
    dead: Counted,
    dropped: Counted,
    missed: Counted,
    resent: Counted,
}

impl ForwardMetrics {
    /// The families, registered.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "forward_up",
            "1 while a target takes records; 0 after a batch that it did not",
            metrics.up.clone(),
        );
        registry.register(
            "forward_lag_records",
            "Records of the log that a target is not done with",
            metrics.lag_records.clone(),
        );
        registry.register(
            "forward_lag_seconds",
            "How long the oldest record that a target has not taken has been in the log",
            metrics.lag_seconds.clone(),
        );
        for (name, help, family) in [
            ("forward_sent_records", "Records that a target has taken", &metrics.sent),
            (
                "forward_repeated_records",
                "Records that a target had already when they were sent",
                &metrics.repeated,
            ),
            (
                "forward_retries",
                "Batches that were sent again because a target did not take them",
                &metrics.retries,
            ),
            (
                "forward_dead_records",
                "Records that a target refuses for good and that stand among its dead letters",
                &metrics.dead,
            ),
            (
                "forward_dropped_records",
                "Records that a target refuses for good and that its full dead-letter file has no room for",
                &metrics.dropped,
            ),
            (
                "forward_missed_records",
                "Records that were gone with their segment of the log before they were sent",
                &metrics.missed,
            ),
            (
                "forward_resent_records",
                "Records by which forwarding went back because a target had lost them",
                &metrics.resent,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        metrics
    }

    /// From now on, these targets are shown.
    pub(crate) fn show(&self, targets: Vec<Arc<TargetStatus>>) {
        *self.targets.lock() = targets;
    }

    /// Takes over what the targets have counted; `head` is the last record of the log.
    pub(crate) fn take(&self, head: u64, now: EventTime) {
        for target in &*self.targets.lock() {
            let labels = vec![("target", target.name().to_string())];
            self.up.get_or_create(&labels).set(i64::from(target.is_up()));
            let lag = head.saturating_sub(target.done());
            self.lag_records.get_or_create(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a lag are far below 2^52")]
            self.lag_seconds.get_or_create(&labels).set(target.lag_ms(now) as f64 / 1e3);
            let counts = target.counts();
            for (family, number) in [
                (&self.sent, counts.sent),
                (&self.repeated, counts.repeated),
                (&self.retries, counts.retries),
                (&self.dead, counts.dead),
                (&self.dropped, counts.dropped),
                (&self.missed, counts.missed),
                (&self.resent, counts.resent),
            ] {
                family.get_or_create(&labels).inner().store(number, Ordering::Relaxed);
            }
        }
    }
}
