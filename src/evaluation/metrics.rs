//! How well a score ranks fraud: exact, with ties, by the definitions that scikit-learn and the field use.
//!
//! A [`Ranking`] sorts once; every figure is read off it. Rows that tie in score are one step: no order among them is assumed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

/// Most scored rows of a ranking: 16 bytes each.
pub const SCORED_ROWS_MAX: usize = 200_000_000;
/// Most pairs of a day and a card that [`CardPrecision`] holds.
pub const CARD_DAYS_MAX: usize = 50_000_000;
/// Scores are kept this far from 0 and 1 where a logarithm is taken of them.
const LOG_LOSS_EPSILON: f64 = f64::EPSILON;

/// A point of the precision-recall curve: stopping from `threshold` on.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct CurvePoint {
    /// The lowest score that is stopped.
    pub threshold: f64,
    /// Share of the frauds stopped.
    pub recall: f64,
    /// Share of fraud among the stopped.
    pub precision: f64,
}

/// One scored row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scored {
    /// Higher is riskier. Not NaN.
    pub score: f64,
    /// What it turned out to be.
    pub is_fraud: bool,
}

/// Rows in the order of their scores, the riskiest first, with the counts up to the end of every group of ties.
#[derive(Clone, Debug)]
pub struct Ranking {
    steps: Vec<Step>,
    log_loss: f64,
    brier: f64,
}

/// Everything down to and including one score.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Step {
    score: f64,
    true_positives: u64,
    false_positives: u64,
}

impl Ranking {
    /// Sorts the rows. Rows whose score is NaN are left out.
    pub fn new(mut rows: Vec<Scored>) -> Self {
        rows.retain(|row| !row.score.is_nan());
        rows.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        let mut steps: Vec<Step> = Vec::new();
        let mut last_score = f64::NAN;
        let mut so_far = Step { score: f64::NAN, true_positives: 0, false_positives: 0 };
        let (mut log_loss, mut brier) = (0.0, 0.0);
        for row in &rows {
            so_far.score = row.score;
            so_far.true_positives += u64::from(row.is_fraud);
            so_far.false_positives += u64::from(!row.is_fraud);
            match steps.last_mut() {
                // `==` holds -0.0 and 0.0 to be one score, which the sort puts next to each other.
                Some(step) if last_score == row.score => *step = so_far,
                _ => steps.push(so_far),
            }
            last_score = row.score;
            let target = f64::from(u8::from(row.is_fraud));
            let probability = row.score.clamp(LOG_LOSS_EPSILON, 1.0 - LOG_LOSS_EPSILON);
            log_loss -= if row.is_fraud { probability.ln() } else { (1.0 - probability).ln() };
            brier += (row.score - target) * (row.score - target);
        }
        Self { steps, log_loss, brier }
    }

    /// How many of the rows were fraud.
    pub fn positives(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.true_positives)
    }

    /// How many were not.
    pub fn negatives(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.false_positives)
    }

    /// The area under the ROC curve: the chance that a fraud scores higher than a good row, ties counting half. `None` when
    /// there is no fraud, or nothing else.
    pub fn auc_roc(&self) -> Option<f64> {
        let pairs = u128::from(self.positives()) * u128::from(self.negatives());
        if pairs == 0 {
            return None;
        }
        // Twice the number of pairs that are in the right order; exact in integers.
        let mut twice_right: u128 = 0;
        let mut before = Step { score: f64::NAN, true_positives: 0, false_positives: 0 };
        for step in &self.steps {
            let false_positives = u128::from(step.false_positives - before.false_positives);
            twice_right += false_positives * u128::from(step.true_positives + before.true_positives);
            before = *step;
        }
        Some(ratio_u128(twice_right, pairs) / 2.0)
    }

    /// Average precision: the sum over the steps of (recall gained) x (precision there), as scikit-learn defines it. `None`
    /// when there is no fraud.
    pub fn average_precision(&self) -> Option<f64> {
        let positives = self.positives();
        if positives == 0 {
            return None;
        }
        let mut sum = 0.0;
        let mut found = 0;
        for step in &self.steps {
            let gained = step.true_positives - found;
            if gained > 0 {
                let precision = ratio(step.true_positives, step.true_positives + step.false_positives);
                sum += ratio(gained, positives) * precision;
            }
            found = step.true_positives;
        }
        Some(sum)
    }

    /// The largest recall of a threshold whose false-positive rate is at most `false_positive_rate` (0..=1). `None` when
    /// there is no fraud, or nothing else.
    pub fn recall_at_false_positive_rate(&self, false_positive_rate: f64) -> Option<f64> {
        let (positives, negatives) = (self.positives(), self.negatives());
        if positives == 0 || negatives == 0 {
            return None;
        }
        let allowed =
            self.steps.partition_point(|step| ratio(step.false_positives, negatives) <= false_positive_rate);
        let found = allowed
            .checked_sub(1)
            .and_then(|last| self.steps.get(last))
            .map_or(0, |step| step.true_positives);
        Some(ratio(found, positives))
    }

    /// The precision-recall curve from the highest threshold down: of a long one every so many frauds a point, and the last.
    pub fn curve(&self, points_max: u64) -> Vec<CurvePoint> {
        let all = self.positives();
        let step = all.div_ceil(points_max.max(1)).max(1);
        let (mut points, mut next) = (Vec::new(), 1);
        for (at, it) in self.steps.iter().enumerate() {
            if all > 0 && (it.true_positives >= next || at + 1 == self.steps.len()) {
                next = it.true_positives + step;
                points.push(CurvePoint {
                    threshold: it.score,
                    recall: ratio(it.true_positives, all),
                    precision: ratio(it.true_positives, it.true_positives + it.false_positives),
                });
            }
        }
        points
    }

    /// The mean of -ln(probability given to what happened); for scores that are probabilities. `None` without rows.
    pub fn log_loss(&self) -> Option<f64> {
        self.mean(self.log_loss)
    }

    /// The mean squared distance between score and outcome; for scores that are probabilities. `None` without rows.
    pub fn brier(&self) -> Option<f64> {
        self.mean(self.brier)
    }

    #[expect(clippy::cast_precision_loss, reason = "rows stay far below 2^53")]
    fn mean(&self, sum: f64) -> Option<f64> {
        let rows = self.positives() + self.negatives();
        if rows == 0 { None } else { Some(sum / rows as f64) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[expect(clippy::cast_precision_loss, reason = "rounds once to the nearest double")]
fn ratio_u128(part: u128, whole: u128) -> f64 {
    part as f64 / whole as f64
}

/// Card precision@k, as the *Practical Handbook* of Le Borgne et al. (2022, chapter 4) defines it: for every day the `k`
/// cards with the highest score of that day are looked at; precision is the share of them that had a fraud that day. A card
/// that was found is not looked at on later days. The figure is the mean over the days.
///
/// Cards that tie are taken in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct CardPrecision {
    cards: HashMap<Box<str>, u32>,
    days: BTreeMap<i64, HashMap<u32, Scored>>,
    card_days: usize,
    is_full: bool,
}

impl CardPrecision {
    /// Takes one row in: its day (any numbering), its card, its score (not NaN) and what it turned out to be.
    pub fn add(&mut self, day: i64, card: &str, row: Scored) {
        if row.score.is_nan() || self.is_full {
            return;
        }
        let next = u32::try_from(self.cards.len()).unwrap_or(u32::MAX);
        let card = match self.cards.get(card) {
            Some(known) => *known,
            None => *self.cards.entry(card.into()).or_insert(next),
        };
        let day = self.days.entry(day).or_default();
        let before = day.len();
        let entry = day.entry(card).or_insert(row);
        entry.score = entry.score.max(row.score);
        entry.is_fraud |= row.is_fraud;
        self.card_days += day.len() - before;
        self.is_full = self.card_days >= CARD_DAYS_MAX;
    }

    /// The mean over the days of the precision among the `k` riskiest cards. `None` without days, for `k` = 0, or when there
    /// were more cards and days than [`CARD_DAYS_MAX`].
    pub fn mean_at(&self, k: usize) -> Option<f64> {
        if self.days.is_empty() || k == 0 || self.is_full {
            return None;
        }
        let mut names: Vec<(&str, u32)> = self.cards.iter().map(|(name, card)| (&**name, *card)).collect();
        names.sort_unstable();
        let mut rank = vec![0_usize; names.len()];
        for (position, (_, card)) in names.iter().enumerate() {
            if let Some(rank) = rank.get_mut(*card as usize) {
                *rank = position;
            }
        }
        let mut found: HashSet<u32> = HashSet::new();
        let mut hits: u64 = 0;
        for day in self.days.values() {
            let mut cards: Vec<(u32, Scored)> = day
                .iter()
                .filter(|(card, _)| !found.contains(card))
                .map(|(card, row)| (*card, *row))
                .collect();
            cards.sort_unstable_by(|(a, a_row), (b, b_row)| {
                let by_score = Reverse(Total(a_row.score)).cmp(&Reverse(Total(b_row.score)));
                by_score.then_with(|| rank.get(*a as usize).cmp(&rank.get(*b as usize)))
            });
            for (card, row) in cards.into_iter().take(k) {
                if row.is_fraud {
                    hits += 1;
                    found.insert(card);
                }
            }
        }
        Some(ratio(hits, k as u64 * self.days.len() as u64))
    }
}

/// A double in its total order.
#[derive(PartialEq)]
struct Total(f64);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
