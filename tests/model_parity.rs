//! Holds the model room to libxgboost: every model of `models/parity`, every row, every bit of the margin.
//!
//! `models/parity/make.py` made the data; all numbers in it are f32 written as eight hexadecimal digits. Of many more rows,
//! which are drawn here as there, it keeps the hash of the margins.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tollgate::model::attribution::AttributionScratch;
use tollgate::model::drawn_rows::DrawnRows;
use tollgate::model::forest::probability;
use tollgate::model::manifest::Model;

/// How far an attribution may be from libxgboost's, in parts of max(1, |margin|). libxgboost computes in f32 throughout.
const ATTRIBUTION_ERROR_MAX: f32 = 1e-5;
/// How far attributions and bias together may be from the margin, in the same parts.
const ADDITIVITY_ERROR_MAX: f32 = 2e-5;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity")
}

/// One row of golden data.
struct Golden {
    row: Vec<f32>,
    margin: f32,
    /// What `predict` gives: a probability, or the margin again for `binary:logitraw`.
    value: f32,
    contributions: Vec<f32>,
    bias: f32,
}

fn golden(path: &Path, features: usize) -> Vec<Golden> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let parse = |record: csv::StringRecord| {
        let bits = record.iter().map(|field| f32::from_bits(u32::from_str_radix(field, 16).unwrap()));
        let numbers: Vec<f32> = bits.collect();
        assert_eq!(numbers.len(), 2 * features + 3);
        Golden {
            row: numbers[..features].to_vec(),
            margin: numbers[features],
            value: numbers[features + 1],
            contributions: numbers[features + 2..2 * features + 2].to_vec(),
            bias: numbers[2 * features + 2],
        }
    };
    reader.records().map(|record| parse(record.unwrap())).collect()
}

fn models() -> Vec<(String, Model, Vec<Golden>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "ubj"))
        .collect();
    files.sort();
    let load = |path: PathBuf| {
        let model = Model::load_file(&path).unwrap();
        let rows = golden(&path.with_extension("csv"), model.feature_names.len());
        (model.name.to_string(), model, rows)
    };
    files.into_iter().map(load).collect()
}

#[test]
fn margins_are_those_of_libxgboost_to_the_bit() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, model, rows) in models() {
        for (number, golden) in rows.iter().enumerate() {
            let margin = model.forest.margin(&golden.row).unwrap();
            compared += 1;
            if margin.to_bits() != golden.margin.to_bits() {
                wrong.push(format!("{name}, row {number}: {margin:?}, not {:?}", golden.margin));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 2_000, "only {compared} rows");
}

#[test]
fn the_margins_of_many_drawn_rows_are_those_of_libxgboost_to_the_bit() {
    let mut hashes = csv::Reader::from_path(directory().join("margins.csv")).unwrap();
    let hashes: Vec<(String, usize, String)> = hashes.deserialize().map(|line| line.unwrap()).collect();
    let models = models();
    assert_eq!(hashes.len(), models.len());
    let mut compared = 0;
    for (name, rows, expected) in hashes {
        let (_, model, _) = models.iter().find(|(known, ..)| *known == name).unwrap();
        let mut drawn = DrawnRows::new(&model.forest, 0);
        let mut row = vec![0.0; model.feature_names.len()];
        let mut hash = Sha256::new();
        for number in 0..rows {
            drawn.fill(&mut row);
            let margin = model.forest.margin(&row).unwrap();
            let portable = model.forest.margin_portable(&row).unwrap();
            assert_eq!(margin.to_bits(), portable.to_bits(), "{name}, row {number}");
            hash.update(margin.to_le_bytes());
        }
        compared += rows;
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name}");
    }
    assert!(compared >= 500_000, "only {compared} rows");
}

#[test]
fn probabilities_are_those_of_libxgboost_to_one_unit_in_the_last_place() {
    for (name, model, rows) in models() {
        for (number, golden) in rows.iter().enumerate() {
            if model.objective == "binary:logitraw" {
                assert_eq!(golden.value.to_bits(), golden.margin.to_bits(), "{name}, row {number}");
                continue;
            }
            let apart = probability(golden.margin).to_bits().abs_diff(golden.value.to_bits());
            assert!(apart <= 1, "{name}, row {number}: {apart} units apart");
        }
    }
}

#[test]
fn attributions_are_those_of_libxgboost() {
    let mut scratch = AttributionScratch::default();
    for (name, model, rows) in models() {
        let mut contributions = vec![0.0; model.feature_names.len()];
        for (number, golden) in rows.iter().enumerate() {
            let scale = golden.margin.abs().max(1.0);
            let forest = &model.forest;
            model
                .attributor
                .contributions_into(forest, &golden.row, &mut scratch, &mut contributions)
                .unwrap();
            let bias = model.attributor.bias();
            assert!((bias - golden.bias).abs() <= ATTRIBUTION_ERROR_MAX * scale, "{name}: bias {bias}");
            for (feature, (found, expected)) in contributions.iter().zip(&golden.contributions).enumerate() {
                let apart = (found - expected).abs();
                assert!(
                    apart <= ATTRIBUTION_ERROR_MAX * scale,
                    "{name}, row {number}, feature {feature}: {found}, not {expected}"
                );
            }
            let together = contributions.iter().sum::<f32>() + bias;
            let apart = (together - golden.margin).abs();
            assert!(apart <= ADDITIVITY_ERROR_MAX * scale, "{name}, row {number}: {apart} too much together");
        }
    }
}
