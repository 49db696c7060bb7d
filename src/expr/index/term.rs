//! Terms: conjunctions of leaves, one for each alternative of a condition.

use crate::expr::index::leaf::{Leaf, Range};
use crate::expr::node::BoolNode;
use crate::expr::normal::{Normal, alternatives};

/// Leaves that must all hold.
pub(super) type Term<'n> = Vec<Leaf<'n>>;

/// The terms under which a condition is true. None at all: it never is.
pub(super) fn terms(condition: &BoolNode) -> Vec<Term<'_>> {
    alternatives(&Leaves, condition, true).into_iter().filter(|term| !term.iter().any(is_empty)).collect()
}

struct Leaves;

impl<'n> Normal<'n> for Leaves {
    type Term = Term<'n>;

    /// Each alternative is filed on its own.
    const TERMS_MAX: usize = 8;

    fn leaf(&self, node: &'n BoolNode, wanted: bool) -> Vec<Term<'n>> {
        match node {
            BoolNode::Const(flag) if *flag == wanted => vec![Term::new()],
            BoolNode::Const(_) => Vec::new(),
            _ => vec![vec![Leaf::of(node, wanted)]],
        }
    }

    fn whole(&self, node: &'n BoolNode, wanted: bool) -> Vec<Term<'n>> {
        vec![vec![Leaf::Opaque { node, wanted }]]
    }

    fn both(&self, one: &Term<'n>, other: &Term<'n>) -> Option<Term<'n>> {
        let mut both = one.clone();
        other.iter().for_each(|leaf| join(&mut both, leaf));
        Some(both)
    }
}

/// Adds a leaf; two ranges of one column become one.
fn join<'n>(term: &mut Term<'n>, leaf: &Leaf<'n>) {
    if let Leaf::Range { slot, kind, range } = leaf
        && !range.inverted
    {
        let known = term.iter_mut().find_map(|known| match known {
            Leaf::Range { slot: of, kind: as_kind, range: known }
                if of == slot && as_kind == kind && !known.inverted =>
            {
                Some(known)
            }
            _ => None,
        });
        if let Some(known) = known {
            *known = Range::of(known.lo.max(range.lo), known.hi.min(range.hi));
            return;
        }
    }
    term.push(leaf.clone());
}

fn is_empty(leaf: &Leaf<'_>) -> bool {
    matches!(leaf, Leaf::Range { range, .. } if range.is_empty())
}
