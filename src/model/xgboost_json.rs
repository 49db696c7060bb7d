//! Reads XGBoost's JSON model files, of versions 1 to 3.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::model::forest::{Forest, Node};

/// Largest model file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most trees.
pub const TREES_MAX: usize = 100_000;
/// Most nodes of one tree.
pub const TREE_NODES_MAX: usize = 1 << 20;
/// Deepest tree.
pub const DEPTH_MAX: usize = 64;

/// Why a model file is refused.
#[derive(Debug, Error)]
pub enum ModelFileError {
    /// Cannot be read.
    #[error("{file}: cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not the JSON of an XGBoost model.
    #[error("{file}: is not an XGBoost model in JSON (`booster.save_model(\"model.json\")`): {error}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// A kind of model that this program does not score.
    #[error(
        "{file}: {what} is not supported: a gbtree booster with objective binary:logistic and numeric splits is"
    )]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What the file has.
        what: String,
    },
    /// A model that contradicts itself.
    #[error("{file}: {what}")]
    Inconsistent {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
}

/// What a model file says.
#[derive(Debug)]
pub struct ModelFile {
    /// The trees.
    pub forest: Forest,
    /// The names of its features, in order; `f0`, `f1`, … when the file has none.
    pub feature_names: Vec<Box<str>>,
    /// The version of XGBoost that wrote it.
    pub xgboost_version: String,
}

#[derive(Deserialize)]
struct Document {
    learner: Learner,
    version: Vec<u32>,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<Box<str>>,
    gradient_booster: Booster,
    learner_model_param: LearnerParam,
    objective: Objective,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    model: Option<BoosterModel>,
}

#[derive(Deserialize)]
struct BoosterModel {
    trees: Vec<Tree>,
}

#[derive(Deserialize)]
struct LearnerParam {
    base_score: String,
    #[serde(default)]
    num_class: String,
    #[serde(default)]
    num_target: String,
    num_feature: String,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Tree {
    default_left: Vec<Flag>,
    left_children: Vec<i32>,
    right_children: Vec<i32>,
    split_conditions: Vec<f32>,
    split_indices: Vec<u32>,
    #[serde(default)]
    split_type: Vec<u8>,
    #[serde(default)]
    sum_hessian: Vec<f32>,
    tree_param: TreeParam,
}

#[derive(Deserialize)]
struct TreeParam {
    #[serde(default)]
    size_leaf_vector: String,
}

/// Older versions write `true`, newer ones `1`.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

impl Flag {
    const fn is_set(self) -> bool {
        match self {
            Self::Bool(flag) => flag,
            Self::Number(number) => number != 0,
        }
    }
}

/// Reads a model file.
pub fn read(file: &Path) -> Result<(ModelFile, Vec<u8>), ModelFileError> {
    let unreadable = |error| ModelFileError::Unreadable { file: file.to_owned(), error };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        let what = format!("is {bytes} bytes long; a model has at most {FILE_BYTES_MAX}");
        return Err(ModelFileError::Inconsistent { file: file.to_owned(), what });
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    Ok((parse(file, &bytes)?, bytes))
}

/// Reads a model from the bytes of its file; `file` is named in errors.
pub fn parse(file: &Path, bytes: &[u8]) -> Result<ModelFile, ModelFileError> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| ModelFileError::Malformed { file: file.to_owned(), error })?;
    let unsupported = |what: String| ModelFileError::Unsupported { file: file.to_owned(), what };
    let inconsistent = |what: String| ModelFileError::Inconsistent { file: file.to_owned(), what };
    let Learner { feature_names, gradient_booster, learner_model_param: param, objective } = document.learner;
    if gradient_booster.name != "gbtree" {
        return Err(unsupported(format!("booster {}", gradient_booster.name)));
    }
    if objective.name != "binary:logistic" {
        return Err(unsupported(format!("objective {}", objective.name)));
    }
    if !matches!(param.num_class.as_str(), "" | "0" | "1") || !matches!(param.num_target.as_str(), "" | "1") {
        return Err(unsupported("more than one output".to_owned()));
    }
    let model = gradient_booster.model.ok_or_else(|| inconsistent("the booster has no model".to_owned()))?;
    let features: usize = param
        .num_feature
        .parse()
        .map_err(|_| inconsistent(format!("num_feature is {:?}", param.num_feature)))?;
    let feature_names = match feature_names.len() {
        0 => (0..features).map(|feature| format!("f{feature}").into()).collect(),
        named if named == features => feature_names,
        named => return Err(inconsistent(format!("has {features} features and {named} feature names"))),
    };
    let base_margin = base_margin(&param.base_score)
        .ok_or_else(|| inconsistent(format!("base_score is {:?}, not a probability", param.base_score)))?;
    if model.trees.len() > TREES_MAX {
        return Err(unsupported(format!("a model of {} trees", model.trees.len())));
    }
    let mut forest = Forest::new(features, base_margin);
    for (number, tree) in model.trees.into_iter().enumerate() {
        if tree.split_type.iter().any(|split| *split != 0) {
            return Err(unsupported(format!("the categorical split in tree {number}")));
        }
        if !matches!(tree.tree_param.size_leaf_vector.as_str(), "" | "0" | "1") {
            return Err(unsupported(format!("the vector leaf in tree {number}")));
        }
        let nodes = nodes(&tree, features).map_err(|what| inconsistent(format!("tree {number}: {what}")))?;
        forest.push(&nodes);
    }
    let version: Vec<String> = document.version.iter().map(ToString::to_string).collect();
    Ok(ModelFile { forest, feature_names, xgboost_version: version.join(".") })
}

/// The margin that every row starts from. Newer versions write the probability as a list of one.
fn base_margin(base_score: &str) -> Option<f32> {
    let text = base_score.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(base_score);
    let probability: f32 = text.trim().parse().ok()?;
    (probability > 0.0 && probability < 1.0).then(|| -(1.0_f32 / probability - 1.0).ln())
}

/// A tree's nodes, checked: every child exists, comes after its parent, and has one parent.
fn nodes(tree: &Tree, features: usize) -> Result<Vec<Node>, String> {
    let count = tree.left_children.len();
    let lengths = [
        tree.default_left.len(),
        tree.right_children.len(),
        tree.split_conditions.len(),
        tree.split_indices.len(),
        tree.sum_hessian.len(),
    ];
    if count == 0 || count > TREE_NODES_MAX || lengths.iter().any(|length| *length != count) {
        return Err(format!("its lists have the lengths {count} and {lengths:?}"));
    }
    let mut depth = vec![None; count];
    depth[0] = Some(0_usize);
    let mut nodes = Vec::with_capacity(count);
    let mut order = vec![0_usize];
    let mut next = 0;
    // Breadth first, so that deleted nodes are left out and both children stand side by side.
    while let Some(&old) = order.get(next) {
        next += 1;
        let value = tree.split_conditions[old];
        let cover = tree.sum_hessian[old];
        let (left, right) = (tree.left_children[old], tree.right_children[old]);
        if left == -1 && right == -1 {
            if !value.is_finite() {
                return Err(format!("the leaf of node {old} is {value}"));
            }
            nodes.push(Node::leaf(value, cover));
            continue;
        }
        let feature = tree.split_indices[old];
        if feature as usize >= features {
            return Err(format!("node {old} splits on feature {feature} of {features}"));
        }
        let below = depth[old].unwrap_or(0) + 1;
        if below > DEPTH_MAX {
            return Err(format!("is deeper than {DEPTH_MAX}"));
        }
        let left_at = order.len();
        for child in [left, right] {
            let child = usize::try_from(child).ok().filter(|child| *child < count);
            let child = child.ok_or_else(|| format!("node {old} has a child that does not exist"))?;
            if depth[child].replace(below).is_some() {
                return Err(format!("node {child} has two parents"));
            }
            order.push(child);
        }
        let left_at = u32::try_from(left_at).map_err(|_| "has too many nodes".to_owned())?;
        nodes.push(Node::split(feature, value, tree.default_left[old].is_set(), left_at, cover));
    }
    Ok(nodes)
}
