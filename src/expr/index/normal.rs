//! The normal form: a condition as alternatives, each a conjunction of leaves.
//!
//! Negation is pushed down to the leaves, where each one asks for the opposite: `!(x > 5)` becomes `x <= 5`, which a missing
//! `x` does not fulfil either. With the three values of the language this is exact for the question "is it true?": a
//! conjunction is true when all are, a disjunction when one is, and a condition is false when its opposite in this sense is true.

use crate::expr::index::leaf::Leaf;
use crate::expr::node::BoolNode;

/// Most alternatives of one condition; what has more is kept as opaque leaves.
pub(super) const TERMS_MAX: usize = 8;

/// Leaves that must all hold.
pub(super) type Term<'n> = Vec<Leaf<'n>>;

/// The alternatives under which `node` comes to `wanted`: never more than `TERMS_MAX`. None at all: it never does.
pub(super) fn terms(node: &BoolNode, wanted: bool) -> Vec<Term<'_>> {
    match node {
        BoolNode::Const(flag) if *flag == wanted => vec![Vec::new()],
        BoolNode::Const(_) => Vec::new(),
        BoolNode::Not(operand) => terms(operand, !wanted),
        BoolNode::All(parts) if wanted => all(parts.iter().map(|part| (part, true))),
        BoolNode::All(parts) => any(node, wanted, parts.iter().map(|part| terms(part, false))),
        BoolNode::Any(parts) if wanted => any(node, wanted, parts.iter().map(|part| terms(part, true))),
        BoolNode::Any(parts) => all(parts.iter().map(|part| (part, false))),
        BoolNode::Choice(choice) => {
            let then = all([(&choice.condition, true), (&choice.then, wanted)]);
            let otherwise = all([(&choice.condition, false), (&choice.otherwise, wanted)]);
            any(node, wanted, [then, otherwise])
        }
        _ => vec![vec![Leaf::of(node, wanted)]],
    }
}

fn all<'n>(parts: impl IntoIterator<Item = (&'n BoolNode, bool)>) -> Vec<Term<'n>> {
    let mut product: Vec<Term<'n>> = vec![Vec::new()];
    for (part, wanted) in parts {
        let mut alternatives = terms(part, wanted);
        if product.len() * alternatives.len() > TERMS_MAX {
            alternatives = vec![vec![Leaf::Opaque { node: part, wanted }]];
        }
        product = product
            .iter()
            .flat_map(|term| alternatives.iter().map(|more| term.iter().chain(more).cloned().collect()))
            .collect();
    }
    product
}

fn any<'n>(
    node: &'n BoolNode,
    wanted: bool,
    parts: impl IntoIterator<Item = Vec<Term<'n>>>,
) -> Vec<Term<'n>> {
    let mut sum = Vec::new();
    for part in parts {
        sum.extend(part);
        if sum.len() > TERMS_MAX {
            return vec![vec![Leaf::Opaque { node, wanted }]];
        }
    }
    sum
}
