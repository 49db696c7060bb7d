//! Leaves: the simple conditions that an index decides by a column's key, and opaque ones that only their node decides.

use crate::expr::index::column::{Kind, MISSING, double_key, int_key};
use crate::expr::node::{BoolNode, Comparison, DoubleNode, IntNode, TextNode, TimeNode};
use crate::expr::schema::Slot;

/// One condition that holds or does not; missing is "does not".
#[derive(Clone, Debug)]
pub(super) enum Leaf<'n> {
    /// The key lies from `lo` to `hi`; or, inverted, is there and does not.
    Range { slot: Slot, kind: Kind, range: Range },
    /// The text is one of these; or, inverted, is there and none of them.
    Texts { slot: Slot, texts: Vec<&'n str>, inverted: bool },
    /// The node comes to `wanted`.
    Opaque { node: &'n BoolNode, wanted: bool },
}

/// Keys from `lo` to `hi`, both included, or all others but `MISSING`. `lo` is above `MISSING`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) lo: i64,
    pub(super) hi: i64,
    pub(super) inverted: bool,
}

impl Range {
    pub(super) const fn of(lo: i64, hi: i64) -> Self {
        Self { lo, hi, inverted: false }
    }

    /// The keys for which `key comparison bound` holds, where the next key is the next value.
    fn comparing(comparison: Comparison, bound: i64) -> Self {
        let (lowest, highest) = (MISSING + 1, i64::MAX);
        match comparison {
            Comparison::Equal => Self::of(bound, bound),
            Comparison::NotEqual => Self { lo: bound, hi: bound, inverted: true },
            Comparison::Less => Self::of(lowest, bound.saturating_sub(1)),
            Comparison::LessEqual => Self::of(lowest, bound),
            Comparison::Greater => Self::of(bound.saturating_add(1), highest),
            Comparison::GreaterEqual => Self::of(bound, highest),
        }
    }

    /// No key at all.
    pub(super) const fn is_empty(self) -> bool {
        self.lo > self.hi && !self.inverted
    }
}

/// Bounds of `int`s and moments beyond these are left to their node, so that no key stands for two values that differ.
const BOUND_MAX: i64 = i64::MAX - 8;

impl<'n> Leaf<'n> {
    /// What it takes for `node` to come to `wanted`.
    pub(super) fn of(node: &'n BoolNode, wanted: bool) -> Self {
        Self::simple(node, wanted).unwrap_or(Self::Opaque { node, wanted })
    }

    fn simple(node: &'n BoolNode, wanted: bool) -> Option<Self> {
        let range = |slot: Slot, kind: Kind, range: Range| Some(Self::Range { slot, kind, range });
        match node {
            BoolNode::Slot(slot) => range(*slot, Kind::Bool, Range::of(i64::from(wanted), i64::from(wanted))),
            BoolNode::Has(slot) => {
                range(*slot, Kind::Presence, Range::of(i64::from(wanted), i64::from(wanted)))
            }
            BoolNode::CompareInt(comparison, sides) => {
                let (slot, bound, comparison) = match &**sides {
                    (IntNode::Slot(slot), IntNode::Const(bound)) => (slot, bound, *comparison),
                    (IntNode::Const(bound), IntNode::Slot(slot)) => (slot, bound, comparison.swapped()),
                    _ => return None,
                };
                let bound = Some(*bound).filter(|bound| (-BOUND_MAX..=BOUND_MAX).contains(bound))?;
                range(*slot, Kind::Int, Range::comparing(asked(comparison, wanted), int_key(bound)))
            }
            BoolNode::CompareDouble(comparison, sides) => {
                let (slot, bound, comparison) = match &**sides {
                    (DoubleNode::Slot(slot), DoubleNode::Const(bound)) => (slot, bound, *comparison),
                    (DoubleNode::Const(bound), DoubleNode::Slot(slot)) => (slot, bound, comparison.swapped()),
                    _ => return None,
                };
                let bound = Some(*bound).filter(|bound| bound.is_finite())?;
                range(*slot, Kind::Double, Range::comparing(asked(comparison, wanted), double_key(bound)))
            }
            BoolNode::CompareTime(comparison, sides) => {
                let (slot, bound, comparison) = match &**sides {
                    (TimeNode::Slot(slot), TimeNode::Const(bound)) => (slot, bound, *comparison),
                    (TimeNode::Const(bound), TimeNode::Slot(slot)) => (slot, bound, comparison.swapped()),
                    _ => return None,
                };
                // Moments of transactions are whole milliseconds; a finer bound lies between two keys.
                let millis = (bound.as_nanosecond() % 1_000_000 == 0).then(|| bound.as_millisecond())?;
                range(*slot, Kind::Time, Range::comparing(asked(comparison, wanted), millis))
            }
            BoolNode::CompareText(comparison, sides) => {
                let (slot, text) = match &**sides {
                    (TextNode::Slot(slot), TextNode::Const(text))
                    | (TextNode::Const(text), TextNode::Slot(slot)) => (slot, text),
                    _ => return None,
                };
                let inverted = match asked(*comparison, wanted) {
                    Comparison::Equal => false,
                    Comparison::NotEqual => true,
                    _ => return None,
                };
                Some(Self::Texts { slot: *slot, texts: vec![text], inverted })
            }
            BoolNode::TextIn(sides) => match &**sides {
                (TextNode::Slot(slot), texts) => {
                    let texts = texts.iter().map(|text| &**text).collect();
                    Some(Self::Texts { slot: *slot, texts, inverted: !wanted })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// The comparison that holds when this one comes to `wanted`.
fn asked(comparison: Comparison, wanted: bool) -> Comparison {
    if wanted { comparison } else { comparison.opposite() }
}
