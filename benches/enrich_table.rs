//! What enrichment costs and what it saves: looking an address up in local files, a profile from the cache against a round trip to
//! Redis, the requests that a cache keeps from Redis, and how many decisions a second can update profiles.
//!
//! `cargo bench --bench enrich_table -- --markdown` (`--help` says more). Contestants take turns in each of at least seven rounds, a
//! different one first each time; a ratio is taken within a round. Redis is a real `redis-server` over loopback TCP.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark may stop at what cannot be")]

use crate::enrich::ground::Ground;
use crate::table::options::Options;
use crate::table::turns::print;

#[path = "enrich/mod.rs"]
mod enrich;
#[path = "../tests/support/redis.rs"]
mod redis_server;
#[allow(dead_code, reason = "the other tables use the rest")]
#[path = "table/mod.rs"]
mod table;

const HELP: &str = "\
cargo bench --bench enrich_table -- [OPTIONS]

  --sections NAMES     of ip, profiles, saved, updates, by commas [all]
  --rounds N           rounds in which each is measured once, at least 7 [7]
  --pass-ms N          length of one pass, in milliseconds [100]
  --markdown, --json   in place of the table for people

All but ip need redis-server on the path.";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = match Options::parse(HELP, &["--sections"]) {
        Ok(options) => options,
        Err(said) => {
            println!("{said}");
            return Ok(());
        }
    };
    if !options.is_bench {
        return Ok(());
    }
    let names = options.own.get("--sections");
    let wanted = |name: &str| names.is_none_or(|names| names.split(',').any(|it| it == name));
    let mut sections = Vec::new();
    if wanted("ip") {
        sections.push(enrich::ip::section(&options)?);
    }
    if wanted("profiles") || wanted("saved") || wanted("updates") {
        let ground = Ground::prepare()?;
        if wanted("profiles") {
            sections.push(enrich::profiles::section(&options, &ground)?);
        }
        if wanted("saved") {
            sections.push(enrich::saved::section(&options, &ground));
        }
        if wanted("updates") {
            sections.push(enrich::updates::section(&options, &ground)?);
        }
    }
    print(&sections, options.format);
    Ok(())
}
