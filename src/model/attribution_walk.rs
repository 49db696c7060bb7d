//! Attributions of one tree, in f64: exact for every tree, also for those that do not fit `attribution_lanes`.
//!
//! One walk of a tree carries the products for all points down and the sums over leaves up: time is linear in its nodes.

use crate::model::quadrature::Point;
use crate::model::tree::Tree;

/// Most points: enough for paths of 64 different features, and no path is longer (`xgboost_tree::DEPTH_MAX`).
pub(super) const POINTS_MAX: usize = 32;

/// The room that walks take. Grows to the deepest tree that it meets.
#[derive(Clone, Debug, Default)]
pub(super) struct WalkScratch {
    /// By depth, then by point: the weighted product over the features of the path.
    products: Vec<[f64; POINTS_MAX]>,
    /// By depth, then by point: the sums over the leaves below.
    sums: Vec<[f64; POINTS_MAX]>,
    /// By feature: what the present path says of it.
    edges: Vec<Edge>,
}

impl WalkScratch {
    /// Makes room for trees of a depth and rows of a length.
    pub(super) fn prepare(&mut self, depth_max: usize, features: usize) {
        let levels = depth_max + 1;
        if self.products.len() < levels {
            self.products.resize(levels, [0.0; POINTS_MAX]);
            self.sums.resize(levels, [0.0; POINTS_MAX]);
        }
        if self.edges.len() < features {
            self.edges.resize(features, Edge::UNTESTED);
        }
    }
}

/// Adds what each feature moved in a tree to `values`.
pub(super) fn add(
    tree: Tree<'_>,
    points: &[Point],
    row: &[f32],
    scratch: &mut WalkScratch,
    values: &mut [f64],
) {
    for (product, point) in scratch.products[0].iter_mut().zip(points) {
        *product = point.weight;
    }
    Walk { tree, points, row, scratch, values }.descend(0, 0);
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
    scratch: &'a mut WalkScratch,
    values: &'a mut [f64],
}

impl Walk<'_> {
    /// Goes down from `node`, at `depth`, whose weighted products stand in the scratch; leaves the sums over its leaves there.
    fn descend(&mut self, node: usize, depth: usize) {
        let here = self.tree.nodes[node];
        let count = self.points.len();
        let Some(feature) = here.feature() else {
            let leaf = here.weight().map_or(0.0, f64::from);
            let WalkScratch { products, sums, .. } = &mut *self.scratch;
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
            self.values[feature] += moved;
        }
        self.scratch.edges[feature] = earlier;
    }
}

/// The mean of the leaves, weighted by cover.
pub(super) fn expected(tree: &Tree<'_>, node: usize) -> f64 {
    let here = &tree.nodes[node];
    if let Some(weight) = here.weight() {
        return f64::from(weight);
    }
    here.children().into_iter().map(|child| expected(tree, child) * tree.nodes[child].share_of(here)).sum()
}

/// How deep a tree is, and how many different features its paths test.
#[derive(Default)]
pub(super) struct Shape {
    path: Vec<usize>,
    pub(super) depth_max: usize,
    pub(super) features_max: usize,
}

impl Shape {
    /// Measures what stands below a node.
    pub(super) fn measure(&mut self, tree: &Tree<'_>, node: usize) {
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
