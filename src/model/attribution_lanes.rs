//! Attributions of sixteen trees at a time, one in each lane of a vector, in f32.
//!
//! With u = t / (1 - t) and c = 1 / z, the factor t * o + (1 - t) * z of a feature is z * (1 - t) * (1 + u * c) where the row takes
//! all its edges, and z * (1 - t) where not. So all z of a path go into its leaf; each split multiplies by 1 / q of the edge
//! before it on the same feature (a feature not tested yet has z = 1), and the side that the row takes by its own
//! q = 1 + u * c. What a split moves is, at each point and up to a constant 1 / (1 - t)^2, which goes into the weight,
//!
//! ```text
//! c * (sum over the leaves of the side taken) / q - c of the edge before * (sum over all leaves) / q of the edge before
//! ```
//!
//! and nothing where the row has left the path at an earlier split on the same feature.
//!
//! `lanes_portable` and `lanes_avx512` do the same operations in the same order, so that every processor gives the same bits.

use crate::model::lanes_portable;
use crate::model::rank_mask_vbmi::Vbmi;
use crate::model::tree::Tree;

/// How many trees go together.
pub(super) const LANES: usize = 16;
/// Deepest tree: its splits are the bits of one word.
pub(super) const DEPTH_MAX: usize = 6;
/// How many blocks are summed in f32 before f64 takes the sum: 256 trees, so that rounding stays far below the tolerance.
const PART_BLOCKS: usize = 16;
/// Largest 1 / z of a feature on a path, and of a path: three of the first and one of the second are far from the ends of f32.
const INVERSE_SHARE_MAX: f64 = 1e9;

/// One number for each tree of a block.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

/// A quadrature point: what the kernels need of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LanePoint {
    /// Its weight over (1 - t)^2.
    pub(super) weight: f32,
    /// t / (1 - t).
    pub(super) u: f32,
    /// 1 - t: 1 / q of a feature that was not tested before.
    pub(super) fresh: f32,
}

/// The splits of sixteen trees at one place.
#[derive(Clone, Debug)]
pub(super) struct SplitLanes {
    /// c of both sides.
    pub(super) sides: [Lanes; 2],
    /// The features, or one past the last for a place without a split.
    pub(super) features: [u16; LANES],
    /// Where the edges before on the same feature stand in the block's `repeats`; `None` when no tree has one here.
    pub(super) repeat: Option<u16>,
}

/// The edges before, on the same feature, of the splits at one place. For a tree that has none: c = 1.
#[derive(Clone, Debug)]
pub(super) struct BeforeLanes<const POINTS: usize> {
    pub(super) c: Lanes,
    /// 1 / q, by point.
    pub(super) inverse: [Lanes; POINTS],
}

/// Sixteen trees, as if each were complete: split 1 is the root, and the children of i are 2i and 2i + 1.
#[derive(Clone, Debug)]
pub(super) struct Block<const POINTS: usize> {
    /// By place; the first stands for nothing.
    pub(super) splits: Vec<SplitLanes>,
    /// Each leaf times the share of the training weight that reached it, by the last splits from left to right.
    pub(super) leaves: Vec<[Lanes; 2]>,
    pub(super) repeats: Vec<BeforeLanes<POINTS>>,
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
        let split = SplitLanes { sides: [one; 2], features: [none; LANES], repeat: None };
        self.blocks.push(Block {
            splits: vec![split; 1 << self.depth],
            leaves: vec![[Lanes([0.0; LANES]); 2]; 1 << (self.depth - 1)],
            repeats: Vec::new(),
        });
    }

    /// Makes a lane a tree of one leaf that is nothing.
    fn clear_lane(&mut self, lane: usize, none: u16) {
        let Some(block) = self.blocks.last_mut() else { return };
        for split in &mut block.splits {
            split.sides.iter_mut().for_each(|side| side.0[lane] = 1.0);
            split.features[lane] = none;
        }
        for before in &mut block.repeats {
            before.c.0[lane] = 1.0;
            for (inverse, point) in before.inverse.iter_mut().zip(&self.points) {
                inverse.0[lane] = point.fresh;
            }
        }
        block.leaves.as_flattened_mut().iter_mut().for_each(|leaf| leaf.0[lane] = 0.0);
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
            let weight = (f64::from(here.weight()?) * share) as f32;
            block.leaves.as_flattened_mut()[first].0[lane] = weight;
            return Some(());
        };
        block.splits[at].features[lane] = u16::try_from(feature).ok()?;
        let before = path.iter().rev().find(|(known, ..)| *known == feature).copied();
        let share_before = before.map_or(1.0, |(.., share)| share);
        if let Some((_, before, before_right, _)) = before {
            let lanes = block.before(at, &points)?;
            lanes.c.0[lane] = (1.0 / share_before) as f32;
            for (inverse, point) in lanes.inverse.iter_mut().zip(&points) {
                inverse.0[lane] = (1.0 / (1.0 + f64::from(point.u) / share_before)) as f32;
            }
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

    /// Adds what each feature moved to `values`, which has one more place than there are features, as has `part`, the room for
    /// sums in f32. `masks` says, by tree, where the row goes right.
    pub(super) fn add(&self, vbmi: Option<Vbmi>, masks: &[u64], part: &mut [f32], values: &mut [f64]) {
        let mut first_repeat = 0;
        let masks = masks.chunks(LANES * PART_BLOCKS).zip(self.repeats_end.chunks(LANES * PART_BLOCKS));
        for (blocks, (masks, ends)) in self.blocks.chunks(PART_BLOCKS).zip(masks) {
            part.fill(0.0);
            for ((block, masks), ends) in blocks.iter().zip(masks.chunks(LANES)).zip(ends.chunks(LANES)) {
                let (mut right, mut live) = ([0_u64; LANES], [0_u64; LANES]);
                for (lane, (mask, end)) in masks.iter().zip(ends).enumerate() {
                    right[lane] = *mask;
                    live[lane] = live_splits(*mask, &self.repeats[first_repeat..*end]);
                    first_repeat = *end;
                }
                match vbmi {
                    #[cfg(target_arch = "x86_64")]
                    Some(vbmi) => vbmi.add_lanes(block, &self.points, &right, &live, part),
                    _ => lanes_portable::walk(block, &self.points, &right, &live, part),
                }
            }
            for (value, part) in values.iter_mut().zip(&*part) {
                *value += f64::from(*part);
            }
        }
    }
}

impl<const POINTS: usize> Block<POINTS> {
    /// The edges before those at a place.
    fn before(&mut self, at: usize, points: &[LanePoint; POINTS]) -> Option<&mut BeforeLanes<POINTS>> {
        let repeat = match self.splits[at].repeat {
            Some(repeat) => repeat,
            None => {
                let fresh = points.map(|point| Lanes([point.fresh; LANES]));
                self.repeats.push(BeforeLanes { c: Lanes([1.0; LANES]), inverse: fresh });
                *self.splits[at].repeat.insert(u16::try_from(self.repeats.len() - 1).ok()?)
            }
        };
        self.repeats.get_mut(usize::from(repeat))
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
