//! What the sections share: payments, a Redis server with profiles, and connections to it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tollgate::domain::time::SystemClock;
use tollgate::domain::transaction::Transaction;
use tollgate::engine::policy::PolicyFiles;
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::enrich::cache::CacheSettings;
use tollgate::enrich::counters::ProfileCounters;
use tollgate::enrich::record::ProfileRecord;
use tollgate::enrich::redis::{RedisOptions, RedisProfiles};
use tollgate::enrich::redis_target::RedisTarget;
use tollgate::enrich::redis_url::RedisAccess;
use tollgate::enrich::source::ProfileSource;
use tollgate::model::backend::Backend;
use tollgate::pipeline::policy::LivePolicy;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;

use crate::redis_server::RedisServer;

/// Customers and days of the payments, and how many payments are taken.
const CUSTOMERS: u32 = 10_000;
const DAYS: u32 = 10;
const PAYMENTS: usize = 40_000;
/// One profile in so many is not there.
const ABSENT_ONE_IN: usize = 10;
/// Profiles that are stored with one call.
const RECORDS_PER_WRITE: usize = 1_000;
/// Longer than anything takes here.
pub(crate) const AMPLE: Duration = Duration::from_secs(5);

/// What the sections share.
pub(crate) struct Ground {
    pub(crate) runtime: Runtime,
    pub(crate) redis: RedisServer,
    pub(crate) policy: LivePolicy,
    pub(crate) payments: Vec<Transaction>,
}

impl Ground {
    /// Simulates payments, starts Redis and stores profiles of nine in ten who take part.
    pub(crate) fn prepare() -> Result<Self, Box<dyn std::error::Error>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = PolicyFiles {
            rules: root.join("rules"),
            model: Some(root.join("models/default")),
            backend: Backend::default(),
            challengers: Vec::new(),
            features: root.join("models/features.yaml"),
        };
        let missing = MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Review,
            overload: OnMissing::Continue,
        };
        let policy = LivePolicy::load(&files, missing).map_err(|mistakes| format!("{mistakes:?}"))?;
        let parameters = Parameters { customers: CUSTOMERS, days: DAYS, ..Parameters::default() };
        let simulation = Simulation::new(&parameters)?;
        let payments = simulation.map(|simulated| simulated.transaction).take(PAYMENTS).collect();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ground = Self { runtime, redis: RedisServer::start(), policy, payments };
        ground.store_profiles(&ground.redis(CacheSettings::default()));
        Ok(ground)
    }

    /// A connection to Redis that stands, with a cache before it if there is to be one.
    pub(crate) fn redis(&self, cache: CacheSettings) -> RedisProfiles {
        let target = RedisTarget::parse(&self.redis.url(), RedisAccess::default()).expect("a URL");
        let options = RedisOptions { connections: 1, cache, ..RedisOptions::default() };
        let (counters, clock) = (Arc::new(ProfileCounters::default()), Arc::new(SystemClock));
        let profiles =
            RedisProfiles::start(&target, options, counters, clock, &[self.runtime.handle().clone()]);
        assert!(self.runtime.block_on(profiles.wait_until_up(AMPLE)), "no connection to Redis");
        profiles
    }

    /// Stores the profiles.
    pub(crate) fn store_profiles(&self, store: &impl ProfileSource) {
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        for payment in &self.payments {
            let keys = self.policy.profile_keys(payment);
            for (place, entity) in self.policy.profile_plan.entities().iter().enumerate() {
                let Some(id) = keys.get(place) else { continue };
                if seen.insert((place, id.to_owned())) && seen.len() % ABSENT_ONE_IN != 0 {
                    let fields = entity.fields().iter().map(|field| (field.name(), Some("7")));
                    records.push(ProfileRecord::new(entity.name(), id, fields).expect("a sound profile"));
                }
            }
        }
        for part in records.chunks(RECORDS_PER_WRITE) {
            self.runtime.block_on(store.put_many(part.to_vec())).expect("the store takes profiles");
        }
    }

    /// Processor time that the server has taken, in microseconds.
    pub(crate) fn redis_cpu_us(&self) -> f64 {
        let info = self.redis.command(&["INFO", "cpu"]);
        let value = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        (value("used_cpu_sys:") + value("used_cpu_user:")) * 1e6
    }
}
