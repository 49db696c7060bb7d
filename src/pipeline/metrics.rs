//! What Prometheus reads: counters on the request path, and gauges taken when they are asked for.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::decision::{Decision, Outcome};
use crate::domain::label::{Label, Verdict};
#[cfg(feature = "parquet")]
use crate::pipeline::archive_metrics::ArchiveMetrics;
use crate::pipeline::checkpoint_metrics::CheckpointMetrics;
use crate::pipeline::forward_metrics::ForwardMetrics;
use crate::pipeline::profile_metrics::ProfileMetrics;
use crate::pipeline::service::{DecideError, Service};
use crate::pipeline::shadow_metrics::ShadowMetrics;
use crate::pipeline::snapshot::Taken;
use crate::pipeline::stage_times::StageHistograms;

type Named<T> = Family<Vec<(&'static str, String)>, T>;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RequestLabels {
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    degraded: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct LabelLabels {
    label: &'static str,
    transaction: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ListChangeLabels {
    change: &'static str,
}

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Held by who writes all of it out.
    scrape: Mutex<()>,
    requests: Family<RequestLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    labels: Family<LabelLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    missing: Named<Counter>,
    list_changes: Family<ListChangeLabels, Counter>,
    replayed: Counter,
    unknown_fields: Counter,
    audit_failures: Counter,
    snapshot_failures: Counter,
    pub(super) stages: StageHistograms,
    gauges: Gauges,
    /// Of challengers and drift.
    pub(crate) shadow: ShadowMetrics,
    /// Of the enrichment store.
    pub(crate) profiles: ProfileMetrics,
    /// Of the archive.
    #[cfg(feature = "parquet")]
    pub(crate) archive: ArchiveMetrics,
    /// Of the targets that the log is forwarded to.
    pub(crate) forward: ForwardMetrics,
    /// Of the log's tree.
    pub(crate) checkpoints: CheckpointMetrics,
    /// Reviews recorded.
    pub(crate) reviews: AtomicU64,
}

#[derive(Debug, Default)]
struct Gauges {
    window_keys: Named<Gauge>,
    window_events: Named<Gauge>,
    window_evicted: Named<Counter<u64, AtomicU64>>,
    window_evicted_active: Named<Counter<u64, AtomicU64>>,
    window_late: Named<Counter<u64, AtomicU64>>,
    window_forgotten: Named<Counter<u64, AtomicU64>>,
    window_endangered: Named<Gauge>,
    window_busy: Named<Gauge>,
    index_keys: Gauge,
    index_forgotten: Gauge,
    counted_transactions: Gauge,
    counted_forgotten: Gauge,
    log_sequence: Gauge,
    log_bytes: Gauge,
    log_queue: Gauge,
    log_healthy: Gauge,
    in_flight: Gauge,
    policy_refused: Gauge,
    policy_archive_policies: Gauge,
    policy_archive_bytes: Gauge,
    snapshot_keys: Gauge,
    snapshot_bytes: Gauge,
    snapshot_sequence: Gauge,
    snapshot_seconds: Gauge<f64, AtomicU64>,
    snapshot_timestamp_seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// All at zero. Stage times are of periods that are counted from `began` on.
    pub fn new(began: Instant) -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let metrics = Self {
            scrape: Mutex::default(),
            requests: Family::default(),
            decisions: Family::default(),
            labels: Family::default(),
            reloads: Family::default(),
            missing: Family::default(),
            list_changes: Family::default(),
            replayed: Counter::default(),
            unknown_fields: Counter::default(),
            audit_failures: Counter::default(),
            snapshot_failures: Counter::default(),
            stages: StageHistograms::new(began),
            gauges: Gauges::default(),
            shadow: ShadowMetrics::registered(&mut registry),
            profiles: ProfileMetrics::registered(&mut registry),
            #[cfg(feature = "parquet")]
            archive: ArchiveMetrics::registered(&mut registry),
            forward: ForwardMetrics::registered(&mut registry),
            checkpoints: CheckpointMetrics::registered(&mut registry),
            reviews: AtomicU64::new(0),
            registry: Registry::default(),
        };
        registry.register("requests", "Decision requests by result", metrics.requests.clone());
        registry.register("decisions", "Recorded decisions by outcome", metrics.decisions.clone());
        registry.register("labels", "Recorded labels", metrics.labels.clone());
        registry.register("policy_reloads", "Policy candidates by result", metrics.reloads.clone());
        registry.register(
            "list_changes",
            "Changes of lists at run time that were recorded",
            metrics.list_changes.clone(),
        );
        registry.register("missing", "What was missing in recorded decisions", metrics.missing.clone());
        registry.register(
            "requests_replayed",
            "Requests answered from their first record",
            metrics.replayed.clone(),
        );
        registry.register(
            "unknown_fields",
            "Request fields that the contract does not know",
            metrics.unknown_fields.clone(),
        );
        registry.register(
            "audit_failures",
            "Decisions that could not be recorded",
            metrics.audit_failures.clone(),
        );
        let gauges = &metrics.gauges;
        registry.register("window_keys", "Keys held by the window store", gauges.window_keys.clone());
        registry.register(
            "window_events",
            "Events held one by one, of keys that are not busy",
            gauges.window_events.clone(),
        );
        registry.register(
            "window_evicted_keys",
            "Keys evicted because there were too many",
            gauges.window_evicted.clone(),
        );
        registry.register(
            "window_evicted_active_keys",
            "Evicted keys that were still active: raise max_keys",
            gauges.window_evicted_active.clone(),
        );
        registry.register("window_late_events", "Events too late to be counted", gauges.window_late.clone());
        registry.register(
            "window_endangered_active_keys",
            "Active keys that would be evicted if an eighth of all keys came anew: raise max_keys before they are",
            gauges.window_endangered.clone(),
        );
        registry.register(
            "window_forgotten_keys",
            "Keys forgotten: not seen for their ttl and the longest window",
            gauges.window_forgotten.clone(),
        );
        registry.register(
            "window_busy_keys",
            "Keys with so many events that their old ones are held in groups",
            gauges.window_busy.clone(),
        );
        registry.register("idempotency_keys", "Idempotency keys remembered", gauges.index_keys.clone());
        registry.register(
            "idempotency_keys_forgotten",
            "Idempotency keys forgotten",
            gauges.index_forgotten.clone(),
        );
        registry.register(
            "counted_transactions",
            "Transactions known to be counted",
            gauges.counted_transactions.clone(),
        );
        registry.register(
            "counted_transactions_forgotten",
            "Transactions forgotten, which would count again",
            gauges.counted_forgotten.clone(),
        );
        registry.register("audit_sequence", "Sequence of the last record", gauges.log_sequence.clone());
        registry.register("audit_log_bytes", "Length of the audit log", gauges.log_bytes.clone());
        registry.register("audit_queue_records", "Records waiting to be written", gauges.log_queue.clone());
        registry.register(
            "audit_healthy",
            "1 while the audit log can be written",
            gauges.log_healthy.clone(),
        );
        registry.register(
            "policy_refused",
            "1 while what lies on disk is refused and the policy before it decides",
            gauges.policy_refused.clone(),
        );
        registry.register(
            "policy_archive_policies",
            "Policies in the policy archive: every one that has decided",
            gauges.policy_archive_policies.clone(),
        );
        registry.register(
            "policy_archive_bytes",
            "Bytes of their files, each counted once",
            gauges.policy_archive_bytes.clone(),
        );
        registry.register("requests_in_flight", "Requests being decided", gauges.in_flight.clone());
        registry.register(
            "snapshot_failures",
            "State snapshots that could not be taken",
            metrics.snapshot_failures.clone(),
        );
        registry.register(
            "snapshot_keys",
            "Keys of the windows in the last state snapshot",
            gauges.snapshot_keys.clone(),
        );
        registry.register(
            "snapshot_bytes",
            "Length of the last state snapshot",
            gauges.snapshot_bytes.clone(),
        );
        registry.register(
            "snapshot_sequence",
            "The last record in the last state snapshot: a start reads the log from there",
            gauges.snapshot_sequence.clone(),
        );
        registry.register(
            "snapshot_seconds",
            "How long it took to write the last state snapshot, or at the start to read it",
            gauges.snapshot_seconds.clone(),
        );
        registry.register(
            "snapshot_timestamp_seconds",
            "When the last state snapshot was taken, since the Unix epoch; 0 before the first",
            gauges.snapshot_timestamp_seconds.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts what became of a decision request.
    pub fn count_request<T>(&self, result: &Result<T, DecideError>) {
        let result = match result {
            Ok(_) => "ok",
            Err(DecideError::Rejected(_)) => "rejected",
            Err(DecideError::KeyReused) => "key_reused",
            Err(DecideError::Erased) => "erased",
            Err(DecideError::InFlight) => "in_flight",
            Err(DecideError::Overloaded { .. }) => "overloaded",
            Err(DecideError::NotReady(_)) => "not_ready",
            Err(DecideError::AuditUnavailable(_)) => "audit_unavailable",
            Err(DecideError::Internal(_)) => "internal",
        };
        self.requests.get_or_create(&RequestLabels { result }).inc();
    }

    /// Counts a decision that is about to be recorded.
    pub fn count_decision(&self, decision: &Decision) {
        let degraded = if decision.degraded { "true" } else { "false" };
        let labels = DecisionLabels { decision: Outcome::name(decision.decision), degraded };
        self.decisions.get_or_create(&labels).inc();
        for part in &decision.missing {
            self.missing.get_or_create(&vec![("part", part.to_string())]).inc();
        }
    }

    /// Counts a label that was recorded.
    pub fn count_label(&self, label: &Label, transaction_known: bool) {
        let label = match label.verdict {
            Verdict::Fraud => "fraud",
            Verdict::Legitimate => "legitimate",
        };
        let transaction = if transaction_known { "known" } else { "unknown" };
        self.labels.get_or_create(&LabelLabels { label, transaction }).inc();
    }

    /// Counts a policy candidate.
    pub fn count_reload(&self, went_live: bool) {
        let result = if went_live { "live" } else { "refused" };
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
    }

    /// Counts a change of a list that was recorded.
    pub fn count_list_change(&self, is_add: bool) {
        let change = if is_add { "add" } else { "remove" };
        self.list_changes.get_or_create(&ListChangeLabels { change }).inc();
    }

    /// Counts a request that was answered from its first record.
    pub fn count_replayed(&self) {
        self.replayed.inc();
    }

    /// Counts fields that the contract does not know.
    pub fn count_unknown_fields(&self, count: usize) {
        if count > 0 {
            self.unknown_fields.inc_by(count as u64);
        }
    }

    /// Counts a decision that could not be recorded.
    pub fn count_audit_failure(&self) {
        self.audit_failures.inc();
    }

    /// Counts a state snapshot that could not be taken.
    pub fn count_snapshot_failure(&self) {
        self.snapshot_failures.inc();
    }

    /// Notes the last state snapshot.
    pub fn note_snapshot(&self, taken: &Taken) {
        let gauges = &self.gauges;
        gauges.snapshot_keys.set(count(taken.keys));
        gauges.snapshot_bytes.set(count(taken.bytes));
        gauges.snapshot_sequence.set(count(taken.sequence));
        gauges.snapshot_seconds.set(taken.took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^52")]
        gauges.snapshot_timestamp_seconds.set(taken.taken_at_ms as f64 / 1e3);
    }
}

impl Service {
    /// Everything in Prometheus' text format (OpenMetrics 1.0).
    pub fn metrics_text(&self) -> String {
        // One at a time: what another has set must not go while it is written out.
        let _one = self.metrics.scrape.lock();
        self.take_gauges();
        self.metrics.shadow.show_drift(self.shadow.drift(self.clock.now()));
        let mut text = String::new();
        if encode(&mut text, &self.metrics.registry).is_err() {
            text.clear();
            let _ = writeln!(text, "# EOF");
        }
        self.append_rules_and_lists(&mut text);
        text
    }

    fn take_gauges(&self) {
        let gauges = &self.metrics.gauges;
        let windows = &self.state.windows;
        for (layout, stats) in windows.layout().entities.iter().zip(windows.stats()) {
            let entity = vec![("entity", layout.name.to_string())];
            gauges.window_keys.get_or_create(&entity).set(count(stats.keys));
            gauges.window_events.get_or_create(&entity).set(count(stats.events));
            gauges.window_endangered.get_or_create(&entity).set(count(stats.endangered_active_keys));
            gauges.window_busy.get_or_create(&entity).set(count(stats.busy_keys));
            for (family, value) in [
                (&gauges.window_evicted, stats.evicted_keys),
                (&gauges.window_evicted_active, stats.evicted_active_keys),
                (&gauges.window_late, stats.late_events),
                (&gauges.window_forgotten, stats.forgotten_keys),
            ] {
                family.get_or_create(&entity).inner().store(value, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let (keys, forgotten) = self.index.len_and_forgotten();
        gauges.index_keys.set(count(keys as u64));
        gauges.index_forgotten.set(count(forgotten));
        let (counted, forgotten) = self.state.ledger.len_and_forgotten();
        gauges.counted_transactions.set(count(counted as u64));
        gauges.counted_forgotten.set(count(forgotten));
        let log = self.log_status();
        gauges.log_sequence.set(count(log.head.sequence));
        gauges.log_bytes.set(count(log.bytes));
        gauges.log_queue.set(count(log.queue_depth as u64));
        gauges.log_healthy.set(i64::from(log.healthy));
        self.metrics.profiles.take(&self.profiles);
        self.metrics.forward.take(log.head.sequence, self.clock.now());
        gauges.policy_refused.set(i64::from(self.policies.status().refused.is_some()));
        let archive = self.policies.archive_size();
        gauges.policy_archive_policies.set(count(archive.policies));
        gauges.policy_archive_bytes.set(count(archive.bytes));
        let free = self.in_flight.available_permits();
        gauges.in_flight.set(count(self.settings.in_flight_max.saturating_sub(free) as u64));
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
