//! What the reader understands, what it refuses, and under which name.

use serde_json::{Value, json};

use super::*;

/// A model of one stump, as XGBoost 3 writes it.
fn stump() -> Value {
    json!({
        "learner": {
            "attributes": {},
            "feature_names": ["a", "b"],
            "feature_types": ["float", "float"],
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "1"},
                    "tree_info": [0],
                    "trees": [{
                        "base_weights": [0.0, -1.0, 1.0],
                        "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
                        "default_left": [1, 0, 0],
                        "id": 0,
                        "left_children": [1, -1, -1],
                        "loss_changes": [7.5, 0.0, 0.0],
                        "parents": [2_147_483_647, 0, 0],
                        "right_children": [2, -1, -1],
                        "split_conditions": [10.0, -1.0, 1.0],
                        "split_indices": [1, 0, 0],
                        "split_type": [0, 0, 0],
                        "sum_hessian": [4.0, 3.0, 1.0],
                        "tree_param": {
                            "num_deleted": "0", "num_feature": "2", "num_nodes": "3", "size_leaf_vector": "1"
                        }
                    }]
                },
                "name": "gbtree"
            },
            "learner_model_param": {
                "base_score": "[5E-1]", "boost_from_average": "1", "num_class": "0", "num_feature": "2", "num_target": "1"
            },
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}}
        },
        "version": [3, 2, 0]
    })
}

type Changes = Vec<(String, Value)>;

const TREE: &str = "/learner/gradient_booster/model/trees/0";
const PARAM: &str = "/learner/learner_model_param";

fn with(changes: &[(&str, Value)]) -> Result<ModelFile, String> {
    let mut document = stump();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match key.parse::<usize>() {
            Ok(index) => parent[index] = value.clone(),
            Err(_) => parent[key] = value.clone(),
        }
    }
    parse(Path::new("m/model.json"), document.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn what_is_understood() {
    let at = |path: &str, key: &str| format!("{path}/{key}");
    let facts: Vec<(&str, Changes, f32)> = vec![
        ("as written", vec![], 1.0),
        ("older base_score", vec![(at(PARAM, "base_score"), json!("5E-1"))], 1.0),
        ("no num_target", vec![(at(PARAM, "num_target"), json!(""))], 1.0),
        ("flags as booleans", vec![(at(TREE, "default_left"), json!([true, false, false]))], 1.0),
        ("no split_type", vec![(at(TREE, "split_type"), json!([]))], 1.0),
        ("raw scores", vec![("/learner/objective/name".into(), json!("binary:logitraw"))], 1.5),
        ("base_score 0", vec![(at(PARAM, "base_score"), json!("0"))], 1.0 - 13.815_51),
        ("noise in covers", vec![(at(TREE, "sum_hessian/1"), json!(3.001))], 1.0),
    ];
    for (fact, changes, margin) in facts {
        let changes: Vec<_> =
            changes.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
        let read = with(&changes).unwrap_or_else(|error| panic!("{fact}: {error}"));
        assert_eq!(read.forest.margin(&[f32::NAN, 10.0]), Ok(margin), "{fact}");
        assert_eq!(read.forest.margin(&[f32::NAN, f32::NAN]), Ok(margin - 2.0), "{fact}");
    }
}

#[test]
fn what_is_refused_and_how_it_is_named() {
    let at = |path: &str, key: &str| format!("{path}/{key}");
    let booster = "/learner/gradient_booster".to_owned();
    let facts: Vec<(String, Value, &str)> = vec![
        (at(&booster, "name"), json!("dart"), "booster dart"),
        (booster.clone(), json!({"name": "gblinear", "model": {"weights": [1.0]}}), "booster gblinear"),
        ("/learner/objective/name".into(), json!("multi:softprob"), "objective multi:softprob"),
        ("/learner/objective/name".into(), json!("reg:squarederror"), "objective reg:squarederror"),
        (at(PARAM, "num_class"), json!("3"), "several outputs (num_class 3"),
        (at(PARAM, "num_target"), json!("2"), "several outputs (num_class 0, num_target 2"),
        (at(PARAM, "base_score"), json!("[5E-1,5E-1]"), "base_score is \"[5E-1,5E-1]\""),
        (at(PARAM, "base_score"), json!("1.5"), "base_score is \"1.5\""),
        (at(PARAM, "base_score"), json!("nan"), "base_score is \"nan\""),
        (at(PARAM, "num_feature"), json!("0"), "num_feature is \"0\""),
        (at(PARAM, "num_feature"), json!("3"), "3 features and 2 feature names"),
        ("/learner/feature_names".into(), json!(["a", "a"]), "names \"a\" twice"),
        (at(&booster, "model/tree_info"), json!([1]), "second output"),
        (at(TREE, "split_type"), json!([1, 0, 0]), "the categorical split in tree 0, node 0"),
        (at(TREE, "tree_param/size_leaf_vector"), json!("2"), "the vector leaf in tree 0"),
        (at(TREE, "split_indices/0"), json!(2), "tree 0: node 0 splits on feature 2 of 2"),
        (at(TREE, "left_children/0"), json!(3), "node 0 has a child that does not exist"),
        (at(TREE, "left_children/0"), json!(-7), "node 0 has a child that does not exist"),
        (at(TREE, "left_children/0"), json!(-1), "node 0 has a child that does not exist"),
        (at(TREE, "left_children/0"), json!(0), "node 0 has two parents"),
        (at(TREE, "left_children/0"), json!(2), "node 2 has two parents"),
        (at(TREE, "left_children"), json!([-1, -1, -1]), "node 0 has a child that does not exist"),
        (at(TREE, "sum_hessian"), json!([4.0, 3.0]), "its lists have the lengths"),
        (
            at(TREE, "sum_hessian/0"),
            json!(5.0),
            "node 0 has the cover (sum_hessian) 5, its children together 4",
        ),
        (at(TREE, "sum_hessian/2"), json!(-1.0), "node 2 has the cover (sum_hessian) -1"),
        (at(TREE, "split_conditions/0"), json!(1e300), "node 0 has the threshold or leaf inf"),
        (at(TREE, "split_conditions/0"), json!("1"), "is no number"),
        (at(TREE, "tree_param/num_deleted"), json!("1"), "0 nodes cannot be reached"),
    ];
    for (pointer, value, expected) in facts {
        let error = with(&[(&pointer, value.clone())]).expect_err(&format!("{pointer} = {value}"));
        assert!(error.starts_with("m/model.json: "), "{error}");
        assert!(error.contains(expected), "{pointer} = {value}: {error}");
    }
}

#[test]
fn raw_scores_of_version_1_are_refused() {
    let changes = [("/learner/objective/name", json!("binary:logitraw")), ("/version", json!([1, 7, 6]))];
    let error = with(&changes).unwrap_err();
    assert!(error.contains("binary:logitraw from XGBoost before 2"), "{error}");
}

#[test]
fn numbers_are_rounded_once() {
    // Just above the middle of 1 and the next f32, but the middle itself as f64, which would round to even: to 1.
    let text = stump().to_string().replace("[10.0,", "[1.00000005960464477540,");
    let read = parse(Path::new("model.json"), text.as_bytes()).unwrap();
    assert_eq!(read.forest.margin(&[0.0, 1.0]), Ok(-1.0));
}

#[test]
fn what_is_no_model_is_malformed() {
    for bytes in [&b""[..], b"{}", b"[]", b"{L\x00", b"\xff", b"{\"learner\": {}}"] {
        let error = parse(Path::new("model.json"), bytes).unwrap_err();
        assert!(matches!(error, ModelFileError::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_chain_that_is_too_deep_is_refused() {
    let splits = DEPTH_MAX + 1;
    let count = 2 * splits + 1;
    let child = |offset: usize| {
        let of = |node: usize| {
            if node.is_multiple_of(2) && node < 2 * splits { json!(node + offset) } else { json!(-1) }
        };
        (0..count).map(of).collect::<Vec<_>>()
    };
    let at = |key: &str| format!("{TREE}/{key}");
    let zeros = vec![json!(0.0); count];
    let changes = [
        (at("left_children"), json!(child(1))),
        (at("right_children"), json!(child(2))),
        (at("split_conditions"), json!(zeros)),
        (at("sum_hessian"), json!(zeros)),
        (at("split_indices"), json!(vec![0; count])),
        (at("default_left"), json!(vec![0; count])),
    ];
    let changes: Vec<_> = changes.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
    let error = with(&changes).unwrap_err();
    assert!(error.contains("tree 0: is deeper than 64"), "{error}");
}
