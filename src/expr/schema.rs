//! The names that an expression may use: their types, and the slots that stand for them when it runs.

use std::collections::HashMap;

use thiserror::Error;

use crate::domain::limits::METADATA_KEY_BYTES_MAX;
use crate::domain::value::ValueType;
use crate::expr::suggest::nearest;

/// Most distinct `metadata.*` keys that the expressions of one schema may read.
pub const METADATA_KEYS_MAX: usize = 256;
/// Most names of one schema.
pub const NAMES_MAX: usize = 100_000;
/// What the names of the gateway's own fields begin with.
pub const METADATA_PREFIX: &str = "metadata.";

/// Where a value stands. The number means what the maker of the schema says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Its type; `None` for metadata, whose type is known only when a transaction is there.
    pub value_type: Option<ValueType>,
    /// Where its value stands.
    pub slot: Slot,
    /// Whether it can be missing.
    pub nullable: bool,
}

/// Why a schema cannot be built.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// Two names are the same.
    #[error("the name `{0}` is declared twice")]
    Duplicate(String),
    /// Not of the form `name` or `entity.name`.
    #[error(
        "`{0}` is no name: write letters, digits and _ in parts joined by dots, each part beginning with a letter"
    )]
    Malformed(String),
    /// `metadata` belongs to the transaction.
    #[error("`{0}` begins with `metadata`, which is kept for the transaction's own fields")]
    Reserved(String),
    /// Too many.
    #[error("more than {NAMES_MAX} names")]
    TooMany,
}

/// Names with types and slots, the lists, and the metadata keys that expressions asked for so far.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    names: HashMap<Box<str>, Binding>,
    lists: Vec<Box<str>>,
    metadata_slot_first: u32,
    metadata_keys: Vec<Box<str>>,
}

impl Schema {
    /// An empty schema. The first metadata key that an expression reads gets the slot `metadata_slot_first`, the second
    /// the next, and so on: choose it behind every other slot.
    pub fn new(metadata_slot_first: Slot) -> Self {
        Self { metadata_slot_first: metadata_slot_first.0, ..Self::default() }
    }

    /// Declares a name.
    pub fn add(
        &mut self,
        name: &str,
        value_type: ValueType,
        slot: Slot,
        nullable: bool,
    ) -> Result<(), SchemaError> {
        if !is_name(name) {
            return Err(SchemaError::Malformed(name.to_owned()));
        }
        if name == "metadata" || name.starts_with(METADATA_PREFIX) {
            return Err(SchemaError::Reserved(name.to_owned()));
        }
        if self.names.len() >= NAMES_MAX {
            return Err(SchemaError::TooMany);
        }
        match self.names.insert(name.into(), Binding { value_type: Some(value_type), slot, nullable }) {
            None => Ok(()),
            Some(_) => Err(SchemaError::Duplicate(name.to_owned())),
        }
    }

    /// Says which lists `in_list` may name; a list's position is the number that `Facts::in_list` gets.
    pub fn set_lists<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.lists = names.into_iter().map(Box::from).collect();
    }

    /// The number of a list.
    pub fn list(&self, name: &str) -> Option<usize> {
        self.lists.iter().position(|known| &**known == name)
    }

    /// A known list with a name close to `wrong`.
    pub fn nearest_list(&self, wrong: &str) -> Option<String> {
        nearest(wrong, self.lists.iter().map(|name| &**name))
    }

    /// What a name stands for; a new metadata key takes the next slot. `None` when the name is unknown, or when it is one
    /// metadata key too many.
    pub fn resolve(&mut self, name: &str) -> Option<Binding> {
        if let Some(binding) = self.names.get(name) {
            return Some(*binding);
        }
        let key = name.strip_prefix(METADATA_PREFIX)?;
        if key.is_empty() || key.len() > METADATA_KEY_BYTES_MAX {
            return None;
        }
        let position = match self.metadata_keys.iter().position(|known| &**known == key) {
            Some(position) => position,
            None if self.metadata_keys.len() < METADATA_KEYS_MAX => {
                self.metadata_keys.push(key.into());
                self.metadata_keys.len() - 1
            }
            None => return None,
        };
        let slot = Slot(self.metadata_slot_first.saturating_add(u32::try_from(position).unwrap_or(u32::MAX)));
        Some(Binding { value_type: None, slot, nullable: true })
    }

    /// A known name close to `wrong`.
    pub fn nearest_name(&self, wrong: &str) -> Option<String> {
        nearest(wrong, self.names.keys().map(|name| &**name))
    }

    /// Whether some known name lies below `prefix`, as `card.count_5m` lies below `card`.
    pub fn has_names_below(&self, prefix: &str) -> bool {
        self.names.keys().any(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The metadata keys that expressions asked for, each with its slot, in the order of their slots.
    pub fn metadata_keys(&self) -> impl Iterator<Item = (&str, Slot)> {
        (self.metadata_slot_first..).zip(&self.metadata_keys).map(|(slot, key)| (&**key, Slot(slot)))
    }

    /// Every declared name with its binding, in no order.
    pub fn names(&self) -> impl Iterator<Item = (&str, Binding)> {
        self.names.iter().map(|(name, binding)| (&**name, *binding))
    }
}

fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_declared_once_and_well_formed() {
        let mut schema = Schema::new(Slot(100));
        assert_eq!(schema.add("card.count_5m", ValueType::Int, Slot(0), true), Ok(()));
        let cases = [
            ("card.count_5m", SchemaError::Duplicate("card.count_5m".to_owned())),
            ("card..x", SchemaError::Malformed("card..x".to_owned())),
            ("5m", SchemaError::Malformed("5m".to_owned())),
            ("metadata.x", SchemaError::Reserved("metadata.x".to_owned())),
        ];
        for (name, expected) in cases {
            assert_eq!(schema.add(name, ValueType::Int, Slot(1), true), Err(expected), "{name}");
        }
    }

    #[test]
    fn metadata_keys_get_slots_on_demand() {
        let mut schema = Schema::new(Slot(100));
        let slots: Vec<_> = ["metadata.a", "metadata.b", "metadata.a"]
            .into_iter()
            .map(|name| schema.resolve(name).map(|binding| binding.slot))
            .collect();
        assert_eq!(slots, [Some(Slot(100)), Some(Slot(101)), Some(Slot(100))]);
        assert_eq!(schema.metadata_keys().collect::<Vec<_>>(), [("a", Slot(100)), ("b", Slot(101))]);
        assert_eq!(schema.resolve("metadata."), None);
        for key in 0..2 * METADATA_KEYS_MAX {
            schema.resolve(&format!("metadata.k{key}"));
        }
        assert_eq!(schema.metadata_keys().count(), METADATA_KEYS_MAX);
    }
}
