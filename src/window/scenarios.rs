//! Single facts about the store that random histories reach seldom or not at all: known numbers, twins, bounds, eviction,
//! dry runs and threads.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::domain::money::{Currency, Money};
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;
use crate::window::event::{Attempt, KeyHasher, Presence};
use crate::window::layout::{AttributeLayout, EntityLayout, Layout, OutcomeStream, Stream, Streams};
use crate::window::plan::{Measure, Plan, SinceMeasure, SinceRead, WindowRead};
use crate::window::stats::EntityStats;
use crate::window::store::{Observed, WindowStore};

const HOUR_S: i64 = 3_600;

/// One entity, `card`, with windows up to an hour and a time to live of two days.
fn layout(keys_max: usize) -> Arc<Layout> {
    let card = EntityLayout {
        name: "card".into(),
        keys_max,
        ttl: Duration::from_secs(2 * 86_400),
        longest_window: Duration::from_secs(3_600),
        attributes: Box::new([AttributeLayout {
            name: "device.ip".into(),
            longest_window: Duration::from_secs(3_600),
        }]),
        streams: Streams::ALL,
    };
    Arc::new(Layout { entities: Box::new([card]) })
}

fn store(keys_max: usize) -> WindowStore {
    WindowStore::new(layout(keys_max))
}

fn hourly(stream: Stream, measure: Measure) -> WindowRead {
    WindowRead { entity: 0, stream, measure, window: Duration::from_secs(3_600), output: 0 }
}

fn plan_of(read: WindowRead) -> Plan {
    Plan::compile(&layout(1), &[read], &[], 1).unwrap()
}

fn plan_since(read: SinceRead) -> Plan {
    Plan::compile(&layout(1), &[], &[read], 1).unwrap()
}

fn count() -> Plan {
    plan_of(hourly(Stream::Attempts, Measure::Count))
}

fn time(seconds: i64) -> EventTime {
    EventTime::from_unix_millis(1_000_000_000 + seconds * 1_000).unwrap()
}

fn attempt(card: u32, seconds: i64) -> Attempt {
    Attempt {
        at: time(seconds),
        amount: Money::from_minor(1_000, Currency::parse("EUR").unwrap()).unwrap(),
        location: None,
        keys: [Some(KeyHasher::new([0; 16]).key(0, [card.to_le_bytes()]))].into_iter().collect(),
        attributes: [7].into_iter().collect(),
    }
}

fn read(store: &WindowStore, plan: &Plan, attempt: &Attempt, presence: Presence) -> f64 {
    let mut out = [-1.0];
    store.observe(plan, attempt, presence, &mut out);
    out[0]
}

fn stats(store: &WindowStore) -> EntityStats {
    store.stats()[0]
}

/// Equal, or both missing.
fn is_same(actual: f64, expected: f64) -> bool {
    actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan())
}

#[test]
fn the_window_is_open_at_its_far_end_and_closed_at_its_near_end() {
    let cases = [(0, 2.0), (1, 2.0), (HOUR_S - 1, 2.0), (HOUR_S, 1.0), (HOUR_S + 1, 1.0), (-1, 1.0)];
    for (seconds, expected) in cases {
        let store = store(10);
        store.add(&attempt(1, 0));
        let actual = read(&store, &count(), &attempt(1, seconds), Presence::Add);
        assert!(is_same(actual, expected), "{seconds} s later: {actual}");
    }
}

#[test]
fn a_key_never_seen_and_no_key() {
    let missing = f64::NAN;
    let window = |stream, measure| plan_of(hourly(stream, measure));
    let cases = [
        ("count", window(Stream::Attempts, Measure::Count), 1.0),
        ("mean", window(Stream::Attempts, Measure::Mean), 10.0),
        ("stddev", window(Stream::Attempts, Measure::Stddev), 0.0),
        ("zscore", window(Stream::Attempts, Measure::ZScore), missing),
        ("distinct", window(Stream::Attempts, Measure::Distinct { attribute: 0 }), 1.0),
        ("approved count", window(Stream::Approved, Measure::Count), 0.0),
        ("approved sum", window(Stream::Approved, Measure::Sum), 0.0),
        ("approved mean", window(Stream::Approved, Measure::Mean), missing),
        ("approved max", window(Stream::Approved, Measure::Max), missing),
        ("labels", window(Stream::Labels, Measure::Count), 0.0),
        ("fraud", window(Stream::Labels, Measure::FraudCount), 0.0),
        ("fraud rate", window(Stream::Labels, Measure::FraudRate), missing),
        (
            "since last",
            plan_since(SinceRead { entity: 0, measure: SinceMeasure::SecondsSinceLast, output: 0 }),
            missing,
        ),
        (
            "since first",
            plan_since(SinceRead { entity: 0, measure: SinceMeasure::SecondsSinceFirst, output: 0 }),
            0.0,
        ),
        ("speed", plan_since(SinceRead { entity: 0, measure: SinceMeasure::SpeedKmh, output: 0 }), missing),
    ];
    let mut keyless = attempt(1, 0);
    keyless.keys.clear();
    for (name, plan, expected) in cases {
        for presence in [Presence::Virtual, Presence::Counted, Presence::Add] {
            let store = store(10);
            let actual = read(&store, &plan, &attempt(1, 0), presence);
            assert!(is_same(actual, expected), "{name}, {presence:?}: {actual}");
            assert!(read(&store, &plan, &keyless, presence).is_nan(), "{name}, {presence:?} without a key");
        }
    }
}

#[test]
fn the_last_attempt_and_the_speed_from_there() {
    let berlin = Location { latitude: 52.52, longitude: 13.405 };
    let paris = Location { latitude: 48.8566, longitude: 2.3522 };
    let km = berlin.distance_km(paris);
    let day_s = 86_400;
    // Seconds since Berlin, where now, then: seconds since last, km, km/h.
    let cases = [
        (7_200, Some(paris), [7_200.0, km, km * 3_600_000.0 / 7_200_000.0]),
        (0, Some(paris), [0.0, km, km * 3_600_000.0 / 1_000.0]),
        (7_200, None, [7_200.0, f64::NAN, f64::NAN]),
        (2 * day_s, Some(berlin), [172_800.0, 0.0, 0.0]),
        (2 * day_s + 1, Some(paris), [f64::NAN; 3]),
        (-1, Some(paris), [f64::NAN; 3]),
    ];
    let entity = 0;
    let reads = [
        SinceRead { entity, measure: SinceMeasure::SecondsSinceLast, output: 0 },
        SinceRead { entity, measure: SinceMeasure::DistanceKm, output: 1 },
        SinceRead { entity, measure: SinceMeasure::SpeedKmh, output: 2 },
    ];
    let plan = Plan::compile(&layout(1), &[], &reads, 3).unwrap();
    for (seconds, location, expected) in cases {
        let store = store(10);
        store.add(&Attempt { location: Some(berlin), ..attempt(1, 0) });
        let mut actual = [0.0; 3];
        store.observe(&plan, &Attempt { location, ..attempt(1, seconds) }, Presence::Add, &mut actual);
        let all_same = actual.iter().zip(expected).all(|(&actual, expected)| is_same(actual, expected));
        assert!(all_same, "{seconds} s later: {actual:?}, not {expected:?}");
    }
}

#[test]
fn the_last_attempt_is_known_after_its_event_is_gone() {
    let store = store(10);
    let since = plan_since(SinceRead { entity: 0, measure: SinceMeasure::SecondsSinceLast, output: 0 });
    for second in 0..3 {
        store.add(&attempt(1, second));
    }
    for second in 0..60 {
        store.add(&attempt(1, 20 * HOUR_S + second));
    }
    // The old ones have made room, but for the last.
    assert_eq!(stats(&store).events, 61);
    // This one is not late, and only the last of the old ones is before it.
    let between = attempt(1, 19 * HOUR_S + 59);
    assert!(is_same(read(&store, &since, &between, Presence::Virtual), 19.0 * 3_600.0 + 57.0));
}

#[test]
fn a_late_attempt_is_read_but_not_added() {
    let store = store(10);
    store.add(&attempt(1, 10 * HOUR_S));
    let observe = |seconds| {
        let mut out = [0.0];
        (store.observe(&count(), &attempt(1, seconds), Presence::Add, &mut out), out[0])
    };
    let on_time = Observed { keys: 1, added: 1, late: 0 };
    assert_eq!(observe(9 * HOUR_S), (on_time, 1.0));
    let late = Observed { keys: 1, added: 0, late: 1 };
    assert_eq!(observe(9 * HOUR_S - 1), (late, 1.0));
    assert_eq!(observe(9 * HOUR_S - 1), (late, 1.0));
    // A late outcome and a late label are not added either.
    store.record_outcome(OutcomeStream::Approved, &attempt(1, 9 * HOUR_S - 1));
    store.record_label(&attempt(1, 0).keys, time(0), true);
    let EntityStats { late_events, late_attempts, events, .. } = stats(&store);
    assert_eq!((late_events, late_attempts, events), (4, 2, 2));
}

#[test]
fn a_repeat_counts_once_even_among_twins() {
    let store = store(10);
    for _ in 0..3 {
        store.add(&attempt(1, 0));
    }
    store.record_outcome(OutcomeStream::Approved, &attempt(1, 0));
    let approved = plan_of(hourly(Stream::Approved, Measure::Count));
    let since = plan_since(SinceRead { entity: 0, measure: SinceMeasure::SecondsSinceLast, output: 0 });
    let other = attempt(1, 1);
    for (name, plan, repeated, fresh) in [
        ("attempts", &count(), 3.0, 4.0),
        ("approved", &approved, 0.0, 1.0),
        ("since last", &since, 0.0, 1.0),
    ] {
        let actual = read(&store, plan, &attempt(1, 0), Presence::Counted);
        assert!(is_same(actual, repeated), "{name}: {actual}");
        // What was never added is counted as in a dry run.
        let actual = read(&store, plan, &other, Presence::Counted);
        assert!(is_same(actual, fresh), "{name}: {actual}");
    }
    assert_eq!(stats(&store).events, 3, "an outcome stands with its attempt");
}

#[test]
fn true_twins_each_end_in_their_own_way() {
    let store = store(10);
    for number in 1..=300 {
        store.add(&attempt(1, 0));
        store.record_outcome(OutcomeStream::Approved, &attempt(1, 0));
        if number % 100 == 0 {
            let approved = plan_of(hourly(Stream::Approved, Measure::Count));
            let actual = read(&store, &approved, &attempt(1, 1), Presence::Virtual);
            assert!(is_same(actual, f64::from(number)), "{actual} of {number}");
        }
    }
}

#[test]
fn a_busy_key_has_no_bound_on_its_counts() {
    let store = store(10);
    let pushed = 20_000;
    for _ in 0..pushed {
        store.add(&attempt(1, 0));
    }
    assert_eq!(stats(&store), EntityStats { keys: 1, busy_keys: 1, ..Default::default() });
    let actual = read(&store, &count(), &attempt(1, 1), Presence::Virtual);
    assert!(is_same(actual, f64::from(pushed) + 1.0), "{actual}");
}

#[test]
fn the_least_recently_active_key_goes_first() {
    type Touch = fn(&WindowStore);
    let cases: [(&str, Touch, [f64; 2]); 6] = [
        ("nothing", |_| {}, [1.0, 2.0]),
        ("add", |store| store.add(&attempt(1, 2)), [3.0, 1.0]),
        ("label", |store| store.record_label(&attempt(1, 0).keys, time(2), false), [2.0, 1.0]),
        ("outcome", |store| store.record_outcome(OutcomeStream::Declined, &attempt(1, 0)), [2.0, 1.0]),
        ("dry run", |store| _ = read(store, &count(), &attempt(1, 2), Presence::Virtual), [1.0, 2.0]),
        ("repeat", |store| _ = read(store, &count(), &attempt(1, 0), Presence::Counted), [1.0, 2.0]),
    ];
    for (name, touch, expected) in cases {
        let store = store(2);
        store.add(&attempt(1, 0));
        store.add(&attempt(2, 1));
        touch(&store);
        store.add(&attempt(3, 3));
        let counts = [1, 2].map(|card| read(&store, &count(), &attempt(card, 4), Presence::Virtual));
        let all_same = counts.iter().zip(expected).all(|(&actual, expected)| is_same(actual, expected));
        assert!(all_same, "{name}: {counts:?}, not {expected:?}");
        assert_eq!((stats(&store).keys, stats(&store).evicted_keys), (2, 1), "{name}");
    }
}

#[test]
fn evicting_an_active_key_leaves_a_trace() {
    let cases = [(1, 1), (HOUR_S - 1, 1), (HOUR_S, 0), (HOUR_S + 1, 0)];
    for (seconds, expected) in cases {
        let store = store(1);
        store.add(&attempt(1, 0));
        store.add(&attempt(2, seconds));
        let EntityStats { keys, events, evicted_keys, evicted_active_keys, .. } = stats(&store);
        assert_eq!((keys, events, evicted_keys, evicted_active_keys), (1, 1, 1, expected), "{seconds} s");
    }
}

#[test]
fn a_flood_of_keys_stays_within_the_bound() {
    for keys_max in [1, 3, 1_000, 5_000] {
        let store = store(keys_max);
        for card in 0..12_000 {
            store.add(&attempt(card, 0));
        }
        let stats = stats(&store);
        assert!(stats.keys <= keys_max as u64 && stats.keys * 10 >= keys_max as u64 * 7, "{stats:?}");
        assert_eq!((stats.keys + stats.evicted_keys, stats.events), (12_000, stats.keys));
    }
}

#[test]
fn each_of_many_threads_sees_a_different_count() {
    const THREADS: usize = 8;
    const ATTEMPTS: usize = 500;
    let (store, count) = (store(10), count());
    let mut seen: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let add = |_| {
                        let dry = read(&store, &count, &attempt(1, 0), Presence::Virtual);
                        let seen = read(&store, &count, &attempt(1, 0), Presence::Add);
                        assert!(seen >= dry);
                        store.record_label(&attempt(1, 0).keys, time(0), true);
                        seen
                    };
                    (0..ATTEMPTS).map(add).collect::<Vec<f64>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    seen.sort_unstable_by(f64::total_cmp);
    let expected: Vec<f64> = (1..=THREADS * ATTEMPTS).map(|count| count as f64).collect();
    assert_eq!(seen, expected);
    let labels = plan_of(hourly(Stream::Labels, Measure::Count));
    let labelled = read(&store, &labels, &attempt(1, 0), Presence::Virtual);
    assert!(is_same(labelled, (THREADS * ATTEMPTS) as f64), "{labelled}");
}

#[test]
fn what_does_not_fit_the_layout_does_no_harm() {
    let store = store(10);
    let mut odd = attempt(1, 0);
    odd.keys.push(odd.keys[0]);
    odd.attributes.clear();
    odd.location = Some(Location { latitude: f64::NAN, longitude: 0.0 });
    assert_eq!(store.observe(&count(), &odd, Presence::Add, &mut []).added, 1);
    let distinct = plan_of(hourly(Stream::Attempts, Measure::Distinct { attribute: 0 }));
    assert!(is_same(read(&store, &distinct, &attempt(1, 1), Presence::Virtual), 1.0));
    let empty = WindowStore::new(Arc::new(Layout { entities: Box::new([]) }));
    assert!(read(&empty, &count(), &odd, Presence::Add).is_nan());
}

#[test]
fn a_key_is_forgotten_after_its_time_to_live() {
    // An hour of windows and two days to live: what is idle for longer than both together is never seen by any read.
    let forgotten_after_s = 49 * HOUR_S;
    for (seconds, expected) in [(forgotten_after_s, forgotten_after_s as f64), (forgotten_after_s + 1, 0.0)] {
        let store = store(10);
        let since = plan_since(SinceRead { entity: 0, measure: SinceMeasure::SecondsSinceFirst, output: 0 });
        store.add(&attempt(1, 0));
        for presence in [Presence::Virtual, Presence::Add] {
            let actual = read(&store, &since, &attempt(1, seconds), presence);
            assert!(is_same(actual, expected), "{seconds} s, {presence:?}: {actual}");
        }
        assert_eq!(stats(&store).forgotten_keys, u64::from(expected == 0.0), "{seconds} s");
        assert_eq!(stats(&store).keys, 1);
    }
}

#[test]
fn forgotten_keys_make_room_before_anything_is_evicted() {
    let store = store(3_000);
    for card in 0..2_000 {
        store.add(&attempt(card, 0));
    }
    // As many new ones come a hundred hours later, over some time.
    for card in 2_000..10_000 {
        store.add(&attempt(card, 100 * HOUR_S + i64::from(card) * 60));
    }
    let EntityStats { keys, evicted_keys, forgotten_keys, .. } = stats(&store);
    assert_eq!(keys + forgotten_keys + evicted_keys, 10_000);
    assert!(keys <= 3_000 && forgotten_keys > 1_900, "{:?}", stats(&store));
}

#[test]
fn a_flood_of_keys_that_never_come_back_pushes_out_its_own() {
    let store = store(4_096);
    // Half of the room is taken by cards that have been seen twice.
    for round in 0..2 {
        for card in 0..2_048 {
            store.add(&attempt(card, round));
        }
    }
    for card in 10_000..110_000 {
        store.add(&attempt(card, 2));
    }
    let counts = (0..2_048).map(|card| read(&store, &count(), &attempt(card, 3), Presence::Virtual));
    let remembered = counts.filter(|&count| is_same(count, 3.0)).count();
    assert_eq!(remembered, 2_048, "{:?}", stats(&store));
    let EntityStats { keys, evicted_keys, evicted_active_keys, .. } = stats(&store);
    assert_eq!((keys, evicted_keys, evicted_active_keys), (4_096, 97_952, 97_952));
}

#[test]
fn active_keys_in_danger_are_counted_before_any_of_them_goes() {
    let store = store(8_000);
    let endangered = || stats(&store).endangered_active_keys;
    for card in 0..6_900 {
        store.add(&attempt(card, i64::from(card)));
    }
    assert_eq!(endangered(), 0, "there is room for an eighth of them");
    for card in 6_900..7_900 {
        store.add(&attempt(card, i64::from(card)));
    }
    // 7,900 keys within two hours: about half of them have been idle for an hour, so nobody is in danger yet.
    assert_eq!(endangered(), 0);
    let busy = self::store(8_000);
    for card in 0..7_900 {
        busy.add(&attempt(card, i64::from(card) / 10));
    }
    // The same within a quarter of an hour: all are active, and an eighth of them goes next.
    assert!((900..=988).contains(&stats(&busy).endangered_active_keys), "{:?}", stats(&busy));
    assert_eq!(stats(&busy).evicted_keys, 0);
}

#[test]
fn a_hot_key_keeps_every_update_while_it_becomes_busy_and_is_written_down() {
    const THREADS: usize = 4;
    const ATTEMPTS: usize = 2_000;
    let (store, count) = (store(10), count());
    let labels = plan_of(hourly(Stream::Labels, Measure::FraudCount));
    let approved = plan_of(hourly(Stream::Approved, Measure::Sum));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, count) = (&store, &count);
            scope.spawn(move || {
                let mut last = 0.0;
                for number in 0..ATTEMPTS {
                    let at = i64::try_from(number % 100 + thread).unwrap_or(0);
                    let attempt = attempt(1, at);
                    store.add(&attempt);
                    store.record_outcome(OutcomeStream::Approved, &attempt);
                    store.record_label(&attempt.keys, time(at), true);
                    let seen = read(store, count, &self::attempt(1, 200), Presence::Virtual);
                    assert!(seen > last, "a count never goes back");
                    last = seen;
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                let mut bytes = Vec::new();
                store.begin_snapshot().unwrap().write(&mut bytes, &mut |_| {}).unwrap();
                let layout = Arc::clone(store.layout());
                let (restored, _) = WindowStore::restore(layout, &mut bytes.as_slice()).unwrap();
                // Nothing torn: what was approved was attempted before, and what was labelled approved before that.
                let now = attempt(1, 200);
                let attempts = read(&restored, &count, &now, Presence::Virtual) - 1.0;
                let approved = read(&restored, &approved, &now, Presence::Virtual) / 10.0;
                let labels = read(&restored, &labels, &now, Presence::Virtual);
                assert!(attempts >= approved && approved >= labels, "{attempts} {approved} {labels}");
            }
        });
    });
    let all = (THREADS * ATTEMPTS) as f64;
    let now = attempt(1, 200);
    let seen = [(&count, all + 1.0), (&labels, all), (&approved, all * 10.0)]
        .map(|(plan, expected)| (read(&store, plan, &now, Presence::Virtual), expected));
    assert!(seen.iter().all(|&(actual, expected)| is_same(actual, expected)), "{seen:?}");
}

#[test]
fn keys_with_a_long_time_to_live_are_swept_too() {
    // A time to live of 48 windows, and room for all: only the sweep makes room.
    let store = store(20_000);
    for card in 0..12_000 {
        store.add(&attempt(card, i64::from(card) * 120));
    }
    // 400 hours with a new key every two minutes; of each only the last 49 hours count, some 1,470 keys.
    let EntityStats { keys, evicted_keys, forgotten_keys, .. } = stats(&store);
    assert_eq!((keys + forgotten_keys, evicted_keys), (12_000, 0));
    assert!((1_400..=2_500).contains(&keys), "{:?}", stats(&store));
}

#[test]
fn activities_are_counted_anew_after_four_billion() {
    let stores = [store(300), store(300)];
    let traffic = |store: &WindowStore, from: u32| {
        for number in from..from + 2_000 {
            store.add(&attempt(number * 7_919 % 500, i64::from(number)));
        }
    };
    stores.iter().for_each(|store| traffic(store, 0));
    // One of them is near the end of its numbers, with victims chosen and a snapshot under way.
    stores[1].entities[0].shards[0].lock().count_activities_from(u32::MAX - 700);
    let snapshot = stores[1].begin_snapshot().unwrap();
    stores.iter().for_each(|store| traffic(store, 2_000));
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes, &mut |_| {}).unwrap();
    stores.iter().for_each(|store| traffic(store, 4_000));
    assert_eq!(stores[0].stats(), stores[1].stats());
    for card in 0..500 {
        let [one, other] =
            [0, 1].map(|store| read(&stores[store], &count(), &attempt(card, 6_001), Presence::Virtual));
        assert!(is_same(one, other), "{card}: {one} {other}");
    }
}

#[test]
fn many_threads_never_hold_more_keys_than_there_may_be() {
    let store = store(4_096);
    thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || (0..5_000).for_each(|card| store.add(&attempt(thread * 10_000 + card, 0))));
        }
    });
    let EntityStats { keys, evicted_keys, .. } = stats(&store);
    assert_eq!((keys, evicted_keys), (4_096, 20_000 - 4_096));
}
