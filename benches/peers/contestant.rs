//! The contestants: how each is started, and what one measurement of it gives.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::peers::files::{Files, tollgate};
use crate::peers::process::{Process, free_address};

/// Most at once, unless a table asks for others.
pub(crate) const CONNECTIONS: &str = "64";

/// Not measured, since whoever has just begun pays for memory that was never touched; in seconds.
const WARM_UP_S: u64 = 3;

/// Whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tollgate,
    Echo,
    Skeleton,
    FastApi,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Tollgate, Self::Echo, Self::Skeleton, Self::FastApi];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tollgate => "tollgate",
            Self::Echo => "hyper_echo",
            Self::Skeleton => "hyper_redis",
            Self::FastApi => "fastapi",
        }
    }

    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Tollgate => {
                "everything: 4 profiles from Redis, 178 windows, model with attributions, 1,000 rules, audit record"
            }
            Self::Echo => "hyper sends the body back",
            Self::Skeleton => "the same after one round trip to Redis for 4 profiles",
            Self::FastApi => {
                "uvicorn (2 processes, uvloop, httptools): 4 profiles and 36 counters in one round trip, the same model, 10 rules"
            }
        }
    }
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    transactions: PathBuf,
    /// Held so long as it runs.
    _data: tempfile::TempDir,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// What `tollgate load --json` says.
    pub(crate) report: Value,
    /// Processor time of a request, in microseconds.
    pub(crate) cpu_us: f64,
}

impl Measured {
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.report[name].as_f64().unwrap_or(f64::NAN)
    }
}

impl Contestant {
    /// Starts it.
    pub(crate) fn start(
        kind: Kind,
        files: &Files,
        redis: &Path,
        python: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"));
        let socket = redis.display();
        let redis = format!("redis+unix://{socket}");
        let (address, admin, data) = (free_address()?, free_address()?, tempfile::tempdir()?);
        let listen = address.to_string();
        let port = address.port().to_string();
        let mut command = match kind {
            Kind::Tollgate => {
                let mut command = tollgate();
                command.args([
                    "serve",
                    "--listen",
                    &listen,
                    "--admin",
                    &admin.to_string(),
                    "--redis",
                    &redis,
                ]);
                command.arg("--data").arg(data.path()).arg("--rules").arg(&files.rules);
                command
            }
            Kind::Echo | Kind::Skeleton => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve", kind.name(), "--listen", &listen, "--redis", &redis]);
                command
            }
            Kind::FastApi => {
                let mut command = Command::new(std::path::absolute(python)?);
                command.args(["-m", "uvicorn", "fraud_api:app", "--host", "127.0.0.1", "--port", &port]);
                command.args([
                    "--workers",
                    "2",
                    "--loop",
                    "uvloop",
                    "--http",
                    "httptools",
                    "--no-access-log",
                ]);
                command.current_dir(format!("{root}/benches/peers"));
                command
                    .env("FRAUD_MODEL", format!("{root}/models/default"))
                    .env("FRAUD_REDIS", format!("unix://{socket}"));
                command
            }
        };
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let process = Process::start(kind.name(), &mut command, address)?;
        let transactions = files.transactions.clone();
        Ok(Self { kind, process, address, admin, transactions, _data: data })
    }

    /// Loads it, at `rate` a second or at the highest that it sustains (`max`), for so many seconds.
    pub(crate) fn load(&self, rate: &str, seconds: u64) -> Result<Measured, Box<dyn std::error::Error>> {
        self.load_over(rate, seconds, CONNECTIONS)
    }

    /// The same over so many connections.
    pub(crate) fn load_over(
        &self,
        rate: &str,
        seconds: u64,
        connections: &str,
    ) -> Result<Measured, Box<dyn std::error::Error>> {
        let before_s = self.process.cpu_s()?;
        let output = tollgate()
            .args(["load", "--target", &format!("http://{}", self.address), "--rate", rate, "--json"])
            .args(["--duration", &format!("{seconds}s"), "--warm-up", &format!("{WARM_UP_S}s")])
            .args(["--connections", connections])
            .arg("--input")
            .arg(&self.transactions)
            .output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", self.kind.name(), String::from_utf8_lossy(&output.stderr)).into());
        }
        let cpu_s = self.process.cpu_s()? - before_s;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        // The warm-up is not in `sent`, and goes at the same rate.
        let sent =
            report["sent"].as_f64().unwrap_or(f64::NAN) * (seconds + WARM_UP_S) as f64 / seconds as f64;
        Ok(Measured { report, cpu_us: cpu_s * 1e6 / sent })
    }

    /// What Prometheus reads of Tollgate.
    pub(crate) fn metrics(&self) -> std::io::Result<String> {
        get(self.admin, "/metrics")
    }

    /// Mean microseconds of each stage since it began, as Tollgate's metrics say.
    pub(crate) fn stages(&self) -> Result<Vec<(String, f64)>, Box<dyn std::error::Error>> {
        let text = self.metrics()?;
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, number)| number.parse::<f64>().ok());
        let mut stages = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("tollgate_stage_seconds_sum{")) {
            let (Some(stage), Some(sum)) = (line.split('"').nth(1), value(line)) else { continue };
            let mut prefix = String::new();
            write!(prefix, "tollgate_stage_seconds_count{{stage=\"{stage}\"}}")?;
            let count =
                text.lines().find(|line| line.starts_with(&prefix)).and_then(value).unwrap_or(f64::NAN);
            stages.push((stage.to_owned(), sum / count * 1e6));
        }
        Ok(stages)
    }
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
