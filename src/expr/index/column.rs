//! Columns: what a slot holds as one whole number, so that every simple comparison is one of numbers.

use crate::domain::value::Value;
use crate::expr::node::double;
use crate::expr::program::Facts;
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

/// All columns, those of one kind beside each other: a loop over one kind does not ask for the kind.
#[derive(Debug, Default)]
pub(super) struct Columns {
    all: Box<[Column]>,
    /// The columns of each kind, in the order of the kinds.
    of_kind: Vec<(Kind, std::ops::Range<usize>)>,
}

impl Columns {
    /// These columns, in the order of their kinds.
    pub(super) fn new(mut all: Vec<Column>) -> Self {
        all.sort_by_key(|column| (column.kind, column.slot));
        let mut of_kind = Vec::new();
        let mut start = 0;
        for columns in all.chunk_by(|a, b| a.kind == b.kind) {
            of_kind.push((columns[0].kind, start..start + columns.len()));
            start += columns.len();
        }
        Self { all: all.into(), of_kind }
    }

    /// The columns, by number.
    pub(super) fn all(&self) -> &[Column] {
        &self.all
    }

    /// The keys of all columns, by number.
    pub(super) fn keys<F: Facts + ?Sized>(&self, facts: &F, keys: &mut Vec<i64>) {
        keys.clear();
        for (kind, columns) in &self.of_kind {
            let columns = self.all[columns.clone()].iter();
            let values = columns.map(|column| (column, facts.value(column.slot)));
            match kind {
                Kind::Nothing => keys.extend(values.map(|_| 0)),
                Kind::Presence => keys.extend(values.map(|(_, value)| i64::from(value.is_present()))),
                Kind::Int => keys.extend(values.map(|(_, value)| match value {
                    Value::Int(number) => int_key(number),
                    _ => MISSING,
                })),
                Kind::Double => keys.extend(values.map(|(_, value)| match value {
                    Value::Double(number) => double_key(number),
                    Value::Int(number) => double_key(double(number)),
                    _ => MISSING,
                })),
                Kind::Bool => keys.extend(values.map(|(_, value)| match value {
                    Value::Bool(flag) => i64::from(flag),
                    _ => MISSING,
                })),
                Kind::Time => keys.extend(values.map(|(_, value)| match value {
                    Value::Time(time) => time.unix_millis(),
                    _ => MISSING,
                })),
                Kind::Text => keys.extend(values.map(|(column, value)| match value {
                    Value::Text(text) => column.texts.position(text).unwrap_or(OTHER_TEXT),
                    _ => MISSING,
                })),
            }
        }
    }
}

/// An `int` as a key.
#[inline]
pub(super) fn int_key(number: i64) -> i64 {
    number.max(MISSING + 1)
}

/// A number as a key: in the order of the numbers, both zeros alike, and between the keys of two neighbours no other number's.
/// NaN is missing.
#[inline]
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
    heads: Box<[i64]>,
    lengths: Box<[usize]>,
    texts: Box<[Box<str>]>,
}

/// So many heads are counted through rather than searched: a loop without branches is over before the first wrong guess.
const COUNTED_HEADS_MAX: usize = 32;

impl TextTable {
    /// Of these texts.
    pub(super) fn new(mut texts: Vec<Box<str>>) -> Self {
        texts.sort();
        texts.dedup();
        Self {
            heads: texts.iter().map(|text| head(text)).collect(),
            lengths: texts.iter().map(|text| text.len()).collect(),
            texts: texts.into(),
        }
    }

    /// Where a text stands, if it does.
    #[inline]
    pub(super) fn position(&self, text: &str) -> Option<i64> {
        let head = head(text);
        let mut at = if self.heads.len() <= COUNTED_HEADS_MAX {
            self.heads.iter().filter(|known| **known < head).count()
        } else {
            self.heads.partition_point(|known| *known < head)
        };
        // Few texts begin alike, and a short one is its head and its length.
        while self.heads.get(at) == Some(&head) {
            if self.lengths[at] == text.len() && (text.len() <= HEAD_BYTES || *self.texts[at] == *text) {
                return i64::try_from(at).ok();
            }
            at += 1;
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

/// How much of a text is its head.
const HEAD_BYTES: usize = 8;

/// The first eight bytes, in their order; what is missing to eight counts as zeros.
#[inline]
fn head(text: &str) -> i64 {
    let bytes = text.as_bytes();
    let head = match bytes.first_chunk::<HEAD_BYTES>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let read = bytes.iter().fold(0, |head, byte| head << 8 | u64::from(*byte));
            read.checked_shl(8 * (8 - u32::try_from(bytes.len()).unwrap_or(8))).unwrap_or(0)
        }
    };
    (head ^ 1 << 63).cast_signed() // as signed numbers in the same order
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
