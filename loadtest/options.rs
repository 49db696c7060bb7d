//! What `tollgate load` can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::load::arrivals::Spread;
use crate::load::mix::Shares;
use crate::load::target::Target;

/// Most requests of one run.
pub(crate) const REQUESTS_MAX: u64 = 1_000_000_000;
/// Most connections; each is a thread.
pub(crate) const CONNECTIONS_MAX: u64 = 4_096;
/// Highest rate, a second.
pub(crate) const RATE_MAX: f64 = 1_000_000.0;
/// How long is measured if nobody says.
pub(crate) const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// Share of duplicates and of bursts if nobody says.
const SHARE_PERCENT_DEFAULT: f64 = 0.5;

/// How many requests a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Rate {
    /// So many.
    PerSecond(f64),
    /// As many as the service sustains: to be found out.
    Max,
}

/// `tollgate load`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Every latency is counted from the moment at which its request was due, so that a service that stalls cannot hide it. Generator and service \
share a machine's processors when both run on one: read generator_lag before believing the tail.\n\n\
Examples:\n  \
  tollgate load --rate 5000 --duration 30s --arrivals poisson --deadline-ms 80 --picture load.html\n  \
  tollgate load --rate max --duration 5s                     # the highest rate that the service sustains\n  \
  tollgate load --input day.csv --map day.yaml --speed 60    # a recorded day in 24 minutes"
)]
pub(crate) struct LoadOptions {
    /// Decision port of the service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) target: Target,
    /// Requests per second, or `max`: raise it until the service no longer keeps up, and find the highest rate that it sustains.
    #[arg(long, value_name = "N|max", default_value = "1000", value_parser = parse_rate)]
    pub(crate) rate: Rate,
    /// How requests are spread over time.
    #[arg(long, value_enum, default_value_t = Spread::Constant)]
    pub(crate) arrivals: Spread,
    /// How long to measure, such as 500ms, 10s or 2m; with --rate max, each rate. [default: 10s; with --speed, the whole file]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// How long to send at the same rate before that, without measuring.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration_or_zero)]
    pub(crate) warm_up: Duration,
    /// Connections, and most requests at once. Take many: when all are busy, requests wait, and that counts.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(crate) connections: u64,
    /// Transactions to send, over and over: NDJSON, CSV or Parquet. Each gets a new transaction_id and the current time, unless
    /// --speed is given. Without it they are simulated.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Where the fields come from, if --input has columns of its own: as for `tollgate backtest`.
    #[arg(long, value_name = "FILE", requires = "input")]
    pub(crate) map: Option<PathBuf>,
    /// Leave out rows of --input that are no transactions, in place of ending with the first.
    #[arg(long, requires = "input")]
    pub(crate) skip_bad_rows: bool,
    /// Send the file once, as it was: each transaction with its own id and time, N times as fast as they came.
    #[arg(long, value_name = "N", requires = "input", conflicts_with_all = ["rate", "arrivals"], value_parser = parse_speed)]
    pub(crate) speed: Option<f64>,
    /// Seed of everything that is drawn: simulated transactions, arrivals, duplicates and bursts.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Share of requests, in percent, that repeat an earlier one to the byte, as a client does that had no answer.
    /// [default: 0.5 of simulated ones, else 0]
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, conflicts_with = "speed")]
    pub(crate) duplicates: Option<f64>,
    /// Share of requests, in percent, that belong to bursts of fraud: many payments with one card in a moment.
    /// [default: 0.5 of simulated ones, else 0]
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, conflicts_with = "speed")]
    pub(crate) bursts: Option<f64>,
    /// Deadline: sent as X-Deadline-Ms, and what counts as in time.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) deadline_ms: Option<u64>,
    /// API key of the decision port.
    #[arg(long, value_name = "KEY", env = "TOLLGATE_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// How long to wait for one answer before it counts as failed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw latency by percentile into this file: .svg the picture alone, .html the report with it.
    #[arg(long, value_name = "FILE", value_parser = parse_picture)]
    pub(crate) picture: Option<PathBuf>,
    /// Write the latencies of every second into this file, in the log format of HdrHistogram (microseconds; tags `exchange` for
    /// latency from the moment of sending and `lag` for the generator's own).
    #[arg(long, value_name = "FILE")]
    pub(crate) histogram_log: Option<PathBuf>,
}

impl LoadOptions {
    /// What is mixed into the transactions.
    pub(crate) fn shares(&self) -> Shares {
        let default = if self.input.is_none() { SHARE_PERCENT_DEFAULT } else { 0.0 };
        let share = |percent: Option<f64>| percent.unwrap_or(default) / 100.0;
        if self.speed.is_some() {
            return Shares::NONE;
        }
        Shares { duplicates: share(self.duplicates), bursts: share(self.bursts) }
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=RATE_MAX).contains(&rate) => Ok(Rate::PerSecond(rate)),
        _ => Err("must be a number from 0.01 to 1000000, or max".to_owned()),
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.001..=1_000_000.0).contains(&speed) => Ok(speed),
        _ => Err("must be a number from 0.001 to 1000000".to_owned()),
    }
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..=50.0).contains(&percent) => Ok(percent),
        _ => Err("must be a number from 0 to 50".to_owned()),
    }
}

fn parse_picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg" | "html") => Ok(path),
        _ => Err("must end in .svg or .html".to_owned()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_duration_or_zero(text)? {
        Duration::ZERO => Err("must not be zero".to_owned()),
        duration => Ok(duration),
    }
}

/// At most a day.
fn parse_duration_or_zero(text: &str) -> Result<Duration, String> {
    const SECONDS_MAX: f64 = 86_400.0;
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        Some(number.parse::<f64>().ok()? * seconds)
    });
    match seconds {
        Some(seconds) if seconds <= SECONDS_MAX => Ok(Duration::from_secs_f64(seconds)),
        Some(_) => Err("must be at most 24h".to_owned()),
        None => Err("must be a number with a unit, such as 500ms, 10s, 2m or 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected_ms) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1.5m", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("infs", None),
            ("25h", None),
        ] {
            let actual = parse_duration_or_zero(text).ok();
            assert_eq!(actual, expected_ms.map(Duration::from_millis), "{text}");
        }
        assert!(parse_duration("0s").is_err());
    }

    #[test]
    fn rates() {
        for (text, expected) in [
            ("max", Some(Rate::Max)),
            ("0.5", Some(Rate::PerSecond(0.5))),
            ("1e6", Some(Rate::PerSecond(1e6))),
            ("0", None),
            ("NaN", None),
            ("2e6", None),
            ("fast", None),
        ] {
            assert_eq!(parse_rate(text).ok(), expected, "{text}");
        }
    }
}
