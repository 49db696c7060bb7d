//! Who takes part, filled and ready, and the rounds in which each has its turn.

use std::cell::Cell;
use std::sync::Arc;

use super::counting::{counted, resident_bytes};
use super::options::Options;
use crate::support::contestant::{Contestant, Nobody};
use crate::support::fill::fill;
use crate::support::measure::{Pass, pass};
use crate::support::reads::Reads;
use crate::support::roster::{Candidate, Kind};
use crate::support::workload::{Distribution, Generator, Workload, go_on_from};

/// One contestant after its fill.
pub(crate) struct Entrant {
    pub(crate) contestant: Box<dyn Contestant>,
    pub(crate) workload: Arc<Workload>,
    /// Events that the fill recorded at one entity.
    pub(crate) recorded: u64,
    /// By how much the live heap has grown.
    pub(crate) heap_bytes: i64,
    /// By how much the memory of the process has grown, where that is known.
    pub(crate) resident_bytes: Option<i64>,
    /// The number of the event that comes next.
    pub(crate) number_next: Cell<u64>,
}

impl Entrant {
    /// Fills a contestant with thirty days of that many users.
    pub(crate) fn filled(
        reads: &Arc<Reads>,
        (users, attempts_per_user): (u32, u64),
        distribution: Distribution,
        make: fn(&Arc<Reads>) -> Box<dyn Contestant>,
    ) -> Self {
        let users_drawn = if users > 0 { users } else { Nobody::USERS };
        let workload = Workload::new(&reads.layout, users_drawn, distribution);
        let workload = Arc::new(workload.with_attempts_per_user(attempts_per_user));
        let resident_before = resident_bytes();
        let ((contestant, recorded), heap_bytes) = counted(|| {
            let contestant = make(reads);
            eprintln!("filling {} with {users} {} users", contestant.name(), distribution.name());
            let recorded = if users > 0 { fill(&*contestant, &workload) } else { 0 };
            (contestant, recorded)
        });
        let resident_bytes = resident_bytes().zip(resident_before).map(|(after, before)| after - before);
        let number_next = Cell::new(workload.attempts);
        Self { contestant, workload, recorded, heap_bytes, resident_bytes, number_next }
    }

    /// Whether it holds anything.
    pub(crate) fn is_store(&self) -> bool {
        self.recorded > 0
    }

    /// What comes after the fill, for each of several threads; before each pass, time has to go on from `number_next`.
    pub(crate) fn generators(&self, seed: u64, threads: usize) -> Vec<Generator> {
        (0..threads).map(|thread| Generator::after_fill(&self.workload, seed, thread, threads)).collect()
    }
}

/// All contestants that were asked for and are wanted, filled, Tollgate's store first.
pub(crate) fn entrants(
    options: &Options,
    reads: &Arc<Reads>,
    distribution: Distribution,
    is_wanted: impl Fn(Kind) -> bool,
) -> Vec<Entrant> {
    let filled = |candidate: Candidate| {
        let users = match candidate.kind {
            Kind::Tollgate => options.users,
            Kind::Plain => options.plain_users,
            Kind::Redis => options.redis_users,
            Kind::Floor => 0,
        };
        Entrant::filled(reads, (users, options.attempts_per_user), distribution, candidate.make)
    };
    let wanted = |candidate: &Candidate| options.has(candidate) && is_wanted(candidate.kind);
    Candidate::ALL.into_iter().filter(wanted).map(filled).collect()
}

/// Gives each entrant a pass in each round, a different one first each time; passes by entrant, then by round.
pub(crate) fn rounds(
    options: &Options,
    reads: &Reads,
    entrants: &[&Entrant],
    mut generators: Vec<Vec<Generator>>,
) -> Vec<Vec<Pass>> {
    let mut passes: Vec<Vec<Pass>> = entrants.iter().map(|_| vec![]).collect();
    for round in 0..options.rounds {
        for turn in 0..entrants.len() {
            let number = (round + turn) % entrants.len();
            let (entrant, generators) = (entrants[number], &mut generators[number]);
            go_on_from(generators, entrant.number_next.get());
            let batches: Vec<_> =
                generators.iter_mut().map(|generator| generator.take(options.events)).collect();
            let pass = pass(&*entrant.contestant, &batches, reads.outputs, options.pass_time_max);
            entrant.number_next.set(pass.number_next);
            passes[number].push(pass);
        }
    }
    passes
}
