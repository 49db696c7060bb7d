//! The shape of XGBoost's model document, of versions 1 to 3, in JSON and in UBJSON; what it means is `xgboost_file`'s.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// As much of a file as says what kind of model it holds; read first, so that another kind is refused by its name and not
/// for how its trees look.
#[derive(Deserialize)]
pub(super) struct Kind {
    pub(super) learner: KindLearner,
    pub(super) version: Vec<u32>,
}

#[derive(Deserialize)]
pub(super) struct KindLearner {
    pub(super) gradient_booster: KindBooster,
    pub(super) learner_model_param: LearnerParam,
    pub(super) objective: Objective,
}

#[derive(Deserialize)]
pub(super) struct KindBooster {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct LearnerParam {
    pub(super) base_score: String,
    #[serde(default)]
    pub(super) num_class: String,
    #[serde(default)]
    pub(super) num_target: String,
    pub(super) num_feature: String,
}

#[derive(Deserialize)]
pub(super) struct Objective {
    pub(super) name: String,
}

/// The model itself; `N` is how the format writes numbers that are f32.
#[derive(Deserialize)]
pub(super) struct Document<N> {
    pub(super) learner: Learner<N>,
}

#[derive(Deserialize)]
pub(super) struct Learner<N> {
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) feature_names: Vec<Box<str>>,
    #[serde(default)]
    pub(super) feature_types: Vec<Box<str>>,
    pub(super) gradient_booster: Booster<N>,
}

/// DART stands around a gbtree in versions before 3.4; since then it is a gbtree whose model has weights.
#[derive(Deserialize)]
pub(super) struct Booster<N> {
    #[serde(default = "none")]
    pub(super) model: Option<BoosterModel<N>>,
    #[serde(default = "none")]
    pub(super) gbtree: Option<InnerBooster<N>>,
    #[serde(default = "Vec::new")]
    pub(super) weight_drop: Vec<N>,
}

#[derive(Deserialize)]
pub(super) struct InnerBooster<N> {
    pub(super) model: BoosterModel<N>,
}

#[derive(Deserialize)]
pub(super) struct BoosterModel<N> {
    #[serde(default)]
    pub(super) tree_info: Vec<i32>,
    pub(super) trees: Vec<DocumentTree<N>>,
    #[serde(default = "Vec::new")]
    pub(super) weight_drop: Vec<N>,
}

const fn none<T>() -> Option<T> {
    None
}

/// A tree, as parallel lists by node; the sets of its categorical splits as one list with segments.
#[derive(Deserialize)]
pub(super) struct DocumentTree<N> {
    pub(super) default_left: Vec<Flag>,
    pub(super) left_children: Vec<i32>,
    pub(super) right_children: Vec<i32>,
    #[serde(default = "Vec::new")]
    pub(super) loss_changes: Vec<N>,
    pub(super) split_conditions: Vec<N>,
    pub(super) split_indices: Vec<u32>,
    #[serde(default)]
    pub(super) split_type: Vec<u8>,
    #[serde(default = "Vec::new")]
    pub(super) sum_hessian: Vec<N>,
    #[serde(default)]
    pub(super) categories: Vec<i64>,
    #[serde(default)]
    pub(super) categories_nodes: Vec<i64>,
    #[serde(default)]
    pub(super) categories_segments: Vec<i64>,
    #[serde(default)]
    pub(super) categories_sizes: Vec<i64>,
    pub(super) tree_param: TreeParam,
}

#[derive(Deserialize)]
pub(super) struct TreeParam {
    #[serde(default)]
    pub(super) num_deleted: String,
    #[serde(default)]
    pub(super) size_leaf_vector: String,
}

/// A number in JSON text, read straight to f32: by way of f64 it would be rounded twice.
#[derive(Clone, Copy)]
pub(super) struct TextNumber(f32);

impl From<TextNumber> for f32 {
    fn from(number: TextNumber) -> Self {
        number.0
    }
}

impl<'de> Deserialize<'de> for TextNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        text.parse().map(Self).map_err(|_| D::Error::custom(format_args!("{text:.40} is no number")))
    }
}

/// Older versions write `true`, newer ones `1`.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
pub(super) enum Flag {
    Bool(bool),
    Number(u8),
}

impl Flag {
    pub(super) const fn is_set(self) -> bool {
        match self {
            Self::Bool(flag) => flag,
            Self::Number(number) => number != 0,
        }
    }
}
