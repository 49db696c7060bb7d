//! A bounded cache of what Redis said, in this process: less work for Redis, and profiles while it is away.
//!
//! An entry is what one profile held of what one plan asks, also that it held nothing. It is good for its time to live and no
//! longer; where the server supports it (RESP3 client tracking), it goes as soon as somebody writes the profile. An answer that
//! is overtaken on its way by such a word is not kept. What is longest unused goes first when the cache is full.
//!
//! The redis crate has a cache of its own. It would be one for each connection, gone with it, would ask Redis for the time to live of
//! every key beside the question, and keeps "nothing there" as long as a value; so this one stands before all connections.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use crate::domain::enrichment::{Enrichment, Lookup, ProfileValue};
use crate::enrich::counters::count;
use crate::enrich::plan::{PlanEntity, ProfilePlan};

/// Most entries that config may ask for.
pub const CACHE_ENTRIES_MAX: usize = 10_000_000;
/// How long a profile is good, unless config says otherwise.
pub const TTL_DEFAULT: Duration = Duration::from_secs(5);
/// How long "there is no such profile" is good, unless config says otherwise: a new customer should soon have a profile.
pub const NEGATIVE_TTL_DEFAULT: Duration = Duration::from_secs(1);
/// Texts of one entry, in bytes; a profile with more is not kept. With the number of entries it bounds the memory.
pub const CACHE_ENTRY_BYTES_MAX: usize = 4 * 1024;
/// Parts with a lock each, so that threads seldom meet.
const SHARDS: usize = 16;

/// What the operator chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheSettings {
    /// Most profiles that are kept; 0: no cache.
    pub entries_max: usize,
    /// How long a profile is good.
    pub ttl: Duration,
    /// How long "there is no such profile" is good; zero: it is not kept.
    pub negative_ttl: Duration,
}

impl Default for CacheSettings {
    /// No cache.
    fn default() -> Self {
        Self { entries_max: 0, ttl: TTL_DEFAULT, negative_ttl: NEGATIVE_TTL_DEFAULT }
    }
}

/// The cache as an operator sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheView {
    /// Entries now.
    pub entries: u64,
    /// Profiles answered from the cache.
    pub hits: u64,
    /// Profiles that had to be asked for.
    pub misses: u64,
    /// Entries dropped because the server said that they have changed, or because it may have said so while nobody listened.
    pub invalidations: u64,
    /// Entries dropped because the cache was full.
    pub evictions: u64,
}

/// The cache.
#[derive(Debug)]
pub struct ProfileCache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    settings: CacheSettings,
    hits: AtomicU64,
    misses: AtomicU64,
    invalidations: AtomicU64,
    evictions: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    entries: LruCache<Box<str>, Entry>,
    /// Counts invalidations, so that an answer that was asked for before one is known to be old.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    plan: u64,
    /// In the order of the entity's fields.
    values: Box<[Lookup<ProfileValue>]>,
    good_until: Instant,
}

/// What was not in the cache: keep it until the answer is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Miss {
    shard: usize,
    generation: u64,
}

impl ProfileCache {
    /// An empty cache; none when it may not hold anything.
    pub fn new(settings: CacheSettings) -> Option<Self> {
        let entries_max = settings.entries_max.min(CACHE_ENTRIES_MAX);
        let per_shard = NonZeroUsize::new(entries_max.div_ceil(SHARDS))?;
        let shard = || Mutex::new(Shard { entries: LruCache::sparse(per_shard), generation: 0 });
        Some(Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            settings,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        })
    }

    /// Puts what is known of the profile at `key` where it belongs; else says from which moment on it must be asked for.
    pub(super) fn get(
        &self,
        plan: &ProfilePlan,
        entity: &PlanEntity,
        key: &str,
        now: Instant,
        enrichment: &mut Enrichment,
    ) -> Option<Miss> {
        let index = self.shard_of(key);
        let mut shard = self.shards.get(index)?.lock();
        let generation = shard.generation;
        if let Some(entry) = shard.entries.get(key)
            && entry.plan == plan.id()
            && now < entry.good_until
        {
            for (field, value) in entity.fields().iter().zip(&entry.values) {
                if let Some(slot) = enrichment.0.get_mut(field.output()) {
                    slot.clone_from(value);
                }
            }
            count(&self.hits);
            return None;
        }
        count(&self.misses);
        Some(Miss { shard: index, generation })
    }

    /// Keeps what the store has just answered of the profile at `key`.
    pub(super) fn keep(
        &self,
        miss: Miss,
        plan: &ProfilePlan,
        entity: &PlanEntity,
        key: &str,
        now: Instant,
        enrichment: &Enrichment,
    ) {
        let values: Box<[_]> = entity
            .fields()
            .iter()
            .map(|field| enrichment.0.get(field.output()).cloned().unwrap_or(Lookup::TimedOut))
            .collect();
        let is_empty = values.iter().all(|value| matches!(value, Lookup::Absent));
        let ttl = if is_empty { self.settings.negative_ttl } else { self.settings.ttl };
        let bytes = values.iter().filter_map(Lookup::known).map(text_bytes).sum::<usize>() + key.len();
        let is_whole = !values.iter().any(|value| matches!(value, Lookup::TimedOut));
        if ttl.is_zero() || bytes > CACHE_ENTRY_BYTES_MAX || !is_whole {
            return;
        }
        let Some(shard) = self.shards.get(miss.shard) else { return };
        let mut shard = shard.lock();
        if shard.generation != miss.generation {
            return;
        }
        let entry = Entry { plan: plan.id(), values, good_until: now + ttl };
        if shard.entries.push(key.into(), entry).is_some_and(|(dropped, _)| *dropped != *key) {
            count(&self.evictions);
        }
    }

    /// The profile at `key` has changed.
    pub(super) fn invalidate(&self, key: &str) {
        let Some(shard) = self.shards.get(self.shard_of(key)) else { return };
        let mut shard = shard.lock();
        shard.generation += 1;
        if shard.entries.pop(key).is_some() {
            count(&self.invalidations);
        }
    }

    /// Any profile may have changed.
    pub(super) fn invalidate_all(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.generation += 1;
            self.invalidations.fetch_add(shard.entries.len() as u64, Ordering::Relaxed);
            shard.entries.clear();
        }
    }

    /// What an operator wants to see.
    pub fn view(&self) -> CacheView {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheView {
            entries: self.shards.iter().map(|shard| shard.lock().entries.len() as u64).sum(),
            hits: read(&self.hits),
            misses: read(&self.misses),
            invalidations: read(&self.invalidations),
            evictions: read(&self.evictions),
        }
    }

    fn shard_of(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) % SHARDS as u64) as usize
    }
}

const fn text_bytes(value: &ProfileValue) -> usize {
    match value {
        ProfileValue::Text(text) => text.len(),
        ProfileValue::Bool(_) | ProfileValue::Int(_) | ProfileValue::Number(_) => 0,
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
