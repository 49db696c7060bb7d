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
        (at(&booster, "model/weight_drop"), json!([0.5, 0.5]), "has 1 trees and 2 weights of trees"),
        (at(&booster, "model/weight_drop"), json!([1e39]), "the weight of tree 0 (weight_drop) is inf"),
        (at(TREE, "split_type"), json!([1, 0, 0]), "node 0 is a categorical split without categories"),
        (
            at(TREE, "split_type"),
            json!([2, 0, 0]),
            "the split of type 2 at node 0 in tree 0 is not supported",
        ),
        (at(TREE, "split_type"), json!([0, 0]), "its lists have the lengths"),
        (at(TREE, "categories_nodes"), json!([0]), "its lists of categories have the lengths [1, 0, 0]"),
        ("/learner/feature_types".into(), json!(["float"]), "2 features and 1 feature types"),
        (
            "/learner/feature_types".into(),
            json!(["float", "text"]),
            "calls feature 1 \"text\", which is none of",
        ),
        (
            "/learner/feature_types".into(),
            json!(["float", "c"]),
            "feature 1 is a category, and a split tests it",
        ),
        (at(TREE, "tree_param/size_leaf_vector"), json!("2"), "the leaf of 2 outputs in tree 0"),
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

/// The changes that make the stump's split categorical: `categories` of feature b go right.
fn categorical(categories: &Value) -> Changes {
    let at = |key: &str| format!("{TREE}/{key}");
    vec![
        (at("split_type"), json!([1, 0, 0])),
        (at("categories"), categories.clone()),
        (at("categories_nodes"), json!([0])),
        (at("categories_segments"), json!([0])),
        (at("categories_sizes"), json!([categories.as_array().unwrap().len()])),
    ]
}

fn with_all(changes: &Changes) -> Result<ModelFile, String> {
    let changes: Vec<_> = changes.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
    with(&changes)
}

#[test]
fn categorical_splits_are_read() {
    let read = with_all(&categorical(&json!([0, 40]))).unwrap();
    assert_eq!(read.feature_types, [FeatureType::Number, FeatureType::Category]);
    for (category, margin) in [(0.0, 1.0), (40.0, 1.0), (1.0, -1.0), (72.0, -1.0), (f32::NAN, -1.0)] {
        assert_eq!(read.forest.margin(&[0.0, category]), Ok(margin), "category {category}");
    }
}

#[test]
fn categories_that_make_no_sense_are_refused() {
    let at = |key: &str| format!("{TREE}/{key}");
    let facts = [
        ("categories", json!([0, -1]), "node 0 has a category that is not within 0..65536"),
        ("categories", json!([0, 65_536]), "node 0 has a category that is not within 0..65536"),
        ("categories", json!([0]), "node 0 has categories beyond the list of them"),
        ("categories_segments", json!([-1]), "node 0 has categories beyond the list of them"),
        ("categories_sizes", json!([i64::MAX]), "node 0 has categories beyond the list of them"),
        ("categories_nodes", json!([3]), "has categories for node 3, which does not exist"),
    ];
    for (key, value, expected) in facts {
        let mut changes = categorical(&json!([0, 40]));
        changes.push((at(key), value));
        let error = with_all(&changes).unwrap_err();
        assert!(error.contains(expected), "{key}: {error}");
    }
    let mut twice = categorical(&json!([0, 40]));
    twice.extend(
        ["nodes", "segments", "sizes"].map(|list| (at(&format!("categories_{list}")), json!([0, 0]))),
    );
    let error = with_all(&twice).unwrap_err();
    assert!(error.contains("node 0 has two sets of categories"), "{error}");
}

#[test]
fn the_weights_of_dart_are_read_in_both_shapes() {
    let booster = "/learner/gradient_booster";
    let newer = with(&[(&format!("{booster}/model/weight_drop"), json!([0.5]))]).unwrap();
    let gbtree = stump().pointer(booster).unwrap().clone();
    let dart = json!({"name": "dart", "gbtree": gbtree, "weight_drop": [0.5]});
    let older = with(&[(booster, dart)]).unwrap();
    for read in [older, newer] {
        assert_eq!(read.forest.margin(&[0.0, 10.0]), Ok(0.5));
        assert_eq!(read.forest.margin(&[0.0, 9.0]), Ok(-0.5));
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
    for bytes in [&b""[..], b"{}", b"[]", b"{\x00\x00", b"\xff", b"{\"learner\": {}}"] {
        let error = parse(Path::new("model.json"), bytes).unwrap_err();
        assert!(matches!(error, ModelFileError::Json { .. }), "{error}");
    }
}

fn parity_file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity").join(name)).unwrap()
}

#[test]
fn ubjson_says_the_same_as_json() {
    let read = |name| parse(Path::new(name), &parity_file(name)).unwrap();
    let (json, ubjson) = (read("named.json"), read("named_ubjson.ubj"));
    assert_eq!(ubjson.feature_names, json.feature_names);
    assert_eq!(ubjson.xgboost_version, json.xgboost_version);
    // Two models of one recipe, trained on data of their own.
    assert_eq!(ubjson.forest.trees().count(), json.forest.trees().count());
    let error = parse(Path::new("m.ubj"), b"{L\0\0\0\0\0\0\0\x07learner}").unwrap_err();
    assert!(matches!(error, ModelFileError::Ubjson { .. }), "{error}");
    assert!(error.to_string().contains("a value begins with `}` at byte 18"), "{error}");
    let error = parse(Path::new("m.bin"), b"binf....").unwrap_err();
    assert!(error.to_string().contains("the binary format that XGBoost wrote before version 3"), "{error}");
}

#[test]
fn no_corrupted_file_is_taken_for_a_whole_one_or_stops_the_reader() {
    for name in ["named_ubjson.ubj", "dart_forest.ubj", "named.json", "categories_one_hot.json"] {
        let whole = parity_file(name);
        let closed = whole.trim_ascii_end().len();
        for end in (0..closed).step_by(23).chain([closed - 1]) {
            assert!(parse(Path::new(name), &whole[..end]).is_err(), "{name} cut at {end}");
        }
        let mut refused = 0;
        for at in (0..closed).step_by(17) {
            let mut changed = whole.clone();
            // Any error will do, and so will a model that is sound though it is another.
            changed[at] ^= 1 << (at % 8);
            refused += usize::from(parse(Path::new(name), &changed).is_err());
        }
        assert!(refused > closed / 17 / 4, "{name}: only {refused} changes were noticed");
    }
}

#[test]
fn a_chain_that_is_too_deep_is_refused() {
    let splits = xgboost_tree::DEPTH_MAX + 1;
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
        (at("split_type"), json!([])),
    ];
    let changes: Vec<_> = changes.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
    let error = with(&changes).unwrap_err();
    assert!(error.contains("tree 0: is deeper than 64"), "{error}");
}
