//! What `tollgate load` can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::load::target::Target;

/// Most requests of one run.
pub(crate) const REQUESTS_MAX: u64 = 1_000_000_000;
/// Most connections; each is a thread.
pub(crate) const CONNECTIONS_MAX: u64 = 4_096;

/// `tollgate load`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Requests are due at a constant rate, and every latency is counted from the moment at which its request \
was due, so that a service that stalls cannot hide it. Generator and service share a machine's processors when both run on \
one: read generator_lag before believing the tail."
)]
pub(crate) struct LoadOptions {
    /// Decision port of the service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) target: Target,
    /// Requests per second.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// How long to measure, such as 500ms, 10s or 2m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// How long to send at the same rate before that, without measuring.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration_or_zero)]
    pub(crate) warm_up: Duration,
    /// Connections, and most requests at once. Take many: when all are busy, requests wait, and that counts.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(crate) connections: u64,
    /// Transactions to send, one JSON object a line, over and over; transaction_id and occurred_at are made new.
    /// Without it they are simulated.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Seed of the simulated transactions.
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "input")]
    pub(crate) seed: u64,
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
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be a number from 0.01 to 1000000".to_owned()),
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
}
