//! One tree of a model document, checked: it is a tree (each child exists and has one parent), within bounds, its covers add
//! up, and every categorical split has its set.

use std::collections::BTreeMap;

use crate::model::forest::ForestBuilder;
use crate::model::tree::{CategorySet, Node, Test};
use crate::model::xgboost_document::DocumentTree;

/// Most nodes of one tree.
pub const TREE_NODES_MAX: usize = 1 << 20;
/// Deepest tree.
pub const DEPTH_MAX: usize = 64;
/// Most categories of one feature: the highest code is one less.
pub const CATEGORIES_MAX: usize = 65_536;
/// Most words of 32 categories in the sets of a whole model: 64 MiB.
pub const CATEGORY_WORDS_MAX: usize = 1 << 24;
/// How far a node's cover may be from the sum of its children's, as a share of it: they are rounded sums.
const COVER_ERROR_MAX: f64 = 0.01;
/// The same as a share of the root's cover: covers come out of subtractions from it.
const COVER_NOISE_MAX: f64 = 1e-6;

/// Why a tree is refused.
#[derive(Debug)]
pub(super) enum TreeError {
    /// It is of a kind that is not scored.
    Unsupported(String),
    /// It contradicts itself.
    Inconsistent(String),
}

impl From<String> for TreeError {
    fn from(what: String) -> Self {
        Self::Inconsistent(what)
    }
}

/// Adds a tree, whose leaves are multiplied by `weight`, to a forest: breadth first from the root, so that deleted nodes are
/// left out and both children of a node stand side by side behind it.
pub(super) fn add<N: Copy + Into<f32>>(
    tree: &DocumentTree<N>,
    weight: f32,
    forest: &mut ForestBuilder,
) -> Result<(), TreeError> {
    if !matches!(tree.tree_param.size_leaf_vector.as_str(), "" | "0" | "1") {
        return Err(TreeError::Unsupported(format!(
            "the leaf of {:.20} outputs",
            tree.tree_param.size_leaf_vector
        )));
    }
    let count = tree.left_children.len();
    check_lengths(tree, count)?;
    let sets = category_sets(tree, forest)?;
    let mut depth = vec![None; count];
    depth[0] = Some(0_usize);
    let mut nodes = Vec::with_capacity(count);
    let mut gains = Vec::with_capacity(count);
    let mut order = vec![0_usize];
    while let Some(&old) = order.get(nodes.len()) {
        let cover = cover(tree, old)?;
        let (left, right) = (tree.left_children[old], tree.right_children[old]);
        if left == -1 && right == -1 {
            // One multiplication in f32, as libxgboost does it for every row.
            let leaf = finite(tree, old)? * weight;
            if !leaf.is_finite() {
                return Err(format!("node {old} has the leaf {leaf} with its weight {weight}").into());
            }
            nodes.push(Node::leaf(leaf, cover));
            gains.push(0.0);
            continue;
        }
        let test = test(tree, old, &sets, forest.features())?;
        let below = depth[old].unwrap_or(0) + 1;
        if below > DEPTH_MAX {
            return Err(format!("is deeper than {DEPTH_MAX}").into());
        }
        let left_at = u32::try_from(order.len()).map_err(|_| "has too many nodes".to_owned())?;
        let mut covers_below = 0.0;
        for child in [left, right] {
            let child = usize::try_from(child).ok().filter(|child| *child < count);
            let child = child.ok_or_else(|| format!("node {old} has a child that does not exist"))?;
            if depth[child].replace(below).is_some() {
                return Err(format!("node {child} has two parents").into());
            }
            order.push(child);
            covers_below += f64::from(self::cover(tree, child)?);
        }
        let root_cover: f32 = tree.sum_hessian[0].into();
        let tolerance = COVER_ERROR_MAX * f64::from(cover) + COVER_NOISE_MAX * f64::from(root_cover);
        if (covers_below - f64::from(cover)).abs() > tolerance {
            return Err(format!(
                "node {old} has the cover (sum_hessian) {cover}, its children together {covers_below}"
            )
            .into());
        }
        nodes.push(Node::split(test, tree.default_left[old].is_set(), left_at, cover));
        gains.push(tree.loss_changes.get(old).map_or(0.0, |gain| (*gain).into()));
    }
    let deleted = count - nodes.len();
    let said: usize = tree.tree_param.num_deleted.parse().unwrap_or(0);
    if deleted != said {
        return Err(
            format!("{deleted} nodes cannot be reached from the root; num_deleted says {said}").into()
        );
    }
    forest.push(&nodes, &gains);
    Ok(())
}

fn check_lengths<N>(tree: &DocumentTree<N>, count: usize) -> Result<(), TreeError> {
    let lengths = [
        tree.default_left.len(),
        tree.right_children.len(),
        tree.split_conditions.len(),
        tree.split_indices.len(),
        tree.sum_hessian.len(),
    ];
    let types = tree.split_type.len();
    if count == 0 || lengths.iter().any(|length| *length != count) || (types != count && types != 0) {
        return Err(format!("its lists have the lengths {count}, {lengths:?} and {types}").into());
    }
    if count > TREE_NODES_MAX {
        return Err(format!("has {count} nodes; a tree has at most {TREE_NODES_MAX}").into());
    }
    Ok(())
}

/// A node's threshold or leaf.
fn finite<N: Copy + Into<f32>>(tree: &DocumentTree<N>, node: usize) -> Result<f32, TreeError> {
    let value: f32 = tree.split_conditions[node].into();
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("node {node} has the threshold or leaf {value}").into())
    }
}

/// What a split asks. A categorical one's threshold means nothing.
fn test<N: Copy + Into<f32>>(
    tree: &DocumentTree<N>,
    node: usize,
    sets: &BTreeMap<usize, CategorySet>,
    features: usize,
) -> Result<Test, TreeError> {
    let feature = tree.split_indices[node];
    if feature as usize >= features {
        return Err(format!("node {node} splits on feature {feature} of {features}").into());
    }
    match tree.split_type.get(node).copied().unwrap_or(0) {
        0 => Ok(Test::Below { feature, threshold: finite(tree, node)? }),
        1 => match sets.get(&node) {
            Some(set) => Ok(Test::In { feature, set: *set }),
            None => Err(format!("node {node} is a categorical split without categories").into()),
        },
        other => Err(TreeError::Unsupported(format!("the split of type {other} at node {node}"))),
    }
}

/// The set of each categorical split, by node; their bits go to the forest.
fn category_sets<N>(
    tree: &DocumentTree<N>,
    forest: &mut ForestBuilder,
) -> Result<BTreeMap<usize, CategorySet>, TreeError> {
    let DocumentTree { categories, categories_nodes, categories_segments, categories_sizes, .. } = tree;
    let lengths = [categories_nodes.len(), categories_segments.len(), categories_sizes.len()];
    if lengths.iter().any(|length| *length != lengths[0]) {
        return Err(format!("its lists of categories have the lengths {lengths:?}").into());
    }
    let mut sets = BTreeMap::new();
    for ((node, begin), size) in categories_nodes.iter().zip(categories_segments).zip(categories_sizes) {
        let index = usize::try_from(*node).ok().filter(|node| *node < tree.left_children.len());
        let index = index.ok_or_else(|| format!("has categories for node {node}, which does not exist"))?;
        let begin = usize::try_from(*begin).ok();
        let end = begin.zip(usize::try_from(*size).ok()).and_then(|(begin, size)| begin.checked_add(size));
        let of_node = begin.zip(end).and_then(|(begin, end)| categories.get(begin..end));
        let of_node =
            of_node.ok_or_else(|| format!("node {index} has categories beyond the list of them"))?;
        let mut bits = Vec::new();
        for category in of_node {
            let category = usize::try_from(*category).ok().filter(|category| *category < CATEGORIES_MAX);
            let category = category.ok_or_else(|| {
                format!("node {index} has a category that is not within 0..{CATEGORIES_MAX}")
            })?;
            let word = category / 32;
            if bits.len() <= word {
                bits.resize(word + 1, 0_u32);
            }
            bits[word] |= 1 << (category % 32);
        }
        let set = forest.add_categories(&bits, CATEGORY_WORDS_MAX);
        let set = set
            .ok_or_else(|| format!("the model's sets of categories take over {CATEGORY_WORDS_MAX} words"))?;
        if sets.insert(index, set).is_some() {
            return Err(format!("node {index} has two sets of categories").into());
        }
    }
    Ok(sets)
}

/// A node's cover: not negative, but for noise, which counts as nothing.
fn cover<N: Copy + Into<f32>>(tree: &DocumentTree<N>, node: usize) -> Result<f32, TreeError> {
    let (cover, root): (f32, f32) = (tree.sum_hessian[node].into(), tree.sum_hessian[0].into());
    let good = cover.is_finite() && f64::from(cover) >= -COVER_NOISE_MAX * f64::from(root.max(0.0));
    if good {
        Ok(cover.max(0.0))
    } else {
        Err(format!("node {node} has the cover (sum_hessian) {cover}").into())
    }
}
