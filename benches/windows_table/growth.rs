//! The longest that one insert lets its caller wait while a store grows from nothing: the first attempt of one user after the other.
//!
//! Waits for a processor are taken out, as far as the system tells of them. What the machine does besides, two others show:
//! `busy_wait` does nothing but let the time of an insert go by, `allocate_only` takes as much new memory as an insert may and writes to
//! it, so that its waits are the allocator's and the kernel's. A wait of the store's own comes in every run, so the least of the
//! longest is the figure to go by.

use std::sync::Arc;

use parking_lot::Mutex;
use tollgate::domain::time::{Clock, SystemClock};
use tollgate::window::layout::OutcomeStream;

use super::machine::MachineWaits;
use super::options::Options;
use crate::report::Section;
use crate::support::contestant::{Contestant, Tollgate, Worker};
use crate::support::measure::{Spread, nanos_of};
use crate::support::naive_stores::{DashMaps, Histories as _};
use crate::support::reads::Reads;
use crate::support::roster::{Candidate, Kind};
use crate::support::workload::{Distribution, Event, Generator, Label, Workload};

const RUNS: usize = 3;
/// Most users that are grown to: beyond, the maps to compare with would need more memory than a machine may have.
const USERS_MAX: u32 = 2_000_000;
/// The stall that the design allows, in nanoseconds.
const STALL_NANOS: u64 = 20_000;

/// How often it is asked what the machine took, besides after every stall.
const INSERTS_PER_LOOK: u32 = 64;

/// What one run showed.
struct Run {
    longest_us: f64,
    p99_99_us: f64,
    /// Inserts beyond `STALL_NANOS`, of a million.
    stalls_per_million: f64,
    keys: u64,
}

/// One row for each contestant; the runs are interleaved.
pub(crate) fn section(options: &Options, reads: &Arc<Reads>) -> Section {
    let columns = &[
        "contestant",
        "users",
        "keys",
        "longest_us_least",
        "longest_us",
        "longest_us_most",
        "p99_99_us",
        "over_20_us_per_million",
    ];
    let title = format!("one insert at all six entities while growing from empty; {RUNS} interleaved runs");
    let mut section = Section::new("growth", title, columns);
    let users = options.users.min(USERS_MAX);
    let names = [Tollgate::NAME, DashMaps::NAME];
    let asked = |candidate: &Candidate| names.contains(&candidate.name) && options.has(candidate);
    let busy_wait = Candidate { name: BusyWait::NAME, kind: Kind::Floor, make: |_| Box::new(BusyWait) };
    let allocate_only = Candidate {
        name: AllocateOnly::NAME,
        kind: Kind::Floor,
        make: |_| Box::new(AllocateOnly::default()),
    };
    let floors = [allocate_only, busy_wait];
    let candidates: Vec<_> = Candidate::ALL.into_iter().filter(asked).chain(floors).collect();
    let workload = Arc::new(Workload::new(&reads.layout, users, Distribution::Uniform));
    let mut runs: Vec<Vec<Run>> = candidates.iter().map(|_| vec![]).collect();
    for _ in 0..RUNS {
        for (candidate, runs) in candidates.iter().zip(&mut runs) {
            eprintln!("growing {} to {users} users", candidate.name);
            runs.push(grow(&*(candidate.make)(reads), &workload));
        }
    }
    for (candidate, runs) in candidates.iter().zip(&runs) {
        let longest = Spread::of(runs.iter().map(|run| run.longest_us));
        section.row([
            candidate.name.into(),
            users.into(),
            runs.last().map_or(0, |run| run.keys).into(),
            longest.least.into(),
            longest.median.into(),
            longest.most.into(),
            Spread::of(runs.iter().map(|run| run.p99_99_us)).median.into(),
            Spread::of(runs.iter().map(|run| run.stalls_per_million)).median.into(),
        ]);
    }
    section
}

fn grow(contestant: &dyn Contestant, workload: &Arc<Workload>) -> Run {
    let mut generator = Generator::of_fill(workload);
    let mut worker = contestant.worker();
    let mut nanos = Vec::with_capacity(workload.users as usize);
    let mut machine = MachineWaits::from_now();
    let mut until = SystemClock.instant();
    for user in 0..workload.users {
        let event = generator.of_user(user);
        let from = SystemClock.instant();
        // What the machine took outside the clock must not be taken out of what is inside.
        if user % INSERTS_PER_LOOK == 0 || nanos_of(from - until) > STALL_NANOS {
            machine.take();
        }
        let from = SystemClock.instant();
        worker.add(&event);
        until = SystemClock.instant();
        let taken = nanos_of(until - from);
        nanos.push(if taken > STALL_NANOS { taken.saturating_sub(machine.take()) } else { taken });
    }
    drop(worker);
    nanos.sort_unstable();
    let microseconds = |nanos: Option<&u64>| nanos.map_or(f64::NAN, |&nanos| nanos as f64 / 1_000.0);
    let stalls = nanos.len() - nanos.partition_point(|&nanos| nanos <= STALL_NANOS);
    Run {
        longest_us: microseconds(nanos.last()),
        p99_99_us: microseconds(nanos.get((nanos.len() as f64 * 0.999_9) as usize)),
        stalls_per_million: stalls as f64 * 1e6 / nanos.len() as f64,
        keys: contestant.keys(),
    }
}

/// Lets as much time go by as an insert takes.
struct BusyWait;

impl BusyWait {
    const NAME: &'static str = "busy_wait";
    const NANOS: u64 = 2_000;
}

impl Contestant for BusyWait {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(Self)
    }

    fn keys(&self) -> u64 {
        0
    }
}

impl Worker for BusyWait {
    fn observe(&mut self, event: &Event, _: &mut [f64]) {
        self.add(event);
    }

    fn add(&mut self, _: &Event) {
        let from = SystemClock.instant();
        while nanos_of(SystemClock.instant() - from) < Self::NANOS {}
    }

    fn record_outcome(&mut self, _: &Event, _: OutcomeStream) {}

    fn record_label(&mut self, _: &Label) {}
}

/// Takes new memory for six keys and keeps it.
#[derive(Default)]
struct AllocateOnly(Mutex<Vec<Vec<Memory>>>);

type Memory = Box<[u8; AllocateOnly::BYTES]>;

impl AllocateOnly {
    const NAME: &'static str = "allocate_only";
    /// What a new key takes, about.
    const BYTES: usize = 192;
    /// No list is ever moved.
    const LIST: usize = 4_096;
}

impl Contestant for AllocateOnly {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(self)
    }

    fn keys(&self) -> u64 {
        0
    }
}

impl Worker for &AllocateOnly {
    fn observe(&mut self, event: &Event, _: &mut [f64]) {
        self.add(event);
    }

    fn add(&mut self, event: &Event) {
        let mut lists = self.0.lock();
        for number in event.numbers {
            if lists.last().is_none_or(|list| list.len() == AllocateOnly::LIST) {
                lists.push(Vec::with_capacity(AllocateOnly::LIST));
            }
            if let Some(list) = lists.last_mut() {
                list.push(Box::new([number as u8; AllocateOnly::BYTES]));
            }
        }
    }

    fn record_outcome(&mut self, _: &Event, _: OutcomeStream) {}

    fn record_label(&mut self, _: &Label) {}
}
