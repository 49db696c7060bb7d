//! What the busiest merchant costs: with Zipf keys, one attempt in fourteen is at it.

use super::field::{Entrant, rounds};
use super::options::Options;
use crate::report::Section;
use crate::support::measure::Spread;
use crate::support::reads::Reads;
use crate::support::workload::Generator;

/// Of the generators of this section, apart from those of `latency`.
const SEED: u64 = 16;

/// One row for each store and number of threads: events at that merchant alone, beside events of all kinds.
pub(crate) fn section(options: &Options, reads: &Reads, entrants: &[Entrant]) -> Section {
    let columns = &[
        "threads",
        "contestant",
        "users",
        "all_p50_us",
        "hottest_p50_us",
        "hottest_p99_us",
        "hottest_p99_to_all_p50",
        "ratio_least",
        "ratio_most",
    ];
    let title = "events at the busiest merchant alone, against the median of all events (Zipf keys)";
    let mut section = Section::new("hottest", title.to_owned(), columns);
    let stores: Vec<&Entrant> = entrants.iter().filter(|entrant| entrant.is_store()).collect();
    for threads in [1, 2] {
        eprintln!("timing the busiest merchant on {threads} threads");
        let all = stores.iter().map(|entrant| entrant.generators(SEED + threads as u64, threads)).collect();
        let hottest = stores.iter().map(|entrant| {
            let generators = entrant.generators(2 * SEED + threads as u64, threads);
            generators.into_iter().map(Generator::at_hottest_merchant).collect()
        });
        // Twice the same stores, as two entrants: one with all events, one with the busiest merchant's.
        let doubled: Vec<&Entrant> = stores.iter().chain(&stores).copied().collect();
        let generators: Vec<Vec<Generator>> = Vec::into_iter(all).chain(hottest).collect();
        let passes = rounds(options, reads, &doubled, generators);
        let (all, hottest) = passes.split_at(stores.len());
        for ((entrant, all), hottest) in stores.iter().zip(all).zip(hottest) {
            let hottest_us =
                |quantile| Spread::of(hottest.iter().map(|pass| pass.quantile_us(quantile))).median;
            let pairs = all.iter().zip(hottest);
            let ratio =
                Spread::of(pairs.map(|(all, hottest)| hottest.quantile_us(0.99) / all.quantile_us(0.5)));
            section.row([
                threads.into(),
                entrant.contestant.name().into(),
                entrant.workload.users.into(),
                Spread::of(all.iter().map(|pass| pass.quantile_us(0.5))).median.into(),
                hottest_us(0.5).into(),
                hottest_us(0.99).into(),
                ratio.median.into(),
                ratio.least.into(),
                ratio.most.into(),
            ]);
        }
    }
    section
}
