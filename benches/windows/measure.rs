//! Timing: one pass of one contestant over a batch of events, and what is taken from several of them.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tollgate::domain::time::{Clock, SystemClock};

use super::contestant::Contestant;
use super::fill::settle;
use super::workload::Event;

/// The first tenth of a pass finds another contestant's memory in the caches: it is not counted.
const WARM_UP_PART: usize = 10;

/// What one pass showed.
pub(crate) struct Pass {
    /// How long each event took, in nanoseconds, in order of length.
    nanos: Vec<u64>,
    /// What all events took together, those of the warm-up and of all threads included.
    pub(crate) busy: Duration,
    /// Events over the time of the slowest thread, the loop and its clock included.
    pub(crate) events_per_second: f64,
    /// The number after those of all events.
    pub(crate) number_next: u64,
}

impl Pass {
    /// How many events were timed.
    pub(crate) fn events(&self) -> usize {
        self.nanos.len()
    }

    /// A quantile of the time of one event, in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        quantile_us(&self.nanos, quantile)
    }
}

/// A quantile, in microseconds, of lengths of time in nanoseconds that lie in order.
pub(crate) fn quantile_us(nanos: &[u64], quantile: f64) -> f64 {
    let position = (nanos.len() as f64 * quantile) as usize;
    let nanos = nanos.get(position.min(nanos.len().saturating_sub(1)));
    nanos.map_or(f64::NAN, |&nanos| nanos as f64 / 1_000.0)
}

/// What one thread of a pass did.
struct Lane {
    nanos: Vec<u64>,
    began: Instant,
    ended: Instant,
    number_next: u64,
}

/// Reads and adds the events of each batch in a thread of its own, each event by the clock, for at most `time_max`. How they
/// ended is recorded afterwards, outside the clock.
pub(crate) fn pass(
    contestant: &dyn Contestant,
    batches: &[Vec<Event>],
    outputs: usize,
    time_max: Duration,
) -> Pass {
    let start = Barrier::new(batches.len());
    let lanes: Vec<Lane> = std::thread::scope(|scope| {
        let threads: Vec<_> = batches
            .iter()
            .map(|batch| scope.spawn(|| lane(contestant, batch, outputs, time_max, &start)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a pass that ends")).collect()
    });
    let events: usize = lanes.iter().map(|lane| lane.nanos.len()).sum();
    let began = lanes.iter().map(|lane| lane.began).min();
    let ended = lanes.iter().map(|lane| lane.ended).max();
    let taken = began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended - began);
    let warm = lanes.iter().flat_map(|lane| &lane.nanos[lane.nanos.len() / WARM_UP_PART..]);
    let mut nanos: Vec<u64> = warm.copied().collect();
    nanos.sort_unstable();
    let busy = Duration::from_nanos(lanes.iter().flat_map(|lane| &lane.nanos).sum());
    let number_next = lanes.iter().map(|lane| lane.number_next).max().unwrap_or(0);
    Pass { nanos, busy, events_per_second: events as f64 / taken.as_secs_f64(), number_next }
}

fn lane(
    contestant: &dyn Contestant,
    batch: &[Event],
    outputs: usize,
    time_max: Duration,
    start: &Barrier,
) -> Lane {
    let mut worker = contestant.worker();
    let mut out = vec![f64::NAN; outputs];
    let mut nanos = Vec::with_capacity(batch.len());
    start.wait();
    let began = SystemClock.instant();
    let mut ended = began;
    for event in batch {
        // A service has just made the attempt from a request: it is in the cache.
        let event = event.clone();
        let from = SystemClock.instant();
        worker.observe(black_box(&event), &mut out);
        ended = SystemClock.instant();
        black_box(&mut out);
        nanos.push(nanos_of(ended - from));
        if ended - began >= time_max {
            break;
        }
    }
    let done = &batch[..nanos.len()];
    done.iter().for_each(|event| settle(&mut *worker, event));
    worker.flush();
    let number_next = done.last().map_or(0, |event| event.number + 1);
    Lane { nanos, began, ended, number_next }
}

/// Whole nanoseconds.
pub(crate) fn nanos_of(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The middle of several numbers, and how far they lie apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of numbers in any order; missing of none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_unstable_by(f64::total_cmp);
        let at = |position: usize| numbers.get(position).copied().unwrap_or(f64::NAN);
        let last = numbers.len().saturating_sub(1);
        // Of an even number, the upper one of the two in the middle.
        Self { least: at(0), median: at(numbers.len() / 2), most: at(last) }
    }
}
