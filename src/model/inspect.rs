//! What a model is made of, for people and for tools.

use std::fmt;

use serde::Serialize;

use crate::model::forest::depth;
use crate::model::manifest::Model;

/// A summary of a model.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The hash of its file.
    pub sha256: String,
    /// The version of XGBoost that wrote it.
    pub xgboost_version: String,
    /// The margin that every row starts from.
    pub base_margin: f32,
    /// The expected margin over the training rows.
    pub expected_margin: f32,
    /// How many trees.
    pub trees: usize,
    /// How many leaves.
    pub leaves: usize,
    /// How deep the deepest tree is.
    pub depth_max: usize,
    /// Its features with how often each is split on, most often first.
    pub features: Vec<FeatureUse>,
}

/// How much a model uses a feature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FeatureUse {
    /// The feature.
    pub name: String,
    /// How many splits test it.
    pub splits: usize,
}

/// Summarizes a model.
pub fn summary(model: &Model) -> Summary {
    let mut splits = vec![0; model.feature_names.len()];
    let (mut trees, mut leaves, mut depth_max) = (0, 0, 0);
    for tree in model.forest.trees() {
        trees += 1;
        depth_max = depth_max.max(depth(tree));
        for node in tree {
            if node.is_leaf() {
                leaves += 1;
            } else {
                splits[node.feature()] += 1;
            }
        }
    }
    let mut features: Vec<FeatureUse> = model
        .feature_names
        .iter()
        .zip(splits)
        .map(|(name, splits)| FeatureUse { name: name.to_string(), splits })
        .collect();
    features.sort_by(|a, b| b.splits.cmp(&a.splits).then_with(|| a.name.cmp(&b.name)));
    Summary {
        name: model.name.to_string(),
        sha256: model.sha256.to_string(),
        xgboost_version: model.xgboost_version.clone(),
        base_margin: model.forest.base_margin(),
        expected_margin: model.attributor.bias(),
        trees,
        leaves,
        depth_max,
        features,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.name, self.sha256)?;
        writeln!(f, "  written by XGBoost {}", self.xgboost_version)?;
        writeln!(f, "  {} trees, {} leaves, at most {} deep", self.trees, self.leaves, self.depth_max)?;
        writeln!(f, "  base margin {}, expected margin {}", self.base_margin, self.expected_margin)?;
        writeln!(f, "  {} features, by how often they are split on:", self.features.len())?;
        for feature in &self.features {
            writeln!(f, "  {:>6}  {}", feature.splits, feature.name)?;
        }
        Ok(())
    }
}
