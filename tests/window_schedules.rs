//! The window store under a model checker, which tries out orders in which threads may run: nothing is lost, nothing is torn, and a
//! snapshot is one moment.
//!
//! `cargo test --features shuttle --test window_schedules`
#![cfg(feature = "shuttle")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;
use tollgate::domain::money::{Currency, Money};
use tollgate::domain::time::EventTime;
use tollgate::window::event::{Attempt, KeyHasher, Presence};
use tollgate::window::layout::{EntityLayout, Layout, OutcomeStream, Stream, Streams};
use tollgate::window::plan::{Measure, Plan, WindowRead};
use tollgate::window::store::WindowStore;

const SCHEDULES: usize = 10_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn layout(keys_max: usize) -> Arc<Layout> {
    let entity = |name: &str| EntityLayout {
        name: name.into(),
        keys_max,
        ttl: HOUR,
        longest_window: HOUR,
        attributes: Box::default(),
        streams: Streams::ALL,
    };
    Arc::new(Layout { entities: Box::new([entity("card"), entity("merchant")]) })
}

/// Attempts of the card, attempts of the merchant, approved ones of the merchant.
fn plan(layout: &Layout) -> Plan {
    let read =
        |entity, stream, output| WindowRead { entity, stream, measure: Measure::Count, window: HOUR, output };
    let reads = [read(0, Stream::Attempts, 0), read(1, Stream::Attempts, 1), read(1, Stream::Approved, 2)];
    Plan::compile(layout, &reads, &[], 3).unwrap()
}

/// An attempt with a card of its own at the one merchant.
fn attempt(card: u32) -> Attempt {
    let hasher = KeyHasher::new([1; 16]);
    Attempt {
        at: EventTime::from_unix_millis(1_000_000 + i64::from(card)).unwrap(),
        amount: Money::from_minor(100, Currency::parse("EUR").unwrap()).unwrap(),
        location: None,
        keys: [Some(hasher.key(0, [card.to_le_bytes()])), Some(hasher.key(1, ["m"]))].into_iter().collect(),
        attributes: [].into_iter().collect(),
    }
}

fn observe(store: &WindowStore, plan: &Plan, attempt: &Attempt, presence: Presence) -> [f64; 3] {
    let mut out = [f64::NAN; 3];
    store.observe(plan, attempt, presence, &mut out);
    out
}

/// What `attempt(99)` sees in a dry run.
fn seen(store: &WindowStore, plan: &Plan) -> [u64; 3] {
    observe(store, plan, &attempt(99), Presence::Virtual).map(|count| count as u64)
}

#[test]
fn parallel_attempts_each_see_another_count_and_none_is_lost() {
    shuttle::check_random(
        || {
            let layout = layout(10);
            let plan = Arc::new(plan(&layout));
            let store = Arc::new(WindowStore::new(layout));
            let threads: Vec<_> = (0..3)
                .map(|thread| {
                    let (store, plan) = (Arc::clone(&store), Arc::clone(&plan));
                    thread::spawn(move || {
                        [0, 1].map(|number| {
                            let attempt = attempt(10 * thread + number);
                            // All at one time, so that each sees all that came before it.
                            let attempt = Attempt { at: self::attempt(50).at, ..attempt };
                            store.prefetch(&attempt);
                            let [card, merchant, _] = observe(&store, &plan, &attempt, Presence::Add);
                            store.record_outcome(OutcomeStream::Approved, &attempt);
                            assert!((card - 1.0).abs() < f64::EPSILON);
                            merchant as u64
                        })
                    })
                })
                .collect();
            let mut counts: Vec<u64> =
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            counts.sort_unstable();
            assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
            assert_eq!(seen(&store, &plan), [1, 7, 6]);
        },
        SCHEDULES,
    );
}

#[test]
fn a_snapshot_is_one_moment_of_each_key_and_never_stops_anybody() {
    shuttle::check_random(
        || {
            let layout = layout(4);
            let plan = Arc::new(plan(&layout));
            let store = Arc::new(WindowStore::new(Arc::clone(&layout)));
            store.add(&attempt(1));
            store.record_outcome(OutcomeStream::Approved, &attempt(1));
            // The moment: nothing else is under way.
            let before = seen(&store, &plan);
            let stats = store.stats();
            let writing = Arc::clone(&store);
            let begun = Arc::new(shuttle::sync::Barrier::new(3));
            let writer = {
                let begun = Arc::clone(&begun);
                thread::spawn(move || {
                    let snapshot = writing.begin_snapshot().unwrap();
                    begun.wait();
                    let mut bytes = Vec::new();
                    snapshot.write(&mut bytes, &mut |_| {}).unwrap();
                    bytes
                })
            };
            let others: Vec<_> = (0..2)
                .map(|thread| {
                    let (store, begun) = (Arc::clone(&store), Arc::clone(&begun));
                    thread::spawn(move || {
                        begun.wait();
                        // New keys, known ones, and with room for four cards some that go for others.
                        for card in [10 * thread + 2, 10 * thread + 3, 1] {
                            store.add(&attempt(card));
                            store.record_outcome(OutcomeStream::Approved, &attempt(card));
                        }
                    })
                })
                .collect();
            let bytes = writer.join().unwrap();
            others.into_iter().for_each(|thread| thread.join().unwrap());
            let (restored, _) = WindowStore::restore(layout, &mut bytes.as_slice()).unwrap();
            assert_eq!((seen(&restored, &plan), restored.stats()), (before, stats));
            assert_eq!(seen(&store, &plan), [1, 8, 7]);
            assert!(store.stats().iter().all(|entity| entity.keys <= 4), "{:?}", store.stats());
        },
        SCHEDULES,
    );
}
