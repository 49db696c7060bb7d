//! The forest in eight bytes a node, walked several trees at a time so that their loads overlap. Works for every processor.

use crate::model::forest::ForestBuilder;
use crate::model::tree::{CategorySet, Node, Test, Tree};

/// How many trees are walked together.
const LANES: usize = 16;
/// Bits of a node's link that say how far its left child is.
const OFFSET_BITS: u32 = 16;
/// The bit of a node's link that marks a categorical split.
const CATEGORICAL: u32 = 1 << OFFSET_BITS;
/// Where the slot begins.
const SLOT_SHIFT: u32 = OFFSET_BITS + 1;
/// Most values of a prepared row.
const SLOTS_MAX: usize = 1 << (u32::BITS - SLOT_SHIFT);
/// Values of a prepared row that need no allocation.
const SLOTS_INLINE: usize = 1024;
/// What slot 0 of a prepared row holds. Leaves look there and find it below their weight, so a walk that has arrived stays.
const BELOW_EVERY_LEAF: f32 = f32::NEG_INFINITY;

/// One node: a threshold or a leaf, or where its category set stands; and slot, kind and offset in one word.
#[derive(Clone, Copy, PartialEq, Debug)]
struct PackedNode {
    value: f32,
    link: u32,
}

/// Trees that are walked together.
#[derive(Clone, Debug)]
struct Group {
    /// The roots, in tree order; what is left over repeats the first.
    roots: [u32; LANES],
    /// How many of them count.
    trees: u8,
    depth: u8,
    is_categorical: bool,
}

/// The packed forest.
#[derive(Clone, Debug)]
pub(super) struct Lockstep {
    nodes: Vec<PackedNode>,
    groups: Vec<Group>,
    /// By categorical split.
    sets: Vec<CategorySet>,
}

impl Lockstep {
    /// Packs a forest; `None` when it has more features, or larger trees, than a link can name.
    pub(super) fn new(forest: &ForestBuilder) -> Option<Self> {
        if slots(forest.features()) > SLOTS_MAX {
            return None;
        }
        let mut packed = Self { nodes: Vec::new(), groups: Vec::new(), sets: Vec::new() };
        let trees: Vec<Tree<'_>> = forest.trees().collect();
        for together in trees.chunks(LANES) {
            let mut group = Group {
                roots: [u32::try_from(packed.nodes.len()).ok()?; LANES],
                trees: u8::try_from(together.len()).ok()?,
                depth: 0,
                is_categorical: false,
            };
            for (root, tree) in group.roots.iter_mut().zip(together) {
                *root = u32::try_from(packed.nodes.len()).ok()?;
                group.depth = group.depth.max(u8::try_from(tree.depth()).ok()?);
                for (number, node) in tree.nodes.iter().enumerate() {
                    let node = packed.pack(number, node)?;
                    group.is_categorical |= node.link & CATEGORICAL != 0;
                    packed.nodes.push(node);
                }
            }
            packed.groups.push(group);
        }
        Some(packed)
    }

    fn pack(&mut self, number: usize, node: &Node) -> Option<PackedNode> {
        let offset =
            || u32::try_from(node.children()[0] - number).ok().filter(|offset| *offset < CATEGORICAL);
        let slot = |feature: u32| (1 + 2 * feature + u32::from(!node.is_default_left())) << SLOT_SHIFT;
        Some(match node.test() {
            Test::Leaf(value) => PackedNode { value, link: 0 },
            Test::Below { feature, threshold } => {
                PackedNode { value: threshold, link: slot(feature) | offset()? }
            }
            Test::In { feature, set } => {
                let number = u32::try_from(self.sets.len()).ok()?;
                self.sets.push(set);
                PackedNode { value: f32::from_bits(number), link: slot(feature) | CATEGORICAL | offset()? }
            }
        })
    }

    /// The margin of a row of the right length. `bits` are the forest's.
    pub(super) fn margin(&self, row: &[f32], bits: &[u32], base_margin: f32) -> f32 {
        let slots = slots(row.len());
        if slots <= SLOTS_INLINE {
            let mut values = [BELOW_EVERY_LEAF; SLOTS_INLINE];
            prepare(row, &mut values);
            self.margin_of(row, |slot| values[slot % SLOTS_INLINE], bits, base_margin)
        } else {
            let mut values = vec![BELOW_EVERY_LEAF; slots];
            prepare(row, &mut values);
            self.margin_of(row, |slot| values[slot], bits, base_margin)
        }
    }

    /// `value` gives the prepared row's value in a slot.
    #[inline(always)]
    fn margin_of(&self, row: &[f32], value: impl Fn(usize) -> f32, bits: &[u32], base_margin: f32) -> f32 {
        let mut margin = base_margin;
        for group in &self.groups {
            let leaves = if group.is_categorical {
                self.walk(group, |node| self.goes_right(node, &value, row, bits))
            } else {
                self.walk(group, |node| value(slot(node)) >= node.value)
            };
            for leaf in &leaves[..usize::from(group.trees)] {
                margin += leaf;
            }
        }
        margin
    }

    /// The leaves of a group.
    #[inline(always)]
    fn walk(&self, group: &Group, goes_right: impl Fn(PackedNode) -> bool) -> [f32; LANES] {
        let mut at = group.roots;
        for _ in 0..group.depth {
            for at in &mut at {
                let node = self.nodes[*at as usize];
                *at += (node.link & (CATEGORICAL - 1)) + u32::from(goes_right(node));
            }
        }
        at.map(|at| self.nodes[at as usize].value)
    }

    fn goes_right(&self, node: PackedNode, value: impl Fn(usize) -> f32, row: &[f32], bits: &[u32]) -> bool {
        if node.link & CATEGORICAL == 0 {
            return value(slot(node)) >= node.value;
        }
        let feature = (slot(node) - 1) / 2;
        let x = row[feature];
        if x.is_nan() {
            return slot(node).is_multiple_of(2);
        }
        self.sets[node.value.to_bits() as usize].holds(bits, x)
    }
}

/// Fills a prepared row: a missing value goes left where it is below every threshold, and right where it is above.
fn prepare(row: &[f32], values: &mut [f32]) {
    for (pair, x) in values[1..].chunks_exact_mut(2).zip(row) {
        pair[0] = if x.is_nan() { f32::NEG_INFINITY } else { *x };
        pair[1] = if x.is_nan() { f32::INFINITY } else { *x };
    }
}

/// How many values a prepared row has: two a feature, and one for leaves.
const fn slots(features: usize) -> usize {
    2 * features + 1
}

const fn slot(node: PackedNode) -> usize {
    (node.link >> SLOT_SHIFT) as usize
}
