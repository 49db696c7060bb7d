//! `[overload]` and `[rate_limit]`: what is not begun, and how much each client may send.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::http::admission::OnOverload;
use crate::http::options::API_KEYS_MAX;
use crate::http::rate_limit::{Rate, RateLimits};

/// The highest rate and burst: a thousand nanoseconds a request.
const RATE_MAX: u64 = 1_000_000;

/// `[overload]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct OverloadConfig {
    pub answer: OnOverload,
    pub queue_delay_target_ms: u64,
    pub in_flight_per_thread_max: usize,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self { answer: OnOverload::Refuse, queue_delay_target_ms: 5, in_flight_per_thread_max: 32 }
    }
}

impl OverloadConfig {
    /// Name, value, least and most of each number.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        [
            ("overload.queue_delay_target_ms", self.queue_delay_target_ms, 0, 10_000),
            ("overload.in_flight_per_thread_max", self.in_flight_per_thread_max as u64, 0, 100_000),
        ]
        .into_iter()
    }
}

/// `[rate_limit]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct RateLimitConfig {
    pub requests_per_s: u32,
    pub burst: u32,
    pub keys: BTreeMap<String, KeyRateConfig>,
}

/// A value of `rate_limit.keys`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct KeyRateConfig {
    pub requests_per_s: u32,
    #[serde(default)]
    pub burst: u32,
}

impl RateLimitConfig {
    /// As the ports take it: without a burst, a second's worth may come at once.
    pub fn limits(&self) -> RateLimits {
        let rate =
            |per_second, burst| Rate { per_second, burst: if burst == 0 { per_second } else { burst } };
        let keys =
            self.keys.iter().map(|(name, key)| (name.as_str().into(), rate(key.requests_per_s, key.burst)));
        RateLimits { default: rate(self.requests_per_s, self.burst), keys: keys.collect() }
    }

    /// Name, value, least and most of each number.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        let of_keys = self.keys.values().flat_map(|it| [it.requests_per_s, it.burst]);
        [
            ("rate_limit.requests_per_s", self.requests_per_s.into(), 0, RATE_MAX),
            ("rate_limit.burst", self.burst.into(), 0, RATE_MAX),
            ("rate_limit.keys, any number,", of_keys.max().unwrap_or(0).into(), 0, RATE_MAX),
            ("rate_limit.keys, how many,", self.keys.len() as u64, 0, API_KEYS_MAX as u64),
        ]
        .into_iter()
    }
}
