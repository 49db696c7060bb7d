//! The service beside others over HTTP, in one table: what the least costs, and what a team would otherwise write.
//!
//! `benches/peers/run.sh` installs what the peers need and runs this; `--help` lists the options. Processes take turns in each round, and each
//! is alone while it is measured, but for the load generator and Redis, which share the machine with it.

#![expect(clippy::cast_precision_loss, reason = "a benchmark computes with approximate numbers")]

mod peers;
#[path = "../tests/support/redis.rs"]
#[expect(clippy::expect_used, reason = "made for tests, which fail by panicking")]
mod redis_server;
#[allow(dead_code, reason = "the tables whose contestants are functions take turns in another way")]
mod table;

use std::path::Path;

use peers::contestant::{Contestant, Kind, Measured};
use peers::files::Files;
use peers::reference::{Behind, serve};
use redis_server::RedisServer;
use table::options::Options;
use table::report::Section;
use table::turns::{print, spread};

const HELP: &str = "\
The service beside others over HTTP.

  --python PATH        a Python with benches/peers/requirements.txt (run.sh makes one); without it, fastapi is left out
  --contestants NAMES  of tollgate, hyper_echo, hyper_redis, fastapi, by commas
  --sections NAMES     of same_rate, fastapi, highest_rate, by commas
  --rate N             requests a second in same_rate (10,000)
  --seconds N          how long each is measured in each round (3)
  --rounds N           (7)
  --json               for programs; --markdown for a page

With `chrt -r 50` in front, other work on the machine disturbs less.";

/// What only the command line of this bench knows.
const OWN: &[&str] =
    &["--python", "--contestants", "--sections", "--rate", "--seconds", "--serve", "--listen", "--redis"];
/// Rates at which FastAPI and Tollgate are compared.
const SLOW_RATES: [&str; 2] = ["500", "1000"];
/// Rounds in search of the highest rate: each takes a minute and more.
const HIGHEST_ROUNDS: usize = 3;
/// Stages in which the decision is made; the rest of a request is the service around it.
const DECISION_STAGES: [&str; 5] = ["parse", "windows", "model", "explain", "rules"];

const COLUMNS: &[&str] = &[
    "contestant",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "x echo p50",
    "p99",
    "p99.9",
    "cpu us",
    "x echo cpu",
    "errors",
    "late",
];
const SLOW_COLUMNS: &[&str] =
    &["contestant", "rate", "p50 us", "p99 us", "x tollgate p50", "p99", "least", "most", "errors"];
const HIGHEST_COLUMNS: &[&str] =
    &["contestant", "requests/s", "least", "most", "x below tollgate", "least x", "most x"];
const STAGE_COLUMNS: &[&str] = &["stage", "mean us"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = match Options::parse(HELP, OWN) {
        Ok(options) => options,
        Err(said) => {
            println!("{said}");
            return Ok(());
        }
    };
    let own = |name: &str| options.own.get(name).map(String::as_str);
    if let (Some(kind), Some(listen)) = (own("--serve"), own("--listen")) {
        let redis = own("--redis").unwrap_or_default();
        let behind =
            if kind == Kind::Echo.name() { Behind::Nothing } else { Behind::Redis(redis.to_owned()) };
        return serve(listen.parse()?, &behind);
    }
    if !options.is_bench {
        return Ok(());
    }
    let bench = Bench::prepare(&options)?;
    let mut sections = Vec::new();
    let wanted = |name: &str| own("--sections").is_none_or(|names| names.split(',').any(|it| it == name));
    if wanted("same_rate") {
        sections.extend(bench.same_rate(own("--rate").unwrap_or("10000"))?);
    }
    if wanted("fastapi") && bench.has(Kind::FastApi) {
        sections.push(bench.fastapi()?);
    }
    if wanted("highest_rate") {
        sections.push(bench.highest_rate()?);
    }
    if let Some(last) = sections.last_mut() {
        for kind in Kind::ALL.into_iter().filter(|kind| bench.has(*kind)) {
            last.note(format!("{}: {}", kind.name(), kind.what()));
        }
    }
    print(&sections, options.format);
    Ok(())
}

/// A contestant with what was measured of it, round by round.
type Measurements<'a> = (&'a Contestant, Vec<Measured>);

struct Bench {
    rounds: usize,
    seconds: u64,
    contestants: Vec<Contestant>,
    _directory: tempfile::TempDir,
    _redis: RedisServer,
}

impl Bench {
    fn prepare(options: &Options) -> Result<Self, Box<dyn std::error::Error>> {
        let own = |name: &str| options.own.get(name).map(String::as_str);
        let python = own("--python").unwrap_or_default();
        let is_wanted = |kind: Kind| match own("--contestants") {
            Some(names) => names.split(',').any(|name| name == kind.name()),
            None => kind != Kind::FastApi || !python.is_empty(),
        };
        let directory = tempfile::tempdir()?;
        let files = Files::make(directory.path(), Path::new(env!("CARGO_MANIFEST_DIR")))?;
        // All contestants ask Redis over the same socket: on one machine it is cheaper than TCP.
        let socket = directory.path().join("redis.sock");
        let redis = RedisServer::start_with(&["--unixsocket", &socket.to_string_lossy()]);
        files.import(&redis.url())?;
        let contestants = Kind::ALL
            .into_iter()
            .filter(|kind| is_wanted(*kind))
            .map(|kind| Contestant::start(kind, &files, &socket, python))
            .collect::<Result<_, _>>()?;
        let seconds = own("--seconds").map_or(Ok(3), str::parse)?;
        Ok(Self { rounds: options.turns.rounds, seconds, contestants, _directory: directory, _redis: redis })
    }

    fn has(&self, kind: Kind) -> bool {
        self.contestants.iter().any(|it| it.kind == kind)
    }

    /// By contestant, of those in `kinds`: its measurements, one a round, each round beginning with another.
    fn turns(
        &self,
        kinds: &[Kind],
        rounds: usize,
        rate: &str,
    ) -> Result<Vec<Measurements<'_>>, Box<dyn std::error::Error>> {
        let chosen = self.contestants.iter().filter(|it| kinds.contains(&it.kind));
        let mut all: Vec<_> = chosen.map(|contestant| (contestant, Vec::new())).collect();
        let count = all.len();
        for round in 0..rounds {
            for turn in 0..count {
                let (contestant, measured) = &mut all[(round + turn) % count];
                measured.push(contestant.load(rate, self.seconds)?);
                eprintln!("{} at {rate}/s: round {}", contestant.kind.name(), round + 1);
            }
        }
        Ok(all)
    }

    fn same_rate(&self, rate: &str) -> Result<Vec<Section>, Box<dyn std::error::Error>> {
        let all = self.turns(&[Kind::Tollgate, Kind::Echo, Kind::Skeleton], self.rounds, rate)?;
        let echo =
            all.iter().find(|(contestant, _)| contestant.kind == Kind::Echo).map(|(_, it)| it.as_slice());
        let title = format!("{rate} requests a second to each in turn; latency from when a request was due");
        let mut section = Section::new("same_rate", title, COLUMNS);
        for (contestant, measured) in &all {
            let median = |of: &dyn Fn(&Measured) -> f64| spread(measured.iter().map(of).collect())[1];
            let ratio = |of: &dyn Fn(&Measured) -> f64| {
                let echo = echo.unwrap_or(measured);
                spread(measured.iter().zip(echo).map(|(one, echo)| of(one) / of(echo)).collect())[1]
            };
            let [p50, p99, p999]: [&dyn Fn(&Measured) -> f64; 3] =
                [&|it| it.number("p50_us"), &|it| it.number("p99_us"), &|it| it.number("p999_us")];
            let late = measured.iter().filter(|it| it.report["bottleneck"] == "generator").count();
            let errors: f64 = measured.iter().map(|it| it.number("errors")).sum();
            section.row([
                contestant.kind.name().into(),
                median(p50).into(),
                median(p99).into(),
                median(p999).into(),
                ratio(p50).into(),
                ratio(p99).into(),
                ratio(p999).into(),
                median(&|it| it.cpu_us).into(),
                ratio(&|it| it.cpu_us).into(),
                (errors as u64).into(),
                late.into(),
            ]);
        }
        section.note(format!(
            "{} rounds of {} s; medians, ratios within a round. `late`: rounds in which the generator itself was late.",
            self.rounds, self.seconds
        ));
        let mut sections = vec![section];
        if let Some((tollgate, measured)) = all.iter().find(|(it, _)| it.kind == Kind::Tollgate) {
            let stages = tollgate.stages()?;
            let decision_us: f64 = stages
                .iter()
                .filter(|(stage, _)| DECISION_STAGES.contains(&stage.as_str()))
                .map(|(_, mean_us)| mean_us)
                .sum();
            let mut section =
                Section::new("stages", "means by Tollgate's own clock".to_owned(), STAGE_COLUMNS);
            for (stage, mean_us) in &stages {
                section.row([stage.as_str().into(), (*mean_us).into()]);
            }
            let cpu = spread(measured.iter().map(|it| it.cpu_us).collect())[1];
            let echo_cpu = spread(echo.unwrap_or(measured).iter().map(|it| it.cpu_us).collect())[1];
            section.note(format!(
                "Decision work (parse, windows, model, explain, rules) is {decision_us:.1} us of {cpu:.1} us of processor time a \
                 request; the rest is {:.2} times an echo's.",
                (cpu - decision_us) / echo_cpu
            ));
            sections.push(section);
        }
        Ok(sections)
    }

    fn fastapi(&self) -> Result<Section, Box<dyn std::error::Error>> {
        let title = "at rates that FastAPI sustains".to_owned();
        let mut section = Section::new("fastapi", title, SLOW_COLUMNS);
        for rate in SLOW_RATES {
            let all = self.turns(&[Kind::Tollgate, Kind::FastApi], self.rounds, rate)?;
            let tollgate = &all[0].1;
            for (contestant, measured) in &all {
                let median = |name: &str| spread(measured.iter().map(|it| it.number(name)).collect())[1];
                let ratio = |name: &str| {
                    let pairs = measured.iter().zip(tollgate);
                    spread(pairs.map(|(one, tollgate)| one.number(name) / tollgate.number(name)).collect())
                };
                let [least, p99, most] = ratio("p99_us");
                let errors: f64 = measured.iter().map(|it| it.number("errors")).sum();
                section.row([
                    contestant.kind.name().into(),
                    rate.into(),
                    median("p50_us").into(),
                    median("p99_us").into(),
                    ratio("p50_us")[1].into(),
                    p99.into(),
                    least.into(),
                    most.into(),
                    (errors as u64).into(),
                ]);
            }
        }
        Ok(section)
    }

    fn highest_rate(&self) -> Result<Section, Box<dyn std::error::Error>> {
        let all = self.turns(&Kind::ALL, HIGHEST_ROUNDS, "max")?;
        let title = "the highest rate that is sustained: 99 % answered 200 within 80 ms".to_owned();
        let mut section = Section::new("highest_rate", title, HIGHEST_COLUMNS);
        let rate = |it: &Measured| it.number("rate_achieved");
        for (contestant, measured) in &all {
            let rates = spread(measured.iter().map(rate).collect());
            let below =
                spread(measured.iter().zip(&all[0].1).map(|(one, first)| rate(first) / rate(one)).collect());
            section.row([
                contestant.kind.name().into(),
                rates[1].into(),
                rates[0].into(),
                rates[2].into(),
                below[1].into(),
                below[0].into(),
                below[2].into(),
            ]);
        }
        section.note(format!(
            "{HIGHEST_ROUNDS} rounds; the load generator and Redis run on the same processors."
        ));
        Ok(section)
    }
}
