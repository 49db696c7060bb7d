//! Exact attributions: how much each feature moved a row's margin from the expected one.
//!
//! These are the path-dependent TreeSHAP values (Lundberg et al., 2020), which libxgboost calls `pred_contribs`. For one leaf
//! below a path that tests d different features, let z_j be the product of the cover ratios of the path's edges on feature j,
//! and o_j be 1 when the row takes all of them and 0 otherwise. The Shapley value of feature i for that leaf is
//!
//! ```text
//! leaf * (o_i - z_i) * integral over t in [0, 1] of product over j != i of (t * o_j + (1 - t) * z_j)
//! ```
//!
//! whose integrand is a polynomial of degree d - 1, so that ceil(d / 2) Gauss-Legendre points integrate it exactly.
//!
//! Trees of at most six splits a path are taken sixteen at a time (`attribution_lanes`), others one by one
//! (`attribution_walk`). Which way a tree goes depends on the model alone, so that every processor gives the same bits.

use crate::model::attribution_lanes::{DEPTH_MAX, LaneForest, LanePoint};
use crate::model::attribution_walk::{POINTS_MAX, Shape, WalkScratch, add, expected};
use crate::model::forest::{Forest, RowLengthError};
use crate::model::quadrature::{Point, gauss_legendre};
use crate::model::rank_mask_vbmi::Vbmi;

/// What a row's margin is made of.
#[derive(Clone, PartialEq, Debug)]
pub struct Contributions {
    /// By feature of the model, in log-odds.
    pub features: Vec<f32>,
    /// The expected margin, which they start from.
    pub bias: f32,
}

/// Computes attributions for one forest.
#[derive(Clone, Debug)]
pub struct Attributor {
    lanes: ForestInLanes,
    /// The numbers of the trees that are walked one by one, and how many points integrate each exactly.
    walked: Vec<(usize, u8)>,
    /// By number of points.
    points: Vec<Vec<Point>>,
    depth_max: usize,
    bias: f64,
}

/// The trees that go in lanes, by how many points their depth needs.
#[derive(Clone, Debug)]
enum ForestInLanes {
    None,
    One(LaneForest<1>),
    Two(LaneForest<2>),
    Three(LaneForest<3>),
}

/// The room that one thread computes attributions in, so that no call allocates. Grows to the largest model that it meets.
#[derive(Clone, Debug, Default)]
pub struct AttributionScratch {
    walk: WalkScratch,
    masks: Vec<u64>,
    /// By feature: the sum of a part of the trees.
    part: Vec<f32>,
    /// By feature: its attribution so far; and one place for what is none's.
    values: Vec<f64>,
}

impl Attributor {
    /// Prepares for a forest.
    pub fn new(forest: &Forest) -> Self {
        let mut depth_max = 0;
        let mut points_by_tree = Vec::new();
        let mut bias = f64::from(forest.base_margin());
        for tree in forest.trees() {
            let mut shape = Shape::default();
            shape.measure(&tree, 0);
            depth_max = depth_max.max(shape.depth_max);
            let count = shape.features_max.div_ceil(2).clamp(1, POINTS_MAX);
            points_by_tree.push(u8::try_from(count).unwrap_or(u8::MAX));
            bias += expected(&tree, 0);
        }
        let (lanes, left_out) = ForestInLanes::new(forest, depth_max)
            .unwrap_or_else(|| (ForestInLanes::None, (0..points_by_tree.len()).collect()));
        let walked: Vec<(usize, u8)> =
            left_out.into_iter().map(|tree| (tree, points_by_tree[tree])).collect();
        let most = walked.iter().map(|(_, points)| *points).max().unwrap_or(0);
        Self { lanes, walked, points: (0..=most).map(gauss_legendre).collect(), depth_max, bias }
    }

    /// The expected margin: the mean over the training rows, as the trees' covers remember them.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what libxgboost gives")]
    pub fn bias(&self) -> f32 {
        self.bias as f32
    }

    /// The attributions of a row; with the bias they add up to its margin, but for rounding.
    pub fn contributions(&self, forest: &Forest, row: &[f32]) -> Result<Contributions, RowLengthError> {
        let mut features = vec![0.0; row.len()];
        self.contributions_into(forest, row, &mut AttributionScratch::default(), &mut features)?;
        Ok(Contributions { features, bias: self.bias() })
    }

    /// The attributions of a row, into `features`, which is as long as the row; `forest` is the one this was made for. With
    /// `bias` they add up to the row's margin, but for rounding. Allocates only when `scratch` has to grow.
    pub fn contributions_into(
        &self,
        forest: &Forest,
        row: &[f32],
        scratch: &mut AttributionScratch,
        features: &mut [f32],
    ) -> Result<(), RowLengthError> {
        self.contributions_by(forest.vbmi(), forest, row, scratch, features)
    }

    /// `contributions_into` without what only some processors have: the same to the bit.
    pub fn contributions_portable_into(
        &self,
        forest: &Forest,
        row: &[f32],
        scratch: &mut AttributionScratch,
        features: &mut [f32],
    ) -> Result<(), RowLengthError> {
        self.contributions_by(None, forest, row, scratch, features)
    }

    #[expect(clippy::cast_possible_truncation, reason = "f32 is what libxgboost gives")]
    fn contributions_by(
        &self,
        vbmi: Option<Vbmi>,
        forest: &Forest,
        row: &[f32],
        scratch: &mut AttributionScratch,
        features: &mut [f32],
    ) -> Result<(), RowLengthError> {
        forest.check(row)?;
        forest.check(features)?;
        let AttributionScratch { walk, masks, part, values } = scratch;
        values.clear();
        values.resize(row.len() + 1, 0.0);
        if self.lanes.is_some() && forest.masks_into(row, vbmi, masks).is_some() {
            part.resize(row.len() + 1, 0.0);
            self.lanes.add(vbmi, masks, part, values);
        }
        walk.prepare(self.depth_max, row.len());
        if let [(first, _), ..] = self.walked[..] {
            let mut walked = self.walked.iter();
            let mut next = walked.next();
            for (number, tree) in forest.trees().enumerate().skip(first) {
                let Some((_, count)) = next.filter(|(next, _)| *next == number) else { continue };
                add(tree, &self.points[usize::from(*count)], row, walk, values);
                next = walked.next();
            }
        }
        for (feature, value) in features.iter_mut().zip(values) {
            *feature = *value as f32;
        }
        Ok(())
    }
}

impl ForestInLanes {
    /// Lays a forest out, and says which trees it left out; `None` when it is none for lanes.
    fn new(forest: &Forest, depth_max: usize) -> Option<(Self, Vec<usize>)> {
        if depth_max > DEPTH_MAX || !forest.has_masks() {
            return None;
        }
        let (depth, features) = (depth_max.max(1), forest.features());
        Some(match depth.div_ceil(2) {
            1 => {
                let (lanes, left_out) = LaneForest::new(depth, features, lane_points()?, forest.trees())?;
                (Self::One(lanes), left_out)
            }
            2 => {
                let (lanes, left_out) = LaneForest::new(depth, features, lane_points()?, forest.trees())?;
                (Self::Two(lanes), left_out)
            }
            _ => {
                let (lanes, left_out) = LaneForest::new(depth, features, lane_points()?, forest.trees())?;
                (Self::Three(lanes), left_out)
            }
        })
    }

    const fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    fn add(&self, vbmi: Option<Vbmi>, masks: &[u64], part: &mut [f32], values: &mut [f64]) {
        match self {
            Self::None => {}
            Self::One(lanes) => lanes.add(vbmi, masks, part, values),
            Self::Two(lanes) => lanes.add(vbmi, masks, part, values),
            Self::Three(lanes) => lanes.add(vbmi, masks, part, values),
        }
    }
}

/// The points of a quadrature as lanes take them.
#[expect(clippy::cast_possible_truncation, reason = "rounded once, to f32")]
fn lane_points<const POINTS: usize>() -> Option<[LanePoint; POINTS]> {
    let points = gauss_legendre(u8::try_from(POINTS).ok()?);
    let of = |point: &Point| LanePoint {
        weight: (point.weight / (point.rest * point.rest)) as f32,
        u: (point.t / point.rest) as f32,
        fresh: point.rest as f32,
    };
    points.iter().map(of).collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::forest::ForestBuilder;
    use crate::model::tree::Node;

    fn forest(features: usize, trees: &[&[Node]]) -> Forest {
        let mut forest = ForestBuilder::new(features, 0.5);
        for tree in trees {
            forest.push(tree, &vec![0.0; tree.len()]);
        }
        forest.build()
    }

    #[test]
    fn a_stump_splits_its_margin_between_bias_and_feature() {
        let stump = [Node::below(1, 10.0, false, 1, 4.0), Node::leaf(-1.0, 3.0), Node::leaf(1.0, 1.0)];
        let forest = forest(2, &[&stump]);
        let attributor = Attributor::new(&forest);
        let contributions = attributor.contributions(&forest, &[7.0, 20.0]).unwrap();
        assert_eq!(contributions, Contributions { features: vec![0.0, 1.5], bias: 0.0 });
        assert_eq!(forest.margin(&[7.0, 20.0]), Ok(1.5));
    }

    #[test]
    fn a_row_of_another_length_is_an_error() {
        let forest = forest(2, &[&[Node::leaf(1.0, 1.0)]]);
        let attributor = Attributor::new(&forest);
        let wrong = Err(RowLengthError { expected: 2, actual: 3 });
        assert_eq!(attributor.contributions(&forest, &[0.0; 3]), wrong);
        let mut scratch = AttributionScratch::default();
        let short = attributor.contributions_into(&forest, &[0.0; 2], &mut scratch, &mut [0.0; 3]);
        assert_eq!(short, Err(RowLengthError { expected: 2, actual: 3 }));
    }

    const FEATURES: usize = 5;

    /// A complete tree of depth 4, which tests features again and again, and whose sides may have no cover.
    fn tree(features: &[u32], thresholds: &[i8], leaves: &[i8], shares: &[u8]) -> Vec<Node> {
        let mut covers = [64.0_f32; 31];
        let mut nodes = Vec::new();
        for number in 0..31 {
            if number >= 15 {
                nodes.push(Node::leaf(f32::from(leaves[number - 15]) / 8.0, covers[number]));
                continue;
            }
            let left = 2 * number + 1;
            covers[left] = covers[number] * f32::from(shares[number]) / 4.0;
            covers[left + 1] = covers[number] - covers[left];
            let (feature, threshold) = (features[number], f32::from(thresholds[number]));
            let left = u32::try_from(left).unwrap();
            nodes.push(Node::below(feature, threshold, number % 2 == 0, left, covers[number]));
        }
        nodes
    }

    /// What the tree gives on average when only the features in `known` are known.
    fn expectation(tree: &[Node], node: usize, row: &[f32], known: usize) -> f64 {
        let here = &tree[node];
        let Some(feature) = here.feature() else { return f64::from(here.weight().unwrap()) };
        if known >> feature & 1 == 1 {
            return expectation(tree, here.children()[here.side(&[], row[feature])], row, known);
        }
        let below = |child: usize| tree[child].share_of(here) * expectation(tree, child, row, known);
        here.children().into_iter().map(below).sum()
    }

    /// The Shapley value by its definition, over all subsets.
    fn shapley(tree: &[Node], row: &[f32], feature: usize) -> f64 {
        let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
        let others = (0..1_usize << FEATURES).filter(|known| known >> feature & 1 == 0);
        let gain = |known: usize| {
            let size = known.count_ones();
            let weight = factorial(size) * factorial(FEATURES as u32 - size - 1) / factorial(FEATURES as u32);
            let with = expectation(tree, 0, row, known | 1 << feature);
            weight * (with - expectation(tree, 0, row, known))
        };
        others.map(gain).sum()
    }

    proptest! {
        #[test]
        fn attributions_are_shapley_values_by_definition(
            features in prop::collection::vec(0..5_u32, 15),
            thresholds in prop::collection::vec(-2..3_i8, 15),
            leaves in prop::collection::vec(any::<i8>(), 16),
            shares in prop::collection::vec(0..=4_u8, 15),
            row in prop::collection::vec(prop_oneof![(-3..3_i8).prop_map(f32::from), Just(f32::NAN)], FEATURES),
        ) {
            let tree = tree(&features, &thresholds, &leaves, &shares);
            let forest = forest(FEATURES, &[&tree, &tree]);
            let attributor = Attributor::new(&forest);
            let found = attributor.contributions(&forest, &row).unwrap();
            for (feature, value) in found.features.iter().enumerate() {
                let exact = 2.0 * shapley(&tree, &row, feature);
                prop_assert!((f64::from(*value) - exact).abs() < 1e-5, "feature {feature}: {value}, {exact}");
            }
            let total: f32 = found.features.iter().sum::<f32>() + found.bias;
            prop_assert!((total - forest.margin(&row).unwrap()).abs() < 2e-5);
        }
    }
}
