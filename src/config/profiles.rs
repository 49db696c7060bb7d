//! `[profiles]`: the enrichment store, and what stands before it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::enrich::breaker::BreakerSettings;
use crate::enrich::cache::{CACHE_ENTRIES_MAX, CacheSettings};
use crate::enrich::hedge::HedgeSettings;
use crate::enrich::redis::{CONNECTIONS_DEFAULT, RedisOptions};
use crate::pipeline::profile_updates::{CATCH_UP_RECORDS_MAX_DEFAULT, ProfileUpdateSettings};

/// `[profiles]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ProfilesConfig {
    pub redis: String,
    pub username: String,
    pub password: String,
    pub sentinel_username: String,
    pub sentinel_password: String,
    pub tls: TlsConfig,
    pub connections: usize,
    pub breaker: BreakerConfig,
    pub cache: CacheConfig,
    pub hedge: HedgeConfig,
    pub updates: UpdatesConfig,
}

/// `[profiles.updates]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct UpdatesConfig {
    pub enabled: bool,
    pub catch_up_records_max: u64,
}

impl Default for UpdatesConfig {
    fn default() -> Self {
        Self { enabled: false, catch_up_records_max: CATCH_UP_RECORDS_MAX_DEFAULT }
    }
}

/// `[profiles.tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct TlsConfig {
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// `[profiles.cache]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct CacheConfig {
    pub entries_max: usize,
    pub ttl_ms: u64,
    pub negative_ttl_ms: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        let CacheSettings { entries_max, ttl, negative_ttl } = CacheSettings::default();
        Self { entries_max, ttl_ms: ms(ttl), negative_ttl_ms: ms(negative_ttl) }
    }
}

impl Default for ProfilesConfig {
    fn default() -> Self {
        Self {
            redis: String::new(),
            username: String::new(),
            password: String::new(),
            sentinel_username: String::new(),
            sentinel_password: String::new(),
            tls: TlsConfig::default(),
            connections: CONNECTIONS_DEFAULT,
            breaker: BreakerConfig::default(),
            cache: CacheConfig::default(),
            hedge: HedgeConfig::default(),
            updates: UpdatesConfig::default(),
        }
    }
}

/// `[profiles.hedge]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct HedgeConfig {
    pub delay_ms: u64,
    pub share_percent: u8,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        let HedgeSettings { delay, share_percent } = HedgeSettings::DEFAULT;
        Self { delay_ms: ms(delay), share_percent }
    }
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
        Self { failure_percent, window_ms: ms(window), requests_min, open_ms: ms(open), probes }
    }
}

impl std::fmt::Debug for ProfilesConfig {
    /// Without URL and credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let store = if self.redis.is_empty() { "embedded" } else { "redis" };
        f.debug_struct("ProfilesConfig")
            .field("store", &store)
            .field("tls", &self.tls)
            .field("connections", &self.connections)
            .field("breaker", &self.breaker)
            .field("cache", &self.cache)
            .field("hedge", &self.hedge)
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}

impl ProfilesConfig {
    /// How Redis is asked.
    pub const fn redis_options(&self) -> RedisOptions {
        let BreakerConfig { failure_percent, window_ms, requests_min, open_ms, probes } = self.breaker;
        let CacheConfig { entries_max, ttl_ms, negative_ttl_ms } = self.cache;
        let HedgeConfig { delay_ms, share_percent } = self.hedge;
        RedisOptions {
            connections: self.connections,
            hedge: HedgeSettings { delay: Duration::from_millis(delay_ms), share_percent },
            cache: CacheSettings {
                entries_max,
                ttl: Duration::from_millis(ttl_ms),
                negative_ttl: Duration::from_millis(negative_ttl_ms),
            },
            breaker: BreakerSettings {
                failure_percent,
                window: Duration::from_millis(window_ms),
                requests_min,
                open: Duration::from_millis(open_ms),
                probes,
            },
        }
    }

    /// Whether and how decisions change profiles.
    pub fn updates(&self) -> Option<ProfileUpdateSettings> {
        let UpdatesConfig { enabled, catch_up_records_max } = self.updates;
        enabled.then_some(ProfileUpdateSettings { catch_up_records_max })
    }

    /// Name, value, least and most of each number.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        let (breaker, cache) = (&self.breaker, &self.cache);
        [
            ("profiles.connections", self.connections as u64, 1, 64),
            ("profiles.cache.entries_max", cache.entries_max as u64, 0, CACHE_ENTRIES_MAX as u64),
            ("profiles.updates.catch_up_records_max", self.updates.catch_up_records_max, 1, 1_000_000_000),
            ("profiles.cache.ttl_ms", cache.ttl_ms, 1, 86_400_000),
            ("profiles.cache.negative_ttl_ms", cache.negative_ttl_ms, 0, 86_400_000),
            ("profiles.hedge.delay_ms", self.hedge.delay_ms, 0, 10_000),
            ("profiles.hedge.share_percent", self.hedge.share_percent.into(), 0, 100),
            ("profiles.breaker.failure_percent", u64::from(breaker.failure_percent), 0, 100),
            ("profiles.breaker.window_ms", breaker.window_ms, 10, 60_000),
            ("profiles.breaker.requests_min", u64::from(breaker.requests_min), 1, 1_000_000),
            ("profiles.breaker.open_ms", breaker.open_ms, 1, 60_000),
            ("profiles.breaker.probes", u64::from(breaker.probes), 1, 1_000),
        ]
        .into_iter()
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let text =
            "redis = \"redis://app:hunter2@localhost\"\nusername = \"hunter3\"\npassword = \"hunter4\"";
        let config: ProfilesConfig = toml::from_str(text).unwrap();
        assert_eq!(config.password, "hunter4");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter") && shown.contains("breaker"), "{shown}");
    }

    #[test]
    fn what_the_file_says_is_how_redis_is_asked() {
        let text = "connections = 3\n[breaker]\nfailure_percent = 10\nopen_ms = 70\n[cache]\nentries_max = 5\nttl_ms = 9\nnegative_ttl_ms = 0\n[hedge]\ndelay_ms = 3";
        let config: ProfilesConfig = toml::from_str(text).unwrap();
        let options = config.redis_options();
        assert_eq!((options.connections, options.breaker.failure_percent), (3, 10));
        assert_eq!(options.breaker.open, Duration::from_millis(70));
        assert_eq!(options.breaker.probes, BreakerSettings::DEFAULT.probes);
        assert_eq!((options.cache.entries_max, options.cache.ttl), (5, Duration::from_millis(9)));
        assert_eq!(options.cache.negative_ttl, Duration::ZERO);
        assert_eq!((options.hedge.delay, options.hedge.share_percent), (Duration::from_millis(3), 5));
        assert_eq!(config.updates(), None);
        assert_eq!(ProfilesConfig::default().redis_options(), RedisOptions::default());
    }
}
