//! A condition as alternatives (clauses) that each say what they leave to every name.
//!
//! A leaf that no set of values describes stays as its compiled text, so that only its equal answers to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::value::Value;
use crate::expr::node::BoolNode;
use crate::expr::normal::{Normal, alternatives};
use crate::expr::program::Facts;
use crate::expr::schema::Slot;
use crate::rules::lint::allowed::{Allowed, Keys, Together};
use crate::rules::lint::known::Known;
use crate::rules::lint::leaf::{Leaf, simple, text, turned};

/// What must hold together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Clause<'n> {
    pub(super) names: BTreeMap<Slot, Allowed<'n>>,
    /// Leaves that stay whole, by their compiled text, with what they must come to.
    pub(super) whole: BTreeSet<(String, bool)>,
}

impl<'n> Clause<'n> {
    /// With one thing more; `None` when that cannot hold.
    fn and(mut self, leaf: &Leaf<'n>, known: &Known) -> Option<Self> {
        match leaf {
            Leaf::Allowed { slot, allowed, written } => {
                match self.names.get(slot).map(|left| left.and(allowed)) {
                    Some(Together::Never) => return None,
                    Some(Together::Unknown) => self = self.and(written, known)?,
                    Some(Together::Allowed(both)) => {
                        self.names.insert(*slot, both);
                    }
                    None if allowed.is_empty() => return None,
                    None => {
                        let there = known.is_always_there(*slot);
                        match allowed {
                            Allowed::Missing if there => return None,
                            // What every transaction fulfils is not kept.
                            allowed if there && every_value(*slot, allowed, known) => {}
                            allowed => {
                                self.names.insert(*slot, allowed.clone());
                            }
                        }
                    }
                }
            }
            Leaf::Whole(text, wanted) => {
                if self.whole.contains(&(text.clone(), !wanted)) {
                    return None;
                }
                self.whole.insert((text.clone(), *wanted));
            }
        }
        Some(self)
    }

    fn and_all(self, other: &Self, known: &Known) -> Option<Self> {
        let mut both = self;
        for (slot, allowed) in &other.names {
            let written = Box::new(Leaf::Whole(format!("{slot:?} {allowed:?}"), true));
            both = both.and(&Leaf::Allowed { slot: *slot, allowed: allowed.clone(), written }, known)?;
        }
        for (text, wanted) in &other.whole {
            both = both.and(&Leaf::Whole(text.clone(), *wanted), known)?;
        }
        Some(both)
    }

    /// Whether `other` holds wherever this does.
    pub(super) fn implies(&self, other: &Self) -> bool {
        other.whole.is_subset(&self.whole)
            && other
                .names
                .iter()
                .all(|(slot, allowed)| self.names.get(slot).is_some_and(|left| left.is_within(allowed)))
    }
}

/// Whether a value that is there is always among the allowed ones.
fn every_value(slot: Slot, allowed: &Allowed<'_>, known: &Known) -> bool {
    match allowed {
        Allowed::Present => true,
        Allowed::Missing => false,
        Allowed::Keys(kind, keys) => keys.intersection(&known.every(slot, *kind)) == known.every(slot, *kind),
        Allowed::Texts(texts) => texts.inverted && texts.texts.is_empty(),
    }
}

/// Whether one of the clauses holds for every transaction.
pub(super) fn always_holds(clauses: &[Clause<'_>], known: &Known) -> bool {
    if clauses.iter().any(|clause| clause.names.is_empty() && clause.whole.is_empty()) {
        return true;
    }
    // Else some name alone decides, and whatever it holds, one clause is content.
    let mut alone: BTreeMap<Slot, Vec<&Allowed<'_>>> = BTreeMap::new();
    for clause in clauses.iter().filter(|clause| clause.whole.is_empty() && clause.names.len() == 1) {
        for (slot, allowed) in &clause.names {
            alone.entry(*slot).or_default().push(allowed);
        }
    }
    alone.iter().any(|(slot, allowed)| {
        let missing = known.is_always_there(*slot) || allowed.contains(&&Allowed::Missing);
        missing && covers_every_value(*slot, allowed, known)
    })
}

fn covers_every_value(slot: Slot, allowed: &[&Allowed<'_>], known: &Known) -> bool {
    let of_kind = allowed.iter().find_map(|allowed| match allowed {
        Allowed::Keys(kind, _) => Some(*kind),
        _ => None,
    });
    let keys = of_kind.map(|kind| {
        let ranges = allowed.iter().filter_map(|allowed| match allowed {
            Allowed::Keys(of, keys) if *of == kind => Some(keys.ranges().to_vec()),
            _ => None,
        });
        Allowed::Keys(kind, Keys::union(ranges.flatten().collect()))
    });
    allowed.contains(&&Allowed::Present)
        || (known.is_typed(slot) && keys.is_some_and(|keys| every_value(slot, &keys, known)))
}

/// The clauses under which `node` comes to `wanted`; none when it never does.
pub(super) fn clauses<'n>(node: &'n BoolNode, wanted: bool, known: &Known) -> Vec<Clause<'n>> {
    alternatives(known, node, wanted)
}

impl<'n> Normal<'n> for Known {
    type Term = Clause<'n>;

    const TERMS_MAX: usize = 16;

    fn leaf(&self, node: &'n BoolNode, wanted: bool) -> Vec<Clause<'n>> {
        let text = text(node);
        if !text.contains("Slot(") && !text.contains("InList") {
            // It reads nothing and always comes to the same.
            return if node.eval(&Nothing) == Some(wanted) { vec![Clause::default()] } else { Vec::new() };
        }
        let written = turned(node, text, wanted);
        let leaf = match simple(node, wanted, self) {
            Some((slot, allowed)) => Leaf::Allowed { slot, allowed, written: Box::new(written) },
            None => written,
        };
        Clause::default().and(&leaf, self).into_iter().collect()
    }

    fn whole(&self, node: &'n BoolNode, wanted: bool) -> Vec<Clause<'n>> {
        Clause::default().and(&Leaf::Whole(text(node), wanted), self).into_iter().collect()
    }

    fn both(&self, one: &Clause<'n>, other: &Clause<'n>) -> Option<Clause<'n>> {
        one.clone().and_all(other, self)
    }
}

/// Facts of which nothing is there, for what asks for none.
struct Nothing;

impl Facts for Nothing {
    fn value(&self, _: Slot) -> Value<'_> {
        Value::Missing
    }

    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        false
    }
}
