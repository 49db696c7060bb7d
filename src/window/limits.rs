//! How much is held of one key. One place for every bound; tests make them small.

use crate::window::block::shape::BLOCK_EVENTS_MAX;

/// Bounds of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Most events of an ordinary key. One with more is busy.
    pub(crate) block_events_max: usize,
    /// A busy key's newest events of each stream and currency, of which every one is known by itself.
    pub(crate) exact_events: usize,
    /// Older events of a busy key are known in groups of at most one part in so many of all that are newer.
    pub(crate) group_parts: u64,
    /// A busy key's newest attempts that are remembered one by one, for sessions, card testing and repeats.
    pub(crate) recent_attempts: usize,
    /// A busy key's newest places.
    pub(crate) recent_places: usize,
    /// Different values of one attribute that are counted exactly; of more, a sample of half as many to so many is counted.
    pub(crate) values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_events_max: BLOCK_EVENTS_MAX,
            exact_events: 128,
            group_parts: 128,
            recent_attempts: 128,
            recent_places: 64,
            values_max: 8_192,
        }
    }
}
