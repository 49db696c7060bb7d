//! What a model's scores are worth, as data: how well they rank, whether they mean what they say, and where to put the threshold.
//! [`crate::offline::model_report_text`] renders it for people, [`crate::offline::picture`] draws it.

use serde::Serialize;

use crate::evaluation::metrics::CurvePoint;
use crate::evaluation::metrics::{Ranking, Scored};
use crate::evaluation::report::BadRow;
use crate::evaluation::truth::Unlabelled;
use crate::offline::calibration::{Calibration, HistogramBin, calibration, histogram, precision_recall};
use crate::offline::operating_point::{OperatingPoint, at_false_positive_rate, sort};
use crate::offline::scored::ScoredRows;

/// False-positive rates that stand beside those that were asked for.
pub const LADDER: [f64; 6] = [0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01];

/// The whole report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ModelReport {
    /// The file of transactions or scores.
    pub file: String,
    /// The model's content hash; absent when a scored file was read.
    pub model: Option<String>,
    /// Scored rows that count.
    pub rows: u64,
    /// How many of them are fraud.
    pub frauds: u64,
    /// Scored rows without a label.
    pub unlabelled: u64,
    /// What they were taken for.
    pub unlabelled_are: Unlabelled,
    /// Rows without a score: left out.
    pub unscored: u64,
    /// Rows that could not be read: left out.
    pub skipped: u64,
    /// The first of these.
    pub first_skipped: Vec<BadRow>,
    /// Area under the ROC curve.
    pub auc_roc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// Log loss.
    pub log_loss: Option<f64>,
    /// Brier score.
    pub brier: Option<f64>,
    /// What was asked for, in that order.
    pub chosen: Vec<OperatingPoint>,
    /// Other false-positive rates, for comparison.
    pub ladder: Vec<OperatingPoint>,
    /// Scores against what happened.
    pub calibration: Option<Calibration>,
    /// How the scores spread.
    pub histogram: Vec<HistogramBin>,
    /// The precision-recall curve.
    pub precision_recall: Vec<CurvePoint>,
}

impl ModelReport {
    /// The report of some rows, with thresholds for these false-positive rates (0 to 1 each).
    pub fn new(file: String, model: Option<String>, scored: ScoredRows, rates: &[f64]) -> Self {
        let mut rows = scored.rows;
        sort(&mut rows);
        let ranking = Ranking::new(
            rows.iter().map(|row| Scored { score: row.score, is_fraud: row.is_fraud }).collect(),
        );
        let points =
            |rates: &[f64]| rates.iter().map(|rate| at_false_positive_rate(&rows, *rate)).collect::<Vec<_>>();
        Self {
            file,
            model,
            rows: rows.len() as u64,
            frauds: ranking.positives(),
            unlabelled: scored.unlabelled,
            unlabelled_are: scored.unlabelled_are,
            unscored: scored.unscored,
            skipped: scored.skipped,
            first_skipped: scored.first_skipped,
            auc_roc: ranking.auc_roc(),
            average_precision: ranking.average_precision(),
            log_loss: ranking.log_loss(),
            brier: ranking.brier(),
            chosen: points(rates),
            ladder: points(&LADDER),
            calibration: calibration(&rows),
            histogram: histogram(&rows),
            precision_recall: precision_recall(&rows),
        }
    }
}
