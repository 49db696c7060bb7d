//! What a store must remember. Fixed for the life of a store: plans come and go, the layout stays.
//!
//! Entities and attributes are known by name outside and by position inside. Keys, attempts and plans of one store must all be
//! made with the layout of that store.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most entities of one layout.
pub const ENTITIES_MAX: usize = 32;
/// Most attributes of one entity.
pub const ATTRIBUTES_PER_ENTITY_MAX: usize = 32;
/// Most keys that one entity may ask for.
pub const KEYS_MAX: usize = 1_000_000_000;
/// Longest window or time to live.
pub const SPAN_MAX: Duration = Duration::from_secs(400 * 86_400);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stream {
    /// Every transaction asked about, the present one included.
    Attempts,
    /// Earlier transactions that were approved, at their event time.
    Approved,
    /// Earlier transactions that were declined, at their event time.
    Declined,
    /// Labels, at the time they became known.
    Labels,
}

impl Stream {
    /// The name in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Labels => "labels",
        }
    }
}

/// How a transaction ended, as far as windows count it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutcomeStream {
    /// It goes to `Stream::Approved`.
    Approved,
    /// It goes to `Stream::Declined`.
    Declined,
}

/// How much is remembered of transactions with one outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Outcomes {
    /// Nothing: neither time nor memory is spent on them.
    Forgotten,
    /// When they were.
    Counted,
    /// When they were and with how much.
    WithAmounts,
}

/// What is remembered besides the attempts themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Streams {
    /// Of approved transactions.
    pub approved: Outcomes,
    /// Of declined transactions.
    pub declined: Outcomes,
    /// Whether labels are.
    pub labels: bool,
    /// Whether it is remembered where attempts happened.
    pub places: bool,
}

impl Streams {
    /// Attempts alone.
    pub const ATTEMPTS: Self =
        Self { approved: Outcomes::Forgotten, declined: Outcomes::Forgotten, labels: false, places: false };
    /// Everything.
    pub const ALL: Self =
        Self { approved: Outcomes::WithAmounts, declined: Outcomes::WithAmounts, labels: true, places: true };

    /// Asks for one more stream; `amounts` says whether anything is taken over its amounts.
    pub fn ask_for(&mut self, stream: Stream, amounts: bool) {
        let outcomes = if amounts { Outcomes::WithAmounts } else { Outcomes::Counted };
        match stream {
            Stream::Attempts => {}
            Stream::Approved => self.approved = self.approved.max(outcomes),
            Stream::Declined => self.declined = self.declined.max(outcomes),
            Stream::Labels => self.labels = true,
        }
    }

    /// How much is remembered of an outcome.
    pub const fn outcomes(self, stream: OutcomeStream) -> Outcomes {
        match stream {
            OutcomeStream::Approved => self.approved,
            OutcomeStream::Declined => self.declined,
        }
    }

    const fn holds(self, stream: Stream, amounts: bool) -> bool {
        let outcomes = match stream {
            Stream::Attempts => return true,
            Stream::Labels => return self.labels,
            Stream::Approved => self.approved,
            Stream::Declined => self.declined,
        };
        match outcomes {
            Outcomes::Forgotten => false,
            Outcomes::Counted => !amounts,
            Outcomes::WithAmounts => true,
        }
    }

    fn covers(self, asked: Self) -> bool {
        self.approved >= asked.approved
            && self.declined >= asked.declined
            && self.labels >= asked.labels
            && self.places >= asked.places
    }
}

/// A field whose different values are counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttributeLayout {
    /// The name of the field, such as `device.ip`.
    pub name: Box<str>,
    /// The longest window that its values may be counted over, 1 ms up to the entity's longest.
    pub longest_window: Duration,
}

/// What is remembered for one entity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntityLayout {
    /// The name in the catalogue, such as `card`. Not empty, unique in the layout.
    pub name: Box<str>,
    /// Most keys held, 1 to `KEYS_MAX`.
    pub keys_max: usize,
    /// How far back the last attempt is looked for; 1 ms to `SPAN_MAX`.
    pub ttl: Duration,
    /// The longest window that a plan may read, 1 ms to `SPAN_MAX`. Events are kept for twice as long, so that one that comes
    /// late by up to this much finds all that it has to see.
    pub longest_window: Duration,
    /// What distinct counts may be taken over; at most `ATTRIBUTES_PER_ENTITY_MAX`, no name twice.
    pub attributes: Box<[AttributeLayout]>,
    /// What else is remembered.
    pub streams: Streams,
}

impl EntityLayout {
    /// Whether what a read of `stream` needs is remembered.
    pub(crate) fn holds(&self, stream: Stream, amounts: bool) -> bool {
        self.streams.holds(stream, amounts)
    }
}

/// What a store remembers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layout {
    /// The entities; a key's or plan's entity number is the position in this list. At most `ENTITIES_MAX`.
    pub entities: Box<[EntityLayout]>,
}

/// Why a layout cannot be kept.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Above `ENTITIES_MAX`.
    #[error("{0} entities; at most {ENTITIES_MAX} can be counted for")]
    TooManyEntities(usize),
    /// An empty or repeated name.
    #[error("entity {name:?} at position {position} needs a name of its own")]
    EntityName {
        /// The name.
        name: Box<str>,
        /// Where it stands, from 0.
        position: usize,
    },
    /// `keys_max` out of range.
    #[error("entity {entity}: max_keys is {keys_max}; give 1 to {KEYS_MAX}")]
    KeysMax {
        /// The entity's name.
        entity: Box<str>,
        /// What was asked for.
        keys_max: usize,
    },
    /// A length of time out of range.
    #[error("entity {entity}: {what} is {span:?}; give 1 ms to 400 days")]
    Span {
        /// The entity's name.
        entity: Box<str>,
        /// `ttl` or `longest window`.
        what: &'static str,
        /// What was asked for.
        span: Duration,
    },
    /// Above `ATTRIBUTES_PER_ENTITY_MAX`.
    #[error(
        "entity {entity}: distinct counts over {attributes} fields; at most {ATTRIBUTES_PER_ENTITY_MAX} are possible"
    )]
    TooManyAttributes {
        /// The entity's name.
        entity: Box<str>,
        /// How many.
        attributes: usize,
    },
    /// One attribute twice.
    #[error("entity {entity}: attribute {attribute} is listed twice")]
    AttributeTwice {
        /// The entity's name.
        entity: Box<str>,
        /// The attribute's name.
        attribute: Box<str>,
    },
}

impl Layout {
    /// Whether every bound is kept. `Plan::compile` asks first, so that nothing reads a store with a layout out of bounds.
    pub fn check(&self) -> Result<(), LayoutError> {
        if self.entities.len() > ENTITIES_MAX {
            return Err(LayoutError::TooManyEntities(self.entities.len()));
        }
        for (position, entity) in self.entities.iter().enumerate() {
            let name = &entity.name;
            if name.is_empty() || self.entities[..position].iter().any(|earlier| earlier.name == *name) {
                return Err(LayoutError::EntityName { name: name.clone(), position });
            }
            if !(1..=KEYS_MAX).contains(&entity.keys_max) {
                return Err(LayoutError::KeysMax { entity: name.clone(), keys_max: entity.keys_max });
            }
            for (what, span) in [("ttl", entity.ttl), ("longest window", entity.longest_window)] {
                if span > SPAN_MAX || span < Duration::from_millis(1) {
                    return Err(LayoutError::Span { entity: name.clone(), what, span });
                }
            }
            let attributes = &entity.attributes;
            if attributes.len() > ATTRIBUTES_PER_ENTITY_MAX {
                return Err(LayoutError::TooManyAttributes {
                    entity: name.clone(),
                    attributes: attributes.len(),
                });
            }
            for (position, attribute) in attributes.iter().enumerate() {
                if attributes[..position].iter().any(|earlier| earlier.name == attribute.name) {
                    return Err(LayoutError::AttributeTwice {
                        entity: name.clone(),
                        attribute: attribute.name.clone(),
                    });
                }
                let span = attribute.longest_window;
                if span > entity.longest_window || span < Duration::from_millis(1) {
                    let what = "longest window of an attribute";
                    return Err(LayoutError::Span { entity: name.clone(), what, span });
                }
            }
        }
        Ok(())
    }

    /// Where the entity's attributes begin in `Attempt::attributes`: they lie there entity after entity, in this order. For
    /// an entity past the end: the number of all attributes.
    pub fn attribute_offset(&self, entity: usize) -> usize {
        self.entities.iter().take(entity).map(|entity| entity.attributes.len()).sum()
    }

    /// The number of attributes of all entities: the length of `Attempt::attributes`.
    pub fn attributes(&self) -> usize {
        self.attribute_offset(self.entities.len())
    }

    /// The number of the entity with that name.
    pub fn entity_position(&self, name: &str) -> Option<u8> {
        let position = self.entities.iter().position(|entity| *entity.name == *name)?;
        u8::try_from(position).ok()
    }

    /// The number of an attribute within its entity.
    pub fn attribute_position(&self, entity: u8, attribute: &str) -> Option<u8> {
        let attributes = &self.entities.get(usize::from(entity))?.attributes;
        u8::try_from(attributes.iter().position(|known| *known.name == *attribute)?).ok()
    }

    /// Whether a store with this layout remembers all that `other` asks for: by name every entity, with at least its keys, time to live,
    /// windows, attributes and streams. Then a policy made for `other` can run on the store without losing history, with its
    /// plans compiled and its attempts extracted by *this* layout. The layout does not know which fields make up a key: the
    /// caller must see to it that equal names mean equal keys.
    pub fn covers(&self, other: &Self) -> bool {
        other.entities.iter().all(|asked| {
            self.entities.iter().find(|held| held.name == asked.name).is_some_and(|held| {
                held.keys_max >= asked.keys_max
                    && held.ttl >= asked.ttl
                    && held.longest_window >= asked.longest_window
                    && held.streams.covers(asked.streams)
                    && asked.attributes.iter().all(|asked| {
                        held.attributes.iter().any(|held| {
                            held.name == asked.name && held.longest_window >= asked.longest_window
                        })
                    })
            })
        })
    }
}

/// Whole milliseconds of a length of time, held at the largest.
pub(crate) fn millis(span: Duration) -> i64 {
    // Held far from the ends of i64, so that adding or doubling a span and an event time cannot overflow.
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(name: &str, attributes: &[&str]) -> EntityLayout {
        EntityLayout {
            name: name.into(),
            keys_max: 1_000,
            ttl: Duration::from_secs(3_600),
            longest_window: Duration::from_secs(600),
            attributes: attributes
                .iter()
                .map(|&name| AttributeLayout { name: name.into(), longest_window: Duration::from_secs(60) })
                .collect(),
            streams: Streams { approved: Outcomes::Counted, ..Streams::ATTEMPTS },
        }
    }

    fn layout(entities: Vec<EntityLayout>) -> Layout {
        Layout { entities: entities.into() }
    }

    #[test]
    fn attributes_lie_entity_after_entity() {
        let layout = layout(vec![entity("card", &["ip", "device"]), entity("ip", &[]), entity("c", &["x"])]);
        assert_eq!([0, 1, 2, 3, 9].map(|entity| layout.attribute_offset(entity)), [0, 2, 2, 3, 3]);
        assert_eq!(layout.attributes(), 3);
        assert_eq!(layout.entity_position("c"), Some(2));
        assert_eq!(layout.attribute_position(0, "device"), Some(1));
        assert_eq!(layout.attribute_position(1, "device"), None);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let changed = |change: fn(&mut EntityLayout)| {
            let mut card = entity("card", &["ip"]);
            change(&mut card);
            layout(vec![card]).check()
        };
        assert_eq!(changed(|_| {}), Ok(()));
        assert!(matches!(changed(|card| card.name = "".into()), Err(LayoutError::EntityName { .. })));
        assert!(matches!(changed(|card| card.keys_max = 0), Err(LayoutError::KeysMax { .. })));
        assert!(matches!(changed(|card| card.ttl = Duration::ZERO), Err(LayoutError::Span { .. })));
        assert!(matches!(changed(|card| card.longest_window = Duration::MAX), Err(LayoutError::Span { .. })));
        let twice = layout(vec![entity("card", &["ip", "ip"])]).check();
        assert!(matches!(twice, Err(LayoutError::AttributeTwice { .. })));
        let longer = changed(|card| card.attributes[0].longest_window = Duration::from_secs(601));
        assert!(matches!(longer, Err(LayoutError::Span { .. })));
        let same = layout(vec![entity("card", &[]), entity("card", &[])]).check();
        assert!(matches!(same, Err(LayoutError::EntityName { position: 1, .. })));
        let many = layout((0..33).map(|number| entity(&format!("e{number}"), &[])).collect()).check();
        assert_eq!(many, Err(LayoutError::TooManyEntities(33)));
    }

    #[test]
    fn a_layout_covers_what_asks_for_no_more() {
        let held = layout(vec![entity("card", &["ip", "device"]), entity("ip", &[])]);
        let mut longer = entity("ip", &[]);
        longer.longest_window = Duration::from_secs(601);
        let with = |change: fn(&mut EntityLayout)| {
            let mut card = entity("card", &["ip"]);
            change(&mut card);
            layout(vec![card])
        };
        let cases = [
            (with(|_| {}), true),
            (with(|card| card.streams = Streams::ATTEMPTS), true),
            (with(|card| card.streams.labels = true), false),
            (with(|card| card.streams.places = true), false),
            (with(|card| card.streams.approved = Outcomes::WithAmounts), false),
            (with(|card| card.attributes[0].longest_window = Duration::from_secs(61)), false),
            (layout(vec![entity("ip", &[]), entity("card", &["device"])]), true),
            (layout(vec![]), true),
            (layout(vec![entity("device", &[])]), false),
            (layout(vec![entity("card", &["merchant"])]), false),
            (layout(vec![longer]), false),
        ];
        for (asked, expected) in cases {
            assert_eq!(held.covers(&asked), expected, "{asked:?}");
        }
    }
}
