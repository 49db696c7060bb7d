//! What a run came to, for people and for programs, and whether the generator can be believed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::arrivals::Spread;
use crate::load::measured::Measured;
use crate::load::options::LoadOptions;
use crate::load::saturation::Step;

/// A generator that is later than this at the 99th percentile, in microseconds, is worth a word.
const LAG_US_MAX: u64 = 1_000;
/// So is one whose lag makes up more than this share of the measured 99th percentile.
const LAG_SHARE_MAX: f64 = 0.25;
/// Fewer requests than this share of what was asked for is not the rate that was asked for.
const RATE_SHARE_MIN: f64 = 0.99;
/// More requests than this share waited for a free connection.
const WAITED_SHARE_MAX: f64 = 0.01;

/// What held the run back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bottleneck {
    /// Nothing: the rate was kept, and the generator was on time.
    None,
    /// The generator: it was late although connections were free. Its figures are its own, not the service's.
    Generator,
    /// The service, or too few connections: requests had to wait until one was free.
    Service,
}

/// What a run came to. Latencies count from when a request was due; failed and unsent requests are among them.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct LoadReport {
    /// Requests per second that were asked for; none where a file said when.
    pub(crate) rate_target: Option<f64>,
    /// Requests per second that were sent.
    pub(crate) rate_achieved: f64,
    /// Requests sent, without the warm-up.
    pub(crate) sent: u64,
    /// Answered 200.
    pub(crate) ok: u64,
    /// Not answered 200, or never sent.
    pub(crate) errors: u64,
    /// The errors by status or failure.
    pub(crate) errors_by_kind: BTreeMap<String, u64>,
    /// Of those answered 200, degraded ones.
    pub(crate) degraded: u64,
    /// Of those sent, repetitions of earlier ones.
    pub(crate) duplicates: u64,
    /// Of those answered 200, first answers given again.
    pub(crate) replayed: u64,
    /// Of those sent, payments of bursts of fraud.
    pub(crate) bursts: u64,
    /// Answered 200 within the deadline, per second; without a deadline all that were answered 200.
    pub(crate) goodput: f64,
    /// The deadline.
    pub(crate) deadline_ms: Option<u64>,
    /// Half of the requests were faster.
    pub(crate) p50_us: u64,
    /// 90 % were faster.
    pub(crate) p90_us: u64,
    /// 99 % were faster.
    pub(crate) p99_us: u64,
    /// 99.9 % were faster.
    pub(crate) p999_us: u64,
    /// The slowest.
    pub(crate) max_us: u64,
    /// The mean.
    pub(crate) mean_us: f64,
    /// Of those answered 200, half were faster.
    pub(crate) ok_p50_us: u64,
    /// Of those answered 200, 99 % were faster.
    pub(crate) ok_p99_us: u64,
    /// From sending to the answer, without any waiting before: what a closed loop would have seen.
    pub(crate) exchange_p50_us: u64,
    /// The same at the 99th percentile.
    pub(crate) exchange_p99_us: u64,
    /// How late the generator itself was, half of the time.
    pub(crate) generator_lag_p50_us: u64,
    /// The same at the 99th percentile.
    pub(crate) generator_lag_p99_us: u64,
    /// Requests that were due while all connections were busy.
    pub(crate) waited_for_connection: u64,
    /// Connections.
    pub(crate) connections: u64,
    /// Different transactions that were sent in turn.
    pub(crate) transactions: usize,
    /// What held the run back.
    pub(crate) bottleneck: Bottleneck,
    /// Whether fewer requests were sent than should have been.
    #[serde(skip)]
    pub(crate) is_behind: bool,
    /// How requests were spread over time; none where a file said when.
    pub(crate) arrivals: Option<Spread>,
    /// Whether Ctrl-C ended it early.
    pub(crate) interrupted: bool,
    /// The rates that were tried to find the highest that is sustained, which the rest of the report is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
}

impl LoadReport {
    /// Draws the conclusions.
    #[expect(clippy::cast_precision_loss, reason = "there are at most 10^9 requests")]
    pub(crate) fn new(
        options: &LoadOptions,
        rate: Option<f64>,
        measured: &Measured,
        measured_from: Instant,
        transactions: usize,
        interrupted: bool,
    ) -> Self {
        let quantile = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile);
        let latency = &measured.latency_us;
        // The last of n requests is sent n - 1 intervals after the first: one interval more makes it a rate.
        let took_s = measured.counts.last_sent.map_or(0.0, |last| {
            last.saturating_duration_since(measured_from).as_secs_f64() + rate.map_or(0.0, f64::recip)
        });
        let per_second = |count: u64| if took_s > 0.0 { count as f64 / took_s } else { 0.0 };
        let rate_achieved = per_second(measured.counts.sent);
        let p99_us = quantile(latency, 0.99);
        let lag_p99_us = quantile(&measured.lag_us, 0.99);
        let waited_share = measured.counts.waited as f64 / measured.counts.sent.max(1) as f64;
        let is_late = lag_p99_us > LAG_US_MAX || lag_p99_us as f64 > p99_us as f64 * LAG_SHARE_MAX;
        let chance = if options.arrivals == Spread::Poisson { 3.0 } else { 0.0 };
        let is_behind =
            rate.is_some_and(|rate| rate_achieved < rate * RATE_SHARE_MIN - chance * deviation(rate, took_s));
        let bottleneck = if waited_share > WAITED_SHARE_MAX {
            Bottleneck::Service
        } else if is_late || is_behind {
            Bottleneck::Generator
        } else {
            Bottleneck::None
        };
        Self {
            rate_target: rate,
            rate_achieved,
            sent: measured.counts.sent,
            ok: measured.counts.ok,
            errors: measured.counts.errors.values().sum(),
            errors_by_kind: measured
                .counts
                .errors
                .iter()
                .map(|(kind, count)| (kind.to_string(), *count))
                .collect(),
            degraded: measured.counts.degraded,
            duplicates: measured.counts.duplicates,
            replayed: measured.counts.replayed,
            bursts: measured.counts.bursts,
            goodput: per_second(measured.counts.in_time),
            deadline_ms: options.deadline_ms,
            p50_us: quantile(latency, 0.5),
            p90_us: quantile(latency, 0.9),
            p99_us,
            p999_us: quantile(latency, 0.999),
            max_us: latency.max(),
            mean_us: latency.mean(),
            ok_p50_us: quantile(&measured.ok_us, 0.5),
            ok_p99_us: quantile(&measured.ok_us, 0.99),
            exchange_p50_us: quantile(&measured.exchange_us, 0.5),
            exchange_p99_us: quantile(&measured.exchange_us, 0.99),
            generator_lag_p50_us: quantile(&measured.lag_us, 0.5),
            generator_lag_p99_us: lag_p99_us,
            waited_for_connection: measured.counts.waited,
            connections: options.connections,
            transactions,
            bottleneck,
            is_behind,
            arrivals: rate.map(|_| options.arrivals),
            interrupted,
            steps: Vec::new(),
        }
    }

    /// The report in one line of JSON.
    pub(crate) fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// The standard deviation of a rate when requests come at random.
fn deviation(rate: f64, took_s: f64) -> f64 {
    if took_s > 0.0 { (rate / took_s).sqrt() } else { 0.0 }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.steps.is_empty() {
            writeln!(f, "{}", Step::HEAD)?;
            for step in &self.steps {
                writeln!(f, "{step}")?;
            }
            writeln!(f)?;
        }
        match self.rate_target {
            Some(rate) => writeln!(f, "rate        {rate:.0}/s asked for, {:.0}/s sent", self.rate_achieved)?,
            None => writeln!(f, "rate        as the file says, {:.0}/s sent", self.rate_achieved)?,
        }
        writeln!(
            f,
            "answers     {} sent ({} duplicates, {} of bursts), {} ok ({} degraded, {} replayed), {} errors",
            self.sent, self.duplicates, self.bursts, self.ok, self.degraded, self.replayed, self.errors
        )?;
        for (kind, count) in &self.errors_by_kind {
            writeln!(f, "              {kind} {count}")?;
        }
        if let Some(deadline_ms) = self.deadline_ms {
            writeln!(f, "goodput     {:.0}/s within {deadline_ms} ms", self.goodput)?;
        }
        writeln!(
            f,
            "latency us  p50 {}  p90 {}  p99 {}  p99.9 {}  max {}  (from when a request was due)",
            self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.max_us
        )?;
        writeln!(
            f,
            "exchange us p50 {}  p99 {}  (from when it was sent)",
            self.exchange_p50_us, self.exchange_p99_us
        )?;
        writeln!(
            f,
            "generator   late by p50 {} us, p99 {} us; {} of {} requests waited for one of {} connections",
            self.generator_lag_p50_us,
            self.generator_lag_p99_us,
            self.waited_for_connection,
            self.sent,
            self.connections
        )?;
        match self.bottleneck {
            Bottleneck::None => {}
            Bottleneck::Generator => writeln!(
                f,
                "warning     the generator was late although connections were free: these figures are partly its own. Send \
                 less, or from another machine."
            )?,
            Bottleneck::Service => writeln!(
                f,
                "warning     the service did not keep up with the rate on {} connections. If exchange p50 is short, try more \
                 connections.",
                self.connections
            )?,
        }
        if self.interrupted {
            writeln!(f, "note        ended early by Ctrl-C")?;
        }
        Ok(())
    }
}
