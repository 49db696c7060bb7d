//! `--rate max`: the highest rate that the service sustains.
//!
//! First each rate is half as much again as the one before, until one is not sustained; then the gap is halved until it is small. A
//! rate is sustained when nearly every request was answered 200 within the deadline: what is queued for longer than that is
//! of no use to anybody, however many answers leave a second.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::load::options::RATE_MAX;
use crate::load::report::{Bottleneck, LoadReport};
use crate::load::run::{Load, Ran};

/// Where the search begins, a second.
const RATE_FIRST: f64 = 500.0;
/// From one rate to the next.
const GROWTH: f64 = 1.5;
/// Ends when the rates that are and are not sustained are this close.
const GAP_SHARE: f64 = 0.04;
/// Most rates that are tried.
const STEPS_MAX: usize = 32;
/// How long each rate is measured if nobody says.
const DURATION_DEFAULT: Duration = Duration::from_secs(3);
/// The deadline where none is given: that of the service's default settings.
const DEADLINE_US_DEFAULT: u64 = 80_000;
/// This share of the requests must be answered in time.
const GOODPUT_SHARE_MIN: f64 = 0.99;

/// One rate that was tried.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Step {
    /// Requests per second that were asked for.
    pub(crate) rate: f64,
    /// That were sent.
    pub(crate) rate_achieved: f64,
    /// Answered 200 within the deadline, per second.
    pub(crate) goodput: f64,
    /// 99 % of the requests were faster.
    pub(crate) p99_us: u64,
    /// Whether that is good enough.
    pub(crate) sustained: bool,
    /// What held the run back.
    pub(crate) bottleneck: Bottleneck,
}

impl Step {
    /// The titles of what `Display` writes.
    pub(crate) const HEAD: &str = "  rate/s    sent/s  goodput/s     p99 us";

    fn new(rate: f64, report: &LoadReport) -> Self {
        let deadline_us = report.deadline_ms.map_or(DEADLINE_US_DEFAULT, |ms| ms * 1_000);
        let has_errors = report.errors as f64 > report.sent as f64 * (1.0 - GOODPUT_SHARE_MIN);
        let sustained = !has_errors
            && report.goodput >= report.rate_achieved * GOODPUT_SHARE_MIN
            && !report.is_behind
            && report.p99_us <= deadline_us;
        Self {
            rate,
            rate_achieved: report.rate_achieved,
            goodput: report.goodput,
            p99_us: report.p99_us,
            sustained,
            bottleneck: report.bottleneck,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.sustained, self.bottleneck) {
            (true, Bottleneck::Generator) => "sustained; the generator was late",
            (true, _) => "sustained",
            (false, Bottleneck::Generator) => "not sustained; the generator was late",
            (false, _) => "not sustained",
        };
        write!(
            f,
            "{:>8.0}  {:>8.0}  {:>9.0}  {:>9}  {verdict}",
            self.rate, self.rate_achieved, self.goodput, self.p99_us
        )
    }
}

/// Finds it. The report is that of the highest rate that was sustained, or of the lowest where none was.
pub(crate) fn find(load: &Load, stop: &AtomicBool) -> anyhow::Result<Ran> {
    let duration = load.options().duration.unwrap_or(DURATION_DEFAULT);
    let mut search = Search::default();
    let mut steps = Vec::new();
    let mut best: Option<Ran> = None;
    while let Some(rate) = search.next() {
        let ran = load.run(rate, Some(duration), stop)?;
        let is_interrupted = stop.load(Ordering::Relaxed);
        let step = Step::new(rate, &ran.report);
        search.saw(rate, step.sustained);
        // The highest that was sustained; while none was, the lowest.
        let best_rate = best.as_ref().and_then(|best| best.report.rate_target);
        let has_sustained = steps.iter().any(|step: &Step| step.sustained);
        let is_better = match (step.sustained, has_sustained) {
            (true, true) => best_rate.is_none_or(|best| rate > best),
            (true, false) => true,
            (false, true) => false,
            (false, false) => best_rate.is_none_or(|best| rate < best),
        };
        if is_better {
            best = Some(ran);
        }
        eprintln!("{step}");
        steps.push(step);
        if is_interrupted || steps.len() == STEPS_MAX {
            break;
        }
    }
    let mut best = best.ok_or_else(|| anyhow::anyhow!("no rate was tried"))?;
    best.report.steps = steps;
    Ok(best)
}

/// Which rate comes next.
#[derive(Default, Debug)]
struct Search {
    sustained: Option<f64>,
    not_sustained: Option<f64>,
}

impl Search {
    fn next(&self) -> Option<f64> {
        let rate = match (self.sustained, self.not_sustained) {
            (None, None) => RATE_FIRST,
            (Some(low), None) if low < RATE_MAX => (low * GROWTH).min(RATE_MAX),
            (None, Some(high)) if high > 1.0 => high / GROWTH,
            (Some(low), Some(high)) if high - low > (high * GAP_SHARE).max(1.0) => f64::midpoint(low, high),
            _ => return None,
        };
        Some(rate.round().max(1.0))
    }

    fn saw(&mut self, rate: f64, sustained: bool) {
        let side = if sustained { &mut self.sustained } else { &mut self.not_sustained };
        *side = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_comes_close_to_the_limit_in_few_steps() {
        for limit in [3.0, 90.0, 499.0, 500.0, 4_321.0, 25_000.0, 2e6] {
            let (mut search, mut steps) = (Search::default(), 0);
            while let Some(rate) = search.next() {
                search.saw(rate, rate <= limit);
                steps += 1;
                assert!(steps <= STEPS_MAX, "{limit}: {search:?}");
            }
            let found = search.sustained.unwrap();
            assert!(
                found <= limit && found >= limit.min(RATE_MAX) * (1.0 - GAP_SHARE) - 1.0,
                "{limit}: {found}"
            );
        }
    }
}
