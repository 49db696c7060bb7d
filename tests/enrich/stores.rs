//! Stores under test, plans and answers in short words.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tollgate::domain::enrichment::Enrichment;
use tollgate::domain::time::SystemClock;
use tollgate::enrich::breaker::BreakerSettings;
use tollgate::enrich::cache::CacheSettings;
use tollgate::enrich::counters::ProfileCounters;
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::hedge::HedgeSettings;
use tollgate::enrich::plan::{ProfilePlan, ProfileType};
use tollgate::enrich::profiles::Profiles;
use tollgate::enrich::redis::{RedisOptions, RedisProfiles};
use tollgate::enrich::redis_target::RedisTarget;
use tollgate::enrich::redis_url::RedisAccess;
use tollgate::enrich::source::{ProfileKeys, ProfileSource};

use crate::redis_server::RedisServer;

/// Long enough for a busy machine; nothing should ever come near it.
pub const AMPLE: Duration = Duration::from_secs(5);

/// One connection, and nothing before it: what is asked goes to the server.
pub const RAW: RedisOptions = RedisOptions {
    connections: 1,
    breaker: BreakerSettings { failure_percent: 0, ..BreakerSettings::DEFAULT },
    cache: CacheSettings { entries_max: 0, ttl: Duration::ZERO, negative_ttl: Duration::ZERO },
    hedge: HedgeSettings::DEFAULT,
};

/// A connection to `url` that stands.
pub async fn connected(url: &str) -> RedisProfiles {
    let profiles = started(url);
    assert!(profiles.wait_until_up(AMPLE).await, "no connection to {url}");
    profiles
}

/// A connection to `url` that may come later.
pub fn started(url: &str) -> RedisProfiles {
    started_with(url, RAW)
}

/// The same, as the operator wants it.
pub fn started_with(url: &str, options: RedisOptions) -> RedisProfiles {
    let target = RedisTarget::parse(url, RedisAccess::default()).unwrap();
    let (counters, clock) = (Arc::new(ProfileCounters::default()), Arc::new(SystemClock));
    RedisProfiles::start(&target, options, counters, clock, &[Handle::current()])
}

/// A cache in which nothing grows old while a test runs.
pub const LONG: CacheSettings = CacheSettings {
    entries_max: 1_000,
    ttl: Duration::from_secs(600),
    negative_ttl: Duration::from_secs(600),
};

/// Every kind of store, with what it needs to live.
pub async fn every_store() -> Vec<(&'static str, Profiles, Box<dyn std::any::Any>)> {
    let server = RedisServer::start();
    let dir = tempfile::tempdir().unwrap();
    let behind = RedisServer::start();
    let cached = started_with(&behind.url(), RedisOptions { cache: LONG, ..RAW });
    assert!(cached.wait_until_up(AMPLE).await);
    vec![
        ("memory", Profiles::Embedded(EmbeddedProfiles::in_memory().unwrap()), Box::new(())),
        ("file", Profiles::Embedded(EmbeddedProfiles::open(dir.path()).unwrap()), Box::new(dir)),
        ("redis", Profiles::Redis(connected(&server.url()).await), Box::new(server)),
        ("cached redis", Profiles::Redis(cached), Box::new(behind)),
    ]
}

/// A plan of `(entity, field, type)`.
pub fn plan(fields: &[(&str, &str, ProfileType)]) -> ProfilePlan {
    let mut builder = ProfilePlan::builder();
    for (entity, field, kind) in fields {
        builder.field(entity, field, *kind).unwrap();
    }
    builder.build()
}

/// Asks and answers as JSON text: `[{"known":5},"absent","timed_out"]`.
pub async fn ask(store: &impl ProfileSource, plan: &ProfilePlan, ids: &[Option<&str>]) -> String {
    shown(&store.fetch(plan, &ids.iter().copied().collect(), AMPLE).await)
}

/// An answer as JSON text.
pub fn shown(enrichment: &Enrichment) -> String {
    serde_json::to_string(enrichment).unwrap()
}

/// The ids of one transaction.
pub fn keys<'a>(ids: &[Option<&'a str>]) -> ProfileKeys<'a> {
    ids.iter().copied().collect()
}
