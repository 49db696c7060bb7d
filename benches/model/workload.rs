//! The model and the rows that the benches of the model room measure: 400 trees of depth 6 over 160 features, 15 % of the values
//! missing.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Trees of the model.
pub(crate) const TREES: usize = 400;
const DEPTH: u32 = 6;
/// Features of the model.
pub(crate) const FEATURES: usize = 160;
const ROWS: usize = 512;
const MISSING_SHARE: f64 = 0.15;
/// Different thresholds of a feature, as `tree_method = "hist"` makes them with its 256 bins.
const CUTS: u32 = 255;
const SEED: u64 = 20_260_101;

/// XGBoost's JSON of the model.
pub(crate) fn model_text() -> String {
    model_text_of(TREES, FEATURES, |random, _| random.random_range(0..CUTS) as f32 / CUTS as f32)
}

/// The same of so many complete trees over so many features, drawn with their directions, leaves and covers; `threshold` draws one for
/// a feature.
pub(crate) fn model_text_of(
    tree_count: usize,
    feature_count: usize,
    mut threshold: impl FnMut(&mut ChaCha8Rng, usize) -> f32,
) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let nodes = (1_usize << (DEPTH + 1)) - 1;
    let inner = (1_usize << DEPTH) - 1;
    let mut trees = String::new();
    for number in 0..tree_count {
        let mut covers = vec![4_096.0_f32; nodes];
        let (mut conditions, mut features, mut directions) = (Vec::new(), Vec::new(), Vec::new());
        for node in 0..nodes {
            let feature = if node < inner { random.random_range(0..feature_count) } else { 0 };
            features.push(feature);
            directions.push(u8::from(random.random_bool(0.5)));
            if node < inner {
                conditions.push(threshold(&mut random, feature));
                covers[2 * node + 1] = covers[node] * random.random_range(0.1..0.9_f32);
                covers[2 * node + 2] = covers[node] - covers[2 * node + 1];
            } else {
                conditions.push(random.random_range(-0.1..0.1_f32));
            }
        }
        let child = |offset: usize| -> Vec<i64> {
            (0..nodes).map(|node| if node < inner { (2 * node + offset) as i64 } else { -1 }).collect()
        };
        let parents: Vec<usize> =
            (0..nodes).map(|node| if node == 0 { i32::MAX as usize } else { (node - 1) / 2 }).collect();
        let (zeros, types) = (vec![0.0_f32; nodes], vec![0; nodes]);
        let comma = if number == 0 { "" } else { "," };
        write!(
            trees,
            "{comma}{{\"base_weights\":{zeros:?},\"categories\":[],\"categories_nodes\":[],\"categories_segments\":[],\
             \"categories_sizes\":[],\"default_left\":{directions:?},\"id\":{number},\"left_children\":{:?},\
             \"loss_changes\":{zeros:?},\"parents\":{parents:?},\"right_children\":{:?},\"split_conditions\":{conditions:?},\
             \"split_indices\":{features:?},\"split_type\":{types:?},\"sum_hessian\":{covers:?},\"tree_param\":\
             {{\"num_deleted\":\"0\",\"num_feature\":\"{feature_count}\",\"num_nodes\":\"{nodes}\",\"size_leaf_vector\":\"1\"}}}}",
            child(1),
            child(2),
        )
        .unwrap();
    }
    let (indptr, info) = ((0..=tree_count).collect::<Vec<_>>(), vec![0; tree_count]);
    format!(
        "{{\"learner\":{{\"attributes\":{{}},\"feature_names\":[],\"feature_types\":[],\"gradient_booster\":{{\"model\":\
         {{\"gbtree_model_param\":{{\"num_parallel_tree\":\"1\",\"num_trees\":\"{tree_count}\"}},\"iteration_indptr\":{indptr:?},\
         \"tree_info\":{info:?},\"trees\":[{trees}]}},\"name\":\"gbtree\"}},\"learner_model_param\":{{\"base_score\":\
         \"[5E-1]\",\"boost_from_average\":\"1\",\"num_class\":\"0\",\"num_feature\":\"{feature_count}\",\"num_target\":\"1\"}},\
         \"objective\":{{\"name\":\"binary:logistic\",\"reg_loss_param\":{{\"scale_pos_weight\":\"1\"}}}}}},\
         \"version\":[3,2,0]}}"
    )
}

/// Rows with missing values, and no others that are odd.
pub(crate) fn rows() -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED + 1);
    let mut value =
        || if random.random_bool(MISSING_SHARE) { f32::NAN } else { random.random_range(0.0..1.0_f32) };
    (0..ROWS).map(|_| (0..FEATURES).map(|_| value()).collect()).collect()
}
