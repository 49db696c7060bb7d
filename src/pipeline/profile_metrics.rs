//! What Prometheus reads of the enrichment store: taken from its own counters when it is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::enrich::breaker::BreakerState;
use crate::enrich::profiles::Profiles;
use crate::enrich::update::Applied;

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
    cache_entries: Gauge,
    cache_events: Counted,
    breaker_state: Family<Labels, Gauge>,
    breaker_transitions: Counted,
    breaker_refused: Counted,
    updates: Counted,
    update_lag: Gauge,
    /// The last record that profiles have seen, and one more; 0 while nothing updates them.
    updates_done: AtomicU64,
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
            "profiles_cache_entries",
            "Profiles in the cache before Redis",
            metrics.cache_entries.clone(),
        );
        registry.register(
            "profiles_cache_events",
            "Profiles found or not in the cache, and entries dropped because they changed or there were too many",
            metrics.cache_events.clone(),
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
        registry.register(
            "profile_updates",
            "What decisions add to profiles: steps applied, steps seen before, profiles refused, records skipped, writes that failed and were repeated",
            metrics.updates.clone(),
        );
        registry.register(
            "profile_updates_lag_records",
            "Records of the log that profiles have not seen yet",
            metrics.update_lag.clone(),
        );
        metrics
    }

    /// Notes the last record that profiles have seen.
    pub(crate) fn set_updates_done(&self, sequence: u64) {
        self.updates_done.store(sequence.saturating_add(1), Ordering::Release);
    }

    /// The last record that profiles have seen; none while nothing updates them.
    pub(crate) fn updates_done(&self) -> Option<u64> {
        self.updates_done.load(Ordering::Acquire).checked_sub(1)
    }

    /// Notes how many records of the log profiles have not seen.
    pub(crate) fn set_update_lag(&self, records: u64) {
        self.update_lag.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Counts updates that the store has taken.
    pub(crate) fn count_updates(&self, applied: Applied) {
        self.count_update("applied", applied.steps);
        self.count_update("repeated", applied.repeated);
        self.count_update("refused", applied.refused);
    }

    /// Counts records that profiles will never see.
    pub(crate) fn count_updates_skipped(&self, records: u64) {
        self.count_update("skipped", records);
    }

    /// Counts a write of updates that failed, and will be repeated.
    pub(crate) fn count_update_failure(&self) {
        self.count_update("failed", 1);
    }

    fn count_update(&self, event: &'static str, number: u64) {
        self.updates.get_or_create(&vec![("event", event)]).inc_by(number);
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
            ("hedge", counts.hedges),
            ("hedge_won", counts.hedges_won),
            ("connect", counts.connects),
            ("disconnect", counts.disconnects),
        ] {
            set(&self.events, &vec![("event", event)], number);
        }
        if let Some(cache) = profiles.cache() {
            self.cache_entries.set(i64::try_from(cache.entries).unwrap_or(i64::MAX));
            for (event, number) in [
                ("hit", cache.hits),
                ("miss", cache.misses),
                ("invalidation", cache.invalidations),
                ("eviction", cache.evictions),
            ] {
                set(&self.cache_events, &vec![("event", event)], number);
            }
        }
        let Some(breaker) = profiles.breaker() else { return };
        let dependency = ("dependency", DEPENDENCY);
        for ((number, state), entered) in (0..).zip(BreakerState::ALL).zip(breaker.transitions) {
            if state == breaker.state {
                self.breaker_state.get_or_create(&vec![dependency]).set(number);
            }
            set(&self.breaker_transitions, &vec![dependency, ("to", state.name())], entered);
        }
        set(&self.breaker_refused, &vec![dependency], breaker.refused);
    }
}

fn set(family: &Counted, labels: &Labels, number: u64) {
    family.get_or_create(labels).inner().store(number, Ordering::Relaxed);
}
