//! What an expression can see of one transaction: its own fields, its features, and its metadata.

use crate::domain::field::{FIELDS, metadata_value};
use crate::domain::ip_facts::{IP_FIELDS, IpFacts};
use crate::domain::transaction::Transaction;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, SchemaError, Slot};
use crate::feature::vector::FeatureVector;

/// The slot of the first name of what is known of the address; the transaction's fields stand before it.
pub const IP_SLOT_FIRST: u32 = 500;
/// The slot of the score.
pub const SCORE_SLOT: Slot = Slot(999);
/// The slot of the catalogue's first feature; the transaction's fields stand before it.
pub const FEATURE_SLOT_FIRST: u32 = 1_000;
/// The slot of the first metadata key.
pub const METADATA_SLOT_FIRST: Slot = Slot(1_000_000);

/// A schema with the transaction's own fields, and what is known of its address. The latter are no features: a catalogue makes one
/// of them with `expr`, so that a model that was trained before they were there keeps its catalogue.
pub fn transaction_schema() -> Result<Schema, SchemaError> {
    let mut schema = Schema::new(METADATA_SLOT_FIRST);
    for (slot, (_, name, value_type)) in (0..).zip(FIELDS) {
        let always_there =
            matches!(name, "transaction_id" | "occurred_at" | "amount" | "amount_minor" | "currency");
        schema.add(name, value_type, Slot(slot), !always_there)?;
    }
    for (slot, (_, name, value_type)) in (IP_SLOT_FIRST..).zip(IP_FIELDS) {
        schema.add(name, value_type, Slot(slot), true)?;
    }
    Ok(schema)
}

/// The slot of feature number `feature`.
pub fn feature_slot(feature: usize) -> Slot {
    Slot(FEATURE_SLOT_FIRST.saturating_add(u32::try_from(feature).unwrap_or(u32::MAX)))
}

/// One transaction and its features.
#[derive(Clone, Copy, Debug)]
pub struct TransactionFacts<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// What is known of its address.
    pub ip: Option<&'a IpFacts>,
    /// Its features, as far as they are there yet.
    pub features: &'a FeatureVector,
    /// The types of the features, by slot.
    pub feature_types: &'a [ValueType],
    /// The metadata keys that the expressions read, in the order of their slots.
    pub metadata_keys: &'a [Box<str>],
}

impl Facts for TransactionFacts<'_> {
    fn value(&self, slot: Slot) -> Value<'_> {
        if slot >= METADATA_SLOT_FIRST {
            let key = self.metadata_keys.get((slot.0 - METADATA_SLOT_FIRST.0) as usize);
            return key.map_or(Value::Missing, |key| metadata_value(self.transaction, key));
        }
        if slot.0 >= FEATURE_SLOT_FIRST {
            let feature = (slot.0 - FEATURE_SLOT_FIRST) as usize;
            return match self.feature_types.get(feature) {
                Some(value_type) => self.features.get(feature, *value_type),
                None => Value::Missing,
            };
        }
        if slot.0 >= IP_SLOT_FIRST {
            let field = IP_FIELDS.get((slot.0 - IP_SLOT_FIRST) as usize);
            return field.zip(self.ip).map_or(Value::Missing, |((field, _, _), facts)| field.of(facts));
        }
        FIELDS.get(slot.0 as usize).map_or(Value::Missing, |(field, _, _)| field.of(self.transaction))
    }

    fn in_list(&self, _list: usize, _value: Value<'_>) -> bool {
        false // the catalogue's schema has no lists, so that no expression here can name one
    }
}
