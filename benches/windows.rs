//! What one `observe` costs: 61 reads over six entities, 100,000 keys each, every key with some ten attempts.
//!
//! `cargo bench --bench windows`

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tollgate::domain::money::{Currency, Money};
use tollgate::domain::time::EventTime;
use tollgate::domain::transaction::Location;
use tollgate::window::event::{Attempt, KeyHasher, Presence};
use tollgate::window::layout::{EntityLayout, Layout, OutcomeStream, Stream};
use tollgate::window::plan::{Measure, Plan, SinceRead, WindowRead};
use tollgate::window::store::WindowStore;

const ENTITIES: [&str; 6] = ["customer", "card", "device", "ip", "merchant", "terminal"];
const KEYS: u32 = 100_000;
const FILL: usize = 1_000_000;
const DAY_S: u64 = 86_400;
/// Event time between two attempts: the fill spans twenty days.
const STEP_MS: i64 = 1_728;

fn layout() -> Layout {
    let entity = |name: &&str| EntityLayout {
        name: (*name).into(),
        keys_max: 1_000_000,
        ttl: Duration::from_secs(35 * DAY_S),
        longest_window: Duration::from_secs(30 * DAY_S),
        attributes: Box::new(["one".into(), "other".into()]),
    };
    Layout { entities: ENTITIES.iter().map(entity).collect() }
}

fn plan(layout: &Layout) -> Plan {
    let (mut windows, mut output) = (Vec::new(), 0);
    for entity in 0..6 {
        let mut add = |stream, measure, seconds: &[u64]| {
            for &seconds in seconds {
                let window = Duration::from_secs(seconds);
                windows.push(WindowRead { entity, stream, measure, window, output });
                output += 1;
            }
        };
        add(Stream::Attempts, Measure::Count, &[300, 3_600, DAY_S, 30 * DAY_S]);
        add(Stream::Attempts, Measure::Sum, &[DAY_S]);
        add(Stream::Attempts, Measure::Stddev, &[30 * DAY_S]);
        add(Stream::Attempts, Measure::Max, &[7 * DAY_S]);
        add(Stream::Attempts, Measure::Distinct { attribute: 0 }, &[DAY_S, 7 * DAY_S]);
        add(Stream::Approved, Measure::Count, &[DAY_S]);
    }
    let speed = SinceRead::SpeedKmh { entity: 0, output };
    Plan::compile(layout, &windows, &[speed], output + 1).expect("the reads fit the layout")
}

fn attempt(hasher: &KeyHasher, random: &mut ChaCha8Rng, number: usize) -> Attempt {
    let currency = Currency::parse("EUR").expect("a currency");
    Attempt {
        at: EventTime::from_unix_millis(1_700_000_000_000 + number as i64 * STEP_MS).expect("a time"),
        amount: Money::from_minor(random.random_range(100..50_000), currency).expect("an amount"),
        location: Some(Location {
            latitude: random.random_range(-90.0..90.0),
            longitude: random.random_range(-180.0..180.0),
        }),
        keys: (0..6)
            .map(|entity| Some(hasher.key(entity, [random.random_range(0..KEYS).to_le_bytes()])))
            .collect(),
        attributes: (0..12).map(|_| random.random_range(1..100)).collect(),
    }
}

fn observe(c: &mut Criterion) {
    let layout = Arc::new(layout());
    let (plan, store) = (plan(&layout), WindowStore::new(Arc::clone(&layout)));
    let hasher = KeyHasher::new([3; 16]);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut out = vec![f64::NAN; plan.outputs()];
    for number in 0..FILL {
        let attempt = attempt(&hasher, &mut random, number);
        store.add(&attempt);
        if number % 2 == 0 {
            store.record_outcome(OutcomeStream::Approved, &attempt);
        }
    }
    let mut number = FILL;
    for (name, presence) in [("observe/virtual", Presence::Virtual), ("observe/add", Presence::Add)] {
        c.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    attempt(&hasher, &mut random, number)
                },
                |attempt| black_box(store.observe(&plan, &attempt, presence, &mut out)),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, observe);
criterion_main!(benches);
