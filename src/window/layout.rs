//! What a store remembers; fixed for its life.

use std::time::Duration;

/// Most entities of one layout.
pub const ENTITIES_MAX: usize = 32;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Stream {
    /// Every transaction that was asked about.
    Attempts,
    /// The approved ones.
    Approved,
    /// The blocked ones.
    Declined,
    /// What became known of them.
    Labels,
}

/// What is remembered for one entity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityLayout {
    /// Its name.
    pub name: Box<str>,
    /// Most keys.
    pub keys_max: usize,
    /// How far `since` looks back.
    pub ttl: Duration,
    /// The longest window of any read.
    pub longest_window: Duration,
    /// The names of what different values are counted of.
    pub attributes: Box<[Box<str>]>,
}

/// What a store remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The entities.
    pub entities: Box<[EntityLayout]>,
}

impl Layout {
    /// Where an entity's attributes begin in the flattened list.
    pub fn attribute_offset(&self, entity: usize) -> usize {
        self.entities[..entity].iter().map(|entity| entity.attributes.len()).sum()
    }

    /// Whether a store of this layout can answer everything that a store of `other` can.
    pub fn covers(&self, other: &Self) -> bool {
        self.entities.len() == other.entities.len()
            && self.entities.iter().zip(&other.entities).all(|(mine, theirs)| {
                mine.name == theirs.name
                    && mine.attributes == theirs.attributes
                    && mine.longest_window >= theirs.longest_window
            })
    }
}
