//! Finding a moment in a sorted list of times that lie in memory far apart: few looks, each near the last.

/// How far the first step from the guess goes: the times of one or two lines of memory.
const STEP: usize = 8;

/// How many of `times`, which are in order, are at or before `at`: what `partition_point` says.
///
/// Events come fairly evenly, so a guess in proportion is near; from there the steps double (after Bentley and Yao, "An almost
/// optimal algorithm for unbounded searching", 1976).
pub(crate) fn count_until(times: &[i64], at: i64) -> usize {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return 0 };
    if last <= at {
        return times.len();
    }
    if first > at {
        return 0;
    }
    // first <= at < last
    let (mut low, mut high) = (0, times.len() - 1);
    let guess = guess(times, at);
    let mut step = STEP;
    if times[guess] <= at {
        low = guess;
        while low + step < high && times[low + step] <= at {
            low += step;
            step *= 2;
        }
        high = high.min(low + step);
    } else {
        high = guess;
        while high >= low + step && times[high - step] > at {
            high -= step;
            step *= 2;
        }
        low = low.max(high.saturating_sub(step));
    }
    low + times[low..=high].partition_point(|&time| time <= at)
}

/// About where `at` lies among `times`; 0 when there are none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a guess"
)]
pub(crate) fn guess(times: &[i64], at: i64) -> usize {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return 0 };
    let share = (at - first) as f64 / (last - first).max(1) as f64;
    ((share * (times.len() - 1) as f64) as usize).min(times.len() - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_partition_point(mut times in prop::collection::vec(-50_i64..2_000, 0..600), at in -60_i64..2_010) {
            times.sort_unstable();
            prop_assert_eq!(count_until(&times, at), times.partition_point(|&time| time <= at));
            // Very uneven ones.
            let cubes: Vec<i64> = times.iter().map(|time| time.pow(3)).collect();
            prop_assert_eq!(count_until(&cubes, at.pow(3)), cubes.partition_point(|&time| time <= at.pow(3)));
        }
    }
}
