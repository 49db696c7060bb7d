//! Writing Tollgate's store down while it works, reading it back, and adding what came after: how a service starts again.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tollgate::domain::time::{Clock, SystemClock};
use tollgate::window::event::Presence;
use tollgate::window::snapshot::SnapshotSize;
use tollgate::window::store::WindowStore;

use super::field::Entrant;
use super::options::Options;
use crate::report::Section;
use crate::support::contestant::{Contestant, Tollgate};
use crate::support::fill::settle;
use crate::support::measure::{Spread, nanos_of, quantile_us};
use crate::support::reads::Reads;
use crate::support::workload::{Event, Generator, go_on_from};

/// Snapshots that are written with nobody else at work, and as many with traffic.
const ROUNDS: usize = 5;
const BUFFER_BYTES: usize = 1 << 20;
/// Of the generators of this section, apart from those of others.
const SEED: u64 = 96;
/// Events of which every number must be the same after as before.
const READS_COMPARED: usize = 500;
/// Events that are made at a time while a snapshot is written.
const BATCH: usize = 512;

/// What one snapshot took.
struct Written {
    size: SnapshotSize,
    writing: Duration,
    syncing: Duration,
}

/// What the events beside one snapshot took, or as many without one.
struct Traffic {
    /// In order of length.
    nanos: Vec<u64>,
}

/// Three parts: writing and reading, one event meanwhile, and replay.
pub(crate) fn sections(options: &Options, reads: &Arc<Reads>, own: &Entrant) -> Vec<Section> {
    let Some(store) = own.contestant.store() else { return vec![] };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("windows.snapshot");
    eprintln!("writing {} snapshots", 2 * ROUNDS);
    let (mut quiet, mut besides) = (vec![], vec![]);
    let (mut without, mut during) = (vec![], vec![]);
    let mut generators = own.generators(SEED, 1);
    let generator = &mut generators[0];
    go_on_from(std::slice::from_mut(generator), own.number_next.get());
    for _ in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        let (written, traffic) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let written = write(store, &file);
                is_over.store(true, Ordering::Release);
                written
            });
            let traffic = traffic(own, reads, generator, |_| is_over.load(Ordering::Acquire));
            (writer.join().expect("a snapshot that ends"), traffic)
        });
        let events = traffic.nanos.len();
        without.push(self::traffic(own, reads, generator, |done| done >= events));
        besides.push(written);
        during.push(traffic);
        // The last of these is the one that is read back: nothing has changed since.
        quiet.push(write(store, &file));
    }
    own.number_next.set(generator.number());
    let restored = restore(reads, store, &file, options.rounds.min(ROUNDS));
    compare(reads, store, &restored.0, own);
    let mut sections =
        vec![written_section(&quiet, &besides, &restored.1), traffic_section(&without, &during)];
    drop(directory);
    sections.push(replay_section(options, reads, own, restored.0));
    sections
}

fn write(store: &WindowStore, file: &Path) -> Written {
    // What was there is gone first, so that no old pages have to go to the disk.
    let _ = std::fs::remove_file(file);
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(file).expect("a new file"));
    let from = SystemClock.instant();
    let snapshot = store.begin_snapshot().expect("no other snapshot is being written");
    let size = snapshot.write(&mut out, &mut |_| {}).expect("the disk takes it");
    let out = out.into_inner().expect("the disk takes it");
    let written = SystemClock.instant();
    out.sync_all().expect("the disk takes it");
    Written { size, writing: written - from, syncing: SystemClock.instant() - written }
}

/// Reads and adds one event after the other until it is over, after so many events or for another reason.
fn traffic(
    own: &Entrant,
    reads: &Reads,
    generator: &mut Generator,
    is_over: impl Fn(usize) -> bool,
) -> Traffic {
    let mut worker = own.contestant.worker();
    let mut out = reads.missing();
    let mut nanos = vec![];
    while !is_over(nanos.len()) {
        let batch = generator.take(BATCH);
        for event in &batch {
            let event = event.clone();
            let from = SystemClock.instant();
            worker.observe(&event, &mut out);
            nanos.push(nanos_of(SystemClock.instant() - from));
        }
        batch.iter().for_each(|event| settle(&mut *worker, event));
    }
    nanos.sort_unstable();
    Traffic { nanos }
}

fn restore(reads: &Reads, store: &WindowStore, file: &Path, times: usize) -> (WindowStore, Vec<Duration>) {
    let mut spans = vec![];
    loop {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, File::open(file).expect("the snapshot"));
        let from = SystemClock.instant();
        let restored = WindowStore::restore(Arc::clone(&reads.layout), &mut input);
        let (restored, size) = restored.expect("a snapshot that can be read back");
        spans.push(SystemClock.instant() - from);
        assert_eq!(size.keys, store.stats().iter().map(|entity| entity.keys).sum::<u64>(), "keys");
        if spans.len() >= times {
            return (restored, spans);
        }
    }
}

/// Panics where the restored store says anything else than the one that was written.
fn compare(reads: &Reads, store: &WindowStore, restored: &WindowStore, own: &Entrant) {
    assert_eq!(store.stats(), restored.stats(), "the numbers of the restored store");
    let mut generators = own.generators(SEED + 1, 1);
    go_on_from(&mut generators, own.number_next.get());
    for event in generators[0].take(READS_COMPARED) {
        let numbers = |store: &WindowStore| {
            let mut out = reads.missing();
            store.observe(&reads.plan, &event.attempt, Presence::Virtual, &mut out);
            out.iter().map(|number| number.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(store), numbers(restored), "event {} of the restored store", event.number);
    }
}

fn written_section(quiet: &[Written], besides: &[Written], restored: &[Duration]) -> Section {
    let columns = &[
        "step",
        "keys",
        "bytes",
        "bytes_per_key",
        "seconds_least",
        "seconds",
        "seconds_most",
        "ns_per_key",
        "fsync_seconds",
    ];
    let title = format!("Tollgate's store to a file and back; medians of {ROUNDS}");
    let mut section = Section::new("snapshot", title, columns);
    let size = quiet.last().map(|written| written.size).unwrap_or_default();
    let seconds = |spans: &[Duration]| Spread::of(spans.iter().map(Duration::as_secs_f64));
    let writing = |written: &[Written]| -> Vec<Duration> { written.iter().map(|one| one.writing).collect() };
    let syncing = |written: &[Written]| -> Vec<Duration> { written.iter().map(|one| one.syncing).collect() };
    for (step, spans, synced) in [
        ("write", writing(quiet), syncing(quiet)),
        ("write_beside_traffic", writing(besides), syncing(besides)),
        ("restore", restored.to_vec(), vec![]),
    ] {
        let spread = seconds(&spans);
        section.row([
            step.into(),
            size.keys.into(),
            size.bytes.into(),
            (size.bytes as f64 / size.keys as f64).into(),
            spread.least.into(),
            spread.median.into(),
            spread.most.into(),
            (spread.median * 1e9 / size.keys as f64).into(),
            seconds(&synced).median.into(),
        ]);
    }
    section.note(format!(
        "the restored store has equal stats and answers the same bits for {READS_COMPARED} dry runs"
    ));
    section
}

fn traffic_section(without: &[Traffic], during: &[Traffic]) -> Section {
    let columns =
        &["snapshot", "p50_us", "p99_us", "p99_9_us", "p50_ratio", "p99_ratio", "p99_9_ratio", "events"];
    let title = format!(
        "one event on one thread while another writes a snapshot and syncs it, and without; medians of {ROUNDS}"
    );
    let mut section = Section::new("snapshot_latency", title, columns);
    const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
    for (name, traffic) in [("none", without), ("being_written", during)] {
        let [p50, p99, p99_9] = QUANTILES
            .map(|quantile| Spread::of(traffic.iter().map(|one| quantile_us(&one.nanos, quantile))).median);
        let [p50_ratio, p99_ratio, p99_9_ratio] = QUANTILES.map(|quantile| {
            let pairs = without.iter().zip(traffic);
            let ratio = |(a, b): (&Traffic, &Traffic)| {
                quantile_us(&b.nanos, quantile) / quantile_us(&a.nanos, quantile)
            };
            Spread::of(pairs.map(ratio)).median
        });
        section.row([
            name.into(),
            p50.into(),
            p99.into(),
            p99_9.into(),
            p50_ratio.into(),
            p99_ratio.into(),
            p99_9_ratio.into(),
            traffic.iter().map(|one| one.nanos.len()).sum::<usize>().into(),
        ]);
    }
    section
}

fn replay_section(options: &Options, reads: &Arc<Reads>, own: &Entrant, restored: WindowStore) -> Section {
    let columns =
        &["threads", "prefetch", "events_per_s_least", "events_per_s", "events_per_s_most", "events"];
    let title = format!(
        "events added to the restored store, none of them read; {} interleaved rounds",
        options.rounds
    );
    let mut section = Section::new("replay", title, columns);
    let contestant = Tollgate::with_store(reads, restored);
    for threads in [1, 2] {
        eprintln!("replaying on {threads} threads");
        let mut generators = own.generators(SEED + 1 + threads as u64, threads);
        go_on_from(&mut generators, own.number_next.get());
        let (mut rates, mut events) = ([vec![], vec![]], [0, 0]);
        for _ in 0..options.rounds {
            for way in [0, 1] {
                let batches: Vec<_> =
                    generators.iter_mut().map(|generator| generator.take(2 * options.events)).collect();
                rates[way].push(replay(&contestant, &batches, way == 1));
                events[way] += batches.iter().map(Vec::len).sum::<usize>();
            }
        }
        own.number_next.set(generators.iter().map(Generator::number).max().unwrap_or(0));
        for ((way, rates), events) in ["no", "yes"].into_iter().zip(rates).zip(events) {
            let rate = Spread::of(rates);
            section.row([
                threads.into(),
                way.into(),
                rate.least.into(),
                rate.median.into(),
                rate.most.into(),
                events.into(),
            ]);
        }
    }
    section
}

/// Events per second, by the time of the slowest thread.
fn replay(contestant: &Tollgate, batches: &[Vec<Event>], prefetches: bool) -> f64 {
    let start = Barrier::new(batches.len());
    let lane = |batch: &[Event]| -> (Instant, Instant) {
        let store = contestant.store().expect("Tollgate's contestant has its store");
        start.wait();
        let began = SystemClock.instant();
        for event in batch {
            if prefetches {
                store.prefetch(&event.attempt);
            }
            store.add(&event.attempt);
        }
        (began, SystemClock.instant())
    };
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let threads: Vec<_> = batches.iter().map(|batch| scope.spawn(|| lane(batch))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a replay that ends")).collect()
    });
    let began = spans.iter().map(|span| span.0).min();
    let ended = spans.iter().map(|span| span.1).max();
    let taken = began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended - began);
    batches.iter().map(Vec::len).sum::<usize>() as f64 / taken.as_secs_f64()
}
