//! The functions of numbers: CEL's math extension. Each may be written with or without `math.`.

use crate::expr::check::{At, Checking, Refusal, Typed};
use crate::expr::node::{BoolNode, DoubleNode, DoubleTest, Extreme, IntNode, Rounding};
use crate::expr::operator::promoted;

/// The names, without `math.`.
pub(crate) const NUMBER_FUNCTIONS: [&str; 11] =
    ["abs", "ceil", "floor", "round", "trunc", "sign", "greatest", "least", "isNaN", "isInf", "isFinite"];

/// A call of one of [`NUMBER_FUNCTIONS`].
pub(crate) fn call(id: u64, name: &str, operands: Vec<Typed>) -> Checking<Typed> {
    match name {
        "greatest" => extreme(id, name, Extreme::Greatest, operands),
        "least" => extreme(id, name, Extreme::Least, operands),
        _ => match <[Typed; 1]>::try_from(operands) {
            Ok([operand]) => of_one(id, name, operand),
            Err(operands) => {
                Refusal::token(id, format!("{name}() takes one number, not {} values", operands.len()))
            }
        },
    }
}

fn of_one(id: u64, name: &str, operand: Typed) -> Checking<Typed> {
    match (name, operand) {
        ("abs", Typed::Int(node)) => Ok(Typed::Int(IntNode::Abs(Box::new(node)))),
        ("sign", Typed::Int(node)) => Ok(Typed::Int(IntNode::Sign(Box::new(node)))),
        (_, operand) => match promoted(operand) {
            Ok(node) => of_double(id, name, node),
            Err(other) => {
                let takes = if matches!(name, "abs" | "sign") { "number" } else { "double" };
                Refusal::token(id, format!("{name}() takes a {takes}, not {}", other.type_name()))
            }
        },
    }
}

fn of_double(id: u64, name: &str, node: DoubleNode) -> Checking<Typed> {
    let node = Box::new(node);
    Ok(match name {
        "abs" => Typed::Double(DoubleNode::Abs(node)),
        "sign" => Typed::Double(DoubleNode::Sign(node)),
        "ceil" => Typed::Double(DoubleNode::Rounded(Rounding::Ceil, node)),
        "floor" => Typed::Double(DoubleNode::Rounded(Rounding::Floor, node)),
        "round" => Typed::Double(DoubleNode::Rounded(Rounding::Round, node)),
        "trunc" => Typed::Double(DoubleNode::Rounded(Rounding::Trunc, node)),
        "isNaN" => Typed::Bool(BoolNode::Double(DoubleTest::Nan, node)),
        "isInf" => Typed::Bool(BoolNode::Double(DoubleTest::Infinite, node)),
        "isFinite" => Typed::Bool(BoolNode::Double(DoubleTest::Finite, node)),
        _ => return Refusal::token(id, format!("function `{name}` is not part of the profile")),
    })
}

/// All ints give an int; else all are doubles, or literals that can be.
fn extreme(id: u64, name: &str, extreme: Extreme, operands: Vec<Typed>) -> Checking<Typed> {
    if operands.is_empty() {
        return Refusal::token(id, format!("{name}() takes one number or more"));
    }
    if operands.iter().all(|operand| matches!(operand, Typed::Int(_))) {
        let ints = operands.into_iter().filter_map(|operand| match operand {
            Typed::Int(node) => Some(node),
            _ => None,
        });
        return Ok(Typed::Int(IntNode::Extreme(extreme, ints.collect())));
    }
    let doubles = operands.into_iter().map(|operand| {
        promoted(operand).map_err(|other| {
            let message = match other {
                Typed::Int(_) => {
                    format!("{name}() does not mix int and double; write double(…) around the int")
                }
                other => format!("{name}() takes numbers, not {}", other.type_name()),
            };
            Refusal::new(At::Token(id), message)
        })
    });
    Ok(Typed::Double(DoubleNode::Extreme(extreme, doubles.collect::<Checking<_>>()?)))
}
