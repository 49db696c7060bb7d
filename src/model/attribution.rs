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

use crate::model::forest::{Forest, Node, RowLengthError, depth};

/// Most points: enough for paths of 64 different features.
const POINTS_MAX: usize = 32;

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
    points: Vec<(f64, f64)>,
    bias: f64,
}

impl Attributor {
    /// Prepares for a forest.
    pub fn new(forest: &Forest) -> Self {
        let deepest = forest.trees().map(depth).max().unwrap_or(0);
        let bias =
            f64::from(forest.base_margin()) + forest.trees().map(|tree| expected(tree, 0)).sum::<f64>();
        Self { points: gauss_legendre(deepest.div_ceil(2).clamp(1, POINTS_MAX)), bias }
    }

    /// The expected margin.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what libxgboost gives")]
    pub fn bias(&self) -> f32 {
        self.bias as f32
    }

    /// The attributions of a row; with the bias they add up to its margin, but for rounding.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what libxgboost gives")]
    pub fn contributions(&self, forest: &Forest, row: &[f32]) -> Result<Contributions, RowLengthError> {
        if row.len() != forest.features() {
            return Err(RowLengthError { expected: forest.features(), actual: row.len() });
        }
        let mut walk = Walk { points: &self.points, row, path: Vec::new(), values: vec![0.0; row.len()] };
        for tree in forest.trees() {
            let mut products = [0.0; POINTS_MAX];
            for (product, (_, weight)) in products.iter_mut().zip(&self.points) {
                *product = *weight;
            }
            walk.descend(tree, 0, &products);
        }
        let features = walk.values.iter().map(|value| *value as f32).collect();
        Ok(Contributions { features, bias: self.bias() })
    }
}

/// What a path says of one feature: whether the row takes all its edges, and the product of their cover ratios.
#[derive(Clone, Copy)]
struct Edge {
    feature: usize,
    one: f64,
    zero: f64,
}

impl Edge {
    fn factor(&self, t: f64) -> f64 {
        t * self.one + (1.0 - t) * self.zero
    }
}

struct Walk<'a> {
    points: &'a [(f64, f64)],
    row: &'a [f32],
    path: Vec<Edge>,
    values: Vec<f64>,
}

impl Walk<'_> {
    /// Goes down from `node`, whose path has the given weighted product at each point; gives the sums over the leaves below.
    fn descend(&mut self, tree: &[Node], node: usize, products: &[f64; POINTS_MAX]) -> [f64; POINTS_MAX] {
        let here = &tree[node];
        let mut sums = [0.0; POINTS_MAX];
        if here.is_leaf() {
            for (sum, product) in sums.iter_mut().zip(products).take(self.points.len()) {
                *sum = f64::from(here.value()) * product;
            }
            return sums;
        }
        let feature = here.feature();
        let taken = here.side(self.row[feature]);
        let earlier = self.path.iter().rev().find(|edge| edge.feature == feature).copied();
        let earlier = earlier.unwrap_or(Edge { feature, one: 1.0, zero: 1.0 });
        for (side, child) in here.children().into_iter().enumerate() {
            let ratio = ratio(&tree[child], here);
            let one = if side == taken { earlier.one } else { 0.0 };
            let edge = Edge { feature, one, zero: earlier.zero * ratio };
            let mut below = [0.0; POINTS_MAX];
            for ((below, product), (t, _)) in below.iter_mut().zip(products).zip(self.points) {
                *below = product / earlier.factor(*t) * edge.factor(*t);
            }
            self.path.push(edge);
            let child_sums = self.descend(tree, child, &below);
            self.path.pop();
            let mut moved = 0.0;
            for ((sum, child_sum), (t, _)) in sums.iter_mut().zip(child_sums).zip(self.points) {
                let now = (edge.one - edge.zero) / edge.factor(*t);
                let before = (earlier.one - earlier.zero) / earlier.factor(*t);
                moved += child_sum * (now - before);
                *sum += child_sum;
            }
            self.values[feature] += moved;
        }
        sums
    }
}

/// Which share of its parent's training weight a node has; never 0, so that it can be divided by.
fn ratio(child: &Node, parent: &Node) -> f64 {
    (f64::from(child.cover()) / f64::from(parent.cover())).max(1e-30)
}

/// The mean of the leaves, weighted by cover.
fn expected(tree: &[Node], node: usize) -> f64 {
    let here = &tree[node];
    if here.is_leaf() {
        return f64::from(here.value());
    }
    here.children().into_iter().map(|child| expected(tree, child) * ratio(&tree[child], here)).sum()
}

/// Gauss-Legendre points and weights on [0, 1]: exact for polynomials up to degree 2 * `count` - 1. The points are the roots
/// of the Legendre polynomial, found by Newton's method from Tricomi's estimate.
#[expect(clippy::cast_precision_loss, reason = "counts are below 33")]
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    (0..count)
        .map(|index| {
            let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut previous, mut value) = (1.0, x);
                for degree in 2..=count {
                    let k = degree as f64;
                    (previous, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k);
                }
                slope = n * (x * value - previous) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            ((x + 1.0) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_integrate_polynomials_exactly() {
        for count in 1..=POINTS_MAX {
            let points = gauss_legendre(count);
            for degree in 0..2 * count {
                let power = i32::try_from(degree).unwrap();
                let integral: f64 = points.iter().map(|(t, weight)| weight * t.powi(power)).sum();
                assert!(
                    (integral - 1.0 / (f64::from(power) + 1.0)).abs() < 1e-13,
                    "{count} points, degree {degree}"
                );
            }
        }
    }

    #[test]
    fn a_stump_splits_its_margin_between_bias_and_feature() {
        let mut forest = Forest::new(2, 0.5);
        forest.push(&[Node::split(1, 10.0, false, 1, 4.0), Node::leaf(-1.0, 3.0), Node::leaf(1.0, 1.0)]);
        let attributor = Attributor::new(&forest);
        let contributions = attributor.contributions(&forest, &[7.0, 20.0]).unwrap();
        assert_eq!(contributions.bias, 0.0);
        assert_eq!(contributions.features, [0.0, 1.5]);
        assert_eq!(forest.margin(&[7.0, 20.0]), Ok(1.5));
    }
}
