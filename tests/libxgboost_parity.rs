//! Holds the model room to libxgboost itself, in this process, on drawn rows: `cargo test --release --features xgboost --test
//! libxgboost_parity`. `tests/model_parity.rs` holds it to what a newer libxgboost has said, without having one.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use tollgate::model::backend::{Backend, BackendError, Scorer};
use tollgate::model::drawn_rows::DrawnRows;
use tollgate::model::libxgboost::{BATCH_ROWS, LibXgboost};
use tollgate::model::libxgboost_file::Reading;
use tollgate::model::manifest::Model;
use tollgate::model::verify::{Certificate, Verifier};

/// Rows of the shipped model.
const SHIPPED_ROWS: u64 = if cfg!(debug_assertions) { 2_048 } else { 200_000 };
/// Rows of each other model.
const ROWS: u64 = if cfg!(debug_assertions) { 1_024 } else { 20_000 };
/// Models of `models/parity` that libxgboost 1.6 scores in another way than newer versions do.
const REFUSED: [&str; 3] = ["categories_one_hot.json", "categories_sets.json", "categories_ubjson.ubj"];
/// How far an attribution may be from libxgboost's, in parts of max(1, |margin|): it computes in f32 throughout.
const ATTRIBUTION_ERROR_MAX: f32 = 1e-5;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn parity_model(name: &str) -> Model {
    Model::load_file(&directory().join("parity").join(name)).unwrap()
}

/// The file names of all models in `models/parity`.
fn parity_models() -> Vec<String> {
    let entries = std::fs::read_dir(directory().join("parity")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| [".json", ".ubj"].iter().any(|end| name.ends_with(end))).collect();
    names.sort();
    names
}

fn verify(model: &Model, loaded: LibXgboost, rows: u64) -> Certificate {
    let mut verifier = Verifier::new(model).with_libxgboost(loaded);
    let mut drawn = DrawnRows::new(&model.forest, 7);
    let mut row = vec![0.0; model.forest.features()];
    for _ in 0..rows {
        drawn.fill(&mut row);
        verifier.add(&row).unwrap();
    }
    verifier.finish("drawn".to_owned()).unwrap()
}

#[test]
fn margins_of_every_model_are_those_of_libxgboost_to_the_bit() {
    let (mut compared, mut refused, mut read_itself) = (0, Vec::new(), 0);
    for name in parity_models() {
        let model = parity_model(&name);
        match LibXgboost::load(&model) {
            Ok(loaded) => {
                assert_eq!(loaded.version(), "1.6.2");
                read_itself += u32::from(loaded.reading() != Reading::TreesOfTollgate);
                let certificate = verify(&model, loaded, ROWS);
                assert!(certificate.holds && certificate.is_against_libxgboost(), "{name}: {certificate}");
                compared += certificate.rows;
            }
            Err(BackendError::Unsupported { .. }) => refused.push(name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(refused, REFUSED);
    assert!(compared >= 15 * ROWS && read_itself >= 10, "{compared} rows, {read_itself} files");
}

#[test]
fn margins_of_the_shipped_model_are_those_of_libxgboost_to_the_bit() {
    let model = Model::load(&directory().join("default")).unwrap();
    let certificate = verify(&model, LibXgboost::load(&model).unwrap(), SHIPPED_ROWS);
    assert!(certificate.holds && certificate.rows == SHIPPED_ROWS, "{certificate}");
}

#[test]
fn another_models_margins_are_noticed() {
    let (model, other) = (parity_model("depth8.json"), parity_model("deep.json"));
    assert_eq!(model.forest.features(), other.forest.features());
    let certificate = verify(&model, LibXgboost::load(&other).unwrap(), 600);
    assert!(!certificate.holds && certificate.compared[0].differing_rows > 500, "{certificate}");
    assert!(certificate.to_string().contains("DO NOT HOLD"));
}

#[test]
fn attributions_are_those_of_libxgboost() {
    for name in ["depth6_complete.json", "deep.json", "dart.json", "named_ubjson.ubj", "depth5_raw.json"] {
        let model = parity_model(name);
        let features = model.forest.features();
        let loaded = LibXgboost::load(&model).unwrap();
        let mut drawn = DrawnRows::new(&model.forest, 3);
        let mut rows = vec![0.0; BATCH_ROWS * features];
        rows.chunks_exact_mut(features).for_each(|row| drawn.fill(row));
        let theirs = loaded.contributions(&rows).unwrap();
        assert_eq!(theirs.len(), BATCH_ROWS * (features + 1));
        for (row, theirs) in rows.chunks_exact(features).zip(theirs.chunks_exact(features + 1)) {
            let ours = model.attributor.contributions(&model.forest, row).unwrap();
            let most = ATTRIBUTION_ERROR_MAX * model.forest.margin(row).unwrap().abs().max(1.0);
            for (feature, (ours, theirs)) in ours.features.iter().chain([&ours.bias]).zip(theirs).enumerate()
            {
                assert!((ours - theirs).abs() <= most, "{name}, feature {feature}: {ours}, not {theirs}");
            }
        }
    }
}

#[test]
fn threads_get_the_same_margins() {
    let model = parity_model("depth6_complete.json");
    let scorer = Scorer::new(Backend::Xgboost, &model).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (model, scorer) = (&model, &scorer);
            scope.spawn(move || {
                let mut drawn = DrawnRows::new(&model.forest, seed);
                let mut row = vec![0.0; model.forest.features()];
                for _ in 0..500 {
                    drawn.fill(&mut row);
                    let (ours, theirs) =
                        (model.forest.margin(&row).unwrap(), scorer.margin(model, &row).unwrap());
                    assert_eq!(ours.to_bits(), theirs.to_bits());
                }
            });
        }
    });
}

#[test]
fn a_file_that_changed_is_not_scored() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.json");
    std::fs::copy(self::directory().join("parity/named.json"), &file).unwrap();
    let model = Model::load_file(&file).unwrap();
    std::fs::copy(self::directory().join("parity/depth1.json"), &file).unwrap();
    assert!(matches!(LibXgboost::load(&model), Err(BackendError::Changed { .. })));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(LibXgboost::load(&model), Err(BackendError::Unreadable { .. })));
}
