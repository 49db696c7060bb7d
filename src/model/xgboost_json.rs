//! Reads XGBoost's JSON model files, of versions 1 to 3.
//!
//! What must hold: a file is understood in full or refused by name. Numbers are read straight to f32, as libxgboost reads
//! them; every tree is a tree (each child exists and has one parent), within bounds, and its covers add up.
//!
//! All trees are used, as `Booster.predict` does; `best_iteration` (which only the scikit-learn wrapper follows) is reported
//! by `inspect` and changes nothing. Train with the number of trees that is meant, or slice the booster before saving it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
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
/// Most features.
pub const FEATURES_MAX: usize = 16_384;
/// How far a node's cover may be from the sum of its children's, as a share of it: they are rounded sums.
const COVER_ERROR_MAX: f64 = 0.01;
/// The same as a share of the root's cover: covers come out of subtractions from it.
const COVER_NOISE_MAX: f64 = 1e-6;
/// The objective whose `base_score` is a margin.
const RAW: &str = "binary:logitraw";
/// How near to 0 and 1 libxgboost lets `base_score` come.
const BASE_SCORE_EPSILON: f32 = 1e-6;

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
        "{file}: {what} is not supported; what is: booster gbtree, objective binary:logistic or binary:logitraw, one output, \
         numeric splits"
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
    /// `binary:logistic` or `binary:logitraw`. They differ in what `Booster.predict` gives, not in the margin.
    pub objective: String,
    /// What training with early stopping noted, from 0. Not followed.
    pub best_iteration: Option<u32>,
}

/// As much of a file as says what kind of model it holds; read first, so that another kind is refused by its name and not
/// for how its trees look.
#[derive(Deserialize)]
struct Kind {
    learner: KindLearner,
    version: Vec<u32>,
}

#[derive(Deserialize)]
struct KindLearner {
    gradient_booster: KindBooster,
    learner_model_param: LearnerParam,
    objective: Objective,
}

#[derive(Deserialize)]
struct KindBooster {
    name: String,
}

#[derive(Deserialize)]
struct Document {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    feature_names: Vec<Box<str>>,
    gradient_booster: Booster,
}

#[derive(Deserialize)]
struct Booster {
    model: BoosterModel,
}

#[derive(Deserialize)]
struct BoosterModel {
    #[serde(default)]
    tree_info: Vec<i32>,
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
    #[serde(default)]
    loss_changes: Vec<Number>,
    split_conditions: Vec<Number>,
    split_indices: Vec<u32>,
    #[serde(default)]
    split_type: Vec<u8>,
    #[serde(default)]
    sum_hessian: Vec<Number>,
    tree_param: TreeParam,
}

#[derive(Deserialize)]
struct TreeParam {
    #[serde(default)]
    num_deleted: String,
    #[serde(default)]
    size_leaf_vector: String,
}

/// A number, read straight to f32: by way of f64 it would be rounded twice.
#[derive(Clone, Copy)]
struct Number(f32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        text.parse().map(Self).map_err(|_| D::Error::custom(format_args!("{text:.40} is no number")))
    }
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
    let malformed = |error| ModelFileError::Malformed { file: file.to_owned(), error };
    let unsupported = |what: String| ModelFileError::Unsupported { file: file.to_owned(), what };
    let inconsistent = |what: String| ModelFileError::Inconsistent { file: file.to_owned(), what };
    let kind: Kind = serde_json::from_slice(bytes).map_err(malformed)?;
    let KindLearner { gradient_booster, learner_model_param: param, objective } = kind.learner;
    if let Some(what) = unsupported_kind(&gradient_booster.name, &objective.name, &param, &kind.version) {
        return Err(unsupported(what));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
    let Learner { attributes, feature_names, gradient_booster } = document.learner;
    let features = param.num_feature.parse().ok().filter(|features| (1..=FEATURES_MAX).contains(features));
    let features = features.ok_or_else(|| {
        inconsistent(format!(
            "learner.learner_model_param.num_feature is {:?}, not within 1..={FEATURES_MAX}",
            param.num_feature
        ))
    })?;
    let feature_names = named(feature_names, features).map_err(inconsistent)?;
    let base_margin = base_margin(&param.base_score, &objective.name).ok_or_else(|| {
        inconsistent(format!(
            "learner.learner_model_param.base_score is {:?}, not one base score",
            param.base_score
        ))
    })?;
    let BoosterModel { tree_info, trees } = gradient_booster.model;
    if trees.len() > TREES_MAX {
        return Err(inconsistent(format!("has {} trees; a model has at most {TREES_MAX}", trees.len())));
    }
    if tree_info.iter().any(|group| *group != 0) {
        return Err(unsupported(
            "a tree of a second output (learner.gradient_booster.model.tree_info)".to_owned(),
        ));
    }
    let mut forest = Forest::new(features, base_margin);
    for (number, tree) in trees.iter().enumerate() {
        if let Some(node) = tree.split_type.iter().position(|split| *split != 0) {
            return Err(unsupported(format!("the categorical split in tree {number}, node {node}")));
        }
        if !matches!(tree.tree_param.size_leaf_vector.as_str(), "" | "0" | "1") {
            return Err(unsupported(format!("the vector leaf in tree {number}")));
        }
        let (nodes, gains) =
            nodes(tree, features).map_err(|what| inconsistent(format!("tree {number}: {what}")))?;
        forest.push(&nodes, &gains);
    }
    let version: Vec<String> = kind.version.iter().map(ToString::to_string).collect();
    Ok(ModelFile {
        forest,
        feature_names,
        xgboost_version: version.join("."),
        objective: objective.name,
        best_iteration: attributes.get("best_iteration").and_then(|text| text.parse().ok()),
    })
}

/// Why this kind of model is refused, if it is.
fn unsupported_kind(booster: &str, objective: &str, param: &LearnerParam, version: &[u32]) -> Option<String> {
    match (booster, objective, param.num_class.as_str(), param.num_target.as_str()) {
        // libxgboost itself gives two margins for it: in-place prediction and prediction on a DMatrix round differently.
        ("dart", ..) => Some("booster dart, whose margin depends on how libxgboost is asked,".to_owned()),
        // Versions 1 meant its base_score as a probability, later ones read it as a margin.
        ("gbtree", RAW, ..) if version.first().is_none_or(|major| *major < 2) => {
            Some(format!("objective {RAW} from XGBoost before 2, where base_score meant another thing,"))
        }
        ("gbtree", "binary:logistic" | RAW, "" | "0" | "1", "" | "0" | "1") => None,
        ("gbtree", "binary:logistic" | RAW, classes, targets) => {
            Some(format!("a model of several outputs (num_class {classes}, num_target {targets})"))
        }
        ("gbtree", ..) => Some(format!("objective {objective:.60}")),
        _ => Some(format!("booster {booster:.60}")),
    }
}

/// The features' names, each once; made up when the file has none.
fn named(names: Vec<Box<str>>, features: usize) -> Result<Vec<Box<str>>, String> {
    if names.is_empty() {
        return Ok((0..features).map(|feature| format!("f{feature}").into()).collect());
    }
    if names.len() != features {
        return Err(format!("has {features} features and {} feature names", names.len()));
    }
    let mut sorted: Vec<&str> = names.iter().map(|name| &**name).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("learner.feature_names names {:?} twice", pair[0])),
        None => Ok(names),
    }
}

/// The margin that every row starts from. Newer versions write `base_score` as a list of one. For `binary:logistic` it is a
/// probability: libxgboost refuses what is outside 0..=1 and draws what is at its ends a little inwards. For
/// `binary:logitraw` it is the margin itself.
fn base_margin(base_score: &str, objective: &str) -> Option<f32> {
    let text = base_score.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let score: f32 = text.trim().parse().ok()?;
    if objective == RAW {
        return score.is_finite().then_some(score);
    }
    (0.0..=1.0).contains(&score).then(|| {
        let inside = score.clamp(BASE_SCORE_EPSILON, 1.0 - BASE_SCORE_EPSILON);
        -(1.0_f32 / inside - 1.0).ln()
    })
}

/// A tree's nodes and their gains, checked, breadth first from the root, so that deleted nodes are left out and both children
/// of a node stand side by side behind it.
fn nodes(tree: &Tree, features: usize) -> Result<(Vec<Node>, Vec<f32>), String> {
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
    let mut gains = Vec::with_capacity(count);
    let mut order = vec![0_usize];
    while let Some(&old) = order.get(nodes.len()) {
        let value = tree.split_conditions[old].0;
        let cover = cover(tree, old)?;
        if !value.is_finite() {
            return Err(format!("node {old} has the threshold or leaf {value}"));
        }
        let (left, right) = (tree.left_children[old], tree.right_children[old]);
        if left == -1 && right == -1 {
            nodes.push(Node::leaf(value, cover));
            gains.push(0.0);
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
        let left_at = u32::try_from(order.len()).map_err(|_| "has too many nodes".to_owned())?;
        let mut covers_below = 0.0;
        for child in [left, right] {
            let child = usize::try_from(child).ok().filter(|child| *child < count);
            let child = child.ok_or_else(|| format!("node {old} has a child that does not exist"))?;
            if depth[child].replace(below).is_some() {
                return Err(format!("node {child} has two parents"));
            }
            order.push(child);
            covers_below += f64::from(self::cover(tree, child)?);
        }
        let tolerance =
            COVER_ERROR_MAX * f64::from(cover) + COVER_NOISE_MAX * f64::from(tree.sum_hessian[0].0);
        if (covers_below - f64::from(cover)).abs() > tolerance {
            return Err(format!(
                "node {old} has the cover (sum_hessian) {cover}, its children together {covers_below}"
            ));
        }
        nodes.push(Node::split(feature, value, tree.default_left[old].is_set(), left_at, cover));
        gains.push(tree.loss_changes.get(old).map_or(0.0, |gain| gain.0));
    }
    let deleted = count - nodes.len();
    let said: usize = tree.tree_param.num_deleted.parse().unwrap_or(0);
    if deleted != said {
        return Err(format!("{deleted} nodes cannot be reached from the root; num_deleted says {said}"));
    }
    Ok((nodes, gains))
}

/// A node's cover: not negative, but for noise, which counts as nothing.
fn cover(tree: &Tree, node: usize) -> Result<f32, String> {
    let (cover, root) = (tree.sum_hessian[node].0, tree.sum_hessian[0].0);
    let good = cover.is_finite() && f64::from(cover) >= -COVER_NOISE_MAX * f64::from(root.max(0.0));
    good.then_some(cover.max(0.0)).ok_or_else(|| format!("node {node} has the cover (sum_hessian) {cover}"))
}

#[cfg(test)]
#[path = "xgboost_json_tests.rs"]
mod tests;
