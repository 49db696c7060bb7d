//! A decision without HTTP, stage by stage and whole, by Criterion: the shipped model and rules, windows that have seen 50,000 payments.
//!
//! `cargo bench --bench decision`; `-- attributions` measures one of them. What can be measured without attributions is measured so as
//! well: their time, by the laps of `judge`, is taken out.

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]
#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tollgate::engine::judge::Stage;

use crate::stages::inputs::{Inputs, Size};
use crate::stages::work::{Lap, OPERATIONS, Operation, Work};

#[allow(dead_code, reason = "other programs use the rest")]
mod stages;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decided payments that take turns.
const CASES: usize = 512;

/// How long attributions took within one judgement.
#[derive(Default)]
struct Explained {
    begun: Option<Instant>,
    took: Duration,
}

impl Explained {
    fn lap(&mut self, stage: Stage) {
        match stage {
            Stage::Model => self.begun = Some(Instant::now()),
            Stage::Explain => self.took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed()),
            Stage::Rules => {}
        }
    }
}

/// An operation that says itself how long it took, and, where it can be told, the same without attributions.
fn timed(
    group: &mut BenchmarkGroup<'_, WallTime>,
    operation: &Operation,
    mut once: impl FnMut(Lap<'_>) -> Duration,
) {
    group.bench_function(operation.name, |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| once(&mut |_| {})).sum());
    });
    if !operation.has_attributions {
        return;
    }
    group.bench_function(format!("{} without attributions", operation.name), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut without = || {
                let mut explained = Explained::default();
                let took = once(&mut |stage| explained.lap(stage));
                took.saturating_sub(explained.took)
            };
            (0..iterations).map(|_| without()).sum()
        });
    });
}

fn decisions(criterion: &mut Criterion) {
    let inputs = Inputs::new(Size::LARGE);
    let cases = inputs.cases(CASES);
    let mut group = criterion.benchmark_group("decision");
    let mut cases = cases.iter().cycle();
    let mut next = || cases.next().expect("cases");
    for operation in &OPERATIONS {
        match operation.work {
            Work::Case(run) => {
                group.bench_function(operation.name, |bencher| bencher.iter(|| run(&inputs, next())));
            }
            Work::Windows(run) => timed(&mut group, operation, |lap| {
                let case = next();
                let windows = case.windows.clone();
                let begin = Instant::now();
                run(&inputs, case, windows, lap);
                begin.elapsed()
            }),
            Work::Payment(run) => timed(&mut group, operation, |lap| {
                let payment = inputs.payment();
                let begin = Instant::now();
                let (counted, outcome) = run(&inputs, &payment, lap);
                let took = begin.elapsed();
                inputs.state.record_outcome(&counted, outcome);
                took
            }),
        }
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
