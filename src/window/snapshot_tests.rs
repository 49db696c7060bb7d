//! Snapshots that are taken while the store changes, and files that are refused.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::domain::hash::sha256;
use crate::domain::money::{Currency, Money};
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;
use crate::window::event::{Attempt, KeyHasher, Presence};
use crate::window::layout::{AttributeLayout, EntityLayout, Layout, OutcomeStream, Stream, Streams};
use crate::window::limits::Limits;
use crate::window::plan::{Measure, Plan, SinceMeasure, SinceRead, WindowRead};
use crate::window::snapshot::SnapshotError;
use crate::window::store::WindowStore;

const HOUR_S: u64 = 3_600;
/// So that some keys are busy.
const LIMITS: Limits = Limits {
    block_events_max: 12,
    exact_events: 16,
    group_parts: 8,
    recent_attempts: 8,
    recent_places: 4,
    values_max: 8,
};

fn layout(keys_max: usize) -> Arc<Layout> {
    let entity = |name: &str| EntityLayout {
        name: name.into(),
        keys_max,
        ttl: Duration::from_secs(4 * HOUR_S),
        longest_window: Duration::from_secs(2 * HOUR_S),
        attributes: Box::new([AttributeLayout {
            name: "device.ip".into(),
            longest_window: Duration::from_secs(HOUR_S),
        }]),
        streams: Streams::ALL,
    };
    Arc::new(Layout { entities: Box::new([entity("card"), entity("merchant")]) })
}

fn plan(layout: &Layout) -> Plan {
    let window = Duration::from_secs(HOUR_S);
    let mut reads = Vec::new();
    for entity in 0..2 {
        for (stream, measure) in [
            (Stream::Attempts, Measure::Count),
            (Stream::Attempts, Measure::Sum),
            (Stream::Attempts, Measure::Max),
            (Stream::Attempts, Measure::Distinct { attribute: 0 }),
            (Stream::Approved, Measure::Count),
            (Stream::Labels, Measure::FraudCount),
        ] {
            reads.push(WindowRead { entity, stream, measure, window, output: reads.len() });
        }
    }
    let since = [SinceMeasure::SecondsSinceFirst, SinceMeasure::SecondsSinceLast, SinceMeasure::DistanceKm];
    let since: Vec<SinceRead> = since
        .into_iter()
        .enumerate()
        .map(|(number, measure)| SinceRead { entity: 0, measure, output: reads.len() + number })
        .collect();
    Plan::compile(layout, &reads, &since, reads.len() + since.len()).unwrap()
}

/// A history that goes on for ever.
struct Traffic {
    hasher: KeyHasher,
    random: ChaCha8Rng,
    number: i64,
}

impl Traffic {
    fn new(seed: u64) -> Self {
        Self { hasher: KeyHasher::new([5; 16]), random: ChaCha8Rng::seed_from_u64(seed), number: 0 }
    }

    fn attempt(&mut self) -> Attempt {
        self.number += 1;
        let random = &mut self.random;
        let at = 1_000_000_000 + self.number * 1_000 - random.random_range(0..5_000);
        let card = random.random_range(0..3_000_u32);
        let merchant = random.random_range(0..40_u32).pow(2) / 40;
        let currency = if random.random_range(0..20) == 0 { "JPY" } else { "EUR" };
        Attempt {
            at: EventTime::from_unix_millis(at).unwrap(),
            amount: Money::from_minor(random.random_range(0..40_000_000), Currency::parse(currency).unwrap())
                .unwrap(),
            location: (random.random_range(0..4) == 0).then(|| Location {
                latitude: random.random_range(-90.0..90.0),
                longitude: random.random_range(-180.0..180.0),
            }),
            keys: [
                Some(self.hasher.key(0, [card.to_le_bytes()])),
                Some(self.hasher.key(1, [merchant.to_le_bytes()])),
            ]
            .into_iter()
            .collect(),
            attributes: (0..2).map(|_| random.random_range(0..1_000)).collect(),
        }
    }

    /// One transaction with its consequences.
    fn step(&mut self, store: &WindowStore) {
        let attempt = self.attempt();
        store.add(&attempt);
        match self.random.random_range(0..10) {
            0 => store.record_label(&attempt.keys, attempt.at.plus(Duration::from_secs(1)), true),
            1..=7 => store.record_outcome(OutcomeStream::Approved, &attempt),
            _ => {}
        }
    }
}

/// A file to which every write gives the store's users some time.
struct BusyFile<'a> {
    bytes: Vec<u8>,
    between: &'a mut dyn FnMut(),
}

impl Write for BusyFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.between)();
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn answers(store: &WindowStore, seed: u64) -> Vec<u64> {
    let plan = plan(store.layout());
    let mut traffic = Traffic { number: 6_000, ..Traffic::new(seed) };
    let mut out = vec![0.0; plan.outputs()];
    let mut answers = Vec::new();
    for _ in 0..500 {
        store.observe(&plan, &traffic.attempt(), Presence::Virtual, &mut out);
        answers.extend(out.iter().map(|number| number.to_bits()));
    }
    answers
}

#[test]
fn a_snapshot_holds_the_moment_at_which_it_began() {
    // Enough room; keys that must go for others meanwhile; and tables that grow meanwhile.
    for (keys_max, before) in [(10_000, 3_000), (1_200, 3_000), (10_000, 300)] {
        let store = WindowStore::with_limits(layout(keys_max), LIMITS);
        let mut traffic = Traffic::new(1);
        for _ in 0..before {
            traffic.step(&store);
        }
        // The second snapshot finds marks that the first one left, the fourth those of one that was given up.
        for round in 0..4 {
            let expected = (answers(&store, 7), store.stats());
            let mut later = traffic_after(&traffic);
            let mut steps = 0;
            let snapshot = store.begin_snapshot().unwrap();
            assert!(store.begin_snapshot().is_none(), "one at a time");
            let mut between = || {
                for _ in 0..50 {
                    traffic.step(&store);
                    steps += 1;
                }
            };
            let mut file = BusyFile { bytes: Vec::new(), between: &mut between };
            if round == 2 {
                (file.between)();
                drop(snapshot);
                continue;
            }
            snapshot.write(&mut file, &mut |_| {}).unwrap();
            let bytes = file.bytes;
            let restored = WindowStore::restore_with_limits(layout(keys_max), LIMITS, &mut bytes.as_slice());
            let (restored, size) = restored.unwrap();
            assert_eq!(size.bytes, bytes.len() as u64);
            assert!((answers(&restored, 7), restored.stats()) == expected, "round {round}, {keys_max} keys");
            // The tail brings it to where the one that never stopped is, evictions and all.
            for _ in 0..steps {
                later.step(&restored);
            }
            assert!(steps > 200, "{steps}");
            assert_eq!(restored.stats(), store.stats(), "round {round}, {keys_max} keys");
            assert!(answers(&restored, 9) == answers(&store, 9), "round {round}, {keys_max} keys");
        }
    }
}

/// The same history from here on.
fn traffic_after(traffic: &Traffic) -> Traffic {
    Traffic { hasher: traffic.hasher.clone(), random: traffic.random.clone(), number: traffic.number }
}

fn snapshot_of(steps: usize) -> Vec<u8> {
    let store = WindowStore::with_limits(layout(5_000), LIMITS);
    let mut traffic = Traffic::new(3);
    for _ in 0..steps {
        traffic.step(&store);
    }
    let mut bytes = Vec::new();
    store.begin_snapshot().unwrap().write(&mut bytes, &mut |_| {}).unwrap();
    bytes
}

fn refused(layout: Arc<Layout>, bytes: &[u8]) -> SnapshotError {
    WindowStore::restore(layout, &mut &*bytes).unwrap_err()
}

#[test]
fn what_is_no_snapshot_of_this_store_is_refused() {
    let good = snapshot_of(200);
    let changed = |position: usize| {
        let mut bytes = good.clone();
        bytes[position] ^= 0x10;
        bytes
    };
    assert!(matches!(refused(layout(5_000), &changed(0)), SnapshotError::NotASnapshot));
    assert!(matches!(refused(layout(5_000), &changed(16)), SnapshotError::Version { found: 18 }));
    assert!(matches!(refused(layout(4_999), &good), SnapshotError::OtherLayout(_)));
    let other = refused(layout(4_999), &good).to_string();
    assert!(other.ends_with("asks for: `card` is not the same"), "{other}");
    for position in (20..good.len()).step_by(97) {
        let error = refused(layout(5_000), &changed(position));
        assert!(matches!(error, SnapshotError::Damaged(_) | SnapshotError::Io(_)), "{position}: {error}");
    }
    for length in (0..good.len()).step_by(101) {
        assert!(matches!(refused(layout(5_000), &good[..length]), SnapshotError::Io(_)), "{length}");
    }
}

#[test]
fn version_2_has_not_changed() {
    // When this fails, the format has changed: raise `VERSION`, so that a file of the old one is refused.
    assert_eq!(&*sha256(&snapshot_of(500)), GOLDEN);
}

const GOLDEN: &str = "sha256:cfb1dff22988aaec77de7a59c051da23393a698f2605fa003e245af1069d1537";
