//! The sliding counts of drift, held to a list of all decisions that is counted anew each time.

use proptest::prelude::*;

use super::*;
use crate::model::reference::Column;

/// When it came, which value the first feature has, whether the second has one, whether there is a score.
type Decision = (i64, u8, bool, bool);

const SLICE_MS: i64 = 1_000;

fn counts() -> ModelCounts {
    let column = |edges: &[f32], counts: &[u64]| Column { edges: edges.to_vec(), counts: counts.to_vec() };
    let reference = Reference {
        features: [column(&[1.0, 2.0], &[50, 30, 20, 4]), column(&[], &[90, 10])].into(),
        score: column(&[0.5], &[90, 10, 0]),
    };
    ModelCounts::new("champion", "sha256:00", &["a".into(), "b".into()], &Arc::new(reference))
}

fn drift() -> Drift {
    Drift { slice_ms: SLICE_MS, models: vec![counts()] }
}

fn at(ms: i64) -> EventTime {
    EventTime::from_unix_millis(ms).unwrap()
}

/// The textbook's formula over shares with half a row added to each bin.
fn psi(expected: &[u32], actual: &[u32]) -> f64 {
    let shares = |counts: &[u32]| {
        let smoothed: Vec<f64> = counts.iter().map(|count| f64::from(*count) + 0.5).collect();
        let total: f64 = smoothed.iter().sum();
        smoothed.into_iter().map(|count| count / total).collect::<Vec<f64>>()
    };
    let (expected, actual) = (shares(expected), shares(actual));
    expected.iter().zip(&actual).map(|(e, a)| a * (a / e).ln() - e * (a / e).ln()).sum()
}

proptest! {
    #[test]
    fn the_window_is_what_a_list_of_all_decisions_says(
        decisions in prop::collection::vec((-3_000_i64..9_000, 0_u8..4, any::<bool>(), any::<bool>()), 1..120),
        until_now in 0_i64..40_000,
    ) {
        let mut drift = drift();
        let (mut clock, mut all) = (1_000_000_i64, Vec::new());
        for (step, a, has_b, is_scored) in decisions {
            // Requests may overtake one another, so that the time of arrival goes back at times.
            clock += step;
            let row = [[0.0, 1.0, 2.5, f32::NAN][usize::from(a)], if has_b { 7.0 } else { f32::NAN }];
            drift.count(at(clock), "sha256:00", "champion", &row, is_scored.then_some(0.75));
            drift.count(at(clock), "sha256:00", "another", &row, None);
            drift.count(at(clock), "sha256:11", "champion", &row, None);
            all.push((clock, a, has_b, is_scored));
        }
        let newest_arrival = all.iter().map(|(at, ..)| *at).max().unwrap();
        let now = newest_arrival + until_now;
        let measured = drift.measure(at(now));

        // A decision that came in after its slice had left the window is not counted; nor is one that has left it by now.
        let slice = |ms: i64| ms.div_euclid(SLICE_MS);
        let mut newest = i64::MIN;
        let within: Vec<_> = all.into_iter().filter(|(at, ..)| {
            newest = newest.max(slice(*at));
            slice(*at) > newest - SLICES as i64 && slice(*at) > slice(now) - SLICES as i64
        }).collect();
        let number = |of: &dyn Fn(&Decision) -> bool| {
            u32::try_from(within.iter().filter(|it| of(it)).count()).unwrap()
        };
        let a: Vec<u32> = (0..4).map(|bin| number(&|it| it.1 == bin)).collect();
        let b = [number(&|it| it.2), number(&|it| !it.2)];
        let scored = number(&|it| it.3);

        let [measured] = &measured[..] else { panic!("{measured:?}") };
        prop_assert_eq!(measured.decisions, within.len() as u64);
        let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-12 + 1e-9 * expected;
        match &measured.features[..] {
            [] => prop_assert!(within.is_empty()),
            [(first, of_a), (second, of_b)] => {
                prop_assert!(&**first == "a" && &**second == "b" && !within.is_empty());
                prop_assert!(close(*of_a, psi(&[50, 30, 20, 4], &a)), "{} {:?}", of_a, a);
                prop_assert!(close(*of_b, psi(&[90, 10], &b)), "{} {:?}", of_b, b);
            }
            other => panic!("{other:?}"),
        }
        match measured.score {
            None => prop_assert_eq!(scored, 0),
            Some(of_score) => {
                prop_assert!(scored > 0 && close(of_score, psi(&[90, 10, 0], &[0, scored, 0])), "{}", of_score);
            }
        }
    }
}

#[test]
fn a_clock_that_leaps_far_empties_the_window_at_once() {
    let mut drift = drift();
    let count = |drift: &mut Drift, ms: i64| drift.count(at(ms), "sha256:00", "champion", &[1.0, 1.0], None);
    count(&mut drift, 0);
    count(&mut drift, 200_000_000_000_000);
    assert_eq!(drift.measure(at(200_000_000_000_000))[0].decisions, 1);
    // From the far future back to the present: the clock was ahead, and counting begins anew.
    assert_eq!(drift.measure(at(1_000))[0].decisions, 0);
    count(&mut drift, 1_000);
    count(&mut drift, 1_001);
    assert_eq!(drift.measure(at(1_001))[0].decisions, 2);
}
