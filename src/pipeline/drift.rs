//! How far the features and scores of the last hours are from those that each model was trained on.
//!
//! Counted by time of arrival, in slices: the newest slice is the running one, and one that is older than the window is taken off as
//! a whole. So the window is between `SLICES - 1` and `SLICES` slices long. Memory: `SLICES` counts for each bin of each model.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::domain::time::EventTime;
use crate::engine::policy::{CHALLENGERS_MAX, Policy};
use crate::model::reference::{Column, Reference};

/// Parts of the window.
const SLICES: usize = 24;
/// Most models that are measured: the champion and its challengers.
const MODELS_MAX: usize = 1 + CHALLENGERS_MAX;

/// The sliding counts of all models that have a reference.
#[derive(Debug)]
pub(crate) struct Drift {
    slice_ms: i64,
    models: Vec<ModelCounts>,
}

/// How far one model's window is from its reference.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ModelDrift {
    /// `champion`, or the challenger's name.
    pub(crate) model: Box<str>,
    /// Decisions in the window.
    pub(crate) decisions: u64,
    /// The index of each feature, in the order of a row. Without decisions there is none.
    pub(crate) features: Vec<(Box<str>, f64)>,
    /// The index of the score. Without scores there is none.
    pub(crate) score: Option<f64>,
}

#[derive(Debug)]
struct ModelCounts {
    model: Box<str>,
    sha256: Box<str>,
    feature_names: Box<[Box<str>]>,
    reference: Arc<Reference>,
    /// Where each feature's bins begin, and the score's, and where they end.
    starts: Box<[usize]>,
    /// The number of the newest slice, since the Unix epoch; none before the first decision.
    newest: Option<i64>,
    /// Slice by slice: rows in each bin.
    slices: Box<[u32]>,
    /// Over all slices.
    window: Box<[u64]>,
}

impl Drift {
    /// No models yet.
    pub(crate) fn new(window: Duration) -> Self {
        let slice_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX) / SLICES as i64;
        Self { slice_ms: slice_ms.max(1), models: Vec::new() }
    }

    /// Measures the models of a policy from here on. What is counted of one that stays is kept.
    pub(crate) fn follow(&mut self, policy: &Policy) {
        let mut before = std::mem::take(&mut self.models);
        for (name, bound) in policy.models().take(MODELS_MAX) {
            let model = &bound.model;
            let Some(reference) = &model.reference else {
                let manifest = model.file.with_file_name("manifest.json");
                info!(model = name, manifest = %manifest.display(), "no drift is measured of a model whose manifest has no reference");
                continue;
            };
            let is_it = |counts: &ModelCounts| {
                *counts.model == *name && counts.sha256 == model.sha256 && counts.reference == *reference
            };
            self.models.push(match before.iter().position(is_it) {
                Some(at) => before.swap_remove(at),
                None => ModelCounts::new(name, &model.sha256, &model.feature_names, reference),
            });
        }
    }

    /// Counts one decision for a model, if that model is measured.
    pub(crate) fn count(&mut self, at: EventTime, sha256: &str, name: &str, row: &[f32], score: Option<f32>) {
        let slice = at.unix_millis().div_euclid(self.slice_ms);
        let is_it = |counts: &&mut ModelCounts| *counts.model == *name && *counts.sha256 == *sha256;
        if let Some(counts) = self.models.iter_mut().find(is_it) {
            counts.count(slice, row, score);
        }
    }

    /// How far the window that ends now is from training, model by model.
    pub(crate) fn measure(&mut self, now: EventTime) -> Vec<ModelDrift> {
        let slice = now.unix_millis().div_euclid(self.slice_ms);
        self.models.iter_mut().map(|counts| counts.measure(slice)).collect()
    }
}

impl ModelCounts {
    fn new(model: &str, sha256: &str, feature_names: &[Box<str>], reference: &Arc<Reference>) -> Self {
        let mut starts = vec![0];
        for column in reference.features.iter().chain([&reference.score]) {
            starts.push(starts[starts.len() - 1] + column.bins());
        }
        let bins = starts[starts.len() - 1];
        Self {
            model: model.into(),
            sha256: sha256.into(),
            feature_names: feature_names.into(),
            reference: Arc::clone(reference),
            starts: starts.into(),
            newest: None,
            slices: vec![0; bins * SLICES].into(),
            window: vec![0; bins].into(),
        }
    }

    fn count(&mut self, slice: i64, row: &[f32], score: Option<f32>) {
        if row.len() != self.reference.features.len() || !self.is_within(slice) {
            return;
        }
        let of_slice = self.place(slice);
        let reference = Arc::clone(&self.reference);
        let scored = score.map(|score| (&reference.score, score));
        let columns = reference.features.iter().zip(row.iter().copied()).chain(scored);
        for ((column, value), start) in columns.zip(self.starts.clone()) {
            let bin = start + column.bin(value);
            let count = &mut self.slices[of_slice + bin];
            // A slice that is full takes no more, and the sum stays what the slices say.
            if let Some(more) = count.checked_add(1) {
                *count = more;
                self.window[bin] += 1;
            }
        }
    }

    /// Moves the window on to a slice that is newer; `false` for one that has left the window already. One that is older by two windows
    /// and more says that the clock was ahead: then counting begins anew.
    fn is_within(&mut self, slice: i64) -> bool {
        let newest = *self.newest.get_or_insert(slice);
        if slice < newest.saturating_sub(2 * SLICES as i64) {
            self.slices.fill(0);
            self.window.fill(0);
            self.newest = Some(slice);
            return true;
        }
        for gone in newest.saturating_add(1)..=slice.min(newest.saturating_add(SLICES as i64)) {
            let start = self.place(gone);
            for (of_slice, of_window) in self.slices[start..].iter_mut().zip(&mut self.window) {
                *of_window -= u64::from(std::mem::take(of_slice));
            }
        }
        let newest = newest.max(slice);
        self.newest = Some(newest);
        slice > newest.saturating_sub(SLICES as i64)
    }

    /// Where the counts of a slice begin.
    fn place(&self, slice: i64) -> usize {
        usize::try_from(slice.rem_euclid(SLICES as i64)).unwrap_or(0) * self.window.len()
    }

    fn measure(&mut self, now: i64) -> ModelDrift {
        if self.newest.is_some() {
            self.is_within(now);
        }
        let counted = |column: usize| &self.window[self.starts[column]..self.starts[column + 1]];
        let psi = |reference: &Column, column: usize| {
            let counts = counted(column);
            counts.iter().any(|count| *count > 0).then(|| reference.psi(counts))
        };
        let features = self.feature_names.iter().zip(&self.reference.features).enumerate();
        ModelDrift {
            model: self.model.clone(),
            decisions: counted(0).iter().sum(),
            features: features
                .filter_map(|(column, (name, reference))| Some((name.clone(), psi(reference, column)?)))
                .collect(),
            score: psi(&self.reference.score, self.reference.features.len()),
        }
    }
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
