//! What a store says about itself, for metrics: how full it is, and every place where exactness was given up for a bound.

/// The numbers of one entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EntityStats {
    /// Keys held.
    pub keys: u64,
    /// Events held, of all streams.
    pub events: u64,
    /// Keys that had to go for others, ever.
    pub evicted_keys: u64,
    /// Those of them whose last attempt was within the longest window of the newest time seen in the shard: what is counted for
    /// them is now too low. Raise `max_keys` when this grows.
    pub evicted_active_keys: u64,
    /// Events that came more than the longest window behind their key's newest attempt and were not added, ever.
    pub late_events: u64,
    /// Events dropped above `EVENTS_PER_KEY_MAX`, ever.
    pub truncated_events: u64,
}

impl EntityStats {
    /// Adds the numbers of another part.
    pub(crate) fn merge(&mut self, other: Self) {
        self.keys += other.keys;
        self.events += other.events;
        self.evicted_keys += other.evicted_keys;
        self.evicted_active_keys += other.evicted_active_keys;
        self.late_events += other.late_events;
        self.truncated_events += other.truncated_events;
    }
}
