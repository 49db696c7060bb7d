//! Evaluating the compiled tree. `None` is missing.
//!
//! What allocates: joining texts, changing their case, replacing in them, making a text of something else, and the regular
//! expression engine's own cache (once per thread). Everything else neither allocates nor looks anything up.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::domain::value::Value;
use crate::expr::node::{
    Arithmetic, BoolNode, Choice, DoubleNode, DoubleTest, DurationNode, Extreme, IntNode, Rounding, TextNode,
    TextTest, TimeNode, double, double_text, floor_second, int_double_order, parse_double, whole,
};
use crate::expr::program::Facts;
use crate::expr::{temporal, text};

impl<T> Choice<T> {
    fn pick<F: Facts + ?Sized>(&self, facts: &F) -> Option<&T> {
        Some(if self.condition.eval(facts)? { &self.then } else { &self.otherwise })
    }
}

impl Extreme {
    /// Whether a number takes the place of the one chosen so far; of equal ones the first stays, and NaN never moves.
    fn prefers<T: PartialOrd>(self, next: &T, chosen: &T) -> bool {
        match self {
            Self::Greatest => next > chosen,
            Self::Least => next < chosen,
        }
    }
}

impl BoolNode {
    pub(crate) fn eval<F: Facts + ?Sized>(&self, facts: &F) -> Option<bool> {
        match self {
            Self::Const(flag) => Some(*flag),
            Self::Slot(slot) => match facts.value(*slot) {
                Value::Bool(flag) => Some(flag),
                _ => None,
            },
            Self::Choice(choice) => choice.pick(facts)?.eval(facts),
            Self::Not(operand) => operand.eval(facts).map(|flag| !flag),
            Self::All(terms) => absorb(terms, false, facts),
            Self::Any(terms) => absorb(terms, true, facts),
            Self::Has(slot) => Some(facts.value(*slot).is_present()),
            Self::CompareBool(comparison, sides) => {
                Some(comparison.holds(Some(sides.0.eval(facts)?.cmp(&sides.1.eval(facts)?))))
            }
            Self::CompareInt(comparison, sides) => {
                Some(comparison.holds(Some(sides.0.eval(facts)?.cmp(&sides.1.eval(facts)?))))
            }
            Self::CompareDouble(comparison, sides) => {
                Some(comparison.holds(sides.0.eval(facts)?.partial_cmp(&sides.1.eval(facts)?)))
            }
            Self::CompareIntDouble(comparison, sides) => {
                Some(comparison.holds(int_double_order(sides.0.eval(facts)?, sides.1.eval(facts)?)))
            }
            Self::CompareText(comparison, sides) => {
                Some(comparison.holds(Some(sides.0.eval(facts)?.cmp(&sides.1.eval(facts)?))))
            }
            Self::CompareTime(comparison, sides) => {
                Some(comparison.holds(Some(sides.0.eval(facts)?.cmp(&sides.1.eval(facts)?))))
            }
            Self::CompareDuration(comparison, sides) => {
                Some(comparison.holds(Some(sides.0.eval(facts)?.cmp(&sides.1.eval(facts)?))))
            }
            Self::IntIn(sides) => sides.0.eval(facts).map(|number| sides.1.contains(&number)),
            Self::DoubleIn(sides) => sides.0.eval(facts).map(|number| sides.1.contains(&number)),
            Self::TextIn(sides) => {
                sides.0.eval(facts).map(|text| sides.1.iter().any(|element| **element == *text))
            }
            Self::TextInList(operand, list) => {
                operand.eval(facts).map(|text| facts.in_list(*list, Value::Text(&text)))
            }
            Self::IntInList(operand, list) => {
                operand.eval(facts).map(|number| facts.in_list(*list, Value::Int(number)))
            }
            Self::Text(test, sides) => {
                let (text, part) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                Some(match test {
                    TextTest::StartsWith => text.starts_with(&*part),
                    TextTest::EndsWith => text.ends_with(&*part),
                    TextTest::Contains => text.contains(&*part),
                })
            }
            Self::Matches(sides) => sides.0.eval(facts).map(|text| sides.1.is_match(&text)),
            Self::Double(test, operand) => operand.eval(facts).map(|number| match test {
                DoubleTest::Nan => number.is_nan(),
                DoubleTest::Infinite => number.is_infinite(),
                DoubleTest::Finite => number.is_finite(),
            }),
            Self::FromText(operand) => text::parse_bool(&operand.eval(facts)?),
        }
    }
}

/// `&&` (`decisive` is false) and `||` (`decisive` is true): one decisive term decides, else one missing term makes the
/// whole missing.
fn absorb<F: Facts + ?Sized>(terms: &[BoolNode], decisive: bool, facts: &F) -> Option<bool> {
    let mut result = Some(!decisive);
    for term in terms {
        match term.eval(facts) {
            Some(flag) if flag == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// An argument that may be left out: `None` when it is there and missing.
#[expect(clippy::option_option, reason = "left out and missing are two things")]
fn given<F: Facts + ?Sized>(argument: Option<&IntNode>, facts: &F) -> Option<Option<i64>> {
    argument.map_or(Some(None), |node| node.eval(facts).map(Some))
}

/// A part of a text, without copying what is only borrowed.
fn sliced<'a>(text: Cow<'a, str>, part: impl Fn(&str) -> Option<&str>) -> Option<Cow<'a, str>> {
    match text {
        Cow::Borrowed(text) => part(text).map(Cow::Borrowed),
        Cow::Owned(text) => part(&text).map(|part| Cow::Owned(part.to_owned())),
    }
}

/// The greatest or least of some numbers; missing when one of them is.
fn choose<T: PartialOrd>(mut numbers: impl Iterator<Item = Option<T>>, extreme: Extreme) -> Option<T> {
    let first = numbers.next()??;
    numbers.try_fold(first, |chosen, next| {
        next.map(|next| if extreme.prefers(&next, &chosen) { next } else { chosen })
    })
}

impl IntNode {
    pub(crate) fn eval<F: Facts + ?Sized>(&self, facts: &F) -> Option<i64> {
        match self {
            Self::Const(number) => Some(*number),
            Self::Slot(slot) => match facts.value(*slot) {
                Value::Int(number) => Some(number),
                _ => None,
            },
            Self::Choice(choice) => choice.pick(facts)?.eval(facts),
            Self::Negate(operand) => operand.eval(facts)?.checked_neg(),
            Self::Abs(operand) => operand.eval(facts)?.checked_abs(),
            Self::Arithmetic(operation, sides) => {
                let (left, right) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                match operation {
                    Arithmetic::Add => left.checked_add(right),
                    Arithmetic::Subtract => left.checked_sub(right),
                    Arithmetic::Multiply => left.checked_mul(right),
                    Arithmetic::Divide => left.checked_div(right),
                    Arithmetic::Remainder => left.checked_rem(right),
                }
            }
            Self::Extreme(extreme, operands) => {
                choose(operands.iter().map(|operand| operand.eval(facts)), *extreme)
            }
            Self::Sign(operand) => operand.eval(facts).map(i64::signum),
            Self::IndexOf(sides) => {
                let (text, part) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                text::index_of(&text, &part, given(sides.2.as_ref(), facts)?.unwrap_or(0))
            }
            Self::LastIndexOf(sides) => {
                let (text, part) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                text::last_index_of(&text, &part, given(sides.2.as_ref(), facts)?)
            }
            Self::Size(operand) => i64::try_from(operand.eval(facts)?.chars().count()).ok(),
            Self::FromDouble(operand) => whole(operand.eval(facts)?),
            Self::FromText(operand) => operand.eval(facts)?.parse().ok(),
            Self::FromTime(operand) => Some(floor_second(operand.eval(facts)?)),
            Self::TimePart(part, sides) => Some(temporal::time_part(sides.0.eval(facts)?, *part, &sides.1)),
            Self::DurationPart(part, operand) => temporal::duration_part(operand.eval(facts)?, *part),
        }
    }
}

impl DoubleNode {
    pub(crate) fn eval<F: Facts + ?Sized>(&self, facts: &F) -> Option<f64> {
        match self {
            Self::Const(number) => Some(*number),
            Self::Slot(slot) => match facts.value(*slot) {
                Value::Double(number) => Some(number),
                Value::Int(number) => Some(double(number)),
                _ => None,
            },
            Self::Choice(choice) => choice.pick(facts)?.eval(facts),
            Self::Negate(operand) => operand.eval(facts).map(|number| -number),
            Self::Abs(operand) => operand.eval(facts).map(f64::abs),
            Self::Arithmetic(operation, sides) => {
                let (left, right) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                Some(match operation {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide => left / right,
                    Arithmetic::Remainder => return None,
                })
            }
            Self::Rounded(rounding, operand) => operand.eval(facts).map(|number| match rounding {
                Rounding::Ceil => number.ceil(),
                Rounding::Floor => number.floor(),
                Rounding::Round => number.round(),
                Rounding::Trunc => number.trunc(),
            }),
            Self::Extreme(extreme, operands) => {
                choose(operands.iter().map(|operand| operand.eval(facts)), *extreme)
            }
            Self::Sign(operand) => operand
                .eval(facts)
                .map(|number| if number == 0.0 || number.is_nan() { number } else { number.signum() }),
            Self::FromInt(operand) => operand.eval(facts).map(double),
            Self::FromText(operand) => parse_double(&operand.eval(facts)?),
            Self::FromDynamic(slot) => match facts.value(*slot) {
                Value::Double(number) => Some(number),
                Value::Int(number) => Some(double(number)),
                Value::Text(text) => parse_double(text),
                _ => None,
            },
        }
    }
}

impl TextNode {
    pub(crate) fn eval<'a, F: Facts + ?Sized>(&'a self, facts: &'a F) -> Option<Cow<'a, str>> {
        match self {
            Self::Const(text) => Some(Cow::Borrowed(text)),
            Self::Slot(slot) => match facts.value(*slot) {
                Value::Text(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
            Self::Choice(choice) => choice.pick(facts)?.eval(facts),
            Self::Join(sides) => {
                let mut text = sides.0.eval(facts)?.into_owned();
                text.push_str(&sides.1.eval(facts)?);
                Some(Cow::Owned(text))
            }
            Self::Lower(operand) => operand.eval(facts).map(|text| Cow::Owned(text.to_ascii_lowercase())),
            Self::Upper(operand) => operand.eval(facts).map(|text| Cow::Owned(text.to_ascii_uppercase())),
            Self::Trim(operand) => operand.eval(facts).map(|text| sliced(text, |text| Some(text.trim())))?,
            Self::CharAt(sides) => {
                let (text, position) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                sliced(text, |text| text::char_at(text, position))
            }
            Self::Substring(sides) => {
                let (text, from) = (sides.0.eval(facts)?, sides.1.eval(facts)?);
                let to = given(sides.2.as_ref(), facts)?;
                sliced(text, |text| text::substring(text, from, to))
            }
            Self::Replace(sides) => {
                let (text, old, new) = (sides.0.eval(facts)?, sides.1.eval(facts)?, sides.2.eval(facts)?);
                let limit = given(sides.3.as_ref(), facts)?.unwrap_or(-1);
                text::replace(&text, &old, &new, limit).map(Cow::Owned)
            }
            Self::FromBool(operand) => {
                operand.eval(facts).map(|flag| Cow::Borrowed(if flag { "true" } else { "false" }))
            }
            Self::FromInt(operand) => operand.eval(facts).map(|number| Cow::Owned(number.to_string())),
            Self::FromDouble(operand) => operand.eval(facts).map(|number| Cow::Owned(double_text(number))),
            Self::FromTime(operand) => operand.eval(facts).map(|time| Cow::Owned(temporal::time_text(time))),
            Self::FromDuration(operand) => {
                operand.eval(facts).map(|duration| Cow::Owned(temporal::duration_text(duration)))
            }
            Self::FromDynamic(slot) => match facts.value(*slot) {
                Value::Missing => None,
                Value::Text(text) => Some(Cow::Borrowed(text)),
                Value::Double(number) => Some(Cow::Owned(double_text(number))),
                other => Some(Cow::Owned(other.to_string())),
            },
        }
    }
}

impl TimeNode {
    pub(crate) fn eval<F: Facts + ?Sized>(&self, facts: &F) -> Option<Timestamp> {
        match self {
            Self::Const(time) => Some(*time),
            Self::Slot(slot) => match facts.value(*slot) {
                Value::Time(time) => Some(time.timestamp()),
                _ => None,
            },
            Self::Choice(choice) => choice.pick(facts)?.eval(facts),
            Self::FromText(operand) => temporal::parse_timestamp(&operand.eval(facts)?),
            Self::FromInt(operand) => {
                Timestamp::from_second(operand.eval(facts)?).ok().and_then(temporal::in_range)
            }
            Self::Plus(sides) => {
                sides.0.eval(facts)?.checked_add(sides.1.eval(facts)?).ok().and_then(temporal::in_range)
            }
            Self::Minus(sides) => {
                sides.0.eval(facts)?.checked_sub(sides.1.eval(facts)?).ok().and_then(temporal::in_range)
            }
        }
    }
}

impl DurationNode {
    pub(crate) fn eval<F: Facts + ?Sized>(&self, facts: &F) -> Option<SignedDuration> {
        match self {
            Self::Const(duration) => Some(*duration),
            Self::Choice(choice) => choice.pick(facts)?.eval(facts),
            Self::FromText(operand) => temporal::parse_duration(&operand.eval(facts)?),
            Self::Between(sides) => temporal::difference(sides.0.eval(facts)?, sides.1.eval(facts)?),
            Self::Plus(sides) => {
                sides.0.eval(facts)?.checked_add(sides.1.eval(facts)?).and_then(temporal::duration_in_range)
            }
            Self::Minus(sides) => {
                sides.0.eval(facts)?.checked_sub(sides.1.eval(facts)?).and_then(temporal::duration_in_range)
            }
        }
    }
}
