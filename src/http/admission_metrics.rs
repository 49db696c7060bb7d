//! Admission and rate limits in the text of the metrics.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::http::admission::{Admission, DELAY_BUCKETS_US, Shed};
use crate::http::rate_limit::RateLimiter;

/// What became of a request that was shed, in the order of the counts.
const ANSWERS: [&str; 2] = ["refused", "rules_only"];

/// Writes all of it.
pub(super) fn write(text: &mut String, admission: &Admission, limiter: &RateLimiter) -> std::fmt::Result {
    text.push_str(
        "# HELP tollgate_shed Decision requests for which there was no time, by reason and answer.\n\
         # TYPE tollgate_shed counter\n",
    );
    for (reason, counts) in Shed::ALL.iter().zip(&admission.counts.shed) {
        for (answer, count) in ANSWERS.iter().zip(counts) {
            let (reason, count) = (reason.name(), count.load(Ordering::Relaxed));
            writeln!(text, "tollgate_shed_total{{reason=\"{reason}\",answer=\"{answer}\"}} {count}")?;
        }
    }
    text.push_str(
        "# HELP tollgate_queue_delay_seconds From when the kernel received a decision request to when it was looked at.\n\
         # TYPE tollgate_queue_delay_seconds histogram\n# UNIT tollgate_queue_delay_seconds seconds\n",
    );
    let mut below = 0;
    let ends = DELAY_BUCKETS_US.iter().map(|end| format!("{:?}", seconds(*end))).chain(["+Inf".to_owned()]);
    for (end, count) in ends.zip(&admission.counts.delays) {
        below += count.load(Ordering::Relaxed);
        writeln!(text, "tollgate_queue_delay_seconds_bucket{{le=\"{end}\"}} {below}")?;
    }
    writeln!(text, "tollgate_queue_delay_seconds_count {below}")?;
    let sum = seconds(admission.counts.delay_us.load(Ordering::Relaxed));
    writeln!(text, "tollgate_queue_delay_seconds_sum {sum:?}")?;
    for (name, help, value) in [
        ("admission_in_flight", "Decisions in work on all threads", admission.in_flight()),
        (
            "admission_in_flight_max",
            "Most decisions in work on all threads; 0: no limit",
            admission.in_flight_max(),
        ),
        ("admission_standing_queues", "Threads whose queue stands: there is overload", admission.standing()),
        ("rate_limit_clients", "Clients whose rate is remembered", limiter.clients()),
    ] {
        write!(
            text,
            "# HELP tollgate_{name} {help}.\n# TYPE tollgate_{name} gauge\ntollgate_{name} {value}\n"
        )?;
    }
    text.push_str(
        "# HELP tollgate_rate_limited Requests over their client's limit, answered 429.\n\
         # TYPE tollgate_rate_limited counter\n",
    );
    writeln!(text, "tollgate_rate_limited_total {}", limiter.limited())
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
