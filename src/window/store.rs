//! The store: all entities, each in shards with a lock of their own. Usable from many threads.
//!
//! A visit to a key is one short lock; no two are held together, nothing is awaited or written under one.
//!
//! Keys are bounded per shard: an entity has `shards` of them, a power of two near `keys_max / 1024` and at most 64, each for
//! `keys_max / shards` keys. So eviction is exactly least-recently-active within a shard, and over all keys when `keys_max` is
//! below 2,048. With at least 1,024 keys to a shard they fill evenly to within some 10 %: the first key goes
//! a little before the entity as a whole holds `keys_max`, and it never holds more.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::time::EventTime;
use crate::window::aggregate::Present;
use crate::window::event::{Attempt, Event, Key, LabelEvent, Presence};
use crate::window::layout::{EntityLayout, Layout, OutcomeStream};
use crate::window::plan::{EntityPlan, Plan};
use crate::window::profile::{Change, Profile, Spans};
use crate::window::shard::Shard;
use crate::window::stats::EntityStats;

const SHARDS_MAX: usize = 64;
const KEYS_PER_SHARD_MIN: usize = 1_024;

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
    entities: Box<[EntityStore]>,
}

#[derive(Debug)]
struct EntityStore {
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    spans: Spans,
    attribute_offset: usize,
    attributes: usize,
}

impl WindowStore {
    /// An empty store. Nothing is allocated for keys before they come.
    pub fn new(layout: Arc<Layout>) -> Self {
        let entities = layout
            .entities
            .iter()
            .enumerate()
            .map(|(position, entity)| EntityStore::new(entity, layout.attribute_offset(position)))
            .collect();
        Self { layout, entities }
    }

    /// What this store remembers.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
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
            let (added, late) = entity.observe(plan, key, event, attempt, presence, out);
            observed.added += u32::from(added);
            observed.late += u32::from(late);
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
                let present = entity.present(event, attempt);
                entity.change(key, event.at, |profile| {
                    profile.add_attempt(&present, attempt.located(), entity.spans)
                });
            }
        }
    }

    /// Records how an attempt ended, at its event time. The attempt must be the one that was observed, as its own outcome is
    /// passed over when it is repeated.
    pub fn record_outcome(&self, stream: OutcomeStream, attempt: &Attempt) {
        let event = attempt.event();
        for (position, entity) in self.entities.iter().enumerate() {
            if let Some(key) = attempt.key(position) {
                entity.change(key, event.at, |profile| profile.add_outcome(stream, event, entity.spans));
            }
        }
    }

    /// Records a label at every key of its transaction (by position of the entity), at the time that it became known.
    pub fn record_label(&self, keys: &[Option<Key>], at: EventTime, fraud: bool) {
        let label = LabelEvent { at: at.unix_millis(), fraud };
        for (entity, key) in self.entities.iter().zip(keys) {
            if let Some(key) = *key {
                entity.change(key, label.at, |profile| profile.add_label(label, entity.spans));
            }
        }
    }

    /// The numbers of each entity, by position in the layout. Shards are read one after the other, so with writers at
    /// work the numbers are those of slightly different moments.
    pub fn stats(&self) -> Box<[EntityStats]> {
        self.entities.iter().map(EntityStore::stats).collect()
    }
}

impl EntityStore {
    fn new(entity: &EntityLayout, attribute_offset: usize) -> Self {
        let wanted = (entity.keys_max / KEYS_PER_SHARD_MIN).clamp(1, SHARDS_MAX);
        let shards = 1_usize << wanted.ilog2();
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::new(entity.keys_max / shards))).collect(),
            spans: Spans::new(entity),
            attribute_offset,
            attributes: entity.attributes.len(),
        }
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[key.shard_bits() & (self.shards.len() - 1)]
    }

    fn present<'a>(&self, event: Event, attempt: &'a Attempt) -> Present<'a> {
        Present { event, attributes: attempt.attributes(self.attribute_offset, self.attributes) }
    }

    fn change(&self, key: Key, at: i64, change: impl FnOnce(&mut Profile) -> Change) -> Change {
        self.shard(key).lock().change(key, at, self.attributes, self.spans, change)
    }

    /// Whether the attempt was added, and whether it is late.
    fn observe(
        &self,
        plan: &EntityPlan,
        key: Key,
        event: Event,
        attempt: &Attempt,
        presence: Presence,
        out: &mut [f64],
    ) -> (bool, bool) {
        let present = self.present(event, attempt);
        let location = attempt.located();
        let read = |profile: &Profile, held: bool, out: &mut [f64]| {
            if !plan.is_empty() {
                profile.read(&present, location, held, plan, self.spans, out);
            }
        };
        if presence == Presence::Add {
            let change = self.change(key, event.at, |profile| {
                read(profile, false, out);
                profile.add_attempt(&present, location, self.spans)
            });
            return (change.added > 0, change.late > 0);
        }
        let held = presence == Presence::Counted;
        let shard = self.shard(key).lock();
        if let Some(profile) = shard.peek(key) {
            read(profile, held, out);
            (false, profile.is_late(event.at, self.spans))
        } else {
            drop(shard);
            read(&Profile::new(0), held, out);
            (false, false)
        }
    }

    fn stats(&self) -> EntityStats {
        let mut stats = EntityStats::default();
        for shard in &self.shards {
            stats.merge(shard.lock().stats());
        }
        stats
    }
}
