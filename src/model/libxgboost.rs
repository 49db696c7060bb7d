//! libxgboost itself, in this process, through the crate `xgboost-rs`, which brings version 1.6.2.
//!
//! What must hold: NaN alone is missing, and zero is a number. So rows go in as a dense matrix that names NaN as missing; the
//! crate's `DMatrix::from_dense` would take 0.0 for missing. Every call has a matrix of its own: predicting twice on one gives the
//! cached answer. The crate's `Booster` frees itself twice when it is cloned, so it never leaves this file.

use std::ffi::c_int;
use std::fmt;

use parking_lot::Mutex;
use xgboost_rs::{Booster, DMatrix, XGBError};

use crate::domain::hash::sha256;
use crate::model::backend::{BackendError, MarginError};
use crate::model::drawn_rows::DrawnRows;
use crate::model::libxgboost_file::{self, Reading};
use crate::model::manifest::Model;

/// How many rows it had better be given at once.
pub const BATCH_ROWS: usize = 512;
/// How many drawn rows must have the forest's margins before a model is served.
const CHECKED_ROWS: usize = 1_024;
/// What it costs to start libxgboost's threads is more than a row's work.
const THREADS: c_int = 1;

/// libxgboost with one model in it.
pub struct LibXgboost {
    /// It promises that predicting on matrices is safe from several threads at once in no version that this crate brings.
    booster: Mutex<Booster>,
    features: usize,
    version: String,
    reading: Reading,
}

impl fmt::Debug for LibXgboost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LibXgboost({}, {:?})", self.version, self.reading)
    }
}

impl LibXgboost {
    /// Gives libxgboost the model's file.
    pub fn load(model: &Model) -> Result<Self, BackendError> {
        let file = || model.file.clone();
        let bytes =
            std::fs::read(&model.file).map_err(|error| BackendError::Unreadable { file: file(), error })?;
        if sha256(&bytes) != model.sha256 {
            return Err(BackendError::Changed { file: file() });
        }
        let (text, reading) = libxgboost_file::readable(&model.forest, &bytes)
            .map_err(|what| BackendError::Unsupported { file: file(), what })?;
        let said = |error: XGBError| BackendError::LibXgboost { file: file(), error: first_line(&error) };
        one_thread();
        let booster = Booster::load_buffer(text.as_bytes()).map_err(said)?;
        let version = version(&booster).map_err(said)?;
        Ok(Self { booster: Mutex::new(booster), features: model.forest.features(), version, reading })
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it read the file itself.
    pub const fn reading(&self) -> Reading {
        self.reading
    }

    /// The margin of a row of the right length.
    pub(in crate::model) fn margin(&self, row: &[f32]) -> Result<f32, MarginError> {
        let margins = self.margins(row)?;
        margins.first().copied().ok_or_else(|| MarginError::LibXgboost("gave no margin".to_owned()))
    }

    /// The margins of rows, one after the other.
    pub fn margins(&self, rows: &[f32]) -> Result<Vec<f32>, MarginError> {
        self.predict(rows, |booster, matrix| booster.predict_margin(matrix))
    }

    /// The probabilities of rows, one after the other; for `binary:logitraw`, too.
    pub fn probabilities(&self, rows: &[f32]) -> Result<Vec<f32>, MarginError> {
        self.predict(rows, |booster, matrix| booster.predict(matrix))
    }

    /// By row how much each feature moved the margin, and the bias (`pred_contribs`).
    pub fn contributions(&self, rows: &[f32]) -> Result<Vec<f32>, MarginError> {
        self.predict(rows, |booster, matrix| booster.predict_contributions(matrix).map(|(values, _)| values))
    }

    fn predict(
        &self,
        rows: &[f32],
        by: impl Fn(&Booster, &DMatrix) -> Result<Vec<f32>, XGBError>,
    ) -> Result<Vec<f32>, MarginError> {
        const BYTES: usize = size_of::<f32>();
        let said = |error| MarginError::LibXgboost(first_line(&error));
        // A matrix refuses infinities. Every threshold is finite and above the least f32, so these go where they would go.
        let finite: Vec<f32> =
            rows.iter().map(|x| if x.is_nan() { *x } else { x.clamp(f32::MIN, f32::MAX) }).collect();
        let (count, features) = (rows.len() / self.features, self.features);
        one_thread();
        let matrix =
            DMatrix::from_col_major_f32(&finite, features * BYTES, BYTES, count, features, THREADS, f32::NAN);
        by(&self.booster.lock(), &matrix.map_err(said)?).map_err(said)
    }

    /// Compares margins with the forest's on drawn rows.
    pub(in crate::model) fn check_on_drawn_rows(&self, model: &Model) -> Result<(), BackendError> {
        let features = self.features;
        let mut drawn = DrawnRows::new(&model.forest, 0);
        let mut differing = 0;
        for _ in 0..CHECKED_ROWS / BATCH_ROWS {
            let mut rows = vec![0.0; BATCH_ROWS * features];
            rows.chunks_exact_mut(features).for_each(|row| drawn.fill(row));
            let margins = self.margins(&rows).map_err(|error| BackendError::LibXgboost {
                file: model.file.clone(),
                error: error.to_string(),
            })?;
            let pairs = rows.chunks_exact(features).zip(margins);
            differing += pairs
                .filter(|(row, margin)| {
                    model.forest.margin(row).is_ok_and(|ours| ours.to_bits() != margin.to_bits())
                })
                .count();
        }
        if differing == 0 {
            return Ok(());
        }
        Err(BackendError::Differs {
            file: model.file.clone(),
            version: self.version.clone(),
            differing,
            rows: CHECKED_ROWS,
        })
    }
}

/// The version stands in what it writes.
fn version(booster: &Booster) -> Result<String, XGBError> {
    #[derive(serde::Deserialize)]
    struct Written {
        version: Vec<u32>,
    }
    let text = booster.save_to_buffer("json".to_owned())?;
    let version = serde_json::from_str::<Written>(&text).map_or_else(|_| vec![], |written| written.version);
    Ok(version.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

/// Its errors go on with a stack trace.
fn first_line(error: &XGBError) -> String {
    let text = error.to_string();
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("").to_owned()
}

/// Lets OpenMP work on one thread when this thread asks it, which is what `OMP_NUM_THREADS=1` does for all.
fn one_thread() {
    #[expect(unsafe_code, reason = "declares a function of OpenMP, which libxgboost is linked with")]
    unsafe extern "C" {
        safe fn omp_set_num_threads(threads: c_int);
    }
    omp_set_num_threads(THREADS);
}
