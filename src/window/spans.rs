//! The lengths of time that hold for every key of one entity.

use crate::window::layout::{EntityLayout, millis};

/// Lengths of time of one entity, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    /// The longest window: an attempt further behind its key's newest one is late.
    pub(crate) longest_ms: i64,
    /// How far back the last attempt is looked for.
    pub(crate) ttl_ms: i64,
}

impl Spans {
    pub(crate) fn new(entity: &EntityLayout) -> Self {
        Self { longest_ms: millis(entity.longest_window), ttl_ms: millis(entity.ttl) }
    }

    /// How far behind a key's newest attempt events count: a read that is not late reaches no further.
    pub(crate) const fn retention_ms(self) -> i64 {
        2 * self.longest_ms
    }

    /// A key that nothing was added to for longer is forgotten: no read that is not late could tell, but for the time since it was
    /// first seen.
    pub(crate) const fn forgotten_after_ms(self) -> i64 {
        self.longest_ms + if self.ttl_ms > self.longest_ms { self.ttl_ms } else { self.longest_ms }
    }
}
