//! The running service under load: more connections, its stages beside the seed budget, and what one request takes.

use std::path::Path;

use tempfile::TempDir;

use crate::peers::contestant::{CONNECTIONS, Contestant, Kind, Measured};
use crate::peers::files::Files;
use crate::scale::growth::knee_note;
use crate::support::redis_server::RedisServer;
use crate::table::report::{Cell, Section};
use crate::table::turns::spread;

type Failure = Box<dyn std::error::Error>;

const CONNECTION_STEPS: [&str; 4] = ["16", "64", "256", "1024"];
const CONNECTION_COLUMNS: &[&str] = &[
    "connections",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "cpu us a request",
    "least",
    "most",
    "x step before",
    "errors",
    "rounds with a late generator",
];
const CAPACITY_COLUMNS: &[&str] = &["of one request", "median", "least", "most"];
const BUDGET_COLUMNS: &[&str] = &["seed stage", "budget ms", "what of ours", "p50 us", "p99 us", "p99.9 us"];
const KNEE: f64 = 2.0;
/// With more requests than this that were not answered, the time of one request says nothing.
const UNANSWERED_PERCENT_MAX: f64 = 1.0;

/// The seed's stages, their budgets in milliseconds, and which stage of the service does that work; what has none shares the one before.
const BUDGET: [(&str, &str, &str, &str); 8] = [
    ("ingress", "5", "parse", "the body read and checked, the idempotency key claimed"),
    ("state", "5", "enrich", "profiles from Redis over a unix socket, one round trip"),
    ("aggregation", "30", "windows", "all windows read, the payment added"),
    ("features, model", "10 + 15", "model", "derived features, vector, score"),
    ("", "", "explain", "exact attributions"),
    ("rules", "10", "rules", "1,000 rules, the decision"),
    ("egress", "5", "audit", "the record made, sealed and written"),
    ("all", "80", "total", "from the last byte of the request to the answer"),
];

/// The service, Redis and what is sent.
pub(crate) struct Ground {
    tollgate: Contestant,
    redis: RedisServer,
    _directory: TempDir,
}

/// What one request takes, medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) service_cpu_us: f64,
    pub(crate) redis_cpu_us: f64,
    pub(crate) log_bytes: f64,
}

impl Ground {
    /// Starts them.
    pub(crate) fn prepare() -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let files = Files::make(directory.path(), Path::new(env!("CARGO_MANIFEST_DIR")))?;
        let socket = directory.path().join("redis.sock");
        let redis = RedisServer::start_with(&["--unixsocket", &socket.to_string_lossy()]);
        files.import(&redis.url())?;
        let tollgate = Contestant::start(Kind::Tollgate, &files, &socket, "")?;
        Ok(Self { tollgate, redis, _directory: directory })
    }

    /// The same rate over more and more connections.
    pub(crate) fn connections(&self, rounds: usize, rate: u64, seconds: u64) -> Result<Section, Failure> {
        let mut all: Vec<Vec<Measured>> = CONNECTION_STEPS.map(|_| vec![]).into();
        for round in 0..rounds {
            for turn in 0..all.len() {
                let number = (round + turn) % all.len();
                let connections = CONNECTION_STEPS[number];
                all[number].push(self.tollgate.load_over(&rate.to_string(), seconds, connections)?);
                eprintln!("{connections} connections: round {}", round + 1);
            }
        }
        let title =
            format!("{rate} requests a second over more connections; latency from when a request was due");
        let mut section = Section::new("connections", title, CONNECTION_COLUMNS);
        let (mut knees, mut unsound) = (Vec::new(), Vec::new());
        for (place, connections) in CONNECTION_STEPS.iter().enumerate() {
            let measured = &all[place];
            let median = |name: &str| spread(measured.iter().map(|it| it.number(name)).collect())[1];
            let [least, cpu_us, most] = spread(measured.iter().map(|it| it.cpu_us).collect());
            let before = place.checked_sub(1).map_or(f64::NAN, |before| {
                spread(measured.iter().zip(&all[before]).map(|(this, it)| this.cpu_us / it.cpu_us).collect())
                    [1]
            });
            if before > KNEE {
                knees.push((*connections).to_owned());
            }
            let total = |name: &str| -> f64 { measured.iter().map(|it| it.number(name)).sum() };
            let errors = total("errors");
            let unanswered_percent = 100.0 * errors / total("sent");
            if unanswered_percent > UNANSWERED_PERCENT_MAX {
                unsound.push(format!("{connections} ({unanswered_percent:.0} % not answered)"));
            }
            section.row([
                (*connections).into(),
                median("p50_us").into(),
                median("p99_us").into(),
                median("p999_us").into(),
                cpu_us.into(),
                least.into(),
                most.into(),
                before.into(),
                (errors as u64).into(),
                measured.iter().filter(|it| it.report["bottleneck"] == "generator").count().into(),
            ]);
        }
        section.note(if unsound.is_empty() {
            knee_note(&knees)
        } else {
            format!(
                "Knee: not to be said; a request that is refused is cheap, and makes the mean look so: {}. Ask for a lower rate.",
                unsound.join(", ")
            )
        });
        section.note(format!(
            "{rounds} rounds of {seconds} s. The generator has a thread a connection and runs on the same processors."
        ));
        Ok(section)
    }

    /// What one request takes, and how long its stages are.
    pub(crate) fn service(
        &self,
        rounds: usize,
        rate: u64,
        seconds: u64,
    ) -> Result<(Section, Section, Request), Failure> {
        let (mut measured, mut redis_us, mut log) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let before = (self.redis_cpu_s(), self.log()?);
            measured.push(self.tollgate.load_over(&rate.to_string(), seconds, CONNECTIONS)?);
            let (bytes, records) = self.log()?;
            let records = records - before.1.1;
            redis_us.push((self.redis_cpu_s() - before.0) * 1e6 / records);
            log.push((bytes - before.1.0) / records);
            eprintln!("service at {rate}/s: round {}", round + 1);
        }
        let service_us = spread(measured.iter().map(|it| it.cpu_us).collect());
        let (redis_us, log) = (spread(redis_us), spread(log));
        let title = format!("what one request takes at {rate} a second over {CONNECTIONS} connections");
        let mut capacity = Section::new("capacity", title, CAPACITY_COLUMNS);
        for (what, [least, median, most]) in [
            ("processor time of the service, us", service_us),
            ("processor time of Redis, us", redis_us),
            ("audit log, bytes", log),
            ("requests/s of one core, by the service's time", service_us.map(|us| 1e6 / us)),
        ] {
            capacity.row([what.into(), median.into(), least.min(most).into(), most.max(least).into()]);
        }
        capacity.note(format!("{rounds} rounds of {seconds} s."));
        let budget = self.budget(rate, &measured)?;
        let request = Request { service_cpu_us: service_us[1], redis_cpu_us: redis_us[1], log_bytes: log[1] };
        Ok((capacity, budget, request))
    }

    fn budget(&self, rate: u64, measured: &[Measured]) -> Result<Section, Failure> {
        let text = self.tollgate.metrics()?;
        let quantile = |stage: &str, quantile: &str| {
            let name =
                format!("tollgate_stage_quantile_seconds{{stage=\"{stage}\",quantile=\"{quantile}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name));
            Cell::from(
                value.and_then(|value| value.parse::<f64>().ok()).map_or(f64::NAN, |value| value * 1e6),
            )
        };
        let title = format!(
            "the seed budget beside what was measured at {rate} a second over {CONNECTIONS} connections"
        );
        let mut section = Section::new("budget", title, BUDGET_COLUMNS);
        for (seed, budget_ms, stage, what) in BUDGET {
            section.row([
                seed.into(),
                budget_ms.into(),
                format!("`{stage}`: {what}").as_str().into(),
                quantile(stage, "0.5"),
                quantile(stage, "0.99"),
                quantile(stage, "0.999"),
            ]);
        }
        let of_client =
            |name: &str| Cell::from(spread(measured.iter().map(|it| it.number(name)).collect())[1]);
        section.row([
            "".into(),
            "".into(),
            "as `tollgate load` sees it, from when a request was due".into(),
            of_client("p50_us"),
            of_client("p99_us"),
            of_client("p999_us"),
        ]);
        section.note(
            "Stages by `tollgate_stage_quantile_seconds`, over the last one to two minutes, in whole microseconds rounded down; \
             quantiles of stages do not add up to that of all."
                .to_owned(),
        );
        Ok(section)
    }

    fn redis_cpu_s(&self) -> f64 {
        let info = self.redis.command(&["INFO", "cpu"]);
        let value = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        value("used_cpu_sys:") + value("used_cpu_user:")
    }

    /// Bytes and records of the audit log.
    fn log(&self) -> Result<(f64, f64), Failure> {
        let text = self.tollgate.metrics()?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok())
                .ok_or_else(|| format!("no {name} in /metrics"))
        };
        Ok((value("tollgate_audit_log_bytes ")?, value("tollgate_audit_sequence ")?))
    }
}
