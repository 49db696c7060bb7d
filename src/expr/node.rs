//! The compiled tree: one enum per type, so that nothing asks for a type while it runs; and how numbers become others.

use std::cmp::Ordering;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;

use crate::expr::schema::Slot;
use crate::expr::temporal::Part;

/// A comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    /// Whether it holds; NaN has no order to anything, and only `!=` holds for it.
    pub(crate) fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }

    /// The comparison that holds when this one does not, of values that are there and no NaN.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterEqual,
            Self::LessEqual => Self::Greater,
            Self::Greater => Self::LessEqual,
            Self::GreaterEqual => Self::Less,
        }
    }

    /// The same comparison with its sides swapped.
    pub(crate) fn swapped(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
        }
    }
}

/// Arithmetic of numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A test of two texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// How a double becomes whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounding {
    Ceil,
    Floor,
    /// To the nearest, halves away from zero.
    Round,
    /// Towards zero.
    Trunc,
}

/// Which of several numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extreme {
    Greatest,
    Least,
}

/// What kind of number a double is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DoubleTest {
    Nan,
    Infinite,
    Finite,
}

/// `condition ? then : otherwise`
#[derive(Clone, Debug)]
pub(crate) struct Choice<T> {
    pub(crate) condition: BoolNode,
    pub(crate) then: T,
    pub(crate) otherwise: T,
}

#[derive(Clone, Debug)]
pub(crate) enum BoolNode {
    Const(bool),
    Slot(Slot),
    Choice(Box<Choice<BoolNode>>),
    Not(Box<BoolNode>),
    All(Box<[BoolNode]>),
    Any(Box<[BoolNode]>),
    Has(Slot),
    CompareBool(Comparison, Box<(BoolNode, BoolNode)>),
    CompareInt(Comparison, Box<(IntNode, IntNode)>),
    CompareDouble(Comparison, Box<(DoubleNode, DoubleNode)>),
    CompareIntDouble(Comparison, Box<(IntNode, DoubleNode)>),
    CompareText(Comparison, Box<(TextNode, TextNode)>),
    CompareTime(Comparison, Box<(TimeNode, TimeNode)>),
    CompareDuration(Comparison, Box<(DurationNode, DurationNode)>),
    IntIn(Box<(IntNode, Box<[i64]>)>),
    DoubleIn(Box<(DoubleNode, Box<[f64]>)>),
    TextIn(Box<(TextNode, Box<[Box<str>]>)>),
    TextInList(Box<TextNode>, usize),
    IntInList(Box<IntNode>, usize),
    Text(TextTest, Box<(TextNode, TextNode)>),
    Matches(Box<(TextNode, Regex)>),
    Double(DoubleTest, Box<DoubleNode>),
    FromText(Box<TextNode>),
}

#[derive(Clone, Debug)]
pub(crate) enum IntNode {
    Const(i64),
    Slot(Slot),
    Choice(Box<Choice<IntNode>>),
    Negate(Box<IntNode>),
    Abs(Box<IntNode>),
    Arithmetic(Arithmetic, Box<(IntNode, IntNode)>),
    Extreme(Extreme, Box<[IntNode]>),
    Sign(Box<IntNode>),
    Size(Box<TextNode>),
    /// Text, part, and where to begin.
    IndexOf(Box<(TextNode, TextNode, Option<IntNode>)>),
    /// Text, part, and where to begin backwards.
    LastIndexOf(Box<(TextNode, TextNode, Option<IntNode>)>),
    FromDouble(Box<DoubleNode>),
    FromText(Box<TextNode>),
    FromTime(Box<TimeNode>),
    TimePart(Part, Box<(TimeNode, TimeZone)>),
    DurationPart(Part, Box<DurationNode>),
}

#[derive(Clone, Debug)]
pub(crate) enum DoubleNode {
    Const(f64),
    Slot(Slot),
    Choice(Box<Choice<DoubleNode>>),
    Negate(Box<DoubleNode>),
    Abs(Box<DoubleNode>),
    Arithmetic(Arithmetic, Box<(DoubleNode, DoubleNode)>),
    Extreme(Extreme, Box<[DoubleNode]>),
    Sign(Box<DoubleNode>),
    Rounded(Rounding, Box<DoubleNode>),
    FromInt(Box<IntNode>),
    FromText(Box<TextNode>),
    /// `double(metadata.x)`: a number, or a text that holds one.
    FromDynamic(Slot),
}

#[derive(Clone, Debug)]
pub(crate) enum TextNode {
    Const(Box<str>),
    Slot(Slot),
    Choice(Box<Choice<TextNode>>),
    Join(Box<(TextNode, TextNode)>),
    Lower(Box<TextNode>),
    Upper(Box<TextNode>),
    Trim(Box<TextNode>),
    CharAt(Box<(TextNode, IntNode)>),
    /// Text, first position, and the position behind the last one.
    Substring(Box<(TextNode, IntNode, Option<IntNode>)>),
    /// Text, old, new, and how many times.
    Replace(Box<(TextNode, TextNode, TextNode, Option<IntNode>)>),
    FromBool(Box<BoolNode>),
    FromInt(Box<IntNode>),
    FromDouble(Box<DoubleNode>),
    FromTime(Box<TimeNode>),
    FromDuration(Box<DurationNode>),
    /// `string(metadata.x)`: whatever it is, as text.
    FromDynamic(Slot),
}

#[derive(Clone, Debug)]
pub(crate) enum TimeNode {
    Const(Timestamp),
    Slot(Slot),
    Choice(Box<Choice<TimeNode>>),
    FromText(Box<TextNode>),
    FromInt(Box<IntNode>),
    Plus(Box<(TimeNode, DurationNode)>),
    Minus(Box<(TimeNode, DurationNode)>),
}

#[derive(Clone, Debug)]
pub(crate) enum DurationNode {
    Const(SignedDuration),
    Choice(Box<Choice<DurationNode>>),
    FromText(Box<TextNode>),
    Between(Box<(TimeNode, TimeNode)>),
    Plus(Box<(DurationNode, DurationNode)>),
    Minus(Box<(DurationNode, DurationNode)>),
}

/// The nearest double.
#[expect(clippy::cast_precision_loss, reason = "CEL's double(int) rounds to the nearest")]
pub(crate) fn double(number: i64) -> f64 {
    number as f64
}

/// 2^63: the first double above every `i64`.
const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

/// Cut towards zero; `None` for what no `int` holds. As CEL asks, both ends of the range are out of it.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(super) fn whole(number: f64) -> Option<i64> {
    (number > -TWO_POW_63 && number < TWO_POW_63).then_some(number as i64)
}

/// The order of an `int` and a `double`, as CEL has it: by the nearest double. `None` for NaN.
pub(crate) fn int_double_order(int: i64, number: f64) -> Option<Ordering> {
    double(int).partial_cmp(&number)
}

/// The double that is the same number, if there is one.
pub(crate) fn exact_double(int: i64) -> Option<f64> {
    Some(double(int)).filter(|number| whole(*number) == Some(int))
}

pub(super) fn floor_second(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// Reads a double as CEL writes it. Rust's own names for infinity in odd spellings are not CEL's.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| {
        number.is_finite()
            || matches!(text.trim_start_matches(['+', '-']), "inf" | "Inf" | "Infinity" | "NaN" | "nan")
    })
}

/// A double as CEL's implementations write it: the shortest digits that read back as the same number, with an exponent
/// of at least two digits below 10^-4 and from 10^6 on.
pub(super) fn double_text(number: f64) -> String {
    let magnitude = number.abs();
    if !number.is_finite() || magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => text,
    }
}
