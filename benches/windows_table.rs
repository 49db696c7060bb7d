//! The window store beside the others, in one table: time of an event, memory of a key, stalls, hot keys, more keys.
//!
//! `cargo bench --bench windows_table -- --users 1000000` (`--help` says what else). Each contestant of `benches/windows.rs` is filled
//! with thirty days of activity and then measured in interleaved rounds, so that whatever else the machine does strikes all alike.
//! Medians over rounds are printed with the least and the most. What would not fit in memory or time is filled with fewer users than
//! Tollgate's store, which favours it; the table says how many. `nobody` does nothing: what the loop and its clock cost.

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use std::process::ExitCode;
use std::sync::Arc;

use crate::support::check;
use crate::support::contestant::Tollgate;
use crate::support::reads::Reads;
use crate::support::roster::Candidate;
use crate::support::workload::Distribution;
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::{field, growth, hottest, latency, memory, size};

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
    if options.json {
        let sections: Vec<_> = sections.iter().map(Section::json).collect();
        println!("{}", serde_json::Value::from(sections));
    } else {
        sections.iter().for_each(|section| println!("{}", section.text()));
    }
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
    let is_asked = |names: &[&str]| names.iter().any(|name| options.has_section(name));
    if !is_asked(&["memory", "latency", "hottest", "size"]) {
        return vec![];
    }
    for distribution in Distribution::ALL {
        let entrants = field::entrants(options, reads, distribution);
        if options.has_section("memory") {
            memories.push(memory::section(&entrants, distribution));
        }
        if options.has_section("latency") {
            latencies.push(latency::section(options, reads, &entrants, distribution));
        }
        if options.has_section("hottest") && distribution == Distribution::Zipf {
            rest.push(hottest::section(options, reads, &entrants));
        }
        let large = entrants.iter().find(|entrant| entrant.contestant.name() == Tollgate::NAME);
        if let Some(large) =
            large.filter(|_| options.has_section("size") && options.users > size::REFERENCE_USERS)
            && distribution == Distribution::Uniform
        {
            rest.push(size::section(options, reads, large, distribution));
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
