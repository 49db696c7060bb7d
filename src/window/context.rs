//! What is the same for every key of one entity.

use crate::window::layout::EntityLayout;
use crate::window::limits::Limits;
use crate::window::spans::Spans;

/// What a visit to a key has to know of its entity.
#[derive(Debug)]
pub(crate) struct KeyContext {
    pub(crate) entity: EntityLayout,
    pub(crate) spans: Spans,
    pub(crate) limits: Limits,
}

impl KeyContext {
    pub(crate) const fn stride(&self) -> usize {
        self.entity.attributes.len()
    }
}
