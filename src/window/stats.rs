//! What a store says about itself, for metrics: how full it is, and every place where exactness was given up for a bound.

use serde::{Deserialize, Serialize};

/// The numbers of one entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EntityStats {
    /// Keys held.
    pub keys: u64,
    /// Those of them that are busy: their old events are known in groups.
    pub busy_keys: u64,
    /// Events held one by one, of keys that are not busy.
    pub events: u64,
    /// Keys that had to go for others, ever.
    pub evicted_keys: u64,
    /// Those of them whose last event was within the longest window of the newest time seen in the shard: what is counted for
    /// them is now too low. Raise `max_keys` when this grows.
    pub evicted_active_keys: u64,
    /// Active keys that go next: so many would be evicted if an eighth of the keys that are held came anew. Counted once an entity
    /// is seven eighths full, so before the first of them goes.
    pub endangered_active_keys: u64,
    /// Keys that were forgotten, ever: nothing was added to them for their `ttl` (or the longest window, if that is longer) and, as
    /// events may come that late, the longest window more.
    pub forgotten_keys: u64,
    /// Events that came more than the longest window behind their key's newest attempt and were not added, ever.
    pub late_events: u64,
    /// Those of them that were attempts, ever.
    pub late_attempts: u64,
}

impl EntityStats {
    /// Adds the numbers of another part.
    pub(crate) fn merge(&mut self, other: Self) {
        self.keys += other.keys;
        self.busy_keys += other.busy_keys;
        self.events += other.events;
        self.evicted_keys += other.evicted_keys;
        self.evicted_active_keys += other.evicted_active_keys;
        self.endangered_active_keys += other.endangered_active_keys;
        self.forgotten_keys += other.forgotten_keys;
        self.late_events += other.late_events;
        self.late_attempts += other.late_attempts;
    }
}
