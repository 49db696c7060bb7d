//! Random histories, in which the store must say what the oracle says, bit for bit: out of order, late, at equal times and on
//! the boundaries of windows, in several currencies, with missing keys, places and attributes, dry runs and repeats.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use smallvec::SmallVec;

use crate::domain::money::{Currency, Money};
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;
use crate::window::event::{Attempt, KeyHasher, Presence};
use crate::window::layout::{AttributeLayout, EntityLayout, Layout, OutcomeStream, Stream, Streams};
use crate::window::limits::Limits;
use crate::window::oracle::Oracle;
use crate::window::plan::{Measure, Plan, SinceMeasure, SinceRead, Threshold, WindowRead};
use crate::window::stats::EntityStats;
use crate::window::store::WindowStore;

const WINDOWS_MS: [u64; 4] = [50, 200, 500, 1_000];
/// The last entity has a key of its own for each transaction, so that no two transactions are twins.
const ENTITIES: u8 = 4;

fn layout(keys_max: usize) -> Arc<Layout> {
    let entity = |name: &str, ttl_ms, longest_ms, attributes: &[&str]| EntityLayout {
        name: name.into(),
        keys_max,
        ttl: Duration::from_millis(ttl_ms),
        longest_window: Duration::from_millis(longest_ms),
        attributes: attributes
            .iter()
            .map(|&name| AttributeLayout {
                name: name.into(),
                longest_window: Duration::from_millis(longest_ms),
            })
            .collect(),
        streams: Streams::ALL,
    };
    Arc::new(Layout {
        entities: Box::new([
            entity("card", 1_500, 1_000, &["ip", "device"]),
            entity("device", 300, 500, &[]),
            entity("customer", 1_000_000, 200, &["ip", "card", "merchant"]),
            entity("transaction", 1, 50, &[]),
        ]),
    })
}

/// Every measure over every stream and window of every entity.
fn all_reads(layout: &Layout) -> (Vec<WindowRead>, Vec<SinceRead>, usize) {
    let (mut windows, mut since, mut output) = (Vec::new(), Vec::new(), 0);
    let over_amounts = [
        Measure::Count,
        Measure::Sum,
        Measure::Mean,
        Measure::Stddev,
        Measure::Min,
        Measure::Max,
        Measure::ZScore,
    ];
    for (entity, layout) in (0..).zip(&layout.entities) {
        let mut add = |stream, measure| {
            for window in WINDOWS_MS.map(Duration::from_millis) {
                if window <= layout.longest_window {
                    windows.push(WindowRead { entity, stream, measure, window, output });
                    output += 1;
                }
            }
        };
        for stream in [Stream::Attempts, Stream::Approved, Stream::Declined] {
            over_amounts.into_iter().for_each(|measure| add(stream, measure));
        }
        for measure in [Measure::Count, Measure::FraudCount, Measure::FraudRate] {
            add(Stream::Labels, measure);
        }
        for attribute in (0..).take(layout.attributes.len()) {
            add(Stream::Attempts, Measure::Distinct { attribute });
        }
        let (gap, window) = (Duration::from_millis(40), layout.longest_window);
        let (small, large) = (Threshold::parse("0.02").unwrap(), Threshold::parse("0.04").unwrap());
        for measure in [
            SinceMeasure::SecondsSinceLast,
            SinceMeasure::SecondsSinceFirst,
            SinceMeasure::SpeedKmh,
            SinceMeasure::DistanceKm,
            SinceMeasure::SessionCount { gap },
            SinceMeasure::SessionSeconds { gap },
            SinceMeasure::SmallBeforeLarge { window, small, large },
        ] {
            since.push(SinceRead { entity, measure, output });
            output += 1;
        }
    }
    (windows, since, output)
}

#[derive(Clone, Debug)]
enum Step {
    Observe {
        drawn: Drawn,
        presence: Presence,
    },
    Repeat {
        of: usize,
    },
    Outcome {
        stream: OutcomeStream,
        of: usize,
    },
    Label {
        of: usize,
        later_ms: i64,
        fraud: bool,
    },
    /// The store is written down and read back.
    Restart,
}

/// What is random in an attempt.
#[derive(Clone, Debug)]
struct Drawn {
    /// Against a clock that moves with each step.
    offset_ms: i64,
    minor: i64,
    currency: usize,
    place: Option<(i8, i8)>,
    keys: [Option<u8>; 3],
    attributes: [u64; 5],
}

fn drawn() -> impl Strategy<Value = Drawn> {
    // Steps of 50 ms, so that equal times and boundaries are common, and some that are not.
    let offset_ms = prop_oneof![
        6 => (-3_i64..=2).prop_map(|steps| steps * 50),
        3 => (-30_i64..=2).prop_map(|steps| steps * 50),
        1 => -2_500_i64..=700,
    ];
    let minor = prop_oneof![5 => 0_i64..5, 3 => 0_i64..100_000, 1 => Just(1_000_000_000_000_000)];
    let key = || prop_oneof![1 => Just(None), 6 => (0_u8..2).prop_map(Some)];
    let place = prop::option::of((-89_i8..=89, -120_i8..=120));
    let attributes = prop::array::uniform5(0_u64..4);
    (offset_ms, minor, 0_usize..3, place, [key(), key(), key()], attributes).prop_map(
        |(offset_ms, minor, currency, place, keys, attributes)| Drawn {
            offset_ms,
            minor,
            currency,
            place,
            keys,
            attributes,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(OutcomeStream::Approved), Just(OutcomeStream::Declined)];
    prop_oneof![
        8 => drawn().prop_map(|drawn| Step::Observe { drawn, presence: Presence::Add }),
        1 => drawn().prop_map(|drawn| Step::Observe { drawn, presence: Presence::Virtual }),
        2 => (0_usize..30).prop_map(|of| Step::Repeat { of }),
        4 => (outcome, 0_usize..6).prop_map(|(stream, of)| Step::Outcome { stream, of }),
        2 => (0_usize..20, -4_i64..40, any::<bool>())
            .prop_map(|(of, steps, fraud)| Step::Label { of, later_ms: steps * 50, fraud }),
        1 => Just(Step::Restart),
    ]
}

fn attempt(hasher: &KeyHasher, clock_ms: i64, transaction: usize, drawn: &Drawn) -> Attempt {
    let currencies = ["EUR", "JPY", "KWD"].map(|code| Currency::parse(code).unwrap());
    let mut keys: SmallVec<[_; 16]> =
        (0..).zip(drawn.keys).map(|(entity, key)| key.map(|key| hasher.key(entity, [[key]]))).collect();
    keys.push(Some(hasher.key(3, [transaction.to_le_bytes()])));
    Attempt {
        at: EventTime::from_unix_millis(clock_ms + drawn.offset_ms).unwrap(),
        amount: Money::from_minor(drawn.minor, currencies[drawn.currency]).unwrap(),
        location: drawn.place.map(|(latitude, longitude)| Location {
            latitude: f64::from(latitude),
            longitude: f64::from(longitude),
        }),
        keys,
        attributes: drawn.attributes.iter().copied().collect(),
    }
}

fn assert_same_bits(step: &str, actual: &[f64], expected: &[f64], names: &[String]) {
    for ((actual, expected), name) in actual.iter().zip(expected).zip(names) {
        let is_same = actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
        assert!(is_same, "{step}: {name}: the store says {actual}, the oracle {expected}");
    }
}

/// Room for every key that a history can have.
const ROOMY: usize = 10_000;

/// Lets the oracle forget what a store without room for all has let go. One with room lets nothing go: the oracle stays as it is, so
/// that a key that is lost shows.
fn follow_evictions(store: &WindowStore, oracle: &mut Oracle, keys_max: usize) {
    if keys_max < ROOMY {
        oracle.forget(|entity, key| !store.holds(entity, key));
    }
}

/// Whether the store could not tell two attempts apart: it promises nothing for the repeats of such twins.
fn are_twins(one: &Attempt, other: &Attempt) -> bool {
    (one.at, one.amount, one.tag()) == (other.at, other.amount, other.tag())
}

/// The store, written down and read back.
fn restarted(store: &WindowStore, limits: Limits) -> WindowStore {
    let mut bytes = Vec::new();
    let written = store.begin_snapshot().unwrap().write(&mut bytes, &mut |_| {}).unwrap();
    let layout = Arc::clone(store.layout());
    let (restored, read) = WindowStore::restore_with_limits(layout, limits, &mut bytes.as_slice()).unwrap();
    assert_eq!((read, read.bytes), (written, bytes.len() as u64));
    restored
}

/// Runs one history through store and oracle. A store with room for few keys says which it has let go; the oracle forgets them.
fn run(steps: &[Step], limits: Limits, keys_max: usize) {
    let layout = layout(keys_max);
    assert_eq!(layout.entities.len(), usize::from(ENTITIES));
    let (windows, since, outputs) = all_reads(&layout);
    let names: Vec<String> = {
        let mut names = vec![String::new(); outputs];
        for read in &windows {
            names[read.output] = format!("{read:?}");
        }
        for read in &since {
            names[read.output] = format!("{read:?}");
        }
        names
    };
    let plan = Plan::compile(&layout, &windows, &since, outputs).unwrap();
    let mut store = WindowStore::with_limits(Arc::clone(&layout), limits);
    // Fed by `add` alone, and never stopped: it must hold the same at the end.
    let rebuilt = WindowStore::with_limits(Arc::clone(&layout), limits);
    let mut oracle = Oracle::new(Arc::clone(&layout));
    let hasher = KeyHasher::new([1; 16]);
    let mut added: Vec<(usize, Attempt)> = Vec::new();
    let mut has_outcome: Vec<bool> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let clock_ms = 1_000_000 + 20 * number as i64;
        let back = |of: usize| added.len().checked_sub(1 + of % added.len().max(1));
        let (transaction, attempt, presence) = match step {
            Step::Observe { drawn, presence } => {
                let attempt = attempt(&hasher, clock_ms, number, drawn);
                if added.iter().any(|(_, known)| are_twins(known, &attempt)) {
                    continue;
                }
                (number, attempt, *presence)
            }
            Step::Repeat { of } => {
                let Some(of) = back(*of) else { continue };
                (added[of].0, added[of].1.clone(), Presence::Counted)
            }
            Step::Outcome { stream, of } => {
                let Some(of) = back(*of) else { continue };
                if !std::mem::replace(&mut has_outcome[of], true) {
                    let (transaction, attempt) = &added[of];
                    store.record_outcome(*stream, attempt);
                    rebuilt.record_outcome(*stream, attempt);
                    oracle.record_outcome(*stream, *transaction, attempt);
                }
                follow_evictions(&store, &mut oracle, keys_max);
                continue;
            }
            Step::Restart => {
                store = restarted(&store, limits);
                continue;
            }
            Step::Label { of, later_ms, fraud } => {
                let Some(of) = back(*of) else { continue };
                let at = EventTime::from_unix_millis(clock_ms + later_ms).unwrap();
                store.record_label(&added[of].1.keys, at, *fraud);
                rebuilt.record_label(&added[of].1.keys, at, *fraud);
                oracle.record_label(&added[of].1.keys, at, *fraud);
                follow_evictions(&store, &mut oracle, keys_max);
                continue;
            }
        };
        let mut actual = vec![-1.0; outputs];
        store.observe(&plan, &attempt, presence, &mut actual);
        let expected = oracle.observe((&windows, &since), transaction, &attempt, presence, outputs);
        assert_same_bits(&format!("step {number}, {presence:?}"), &actual, &expected, &names);
        if presence == Presence::Add {
            follow_evictions(&store, &mut oracle, keys_max);
            rebuilt.add(&attempt);
            added.push((transaction, attempt));
            has_outcome.push(false);
        }
    }
    assert_eq!(store.stats(), rebuilt.stats());
    let is_sound =
        |stats: &EntityStats| stats.keys <= keys_max as u64 && (keys_max < ROOMY || stats.evicted_keys == 0);
    assert!(store.stats().iter().all(is_sound), "{:?}", store.stats());
    for (_, attempt) in added.iter().rev().take(20) {
        let [mut one, mut other] = [vec![-1.0; outputs], vec![-1.0; outputs]];
        store.observe(&plan, attempt, Presence::Counted, &mut one);
        rebuilt.observe(&plan, attempt, Presence::Counted, &mut other);
        assert_same_bits("rebuilt", &one, &other, &names);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_says_what_the_oracle_says(steps in prop::collection::vec(step(), 1..160)) {
        run(&steps, Limits::default(), ROOMY);
    }

    /// Keys go for others.
    #[test]
    fn what_is_evicted_counts_as_never_seen(
        steps in prop::collection::vec(step(), 1..160),
        keys_max in 1_usize..4,
    ) {
        run(&steps, Limits::default(), keys_max);
    }

    /// Keys become busy at once, and all their events are still known one by one.
    #[test]
    fn busy_keys_say_what_the_oracle_says(
        steps in prop::collection::vec(step(), 1..160),
        block_events_max in 0_usize..6,
    ) {
        run(&steps, Limits { block_events_max, ..Limits::default() }, ROOMY);
    }
}
