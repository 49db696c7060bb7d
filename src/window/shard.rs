//! The keys of one entity that share one lock, in the order of their last activity.
//!
//! Active is what adds: attempts (late ones too), outcomes and labels. Reading alone never changes the order, so that the keys
//! held depend on the log alone.
//!
//! When a key has to go for another it is the least recently active one. But a key is on probation until an attempt finds it
//! there, and while more than a quarter of the keys are, the least recent of these goes: so a flood of keys that never
//! come back, as when somebody tries out cards, pushes out its own.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::window::block::insert::Incoming;
use crate::window::block::look_up::LookUp;
use crate::window::compiled::EntityPlan;
use crate::window::context::KeyContext;
use crate::window::event::{Key, Present, flag, outcome_flag};
use crate::window::held::{Added, Held};
use crate::window::layout::OutcomeStream;
use crate::window::saving::{HandedOver, Saving};
use crate::window::stats::EntityStats;
use crate::window::sync::{Mutex, MutexGuard};
use crate::window::table::{Entry, Table};

/// Keys that are chosen to go next, at a time.
const VICTIMS_MAX: usize = 64;
/// Moments remembered, to tell how long ago an activity was.
const MOMENTS_MAX: usize = 32;
/// Moments in the longest window.
const MOMENTS_PER_WINDOW: i64 = 8;
/// New keys between two times of taking forgotten ones out.
const NEW_KEYS_PER_SWEEP: u32 = 32;
/// Forgotten keys that are taken out at a time: as many as came, and some more.
const SWEEP_MAX: usize = 40;

/// Drops one moment: of those before all that `needed_after` asks for, or else the one whose neighbours are nearest for their age. So
/// a long time is covered by few moments, less finely the longer ago it is.
fn thin(moments: &mut VecDeque<(u32, i64)>, needed_after: i64) {
    if moments.get(1).is_some_and(|&(_, newest)| newest < needed_after) {
        moments.pop_front();
        return;
    }
    let Some(&(_, now)) = moments.back() else { return };
    let crowded = (1..moments.len() - 1).min_by_key(|&position| {
        let (gap, age) = (moments[position + 1].1 - moments[position - 1].1, now - moments[position].1);
        // Thousandths are fine enough, and exact.
        i128::from(gap) * 1_000 / i128::from(age.max(1))
    });
    if let Some(crowded) = crowded {
        moments.remove(crowded);
    }
}

/// What one visit changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The event was added.
    pub(crate) is_added: bool,
    /// The event came too late to be added.
    pub(crate) is_late: bool,
    /// Keys more than before, or fewer.
    pub(crate) keys: i64,
}

/// An outcome, or any other event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entering<'a> {
    /// An attempt or a label.
    Event(Incoming<'a>),
    /// How a transaction ended.
    Outcome(OutcomeStream, Incoming<'a>),
}

impl<'a> Entering<'a> {
    const fn incoming(&self) -> &Incoming<'a> {
        match self {
            Self::Event(incoming) | Self::Outcome(_, incoming) => incoming,
        }
    }
}

/// What a shard knows besides its keys; goes into snapshots as it is. First what every visit needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub(crate) struct ShardState {
    /// Activities so far; those of one shard are in one order.
    activities: u32,
    /// Keys that were new, ever.
    new_keys: u32,
    /// The newest time of anything added.
    newest_at: i64,
    /// The time of the last of `moments`.
    moment_at: Option<i64>,
    /// Keys on probation.
    on_probation: usize,
    /// `keys` is not kept here.
    stats: EntityStats,
    /// (activities, newest time) at several moments, the oldest first.
    moments: VecDeque<(u32, i64)>,
    /// Keys chosen to go next, the last first, as (activity, hash).
    victims: Vec<(u32, u32)>,
}

/// The keys of one entity that share one lock. What a visit needs lies in two lines of memory, together with the lock.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Shard {
    table: Table,
    /// What has still to be written for the running snapshot.
    saving: Option<Box<Saving>>,
    /// The number of the last snapshot that the shard knows of.
    epoch: u32,
    state: ShardState,
}

/// A shard and its lock.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct LockedShard(Mutex<Shard>);

impl LockedShard {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Shard::default()))
    }

    /// Waits for the lock: others hold it for a microsecond or a few.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock()
    }
}

impl Shard {
    /// The numbers of this shard.
    pub(crate) fn stats(&self, is_nearly_full: bool, context: &KeyContext) -> EntityStats {
        let len = self.table.len();
        let endangered = if is_nearly_full {
            let idle_until = self.activity_before(context.spans.longest_ms);
            let (mut candidates, mut idle) = (0_usize, 0);
            for entry in self.candidates() {
                candidates += 1;
                idle += usize::from(entry.active <= idle_until);
            }
            (len / 8).min(candidates).saturating_sub(idle)
        } else {
            0
        };
        EntityStats { keys: len as u64, endangered_active_keys: endangered as u64, ..self.state.stats }
    }

    /// Where the search for a key begins, to be asked for before it is needed.
    pub(crate) fn home(&self, key: Key) -> Option<&Entry> {
        self.table.home(key.slot_bits())
    }

    fn find(&self, key: Key, context: &KeyContext) -> Option<usize> {
        self.table.find(key.slot_bits(), |entry| entry.held.check_bits(context) == key.check_bits())
    }

    /// A key's history, without looking at it: its place is known by the hash alone.
    pub(crate) fn first_candidate(&self, key: Key) -> Option<&Held> {
        self.table.find(key.slot_bits(), |_| true).map(|position| &self.table.entries()[position].held)
    }

    /// What is held of a key as of a moment, without marking it as active.
    pub(crate) fn peek(&self, key: Key, at: i64, context: &KeyContext) -> Option<&Held> {
        let held = &self.table.entries()[self.find(key, context)?].held;
        (!held.is_forgotten(at, context)).then_some(held)
    }

    /// Adds to a key and marks it as active; before that, reads as of the present attempt. `is_full` says whether the entity
    /// holds as many keys as it may.
    pub(crate) fn enter(
        &mut self,
        key: Key,
        entering: &Entering<'_>,
        read: Option<(&Present<'_>, &EntityPlan, &mut [f64])>,
        is_full: bool,
        context: &KeyContext,
    ) -> Change {
        let incoming = entering.incoming();
        let before = self.table.len();
        let known = self.find(key, context).filter(|&position| !self.forget(position, incoming.at, context));
        let look_up = known.map_or_else(LookUp::new, |known| {
            self.table.entries()[known].held.look_up(incoming.values, context)
        });
        if let Some((present, plan, out)) = read {
            match known {
                Some(known) => {
                    self.table.entries()[known].held.read((present, &look_up), plan, context, out);
                }
                None => crate::window::read::read_nothing(present, plan, context.spans, out),
            }
        }
        self.note_time(incoming.at, context);
        let change = match known {
            Some(position) => self.enter_known(position, (entering, &look_up), context),
            None => {
                // Who has just been forgotten has made room.
                self.enter_new(key, entering, is_full && self.table.len() == before, context);
                Change { is_added: true, ..Change::default() }
            }
        };
        #[expect(clippy::cast_possible_wrap, reason = "a shard has few keys")]
        let keys = self.table.len() as i64 - before as i64;
        Change { keys, ..change }
    }

    /// Takes a key out when so much time has passed that it counts as never seen. Whether it did.
    fn forget(&mut self, position: usize, at: i64, context: &KeyContext) -> bool {
        let is_forgotten = self.table.entries()[position].held.is_forgotten(at, context);
        if is_forgotten {
            self.take_out(position, context);
            self.state.stats.forgotten_keys += 1;
        }
        is_forgotten
    }

    fn enter_known(
        &mut self,
        position: usize,
        (entering, look_up): (&Entering<'_>, &LookUp),
        context: &KeyContext,
    ) -> Change {
        self.save(position);
        let active = self.next_activity();
        let entry = &mut self.table.entries_mut()[position];
        entry.active = active;
        let incoming = entering.incoming();
        if entry.held.is_late(incoming.at, context) {
            self.state.stats.late_events += 1;
            self.state.stats.late_attempts += u64::from(incoming.flags & flag::ATTEMPT != 0);
            return Change { is_late: true, ..Change::default() };
        }
        let added = match entering {
            Entering::Event(incoming) => {
                if incoming.flags & flag::ATTEMPT != 0 && entry.is_on_probation() {
                    entry.end_probation();
                    self.state.on_probation -= 1;
                }
                entry.held.add(incoming, look_up, context)
            }
            Entering::Outcome(stream, incoming) => entry.held.add_outcome(*stream, incoming, context),
        };
        self.count(added);
        Change { is_added: true, ..Change::default() }
    }

    fn enter_new(&mut self, key: Key, entering: &Entering<'_>, is_full: bool, context: &KeyContext) {
        if is_full {
            self.evict(context);
        }
        // At moments that depend on the log alone, not on how much room the table happens to have.
        self.state.new_keys = self.state.new_keys.wrapping_add(1);
        if self.state.new_keys.is_multiple_of(NEW_KEYS_PER_SWEEP) {
            self.sweep(context);
        }
        let incoming = match entering {
            Entering::Event(incoming) => *incoming,
            Entering::Outcome(stream, incoming) => {
                Incoming { flags: outcome_flag(*stream), place: None, values: &[], ..*incoming }
            }
        };
        let held = Held::first(key.check_bits(), &incoming, context);
        self.count(Added { added: 1, ..Added::default() });
        let active = self.next_activity();
        let mut entry = Entry::new(held, key.slot_bits(), active);
        entry.set_saved_mark(self.epoch & 1 == 1);
        self.state.on_probation += 1;
        self.table.insert(entry);
        if let Some(saving) = &mut self.saving {
            saving.entries_moved();
        }
    }

    const fn count(&mut self, added: Added) {
        let stats = &mut self.state.stats;
        stats.events = stats.events + added.added - added.expired;
        stats.busy_keys += added.is_promoted as u64;
    }

    /// The number of an activity, which is larger than all before it.
    fn next_activity(&mut self) -> u32 {
        if self.state.activities == u32::MAX {
            self.renumber();
        }
        self.state.activities += 1;
        self.state.activities
    }

    /// Counts activities from 1 again, in the same order: every four billion of one shard.
    #[cold]
    fn renumber(&mut self) {
        let mut active: Vec<u32> = self
            .table
            .entries()
            .iter()
            .filter(|entry| !entry.is_vacant())
            .map(|entry| entry.active)
            .collect();
        active.sort_unstable();
        let rank =
            |activity: u32| u32::try_from(active.partition_point(|&other| other <= activity)).unwrap_or(0);
        for position in 0..self.table.entries().len() {
            self.save(position);
        }
        for entry in self.table.entries_mut() {
            entry.active = rank(entry.active);
        }
        let moments = self.state.moments.iter_mut().map(|(activity, _)| activity);
        for activity in moments.chain(self.state.victims.iter_mut().map(|(activity, _)| activity)) {
            *activity = rank(*activity);
        }
        self.state.activities = rank(u32::MAX);
    }

    fn note_time(&mut self, at: i64, context: &KeyContext) {
        let state = &mut self.state;
        state.newest_at = state.newest_at.max(at);
        let apart_ms = context.spans.longest_ms / MOMENTS_PER_WINDOW;
        if state.moment_at.is_none_or(|last| state.newest_at - last > apart_ms) {
            state.moment_at = Some(state.newest_at);
            state.moments.push_back((state.activities, state.newest_at));
            if state.moments.len() > MOMENTS_MAX {
                thin(&mut state.moments, state.newest_at - context.spans.forgotten_after_ms());
            }
        }
    }

    /// Activities up to this one are known to be more than `span_ms` of event time ago.
    fn activity_before(&self, span_ms: i64) -> u32 {
        let until = self.state.newest_at - span_ms - 1;
        let moments = self.state.moments.iter().rev();
        moments.copied().find(|&(_, newest)| newest <= until).map_or(0, |(activity, _)| activity)
    }

    /// Takes forgotten keys out, so that the table need not grow for them.
    fn sweep(&mut self, context: &KeyContext) {
        let until = self.activity_before(context.spans.forgotten_after_ms());
        let mut position = 0;
        let mut swept = 0;
        while until > 0 && swept < SWEEP_MAX && position < self.table.entries().len() {
            let entry = &self.table.entries()[position];
            if entry.is_vacant() || entry.active > until {
                position += 1;
                continue;
            }
            self.take_out(position, context);
            self.state.stats.forgotten_keys += 1;
            swept += 1;
        }
    }

    /// Takes out the key that has to go next, unless there is but one. How many that were.
    pub(crate) fn evict_surplus(&mut self, context: &KeyContext) -> i64 {
        let before = self.table.len();
        if before > 1 {
            self.evict(context);
        }
        i64::from(self.table.len() < before)
    }

    /// Counts activities on from that number.
    #[cfg(test)]
    pub(crate) fn count_activities_from(&mut self, activities: u32) {
        self.state.activities = activities;
    }

    /// Takes out the key that has to go next.
    fn evict(&mut self, context: &KeyContext) {
        loop {
            if self.state.victims.is_empty() {
                self.choose_victims();
            }
            let Some((active, hash)) = self.state.victims.pop() else { return };
            if let Some(position) = self.table.find(hash, |entry| entry.active == active) {
                let idle_ms = self.state.newest_at - self.table.entries()[position].held.last_at(context);
                let is_active = idle_ms < context.spans.longest_ms;
                let is_forgotten = idle_ms > context.spans.forgotten_after_ms();
                self.take_out(position, context);
                let stats = &mut self.state.stats;
                if is_forgotten {
                    stats.forgotten_keys += 1;
                } else {
                    stats.evicted_keys += 1;
                    stats.evicted_active_keys += u64::from(is_active);
                }
                return;
            }
        }
    }

    /// The keys among which the least recently active one goes next.
    fn candidates(&self) -> impl Iterator<Item = &Entry> {
        let only_probation = self.state.on_probation * 4 > self.table.len();
        let entries = self.table.entries().iter();
        entries.filter(move |entry| !entry.is_vacant() && (!only_probation || entry.is_on_probation()))
    }

    fn choose_victims(&mut self) {
        let candidates = self.candidates();
        let mut victims: Vec<(u32, u32)> = candidates.map(|entry| (entry.active, entry.bits())).collect();
        if victims.len() > VICTIMS_MAX {
            victims.select_nth_unstable(VICTIMS_MAX - 1);
            victims.truncate(VICTIMS_MAX);
            victims.shrink_to_fit();
        }
        victims.sort_unstable_by(|a, b| b.cmp(a));
        self.state.victims = victims;
    }

    fn take_out(&mut self, position: usize, context: &KeyContext) {
        let epoch_mark = self.epoch & 1 == 1;
        let entry = self.table.remove(position);
        self.state.on_probation -= usize::from(entry.is_on_probation());
        self.state.stats.events -= entry.held.events(context);
        self.state.stats.busy_keys -= u64::from(matches!(entry.held, Held::Busy(_)));
        if let Some(saving) = &mut self.saving {
            if entry.saved_mark() != epoch_mark {
                saving.keep(entry);
            }
            saving.entries_moved();
        }
    }

    /// Learns of a snapshot that has begun: what the shard holds now is what goes into it.
    pub(crate) fn begin_epoch(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.saving = Some(Box::new(Saving::new(self.state.clone())));
        }
    }

    /// Keeps an entry as it is for the running snapshot, before it changes.
    fn save(&mut self, position: usize) {
        let Some(saving) = &mut self.saving else { return };
        let epoch_mark = self.epoch & 1 == 1;
        let entry = &mut self.table.entries_mut()[position];
        if !entry.is_vacant() && entry.saved_mark() != epoch_mark {
            saving.keep(entry.clone());
            entry.set_saved_mark(epoch_mark);
        }
    }

    /// Hands over keys for the running snapshot, some at a time; with the last ones comes the state of the shard.
    pub(crate) fn save_some(&mut self, out: &mut HandedOver) {
        let epoch_mark = self.epoch & 1 == 1;
        let Some(saving) = &mut self.saving else { return };
        if saving.take_some(self.table.entries_mut(), epoch_mark, out) {
            out.state = self.saving.take().map(|saving| saving.into_state());
        }
    }

    /// Ends a snapshot that was given up, so that the next one begins from scratch.
    pub(crate) fn give_up_saving(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.saving = None;
        for entry in self.table.entries_mut() {
            entry.set_saved_mark(epoch & 1 == 1);
        }
    }

    /// Puts back keys of a snapshot.
    pub(crate) fn restore_entries(&mut self, entries: Vec<Entry>) {
        for mut entry in entries {
            entry.set_saved_mark(self.epoch & 1 == 1);
            self.table.insert(entry);
        }
    }

    /// Puts back what a shard knew besides its keys.
    pub(crate) fn restore_state(&mut self, state: ShardState) {
        self.state = state;
    }
}
