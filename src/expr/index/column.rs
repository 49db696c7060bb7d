//! Columns: what a slot holds as one whole number, so that every simple comparison is one of numbers.

use crate::domain::value::Value;
use crate::expr::node::double;
use crate::expr::schema::Slot;

/// The key of what is missing: below every other one.
pub(super) const MISSING: i64 = i64::MIN;
/// The key of a text that no condition names.
const OTHER_TEXT: i64 = -1;

/// How the values of a slot become keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Kind {
    /// Always 0: what holds for it always holds.
    Nothing,
    /// `int`s themselves; the lowest two share a key, and no leaf tells them apart.
    Int,
    /// Numbers by `double_key`.
    Double,
    /// 0 and 1.
    Bool,
    /// Milliseconds since the Unix epoch.
    Time,
    /// The position among the texts that conditions name.
    Text,
    /// 1 for what is there, 0 for what is missing.
    Presence,
}

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) slot: Slot,
    pub(super) kind: Kind,
    /// Of a `Text`: the texts that conditions name.
    pub(super) texts: TextTable,
}

impl Column {
    /// The key of a value.
    pub(super) fn key(&self, value: Value<'_>) -> i64 {
        match (self.kind, value) {
            (Kind::Nothing, _) => 0,
            (Kind::Presence, value) => i64::from(value.is_present()),
            (Kind::Int, Value::Int(number)) => int_key(number),
            (Kind::Double, Value::Double(number)) => double_key(number),
            (Kind::Double, Value::Int(number)) => double_key(double(number)),
            (Kind::Bool, Value::Bool(flag)) => i64::from(flag),
            (Kind::Time, Value::Time(time)) => time.unix_millis(),
            (Kind::Text, Value::Text(text)) => self.texts.position(text).unwrap_or(OTHER_TEXT),
            _ => MISSING,
        }
    }
}

/// An `int` as a key.
pub(super) fn int_key(number: i64) -> i64 {
    number.max(MISSING + 1)
}

/// A number as a key: in the order of the numbers, both zeros alike, and between the keys of two neighbours no other number's.
/// NaN is missing.
pub(crate) fn double_key(number: f64) -> i64 {
    if number.is_nan() {
        return MISSING;
    }
    let bits = (number + 0.0).to_bits().cast_signed(); // -0 + 0 is 0
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// Texts in order, found without hashing: by their first eight bytes as a number.
#[derive(Debug, Default)]
pub(super) struct TextTable {
    heads: Box<[u64]>,
    texts: Box<[Box<str>]>,
}

impl TextTable {
    /// Of these texts.
    pub(super) fn new(mut texts: Vec<Box<str>>) -> Self {
        texts.sort();
        texts.dedup();
        Self { heads: texts.iter().map(|text| head(text)).collect(), texts: texts.into() }
    }

    /// Where a text stands, if it does.
    pub(super) fn position(&self, text: &str) -> Option<i64> {
        let head = head(text);
        let first = self.heads.partition_point(|known| *known < head);
        let same = self.heads[first..].iter().take_while(|known| **known == head).count();
        let within = self.texts[first..first + same].binary_search_by(|known| (**known).cmp(text)).ok()?;
        i64::try_from(first + within).ok()
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

/// The first eight bytes, in their order; what is missing to eight counts as zeros.
fn head(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut head = [0; 8];
    let length = bytes.len().min(8);
    head[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_the_numbers() {
        let numbers = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        assert!(numbers.map(double_key).is_sorted_by(|a, b| a < b));
        assert!(double_key(f64::NEG_INFINITY) > MISSING + 1);
        assert_eq!(double_key(-0.0), double_key(0.0));
        assert_eq!(double_key(f64::NAN), MISSING);
        assert_eq!(double_key(1.0) + 1, double_key(1.0_f64.next_up()));
        assert_eq!(double_key(-5e-324) + 2, double_key(0.0)); // -0 has no key of its own
    }

    #[test]
    fn texts_are_found() {
        let texts = ["", "DE", "DE\0", "US", "a long text", "a long text too", "a long "];
        let table = TextTable::new(texts.map(Box::from).to_vec());
        let mut sorted = texts.to_vec();
        sorted.sort_unstable();
        for (position, text) in (0..).zip(sorted) {
            assert_eq!(table.position(text), Some(position), "{text:?}");
        }
        for text in ["D", "DE\0\0", "a long tex", "zz", "\0"] {
            assert_eq!(table.position(text), None, "{text:?}");
        }
        assert_eq!(TextTable::default().position("x"), None);
    }
}
