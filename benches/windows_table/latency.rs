//! How long one event takes: every feature read over six entities, and the event added.

use super::field::{Entrant, rounds};
use super::options::Options;
use crate::report::Section;
use crate::support::contestant::Tollgate;
use crate::support::measure::{Pass, Spread};
use crate::support::reads::Reads;
use crate::support::workload::Distribution;

/// One row for each contestant and number of threads. Ratios are taken within each round.
pub(crate) fn section(
    options: &Options,
    reads: &Reads,
    entrants: &[Entrant],
    distribution: Distribution,
) -> Section {
    let columns = &[
        "keys_drawn",
        "threads",
        "contestant",
        "users",
        "p50_us",
        "p50_us_least",
        "p50_us_most",
        "p99_us",
        "p99_9_us",
        "events_per_s",
        "p50_ratio",
        "p50_ratio_least",
        "p50_ratio_most",
        "p99_ratio",
        "events",
    ];
    let title = format!(
        "one event: {} numbers read over six entities, then added; medians of {} interleaved rounds; ratios to tollgate",
        reads.count(),
        options.rounds,
    );
    let mut section = Section::new("latency", title, columns);
    let all: Vec<&Entrant> = entrants.iter().collect();
    for threads in [1, 2] {
        eprintln!("timing {} keys on {threads} threads", distribution.name());
        let generators = all.iter().map(|entrant| entrant.generators(threads as u64, threads)).collect();
        let passes = rounds(options, reads, &all, generators);
        let reference = all.iter().position(|entrant| entrant.contestant.name() == Tollgate::NAME);
        let reference = reference.map(|reference| &passes[reference]);
        for (entrant, passes) in all.iter().zip(&passes) {
            let quantile = |quantile| Spread::of(passes.iter().map(|pass| pass.quantile_us(quantile)));
            let (p50, p50_ratio) = (quantile(0.5), ratios(reference, passes, 0.5));
            section.row([
                distribution.name().into(),
                threads.into(),
                entrant.contestant.name().into(),
                if entrant.is_store() { entrant.workload.users } else { 0 }.into(),
                p50.median.into(),
                p50.least.into(),
                p50.most.into(),
                quantile(0.99).median.into(),
                quantile(0.999).median.into(),
                Spread::of(passes.iter().map(|pass| pass.events_per_second)).median.into(),
                p50_ratio.median.into(),
                p50_ratio.least.into(),
                p50_ratio.most.into(),
                ratios(reference, passes, 0.99).median.into(),
                passes.iter().map(Pass::events).sum::<usize>().into(),
            ]);
        }
    }
    section
}

fn ratios(reference: Option<&Vec<Pass>>, passes: &[Pass], quantile: f64) -> Spread {
    let pairs = reference.into_iter().flatten().zip(passes);
    Spread::of(pairs.map(|(reference, pass)| pass.quantile_us(quantile) / reference.quantile_us(quantile)))
}
