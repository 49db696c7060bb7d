//! One transaction's features: a number for each slot of the catalogue, with NaN for what is missing, and the texts beside.

use smallvec::SmallVec;

use crate::domain::value::{Value, ValueType};

/// The features of one transaction, in catalogue order. Two vectors are the same when every bit is.
#[derive(Clone, Debug)]
pub struct FeatureVector {
    numbers: Box<[f64]>,
    texts: SmallVec<[(u16, Box<str>); 4]>,
}

impl FeatureVector {
    /// All missing.
    pub fn missing(count: usize) -> Self {
        Self { numbers: vec![f64::NAN; count].into(), texts: SmallVec::new() }
    }

    /// As a record keeps it.
    pub fn recorded(numbers: &[Option<f64>], texts: &[(u16, Box<str>)]) -> Self {
        Self {
            numbers: numbers.iter().map(|number| number.unwrap_or(f64::NAN)).collect(),
            texts: texts.iter().cloned().collect(),
        }
    }

    /// Of numbers, with NaN for what is missing, and texts by slot.
    pub fn of(numbers: &[f64], texts: Vec<(u16, Box<str>)>) -> Self {
        Self { numbers: numbers.into(), texts: texts.into() }
    }

    /// The numbers; NaN is missing, and so is every text.
    pub fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// The numbers, with nothing where one is missing: how a record keeps them.
    pub fn numbers_or_null(&self) -> Vec<Option<f64>> {
        self.numbers.iter().map(|number| (!number.is_nan()).then_some(*number)).collect()
    }

    /// The texts, by slot.
    pub fn texts(&self) -> Vec<(u16, Box<str>)> {
        self.texts.to_vec()
    }

    /// The numbers, for those who fill them.
    pub fn numbers_mut(&mut self) -> &mut [f64] {
        &mut self.numbers
    }

    /// Sets a slot to a value.
    pub fn set(&mut self, slot: usize, value: Value<'_>) {
        self.numbers[slot] = value.as_f64();
        if let (Value::Text(text), Ok(slot)) = (value, u16::try_from(slot)) {
            self.texts.retain(|(known, _)| *known != slot);
            self.texts.push((slot, text.into()));
        }
    }

    /// The value in a slot whose type is `value_type`.
    #[expect(clippy::cast_possible_truncation, reason = "an int feature is a count far below 2^53")]
    pub fn get(&self, slot: usize, value_type: ValueType) -> Value<'_> {
        if value_type == ValueType::Text {
            let found = self.texts.iter().find(|(known, _)| usize::from(*known) == slot);
            return Value::from_text(found.map(|(_, text)| &**text));
        }
        let number = self.numbers[slot];
        match value_type {
            _ if number.is_nan() => Value::Missing,
            ValueType::Bool => Value::Bool(number != 0.0),
            ValueType::Int => Value::Int(number as i64),
            _ => Value::Double(number),
        }
    }
}

impl PartialEq for FeatureVector {
    fn eq(&self, other: &Self) -> bool {
        fn bits(numbers: &[f64]) -> impl Iterator<Item = u64> {
            numbers.iter().map(|number| number.to_bits())
        }
        bits(&self.numbers).eq(bits(&other.numbers)) && self.texts == other.texts
    }
}
