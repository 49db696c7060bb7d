//! Leaves: what a simple condition leaves to one name; and the text by which any other is known.

use std::collections::BTreeSet;

use crate::expr::index::column::double_key;
use crate::expr::node::{BoolNode, Comparison, DoubleNode, IntNode, TextNode, TimeNode};
use crate::expr::schema::Slot;
use crate::rules::lint::allowed::{Allowed, Keys, Kind, Texts};
use crate::rules::lint::known::{Known, above, below, whole_range};

/// What a leaf leaves.
#[derive(Clone, Debug)]
pub(super) enum Leaf<'n> {
    Allowed { slot: Slot, allowed: Allowed<'n>, written: Box<Leaf<'n>> },
    Whole(String, bool),
}

pub(super) fn text(node: &BoolNode) -> String {
    format!("{node:?}")
}

/// A comparison that stays whole, with its sides in one order and, where no NaN can be, without a negation.
pub(super) fn turned<'n>(node: &'n BoolNode, text: String, wanted: bool) -> Leaf<'n> {
    let (kind, comparison, left, right) = match node {
        BoolNode::CompareInt(comparison, sides) => {
            ("int", *comparison, format!("{:?}", sides.0), format!("{:?}", sides.1))
        }
        BoolNode::CompareDouble(comparison, sides) => {
            ("double", *comparison, format!("{:?}", sides.0), format!("{:?}", sides.1))
        }
        BoolNode::CompareText(comparison, sides) => {
            ("text", *comparison, format!("{:?}", sides.0), format!("{:?}", sides.1))
        }
        BoolNode::CompareTime(comparison, sides) => {
            ("time", *comparison, format!("{:?}", sides.0), format!("{:?}", sides.1))
        }
        BoolNode::CompareDuration(comparison, sides) => {
            ("duration", *comparison, format!("{:?}", sides.0), format!("{:?}", sides.1))
        }
        _ => return Leaf::Whole(text, wanted),
    };
    let (comparison, wanted) =
        if !wanted && kind != "double" { (comparison.opposite(), true) } else { (comparison, wanted) };
    let (left, comparison, right) =
        if left <= right { (left, comparison, right) } else { (right, comparison.swapped(), left) };
    // Of a comparison and its opposite one is kept, so that both are seen to exclude each other.
    let is_kept = matches!(comparison, Comparison::Equal | Comparison::Less | Comparison::LessEqual);
    let (comparison, wanted) =
        if is_kept || kind == "double" { (comparison, wanted) } else { (comparison.opposite(), !wanted) };
    Leaf::Whole(format!("{kind} {left} {comparison:?} {right}"), wanted)
}

/// What the leaf leaves to one name, when that is all that it asks.
pub(super) fn simple<'n>(node: &'n BoolNode, wanted: bool, known: &Known) -> Option<(Slot, Allowed<'n>)> {
    let keys = |slot: Slot, kind: Kind, keys: Keys| {
        let every = known.every(slot, kind);
        let keys = if wanted { keys } else { keys.complement(whole_range(kind)) };
        Some((slot, Allowed::Keys(kind, keys.intersection(&every))))
    };
    let texts = |slot: Slot, texts: BTreeSet<&'n str>, inverted: bool| {
        Some((slot, Allowed::Texts(Texts { texts, inverted: inverted == wanted })))
    };
    match node {
        BoolNode::Slot(slot) => keys(*slot, Kind::Bool, Keys::range(1, 1)),
        BoolNode::Has(slot) => Some((*slot, if wanted { Allowed::Present } else { Allowed::Missing })),
        BoolNode::CompareInt(comparison, sides) => {
            let (slot, bound, comparison) = match (&sides.0, &sides.1) {
                (IntNode::Slot(slot), bound) => (*slot, int(bound)?, *comparison),
                (bound, IntNode::Slot(slot)) => (*slot, int(bound)?, comparison.swapped()),
                _ => return None,
            };
            keys(slot, Kind::Int, compared(comparison, bound, whole_range(Kind::Int)))
        }
        BoolNode::CompareDouble(comparison, sides) => {
            let (slot, bound, comparison) = match (&sides.0, &sides.1) {
                (DoubleNode::Slot(slot), bound) => (*slot, number(bound)?, *comparison),
                (bound, DoubleNode::Slot(slot)) => (*slot, number(bound)?, comparison.swapped()),
                _ => return None,
            };
            keys(slot, Kind::Double, compared(comparison, double_key(bound), whole_range(Kind::Double)))
        }
        BoolNode::CompareIntDouble(comparison, sides) => {
            let (IntNode::Slot(slot), bound) = (&sides.0, number(&sides.1)?) else { return None };
            let (lowest, highest) = whole_range(Kind::Int);
            let found = match comparison {
                Comparison::Less => Keys::range(lowest, below(bound, false)?),
                Comparison::LessEqual => Keys::range(lowest, below(bound, true)?),
                Comparison::Greater => Keys::range(above(bound, false)?, highest),
                Comparison::GreaterEqual => Keys::range(above(bound, true)?, highest),
                Comparison::Equal => Keys::range(above(bound, true)?, below(bound, true)?),
                Comparison::NotEqual => {
                    Keys::range(above(bound, true)?, below(bound, true)?).complement((lowest, highest))
                }
            };
            keys(*slot, Kind::Int, found)
        }
        BoolNode::CompareBool(comparison @ (Comparison::Equal | Comparison::NotEqual), sides) => {
            let (slot, flag) = match (&sides.0, &sides.1) {
                (BoolNode::Slot(slot), BoolNode::Const(flag))
                | (BoolNode::Const(flag), BoolNode::Slot(slot)) => (*slot, *flag),
                _ => return None,
            };
            let key = i64::from(flag == (*comparison == Comparison::Equal));
            keys(slot, Kind::Bool, Keys::range(key, key))
        }
        BoolNode::CompareTime(comparison, sides) => {
            let (slot, bound, comparison) = match (&sides.0, &sides.1) {
                (TimeNode::Slot(slot), TimeNode::Const(bound)) => (*slot, bound, *comparison),
                (TimeNode::Const(bound), TimeNode::Slot(slot)) => (*slot, bound, comparison.swapped()),
                _ => return None,
            };
            // Moments of transactions are whole milliseconds; a finer bound lies between two keys.
            let millis = (bound.as_nanosecond() % 1_000_000 == 0).then(|| bound.as_millisecond())?;
            keys(slot, Kind::Time, compared(comparison, millis, whole_range(Kind::Time)))
        }
        BoolNode::CompareText(comparison @ (Comparison::Equal | Comparison::NotEqual), sides) => {
            let (slot, text) = match (&sides.0, &sides.1) {
                (TextNode::Slot(slot), TextNode::Const(text))
                | (TextNode::Const(text), TextNode::Slot(slot)) => (*slot, text),
                _ => return None,
            };
            texts(slot, BTreeSet::from([&**text]), *comparison == Comparison::NotEqual)
        }
        BoolNode::TextIn(sides) => match &sides.0 {
            TextNode::Slot(slot) => texts(*slot, sides.1.iter().map(|text| &**text).collect(), false),
            _ => None,
        },
        BoolNode::IntIn(sides) => match &sides.0 {
            IntNode::Slot(slot) => {
                keys(*slot, Kind::Int, Keys::union(sides.1.iter().map(|number| (*number, *number)).collect()))
            }
            _ => None,
        },
        BoolNode::DoubleIn(sides) => match &sides.0 {
            DoubleNode::Slot(slot) => {
                let points = sides.1.iter().map(|number| double_key(*number));
                keys(*slot, Kind::Double, Keys::union(points.map(|key| (key, key)).collect()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn compared(comparison: Comparison, bound: i64, (lowest, highest): (i64, i64)) -> Keys {
    let up_to = |end: Option<i64>| end.map_or(Keys::range(1, 0), |end| Keys::range(lowest, end));
    let from = |start: Option<i64>| start.map_or(Keys::range(1, 0), |start| Keys::range(start, highest));
    match comparison {
        Comparison::Equal => Keys::range(bound, bound),
        Comparison::NotEqual => Keys::range(bound, bound).complement((lowest, highest)),
        Comparison::Less => up_to(bound.checked_sub(1)),
        Comparison::LessEqual => up_to(Some(bound)),
        Comparison::Greater => from(bound.checked_add(1)),
        Comparison::GreaterEqual => from(Some(bound)),
    }
}

fn int(node: &IntNode) -> Option<i64> {
    match node {
        IntNode::Const(number) => Some(*number),
        IntNode::Negate(operand) => int(operand)?.checked_neg(),
        _ => None,
    }
}

fn number(node: &DoubleNode) -> Option<f64> {
    let number = match node {
        DoubleNode::Const(number) => *number,
        DoubleNode::Negate(operand) => -number(operand)?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}
