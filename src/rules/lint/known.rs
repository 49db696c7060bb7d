//! What is known of names before any condition asks.

use std::collections::{BTreeSet, HashMap};

use crate::domain::value::ValueType;
use crate::expr::index::column::double_key;
use crate::expr::schema::{Schema, Slot};
use crate::rules::lint::allowed::{Keys, Kind};

/// Beyond this an `int` and the nearest double can differ.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What is known of names before any condition asks.
#[derive(Debug, Default)]
pub(super) struct Known {
    always_there: BTreeSet<Slot>,
    /// Names whose type does not depend on the transaction, as that of metadata does.
    typed: BTreeSet<Slot>,
    ranges: HashMap<Slot, (Kind, Keys)>,
}

impl Known {
    /// Of a schema, and of ranges that the values of some names never leave.
    pub(super) fn new<'a>(
        schema: &Schema,
        ranges: impl IntoIterator<Item = &'a (Box<str>, f64, f64)>,
    ) -> Self {
        let mut known = Self::default();
        let mut by_name = HashMap::new();
        for (name, binding) in schema.names() {
            by_name.insert(name, binding);
            known.typed.insert(binding.slot);
            if !binding.nullable {
                known.always_there.insert(binding.slot);
            }
        }
        for (name, lo, hi) in ranges {
            let Some(binding) = by_name.get(&**name) else { continue };
            let range = match binding.value_type {
                Some(ValueType::Double) => (Kind::Double, Keys::range(double_key(*lo), double_key(*hi))),
                Some(ValueType::Int) => match (above(*lo, true), below(*hi, true)) {
                    (Some(lo), Some(hi)) => (Kind::Int, Keys::range(lo, hi)),
                    _ => continue,
                },
                _ => continue,
            };
            known.ranges.insert(binding.slot, range);
        }
        known
    }

    pub(super) fn is_always_there(&self, slot: Slot) -> bool {
        self.always_there.contains(&slot)
    }

    /// Whether its type does not depend on the transaction.
    pub(super) fn is_typed(&self, slot: Slot) -> bool {
        self.typed.contains(&slot)
    }

    /// Every key that a value of the name can have.
    pub(super) fn every(&self, slot: Slot, kind: Kind) -> Keys {
        let every = Keys::range(whole_range(kind).0, whole_range(kind).1);
        match self.ranges.get(&slot) {
            Some((of, range)) if *of == kind => range.intersection(&every),
            _ => every,
        }
    }
}

pub(super) fn whole_range(kind: Kind) -> (i64, i64) {
    match kind {
        Kind::Bool => (0, 1),
        Kind::Int | Kind::Time => (i64::MIN, i64::MAX),
        Kind::Double => (double_key(f64::NEG_INFINITY), double_key(f64::INFINITY)),
    }
}

/// The first whole number above `bound` (or at it), where doubles are exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(super) fn above(bound: f64, or_equal: bool) -> Option<i64> {
    if bound == f64::NEG_INFINITY {
        return Some(i64::MIN);
    }
    let next = if or_equal { bound.ceil() } else { bound.floor() + 1.0 };
    (next.abs() < EXACT_MAX).then_some(next as i64)
}

/// The last whole number below `bound` (or at it), where doubles are exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(super) fn below(bound: f64, or_equal: bool) -> Option<i64> {
    if bound == f64::INFINITY {
        return Some(i64::MAX);
    }
    let next = if or_equal { bound.floor() } else { bound.ceil() - 1.0 };
    (next.abs() < EXACT_MAX).then_some(next as i64)
}
