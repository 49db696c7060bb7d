//! The normal form: a condition as alternatives, each of things that must all hold.
//!
//! Negation is pushed down to the leaves, where each one asks for the opposite: `!(x > 5)` becomes `x <= 5`, which a missing
//! `x` does not fulfil either. With the three values of the language this is exact for the question "is it true?": a
//! conjunction is true when all are, a disjunction when one is, and a condition is false when its opposite in this sense is true.

use crate::expr::node::BoolNode;

/// What a normal form is made of.
pub(crate) trait Normal<'n> {
    /// Things that must all hold.
    type Term: Clone + Default;

    /// Most alternatives of one condition; a part that would make more stays whole.
    const TERMS_MAX: usize;

    /// The alternatives under which a node without inner logic comes to `wanted`.
    fn leaf(&self, node: &'n BoolNode, wanted: bool) -> Vec<Self::Term>;

    /// The same of a part that stays as it is.
    fn whole(&self, node: &'n BoolNode, wanted: bool) -> Vec<Self::Term>;

    /// Both at once; `None` when they exclude each other.
    fn both(&self, one: &Self::Term, other: &Self::Term) -> Option<Self::Term>;
}

/// The alternatives under which `node` comes to `wanted`: never more than `TERMS_MAX`. None at all: it never does.
pub(crate) fn alternatives<'n, N: Normal<'n>>(normal: &N, node: &'n BoolNode, wanted: bool) -> Vec<N::Term> {
    match node {
        BoolNode::Not(operand) => alternatives(normal, operand, !wanted),
        BoolNode::All(parts) if wanted => all(normal, parts.iter().map(|part| (part, true))),
        BoolNode::Any(parts) if !wanted => all(normal, parts.iter().map(|part| (part, false))),
        BoolNode::All(parts) | BoolNode::Any(parts) => {
            any(normal, node, wanted, parts.iter().map(|part| alternatives(normal, part, wanted)))
        }
        BoolNode::Choice(choice) => {
            let then = all(normal, [(&choice.condition, true), (&choice.then, wanted)]);
            let otherwise = all(normal, [(&choice.condition, false), (&choice.otherwise, wanted)]);
            any(normal, node, wanted, [then, otherwise])
        }
        _ => normal.leaf(node, wanted),
    }
}

fn all<'n, N: Normal<'n>>(normal: &N, parts: impl IntoIterator<Item = (&'n BoolNode, bool)>) -> Vec<N::Term> {
    let mut product = vec![N::Term::default()];
    for (part, wanted) in parts {
        let mut found = alternatives(normal, part, wanted);
        if product.len() * found.len() > N::TERMS_MAX {
            found = normal.whole(part, wanted);
        }
        product =
            product.iter().flat_map(|term| found.iter().filter_map(|more| normal.both(term, more))).collect();
    }
    product
}

fn any<'n, N: Normal<'n>>(
    normal: &N,
    node: &'n BoolNode,
    wanted: bool,
    parts: impl IntoIterator<Item = Vec<N::Term>>,
) -> Vec<N::Term> {
    let mut sum = Vec::new();
    for part in parts {
        sum.extend(part);
        if sum.len() > N::TERMS_MAX {
            return normal.whole(node, wanted);
        }
    }
    sum
}
