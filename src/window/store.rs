//! The store: every entity's keys in shards, each behind its own short lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use lru::LruCache;
use parking_lot::Mutex;

use crate::domain::time::EventTime;
use crate::window::event::{Attempt, BuildKeyHasher, Key};
use crate::window::layout::{EntityLayout, Layout, Stream};
use crate::window::plan::{Plan, millis};
use crate::window::profile::{Event, Inserted, Present, Profile};

/// Most shards of one entity.
const SHARDS_MAX: usize = 64;
/// An entity has one shard for so many keys.
const KEYS_PER_SHARD: usize = 1_024;

/// Whether reading an attempt also counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Read as if it were counted, and count it: one step for each key, so that parallel attempts cannot miss each other.
    Add,
    /// Read as if it were counted; change nothing, not even which key was seen last.
    Virtual,
    /// It was counted earlier: read as of its time without counting it twice, and add nothing.
    Counted,
}

/// How full one entity is, and what had to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityStats {
    /// The entity.
    pub entity: Box<str>,
    /// Keys held.
    pub keys: u64,
    /// Events held, over all streams.
    pub events: u64,
    /// Keys evicted because there were too many.
    pub evicted_keys: u64,
    /// Those of them whose last attempt was within the longest window of the newest attempt of the entity.
    pub evicted_active_keys: u64,
    /// Attempts that came too late to be counted.
    pub late_events: u64,
    /// Events dropped because one key had too many.
    pub truncated_events: u64,
}

/// Windows for every entity of a layout. Shared between threads.
#[derive(Debug)]
pub struct WindowStore {
    layout: Arc<Layout>,
    entities: Box<[EntityStore]>,
}

#[derive(Debug)]
struct EntityStore {
    shards: Box<[Mutex<LruCache<Key, Profile, BuildKeyHasher>>]>,
    keys_per_shard: usize,
    longest_window_ms: i64,
    ttl_ms: i64,
    attributes: std::ops::Range<usize>,
    newest_ms: AtomicI64,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    events: AtomicI64,
    evicted: AtomicU64,
    evicted_active: AtomicU64,
    late: AtomicU64,
    truncated: AtomicU64,
}

impl WindowStore {
    /// An empty store.
    pub fn new(layout: Arc<Layout>) -> Self {
        let entities = layout
            .entities
            .iter()
            .enumerate()
            .map(|(number, entity)| EntityStore::new(entity, layout.attribute_offset(number)))
            .collect();
        Self { layout, entities }
    }

    /// Writes what `plan` reads for an attempt into `out`, as of the attempt's time and with the attempt counted once. Outputs
    /// of entities that the attempt does not have are left as they are.
    pub fn observe(&self, plan: &Plan, attempt: &Attempt, presence: Presence, out: &mut [f64]) {
        for ((entity, reads), key) in self.entities.iter().zip(&plan.entities).zip(&attempt.keys) {
            let Some(key) = key else { continue };
            let mut present = entity.present(attempt);
            let mut shard = entity.shard(*key).lock();
            if presence == Presence::Add {
                let profile = entity.held(&mut shard, *key);
                profile.read(reads, &present, entity.ttl_ms, out);
                entity.add(profile, attempt, &present);
            } else {
                let unseen = Profile::default();
                let profile = shard.peek(key).unwrap_or(&unseen);
                present.is_stored = presence == Presence::Counted
                    && profile.holds(present.at, present.minor, present.currency);
                profile.read(reads, &present, entity.ttl_ms, out);
            }
        }
    }

    /// Counts an attempt without reading.
    pub fn add(&self, attempt: &Attempt) {
        for (entity, key) in self.entities.iter().zip(&attempt.keys) {
            if let Some(key) = key {
                let mut shard = entity.shard(*key).lock();
                let profile = entity.held(&mut shard, *key);
                entity.add(profile, attempt, &entity.present(attempt));
            }
        }
    }

    /// Counts what was answered, in `Approved` or `Declined`, at the attempt's time.
    pub fn record_outcome(&self, stream: Stream, attempt: &Attempt) {
        for (entity, key) in self.entities.iter().zip(&attempt.keys) {
            if let Some(key) = key {
                let event = Event::new(attempt.at, attempt.amount.minor(), attempt.amount.currency(), &[]);
                let mut shard = entity.shard(*key).lock();
                let inserted =
                    entity.held(&mut shard, *key).add_outcome(stream, event, entity.longest_window_ms);
                entity.count(inserted);
            }
        }
    }

    /// Counts a label at its time, for everyone who took part in the labelled transaction.
    pub fn record_label(&self, keys: &[Option<Key>], at: EventTime, fraud: bool) {
        for (entity, key) in self.entities.iter().zip(keys) {
            if let Some(key) = key {
                let mut shard = entity.shard(*key).lock();
                let inserted = entity.held(&mut shard, *key).add_label(at, fraud, entity.longest_window_ms);
                entity.count(inserted);
            }
        }
    }

    /// How full each entity is.
    pub fn stats(&self) -> Vec<EntityStats> {
        let named = self.layout.entities.iter().zip(&self.entities);
        named
            .map(|(layout, entity)| EntityStats {
                entity: layout.name.clone(),
                keys: entity.shards.iter().map(|shard| shard.lock().len() as u64).sum(),
                events: u64::try_from(entity.counters.events.load(Ordering::Relaxed)).unwrap_or(0),
                evicted_keys: entity.counters.evicted.load(Ordering::Relaxed),
                evicted_active_keys: entity.counters.evicted_active.load(Ordering::Relaxed),
                late_events: entity.counters.late.load(Ordering::Relaxed),
                truncated_events: entity.counters.truncated.load(Ordering::Relaxed),
            })
            .collect()
    }
}

impl EntityStore {
    fn new(layout: &EntityLayout, attribute_offset: usize) -> Self {
        let shards = (layout.keys_max / KEYS_PER_SHARD).clamp(1, SHARDS_MAX);
        Self {
            shards: (0..shards)
                .map(|_| Mutex::new(LruCache::unbounded_with_hasher(BuildKeyHasher::default())))
                .collect(),
            keys_per_shard: (layout.keys_max / shards).max(1),
            longest_window_ms: millis(layout.longest_window),
            ttl_ms: millis(layout.ttl),
            attributes: attribute_offset..attribute_offset + layout.attributes.len(),
            newest_ms: AtomicI64::new(0),
            counters: Counters::default(),
        }
    }

    fn shard(&self, key: Key) -> &Mutex<LruCache<Key, Profile, BuildKeyHasher>> {
        &self.shards[key.shard(self.shards.len())]
    }

    fn present<'a>(&self, attempt: &'a Attempt) -> Present<'a> {
        Present {
            at: attempt.at,
            minor: attempt.amount.minor(),
            currency: attempt.amount.currency(),
            location: attempt.location,
            attributes: attempt.attributes.get(self.attributes.clone()).unwrap_or(&[]),
            is_stored: false,
        }
    }

    /// The key's profile, made if need be, now the one seen last. The one seen least recently goes when there are too many.
    fn held<'s>(&self, shard: &'s mut LruCache<Key, Profile, BuildKeyHasher>, key: Key) -> &'s mut Profile {
        if shard.len() >= self.keys_per_shard
            && !shard.contains(&key)
            && let Some((_, evicted)) = shard.pop_lru()
        {
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
            self.counters.events.fetch_sub(i64::try_from(evicted.events()).unwrap_or(0), Ordering::Relaxed);
            let newest_ms = self.newest_ms.load(Ordering::Relaxed);
            if evicted.newest_at().is_some_and(|at| newest_ms - at.unix_millis() < self.longest_window_ms) {
                self.counters.evicted_active.fetch_add(1, Ordering::Relaxed);
            }
        }
        shard.get_or_insert_mut(key, Profile::default)
    }

    fn add(&self, profile: &mut Profile, attempt: &Attempt, present: &Present<'_>) {
        let event = Event::new(present.at, present.minor, present.currency, present.attributes);
        self.newest_ms.fetch_max(attempt.at.unix_millis(), Ordering::Relaxed);
        self.count(profile.add_attempt(event, attempt.location, self.longest_window_ms));
    }

    fn count(&self, inserted: Inserted) {
        self.counters.events.fetch_add(inserted.events_change, Ordering::Relaxed);
        if inserted.is_late {
            self.counters.late.fetch_add(1, Ordering::Relaxed);
        }
        if inserted.truncated > 0 {
            self.counters.truncated.fetch_add(inserted.truncated, Ordering::Relaxed);
        }
    }
}
