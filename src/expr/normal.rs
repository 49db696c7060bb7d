//! The normal form: a condition as alternatives, each of things that must all hold.
//!
//! Negation is pushed down to the leaves, where each one asks for the opposite: `!(x > 5)` becomes `x <= 5`, which a missing
//! `x` does not fulfil either. With the three values of the language this is exact for the question "is it true?": a
//! conjunction is true when all are, a disjunction when one is, and a condition is false when its opposite in this sense is true.

use std::cell::Cell;

use crate::expr::node::BoolNode;

/// Most nodes that are looked at for one condition; a choice has its condition looked at twice, and so on downwards.
const VISITS_MAX: u32 = 4_096;

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
    Expansion { normal, visits_left: Cell::new(VISITS_MAX) }.of(node, wanted)
}

struct Expansion<'a, N> {
    normal: &'a N,
    visits_left: Cell<u32>,
}

impl<'n, N: Normal<'n>> Expansion<'_, N> {
    fn of(&self, node: &'n BoolNode, wanted: bool) -> Vec<N::Term> {
        let Some(left) = self.visits_left.get().checked_sub(1) else {
            return self.normal.whole(node, wanted);
        };
        self.visits_left.set(left);
        match node {
            BoolNode::Not(operand) => self.of(operand, !wanted),
            BoolNode::All(parts) if wanted => self.all(parts.iter().map(|part| (part, true))),
            BoolNode::Any(parts) if !wanted => self.all(parts.iter().map(|part| (part, false))),
            BoolNode::All(parts) | BoolNode::Any(parts) => {
                self.any(node, wanted, parts.iter().map(|part| self.of(part, wanted)))
            }
            BoolNode::Choice(choice) => {
                let then = self.all([(&choice.condition, true), (&choice.then, wanted)]);
                let otherwise = self.all([(&choice.condition, false), (&choice.otherwise, wanted)]);
                self.any(node, wanted, [then, otherwise])
            }
            _ => self.normal.leaf(node, wanted),
        }
    }

    fn all(&self, parts: impl IntoIterator<Item = (&'n BoolNode, bool)>) -> Vec<N::Term> {
        let mut product = vec![N::Term::default()];
        for (part, wanted) in parts {
            let mut found = self.of(part, wanted);
            if product.len() * found.len() > N::TERMS_MAX {
                found = self.normal.whole(part, wanted);
            }
            product = product
                .iter()
                .flat_map(|term| found.iter().filter_map(|more| self.normal.both(term, more)))
                .collect();
        }
        product
    }

    fn any(
        &self,
        node: &'n BoolNode,
        wanted: bool,
        parts: impl IntoIterator<Item = Vec<N::Term>>,
    ) -> Vec<N::Term> {
        let mut sum = Vec::new();
        for part in parts {
            sum.extend(part);
            if sum.len() > N::TERMS_MAX {
                return self.normal.whole(node, wanted);
            }
        }
        sum
    }
}
