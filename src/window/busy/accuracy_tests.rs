//! How far busy keys are from the truth, against plain lists.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::window::busy::groups::Groups;
use crate::window::busy::values::Values;
use crate::window::limits::Limits;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

/// How events come.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Even,
    /// Quiet nights.
    Daily,
    /// Long pauses, then many at once.
    Bursts,
}

/// Times and amounts of that many events, mostly in order.
fn history(pace: Pace, events: usize, seed: u64) -> Vec<(i64, i64)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut at = 0_i64;
    let mut history = Vec::with_capacity(events);
    for _ in 0..events {
        let hour = at / (60 * MINUTE_MS) % 24;
        at += match pace {
            Pace::Daily if hour < 7 => random.random_range(0..60_000),
            Pace::Bursts if random.random_range(0..500) == 0 => random.random_range(0..4 * 3_600_000),
            Pace::Bursts => random.random_range(0..20),
            Pace::Even | Pace::Daily => random.random_range(0..4_000),
        };
        // A few large amounts carry much of the money.
        let amount =
            if random.random_range(0..200) == 0 { 5_000_000 } else { random.random_range(100..20_000) };
        let late = if random.random_range(0..10) == 0 { random.random_range(0..2_000) } else { 0 };
        history.push(((at - late).max(0), amount));
    }
    history
}

#[test]
fn counts_and_sums_are_within_one_part() {
    let limits = Limits::default();
    let part = limits.group_parts;
    for (pace, events) in
        [(Pace::Even, 200_000), (Pace::Daily, 200_000), (Pace::Bursts, 200_000), (Pace::Even, 400)]
    {
        let mut groups = Groups::new(true, false);
        let mut history = history(pace, events, 11);
        for &(at, minor) in &history {
            groups.add(at, minor, false, i64::MIN, &limits);
        }
        history.sort_unstable();
        let newest = history.last().unwrap().0;
        let mut errors: Vec<f64> = Vec::new();
        let mut reader = groups.reader(newest, None);
        for minutes in (1..43_200).step_by(41) {
            let from = newest - minutes * MINUTE_MS;
            let actual = reader.window(from, true);
            let inside = &history[history.partition_point(|&(at, _)| at <= from)..];
            let (count, sum) =
                (inside.len() as u64, inside.iter().map(|&(_, minor)| minor as u128).sum::<u128>());
            let shown = format!("{pace:?}, {minutes} min: {actual:?}, not {count} and {sum}");
            assert!(actual.count.abs_diff(count) * part <= count.max(actual.count), "{shown}");
            assert!(
                actual.amounts.sum.abs_diff(sum) * u128::from(part) <= sum.max(actual.amounts.sum),
                "{shown}"
            );
            if inside.len() <= limits.exact_events {
                assert_eq!((actual.count, actual.amounts.sum), (count, sum), "{shown}");
                assert_eq!(
                    Some((actual.amounts.min, actual.amounts.max)).filter(|_| count > 0),
                    inside
                        .iter()
                        .map(|&(_, minor)| (minor, minor))
                        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
                    "{shown}"
                );
            }
            errors.push(actual.count.abs_diff(count) as f64 / count.max(1) as f64);
        }
        errors.sort_unstable_by(f64::total_cmp);
        let p99 = errors[errors.len() * 99 / 100];
        println!("{pace:?}, {events} events: {} groups, count error p99 {:.2} %", groups.len(), p99 * 100.0);
        // Except where much comes at once, what is typical is half of what is promised.
        assert!(matches!(pace, Pace::Bursts) || p99 <= 0.005, "{pace:?}: {p99}");
    }
}

#[test]
fn groups_stay_few_and_let_the_oldest_go() {
    let limits = Limits::default();
    let mut groups = Groups::new(true, true);
    let keep_ms = 30 * DAY_MS;
    let mut most = 0;
    let events = 1_000_000_i64;
    for number in 0..events {
        let at = number * 5_000;
        groups.add(at, 1_000, number % 3 == 0, at - keep_ms, &limits);
        most = most.max(groups.len());
    }
    // Some 128 for each 2.7 times as many events, and those that have not been put together yet.
    assert!(most < 2_000, "{most} groups");
    let window = groups.reader(events * 5_000, None).window(events * 5_000 - keep_ms, false);
    let expected = u64::try_from(keep_ms / 5_000).unwrap();
    assert!(window.count.abs_diff(expected) * limits.group_parts <= expected, "{window:?}");
    assert!((window.marked * 3).abs_diff(window.count) <= 3);
}

#[test]
fn distinct_counts_are_exact_up_to_the_bound_and_close_above_it() {
    // Different values, values held, and the largest error over all windows.
    for (values, values_max, allowed) in
        [(3_000_u32, 8_192, 0.0), (8_000, 8_192, 0.0), (100_000, 8_192, 0.04), (1_000_000, 8_192, 0.04)]
    {
        let mut random = ChaCha8Rng::seed_from_u64(u64::from(values));
        let mut seen = Values::new(values_max, 7 * DAY_MS);
        let mut events: Vec<(i64, u32)> = Vec::new();
        let count = 2 * i64::from(values);
        for number in 0..count {
            let at = number * 7 * DAY_MS / count;
            // A keyed hash of the value; some come again and again.
            let value = random.random_range(0..values).wrapping_mul(0x9e37_79b9) ^ 0x55;
            let value = if number % 10 == 0 { value % 32 + 1 } else { value.max(1) };
            seen.add(value, at);
            events.push((at, value));
        }
        let newest = events.last().unwrap().0;
        let mut worst: f64 = 0.0;
        for window_ms in [MINUTE_MS, 60 * MINUTE_MS, 6 * 60 * MINUTE_MS, DAY_MS, 3 * DAY_MS, 7 * DAY_MS] {
            let from = newest - window_ms;
            let mut inside: Vec<u32> =
                events.iter().filter(|(at, _)| *at > from).map(|&(_, value)| value).collect();
            inside.sort_unstable();
            inside.dedup();
            let actual = seen.count(from, newest, 0, None);
            worst = worst.max(actual.abs_diff(inside.len() as u64) as f64 / inside.len() as f64);
        }
        println!("{values} values: {} lists, largest error {:.2} %", seen.lists(), worst * 100.0);
        assert!(worst <= allowed, "{values} values: {worst}");
    }
}

#[test]
fn distinct_counts_of_late_attempts_see_what_was_there_then() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut seen = Values::new(8_192, DAY_MS);
    let mut events: Vec<(i64, u32)> = Vec::new();
    for number in 0..4_000_i64 {
        let at = number * 1_000 - random.random_range(0..20_000);
        let value = random.random_range(1..400);
        seen.add(value, at);
        events.push((at, value));
        // As of a moment that is up to a hundred events ago.
        let to = at - random.random_range(0..100_000);
        let from = to - random.random_range(1_000..3_000_000);
        let mut inside: Vec<u32> =
            events.iter().filter(|(at, _)| *at > from && *at <= to).map(|&(_, value)| value).collect();
        inside.sort_unstable();
        inside.dedup();
        assert_eq!(seen.count(from, to, 0, None), inside.len() as u64, "event {number}");
    }
}

#[test]
fn as_of_an_older_time_groups_are_off_by_a_part_of_what_is_newer() {
    let limits = Limits::default();
    let mut groups = Groups::new(true, true);
    let mut history = history(Pace::Even, 100_000, 3);
    for &(at, minor) in &history {
        groups.add(at, minor, minor > 1_000_000, i64::MIN, &limits);
    }
    history.sort_unstable();
    let newest = history.last().unwrap().0;
    let newer = |at: i64| history.len() - history.partition_point(|&(time, _)| time <= at);
    for ago_ms in [0, 1_000, 60_000, 3_600_000, 24 * 3_600_000] {
        let to = newest - ago_ms;
        let mut reader = groups.reader(to, None);
        for window_ms in [60_000, 3_600_000, DAY_MS, 2 * DAY_MS] {
            let from = to - window_ms;
            let (actual, expected) = (reader.window(from, false), newer(from) - newer(to));
            let allowed = (newer(from) + newer(to)) as u64 / limits.group_parts;
            let is_exact = newer(from) <= limits.exact_events;
            assert!(
                actual.count.abs_diff(expected as u64) <= if is_exact { 0 } else { allowed },
                "{ago_ms} ago, {window_ms}: {} not {expected}, {allowed} allowed",
                actual.count
            );
        }
    }
}

#[test]
fn few_frauds_in_clusters_are_counted_within_one_part() {
    let limits = Limits::default();
    let mut groups = Groups::new(false, true);
    let mut frauds: Vec<i64> = Vec::new();
    for number in 0..50_000_i64 {
        let is_fraud = number % 5_000 < 5;
        groups.add(number * 1_000, 0, is_fraud, i64::MIN, &limits);
        frauds.extend(is_fraud.then_some(number * 1_000));
    }
    let newest = 49_999_000;
    let mut reader = groups.reader(newest, None);
    for window_ms in (1_000..50_000_000).step_by(7_000) {
        let from = newest - window_ms;
        let expected = (frauds.len() - frauds.partition_point(|&at| at <= from)) as u64;
        let actual = reader.window(from, false).marked;
        assert!(
            actual.abs_diff(expected) * limits.group_parts <= expected,
            "{window_ms}: {actual}, not {expected}"
        );
    }
    assert!(groups.len() < 1_500, "{} groups", groups.len());
}
