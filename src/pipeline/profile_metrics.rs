//! What Prometheus reads of the enrichment store: taken from its own counters when it is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::enrich::breaker::BreakerState;
use crate::enrich::profiles::Profiles;

/// The name of the enrichment store among the dependencies.
const DEPENDENCY: &str = "profiles";

type Labels = Vec<(&'static str, &'static str)>;
type Counted = Family<Labels, Counter<u64, AtomicU64>>;

/// The families.
#[derive(Debug, Default)]
pub(crate) struct ProfileMetrics {
    events: Counted,
    up: Gauge,
    connections: Gauge,
    breaker_state: Family<Labels, Gauge>,
    breaker_transitions: Counted,
    breaker_refused: Counted,
}

impl ProfileMetrics {
    /// The families, registered.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("profiles_up", "1 while the enrichment store can be asked", metrics.up.clone());
        registry.register(
            "profiles_connections",
            "Connections to the enrichment store that stand",
            metrics.connections.clone(),
        );
        registry.register(
            "profiles_events",
            "Fetches, and what went wrong with them: timeout, unavailable (no connection, or the breaker is open), error, malformed value",
            metrics.events.clone(),
        );
        registry.register(
            "breaker_state",
            "0 closed, 1 half-open, 2 open: a dependency that mostly fails is left alone",
            metrics.breaker_state.clone(),
        );
        registry.register(
            "breaker_transitions",
            "How often a breaker entered a state",
            metrics.breaker_transitions.clone(),
        );
        registry.register(
            "breaker_refused",
            "What was not asked of a dependency because its breaker was open",
            metrics.breaker_refused.clone(),
        );
        metrics
    }

    /// Takes over what the store has counted.
    pub(crate) fn take(&self, profiles: &Profiles) {
        let counts = profiles.counters().read();
        self.up.set(i64::from(profiles.is_up()));
        self.connections.set(i64::try_from(counts.connections_up).unwrap_or(i64::MAX));
        for (event, number) in [
            ("fetch", counts.fetches),
            ("timeout", counts.timeouts),
            ("unavailable", counts.unavailable),
            ("error", counts.errors),
            ("malformed_value", counts.malformed_values),
            ("connect", counts.connects),
            ("disconnect", counts.disconnects),
        ] {
            set(&self.events, vec![("event", event)], number);
        }
        let Some(breaker) = profiles.breaker() else { return };
        let dependency = ("dependency", DEPENDENCY);
        for ((number, state), entered) in (0..).zip(BreakerState::ALL).zip(breaker.transitions) {
            if state == breaker.state {
                self.breaker_state.get_or_create(&vec![dependency]).set(number);
            }
            set(&self.breaker_transitions, vec![dependency, ("to", state.name())], entered);
        }
        set(&self.breaker_refused, vec![dependency], breaker.refused);
    }
}

fn set(family: &Counted, labels: Labels, number: u64) {
    family.get_or_create(&labels).inner().store(number, Ordering::Relaxed);
}
