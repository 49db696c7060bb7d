//! The operators: which types each one takes, and the node that it becomes.

use cel::common::ast::operators;

use crate::expr::check::{At, Checking, Refusal, Typed};
use crate::expr::node::{
    Arithmetic, BoolNode, Choice, Comparison, DoubleNode, DurationNode, IntNode, TextNode, TimeNode,
    exact_double,
};

/// The comparison that the parser's name of an operator stands for.
pub(crate) fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterEqual,
        _ => return None,
    })
}

/// The arithmetic that the parser's name of an operator stands for.
pub(crate) fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}

fn symbol(arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Remainder => "%",
    }
}

/// What an operator of truth values takes.
pub(crate) fn boolean(id: u64, operator: &str, typed: Typed) -> Checking<BoolNode> {
    match typed {
        Typed::Bool(node) => Ok(node),
        Typed::Dynamic(slot) => Ok(BoolNode::Slot(slot)),
        other => Refusal::token(id, format!("`{operator}` needs a bool, not {}", other.type_name())),
    }
}

/// An integer literal as a double, if both are the same number.
pub(crate) fn promoted(typed: Typed) -> Result<DoubleNode, Typed> {
    match typed {
        Typed::Double(node) => Ok(node),
        Typed::Dynamic(slot) => Ok(DoubleNode::Slot(slot)),
        Typed::Int(IntNode::Const(number)) => {
            exact_double(number).map(DoubleNode::Const).ok_or(Typed::Int(IntNode::Const(number)))
        }
        other => Err(other),
    }
}

/// `condition ? then : otherwise`
pub(crate) fn choose(id: u64, condition: BoolNode, then: Typed, otherwise: Typed) -> Checking<Typed> {
    fn boxed<T>(condition: BoolNode, then: T, otherwise: T) -> Box<Choice<T>> {
        Box::new(Choice { condition, then, otherwise })
    }
    let mixed = |then: &Typed, otherwise: &Typed| {
        let message = format!(
            "both results of `?:` must have one type; these are {} and {}",
            then.type_name(),
            otherwise.type_name()
        );
        Refusal::new(At::Token(id), message)
    };
    Ok(match (then, otherwise) {
        (Typed::Bool(a), Typed::Bool(b)) => Typed::Bool(BoolNode::Choice(boxed(condition, a, b))),
        (Typed::Int(a), Typed::Int(b)) => Typed::Int(IntNode::Choice(boxed(condition, a, b))),
        (Typed::Text(a), Typed::Text(b)) => Typed::Text(TextNode::Choice(boxed(condition, a, b))),
        (Typed::Time(a), Typed::Time(b)) => Typed::Time(TimeNode::Choice(boxed(condition, a, b))),
        (Typed::Duration(a), Typed::Duration(b)) => {
            Typed::Duration(DurationNode::Choice(boxed(condition, a, b)))
        }
        (Typed::Text(a), Typed::Dynamic(b)) => {
            Typed::Text(TextNode::Choice(boxed(condition, a, TextNode::Slot(b))))
        }
        (Typed::Dynamic(a), Typed::Text(b)) => {
            Typed::Text(TextNode::Choice(boxed(condition, TextNode::Slot(a), b)))
        }
        (Typed::Bool(a), Typed::Dynamic(b)) => {
            Typed::Bool(BoolNode::Choice(boxed(condition, a, BoolNode::Slot(b))))
        }
        (Typed::Dynamic(a), Typed::Bool(b)) => {
            Typed::Bool(BoolNode::Choice(boxed(condition, BoolNode::Slot(a), b)))
        }
        (a @ Typed::Dynamic(_), b @ Typed::Dynamic(_)) => return Err(mixed(&a, &b)),
        (a, b) => {
            let refusal = mixed(&a, &b);
            match (promoted(a), promoted(b)) {
                (Ok(a), Ok(b)) => Typed::Double(DoubleNode::Choice(boxed(condition, a, b))),
                _ => return Err(refusal),
            }
        }
    })
}

/// Any of the six comparisons.
pub(crate) fn compare(id: u64, comparison: Comparison, left: Typed, right: Typed) -> Checking<Typed> {
    let refusal = Refusal::new(
        At::Token(id),
        match (&left, &right) {
            (Typed::Dynamic(_), Typed::Dynamic(_)) => {
                "two metadata values have no known type; say which with string() or double()".to_owned()
            }
            (Typed::Dynamic(_), other) | (other, Typed::Dynamic(_)) => {
                format!("metadata holds no {0}; write {0}(metadata.x)", other.type_name())
            }
            _ => format!("cannot compare {} with {}", left.type_name(), right.type_name()),
        },
    );
    Ok(Typed::Bool(match (left, right) {
        (Typed::Bool(a), Typed::Bool(b)) => BoolNode::CompareBool(comparison, Box::new((a, b))),
        (Typed::Bool(a), Typed::Dynamic(b)) => {
            BoolNode::CompareBool(comparison, Box::new((a, BoolNode::Slot(b))))
        }
        (Typed::Dynamic(a), Typed::Bool(b)) => {
            BoolNode::CompareBool(comparison, Box::new((BoolNode::Slot(a), b)))
        }
        (Typed::Text(a), Typed::Text(b)) => BoolNode::CompareText(comparison, Box::new((a, b))),
        (Typed::Text(a), Typed::Dynamic(b)) => {
            BoolNode::CompareText(comparison, Box::new((a, TextNode::Slot(b))))
        }
        (Typed::Dynamic(a), Typed::Text(b)) => {
            BoolNode::CompareText(comparison, Box::new((TextNode::Slot(a), b)))
        }
        (Typed::Time(a), Typed::Time(b)) => BoolNode::CompareTime(comparison, Box::new((a, b))),
        (Typed::Duration(a), Typed::Duration(b)) => BoolNode::CompareDuration(comparison, Box::new((a, b))),
        (Typed::Int(a), Typed::Int(b)) => BoolNode::CompareInt(comparison, Box::new((a, b))),
        (Typed::Dynamic(_), Typed::Dynamic(_)) => return Err(refusal),
        (left, right) => match (promoted(left), promoted(right)) {
            (Ok(a), Ok(b)) => BoolNode::CompareDouble(comparison, Box::new((a, b))),
            (Err(Typed::Int(a)), Ok(b)) => BoolNode::CompareIntDouble(comparison, Box::new((a, b))),
            (Ok(a), Err(Typed::Int(b))) => BoolNode::CompareIntDouble(comparison.swapped(), Box::new((b, a))),
            _ => return Err(refusal),
        },
    }))
}

/// `+ - * / %`, also of texts, moments and durations.
pub(crate) fn calculate(id: u64, arithmetic: Arithmetic, left: Typed, right: Typed) -> Checking<Typed> {
    let sign = symbol(arithmetic);
    let mixes_numbers = matches!(
        (&left, &right),
        (Typed::Int(_), Typed::Double(_) | Typed::Dynamic(_))
            | (Typed::Double(_) | Typed::Dynamic(_), Typed::Int(_))
    );
    let refusal = Refusal::new(
        At::Token(id),
        if mixes_numbers && arithmetic != Arithmetic::Remainder {
            format!("`{sign}` does not mix int and double; write double(…) around the int")
        } else if arithmetic == Arithmetic::Remainder {
            format!("`%` needs int and int, not {} and {}; write int(…)", left.type_name(), right.type_name())
        } else {
            format!("`{sign}` is not defined for {} and {}", left.type_name(), right.type_name())
        },
    );
    Ok(match (arithmetic, left, right) {
        (_, Typed::Int(a), Typed::Int(b)) => Typed::Int(IntNode::Arithmetic(arithmetic, Box::new((a, b)))),
        (Arithmetic::Add, Typed::Text(a), Typed::Text(b)) => Typed::Text(TextNode::Join(Box::new((a, b)))),
        (Arithmetic::Add, Typed::Text(a), Typed::Dynamic(b)) => {
            Typed::Text(TextNode::Join(Box::new((a, TextNode::Slot(b)))))
        }
        (Arithmetic::Add, Typed::Dynamic(a), Typed::Text(b)) => {
            Typed::Text(TextNode::Join(Box::new((TextNode::Slot(a), b))))
        }
        (Arithmetic::Add, Typed::Time(a), Typed::Duration(b))
        | (Arithmetic::Add, Typed::Duration(b), Typed::Time(a)) => {
            Typed::Time(TimeNode::Plus(Box::new((a, b))))
        }
        (Arithmetic::Subtract, Typed::Time(a), Typed::Duration(b)) => {
            Typed::Time(TimeNode::Minus(Box::new((a, b))))
        }
        (Arithmetic::Subtract, Typed::Time(a), Typed::Time(b)) => {
            Typed::Duration(DurationNode::Between(Box::new((a, b))))
        }
        (Arithmetic::Add, Typed::Duration(a), Typed::Duration(b)) => {
            Typed::Duration(DurationNode::Plus(Box::new((a, b))))
        }
        (Arithmetic::Subtract, Typed::Duration(a), Typed::Duration(b)) => {
            Typed::Duration(DurationNode::Minus(Box::new((a, b))))
        }
        (Arithmetic::Remainder, _, _) => return Err(refusal),
        (_, left, right) => match (promoted(left), promoted(right)) {
            (Ok(a), Ok(b)) => Typed::Double(DoubleNode::Arithmetic(arithmetic, Box::new((a, b)))),
            _ => return Err(refusal),
        },
    })
}
