//! Whether a score means what it says, how it spreads, and what precision costs in recall: the numbers behind the pictures.
//!
//! All functions take rows as [`crate::offline::operating_point::sort`] leaves them: the highest score first. Equal scores are never
//! parted.

use serde::Serialize;

use crate::evaluation::interval::Estimate;
use crate::evaluation::metrics::CurvePoint;
use crate::offline::scored::ScoredAmount;

/// Most bins of the reliability diagram: each holds about as many expected frauds.
pub const RELIABILITY_BINS_MAX: usize = 12;
/// Bins of the histogram, of equal width in log-odds.
pub const HISTOGRAM_BINS: usize = 40;
/// Where the histogram ends, in log-odds to both sides: 0.0045 % and 99.9955 %.
const HISTOGRAM_LOG_ODDS_MAX: f64 = 10.0;
/// Most points of the precision-recall curve.
pub const CURVE_POINTS_MAX: usize = 500;

/// Scores against what happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Calibration {
    /// The sum of the scores: how many frauds they announce.
    pub expected_frauds: f64,
    /// How many there were.
    pub observed_frauds: u64,
    /// The mean distance of announced and observed share over the bins, weighted by rows (Naeini et al., 2015); here over bins of
    /// about equal numbers of expected frauds.
    pub expected_calibration_error: f64,
    /// From the highest scores down.
    pub bins: Vec<ReliabilityBin>,
}

/// Neighbouring scores together.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ReliabilityBin {
    /// The lowest score in it.
    pub from_score: f64,
    /// The highest.
    pub to_score: f64,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them are fraud.
    pub frauds: u64,
    /// What its scores announce.
    pub mean_score: f64,
    /// What happened.
    pub observed: Estimate,
}

/// Rows with scores of about the same log-odds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct HistogramBin {
    /// From this score on; the first bin also holds what is lower.
    pub from_score: f64,
    /// Below this score; the last bin also holds what is higher.
    pub to_score: f64,
    /// Legitimate rows.
    pub legitimate: u64,
    /// Frauds.
    pub fraud: u64,
}

/// Runs of equal scores, the highest first.
fn ties(rows: &[ScoredAmount]) -> impl Iterator<Item = &[ScoredAmount]> {
    rows.chunk_by(|a, b| a.score == b.score)
}

fn frauds(rows: &[ScoredAmount]) -> u64 {
    rows.iter().filter(|row| row.is_fraud).count() as u64
}

/// The reliability of sorted rows; `None` without rows.
#[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
pub fn calibration(rows: &[ScoredAmount]) -> Option<Calibration> {
    let expected_frauds: f64 = rows.iter().map(|row| row.score).sum();
    let share = expected_frauds / RELIABILITY_BINS_MAX as f64;
    let (mut bins, mut from, mut to, mut expected) = (Vec::new(), 0, 0, 0.0);
    for tied in ties(rows) {
        to += tied.len();
        expected += tied.iter().map(|row| row.score).sum::<f64>();
        // The last bin takes all that is left: its share may fall short by rounding, and there is nothing to follow it.
        let is_last = bins.len() + 1 == RELIABILITY_BINS_MAX;
        if (expected >= share && !is_last) || to == rows.len() {
            bins.push(reliability_bin(&rows[from..to], expected)?);
            (from, expected) = (to, 0.0);
        }
    }
    let distance = |bin: &ReliabilityBin| (bin.mean_score - bin.observed.value).abs() * bin.rows as f64;
    (!bins.is_empty()).then(|| Calibration {
        expected_frauds,
        observed_frauds: frauds(rows),
        expected_calibration_error: bins.iter().map(distance).sum::<f64>() / rows.len() as f64,
        bins,
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
fn reliability_bin(rows: &[ScoredAmount], expected: f64) -> Option<ReliabilityBin> {
    let frauds = frauds(rows);
    Some(ReliabilityBin {
        from_score: rows.last()?.score,
        to_score: rows.first()?.score,
        rows: rows.len() as u64,
        frauds,
        mean_score: expected / rows.len() as f64,
        observed: Estimate::share(frauds, rows.len() as u64)?,
    })
}

/// How the scores of rows spread, the lowest first.
#[expect(clippy::cast_precision_loss, reason = "few bins")]
pub fn histogram(rows: &[ScoredAmount]) -> Vec<HistogramBin> {
    let width = 2.0 * HISTOGRAM_LOG_ODDS_MAX / HISTOGRAM_BINS as f64;
    let edge = |bin: usize| probability(bin as f64 * width - HISTOGRAM_LOG_ODDS_MAX);
    let mut bins: Vec<HistogramBin> = (0..HISTOGRAM_BINS)
        .map(|bin| HistogramBin { from_score: edge(bin), to_score: edge(bin + 1), legitimate: 0, fraud: 0 })
        .collect();
    for row in rows {
        let bin = bins.partition_point(|bin| bin.from_score <= row.score).saturating_sub(1);
        if let Some(bin) = bins.get_mut(bin) {
            let count = if row.is_fraud { &mut bin.fraud } else { &mut bin.legitimate };
            *count += 1;
        }
    }
    bins
}

fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The precision-recall curve of sorted rows, from the highest threshold down; of long ones every so many frauds a point, and the last.
#[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
pub fn precision_recall(rows: &[ScoredAmount]) -> Vec<CurvePoint> {
    let all = frauds(rows);
    if all == 0 {
        return Vec::new();
    }
    let step = all.div_ceil(CURVE_POINTS_MAX as u64);
    let (mut points, mut stopped, mut caught, mut next) = (Vec::new(), 0, 0, 1);
    for tied in ties(rows) {
        stopped += tied.len() as u64;
        caught += frauds(tied);
        if caught >= next || stopped == rows.len() as u64 {
            next = caught + step;
            points.push(CurvePoint {
                threshold: tied[0].score,
                recall: caught as f64 / all as f64,
                precision: caught as f64 / stopped as f64,
            });
        }
    }
    points
}
