//! The keys of one entity that share one lock, in the order of their last activity.
//!
//! Active is what adds: attempts (late ones too), outcomes and labels. Reading alone never changes the order, so that the keys
//! held depend on the log alone.

use std::hash::{BuildHasherDefault, Hasher};

use lru::LruCache;

use crate::window::event::Key;
use crate::window::profile::{Change, Profile, Spans};
use crate::window::stats::EntityStats;

/// A key is a keyed hash already: half of it serves as it is.
#[derive(Debug, Default)]
pub(crate) struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The keys of one entity that share one lock.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Shard {
    profiles: LruCache<Key, Profile, BuildHasherDefault<KeyIsHash>>,
    keys_max: usize,
    /// The newest time of anything added.
    newest_at: i64,
    /// `keys` is not kept here.
    stats: EntityStats,
}

impl Shard {
    /// An empty shard for at most `keys_max` keys, at least one. Room for them is made as they come.
    pub(crate) fn new(keys_max: usize) -> Self {
        Self {
            profiles: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
            keys_max: keys_max.max(1),
            newest_at: i64::MIN,
            stats: EntityStats::default(),
        }
    }

    /// The numbers of this shard.
    pub(crate) fn stats(&self) -> EntityStats {
        EntityStats { keys: self.profiles.len() as u64, ..self.stats }
    }

    /// What is held of a key, without marking it as active.
    pub(crate) fn peek(&self, key: Key) -> Option<&Profile> {
        self.profiles.peek(&key)
    }

    /// Changes what is held of a key, or of one never seen, and marks it as active. `at` is the event time of the change.
    pub(crate) fn change(
        &mut self,
        key: Key,
        at: i64,
        attributes: usize,
        spans: Spans,
        change: impl FnOnce(&mut Profile) -> Change,
    ) -> Change {
        let changed = if let Some(profile) = self.profiles.get_mut(&key) {
            change(profile)
        } else {
            let mut profile = Profile::new(attributes);
            let changed = change(&mut profile);
            self.newest_at = self.newest_at.max(at);
            while self.profiles.len() >= self.keys_max && self.evict(spans) {}
            self.profiles.put(key, profile);
            changed
        };
        self.newest_at = self.newest_at.max(at);
        self.stats.events += changed.added;
        self.stats.events -= changed.expired + changed.truncated;
        self.stats.late_events += changed.late;
        self.stats.truncated_events += changed.truncated;
        changed
    }

    /// Evicts the least recently active key; false when there is none.
    fn evict(&mut self, spans: Spans) -> bool {
        let Some((_, profile)) = self.profiles.pop_lru() else { return false };
        self.stats.events -= profile.events();
        self.stats.evicted_keys += 1;
        let is_active =
            profile.newest_attempt_at().is_some_and(|newest| self.newest_at - newest < spans.longest_ms);
        self.stats.evicted_active_keys += u64::from(is_active);
        true
    }
}
