//! What one event costs a store of windows: every feature of the shipped catalogue read over six entities, and the event added.
//!
//! `cargo bench --bench windows` fills each contestant with thirty days of activity, 1 M keys for Tollgate's own store and the
//! two plain ones in process, on one and on two threads, with uniform and with Zipf keys. `TOLLGATE_BENCH_KEYS=10000000` asks
//! for 10 M keys. What does not fit beside it is filled with less, and its name says how many users it holds: that favours it.
//!
//! - `tollgate`: the window store.
//! - `mutex_hashmap_vecdeque`: one mutex around a map of deques for each entity, scanned newest first.
//! - `dashmap_vecdeque`: the same deques in a `DashMap`.
//! - `redis_sorted_sets_lua`: one `EVALSHA` over loopback TCP for each event, sorted sets, all numbers computed in Lua.
//! - `redis_ping`: a round trip to Redis and nothing else.
//! - `nobody`: the loop and its clock.
//!
//! All are first shown to answer the same numbers. Criterion measures one contestant after the other; `windows_table`
//! interleaves them and prints ratios, memory and stalls.

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use crate::support::check;
use crate::support::contestant::{Contestant, Nobody};
use crate::support::fill::fill;
use crate::support::measure::pass;
use crate::support::reads::Reads;
use crate::support::roster::{Candidate, Kind};
use crate::support::workload::{Distribution, Generator, KEYS_PER_HUNDRED_USERS, Workload, go_on_from};

#[path = "windows/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS_DEFAULT: u32 = 1_000_000;
const KEYS_OF_TEST: u32 = 5_000;
/// Most users that a plain store in process is filled with: 1 M keys.
const PLAIN_USERS_MAX: u32 = 200_000;
/// Most users that Redis is filled with: some 200,000 keys and 400,000 attempts.
const REDIS_USERS_MAX: u32 = 40_000;
/// Events that are made ahead and then timed at once.
const BATCH: u64 = 4_096;

fn keys_wanted() -> u32 {
    // As a test, which is how cargo runs it without `--bench`, it only has to work.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let text = std::env::var("TOLLGATE_BENCH_KEYS").unwrap_or_default().replace('_', "");
    match text.as_str() {
        "" if is_bench => KEYS_DEFAULT,
        "" => KEYS_OF_TEST,
        keys => keys.parse().expect("TOLLGATE_BENCH_KEYS is a number of keys"),
    }
}

/// How long `iterations` events a thread take.
fn timed(
    contestant: &dyn Contestant,
    generators: &mut [Generator],
    outputs: usize,
    iterations: u64,
) -> Duration {
    let (mut left, mut taken) = (iterations, Duration::ZERO);
    while left > 0 {
        let count = left.min(BATCH);
        let batches: Vec<_> = generators.iter_mut().map(|generator| generator.take(count as usize)).collect();
        let pass = pass(contestant, &batches, outputs, Duration::MAX);
        taken += pass.busy / u32::try_from(batches.len()).expect("few threads");
        left -= count;
    }
    taken
}

/// How many users a contestant is filled with, of those that were asked for.
fn users_of(kind: Kind, users: u32) -> u32 {
    match kind {
        Kind::Tollgate => users,
        Kind::Plain => users.min(PLAIN_USERS_MAX),
        Kind::Redis => users.min(REDIS_USERS_MAX),
        Kind::Floor => 0,
    }
}

fn windows(criterion: &mut Criterion) {
    let users = (keys_wanted() / KEYS_PER_HUNDRED_USERS).max(1) * 100;
    let reads = Reads::of_shipped_catalogue(users);
    let rivals: Vec<_> = Candidate::ALL.into_iter().filter(Candidate::is_rival).collect();
    check::same_numbers(&reads, &rivals.iter().map(|rival| (rival.make)(&reads)).collect::<Vec<_>>());
    for distribution in Distribution::ALL {
        for candidate in Candidate::ALL {
            one(criterion, &reads, distribution, candidate, users_of(candidate.kind, users));
        }
    }
}

/// One contestant with keys of one distribution, on one and on two threads.
fn one(
    criterion: &mut Criterion,
    reads: &Arc<Reads>,
    distribution: Distribution,
    candidate: Candidate,
    users: u32,
) {
    let workload =
        Arc::new(Workload::new(&reads.layout, if users > 0 { users } else { Nobody::USERS }, distribution));
    // Filled when it is first asked for: a filter on the command line may leave it out.
    let filled = OnceCell::new();
    // Those that come on two threads are later than those on one.
    let number_next = Cell::new(workload.attempts);
    let fill_it = || {
        let contestant = (candidate.make)(reads);
        if users > 0 {
            fill(&*contestant, &workload);
        }
        contestant
    };
    for threads in [1, 2] {
        let mut group =
            criterion.benchmark_group(format!("windows/{}/{threads}_threads", distribution.name()));
        group.throughput(Throughput::Elements(threads as u64)).sample_size(20);
        let generator = |thread| Generator::after_fill(&workload, threads as u64, thread, threads);
        let mut generators: Vec<_> = (0..threads).map(generator).collect();
        go_on_from(&mut generators, number_next.get());
        group.bench_function(BenchmarkId::new(candidate.name, format!("{users}_users")), |bencher| {
            let contestant = filled.get_or_init(fill_it).as_ref();
            bencher.iter_custom(|iterations| timed(contestant, &mut generators, reads.outputs, iterations));
        });
        group.finish();
        number_next.set(generators.iter().map(Generator::number).max().unwrap_or(0));
    }
}

criterion_group!(benches, windows);
criterion_main!(benches);
