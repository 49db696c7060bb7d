//! Reads XGBoost's model files, JSON and UBJSON, of versions 1 to 3.
//!
//! What must hold: a file is understood in full or refused by name. Numbers are read straight to f32, as libxgboost reads
//! them. How many of everything there may be is bounded here and in `xgboost_tree`.
//!
//! All trees are used, as `Booster.predict` does; `best_iteration` (which only the scikit-learn wrapper follows) is reported
//! by `inspect` and changes nothing. Train with the number of trees that is meant, or slice the booster before saving it.
//!
//! A DART model's weights are multiplied into its leaves, which is what libxgboost 3.4 does for every way of predicting, and
//! earlier versions for prediction on a `DMatrix`; their in-place prediction of a DART model rounds once more.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::forest::{Forest, ForestBuilder};
use crate::model::tree::Test;
use crate::model::ubjson::{self, UbjsonError};
use crate::model::xgboost_document::{
    Booster, BoosterModel, Document, Kind, KindLearner, Learner, LearnerParam, TextNumber,
};
use crate::model::xgboost_tree::{self, TreeError};

/// Largest model file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most trees.
pub const TREES_MAX: usize = 100_000;
/// Most features.
pub const FEATURES_MAX: usize = 16_384;
/// Longest name of a feature, in bytes.
pub const NAME_BYTES_MAX: usize = 512;
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
    /// Not an XGBoost model in JSON.
    #[error("{file}: is not an XGBoost model in JSON (`booster.save_model(\"model.json\")`): {error}")]
    Json {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// Not an XGBoost model in UBJSON.
    #[error("{file}: is not an XGBoost model in UBJSON (`booster.save_model(\"model.ubj\")`): {error}")]
    Ubjson {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: UbjsonError,
    },
    /// A kind of model that this program does not score.
    #[error(
        "{file}: {what} is not supported; what is: JSON or UBJSON, booster gbtree or dart, objective binary:logistic or \
         binary:logitraw, one output"
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

/// The type of a feature, under XGBoost's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeatureType {
    /// `float` or `q`: any number.
    Number,
    /// `int`: a whole number.
    Int,
    /// `i`: 0 or 1.
    Indicator,
    /// `c`: the code of a category, a whole number from 0 on.
    Category,
}

/// What a model file says.
#[derive(Debug)]
pub struct ModelFile {
    /// The trees.
    pub forest: Forest,
    /// The names of its features, in order; `f0`, `f1`, … when the file has none.
    pub feature_names: Vec<Box<str>>,
    /// Their types; numbers when the file has none, but for those that a categorical split tests.
    pub feature_types: Vec<FeatureType>,
    /// The version of XGBoost that wrote it.
    pub xgboost_version: String,
    /// `binary:logistic` or `binary:logitraw`. They differ in what `Booster.predict` gives, not in the margin.
    pub objective: String,
    /// What training with early stopping noted, from 0. Not followed.
    pub best_iteration: Option<u32>,
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
    let source = Source { file };
    match bytes {
        // A JSON object goes on with a quote or with white space, one in UBJSON with the length of a name.
        [b'{', b'L' | b'l' | b'I' | b'i' | b'U' | b'N', ..] => {
            let decode = |error| ModelFileError::Ubjson { file: file.to_owned(), error };
            let kind = ubjson::from_slice(bytes).map_err(decode)?;
            let known = source.known(kind)?;
            source.model::<f32>(known, ubjson::from_slice(bytes).map_err(decode)?)
        }
        [b'b', b'i', b'n', b'f', ..] => {
            Err(source.unsupported("the binary format that XGBoost wrote before version 3".to_owned()))
        }
        _ => {
            let decode = |error| ModelFileError::Json { file: file.to_owned(), error };
            let kind = serde_json::from_slice(bytes).map_err(decode)?;
            let known = source.known(kind)?;
            source.model::<TextNumber>(known, serde_json::from_slice(bytes).map_err(decode)?)
        }
    }
}

/// The file, for errors to name.
struct Source<'a> {
    file: &'a Path,
}

/// What is known of a model whose kind can be scored.
struct Known {
    features: usize,
    base_margin: f32,
    objective: String,
    xgboost_version: String,
}

impl Source<'_> {
    fn unsupported(&self, what: String) -> ModelFileError {
        ModelFileError::Unsupported { file: self.file.to_owned(), what }
    }

    fn inconsistent(&self, what: String) -> ModelFileError {
        ModelFileError::Inconsistent { file: self.file.to_owned(), what }
    }

    fn known(&self, kind: Kind) -> Result<Known, ModelFileError> {
        let KindLearner { gradient_booster, learner_model_param: param, objective } = kind.learner;
        if let Some(what) = unsupported_kind(&gradient_booster.name, &objective.name, &param, &kind.version) {
            return Err(self.unsupported(what));
        }
        let features =
            param.num_feature.parse().ok().filter(|features| (1..=FEATURES_MAX).contains(features));
        let features = features.ok_or_else(|| {
            self.inconsistent(format!(
                "learner.learner_model_param.num_feature is {:.40?}, not within 1..={FEATURES_MAX}",
                param.num_feature
            ))
        })?;
        let base_margin = base_margin(&param.base_score, &objective.name).ok_or_else(|| {
            self.inconsistent(format!(
                "learner.learner_model_param.base_score is {:.40?}, not one base score",
                param.base_score
            ))
        })?;
        let version: Vec<String> = kind.version.iter().map(ToString::to_string).collect();
        Ok(Known { features, base_margin, objective: objective.name, xgboost_version: version.join(".") })
    }

    fn model<N: Copy + Into<f32>>(
        &self,
        known: Known,
        document: Document<N>,
    ) -> Result<ModelFile, ModelFileError> {
        let Known { features, base_margin, objective, xgboost_version } = known;
        let Learner { attributes, feature_names, feature_types, gradient_booster } = document.learner;
        let feature_names = named(feature_names, features).map_err(|what| self.inconsistent(what))?;
        let (model, weights) = match gradient_booster {
            Booster { gbtree: Some(inner), weight_drop, .. } => (inner.model, weight_drop),
            Booster { model: Some(mut model), .. } => {
                let weights = std::mem::take(&mut model.weight_drop);
                (model, weights)
            }
            Booster { .. } => {
                return Err(self.inconsistent("learner.gradient_booster has no model".to_owned()));
            }
        };
        let BoosterModel { tree_info, trees, .. } = model;
        if trees.len() > TREES_MAX {
            return Err(
                self.inconsistent(format!("has {} trees; a model has at most {TREES_MAX}", trees.len()))
            );
        }
        if tree_info.iter().any(|group| *group != 0) {
            return Err(self.unsupported(
                "a tree of a second output (learner.gradient_booster.model.tree_info)".to_owned(),
            ));
        }
        let weights = tree_weights(&weights, trees.len()).map_err(|what| self.inconsistent(what))?;
        let mut forest = ForestBuilder::new(features, base_margin);
        for (number, (tree, weight)) in trees.iter().zip(weights).enumerate() {
            xgboost_tree::add(tree, weight, &mut forest).map_err(|error| match error {
                TreeError::Unsupported(what) => self.unsupported(format!("{what} in tree {number}")),
                TreeError::Inconsistent(what) => self.inconsistent(format!("tree {number}: {what}")),
            })?;
        }
        let forest = forest.build();
        let feature_types = typed(&feature_types, &forest).map_err(|what| self.inconsistent(what))?;
        Ok(ModelFile {
            forest,
            feature_names,
            feature_types,
            xgboost_version,
            objective,
            best_iteration: attributes.get("best_iteration").and_then(|text| text.parse().ok()),
        })
    }
}

/// Why this kind of model is refused, if it is.
fn unsupported_kind(booster: &str, objective: &str, param: &LearnerParam, version: &[u32]) -> Option<String> {
    match (booster, objective, param.num_class.as_str(), param.num_target.as_str()) {
        // Versions 1 meant its base_score as a probability, later ones read it as a margin.
        ("gbtree" | "dart", RAW, ..) if version.first().is_none_or(|major| *major < 2) => {
            Some(format!("objective {RAW} from XGBoost before 2, where base_score meant another thing,"))
        }
        ("gbtree" | "dart", "binary:logistic" | RAW, "" | "0" | "1", "" | "0" | "1") => None,
        ("gbtree" | "dart", "binary:logistic" | RAW, classes, targets) => {
            Some(format!("a model of several outputs (num_class {classes:.20}, num_target {targets:.20})"))
        }
        ("gbtree" | "dart", ..) => Some(format!("objective {objective:.60}")),
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
    if let Some(long) = names.iter().position(|name| name.len() > NAME_BYTES_MAX) {
        return Err(format!("the name of feature {long} is longer than {NAME_BYTES_MAX} bytes"));
    }
    let mut sorted: Vec<&str> = names.iter().map(|name| &**name).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("learner.feature_names names {:?} twice", pair[0])),
        None => Ok(names),
    }
}

/// The features' types. A feature that a categorical split tests is a category, whatever the file calls it; nothing that is
/// called a category is tested as a number.
fn typed(types: &[Box<str>], forest: &Forest) -> Result<Vec<FeatureType>, String> {
    if !types.is_empty() && types.len() != forest.features() {
        return Err(format!("has {} features and {} feature types", forest.features(), types.len()));
    }
    let mut found = vec![FeatureType::Number; forest.features()];
    for (feature, (name, found)) in types.iter().zip(&mut found).enumerate() {
        *found = match &**name {
            "float" | "q" => FeatureType::Number,
            "int" => FeatureType::Int,
            "i" => FeatureType::Indicator,
            "c" => FeatureType::Category,
            other => {
                return Err(format!(
                    "learner.feature_types calls feature {feature} {other:.40?}, which is none of float, q, int, i and c"
                ));
            }
        };
    }
    let called = found.clone();
    for node in forest.trees().flat_map(|tree| tree.nodes) {
        let Some(feature) = node.feature() else { continue };
        match (node.test(), called[feature]) {
            (Test::In { .. }, _) => found[feature] = FeatureType::Category,
            (Test::Below { .. }, FeatureType::Category) => {
                return Err(format!("feature {feature} is a category, and a split tests it as a number"));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Each tree's weight: 1, but for DART.
fn tree_weights<N: Copy + Into<f32>>(weights: &[N], trees: usize) -> Result<Vec<f32>, String> {
    if weights.is_empty() {
        return Ok(vec![1.0; trees]);
    }
    if weights.len() != trees {
        return Err(format!("has {trees} trees and {} weights of trees (weight_drop)", weights.len()));
    }
    let weights: Vec<f32> = weights.iter().map(|weight| (*weight).into()).collect();
    match weights.iter().position(|weight| !weight.is_finite()) {
        Some(tree) => Err(format!("the weight of tree {tree} (weight_drop) is {}", weights[tree])),
        None => Ok(weights),
    }
}

/// The margin that every row starts from. For `binary:logistic` its `base_score` is a probability, for `binary:logitraw` the
/// margin itself.
fn base_margin(base_score: &str, objective: &str) -> Option<f32> {
    if objective == RAW {
        return number_of_base_score(base_score).filter(|margin| margin.is_finite());
    }
    let score = probability_of_base_score(base_score)?;
    Some(-(1.0_f32 / score - 1.0).ln())
}

/// A `base_score` that is a probability: libxgboost refuses what is outside 0..=1 and draws what is at its ends a little inwards.
pub(super) fn probability_of_base_score(text: &str) -> Option<f32> {
    let score = number_of_base_score(text).filter(|score| (0.0..=1.0).contains(score))?;
    Some(score.clamp(BASE_SCORE_EPSILON, 1.0 - BASE_SCORE_EPSILON))
}

/// Newer versions write `base_score` as a list of one.
fn number_of_base_score(text: &str) -> Option<f32> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.trim().parse().ok()
}

#[cfg(test)]
#[path = "xgboost_file_tests.rs"]
mod tests;
