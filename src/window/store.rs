//! The store: all entities, each in shards with a lock of their own. Usable from many threads.
//!
//! A visit to a key is one short lock; no two are held together, nothing is awaited or written under one.
//!
//! An entity holds at most `keys_max` keys. When it does, a new key takes the place of another of its shard; a shard has some
//! 512 to 1,024 keys then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::domain::time::EventTime;
use crate::window::block::insert::Incoming;
use crate::window::compiled::EntityPlan;
use crate::window::context::KeyContext;
use crate::window::event::{Attempt, Event, Key, Presence, Present, flag, short_value};
use crate::window::held::Held;
use crate::window::layout::{Layout, OutcomeStream, Outcomes};
use crate::window::limits::Limits;
use crate::window::plan::Plan;
use crate::window::prefetch::{prefetch_bytes, prefetch_two, prefetch_whole};
use crate::window::read::read_nothing;
use crate::window::shard::{Change, Entering, LockedShard};
use crate::window::spans::Spans;
use crate::window::stats::EntityStats;
use crate::window::sync::{AtomicBool, AtomicI64, AtomicU32};

/// Most shards of one entity.
const SHARDS_MAX: usize = 1 << 16;
/// Keys of a full shard, at least.
const KEYS_PER_SHARD_MIN: usize = 512;
/// Keys of one transaction that are asked for together.
const PREFETCH_MAX: usize = 16;

/// What happened to one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Entities that the attempt had a key of.
    pub keys: u32,
    /// Those of them to which it was added; 0 unless `Presence::Add`.
    pub added: u32,
    /// Those of them for which it came too late: what was read may be too low, and it is not added.
    pub late: u32,
}

/// All windows of all entities.
#[derive(Debug)]
pub struct WindowStore {
    layout: Arc<Layout>,
    pub(crate) entities: Box<[EntityStore]>,
    /// The number of the last snapshot that was begun.
    pub(crate) epoch: AtomicU32,
    /// Whether it is being written.
    pub(crate) is_saving: AtomicBool,
}

/// The windows of one entity.
#[derive(Debug)]
pub(crate) struct EntityStore {
    /// A power of two of them.
    pub(crate) shards: Box<[LockedShard]>,
    /// Keys held.
    keys: AtomicI64,
    pub(crate) context: KeyContext,
    attribute_offset: usize,
}

impl WindowStore {
    /// An empty store. Next to nothing is allocated for keys before they come.
    pub fn new(layout: Arc<Layout>) -> Self {
        Self::with_limits(layout, Limits::default())
    }

    /// An empty store with bounds of one's own for each key.
    pub(crate) fn with_limits(layout: Arc<Layout>, limits: Limits) -> Self {
        let entities = layout
            .entities
            .iter()
            .enumerate()
            .map(|(position, entity)| {
                let spans = Spans::new(entity);
                let context = KeyContext { entity: entity.clone(), spans, limits };
                EntityStore::new(context, layout.attribute_offset(position))
            })
            .collect();
        Self { layout, entities, epoch: AtomicU32::new(0), is_saving: AtomicBool::new(false) }
    }

    /// Whether anything is held of a key.
    #[cfg(test)]
    pub(crate) fn holds(&self, entity: usize, key: Key) -> bool {
        let entity = &self.entities[entity];
        entity.shard(key).lock().peek(key, 0, &entity.context).is_some()
    }

    /// What this store remembers.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Asks the processor for what `observe` will need, so that it need not wait for each key in turn. Changes nothing; worth it
    /// when the store is larger than the processor's caches. Best called some microseconds ahead, outside any lock.
    pub fn prefetch(&self, attempt: &Attempt) {
        let shards: SmallVec<[(&EntityStore, Key); PREFETCH_MAX]> = self
            .entities
            .iter()
            .zip(&attempt.keys)
            .filter_map(|(entity, key)| key.map(|key| (entity, key)))
            .take(PREFETCH_MAX)
            .collect();
        // Waves: each needs what the one before has brought.
        for (entity, key) in &shards {
            prefetch_two(entity.shard(*key));
        }
        for (entity, key) in &shards {
            if let Some(home) = entity.shard(*key).lock().home(*key) {
                prefetch_two(home);
            }
        }
        let mut busy_keys: SmallVec<[(&EntityStore, Key); PREFETCH_MAX]> = SmallVec::new();
        for (entity, key) in &shards {
            match entity.shard(*key).lock().first_candidate(*key) {
                Some(Held::Block(block)) => prefetch_bytes(block),
                Some(Held::Busy(busy)) => {
                    prefetch_whole(&**busy);
                    busy_keys.push((entity, *key));
                }
                None => {}
            }
        }
        for (entity, key) in busy_keys {
            if let Some(Held::Busy(busy)) = entity.shard(key).lock().first_candidate(key) {
                busy.prefetch();
            }
        }
    }

    /// Reads `plan` as of the attempt and, with `Presence::Add`, adds it: at each key in one step that no other can
    /// come between. Numbers go to `out` at the outputs of the plan, NaN for what is missing; a slice shorter than
    /// `plan.outputs()` gets those it has room for. The plan must have been compiled with this store's layout.
    pub fn observe(&self, plan: &Plan, attempt: &Attempt, presence: Presence, out: &mut [f64]) -> Observed {
        let event = attempt.event();
        let nothing = EntityPlan::default();
        let mut observed = Observed::default();
        for (position, entity) in self.entities.iter().enumerate() {
            let plan = plan.entities().get(position).unwrap_or(&nothing);
            let Some(key) = attempt.key(position) else {
                plan.write_missing(out);
                continue;
            };
            observed.keys += 1;
            let values = entity.values(attempt);
            let present = Present { event, values: &values, is_repeat: presence == Presence::Counted };
            if presence == Presence::Add {
                let change = self.add_to(entity, key, &present, Some((plan, &mut *out)));
                observed.added += u32::from(change.is_added);
                observed.late += u32::from(change.is_late);
            } else {
                observed.late += u32::from(entity.read(key, &present, plan, out));
            }
        }
        for plan in plan.entities().iter().skip(self.entities.len()) {
            plan.write_missing(out);
        }
        observed
    }

    /// Adds an attempt without reading: what `observe` with `Presence::Add` changes, and nothing else. For rebuilding from
    /// the log.
    pub fn add(&self, attempt: &Attempt) {
        let event = attempt.event();
        for (position, entity) in self.entities.iter().enumerate() {
            if let Some(key) = attempt.key(position) {
                let values = entity.values(attempt);
                let present = Present { event, values: &values, is_repeat: false };
                self.add_to(entity, key, &present, None);
            }
        }
    }

    fn add_to(
        &self,
        entity: &EntityStore,
        key: Key,
        present: &Present<'_>,
        read: Option<(&EntityPlan, &mut [f64])>,
    ) -> Change {
        let mut incoming = incoming(present.event, flag::ATTEMPT, present.values);
        incoming.place = incoming.place.filter(|_| entity.context.entity.streams.places);
        let read = read.map(|(plan, out)| (present, plan, out));
        entity.enter(key, &Entering::Event(incoming), read, &self.epoch)
    }

    /// Records how an attempt ended, at its event time. The attempt must be the one that was observed, as its own outcome is
    /// passed over when it is repeated.
    pub fn record_outcome(&self, stream: OutcomeStream, attempt: &Attempt) {
        let event = attempt.event();
        for (position, entity) in self.entities.iter().enumerate() {
            let streams = entity.context.entity.streams;
            if let Some(key) = attempt.key(position)
                && streams.outcomes(stream) != Outcomes::Forgotten
            {
                let incoming = incoming(event, 0, &[]);
                entity.enter(key, &Entering::Outcome(stream, incoming), None, &self.epoch);
            }
        }
    }

    /// Records a label at every key of its transaction (by position of the entity), at the time that it became known.
    pub fn record_label(&self, keys: &[Option<Key>], at: EventTime, fraud: bool) {
        let flags = flag::LABEL | if fraud { flag::FRAUD } else { 0 };
        let at = at.unix_millis();
        for (entity, key) in self.entities.iter().zip(keys) {
            if let Some(key) = *key
                && entity.context.entity.streams.labels
            {
                let incoming =
                    Incoming { at, minor: 0, currency: 0, flags, tag: 0, place: None, values: &[] };
                entity.enter(key, &Entering::Event(incoming), None, &self.epoch);
            }
        }
    }

    /// The numbers of each entity, by position in the layout. Shards are read one after the other, so with writers at
    /// work the numbers are those of slightly different moments.
    pub fn stats(&self) -> Box<[EntityStats]> {
        self.entities.iter().map(EntityStore::stats).collect()
    }
}

fn incoming(event: Event, flags: u8, values: &[u32]) -> Incoming<'_> {
    let Event { at, minor, currency, tag, place } = event;
    Incoming { at, minor, currency: currency.position(), flags, tag, place, values }
}

impl EntityStore {
    fn new(context: KeyContext, attribute_offset: usize) -> Self {
        let wanted = (context.entity.keys_max / KEYS_PER_SHARD_MIN).clamp(1, SHARDS_MAX);
        let shards = 1_usize << wanted.ilog2();
        Self {
            shards: (0..shards).map(|_| LockedShard::new()).collect(),
            keys: AtomicI64::new(0),
            context,
            attribute_offset,
        }
    }

    pub(crate) fn shard(&self, key: Key) -> &LockedShard {
        &self.shards[key.shard_bits() & (self.shards.len() - 1)]
    }

    /// The short values of the entity's attributes.
    fn values(&self, attempt: &Attempt) -> SmallVec<[u32; 8]> {
        let values = attempt.attributes(self.attribute_offset, self.context.stride());
        values.iter().map(|&value| short_value(value)).collect()
    }

    fn enter(
        &self,
        key: Key,
        entering: &Entering<'_>,
        read: Option<(&Present<'_>, &EntityPlan, &mut [f64])>,
        epoch: &AtomicU32,
    ) -> Change {
        let is_full = self.keys_held() >= self.context.entity.keys_max;
        let mut shard = self.shard(key).lock();
        shard.begin_epoch(epoch.load(Ordering::Acquire));
        let change = shard.enter(key, entering, read, is_full, &self.context);
        if change.keys != 0 {
            let held = self.keys.fetch_add(change.keys, Ordering::Relaxed) + change.keys;
            // Another thread took the last room meanwhile.
            if change.keys > 0 && usize::try_from(held).unwrap_or(0) > self.context.entity.keys_max {
                let evicted = shard.evict_surplus(&self.context);
                self.keys.fetch_sub(evicted, Ordering::Relaxed);
            }
        }
        change
    }

    /// Reads without adding. Whether the attempt is late.
    fn read(&self, key: Key, present: &Present<'_>, plan: &EntityPlan, out: &mut [f64]) -> bool {
        let shard = self.shard(key).lock();
        match shard.peek(key, present.event.at, &self.context) {
            Some(held) => {
                let look_up = held.look_up(present.values, &self.context);
                held.read((present, &look_up), plan, &self.context, out);
                held.is_late(present.event.at, &self.context)
            }
            None => {
                drop(shard);
                read_nothing(present, plan, self.context.spans, out);
                false
            }
        }
    }

    /// Keys have come from a snapshot.
    pub(crate) fn add_keys(&self, keys: usize) {
        self.keys.fetch_add(i64::try_from(keys).unwrap_or(0), Ordering::Relaxed);
    }

    fn keys_held(&self) -> usize {
        usize::try_from(self.keys.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn stats(&self) -> EntityStats {
        let is_nearly_full = self.keys_held() >= self.context.entity.keys_max / 8 * 7;
        let mut stats = EntityStats::default();
        for shard in &self.shards {
            stats.merge(shard.lock().stats(is_nearly_full, &self.context));
        }
        stats
    }
}
