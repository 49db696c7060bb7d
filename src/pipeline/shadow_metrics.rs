//! The metrics of what is looked at after a decision: challengers and drift.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::decision::Outcome;
use crate::pipeline::drift::ModelDrift;

type Named<T> = Family<Vec<(&'static str, String)>, T>;

/// Why a decision was not looked at, or its scores were not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dropped {
    /// Too many were waiting.
    QueueFull,
    /// The thread has ended.
    Stopped,
    /// The log had no place, or did not take the record.
    Log,
}

impl Dropped {
    const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Stopped => "stopped",
            Self::Log => "log",
        }
    }
}

/// The counters and gauges.
#[derive(Debug, Default)]
pub(crate) struct ShadowMetrics {
    dropped: Named<Counter>,
    challenger_scores: Named<Counter>,
    challenger_failures: Named<Counter>,
    feature_psi: Named<Gauge<f64, AtomicU64>>,
    score_psi: Named<Gauge<f64, AtomicU64>>,
    drift_decisions: Named<Gauge>,
    candidate_decisions: Named<Counter>,
}

impl ShadowMetrics {
    /// New ones, in a registry.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "shadow_dropped_decisions",
            "Decisions that challengers and drift did not see (queue_full, stopped), or whose scores were not recorded (log)",
            metrics.dropped.clone(),
        );
        registry.register(
            "challenger_scores",
            "Scores of a challenger that are recorded",
            metrics.challenger_scores.clone(),
        );
        registry.register(
            "challenger_failures",
            "Decisions that a challenger could not score",
            metrics.challenger_failures.clone(),
        );
        registry.register(
            "model_feature_psi",
            "Population stability index of a model's feature against its reference, over shadow.drift_window_s",
            metrics.feature_psi.clone(),
        );
        registry.register(
            "model_score_psi",
            "Population stability index of a model's score against its reference, over shadow.drift_window_s",
            metrics.score_psi.clone(),
        );
        registry.register(
            "model_drift_decisions",
            "Decisions in the window of a model's stability indices",
            metrics.drift_decisions.clone(),
        );
        registry.register(
            "candidate_decisions",
            "Decisions that the candidate rules made beside the live ones, by the live outcome (before) and theirs (after)",
            metrics.candidate_decisions.clone(),
        );
        metrics
    }

    /// Counts a decision of the candidate.
    pub(crate) fn count_candidate(&self, before: Outcome, after: Outcome) {
        let labels = vec![("before", before.name().to_owned()), ("after", after.name().to_owned())];
        self.candidate_decisions.get_or_create(&labels).inc();
    }

    /// Counts decisions that were not looked at, or whose scores were not recorded.
    pub(crate) fn count_dropped(&self, reason: Dropped, decisions: usize) {
        let labels = vec![("reason", reason.name().to_owned())];
        self.dropped.get_or_create(&labels).inc_by(decisions as u64);
    }

    /// Counts a challenger's recorded scores, and the decisions that it could not score.
    pub(crate) fn count_challenger(&self, name: &str, scored: usize, failed: usize) {
        let labels = vec![("challenger", name.to_owned())];
        self.challenger_scores.get_or_create(&labels).inc_by(scored as u64);
        self.challenger_failures.get_or_create(&labels).inc_by(failed as u64);
    }

    /// Shows the drift of these models, and of no others.
    pub(crate) fn show_drift(&self, models: Vec<ModelDrift>) {
        self.feature_psi.clear();
        self.score_psi.clear();
        self.drift_decisions.clear();
        for model in models {
            let name = ("model", model.model.into_string());
            let of_model = vec![name.clone()];
            let decisions = i64::try_from(model.decisions).unwrap_or(i64::MAX);
            self.drift_decisions.get_or_create(&of_model).set(decisions);
            if let Some(psi) = model.score {
                self.score_psi.get_or_create(&of_model).set(psi);
            }
            for (feature, psi) in model.features {
                let labels = vec![name.clone(), ("feature", feature.into_string())];
                self.feature_psi.get_or_create(&labels).set(psi);
            }
        }
    }
}
