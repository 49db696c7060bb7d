//! 100, 1,000 and 10,000 rules of five conditions over 160 features, beside wirefilter, zen-expression and cel-rust, in one table.
//!
//! `cargo bench --bench rules_table --features peers` (`--help` says more). Before anything is measured, all must say the same of every
//! payment. `tollgate one by one` asks the same compiled conditions one after the other: what the index is worth. The section `cold` asks
//! each time after other data has been through the caches, as in a service that has more to do than to ask rules, and `load` is what an
//! analyst waits for.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::process::ExitCode;

use crate::contestants::{Contestant, contestants, loaders};
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::turns::{Turn, Turns, print};
use crate::workload::{Kind, PAYMENTS, Payment, payments, rules};

#[path = "rules/contestants.rs"]
mod contestants;
#[cfg(feature = "peers")]
#[path = "rules/peers.rs"]
mod peers;
#[allow(dead_code, reason = "the other tables use the rest")]
#[path = "table/mod.rs"]
mod table;
#[path = "rules/workload.rs"]
mod workload;

/// How many rules, as a bench and as a test, which only has to work.
const COUNTS: ([usize; 3], [usize; 1]) = ([100, 1_000, 10_000], [100]);

const HELP: &str = "\
cargo bench --bench rules_table [--features peers] -- [OPTIONS]

  --rounds N         rounds in which each is measured once, at least 7 [7]
  --pass-ms N        length of one pass, in milliseconds [100]
  --json             one JSON document in place of the table; --markdown for a page

The feature peers adds wirefilter, zen-expression and cel-rust.";

fn main() -> ExitCode {
    let options = match Options::parse(HELP, &[]) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let payments = payments();
    let counts = if options.is_bench { &COUNTS.0[..] } else { &COUNTS.1[..] };
    let mut sections = Vec::new();
    for kind in Kind::ALL {
        for count in counts {
            let rules = rules(kind, *count);
            let mut all = contestants(&rules, &payments);
            let hits = check(&mut all, &payments);
            let title = format!("microseconds a payment, {count} rules, of which {hits:.1} match");
            sections.push(section(options.turns, kind.name(), title, all));
        }
    }
    let count = if options.is_bench { 1_000 } else { 100 };
    let rules = rules(Kind::Typical, count);
    let title = format!("microseconds a payment, {count} typical rules, other data in the caches");
    let cold = Turns { is_cold: true, ..options.turns };
    sections.push(section(cold, "cold", title, contestants(&rules, &payments)));
    let title = format!("microseconds to read, check and compile {count} typical rules");
    sections.push(section(options.turns, "load", title, loaders(&rules)));
    print(&sections, options.format);
    ExitCode::SUCCESS
}

/// Everybody says the same; how many rules match a payment, on average.
fn check(all: &mut [Contestant<'_>], payments: &[Payment]) -> f64 {
    let (first, others) = all.split_first_mut().unwrap();
    let mut hits = 0;
    for payment in 0..payments.len() {
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        (first.run)(payment, &mut expected);
        for other in others.iter_mut() {
            found.clear();
            (other.run)(payment, &mut found);
            assert_eq!(found, expected, "{} and {}, payment {payment}", other.name, first.name);
        }
        hits += expected.len();
    }
    hits as f64 / payments.len() as f64
}

fn section(turns: Turns, name: &'static str, title: String, all: Vec<Contestant<'_>>) -> Section {
    turns.section(name, title, all.into_iter().map(turn).collect(), PAYMENTS)
}

fn turn(contestant: Contestant<'_>) -> Turn<'_> {
    let Contestant { name, mut run } = contestant;
    let mut matching = Vec::new();
    let ask = move |payment: usize| {
        matching.clear();
        run(payment, &mut matching);
        black_box(&matching);
    };
    (name.to_owned(), Box::new(ask))
}
