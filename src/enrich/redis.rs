//! Profiles in Redis: one hash per profile, key `tollgate:profile:<entity>:<id>`, fields by name, values as text, so that
//! any system can write them with a plain `HSET`.
//!
//! A transaction is one pipeline of one `HMGET` per entity, written at once: one round trip. Requests of concurrent
//! transactions share the connection; replies come back in the order of the requests, and a reply whose transaction has
//! stopped waiting is thrown away by its place in that order. An error reply (a key that is no hash, a server that is
//! loading) is no answer: that entity's values are `TimedOut`, the others stand.
//!
//! A breaker stands before it all. Timeouts, broken connections, no connection and errors that are the server's (loading, moved,
//! not permitted) count as failures; a single key of the wrong type does not, and neither does a fetch that had too little time.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use crate::domain::enrichment::Enrichment;
use crate::domain::time::Clock;
use crate::enrich::breaker::{Breaker, BreakerSettings, BreakerView};
use crate::enrich::counters::{ProfileCounters, count};
use crate::enrich::plan::{PlanEntity, ProfilePlan};
use crate::enrich::record::ProfileRecord;
use crate::enrich::redis_link::RedisLink;
use crate::enrich::redis_target::RedisTarget;
use crate::enrich::source::{ProfileError, ProfileKeys, ProfileSource};

/// Begin of every key.
pub const KEY_PREFIX: &str = "tollgate:profile:";
/// Longest time that a write may take.
pub const PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// A fetch with less time than this that times out says nothing about the server: a client in a hurry must not open the breaker for
/// all others.
pub const VERDICT_WAIT_MIN: Duration = Duration::from_millis(5);

/// The code of the one error that is the key's and not the server's.
const WRONG_TYPE: &str = "WRONGTYPE";

/// What the operator chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RedisOptions {
    /// When Redis is left alone.
    pub breaker: BreakerSettings,
}

/// A profile store in Redis, over one multiplexed connection. Where several single-threaded runtimes serve, each takes
/// its own, sharing the counters.
pub struct RedisProfiles {
    link: RedisLink,
    shown: Box<str>,
    breaker: Arc<Breaker>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for RedisProfiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisProfiles").field("redis", &self.shown).finish_non_exhaustive()
    }
}

impl RedisProfiles {
    /// Starts to connect, in a task on `runtime` (which needs IO and time enabled), and returns at once: the server may
    /// be down now and come later.
    pub fn start(
        target: RedisTarget,
        options: RedisOptions,
        counters: Arc<ProfileCounters>,
        clock: Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Self {
        let shown = target.to_string().into();
        let breaker = Arc::new(Breaker::new(options.breaker));
        let link = RedisLink::start(target, counters, Arc::clone(&breaker), Arc::clone(&clock), runtime);
        Self { link, shown, breaker, clock }
    }

    /// The breaker, as an operator sees it.
    pub fn breaker(&self) -> BreakerView {
        self.breaker.view()
    }

    /// Waits until a connection stands; `false` when none does within `wait`. For imports and start-up, not for serving.
    pub async fn wait_until_up(&self, wait: Duration) -> bool {
        self.link.wait_until_up(wait).await
    }

    /// Whether a connection stands now.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// The counters.
    pub fn counters(&self) -> &ProfileCounters {
        self.link.counters()
    }

    /// Says whether the server did its part.
    fn answer(&self, entity: &PlanEntity, reply: &Value, enrichment: &mut Enrichment) -> bool {
        match reply {
            Value::Array(stored) if stored.len() == entity.fields().len() && stored.iter().all(is_stored) => {
                for (field, stored) in entity.fields().iter().zip(stored) {
                    let stored = match stored {
                        Value::BulkString(bytes) => Some(&**bytes),
                        _ => None,
                    };
                    entity.answer(field, stored, self.counters(), enrichment);
                }
                true
            }
            unexpected => {
                count(&self.counters().errors);
                let errors = self.counters().read().errors;
                if errors.is_power_of_two() {
                    // An error reply names the kind of fault; it holds neither key nor value.
                    let said = match unexpected {
                        Value::ServerError(error) => error.to_string(),
                        _ => "a reply that is none to HMGET".to_owned(),
                    };
                    warn!(
                        redis = &*self.shown,
                        entity = entity.name(),
                        said,
                        errors,
                        "no profile from Redis"
                    );
                }
                if !matches!(unexpected, Value::ServerError(_)) {
                    self.link.complain();
                }
                entity.answer_timed_out(enrichment);
                matches!(unexpected, Value::ServerError(error) if error.code() == WRONG_TYPE)
            }
        }
    }
}

impl ProfileSource for RedisProfiles {
    async fn fetch(&self, plan: &ProfilePlan, keys: &ProfileKeys<'_>, wait: Duration) -> Enrichment {
        let counters = self.counters();
        if plan.asked(keys).next().is_none() {
            return Enrichment::absent(plan.len());
        }
        count(&counters.fetches);
        if wait.is_zero() {
            count(&counters.timeouts);
            return plan.unanswered(keys);
        }
        let Some(permit) = self.breaker.admit(self.clock.instant()) else {
            count(&counters.unavailable);
            return plan.unanswered(keys);
        };
        let Some(mut connection) = self.link.current() else {
            count(&counters.unavailable);
            permit.failed(self.clock.instant());
            return plan.unanswered(keys);
        };
        let pipeline = questions(plan, keys);
        match timeout(wait, connection.send_packed_commands(&pipeline, 0, pipeline.len())).await {
            Ok(Ok(replies)) if replies.len() == pipeline.len() => {
                let mut enrichment = Enrichment::absent(plan.len());
                let mut is_served = true;
                for ((entity, _), reply) in plan.asked(keys).zip(&replies) {
                    is_served &= self.answer(entity, reply, &mut enrichment);
                }
                let now = self.clock.instant();
                if is_served {
                    permit.succeeded(now)
                } else {
                    permit.failed(now)
                }
                enrichment
            }
            Ok(_) => {
                count(&counters.errors);
                permit.failed(self.clock.instant());
                self.link.complain();
                plan.unanswered(keys)
            }
            Err(_) => {
                count(&counters.timeouts);
                if wait >= VERDICT_WAIT_MIN {
                    permit.failed(self.clock.instant());
                }
                self.link.complain();
                plan.unanswered(keys)
            }
        }
    }

    async fn put_many(&self, records: Vec<ProfileRecord>) -> Result<(), ProfileError> {
        if records.is_empty() {
            return Ok(());
        }
        let store = || self.shown.to_string();
        let Some(mut connection) = self.link.current() else {
            return Err(ProfileError::Unavailable { store: store() });
        };
        let pipeline = writes(&records);
        match timeout(PUT_TIMEOUT, connection.send_packed_commands(&pipeline, 0, pipeline.len())).await {
            Ok(Ok(replies)) => {
                let refused = replies.iter().find_map(|reply| match reply {
                    Value::ServerError(error) => Some(error.to_string()),
                    _ => None,
                });
                refused.map_or(Ok(()), |detail| Err(ProfileError::Refused { store: store(), detail }))
            }
            Ok(Err(error)) => {
                self.link.complain();
                Err(ProfileError::Refused { store: store(), detail: error.to_string() })
            }
            Err(_) => {
                self.link.complain();
                Err(ProfileError::TimedOut { store: store(), timeout_ms: PUT_TIMEOUT.as_millis() })
            }
        }
    }
}

/// Whether this can stand in an answer to `HMGET`.
const fn is_stored(value: &Value) -> bool {
    matches!(value, Value::BulkString(_) | Value::Nil)
}

/// One `HMGET` per entity that the transaction has.
fn questions(plan: &ProfilePlan, keys: &ProfileKeys<'_>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(plan.entities().len());
    for (entity, id) in plan.asked(keys) {
        let mut command = command("HMGET", entity.name(), id);
        for field in entity.fields() {
            command.arg(field.name());
        }
        pipeline.add_command(command);
    }
    pipeline
}

/// One `HSET` and one `HDEL` per record, each where it has something to do.
fn writes(records: &[ProfileRecord]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(records.len());
    for record in records {
        let mut set = command("HSET", record.entity(), record.id());
        let mut remove = command("HDEL", record.entity(), record.id());
        let (mut sets, mut removes) = (false, false);
        for (name, value) in record.fields() {
            match value {
                Some(value) => {
                    sets = true;
                    set.arg(name).arg(value);
                }
                None => {
                    removes = true;
                    remove.arg(name);
                }
            }
        }
        if sets {
            pipeline.add_command(set);
        }
        if removes {
            pipeline.add_command(remove);
        }
    }
    pipeline
}

fn command(name: &str, entity: &str, id: &str) -> Cmd {
    let mut key = String::with_capacity(KEY_PREFIX.len() + entity.len() + 1 + id.len());
    key.push_str(KEY_PREFIX);
    key.push_str(entity);
    key.push(':');
    key.push_str(id);
    let mut command = Cmd::with_capacity(8, key.len() + 128);
    command.arg(name).arg(&*key);
    command
}
