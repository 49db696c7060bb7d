//! How the cost of one decision grows while one thing grows tenfold and all else is held, where the knees are, and what that means for
//! machines: cores, memory, disk. `benches/SCALE.md` holds what came out.
//!
//! `cargo bench --bench scale_table -- --sections rules --markdown` (`--help` says more). Sizes take turns in each of at least seven
//! rounds, a different one first each time; a ratio is taken within a round.

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use crate::scale::growth::{features, rules, trees};
use crate::scale::keys::{Fill, keys};
use crate::scale::needs::{Measurements, needs};
use crate::scale::service::Ground;
use crate::table::options::Options;
use crate::table::report::print;

#[path = "windows_table/counting.rs"]
mod counting;
#[allow(dead_code, reason = "the service's table uses the rest")]
#[path = "peers/mod.rs"]
mod peers;
#[path = "scale/mod.rs"]
mod scale;
#[path = "windows/mod.rs"]
mod support;
#[allow(dead_code, reason = "the other tables use the rest")]
#[path = "table/mod.rs"]
mod table;
#[allow(dead_code, reason = "the model's benches use the rest")]
#[path = "model/workload.rs"]
mod workload;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const HELP: &str = "\
cargo bench --bench scale_table -- [OPTIONS]

  --sections NAMES     of rules, features, trees, keys, connections, service, by commas [all]
                       service prints three tables: capacity, stages beside the seed budget, and what rates need
  --rules-above N      thresholds of rules lie above so many percent of what payments have, 0 to 99 [90]; how many
                       match, and so what they cost, hangs on it
  --rate N             requests a second in connections and service [2000]
  --seconds N          how long each is loaded in each round [3]
  --attempts N         of a customer in thirty days, in keys and service [10]
  --rounds N           rounds in which each is measured once, at least 7 [7]
  --pass-ms N          length of one pass in process, in milliseconds [100]
  --markdown, --json   in place of the table for people

keys takes 4 GB of memory; connections and service need redis-server on the path.";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options =
        match Options::parse(HELP, &["--sections", "--rate", "--seconds", "--attempts", "--rules-above"]) {
            Ok(options) => options,
            Err(said) => {
                println!("{said}");
                return Ok(());
            }
        };
    if !options.is_bench {
        return Ok(());
    }
    let own = |name: &str, default: u64| options.own.get(name).map_or(Ok(default), |text| text.parse());
    let (rate, seconds, attempts) = (own("--rate", 2_000)?, own("--seconds", 3)?, own("--attempts", 10)?);
    let names = options.own.get("--sections");
    let wanted = |name: &str| names.is_none_or(|names| names.split(',').any(|it| it == name));
    let mut sections = Vec::new();
    if wanted("rules") {
        sections.push(rules(&options, own("--rules-above", 90)?.min(99) as usize)?);
    }
    if wanted("features") {
        sections.push(features(&options)?);
    }
    if wanted("trees") {
        sections.push(trees(&options)?);
    }
    if wanted("keys") {
        sections.push(keys(&options, attempts));
    }
    if wanted("connections") {
        sections.push(Ground::prepare()?.connections(options.turns.rounds, rate, seconds)?);
    }
    if wanted("service") {
        let fill = Fill::of(scale::keys::SMALL, attempts);
        let (capacity, budget, request) = Ground::prepare()?.service(options.turns.rounds, rate, seconds)?;
        let needs =
            needs(&Measurements { request, fill_bytes: fill.heap_bytes, fill_users: fill.users, attempts });
        sections.extend([capacity, budget, needs]);
    }
    print(&sections, options.format);
    Ok(())
}
