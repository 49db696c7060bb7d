//! Metrics against values worked out by hand, a brute-force oracle, and scikit-learn.

use proptest::prelude::*;

use crate::evaluation::metrics::{CardPrecision, Ranking, Scored};

fn ranking(rows: &[(f64, u8)]) -> Ranking {
    Ranking::new(rows.iter().map(|(score, fraud)| Scored { score: *score, is_fraud: *fraud == 1 }).collect())
}

fn near(actual: Option<f64>, expected: f64) {
    let actual = actual.unwrap();
    assert!((actual - expected).abs() < 1e-12, "{actual} is not {expected}");
}

#[test]
fn worked_out_by_hand() {
    // The example of scikit-learn's manual: average precision 0.83, AUC 0.75.
    let four = ranking(&[(0.1, 0), (0.4, 0), (0.35, 1), (0.8, 1)]);
    near(four.auc_roc(), 0.75);
    near(four.average_precision(), 0.5 + 0.5 * 2.0 / 3.0);
    near(four.recall_at_false_positive_rate(0.0), 0.5);
    near(four.recall_at_false_positive_rate(0.49), 0.5);
    near(four.recall_at_false_positive_rate(0.5), 1.0);

    // All tie: no order among them; half of the pairs count.
    let ties = ranking(&[(0.5, 1), (0.5, 0), (0.5, 0), (0.5, 0)]);
    near(ties.auc_roc(), 0.5);
    near(ties.average_precision(), 0.25);
    near(ties.recall_at_false_positive_rate(0.99), 0.0);
    near(ties.recall_at_false_positive_rate(1.0), 1.0);

    // -0.0 and 0.0 are one score.
    near(ranking(&[(-0.0, 1), (0.0, 0)]).auc_roc(), 0.5);
    near(ranking(&[(0.9, 1), (0.1, 0)]).brier(), 0.01);
    near(ranking(&[(0.5, 1), (0.5, 0)]).log_loss(), std::f64::consts::LN_2);
}

#[test]
fn what_cannot_be_said_is_absent() {
    let none = ranking(&[]);
    assert_eq!(
        (none.auc_roc(), none.average_precision(), none.log_loss(), none.brier()),
        (None, None, None, None)
    );
    assert_eq!(ranking(&[(0.5, 0)]).average_precision(), None);
    assert_eq!(ranking(&[(0.5, 1)]).auc_roc(), None);
    assert_eq!(ranking(&[(0.5, 1)]).recall_at_false_positive_rate(0.1), None);
    assert_eq!(ranking(&[(f64::NAN, 1), (0.5, 0)]).positives(), 0);
}

/// Made by scikit-learn 1.9.1 from the same rows: `roc_auc_score`, `average_precision_score`, `log_loss` (clipped by the
/// double's epsilon), `brier_score_loss`, and `roc_curve(drop_intermediate=False)`.
#[test]
fn as_scikit_learn_says() {
    let rows: Vec<Scored> = (0..500_u32)
        .map(|i| {
            let score = f64::from((i * 7_919) % 101) / 100.0;
            Scored { score, is_fraud: (i * 104_729) % 7 == 0 || (score > 0.8 && i % 3 == 0) }
        })
        .collect();
    let ranking = Ranking::new(rows);
    assert_eq!(ranking.positives(), 101);
    near(ranking.auc_roc(), 0.651_157_596_962_703_7);
    near(ranking.average_precision(), 0.347_812_983_251_047_37);
    near(ranking.log_loss(), 1.097_905_445_944_795_7);
    near(ranking.brier(), 0.285_22);
    near(ranking.recall_at_false_positive_rate(0.001), 0.0);
    near(ranking.recall_at_false_positive_rate(0.01), 0.019_801_980_198_019_802);
    near(ranking.recall_at_false_positive_rate(0.1), 0.306_930_693_069_306_9);
    near(ranking.recall_at_false_positive_rate(0.5), 0.673_267_326_732_673_3);
}

#[test]
fn card_precision_by_hand() {
    let mut cards = CardPrecision::default();
    let row = |score, is_fraud| Scored { score, is_fraud };
    // Day 1: a (fraud, by its second transaction) and b lead. Day 2: a is known by then; b and c lead, c is fraud.
    cards.add(1, "a", row(0.9, false));
    cards.add(1, "a", row(0.1, true));
    cards.add(1, "b", row(0.8, false));
    cards.add(1, "c", row(0.7, true));
    cards.add(2, "a", row(0.9, true));
    cards.add(2, "b", row(0.5, false));
    cards.add(2, "c", row(0.4, true));
    near(cards.mean_at(2), (0.5 + 0.5) / 2.0);
    near(cards.mean_at(1), 0.5);
    // Fewer cards than places: the empty places count as misses. Day 1: a and c of three; day 2: nobody new.
    near(cards.mean_at(4), (0.5 + 0.0) / 2.0);
    assert_eq!(cards.mean_at(0), None);
    assert_eq!(CardPrecision::default().mean_at(100), None);
}

#[test]
fn cards_that_tie_are_taken_by_id() {
    let mut cards = CardPrecision::default();
    cards.add(1, "b", Scored { score: 0.5, is_fraud: true });
    cards.add(1, "a", Scored { score: 0.5, is_fraud: false });
    near(cards.mean_at(1), 0.0);
}

proptest! {
    #[test]
    fn as_counting_every_pair_and_threshold_says(
        rows in prop::collection::vec((0_u8..12, any::<bool>()), 1..80),
        rate in 0_u8..=20,
    ) {
        let rate = f64::from(rate) / 20.0;
        let rows: Vec<Scored> =
            rows.iter().map(|(score, is_fraud)| Scored { score: f64::from(*score) / 11.0, is_fraud: *is_fraud }).collect();
        let ranking = Ranking::new(rows.clone());
        let frauds: Vec<f64> = rows.iter().filter(|row| row.is_fraud).map(|row| row.score).collect();
        let goods: Vec<f64> = rows.iter().filter(|row| !row.is_fraud).map(|row| row.score).collect();
        if frauds.is_empty() || goods.is_empty() {
            prop_assert_eq!(ranking.auc_roc(), None);
            return Ok(());
        }
        let mut right = 0.0;
        for fraud in &frauds {
            for good in &goods {
                right += if fraud > good { 1.0 } else if fraud == good { 0.5 } else { 0.0 };
            }
        }
        near(ranking.auc_roc(), right / (frauds.len() * goods.len()) as f64);

        let mut thresholds: Vec<f64> = rows.iter().map(|row| row.score).collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let (mut average_precision, mut recall_before, mut best) = (0.0, 0.0, 0.0);
        for threshold in thresholds {
            let found = frauds.iter().filter(|score| **score >= threshold).count() as f64;
            let wrong = goods.iter().filter(|score| **score >= threshold).count() as f64;
            let recall = found / frauds.len() as f64;
            average_precision += (recall - recall_before) * found / (found + wrong);
            recall_before = recall;
            if wrong / goods.len() as f64 <= rate {
                best = recall;
            }
        }
        near(ranking.average_precision(), average_precision);
        near(ranking.recall_at_false_positive_rate(rate), best);
    }
}
