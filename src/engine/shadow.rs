//! What a model says of a decision that another one made: from the very numbers that the decision's model saw.
//!
//! The record of the decision holds these numbers, so that scoring it again gives the same bits.

use crate::engine::policy::BoundModel;
use crate::model::forest::probability;

/// A score that decides nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ShadowScore {
    /// The raw margin (log-odds).
    pub margin: f32,
    /// The fraud probability.
    pub score: f32,
}

/// Scores a row that `bound` has taken out of a feature vector; `None` when the model cannot score, which a checked binding rules
/// out.
pub fn score(bound: &BoundModel, row: &[f32]) -> Option<ShadowScore> {
    let margin = bound.model.forest.margin(row).ok()?;
    Some(ShadowScore { margin, score: probability(margin) })
}
