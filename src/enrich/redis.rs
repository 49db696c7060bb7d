//! Profiles in Redis: one hash per profile, key `tollgate:profile:<entity>:<id>`, fields by name, values as text, so that
//! any system can write them with a plain `HSET`.
//!
//! One packed value per profile and one `MGET` would spare the server about a quarter of its work: hashes take 1.4 times its CPU (1.1 to
//! 2.5 in nine rounds; 5.8 us against 4.7 us a transaction) and the same memory (`tests/enrich/layout.rs` measures it). That is less than
//! what a plain `HSET`, counts that grow in place and fields of several owners are worth.
//!
//! A transaction is one pipeline of one `HMGET` per entity, written at once: one round trip. Requests of concurrent
//! transactions share a connection of the thread that decides them, so that no other thread is woken for them; replies come back in the order of the requests, and a reply whose transaction has
//! stopped waiting is thrown away by its place in that order. An error reply (a key that is no hash, a server that is
//! loading) is no answer: that entity's values are `TimedOut`, the others stand.
//!
//! A breaker stands before it all. Timeouts, broken connections, no connection and errors that are the server's (loading, moved,
//! not permitted) count as failures; a single key of the wrong type does not, and neither does a fetch that had too little time.
//! Of a cluster, a fetch that any node answered is none: while a node is away, what it holds is missing after the timeout.
//!
//! A fetch that asks twice (`hedge`) is one fetch to the breaker, which hears of the answer that was used. The connection that was
//! late is looked at; its reply, when it comes, is thrown away by its place like any other that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};
use smallvec::SmallVec;
use tokio::runtime::{Handle, Id};
use tracing::warn;

use crate::domain::enrichment::Enrichment;
use crate::domain::time::Clock;
use crate::enrich::breaker::{Breaker, BreakerSettings, BreakerView};
use crate::enrich::cache::{CacheSettings, CacheView, Miss, ProfileCache};
use crate::enrich::counters::{ProfileCounters, count};
use crate::enrich::hedge::{Answered, Hedge, HedgeSettings, race};
use crate::enrich::plan::{PlanEntity, ProfilePlan};
use crate::enrich::record::ProfileRecord;
use crate::enrich::redis_connection::{AskError, RedisConnection, Reply};
use crate::enrich::redis_link::{RedisLink, Surroundings};
use crate::enrich::redis_target::RedisTarget;
use crate::enrich::redis_update;
use crate::enrich::source::{ProfileError, ProfileKeys, ProfileSource};
use crate::enrich::update::{Applied, ProfileUpdate};

/// Begin of every key.
pub const KEY_PREFIX: &str = "tollgate:profile:";
/// Longest time that a write may take.
pub const PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// A fetch with less time than this that times out says nothing about the server: a client in a hurry must not open the breaker for
/// all others.
pub const VERDICT_WAIT_MIN: Duration = Duration::from_millis(5);

/// The code of the one error that is the key's and not the server's.
const WRONG_TYPE: &str = "WRONGTYPE";

/// Connections to one Redis, unless config says otherwise.
pub const CONNECTIONS_DEFAULT: usize = 2;

/// What the operator chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedisOptions {
    /// Connections, at least one for each runtime. Transactions take those of their runtime in turns.
    pub connections: usize,
    /// When Redis is left alone.
    pub breaker: BreakerSettings,
    /// What is kept of its answers.
    pub cache: CacheSettings,
    /// When it is asked a second time, over another connection.
    pub hedge: HedgeSettings,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_DEFAULT,
            breaker: BreakerSettings::default(),
            cache: CacheSettings::default(),
            hedge: HedgeSettings::DEFAULT,
        }
    }
}

/// A profile store in Redis, over a few multiplexed connections, dealt out to the runtimes that ask: a fetch takes one of its own
/// runtime, and another's only while none of those stands.
pub struct RedisProfiles {
    links: Box<[RedisLink]>,
    /// Counts fetches, so that they take the connections in turns.
    turn: AtomicUsize,
    hedge: Hedge,
    shown: Box<str>,
    around: Surroundings,
}

impl std::fmt::Debug for RedisProfiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisProfiles").field("redis", &self.shown).finish_non_exhaustive()
    }
}

/// One profile to ask for.
struct Question<'p> {
    entity: &'p PlanEntity,
    key: String,
    /// That it was not in the cache.
    miss: Option<Miss>,
}

impl RedisProfiles {
    /// Starts to connect, in tasks on `runtimes` (which need IO and time enabled), and returns at once: the server may
    /// be down now and come later. Without a runtime there is never a connection.
    pub fn start(
        target: &RedisTarget,
        options: RedisOptions,
        counters: Arc<ProfileCounters>,
        clock: Arc<dyn Clock>,
        runtimes: &[Handle],
    ) -> Self {
        let around = Surroundings {
            counters,
            breaker: Arc::new(Breaker::new(options.breaker)),
            cache: ProfileCache::new(options.cache).map(Arc::new),
            clock,
        };
        let connections = options.connections.max(runtimes.len());
        let links = runtimes
            .iter()
            .cycle()
            .take(connections)
            .map(|runtime| RedisLink::start(target.clone(), around.clone(), runtime))
            .collect();
        let hedge = Hedge::new(options.hedge);
        Self { links, turn: AtomicUsize::new(0), hedge, shown: target.to_string().into(), around }
    }

    /// The breaker, as an operator sees it.
    pub fn breaker(&self) -> BreakerView {
        self.around.breaker.view()
    }

    /// The cache, as an operator sees it; none without one.
    pub fn cache(&self) -> Option<CacheView> {
        self.around.cache.as_ref().map(|cache| cache.view())
    }

    /// Waits until a connection stands; `false` when none does within `wait`. For imports and start-up, not for serving.
    pub async fn wait_until_up(&self, wait: Duration) -> bool {
        match self.links.first() {
            Some(link) => link.wait_until_up(wait).await,
            None => false,
        }
    }

    /// Whether a connection stands now.
    pub fn is_up(&self) -> bool {
        self.links.iter().any(RedisLink::is_up)
    }

    /// The counters.
    pub fn counters(&self) -> &ProfileCounters {
        &self.around.counters
    }

    fn now(&self) -> Instant {
        self.around.clock.instant()
    }

    /// All connections in the order in which they may be taken: those of this runtime first, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = &RedisLink> {
        let here: Option<Id> = Handle::try_current().ok().map(|runtime| runtime.id());
        let begin = self.turn.fetch_add(1, Ordering::Relaxed) % self.links.len().max(1);
        let (later, first) = self.links.split_at(begin);
        let all = first.iter().chain(later);
        let is_here = move |link: &&RedisLink| Some(link.runtime()) == here;
        all.clone().filter(is_here).chain(all.filter(move |link| !is_here(link)))
    }

    /// The first that stands.
    fn connection(&self) -> Option<(&RedisLink, RedisConnection)> {
        self.in_turn().find_map(|link| Some((link, link.current()?)))
    }

    /// Another connection that stands.
    fn other_than(&self, link: &RedisLink) -> Option<(&RedisLink, RedisConnection)> {
        let mut others = self.in_turn().filter(|other| !std::ptr::eq(*other, link));
        others.find_map(|other| Some((other, other.current()?)))
    }

    /// Puts a reply where it belongs; says whether the server did its part.
    fn answer(
        &self,
        entity: &PlanEntity,
        reply: &Reply,
        link: &RedisLink,
        enrichment: &mut Enrichment,
    ) -> bool {
        let (said, is_served) = match reply {
            Reply::Value(Value::Array(stored))
                if stored.len() == entity.fields().len() && stored.iter().all(is_stored) =>
            {
                for (field, stored) in entity.fields().iter().zip(stored) {
                    let stored = match stored {
                        Value::BulkString(bytes) => Some(&**bytes),
                        _ => None,
                    };
                    entity.answer(field, stored, self.counters(), enrichment);
                }
                return true;
            }
            // An error reply names the kind of fault; it holds neither key nor value.
            Reply::Error { code, said } => (&**said, code == WRONG_TYPE),
            Reply::Value(_) => {
                link.distrust();
                ("a reply that is none to HMGET", false)
            }
            Reply::Lost => {
                link.complain();
                ("its node of the cluster cannot be reached, or is late", false)
            }
        };
        count(&self.counters().errors);
        let errors = self.counters().read().errors;
        if errors.is_power_of_two() {
            warn!(redis = &*self.shown, entity = entity.name(), said, errors, "no profile from Redis");
        }
        entity.answer_timed_out(enrichment);
        is_served
    }

    /// Asks for what was not in the cache.
    async fn ask(
        &self,
        plan: &ProfilePlan,
        questions: &[Question<'_>],
        wait: Duration,
        enrichment: &mut Enrichment,
    ) -> Option<()> {
        let counters = self.counters();
        count(&counters.fetches);
        if wait.is_zero() {
            count(&counters.timeouts);
            return None;
        }
        let Some(permit) = self.around.breaker.admit(self.now()) else {
            count(&counters.unavailable);
            return None;
        };
        let Some((link, connection)) = self.connection() else {
            count(&counters.unavailable);
            permit.failed(self.now());
            return None;
        };
        let pipeline = pipeline(questions);
        let (began, has_nodes) = (self.now(), connection.has_nodes());
        let ask_over = |link, mut connection: RedisConnection, wait| {
            let pipeline = &pipeline;
            async move { (link, connection.ask(pipeline, wait).await) }
        };
        let second = || {
            let (other, connection) = self.other_than(link).filter(|_| self.hedge.take())?;
            count(&counters.hedges);
            let left = wait.saturating_sub(self.now().saturating_duration_since(began));
            Some(ask_over(other, connection, left))
        };
        let is_good = |(link, answer): &(&RedisLink, Result<Vec<Reply>, AskError>)| {
            link.is_up() && answer.as_ref().is_ok_and(|replies| replies.len() == questions.len())
        };
        let first = ask_over(link, connection, wait);
        let (by, (answering, answer)) = race(self.hedge.delay(wait), first, second, is_good).await;
        if by == Answered::BySecond {
            count(&counters.hedges_won);
            // It may be more than late.
            link.complain();
        }
        let link = answering;
        match answer {
            // Given up in the meantime: these may be replies to others.
            Ok(_) if !link.is_up() => {
                count(&counters.errors);
                permit.failed(self.now());
                None
            }
            Ok(replies) if replies.len() == questions.len() => {
                let (mut is_served, mut served) = (true, 0);
                for (question, reply) in questions.iter().zip(&replies) {
                    let did_its_part = self.answer(question.entity, reply, link, enrichment);
                    is_served &= did_its_part;
                    served += usize::from(did_its_part);
                }
                let now = self.now();
                // One node of a cluster is no reason to leave the others alone.
                if is_served || (has_nodes && served > 0) {
                    permit.succeeded(now);
                } else {
                    permit.failed(now);
                }
                self.keep(plan, questions, now, enrichment);
                Some(())
            }
            Ok(_) | Err(AskError::Broken(_)) => {
                count(&counters.errors);
                permit.failed(self.now());
                link.complain();
                None
            }
            Err(AskError::TimedOut) => {
                count(&counters.timeouts);
                if wait >= VERDICT_WAIT_MIN {
                    permit.failed(self.now());
                }
                link.complain();
                None
            }
        }
    }

    fn keep(&self, plan: &ProfilePlan, questions: &[Question<'_>], now: Instant, enrichment: &Enrichment) {
        let Some(cache) = &self.around.cache else { return };
        for Question { entity, key, miss } in questions {
            if let Some(miss) = *miss {
                cache.keep(miss, plan, entity, key, now, enrichment);
            }
        }
    }
}

impl ProfileSource for RedisProfiles {
    async fn fetch(&self, plan: &ProfilePlan, keys: &ProfileKeys<'_>, wait: Duration) -> Enrichment {
        let mut enrichment = Enrichment::absent(plan.len());
        let mut questions: SmallVec<[Question<'_>; 8]> = SmallVec::new();
        for (entity, id) in plan.asked(keys) {
            let key = key(entity.name(), id);
            let miss = match &self.around.cache {
                None => None,
                Some(cache) => match cache.get(plan, entity, &key, self.now(), &mut enrichment) {
                    None => continue,
                    miss => miss,
                },
            };
            questions.push(Question { entity, key, miss });
        }
        if !questions.is_empty() && self.ask(plan, &questions, wait, &mut enrichment).await.is_none() {
            for question in &questions {
                question.entity.answer_timed_out(&mut enrichment);
            }
        }
        enrichment
    }

    async fn put_many(&self, records: Vec<ProfileRecord>) -> Result<(), ProfileError> {
        if records.is_empty() {
            return Ok(());
        }
        let written = self.write(&writes(&records)).await;
        self.forget(records.iter().map(|record| key(record.entity(), record.id())));
        let refused = written?.into_iter().find_map(|reply| match reply {
            Reply::Error { said, .. } => Some(said),
            Reply::Lost => Some("a node of the cluster cannot be reached".to_owned()),
            Reply::Value(_) => None,
        });
        refused.map_or(Ok(()), |detail| Err(self.refused(detail)))
    }

    async fn remove(&self, profiles: Vec<(Box<str>, Box<str>)>) -> Result<u64, ProfileError> {
        let mut commands = Pipeline::with_capacity(profiles.len());
        for (entity, id) in &profiles {
            // Each on its own: in a cluster they lie on different nodes.
            commands.unlink(key(entity, id));
        }
        let written = self.write(&commands).await;
        self.forget(profiles.iter().map(|(entity, id)| key(entity, id)));
        let mut removed = 0;
        for reply in written? {
            match reply {
                Reply::Value(Value::Int(count)) => removed += u64::try_from(count).unwrap_or(0),
                Reply::Value(_) => return Err(self.refused("a reply that is none to UNLINK".to_owned())),
                Reply::Error { said, .. } => return Err(self.refused(said)),
                Reply::Lost => {
                    return Err(self.refused("a node of the cluster cannot be reached".to_owned()));
                }
            }
        }
        Ok(removed)
    }

    async fn apply(&self, updates: Vec<ProfileUpdate>) -> Result<Applied, ProfileError> {
        if updates.is_empty() {
            return Ok(Applied::default());
        }
        let written = self.write(&redis_update::pipeline(&updates)).await;
        self.forget(updates.iter().map(|update| key(&update.entity, update.id.as_str())));
        redis_update::read(&updates, &written?).map_err(|detail| self.refused(detail))
    }
}

impl RedisProfiles {
    /// Sends commands that change something, and waits for all replies.
    async fn write(&self, commands: &Pipeline) -> Result<Vec<Reply>, ProfileError> {
        let store = || self.shown.to_string();
        let Some((link, mut connection)) = self.connection() else {
            return Err(ProfileError::Unavailable { store: store() });
        };
        match connection.ask(commands, PUT_TIMEOUT).await {
            Ok(replies) => Ok(replies),
            Err(AskError::Broken(error)) => {
                link.complain();
                Err(self.refused(error.to_string()))
            }
            Err(AskError::TimedOut) => {
                link.complain();
                Err(ProfileError::TimedOut { store: store(), timeout_ms: PUT_TIMEOUT.as_millis() })
            }
        }
    }

    /// Who has written reads what was written, also before the server's word comes, and where none comes.
    fn forget(&self, keys: impl Iterator<Item = String>) {
        if let Some(cache) = &self.around.cache {
            keys.for_each(|key| cache.invalidate(&key));
        }
    }

    fn refused(&self, detail: String) -> ProfileError {
        ProfileError::Refused { store: self.shown.to_string(), detail }
    }
}

/// Whether this can stand in an answer to `HMGET`.
const fn is_stored(value: &Value) -> bool {
    matches!(value, Value::BulkString(_) | Value::Nil)
}

/// One `HMGET` per profile.
fn pipeline(questions: &[Question<'_>]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(questions.len());
    for Question { entity, key, .. } in questions {
        let mut command = command("HMGET", key);
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
        let key = key(record.entity(), record.id());
        let mut set = command("HSET", &key);
        let mut remove = command("HDEL", &key);
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

/// Where a profile is.
pub(super) fn key(entity: &str, id: &str) -> String {
    let mut key = String::with_capacity(KEY_PREFIX.len() + entity.len() + 1 + id.len());
    key.push_str(KEY_PREFIX);
    key.push_str(entity);
    key.push(':');
    key.push_str(id);
    key
}

fn command(name: &str, key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(8, key.len() + 128);
    command.arg(name).arg(key);
    command
}
