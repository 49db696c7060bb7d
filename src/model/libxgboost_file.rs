//! A model in the shape that libxgboost 1.6 reads.
//!
//! Its own file goes to it as it is, but for `base_score`: from version 3.1 on it is a list, of which 1.6 makes another number
//! without saying so. What 1.6 cannot read (UBJSON as newer versions write it, DART weights, `binary:logitraw`, whose base score
//! meant another thing) is written from the trees as Tollgate read them.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::forest::Forest;
use crate::model::tree::{Node, Test, Tree};
use crate::model::xgboost_file::probability_of_base_score;

/// What libxgboost was given to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// The model's file.
    File,
    /// The model's file, with `base_score` as older versions write it.
    FileWithPlainBaseScore,
    /// The trees as Tollgate read them: what is compared is scoring, not reading.
    TreesOfTollgate,
}

impl Reading {
    /// Its name in a certificate.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::FileWithPlainBaseScore => "file_with_plain_base_score",
            Self::TreesOfTollgate => "trees_of_tollgate",
        }
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    learner: Learner<'a>,
}

#[derive(Deserialize)]
struct Learner<'a> {
    #[serde(borrow)]
    gradient_booster: Booster<'a>,
    #[serde(borrow)]
    learner_model_param: Param<'a>,
    objective: Objective,
}

#[derive(Deserialize)]
struct Booster<'a> {
    name: String,
    #[serde(borrow, default)]
    model: Option<Trees<'a>>,
}

#[derive(Deserialize)]
struct Trees<'a> {
    #[serde(borrow, default)]
    weight_drop: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Param<'a> {
    #[serde(borrow)]
    base_score: &'a RawValue,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

/// What to give to libxgboost 1.6 for a model whose file has `bytes`; an error says what it would get wrong.
pub(super) fn readable(forest: &Forest, bytes: &[u8]) -> Result<(String, Reading), String> {
    for node in forest.trees().flat_map(|tree| tree.nodes) {
        match node.test() {
            Test::In { .. } => {
                return Err("has categorical splits, where libxgboost 1.6 sends unseen categories another way than newer \
                            versions do"
                    .to_owned());
            }
            Test::Below { threshold: f32::MIN, .. } => {
                return Err("has a split at the least of all f32, where libxgboost 1.6, which takes no infinities, cannot \
                            tell it from minus infinity"
                    .to_owned());
            }
            Test::Below { .. } | Test::Leaf(_) => {}
        }
    }
    let own = std::str::from_utf8(bytes).ok().and_then(own_file);
    Ok(own.unwrap_or_else(|| (written(forest), Reading::TreesOfTollgate)))
}

/// The file itself, when libxgboost 1.6 can read it.
fn own_file(text: &str) -> Option<(String, Reading)> {
    let Document { learner } = serde_json::from_str(text).ok()?;
    let has_weights = learner.gradient_booster.model.is_some_and(|model| model.weight_drop.is_some());
    if learner.gradient_booster.name != "gbtree" || has_weights || learner.objective.name != "binary:logistic"
    {
        return None;
    }
    let base_score = learner.learner_model_param.base_score.get();
    let said: String = serde_json::from_str(base_score).ok()?;
    let score = probability_of_base_score(&said)?;
    // Without an exponent, which it would divide by in f32.
    let plain = format!("\"{score}\"");
    if said.parse() == Ok(score) && !said.contains(['e', 'E']) {
        return Some((text.to_owned(), Reading::File));
    }
    let start = base_score.as_ptr() as usize - text.as_ptr() as usize;
    let (before, after) = (&text[..start], &text[start + base_score.len()..]);
    Some((format!("{before}{plain}{after}"), Reading::FileWithPlainBaseScore))
}

/// The forest in XGBoost's JSON. The base margin is the leaf of a first tree; a `base_score` of 0.5 adds -0.0 to it, which
/// changes nothing.
fn written(forest: &Forest) -> String {
    let base = [Node::leaf(forest.base_margin(), 1.0)];
    let base = Tree { nodes: &base, bits: &[] };
    let trees: Vec<String> = std::iter::once(base)
        .chain(forest.trees())
        .enumerate()
        .map(|(number, tree)| written_tree(number, tree, forest.features()))
        .collect();
    let (count, features) = (trees.len(), forest.features());
    let info = list(trees.iter().map(|_| 0));
    let trees = trees.join(",");
    format!(
        "{{\"learner\":{{\"attributes\":{{}},\"feature_names\":[],\"feature_types\":[],\"gradient_booster\":{{\"model\":{{\
         \"gbtree_model_param\":{{\"num_parallel_tree\":\"1\",\"num_trees\":\"{count}\",\"size_leaf_vector\":\"0\"}},\
         \"tree_info\":{info},\"trees\":[{trees}]}},\"name\":\"gbtree\"}},\"learner_model_param\":{{\"base_score\":\"0.5\",\
         \"num_class\":\"0\",\"num_feature\":\"{features}\",\"num_target\":\"1\"}},\"objective\":{{\"name\":\
         \"binary:logistic\",\"reg_loss_param\":{{\"scale_pos_weight\":\"1\"}}}}}},\"version\":[1,6,2]}}"
    )
}

fn written_tree(number: usize, tree: Tree<'_>, features: usize) -> String {
    let nodes = tree.nodes;
    let child = |side: usize| {
        let of = move |node: &Node| node.feature().map_or(-1, |_| node.children()[side] as i64);
        list(nodes.iter().map(of))
    };
    // What XGBoost writes for the root.
    let mut parents = vec![i32::MAX as usize; nodes.len()];
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| node.feature().is_some()) {
        node.children().into_iter().for_each(|child| parents[child] = at);
    }
    let condition = |node: &Node| match node.test() {
        Test::Leaf(value) | Test::Below { threshold: value, .. } => value,
        Test::In { .. } => f32::NAN,
    };
    let zeros = numbers(nodes.iter().map(|_| 0.0));
    format!(
        "{{\"base_weights\":{zeros},\"categories\":[],\"categories_nodes\":[],\"categories_segments\":[],\
         \"categories_sizes\":[],\"default_left\":{},\"id\":{number},\"left_children\":{},\"loss_changes\":{zeros},\
         \"parents\":{},\"right_children\":{},\"split_conditions\":{},\"split_indices\":{},\"split_type\":{},\
         \"sum_hessian\":{},\"tree_param\":{{\"num_deleted\":\"0\",\"num_feature\":\"{features}\",\"num_nodes\":\"{}\",\
         \"size_leaf_vector\":\"0\"}}}}",
        list(nodes.iter().map(Node::is_default_left)),
        child(0),
        list(parents),
        child(1),
        numbers(nodes.iter().map(condition)),
        list(nodes.iter().map(|node| node.feature().unwrap_or(0))),
        list(nodes.iter().map(|_| 0)),
        numbers(nodes.iter().map(Node::cover)),
        nodes.len(),
    )
}

fn list(items: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(","))
}

/// Numbers with the digits that read back as the same f32, which are at most the nine that libxgboost takes in.
fn numbers(items: impl Iterator<Item = f32>) -> String {
    let mut text = String::from("[");
    for (number, item) in items.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{item:E}");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::manifest::Model;
    use crate::model::xgboost_file;

    #[test]
    fn libxgboost_gets_the_file_itself_where_it_can_read_it() {
        use Reading::{File, FileWithPlainBaseScore, TreesOfTollgate};
        let facts = [
            ("named.json", FileWithPlainBaseScore),
            ("old_base_score.json", FileWithPlainBaseScore),
            ("base_score_0.json", FileWithPlainBaseScore),
            ("depth5_raw.json", TreesOfTollgate),
            ("dart.json", TreesOfTollgate),
            ("dart_merged.json", TreesOfTollgate),
            ("named_ubjson.ubj", TreesOfTollgate),
        ];
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity");
        for (name, expected) in facts {
            let file = directory.join(name);
            let model = Model::load_file(&file).unwrap();
            let (text, reading) = readable(&model.forest, &std::fs::read(&file).unwrap()).unwrap();
            assert_eq!(reading, expected, "{name}");
            let again = xgboost_file::parse(&file, text.as_bytes()).unwrap();
            let trees = usize::from(expected == TreesOfTollgate) + model.forest.trees().count();
            assert_eq!(again.forest.trees().count(), trees, "{name}");
            let row = vec![f32::NAN; model.forest.features()];
            assert_eq!(again.forest.margin(&row), model.forest.margin(&row), "{name}");
            assert!(!text.contains("base_score\":\"["), "{name}");
            if expected == FileWithPlainBaseScore {
                let (_, reading) = readable(&model.forest, text.as_bytes()).unwrap();
                assert_eq!(reading, File, "{name}");
            }
        }
    }
}
