//! Who computes the margins that are served: Tollgate's own forest, or libxgboost.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::forest::RowLengthError;
#[cfg(feature = "xgboost")]
use crate::model::libxgboost::LibXgboost;
use crate::model::manifest::Model;

/// Whether this build has libxgboost in it.
pub const HAS_LIBXGBOOST: bool = cfg!(feature = "xgboost");

/// The setting `model.backend`. Attributions are Tollgate's in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The forest of this program.
    #[default]
    Tollgate,
    /// libxgboost in this process, through the crate `xgboost-rs`.
    Xgboost,
}

impl Backend {
    /// Its name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tollgate => "tollgate",
            Self::Xgboost => "xgboost",
        }
    }
}

/// Why a backend cannot score a model.
#[derive(Debug, Error)]
pub enum BackendError {
    /// This build has no libxgboost.
    #[error(
        "model.backend is \"xgboost\", and this build has no libxgboost in it; build Tollgate with `cargo build --release --features \
         xgboost` (it needs cmake, g++ and libclang), or set model.backend = \"tollgate\", which gives the same scores"
    )]
    NotBuilt,
    /// A model that this libxgboost would not score as the one that wrote it.
    #[error("{file}: {what}; set model.backend = \"tollgate\", which scores it")]
    Unsupported {
        /// The model's file.
        file: PathBuf,
        /// What it has, and what libxgboost would make of it.
        what: String,
    },
    /// The file is not the one that was loaded any more.
    #[error("{file}: has changed while it was being read; load it again")]
    Changed {
        /// The model's file.
        file: PathBuf,
    },
    /// The file cannot be read a second time.
    #[error("{file}: cannot be read: {error}")]
    Unreadable {
        /// The model's file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// libxgboost refused.
    #[error("{file}: libxgboost: {error}")]
    LibXgboost {
        /// The model's file.
        file: PathBuf,
        /// What it said, up to the end of the line.
        error: String,
    },
    /// libxgboost gives other margins than the forest.
    #[error(
        "{file}: libxgboost {version} gives {differing} of {rows} drawn rows another margin than Tollgate; `tollgate model verify` says how \
         far they are apart. Set model.backend = \"tollgate\", whose margins are held to those of libxgboost 3.2"
    )]
    Differs {
        /// The model's file.
        file: PathBuf,
        /// Of libxgboost.
        version: String,
        /// How many rows differ.
        differing: usize,
        /// Of how many.
        rows: usize,
    },
}

/// Why a row cannot be scored.
#[derive(Debug, Error)]
pub enum MarginError {
    /// It does not fit the model.
    #[error(transparent)]
    RowLength(#[from] RowLengthError),
    /// libxgboost refused it.
    #[error("libxgboost: {0}")]
    LibXgboost(String),
}

/// What computes margins.
#[derive(Debug)]
pub enum Scorer {
    /// The forest of the model.
    Forest,
    /// libxgboost.
    #[cfg(feature = "xgboost")]
    LibXgboost(Box<LibXgboost>),
}

impl Scorer {
    /// Makes the backend ready for a model. libxgboost must give the margins of the forest, to which the attributions add up, on
    /// drawn rows; else the model is refused.
    pub fn new(backend: Backend, model: &Model) -> Result<Self, BackendError> {
        match backend {
            Backend::Tollgate => Ok(Self::Forest),
            Backend::Xgboost => Self::libxgboost(model),
        }
    }

    #[cfg(feature = "xgboost")]
    fn libxgboost(model: &Model) -> Result<Self, BackendError> {
        let loaded = LibXgboost::load(model)?;
        loaded.check_on_drawn_rows(model)?;
        Ok(Self::LibXgboost(Box::new(loaded)))
    }

    #[cfg(not(feature = "xgboost"))]
    const fn libxgboost(_model: &Model) -> Result<Self, BackendError> {
        Err(BackendError::NotBuilt)
    }

    /// Whose it is.
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Forest => Backend::Tollgate,
            #[cfg(feature = "xgboost")]
            Self::LibXgboost(_) => Backend::Xgboost,
        }
    }

    /// The raw margin (log-odds) of a row; `model` is the one that this was made for.
    pub fn margin(&self, model: &Model, row: &[f32]) -> Result<f32, MarginError> {
        match self {
            Self::Forest => Ok(model.forest.margin(row)?),
            #[cfg(feature = "xgboost")]
            Self::LibXgboost(loaded) => {
                model.forest.check(row)?;
                loaded.margin(row)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn model(name: &str) -> Model {
        Model::load_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity").join(name)).unwrap()
    }

    #[test]
    fn the_forest_is_the_default() {
        let model = model("named.json");
        let scorer = Scorer::new(Backend::default(), &model).unwrap();
        let row = [0.5; 8];
        assert_eq!(scorer.margin(&model, &row).unwrap(), model.forest.margin(&row).unwrap());
        let error = scorer.margin(&model, &row[1..]).unwrap_err().to_string();
        assert_eq!(error, "the row has 7 values and the model 8 features");
    }

    #[cfg(not(feature = "xgboost"))]
    #[test]
    fn a_build_without_libxgboost_says_how_to_get_it() {
        let error = Scorer::new(Backend::Xgboost, &model("named.json")).unwrap_err().to_string();
        assert!(error.contains("--features xgboost") && error.contains("cmake"), "{error}");
    }

    #[cfg(feature = "xgboost")]
    #[test]
    fn libxgboost_scores_what_it_can_and_is_refused_what_it_cannot() {
        let named = model("named.json");
        let scorer = Scorer::new(Backend::Xgboost, &named).unwrap();
        for value in [0.0, -0.0, 0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let row = [value; 8];
            let expected = named.forest.margin(&row).unwrap();
            assert_eq!(scorer.margin(&named, &row).unwrap().to_bits(), expected.to_bits(), "{value}");
        }
        assert!(matches!(scorer.margin(&named, &[0.0; 9]), Err(MarginError::RowLength(_))));
        let error = Scorer::new(Backend::Xgboost, &model("categories_sets.json")).unwrap_err().to_string();
        assert!(error.contains("categories_sets.json: has categorical splits"), "{error}");
    }
}
