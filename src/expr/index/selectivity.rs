//! How rarely a leaf holds, as far as the texts of the conditions tell: they know no traffic. A guess changes how fast an index
//! answers, never what.

use std::collections::{HashMap, HashSet};

use crate::expr::index::column::{Kind, MISSING};
use crate::expr::index::leaf::{Leaf, Range};
use crate::expr::node::BoolNode;
use crate::expr::schema::Slot;

/// What all conditions together say of the columns.
#[derive(Debug, Default)]
pub(super) struct Survey<'n> {
    /// Of each column the lower bounds, and the upper bounds, in order.
    lower: HashMap<(Slot, Kind), Vec<i64>>,
    upper: HashMap<(Slot, Kind), Vec<i64>>,
    columns: HashSet<(Slot, Kind)>,
    /// Of each slot the texts that conditions name, in order.
    texts: HashMap<Slot, Vec<&'n str>>,
}

impl<'n> Survey<'n> {
    pub(super) fn note(&mut self, leaf: &Leaf<'n>) {
        match leaf {
            Leaf::Range { slot, kind, range } => {
                self.columns.insert((*slot, *kind));
                if range.lo > MISSING + 1 {
                    self.lower.entry((*slot, *kind)).or_default().push(range.lo);
                }
                if range.hi < i64::MAX {
                    self.upper.entry((*slot, *kind)).or_default().push(range.hi);
                }
            }
            Leaf::Texts { slot, texts, .. } => {
                self.columns.insert((*slot, Kind::Text));
                self.texts.entry(*slot).or_default().extend(texts);
            }
            Leaf::Opaque { .. } => {}
        }
    }

    pub(super) fn finish(&mut self) {
        for bounds in self.lower.values_mut().chain(self.upper.values_mut()) {
            bounds.sort_unstable();
        }
        for texts in self.texts.values_mut() {
            texts.sort_unstable();
            texts.dedup();
        }
    }

    /// Every column that leaves ask, in no order.
    pub(super) fn columns(&self) -> impl Iterator<Item = (Slot, Kind)> {
        self.columns.iter().copied()
    }

    /// The texts of each slot that conditions name, in order and each once.
    pub(super) fn texts(&self, slot: Slot) -> &[&'n str] {
        self.texts.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// The share of transactions for which the leaf holds, by guess: 0 to 1.
    pub(super) fn share(&self, leaf: &Leaf<'n>) -> f64 {
        match leaf {
            Leaf::Range { range: Range { inverted: true, .. }, .. } => 0.9,
            Leaf::Range { kind: Kind::Bool, range, .. } => {
                if range.lo == 1 {
                    0.3
                } else {
                    0.7
                }
            }
            Leaf::Range { kind: Kind::Presence, range, .. } => {
                if range.lo == 1 {
                    0.8
                } else {
                    0.3
                }
            }
            Leaf::Range { range, .. } if range.lo == range.hi => 0.05,
            Leaf::Range { slot, kind, range } => {
                // Who asks for more than most others do asks for something rare.
                let lower = 0.7 - 0.6 * rank(self.lower.get(&(*slot, *kind)), range.lo);
                let upper = 0.2 + 0.6 * rank(self.upper.get(&(*slot, *kind)), range.hi);
                match (range.lo > MISSING + 1, range.hi < i64::MAX) {
                    (true, true) => 0.7 * lower.min(upper),
                    (true, false) => lower,
                    (false, _) => upper,
                }
            }
            Leaf::Texts { slot, texts, inverted } => {
                let one = 1.0 / count(self.texts(*slot).len().clamp(3, 20));
                let any = (one * count(texts.len())).min(0.8);
                if *inverted { 1.0 - any } else { any }
            }
            Leaf::Opaque { node, wanted } => {
                let holds = match node {
                    BoolNode::TextInList(..) | BoolNode::IntInList(..) => 0.1,
                    BoolNode::Text(..)
                    | BoolNode::Matches(_)
                    | BoolNode::IntIn(_)
                    | BoolNode::DoubleIn(_) => 0.25,
                    _ => 0.5,
                };
                if *wanted { holds } else { 1.0 - holds }
            }
        }
    }
}

/// How far up among others a bound stands: 0 to 1, the middle of its equals.
fn rank(bounds: Option<&Vec<i64>>, bound: i64) -> f64 {
    let Some(bounds) = bounds.filter(|bounds| !bounds.is_empty()) else { return 0.5 };
    let below = bounds.partition_point(|other| *other < bound);
    let not_above = bounds.partition_point(|other| *other <= bound);
    count(below + not_above) / (2.0 * count(bounds.len()))
}

#[expect(clippy::cast_precision_loss, reason = "counts of leaves stay far below 2^53")]
fn count(number: usize) -> f64 {
    number as f64
}
