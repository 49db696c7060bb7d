//! How long the stages of recorded decisions took: a histogram since the start, and quantiles of the last one to two minutes.
//!
//! Each thread records in a place of its own, which is read only when somebody asks for metrics: so threads never wait for each
//! other, and for a reader no longer than it takes to add one stage's counters, some microseconds. Quantiles are
//! HdrHistograms' (two digits: an error below 1 % above 256 us, none below); the times themselves are whole microseconds, rounded down.

use std::array::from_fn;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hdrhistogram::{CreationError, Histogram};
use parking_lot::Mutex;

use crate::audit::record::StageTimes;

/// The stages, as they are named in metrics.
const STAGES: [&str; 8] = ["total", "parse", "enrich", "windows", "model", "explain", "rules", "audit"];
/// Upper ends of the buckets, in microseconds: from 10 us to the longest deadline, dense around the budget.
const BUCKETS_US: [u64; 17] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 500_000,
    1_000_000, 10_000_000,
];
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
/// What is longer counts as this: the longest deadline.
const LONGEST_US: u64 = 10_000_000;
/// Significant digits of a quantile.
const DIGITS: u8 = 2;
/// Places; with more threads that decide, some share one.
const PLACES: usize = 64;
/// Quantiles are of the running period and the one before.
const PERIOD_S: u64 = 60;

/// Numbers threads as they first record.
static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PLACES;
}

/// Histograms of all stages.
#[derive(Debug)]
pub(crate) struct StageHistograms {
    began: Instant,
    /// Empty until a thread records there.
    places: Box<[Place]>,
}

/// No two share a cache line, nor the pair of lines that processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(OnceLock<Option<Mutex<Recorded>>>);

#[derive(Debug)]
struct Recorded {
    stages: [Stage; STAGES.len()],
    period: u64,
}

#[derive(Debug)]
struct Stage {
    /// Of the running period, and of the one before.
    recent: [Histogram<u32>; 2],
    /// Since the start, by bucket, not cumulated; the last place is beyond all buckets.
    buckets: [u64; BUCKETS_US.len() + 1],
    sum_us: u64,
}

fn empty() -> Result<Histogram<u32>, CreationError> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
}

impl Recorded {
    /// `None` is never met: the bounds are constants that HdrHistogram takes.
    fn new() -> Option<Mutex<Self>> {
        let stage = empty().ok().map(|histogram| Stage {
            recent: [histogram.clone(), histogram],
            buckets: [0; BUCKETS_US.len() + 1],
            sum_us: 0,
        })?;
        Some(Mutex::new(Self { stages: from_fn(|_| stage.again()), period: 0 }))
    }

    fn go_on_to(&mut self, period: u64) {
        let is_next = period == self.period + 1;
        for Stage { recent: [running, before], .. } in &mut self.stages {
            std::mem::swap(running, before);
            running.reset();
            if !is_next {
                before.reset();
            }
        }
        self.period = period;
    }
}

impl Stage {
    fn again(&self) -> Self {
        Self { recent: self.recent.clone(), ..*self }
    }
}

impl StageHistograms {
    /// Empty ones; periods are counted from `began` on.
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, places: (0..PLACES).map(|_| Place::default()).collect() }
    }

    fn period(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_secs() / PERIOD_S
    }

    /// Takes the times of one recorded decision.
    pub(crate) fn record(&self, times: &StageTimes, at: Instant) {
        let place = self.places.get(PLACE.with(|place| *place));
        let Some(Some(recorded)) = place.map(|place| place.0.get_or_init(Recorded::new)) else { return };
        let mut recorded = recorded.lock();
        let period = self.period(at);
        if period > recorded.period {
            recorded.go_on_to(period);
        }
        let of_stages = [
            times.total,
            times.parse,
            times.enrich,
            times.windows,
            times.model,
            times.explain,
            times.rules,
            times.audit,
        ];
        for (stage, us) in recorded.stages.iter_mut().zip(of_stages) {
            stage.recent[0].saturating_record(us);
            stage.sum_us = stage.sum_us.saturating_add(us);
            let bucket = BUCKETS_US.iter().position(|end| us <= *end).unwrap_or(BUCKETS_US.len());
            stage.buckets[bucket] += 1;
        }
    }

    /// Writes histogram and quantiles as of a moment.
    pub(crate) fn write(&self, text: &mut String, now: Instant) -> std::fmt::Result {
        let stages = STAGES.iter().enumerate().map(|(stage, name)| Some((name, self.merged(stage, now)?)));
        let Some(stages) = stages.collect::<Option<Vec<_>>>() else { return Ok(()) };
        text.push_str(
            "# HELP tollgate_stage_seconds Time of each stage of a recorded decision.\n# TYPE tollgate_stage_seconds histogram\n",
        );
        for (name, stage) in &stages {
            let count: u64 = stage.buckets.iter().sum();
            writeln!(text, "tollgate_stage_seconds_sum{{stage=\"{name}\"}} {}", seconds(stage.sum_us))?;
            writeln!(text, "tollgate_stage_seconds_count{{stage=\"{name}\"}} {count}")?;
            let mut up_to = 0;
            for (end, inside) in BUCKETS_US.iter().zip(stage.buckets) {
                up_to += inside;
                let end = seconds(*end);
                writeln!(text, "tollgate_stage_seconds_bucket{{le=\"{end}\",stage=\"{name}\"}} {up_to}")?;
            }
            writeln!(text, "tollgate_stage_seconds_bucket{{le=\"+Inf\",stage=\"{name}\"}} {count}")?;
        }
        text.push_str(
            "# HELP tollgate_stage_quantile_seconds Time of each stage of the decisions recorded in the last one to two minutes.\n\
             # TYPE tollgate_stage_quantile_seconds summary\n",
        );
        for (name, stage) in stages.iter().filter(|(_, stage)| !stage.recent[0].is_empty()) {
            for quantile in QUANTILES {
                let value = seconds(stage.recent[0].value_at_quantile(quantile));
                writeln!(
                    text,
                    "tollgate_stage_quantile_seconds{{stage=\"{name}\",quantile=\"{quantile}\"}} {value}"
                )?;
            }
        }
        Ok(())
    }

    /// One stage over all threads; what is recent stands in the first histogram.
    fn merged(&self, stage: usize, now: Instant) -> Option<Stage> {
        let period = self.period(now);
        let mut sum =
            Stage { recent: [empty().ok()?, empty().ok()?], buckets: [0; BUCKETS_US.len() + 1], sum_us: 0 };
        for place in &self.places {
            let Some(Some(recorded)) = place.0.get() else { continue };
            let recorded = recorded.lock();
            let of_thread = &recorded.stages[stage];
            // A thread that has not recorded since a period ended has not gone on either.
            let recent = match period.saturating_sub(recorded.period) {
                0 => &of_thread.recent[..],
                1 => &of_thread.recent[..1],
                _ => &[],
            };
            for histogram in recent {
                sum.recent[0].add(histogram).ok()?;
            }
            for (all, one) in sum.buckets.iter_mut().zip(of_thread.buckets) {
                *all += one;
            }
            sum.sum_us = sum.sum_us.saturating_add(of_thread.sum_us);
        }
        Some(sum)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sums of stage times are far below 2^52 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::time::{Clock as _, SystemClock};

    fn times(us: u64) -> StageTimes {
        StageTimes { total: us, rules: us / 100, ..StageTimes::default() }
    }

    fn quantile(histograms: &StageHistograms, now: Instant, stage: &str, quantile: &str) -> Option<f64> {
        let mut text = String::new();
        histograms.write(&mut text, now).unwrap();
        let name = format!("tollgate_stage_quantile_seconds{{stage=\"{stage}\",quantile=\"{quantile}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map(|value| value.parse().unwrap())
    }

    #[test]
    fn threads_are_merged_when_they_are_read() {
        let began = SystemClock.instant();
        let histograms = StageHistograms::new(began);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histograms = &histograms;
                scope.spawn(move || {
                    for us in (1..=10_000).filter(|us| us % 4 == thread) {
                        histograms.record(&times(us), began);
                    }
                });
            }
        });
        for (stage, name, expected_us) in [
            ("total", "0.5", 5_000.0),
            ("total", "0.999", 9_990.0),
            ("rules", "0.99", 99.0),
            ("audit", "0.5", 0.0),
        ] {
            let found_us = quantile(&histograms, began, stage, name).unwrap() * 1e6;
            assert!((found_us - expected_us).abs() <= expected_us / 100.0, "{stage} {name}: {found_us}");
        }
        let mut text = String::new();
        histograms.write(&mut text, began).unwrap();
        for line in [
            "tollgate_stage_seconds_sum{stage=\"total\"} 50.005\n",
            "tollgate_stage_seconds_count{stage=\"total\"} 10000\n",
            "tollgate_stage_seconds_bucket{le=\"0.00001\",stage=\"total\"} 10\n",
            "tollgate_stage_seconds_bucket{le=\"0.002\",stage=\"total\"} 2000\n",
            "tollgate_stage_seconds_bucket{le=\"0.01\",stage=\"total\"} 10000\n",
            "tollgate_stage_seconds_bucket{le=\"+Inf\",stage=\"rules\"} 10000\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn quantiles_are_of_two_periods_and_buckets_of_all_time() {
        let began = SystemClock.instant();
        let after = |seconds| began + Duration::from_secs(seconds);
        let histograms = StageHistograms::new(began);
        histograms.record(&times(100), began);
        assert_eq!(quantile(&histograms, after(59), "total", "0.999"), Some(0.000_1));
        assert_eq!(quantile(&histograms, after(119), "total", "0.999"), Some(0.000_1));
        assert_eq!(quantile(&histograms, after(120), "total", "0.999"), None);
        histograms.record(&times(50), after(70));
        histograms.record(&times(20), after(130));
        assert_eq!(quantile(&histograms, after(130), "total", "0.999"), Some(0.000_05));
        histograms.record(&times(200), after(600));
        assert_eq!(quantile(&histograms, after(600), "total", "0.5"), Some(0.000_2));
        let mut text = String::new();
        histograms.write(&mut text, after(600)).unwrap();
        assert!(text.contains("tollgate_stage_seconds_count{stage=\"total\"} 4\n"), "{text}");
    }

    #[test]
    fn a_time_beyond_the_longest_counts_as_it() {
        let began = SystemClock.instant();
        let histograms = StageHistograms::new(began);
        histograms.record(&times(20_000_000), began);
        let longest = quantile(&histograms, began, "total", "0.5").unwrap();
        assert!((longest - 10.0).abs() <= 0.1, "{longest}");
    }

    /// `cargo test --release --lib stage_times::tests::price -- --ignored --nocapture`
    #[test]
    #[ignore = "measures"]
    fn price() {
        const RECORDS: u32 = 10_000_000;
        let began = SystemClock.instant();
        let histograms = StageHistograms::new(began);
        for us in 0..RECORDS {
            histograms.record(&times(u64::from(us % 4_096)), began);
        }
        println!("{:.1} ns a decision", began.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS));
    }
}
