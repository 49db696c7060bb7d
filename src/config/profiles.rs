//! `[profiles]`: the enrichment store, and what stands before it.

use std::time::Duration;

use serde::Deserialize;

use crate::enrich::breaker::BreakerSettings;
use crate::enrich::redis::RedisOptions;

/// `[profiles]`
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ProfilesConfig {
    pub redis: String,
    pub breaker: BreakerConfig,
}

/// `[profiles.breaker]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct BreakerConfig {
    pub failure_percent: u8,
    pub window_ms: u64,
    pub requests_min: u32,
    pub open_ms: u64,
    pub probes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let BreakerSettings { failure_percent, window, requests_min, open, probes } =
            BreakerSettings::default();
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { failure_percent, window_ms: ms(window), requests_min, open_ms: ms(open), probes }
    }
}

impl std::fmt::Debug for ProfilesConfig {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { redis, breaker } = self;
        let store = if redis.is_empty() { "embedded" } else { "redis" };
        f.debug_struct("ProfilesConfig").field("store", &store).field("breaker", breaker).finish()
    }
}

impl ProfilesConfig {
    /// How Redis is asked.
    pub const fn redis_options(&self) -> RedisOptions {
        let BreakerConfig { failure_percent, window_ms, requests_min, open_ms, probes } = self.breaker;
        RedisOptions {
            breaker: BreakerSettings {
                failure_percent,
                window: Duration::from_millis(window_ms),
                requests_min,
                open: Duration::from_millis(open_ms),
                probes,
            },
        }
    }

    /// Name, value, least and most of each number.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        let breaker = &self.breaker;
        [
            ("profiles.breaker.failure_percent", u64::from(breaker.failure_percent), 0, 100),
            ("profiles.breaker.window_ms", breaker.window_ms, 10, 60_000),
            ("profiles.breaker.requests_min", u64::from(breaker.requests_min), 1, 1_000_000),
            ("profiles.breaker.open_ms", breaker.open_ms, 1, 60_000),
            ("profiles.breaker.probes", u64::from(breaker.probes), 1, 1_000),
        ]
        .into_iter()
    }
}
