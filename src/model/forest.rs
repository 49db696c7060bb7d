//! The trees, flat: one row in, its margin out.

use thiserror::Error;

/// A row of another length than the model has features.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the row has {actual} values and the model {expected} features")]
pub struct RowLengthError {
    /// The model's features.
    pub expected: usize,
    /// The row's values.
    pub actual: usize,
}

/// Marks a leaf in `Node::feature`.
const LEAF: u32 = u32::MAX;

/// One node: a split, or a leaf whose `value` is its weight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Node {
    feature: u32,
    value: f32,
    /// The left child, from the tree's first node; the right one stands behind it.
    left: u32,
    default_left: bool,
    cover: f32,
}

impl Node {
    /// A leaf.
    pub const fn leaf(value: f32, cover: f32) -> Self {
        Self { feature: LEAF, value, left: 0, default_left: false, cover }
    }

    /// A split: below `threshold` goes left, missing where `default_left` says.
    pub const fn split(feature: u32, threshold: f32, default_left: bool, left: u32, cover: f32) -> Self {
        Self { feature, value: threshold, left, default_left, cover }
    }

    /// Whether it is a leaf.
    pub const fn is_leaf(&self) -> bool {
        self.feature == LEAF
    }

    /// The feature that it splits on.
    pub const fn feature(&self) -> usize {
        self.feature as usize
    }

    /// The leaf's weight, or the threshold.
    pub const fn value(&self) -> f32 {
        self.value
    }

    /// How much training weight (sum of hessians) passed here.
    pub const fn cover(&self) -> f32 {
        self.cover
    }

    /// Both children, counted from the tree's first node.
    pub const fn children(&self) -> [usize; 2] {
        [self.left as usize, self.left as usize + 1]
    }

    /// 0 when `x` goes left, 1 when it goes right. NaN alone is missing.
    pub fn side(&self, x: f32) -> usize {
        let goes_left = if x.is_nan() { self.default_left } else { x < self.value };
        usize::from(!goes_left)
    }
}

/// All trees of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct Forest {
    features: usize,
    base_margin: f32,
    nodes: Vec<Node>,
    /// By node: how much a split lowered the training loss.
    gains: Vec<f32>,
    roots: Vec<usize>,
}

impl Forest {
    /// A forest without trees, in which every row has `base_margin`.
    pub(in crate::model) const fn new(features: usize, base_margin: f32) -> Self {
        Self { features, base_margin, nodes: Vec::new(), gains: Vec::new(), roots: Vec::new() }
    }

    /// Adds a tree, whose first node is its root; the reader has checked that it is one. `gains` has one entry a node.
    pub(in crate::model) fn push(&mut self, nodes: &[Node], gains: &[f32]) {
        self.roots.push(self.nodes.len());
        self.nodes.extend_from_slice(nodes);
        self.gains.extend_from_slice(gains);
    }

    /// All nodes, each with how much it lowered the training loss (0 for a leaf).
    pub fn nodes_and_gains(&self) -> impl Iterator<Item = (&Node, f32)> {
        self.nodes.iter().zip(self.gains.iter().copied())
    }

    /// How many features a row has.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// The margin that every row starts from.
    pub const fn base_margin(&self) -> f32 {
        self.base_margin
    }

    /// Each tree's nodes.
    pub fn trees(&self) -> impl Iterator<Item = &[Node]> {
        let ends = self.roots.iter().skip(1).copied().chain(std::iter::once(self.nodes.len()));
        self.roots.iter().zip(ends).map(|(start, end)| &self.nodes[*start..end])
    }

    /// The raw margin (log-odds) of a row: bit for bit libxgboost's, which adds the leaves to the base margin in tree order in
    /// f32. NaN is missing; infinities are ordinary values.
    pub fn margin(&self, row: &[f32]) -> Result<f32, RowLengthError> {
        if row.len() != self.features {
            return Err(RowLengthError { expected: self.features, actual: row.len() });
        }
        let mut margin = self.base_margin;
        for tree in self.trees() {
            let mut node = &tree[0];
            while !node.is_leaf() {
                node = &tree[node.children()[node.side(row[node.feature()])]];
            }
            margin += node.value();
        }
        Ok(margin)
    }
}

/// How many splits the longest path of a tree passes.
pub fn depth(tree: &[Node]) -> usize {
    // Children stand behind their parents, so one pass from the root on is enough.
    let mut depths = vec![0; tree.len()];
    for (number, node) in tree.iter().enumerate() {
        if !node.is_leaf() {
            for child in node.children() {
                depths[child] = depths[number] + 1;
            }
        }
    }
    depths.into_iter().max().unwrap_or(0)
}

/// The probability of a margin, as libxgboost computes it in f32.
pub fn probability(margin: f32) -> f32 {
    // The last term vanishes in f32; it stands here because it stands there.
    1.0 / ((-margin).min(88.7).exp() + 1.0 + 1e-16)
}
