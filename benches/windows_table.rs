//! The window store beside the others, in one table: time of an event, memory of a key, stalls, hot keys, more keys,
//! and what Tollgate's store alone has: snapshots that are written while it works, and numbers of busy keys that are close to the truth.
//!
//! `cargo bench --bench windows_table -- --users 1000000` (`--help` says what else). Each contestant of `benches/windows.rs` is filled
//! with thirty days of activity and then measured in interleaved rounds, so that whatever else the machine does strikes all alike.
//! Medians over rounds are printed with the least and the most. What would not fit in memory or time is filled with fewer users than
//! Tollgate's store, which favours it; the table says how many. `nobody` does nothing: what the loop and its clock cost.

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use std::process::ExitCode;
use std::sync::Arc;

use crate::report::{Section, print};
use crate::support::check;
use crate::support::contestant::Tollgate;
use crate::support::reads::Reads;
use crate::support::roster::{Candidate, Kind};
use crate::support::workload::Distribution;
use crate::table::options::Options;
use crate::table::{accuracy, field, growth, hottest, latency, memory, size, snapshot};

#[allow(dead_code, reason = "the other tables use the rest")]
#[path = "table/report.rs"]
mod report;
#[path = "windows/mod.rs"]
mod support;
#[path = "windows_table/mod.rs"]
mod table;

#[global_allocator]
static ALLOCATOR: table::counting::Counting = table::counting::Counting;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let reads = Reads::of_shipped_catalogue(options.users);
    check_numbers(&options, &reads);
    let mut sections = by_distribution(&options, &reads);
    // A section that needs stores of its own stands here; one that works on the filled stores, in `by_distribution`.
    if options.has_section("growth") {
        sections.push(growth::section(&options, &reads));
    }
    if options.has_section("accuracy") {
        sections.push(accuracy::section(&options, &reads));
    }
    print(&sections, options.format);
    ExitCode::SUCCESS
}

fn check_numbers(options: &Options, reads: &Arc<Reads>) {
    let rivals = Candidate::ALL.into_iter().filter(|one| one.is_rival() && options.has(one));
    let compared = check::same_numbers(reads, &rivals.map(|rival| (rival.make)(reads)).collect::<Vec<_>>());
    eprintln!("compared {compared} numbers of the others with Tollgate's: the same");
}

/// The sections that work on filled stores: the stores of one distribution are gone before those of the next are filled.
fn by_distribution(options: &Options, reads: &Arc<Reads>) -> Vec<Section> {
    let (mut memories, mut latencies, mut rest) = (vec![], vec![], vec![]);
    for distribution in Distribution::ALL {
        let is_asked = |name: &str| options.has_section(name);
        let is_uniform = distribution == Distribution::Uniform;
        let has_size = is_uniform && is_asked("size") && options.users > size::REFERENCE_USERS;
        let has_snapshot = is_uniform && is_asked("snapshot");
        let has_hottest = !is_uniform && is_asked("hottest");
        let needs_all = is_asked("memory") || is_asked("latency") || has_hottest;
        if !needs_all && !has_size && !has_snapshot {
            continue;
        }
        let entrants =
            field::entrants(options, reads, distribution, |kind| needs_all || kind == Kind::Tollgate);
        if is_asked("memory") {
            memories.push(memory::section(&entrants, distribution));
        }
        if is_asked("latency") {
            latencies.push(latency::section(options, reads, &entrants, distribution));
        }
        if has_hottest {
            rest.push(hottest::section(options, reads, &entrants));
        }
        let own = entrants.into_iter().find(|entrant| entrant.contestant.name() == Tollgate::NAME);
        if let Some(own) = own.as_ref().filter(|_| has_size) {
            rest.push(size::section(options, reads, own, distribution));
        }
        if let Some(own) = own.as_ref().filter(|_| has_snapshot) {
            rest.extend(snapshot::sections(options, reads, own));
        }
    }
    [latencies, memories].into_iter().filter_map(joined).chain(rest).collect()
}

/// Sections of one kind as one.
fn joined(sections: Vec<Section>) -> Option<Section> {
    sections.into_iter().reduce(|mut all, section| {
        all.append(section);
        all
    })
}
