//! What a model is made of, for people and for tools.

use std::fmt;

use serde::Serialize;

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
    /// Its objective.
    pub objective: String,
    /// The tree, from 0, that early stopping called the best; all trees are used all the same.
    pub best_iteration: Option<u32>,
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
    /// Its features with how much each is used, the largest gain first.
    pub features: Vec<FeatureUse>,
}

/// How much a model uses a feature.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FeatureUse {
    /// The feature.
    pub name: String,
    /// How many splits test it.
    pub splits: usize,
    /// By how much these splits lowered the training loss, together.
    pub gain: f64,
    /// How much training weight (sum of hessians) passed them, together.
    pub cover: f64,
}

/// Summarizes a model.
pub fn summary(model: &Model) -> Summary {
    let mut features: Vec<FeatureUse> = model
        .feature_names
        .iter()
        .map(|name| FeatureUse { name: name.to_string(), splits: 0, gain: 0.0, cover: 0.0 })
        .collect();
    let mut leaves = 0;
    for (node, gain) in model.forest.nodes_and_gains() {
        let Some(feature) = node.feature() else {
            leaves += 1;
            continue;
        };
        if let Some(feature) = features.get_mut(feature) {
            feature.splits += 1;
            feature.gain += f64::from(gain);
            feature.cover += f64::from(node.cover());
        }
    }
    features.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.name.cmp(&b.name)));
    Summary {
        name: model.name.to_string(),
        sha256: model.sha256.to_string(),
        xgboost_version: model.xgboost_version.clone(),
        objective: model.objective.clone(),
        best_iteration: model.best_iteration,
        base_margin: model.forest.base_margin(),
        expected_margin: model.attributor.bias(),
        trees: model.forest.trees().count(),
        leaves,
        depth_max: model.forest.trees().map(|tree| tree.depth()).max().unwrap_or(0),
        features,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.name, self.sha256)?;
        writeln!(f, "  {}, written by XGBoost {}", self.objective, self.xgboost_version)?;
        writeln!(f, "  {} trees, {} leaves, at most {} deep", self.trees, self.leaves, self.depth_max)?;
        writeln!(f, "  base margin {}, expected margin {}", self.base_margin, self.expected_margin)?;
        if let Some(best) = self.best_iteration {
            writeln!(f, "  early stopping called tree {best} (from 0) the best; all trees are used")?;
        }
        writeln!(f, "  {} features:", self.features.len())?;
        writeln!(f, "  {:>6}  {:>12}  {:>12}  name", "splits", "gain", "cover")?;
        for FeatureUse { name, splits, gain, cover } in &self.features {
            writeln!(f, "  {splits:>6}  {gain:>12.1}  {cover:>12.1}  {name}")?;
        }
        Ok(())
    }
}
