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
//! whose integrand is a polynomial of degree d - 1, so that ceil(d / 2) Gauss-Legendre points integrate it exactly. One walk of
//! a tree carries the products for all points down and the sums over leaves up: time is linear in its nodes.

use crate::model::forest::{Forest, RowLengthError};
use crate::model::tree::Tree;

/// Most points: enough for paths of 64 different features, and no path is longer (`xgboost_json::DEPTH_MAX`).
const POINTS_MAX: usize = 32;

/// What a row's margin is made of.
#[derive(Clone, PartialEq, Debug)]
pub struct Contributions {
    /// By feature of the model, in log-odds.
    pub features: Vec<f32>,
    /// The expected margin, which they start from.
    pub bias: f32,
}

/// A point of the quadrature in [0, 1], what is left to 1, and its weight.
#[derive(Clone, Copy, Debug)]
struct Point {
    t: f64,
    rest: f64,
    weight: f64,
}

/// Computes attributions for one forest.
#[derive(Clone, Debug)]
pub struct Attributor {
    /// By number of points.
    points: Vec<Vec<Point>>,
    /// By tree: how many points integrate it exactly.
    points_by_tree: Vec<u8>,
    depth_max: usize,
    bias: f64,
}

/// The room that one thread computes attributions in, so that no call allocates. Grows to the largest model that it meets.
#[derive(Clone, Debug, Default)]
pub struct AttributionScratch {
    /// By depth, then by point: the weighted product over the features of the path.
    products: Vec<[f64; POINTS_MAX]>,
    /// By depth, then by point: the sums over the leaves below.
    sums: Vec<[f64; POINTS_MAX]>,
    /// By feature: what the present path says of it.
    edges: Vec<Edge>,
    /// By feature: its attribution so far.
    values: Vec<f64>,
}

impl AttributionScratch {
    fn prepare(&mut self, depth_max: usize, features: usize) {
        let levels = depth_max + 1;
        if self.products.len() < levels {
            self.products.resize(levels, [0.0; POINTS_MAX]);
            self.sums.resize(levels, [0.0; POINTS_MAX]);
        }
        self.edges.clear();
        self.edges.resize(features, Edge::UNTESTED);
        self.values.clear();
        self.values.resize(features, 0.0);
    }
}

impl Attributor {
    /// Prepares for a forest.
    pub fn new(forest: &Forest) -> Self {
        let mut depth_max = 0;
        let mut points_by_tree = Vec::new();
        let mut bias = f64::from(forest.base_margin());
        for tree in forest.trees() {
            let mut shape = Shape { path: Vec::new(), depth_max: 0, features_max: 0 };
            shape.measure(&tree, 0);
            depth_max = depth_max.max(shape.depth_max);
            let count = shape.features_max.div_ceil(2).clamp(1, POINTS_MAX);
            points_by_tree.push(u8::try_from(count).unwrap_or(u8::MAX));
            bias += expected(&tree, 0);
        }
        let most = points_by_tree.iter().copied().max().unwrap_or(0);
        Self { points: (0..=most).map(gauss_legendre).collect(), points_by_tree, depth_max, bias }
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
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what libxgboost gives")]
    pub fn contributions_into(
        &self,
        forest: &Forest,
        row: &[f32],
        scratch: &mut AttributionScratch,
        features: &mut [f32],
    ) -> Result<(), RowLengthError> {
        let expected = forest.features();
        if let Some(actual) = [row.len(), features.len()].into_iter().find(|actual| *actual != expected) {
            return Err(RowLengthError { expected, actual });
        }
        scratch.prepare(self.depth_max, row.len());
        for (tree, count) in forest.trees().zip(&self.points_by_tree) {
            let points = &self.points[usize::from(*count)];
            for (product, point) in scratch.products[0].iter_mut().zip(points) {
                *product = point.weight;
            }
            Walk { tree, points, row, scratch: &mut *scratch }.descend(0, 0);
        }
        for (feature, value) in features.iter_mut().zip(&scratch.values) {
            *feature = *value as f32;
        }
        Ok(())
    }
}

/// What a path says of one feature: whether the row takes all its edges, and the product of their cover ratios.
#[derive(Clone, Copy, Debug)]
struct Edge {
    taken: bool,
    zero: f64,
}

impl Edge {
    /// Of a feature that the path does not test.
    const UNTESTED: Self = Self { taken: true, zero: 1.0 };

    /// The feature's factor of the product.
    fn factor(self, point: Point) -> f64 {
        if self.taken { point.t + point.rest * self.zero } else { point.rest * self.zero }
    }

    /// (o - z) over the factor; where the row is not on the path, z cancels out.
    fn share(self, point: Point) -> f64 {
        if self.taken { (1.0 - self.zero) / self.factor(point) } else { -1.0 / point.rest }
    }

    /// Whether neither the row nor any training weight comes here: nothing below counts.
    fn is_dead(self) -> bool {
        !self.taken && self.zero <= f64::MIN_POSITIVE
    }
}

struct Walk<'a> {
    tree: Tree<'a>,
    points: &'a [Point],
    row: &'a [f32],
    scratch: &'a mut AttributionScratch,
}

impl Walk<'_> {
    /// Goes down from `node`, at `depth`, whose weighted products stand in the scratch; leaves the sums over its leaves there.
    fn descend(&mut self, node: usize, depth: usize) {
        let here = self.tree.nodes[node];
        let count = self.points.len();
        let Some(feature) = here.feature() else {
            let leaf = here.weight().map_or(0.0, f64::from);
            let AttributionScratch { products, sums, .. } = &mut *self.scratch;
            for (sum, product) in sums[depth][..count].iter_mut().zip(&products[depth]) {
                *sum = leaf * product;
            }
            return;
        };
        let taken = here.side(self.tree.bits, self.row[feature]);
        let earlier = self.scratch.edges[feature];
        self.scratch.sums[depth][..count].fill(0.0);
        for (side, child) in here.children().into_iter().enumerate() {
            let ratio = self.tree.nodes[child].share_of(&here);
            let edge = Edge { taken: earlier.taken && side == taken, zero: earlier.zero * ratio };
            if edge.is_dead() {
                continue;
            }
            for (number, point) in self.points.iter().enumerate() {
                let product = self.scratch.products[depth][number];
                self.scratch.products[depth + 1][number] =
                    product / earlier.factor(*point) * edge.factor(*point);
            }
            self.scratch.edges[feature] = edge;
            self.descend(child, depth + 1);
            let mut moved = 0.0;
            for (number, point) in self.points.iter().enumerate() {
                let below = self.scratch.sums[depth + 1][number];
                moved += below * (edge.share(*point) - earlier.share(*point));
                self.scratch.sums[depth][number] += below;
            }
            self.scratch.values[feature] += moved;
        }
        self.scratch.edges[feature] = earlier;
    }
}

/// The mean of the leaves, weighted by cover.
fn expected(tree: &Tree<'_>, node: usize) -> f64 {
    let here = &tree.nodes[node];
    if let Some(weight) = here.weight() {
        return f64::from(weight);
    }
    here.children().into_iter().map(|child| expected(tree, child) * tree.nodes[child].share_of(here)).sum()
}

/// How deep a tree is, and how many different features its paths test.
struct Shape {
    path: Vec<usize>,
    depth_max: usize,
    features_max: usize,
}

impl Shape {
    fn measure(&mut self, tree: &Tree<'_>, node: usize) {
        let here = &tree.nodes[node];
        let Some(feature) = here.feature() else {
            let new = |(at, feature): &(usize, &usize)| !self.path[..*at].contains(*feature);
            let features = self.path.iter().enumerate().filter(new).count();
            self.features_max = self.features_max.max(features);
            self.depth_max = self.depth_max.max(self.path.len());
            return;
        };
        self.path.push(feature);
        for child in here.children() {
            self.measure(tree, child);
        }
        self.path.pop();
    }
}

/// Gauss-Legendre points and weights on [0, 1]: exact for polynomials up to degree 2 * `count` - 1. The points are the roots
/// of the Legendre polynomial, found by Newton's method from Tricomi's estimate.
fn gauss_legendre(count: u8) -> Vec<Point> {
    let n = f64::from(count);
    (0..count)
        .map(|index| {
            let mut x = (std::f64::consts::PI * (f64::from(index) + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut previous, mut value) = (1.0, x);
                for degree in 2..=count {
                    let k = f64::from(degree);
                    (previous, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k);
                }
                slope = n * (x * value - previous) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            let weight = 1.0 / ((1.0 - x * x) * slope * slope);
            Point { t: f64::midpoint(1.0, x), rest: f64::midpoint(1.0, -x), weight }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::forest::ForestBuilder;
    use crate::model::tree::Node;

    #[test]
    fn points_integrate_polynomials_exactly() {
        for count in 1..=u8::try_from(POINTS_MAX).unwrap() {
            let points = gauss_legendre(count);
            for power in 0..2 * i32::from(count) {
                let integral: f64 = points.iter().map(|point| point.weight * point.t.powi(power)).sum();
                let exact = 1.0 / (f64::from(power) + 1.0);
                assert!((integral - exact).abs() < 1e-13, "{count} points, degree {power}");
            }
        }
    }

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
