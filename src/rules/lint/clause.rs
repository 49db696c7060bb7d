//! A condition as alternatives (clauses) that each say what they leave to every name.
//!
//! Negation is pushed down to the leaves: "is it exactly true?" of `!(x > 5)` is "is it exactly true?" of `x <= 5`, for a missing `x`
//! too. A leaf that no set of values describes stays as its compiled text, so that only its equal answers to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::value::{Value, ValueType};
use crate::expr::index::column::double_key;
use crate::expr::node::{BoolNode, Comparison, DoubleNode, IntNode, TextNode, TimeNode};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};
use crate::rules::lint::allowed::{Allowed, Keys, Kind, Texts, Together};

/// Most clauses of one condition; a part that has more stays whole.
pub(super) const CLAUSES_MAX: usize = 16;
/// Beyond this an `int` and the nearest double can differ.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What must hold together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Clause<'n> {
    pub(super) names: BTreeMap<Slot, Allowed<'n>>,
    /// Leaves that stay whole, by their compiled text, with what they must come to.
    pub(super) whole: BTreeSet<(String, bool)>,
}

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

    /// Every key that a value of the name can have.
    pub(super) fn every(&self, slot: Slot, kind: Kind) -> Keys {
        let every = Keys::range(whole_range(kind).0, whole_range(kind).1);
        match self.ranges.get(&slot) {
            Some((of, range)) if *of == kind => range.intersection(&every),
            _ => every,
        }
    }
}

fn whole_range(kind: Kind) -> (i64, i64) {
    match kind {
        Kind::Bool => (0, 1),
        Kind::Int | Kind::Time => (i64::MIN, i64::MAX),
        Kind::Double => (double_key(f64::NEG_INFINITY), double_key(f64::INFINITY)),
    }
}

/// The first whole number above `bound` (or at it), where doubles are exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn above(bound: f64, or_equal: bool) -> Option<i64> {
    if bound == f64::NEG_INFINITY {
        return Some(i64::MIN);
    }
    let next = if or_equal { bound.ceil() } else { bound.floor() + 1.0 };
    (next.abs() < EXACT_MAX).then_some(next as i64)
}

/// The last whole number below `bound` (or at it), where doubles are exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn below(bound: f64, or_equal: bool) -> Option<i64> {
    if bound == f64::INFINITY {
        return Some(i64::MAX);
    }
    let next = if or_equal { bound.floor() } else { bound.ceil() - 1.0 };
    (next.abs() < EXACT_MAX).then_some(next as i64)
}

impl<'n> Clause<'n> {
    /// With one thing more; `None` when that cannot hold.
    fn and(mut self, leaf: &Leaf<'n>, known: &Known) -> Option<Self> {
        match leaf {
            Leaf::Allowed { slot, allowed, written } => {
                match self.names.get(slot).map(|left| left.and(allowed)) {
                    Some(Together::Never) => return None,
                    Some(Together::Unknown) => self = self.and(written, known)?,
                    Some(Together::Allowed(both)) => {
                        self.names.insert(*slot, both);
                    }
                    None if allowed.is_empty() => return None,
                    None => {
                        let there = known.is_always_there(*slot);
                        match allowed {
                            Allowed::Missing if there => return None,
                            // What every transaction fulfils is not kept.
                            allowed if there && every_value(*slot, allowed, known) => {}
                            allowed => {
                                self.names.insert(*slot, allowed.clone());
                            }
                        }
                    }
                }
            }
            Leaf::Whole(text, wanted) => {
                if self.whole.contains(&(text.clone(), !wanted)) {
                    return None;
                }
                self.whole.insert((text.clone(), *wanted));
            }
        }
        Some(self)
    }

    fn and_all(self, other: &Self, known: &Known) -> Option<Self> {
        let mut both = self;
        for (slot, allowed) in &other.names {
            let written = Box::new(Leaf::Whole(format!("{slot:?} {allowed:?}"), true));
            both = both.and(&Leaf::Allowed { slot: *slot, allowed: allowed.clone(), written }, known)?;
        }
        for (text, wanted) in &other.whole {
            both = both.and(&Leaf::Whole(text.clone(), *wanted), known)?;
        }
        Some(both)
    }

    /// Whether `other` holds wherever this does.
    pub(super) fn implies(&self, other: &Self) -> bool {
        other.whole.is_subset(&self.whole)
            && other
                .names
                .iter()
                .all(|(slot, allowed)| self.names.get(slot).is_some_and(|left| left.is_within(allowed)))
    }
}

/// Whether a value that is there is always among the allowed ones.
fn every_value(slot: Slot, allowed: &Allowed<'_>, known: &Known) -> bool {
    match allowed {
        Allowed::Present => true,
        Allowed::Missing => false,
        Allowed::Keys(kind, keys) => keys.intersection(&known.every(slot, *kind)) == known.every(slot, *kind),
        Allowed::Texts(texts) => texts.inverted && texts.texts.is_empty(),
    }
}

/// Whether one of the clauses holds for every transaction.
pub(super) fn always_holds(clauses: &[Clause<'_>], known: &Known) -> bool {
    if clauses.iter().any(|clause| clause.names.is_empty() && clause.whole.is_empty()) {
        return true;
    }
    // Else some name alone decides, and whatever it holds, one clause is content.
    let mut alone: BTreeMap<Slot, Vec<&Allowed<'_>>> = BTreeMap::new();
    for clause in clauses.iter().filter(|clause| clause.whole.is_empty() && clause.names.len() == 1) {
        for (slot, allowed) in &clause.names {
            alone.entry(*slot).or_default().push(allowed);
        }
    }
    alone.iter().any(|(slot, allowed)| {
        let missing = known.is_always_there(*slot) || allowed.contains(&&Allowed::Missing);
        missing && covers_every_value(*slot, allowed, known)
    })
}

fn covers_every_value(slot: Slot, allowed: &[&Allowed<'_>], known: &Known) -> bool {
    let of_kind = allowed.iter().find_map(|allowed| match allowed {
        Allowed::Keys(kind, _) => Some(*kind),
        _ => None,
    });
    let keys = of_kind.map(|kind| {
        let ranges = allowed.iter().filter_map(|allowed| match allowed {
            Allowed::Keys(of, keys) if *of == kind => Some(keys.ranges().to_vec()),
            _ => None,
        });
        Allowed::Keys(kind, Keys::union(ranges.flatten().collect()))
    });
    allowed.contains(&&Allowed::Present)
        || (known.typed.contains(&slot) && keys.is_some_and(|keys| every_value(slot, &keys, known)))
}

/// What a leaf leaves.
#[derive(Clone, Debug)]
enum Leaf<'n> {
    Allowed { slot: Slot, allowed: Allowed<'n>, written: Box<Leaf<'n>> },
    Whole(String, bool),
}

/// The clauses under which `node` comes to `wanted`; none when it never does.
pub(super) fn clauses<'n>(node: &'n BoolNode, wanted: bool, known: &Known) -> Vec<Clause<'n>> {
    match node {
        BoolNode::Not(operand) => clauses(operand, !wanted, known),
        BoolNode::All(parts) if wanted => all(parts.iter().map(|part| (part, true)), known),
        BoolNode::Any(parts) if !wanted => all(parts.iter().map(|part| (part, false)), known),
        BoolNode::All(parts) | BoolNode::Any(parts) => {
            any(node, wanted, parts.iter().map(|part| clauses(part, wanted, known)), known)
        }
        BoolNode::Choice(choice) => {
            let then = all([(&choice.condition, true), (&choice.then, wanted)], known);
            let otherwise = all([(&choice.condition, false), (&choice.otherwise, wanted)], known);
            any(node, wanted, [then, otherwise], known)
        }
        _ => leaf(node, wanted, known),
    }
}

fn all<'n>(parts: impl IntoIterator<Item = (&'n BoolNode, bool)>, known: &Known) -> Vec<Clause<'n>> {
    let mut product = vec![Clause::default()];
    for (part, wanted) in parts {
        let mut alternatives = clauses(part, wanted, known);
        if product.len() * alternatives.len() > CLAUSES_MAX {
            alternatives = kept_whole(part, wanted, known);
        }
        product = product
            .iter()
            .flat_map(|clause| alternatives.iter().filter_map(|more| clause.clone().and_all(more, known)))
            .collect();
    }
    product
}

fn any<'n>(
    node: &'n BoolNode,
    wanted: bool,
    parts: impl IntoIterator<Item = Vec<Clause<'n>>>,
    known: &Known,
) -> Vec<Clause<'n>> {
    let mut sum = Vec::new();
    for part in parts {
        sum.extend(part);
        if sum.len() > CLAUSES_MAX {
            return kept_whole(node, wanted, known);
        }
    }
    sum
}

fn kept_whole<'n>(node: &'n BoolNode, wanted: bool, known: &Known) -> Vec<Clause<'n>> {
    Clause::default().and(&Leaf::Whole(text(node), wanted), known).into_iter().collect()
}

/// Facts of which nothing is there, for what asks for none.
struct Nothing;

impl Facts for Nothing {
    fn value(&self, _: Slot) -> Value<'_> {
        Value::Missing
    }

    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        false
    }
}

fn leaf<'n>(node: &'n BoolNode, wanted: bool, known: &Known) -> Vec<Clause<'n>> {
    let text = text(node);
    if !text.contains("Slot(") && !text.contains("InList") {
        // It reads nothing and always comes to the same.
        return if node.eval(&Nothing) == Some(wanted) { vec![Clause::default()] } else { Vec::new() };
    }
    let written = turned(node, text, wanted);
    let leaf = match simple(node, wanted, known) {
        Some((slot, allowed)) => Leaf::Allowed { slot, allowed, written: Box::new(written) },
        None => written,
    };
    Clause::default().and(&leaf, known).into_iter().collect()
}

fn text(node: &BoolNode) -> String {
    format!("{node:?}")
}

/// A comparison that stays whole, with its sides in one order and, where no NaN can be, without a negation.
fn turned<'n>(node: &'n BoolNode, text: String, wanted: bool) -> Leaf<'n> {
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
        if !wanted && kind != "double" { (opposite(comparison), true) } else { (comparison, wanted) };
    let (left, comparison, right) =
        if left <= right { (left, comparison, right) } else { (right, comparison.swapped(), left) };
    // Of a comparison and its opposite one is kept, so that both are seen to exclude each other.
    let is_kept = matches!(comparison, Comparison::Equal | Comparison::Less | Comparison::LessEqual);
    let (comparison, wanted) =
        if is_kept || kind == "double" { (comparison, wanted) } else { (opposite(comparison), !wanted) };
    Leaf::Whole(format!("{kind} {left} {comparison:?} {right}"), wanted)
}

/// The comparison that holds when this one does not, of values that are there and no NaN.
fn opposite(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterEqual,
        Comparison::LessEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessEqual,
        Comparison::GreaterEqual => Comparison::Less,
    }
}

/// What the leaf leaves to one name, when that is all that it asks.
fn simple<'n>(node: &'n BoolNode, wanted: bool, known: &Known) -> Option<(Slot, Allowed<'n>)> {
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
