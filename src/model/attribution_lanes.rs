//! Attributions of sixteen trees at a time, one in each lane of a vector, in f32.
//!
//! With u = t / (1 - t) and c = 1 / z, the factor t * o + (1 - t) * z of a feature is z * (1 - t) * (1 + u * c) where the row takes
//! all its edges, and z * (1 - t) where not. So all z of a path go into its leaf; each split multiplies by 1 / q of the edge
//! before it on the same feature (a feature not tested yet has z = 1), and the side that the row takes by its own
//! q = 1 + u * c. What a split moves is, at each point and up to the constant 1 / (1 - t)^2,
//!
//! ```text
//! c * (sum over the leaves of the side taken) / q - c of the edge before * (sum over all leaves) / q of the edge before
//! ```
//!
//! and nothing where the row has left the path at an earlier split on the same feature.
//!
//! `lanes_portable` and `lanes_avx512` do the same operations in the same order, so that every processor gives the same bits.

use crate::model::lanes_portable;
use crate::model::rank_mask::WORD;
use crate::model::rank_mask_vbmi::Vbmi;
use crate::model::tree::Tree;

/// How many trees go together.
pub(super) const LANES: usize = 16;
/// Deepest tree: its splits are the bits of one word.
pub(super) const DEPTH_MAX: usize = 6;
/// Largest 1 / z of a feature on a path, and of a path: three of the first and one of the second are far from the ends of f32.
const INVERSE_SHARE_MAX: f64 = 1e9;

/// One number for each tree of a block.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

/// A quadrature point: what the kernels need of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LanePoint {
    /// Its weight.
    pub(super) weight: f32,
    /// t / (1 - t).
    pub(super) u: f32,
    /// 1 / (1 - t)^2.
    pub(super) scale: f32,
}

/// The splits of sixteen trees at one place.
#[derive(Clone, Debug)]
pub(super) struct SplitLanes<const POINTS: usize> {
    /// 1 / q of the edge before on the same feature, by point.
    pub(super) before_inverse: [Lanes; POINTS],
    /// c of it.
    pub(super) before: Lanes,
    /// c of both sides.
    pub(super) sides: [Lanes; 2],
}

/// Sixteen trees, as if each were complete: node 1 is the root, and the children of i are 2i and 2i + 1.
#[derive(Clone, Debug)]
pub(super) struct Block<const POINTS: usize> {
    /// By node; the first stands for nothing.
    pub(super) splits: Vec<SplitLanes<POINTS>>,
    /// Each leaf times the share of the training weight that reached it, from left to right.
    pub(super) leaves: Vec<Lanes>,
    /// By node: the features, or one past the last for a place without a split.
    features: Vec<[u16; LANES]>,
}

/// A split on a feature that its path has tested before.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    node: u8,
    before: u8,
    before_right: bool,
}

/// A forest laid out in lanes.
#[derive(Clone, Debug)]
pub(super) struct LaneForest<const POINTS: usize> {
    depth: usize,
    points: [LanePoint; POINTS],
    blocks: Vec<Block<POINTS>>,
    /// All trees' repeats, ancestors first, and where each tree's end.
    repeats: Vec<Repeat>,
    repeats_end: Vec<usize>,
}

impl<const POINTS: usize> LaneForest<POINTS> {
    /// Lays out trees of at most `depth` splits a path. Gives back, too, the numbers of the trees that it left out, because their
    /// covers differ too much for f32 or are nothing.
    pub(super) fn new<'a>(
        depth: usize,
        features: usize,
        points: [LanePoint; POINTS],
        trees: impl Iterator<Item = Tree<'a>>,
    ) -> Option<(Self, Vec<usize>)> {
        let none = u16::try_from(features).ok()?;
        let mut forest =
            Self { depth, points, blocks: Vec::new(), repeats: Vec::new(), repeats_end: Vec::new() };
        let mut left_out = Vec::new();
        for (number, tree) in trees.enumerate() {
            let lane = number % LANES;
            if lane == 0 {
                forest.add_block(none);
            }
            let repeats = forest.repeats.len();
            let mut path = Vec::new();
            if forest.place(&tree, 0, 1, 1.0, &mut path, lane).is_none() {
                forest.clear_lane(lane, none);
                forest.repeats.truncate(repeats);
                left_out.push(number);
            }
            // Ancestors have smaller numbers.
            forest.repeats[repeats..].sort_by_key(|repeat| repeat.node);
            forest.repeats_end.push(forest.repeats.len());
        }
        Some((forest, left_out))
    }

    fn add_block(&mut self, none: u16) {
        let one = Lanes([1.0; LANES]);
        let split = SplitLanes {
            before_inverse: self.points.map(|point| Lanes([1.0 / (1.0 + point.u); LANES])),
            before: one,
            sides: [one; 2],
        };
        self.blocks.push(Block {
            splits: vec![split; 1 << self.depth],
            leaves: vec![Lanes([0.0; LANES]); 1 << self.depth],
            features: vec![[none; LANES]; 1 << self.depth],
        });
    }

    /// Makes a lane a tree of one leaf that is nothing.
    fn clear_lane(&mut self, lane: usize, none: u16) {
        let Some(block) = self.blocks.last_mut() else { return };
        for split in &mut block.splits {
            for (inverse, point) in split.before_inverse.iter_mut().zip(&self.points) {
                inverse.0[lane] = 1.0 / (1.0 + point.u);
            }
            split.before.0[lane] = 1.0;
            split.sides.iter_mut().for_each(|side| side.0[lane] = 1.0);
        }
        block.leaves.iter_mut().for_each(|leaf| leaf.0[lane] = 0.0);
        block.features.iter_mut().for_each(|features| features[lane] = none);
    }

    /// Places what stands below a node at `at`, which `share` of the training weight reached. `path` holds, for each split above,
    /// its feature, its place, whether the path goes right there, and the product of the feature's shares so far.
    #[expect(clippy::cast_possible_truncation, reason = "rounded once, to f32")]
    fn place(
        &mut self,
        tree: &Tree<'_>,
        node: usize,
        at: usize,
        share: f64,
        path: &mut Vec<(usize, usize, bool, f64)>,
        lane: usize,
    ) -> Option<()> {
        let here = &tree.nodes[node];
        let (depth, points) = (self.depth, self.points);
        let block = self.blocks.last_mut()?;
        let Some(feature) = here.feature() else {
            // The row goes left at every place without a split, so the first leaf below stands for all.
            let first = (at << (depth - path.len())) - (1 << depth);
            block.leaves[first].0[lane] = (f64::from(here.weight()?) * share) as f32;
            return Some(());
        };
        let before = path.iter().rev().find(|(known, ..)| *known == feature).copied();
        let share_before = before.map_or(1.0, |(.., share)| share);
        let inverse_before = 1.0 / share_before;
        let split = &mut block.splits[at];
        for (inverse, point) in split.before_inverse.iter_mut().zip(&points) {
            inverse.0[lane] = (1.0 / (1.0 + f64::from(point.u) * inverse_before)) as f32;
        }
        split.before.0[lane] = inverse_before as f32;
        block.features[at][lane] = u16::try_from(feature).ok()?;
        if let Some((_, before, before_right, _)) = before {
            let (node, before) = (u8::try_from(at).ok()?, u8::try_from(before).ok()?);
            self.repeats.push(Repeat { node, before, before_right });
        }
        for (side, child) in here.children().into_iter().enumerate() {
            let edge = tree.nodes[child].share_of(here);
            let (of_feature, of_path) = (share_before * edge, share * edge);
            if !(of_feature >= 1.0 / INVERSE_SHARE_MAX && of_path >= 1.0 / INVERSE_SHARE_MAX) {
                return None;
            }
            self.blocks.last_mut()?.splits[at].sides[side].0[lane] = (1.0 / of_feature) as f32;
            path.push((feature, at, side == 1, of_feature));
            self.place(tree, child, 2 * at + side, of_path, path, lane)?;
            path.pop();
        }
        Some(())
    }

    /// Adds what each feature moved to `values`, which has one more place than there are features. `masks` says, by tree, where
    /// the row goes right.
    pub(super) fn add(&self, vbmi: Option<Vbmi>, masks: &[u64], values: &mut [f64]) {
        let mut moved = [Lanes([0.0; LANES]); WORD];
        let mut first_repeat = 0;
        let ends = self.repeats_end.chunks(LANES);
        for ((block, masks), ends) in self.blocks.iter().zip(masks.chunks(LANES)).zip(ends) {
            let (mut right, mut live) = ([0_u64; LANES], [0_u64; LANES]);
            for (lane, (mask, end)) in masks.iter().zip(ends).enumerate() {
                right[lane] = *mask;
                live[lane] = live_splits(*mask, &self.repeats[first_repeat..*end]);
                first_repeat = *end;
            }
            match vbmi {
                #[cfg(target_arch = "x86_64")]
                Some(vbmi) => vbmi.add_lanes(block, &self.points, &right, &live, &mut moved),
                _ => lanes_portable::walk(block, &self.points, &right, &live, &mut moved),
            }
            for (features, moved) in block.features.iter().zip(&moved).skip(1) {
                for (feature, moved) in features.iter().zip(&moved.0) {
                    values[usize::from(*feature)] += f64::from(*moved);
                }
            }
        }
    }
}

/// The splits whose path the row has not left at an earlier split on the same feature, as bits.
fn live_splits(right: u64, repeats: &[Repeat]) -> u64 {
    let mut dead = 0_u64;
    for Repeat { node, before, before_right } in repeats {
        let left_path = (right >> before ^ u64::from(*before_right)) & 1;
        dead |= (dead >> before & 1 | left_path) << node;
    }
    !dead
}
