//! What more keys cost: Tollgate's store with the users that were asked for, beside one with a million.

use std::sync::Arc;

use super::field::{Entrant, rounds};
use super::options::Options;
use crate::report::Section;
use crate::support::contestant::Tollgate;
use crate::support::measure::Spread;
use crate::support::reads::Reads;
use crate::support::workload::Distribution;

/// What every other size is compared with.
pub(crate) const REFERENCE_USERS: u32 = 1_000_000;
const SEED: u64 = 64;

/// One row for each of the two sizes; ratios are taken within each round.
pub(crate) fn section(
    options: &Options,
    reads: &Arc<Reads>,
    large: &Entrant,
    distribution: Distribution,
) -> Section {
    let columns = &["keys_drawn", "users", "p50_us", "p99_us", "p50_ratio", "ratio_least", "ratio_most"];
    let title = "Tollgate's store by number of users, interleaved on one thread";
    let mut section = Section::new("size", title.to_owned(), columns);
    let reference =
        Entrant::filled(reads, (REFERENCE_USERS, options.attempts_per_user), distribution, |reads| {
            Box::new(Tollgate::new(reads))
        });
    let both = [&reference, large];
    let generators = both.iter().map(|entrant| entrant.generators(SEED, 1)).collect();
    let passes = rounds(options, reads, &both, generators);
    for (entrant, of_entrant) in both.iter().zip(&passes) {
        let quantile = |quantile| Spread::of(of_entrant.iter().map(|pass| pass.quantile_us(quantile))).median;
        let pairs = passes[0].iter().zip(of_entrant);
        let ratio =
            Spread::of(pairs.map(|(reference, pass)| pass.quantile_us(0.5) / reference.quantile_us(0.5)));
        section.row([
            distribution.name().into(),
            entrant.workload.users.into(),
            quantile(0.5).into(),
            quantile(0.99).into(),
            ratio.median.into(),
            ratio.least.into(),
            ratio.most.into(),
        ]);
    }
    section
}
