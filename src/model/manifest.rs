//! A model directory: XGBoost's file, and the manifest that says what it is and how it was made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::hash::sha256;
use crate::model::attribution::Attributor;
use crate::model::forest::Forest;
use crate::model::reference::{Reference, ReferenceFile};
use crate::model::xgboost_file::{self, FeatureType, ModelFile, ModelFileError};

/// The names that XGBoost's file may have in a model directory: JSON or UBJSON.
pub const MODEL_FILES: [&str; 2] = ["model.json", "model.ubj"];
/// The name of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The version of the manifests that this program reads.
pub const MANIFEST_SCHEMA: u32 = 1;

/// Why a model cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// XGBoost's file.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The manifest cannot be read.
    #[error("{file}: cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The manifest cannot be written.
    #[error("{file}: cannot be written: {error}")]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A certificate of one model for the manifest of another.
    #[error(
        "{file}: is of another model than the one that was verified; it was replaced meanwhile: verify again"
    )]
    OtherModel {
        /// The file.
        file: PathBuf,
    },
    /// The manifest is not what it should be.
    #[error("{file}: is not a model manifest: {error}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// Manifest and model say different things.
    #[error("{file}: {what}")]
    Mismatch {
        /// The manifest.
        file: PathBuf,
        /// What differs.
        what: String,
    },
}

/// What `manifest.json` says. What training adds beyond this is for people and other tools.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// Of the manifest.
    pub schema: u32,
    /// The model's name.
    pub name: String,
    /// The hash of `model.json`.
    pub model_sha256: String,
    /// The hash of the catalogue that it was trained with.
    pub features_sha256: String,
    /// The model's features in order; checked against `model.json` when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_names: Option<Vec<String>>,
    /// Which scores are elevated, and which are high.
    pub thresholds: Thresholds,
    /// How features and score were distributed in training; without it no drift is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceFile>,
}

/// Bounds of the risk levels, as probabilities.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize, Serialize)]
pub struct Thresholds {
    /// From here on elevated.
    pub elevated: f32,
    /// From here on high.
    pub high: f32,
}

/// A model that can score.
#[derive(Debug)]
pub struct Model {
    /// Its name.
    pub name: Box<str>,
    /// `sha256:` and the hash of `model.json`.
    pub sha256: Box<str>,
    /// The hash of the catalogue that it was trained with; `None` for a bare file.
    pub features_sha256: Option<Box<str>>,
    /// Its features, in the order of a row.
    pub feature_names: Vec<Box<str>>,
    /// Their types.
    pub feature_types: Vec<FeatureType>,
    /// Its trees.
    pub forest: Forest,
    /// Its attributions.
    pub attributor: Attributor,
    /// Bounds of the risk levels.
    pub thresholds: Thresholds,
    /// How features and score were distributed in training, if the manifest says so.
    pub reference: Option<Arc<Reference>>,
    /// The version of XGBoost that wrote it.
    pub xgboost_version: String,
    /// Its objective; the margin is log-odds in both that are read.
    pub objective: String,
    /// What training with early stopping noted, from 0; all trees are used all the same.
    pub best_iteration: Option<u32>,
    /// The file that it was read from.
    pub file: PathBuf,
}

impl Model {
    /// Loads a model directory.
    pub fn load(directory: &Path) -> Result<Self, ModelError> {
        let file = directory.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&file)
            .map_err(|error| ModelError::Unreadable { file: file.clone(), error })?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| ModelError::Malformed { file: file.clone(), error })?;
        let mismatch = |what: String| ModelError::Mismatch { file: file.clone(), what };
        let [json, ubjson] = MODEL_FILES;
        let model_file = match MODEL_FILES.map(|name| directory.join(name).exists()) {
            [true, true] => {
                return Err(mismatch(format!(
                    "has {json} and {ubjson} beside it; remove the one that is not meant"
                )));
            }
            [false, true] => ubjson,
            _ => json,
        };
        Self::load_file(&directory.join(model_file))?.described_by(manifest, &file)
    }

    /// The same from the bytes of both files, whose names are for errors; `model_file` is where a backend may read it once more.
    pub fn from_bytes(
        manifest_file: &Path,
        manifest: &str,
        model_file: &Path,
        model: &[u8],
    ) -> Result<Self, ModelError> {
        let manifest = serde_json::from_str(manifest)
            .map_err(|error| ModelError::Malformed { file: manifest_file.to_owned(), error })?;
        let read = xgboost_file::parse(model_file, model)?;
        Self::of_file(model_file, read, model).described_by(manifest, manifest_file)
    }

    fn described_by(self, manifest: Manifest, file: &Path) -> Result<Self, ModelError> {
        let mut model = self;
        let mismatch = |what: String| ModelError::Mismatch { file: file.to_owned(), what };
        let model_file =
            model.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if manifest.schema != MANIFEST_SCHEMA {
            return Err(mismatch(format!(
                "is of schema {}; this program reads {MANIFEST_SCHEMA}",
                manifest.schema
            )));
        }
        if *manifest.model_sha256 != *model.sha256 {
            let what = format!("names {}, but {model_file} has {}", manifest.model_sha256, model.sha256);
            return Err(mismatch(what));
        }
        let named = manifest.feature_names.unwrap_or_default();
        if !named.is_empty() && !named.iter().map(String::as_str).eq(model.feature_names.iter().map(|n| &**n))
        {
            return Err(mismatch(format!("names other features, or in another order, than {model_file}")));
        }
        let Thresholds { elevated, high } = manifest.thresholds;
        if !(0.0..=1.0).contains(&elevated) || !(elevated..=1.0).contains(&high) {
            return Err(mismatch(format!(
                "has thresholds {elevated} and {high}, which are not ordered in 0..=1"
            )));
        }
        model.reference = manifest
            .reference
            .map(|reference| Reference::new(reference, &model.feature_names))
            .transpose()
            .map_err(|what| {
                mismatch(format!("its reference {what}; models/add_reference.py makes it anew"))
            })?;
        model.name = manifest.name.into();
        model.features_sha256 = Some(manifest.features_sha256.into());
        model.thresholds = manifest.thresholds;
        Ok(model)
    }

    /// Loads XGBoost's file alone.
    pub fn load_file(file: &Path) -> Result<Self, ModelError> {
        let (read, bytes) = xgboost_file::read(file)?;
        Ok(Self::of_file(file, read, &bytes))
    }

    fn of_file(file: &Path, read: ModelFile, bytes: &[u8]) -> Self {
        let name = file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self {
            name: name.into(),
            sha256: sha256(bytes),
            features_sha256: None,
            attributor: Attributor::new(&read.forest),
            feature_names: read.feature_names,
            feature_types: read.feature_types,
            forest: read.forest,
            thresholds: Thresholds { elevated: 0.5, high: 0.9 },
            reference: None,
            xgboost_version: read.xgboost_version,
            objective: read.objective,
            best_iteration: read.best_iteration,
            file: file.to_owned(),
        }
    }

    /// Loads a directory or a bare file.
    pub fn load_either(path: &Path) -> Result<Self, ModelError> {
        if path.is_dir() { Self::load(path) } else { Self::load_file(path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/parity");

    fn directory(change: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let file = Path::new(PARITY).join("named.json");
        std::fs::copy(&file, directory.path().join("model.json")).unwrap();
        let mut manifest = serde_json::json!({
            "schema": 1,
            "name": "named",
            "model_sha256": &*sha256(&std::fs::read(&file).unwrap()),
            "features_sha256": "sha256:00",
            "feature_names": (0..8).map(|index| format!("card.feature_{index}")).collect::<Vec<_>>(),
            "thresholds": {"elevated": 0.25, "high": 0.5},
            "training": {"rows": 3000},
        });
        change(&mut manifest);
        std::fs::write(directory.path().join(MANIFEST_FILE), manifest.to_string()).unwrap();
        directory
    }

    #[test]
    fn a_directory_is_loaded() {
        let directory = directory(|_| ());
        let model = Model::load_either(directory.path()).unwrap();
        assert_eq!(&*model.name, "named");
        assert_eq!(model.thresholds, Thresholds { elevated: 0.25, high: 0.5 });
        assert_eq!(model.features_sha256.as_deref(), Some("sha256:00"));
        assert!(model.sha256.starts_with("sha256:") && model.sha256.len() == 71);
    }

    #[test]
    fn a_manifest_that_does_not_fit_is_refused() {
        let facts: [(&str, serde_json::Value, &str); 7] = [
            ("schema", 2.into(), "is of schema 2"),
            ("model_sha256", "sha256:11".into(), "names sha256:11, but model.json has sha256:"),
            ("feature_names", serde_json::json!(["a"]), "names other features"),
            ("thresholds", serde_json::json!({"elevated": 0.5, "high": 0.4}), "not ordered"),
            ("thresholds", serde_json::json!({"elevated": 0.5}), "missing field `high`"),
            ("name", 7.into(), "is not a model manifest"),
            (
                "reference",
                serde_json::json!({"features": {}, "score": {"edges": [], "counts": [1, 0]}}),
                "its reference lacks the model's feature card.feature_0",
            ),
        ];
        for (key, value, expected) in facts {
            let directory = directory(|manifest| manifest[key] = value);
            let error = Model::load(directory.path()).unwrap_err().to_string();
            assert!(error.contains("manifest.json: ") && error.contains(expected), "{key}: {error}");
        }
    }

    #[test]
    fn the_model_may_be_ubjson_but_not_both() {
        let directory = directory(|manifest| {
            let bytes = std::fs::read(Path::new(PARITY).join("named_ubjson.ubj")).unwrap();
            manifest["model_sha256"] = serde_json::json!(&*sha256(&bytes));
        });
        let [json, ubjson] = MODEL_FILES.map(|name| directory.path().join(name));
        std::fs::copy(Path::new(PARITY).join("named_ubjson.ubj"), ubjson).unwrap();
        let error = Model::load(directory.path()).unwrap_err().to_string();
        assert!(error.contains("has model.json and model.ubj beside it"), "{error}");
        std::fs::remove_file(json).unwrap();
        assert_eq!(&*Model::load(directory.path()).unwrap().feature_names[3], "card.feature_3");
    }

    #[test]
    fn a_missing_file_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = Model::load(empty.path()).unwrap_err().to_string();
        assert!(error.contains("manifest.json: cannot be read"), "{error}");
        let error = Model::load_either(&empty.path().join("no.json")).unwrap_err().to_string();
        assert!(error.contains("no.json: cannot be read"), "{error}");
    }
}
