//! The profile store that configuration chose.

use std::time::Duration;

use crate::domain::enrichment::Enrichment;
use crate::enrich::breaker::BreakerView;
use crate::enrich::cache::CacheView;
use crate::enrich::counters::ProfileCounters;
use crate::enrich::embedded::EmbeddedProfiles;
use crate::enrich::plan::ProfilePlan;
use crate::enrich::record::ProfileRecord;
use crate::enrich::redis::RedisProfiles;
use crate::enrich::source::{ProfileError, ProfileKeys, ProfileSource};
use crate::enrich::update::{Applied, ProfileUpdate};

/// One of the two stores.
#[derive(Debug)]
pub enum Profiles {
    /// A file in the data directory, or memory.
    Embedded(EmbeddedProfiles),
    /// A Redis server.
    Redis(RedisProfiles),
}

impl Profiles {
    /// The counters of the store.
    pub fn counters(&self) -> &ProfileCounters {
        match self {
            Self::Embedded(embedded) => embedded.counters(),
            Self::Redis(redis) => redis.counters(),
        }
    }

    /// The breaker before the store, where there is one.
    pub fn breaker(&self) -> Option<BreakerView> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(redis) => Some(redis.breaker()),
        }
    }

    /// The cache before the store, where there is one.
    pub fn cache(&self) -> Option<CacheView> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(redis) => redis.cache(),
        }
    }

    /// Whether the store can be asked now. The embedded one always can.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Redis(redis) => redis.is_up(),
        }
    }

    /// Waits until the store can be asked; `false` when it cannot within `wait`. For imports and start-up.
    pub async fn wait_until_up(&self, wait: Duration) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Redis(redis) => redis.wait_until_up(wait).await,
        }
    }
}

impl ProfileSource for Profiles {
    async fn fetch(&self, plan: &ProfilePlan, keys: &ProfileKeys<'_>, timeout: Duration) -> Enrichment {
        match self {
            Self::Embedded(embedded) => embedded.fetch(plan, keys, timeout).await,
            Self::Redis(redis) => redis.fetch(plan, keys, timeout).await,
        }
    }

    async fn put_many(&self, records: Vec<ProfileRecord>) -> Result<(), ProfileError> {
        match self {
            Self::Embedded(embedded) => embedded.put_many(records).await,
            Self::Redis(redis) => redis.put_many(records).await,
        }
    }

    async fn remove(&self, profiles: Vec<(Box<str>, Box<str>)>) -> Result<u64, ProfileError> {
        match self {
            Self::Embedded(embedded) => embedded.remove(profiles).await,
            Self::Redis(redis) => redis.remove(profiles).await,
        }
    }

    async fn apply(&self, updates: Vec<ProfileUpdate>) -> Result<Applied, ProfileError> {
        match self {
            Self::Embedded(embedded) => embedded.apply(updates).await,
            Self::Redis(redis) => redis.apply(updates).await,
        }
    }
}
