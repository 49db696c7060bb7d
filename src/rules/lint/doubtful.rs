//! How a condition is written: comparisons that say less than they seem to.

use crate::expr::node::{BoolNode, Comparison, DoubleNode};

/// Whether a condition asks whether two doubles are the same, other than whether a name holds a whole number. Sums and shares
/// seldom are.
pub(super) fn compares_doubles_for_equality(node: &BoolNode) -> bool {
    let mut found = false;
    walk(node, &mut |node| {
        if let BoolNode::CompareDouble(Comparison::Equal | Comparison::NotEqual, sides) = node {
            let is_plain = |name: &DoubleNode, number: &DoubleNode| {
                matches!(name, DoubleNode::Slot(_))
                    && matches!(number, DoubleNode::Const(number) if number.fract() == 0.0)
            };
            found |= !is_plain(&sides.0, &sides.1) && !is_plain(&sides.1, &sides.0);
        }
    });
    found
}

/// Every condition within a condition that `&&`, `||`, `!` and `?:` join.
fn walk(node: &BoolNode, see: &mut impl FnMut(&BoolNode)) {
    see(node);
    match node {
        BoolNode::Not(operand) => walk(operand, see),
        BoolNode::All(parts) | BoolNode::Any(parts) => parts.iter().for_each(|part| walk(part, see)),
        BoolNode::Choice(choice) => {
            for part in [&choice.condition, &choice.then, &choice.otherwise] {
                walk(part, see);
            }
        }
        _ => {}
    }
}
