//! A run: one thread a connection, each taking the next request that is due.
//!
//! Blocking threads are the cheapest exact clock there is here: a thread sleeps until its request is due to some
//! microseconds, while the timers of an asynchronous runtime tick in milliseconds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::CreationError;
use indicatif::ProgressBar;

use tollgate::cli::progress;
use tollgate::domain::time::{Clock, SystemClock};

use crate::load::connection::{Answer, Connection, Failure};
use crate::load::options::{LoadOptions, REQUESTS_MAX};
use crate::load::report::{LoadReport, Measured};
use crate::load::schedule::{Due, Schedule};
use crate::load::source::{Bodies, Source};

/// Between the start of the threads and the first request.
const LEAD: Duration = Duration::from_millis(50);
/// A thread needs little.
const STACK_BYTES: usize = 256 * 1024;

/// `tollgate load`: runs, and prints the report.
pub(crate) fn main(options: LoadOptions) -> anyhow::Result<()> {
    let json = options.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let report = runtime.block_on(run(options))?;
    if json {
        println!("{}", report.to_json()?);
    } else {
        print!("{report}");
    }
    Ok(())
}

/// Runs until all requests are answered or given up, or until Ctrl-C.
pub(crate) async fn run(options: LoadOptions) -> anyhow::Result<LoadReport> {
    let measured = requests(options.rate, options.duration);
    let warm_up = requests(options.rate, options.warm_up);
    if measured == 0 || measured + warm_up > REQUESTS_MAX {
        bail!("rate times duration must come to 1 to {REQUESTS_MAX} requests");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stop_run = Arc::clone(&stop);
    let mut run = tokio::task::spawn_blocking(move || run_blocking(&options, warm_up, measured, &stop_run));
    tokio::select! {
        result = &mut run => return result.context("the run ended early")?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C")?,
    }
    stop.store(true, Ordering::Relaxed);
    run.await.context("the run ended early")?
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are positive and bounded")]
fn requests(rate: f64, duration: Duration) -> u64 {
    (rate * duration.as_secs_f64()).round() as u64
}

fn run_blocking(
    options: &LoadOptions,
    warm_up: u64,
    measured: u64,
    stop: &AtomicBool,
) -> anyhow::Result<LoadReport> {
    let address = options.target.resolve()?;
    let now = SystemClock.now();
    let source = match &options.input {
        Some(path) => Source::File(path),
        None => Source::Simulated(options.seed),
    };
    let bodies = Bodies::load(source, warm_up + measured, now)?;
    let head = head(options);
    let counters = Counters::default();
    let schedule = Schedule::new(
        SystemClock.instant() + LEAD,
        SystemClock.now().plus(LEAD),
        options.rate,
        warm_up,
        measured,
    );

    let bar = progress::things("sending", Some(schedule.total()));
    let mut all = Measured::new()?;
    let mut failed_thread = None;
    std::thread::scope(|scope| {
        let sender = Sender {
            address,
            timeout: options.timeout,
            head: &head,
            bodies: &bodies,
            schedule: &schedule,
            counters: &counters,
            deadline: options.deadline_ms.map(Duration::from_millis),
        };
        let mut threads = Vec::new();
        for number in 0..options.connections {
            let sender = sender.clone();
            let thread = std::thread::Builder::new()
                .name(format!("load-{number}"))
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || sender.run());
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    failed_thread = Some(error);
                    schedule.stop();
                    break;
                }
            }
        }
        watch(options, &schedule, &counters, stop, &bar, || {
            threads.iter().all(|thread| thread.is_finished())
        });
        for thread in threads {
            match thread.join() {
                Ok(Ok(measured)) => all.add(&measured),
                Ok(Err(error)) => failed_thread = Some(std::io::Error::other(error)),
                Err(_) => failed_thread = Some(std::io::Error::other("a thread panicked")),
            }
        }
    });
    bar.finish_and_clear();
    if let Some(error) = failed_thread {
        return Err(error).context("not every connection has its thread; take fewer --connections");
    }

    // What was due and could not even be sent has waited at least this long.
    let ended = SystemClock.instant();
    let interrupted = stop.load(Ordering::Relaxed);
    for due in schedule.untaken(ended) {
        if !interrupted {
            all.not_sent(micros(ended.saturating_duration_since(due.at)));
        }
    }
    Ok(LoadReport::new(options, &all, schedule.measured_from(), bodies.len(), interrupted))
}

/// Shows how it goes until it is over; stops it at Ctrl-C, or when the service cannot catch up within a timeout.
fn watch(
    options: &LoadOptions,
    schedule: &Schedule,
    counters: &Counters,
    stop: &AtomicBool,
    bar: &ProgressBar,
    is_over: impl Fn() -> bool,
) {
    let last_due = schedule.measured_from() + options.duration;
    while !is_over() {
        std::thread::sleep(Duration::from_millis(20));
        let answered = counters.answered.load(Ordering::Relaxed);
        bar.set_position(answered);
        bar.set_message(format!("sending, {} failed", counters.failed.load(Ordering::Relaxed)));
        let is_late = SystemClock.instant() > last_due + options.timeout;
        if is_late || stop.load(Ordering::Relaxed) {
            schedule.stop();
        }
    }
}

/// The head of every request, up to the number of Content-Length.
fn head(options: &LoadOptions) -> String {
    use std::fmt::Write;
    let mut head = format!(
        "POST /v1/decisions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
        options.target.authority()
    );
    // Writing to a String cannot fail.
    if let Some(key) = &options.key {
        let _ = write!(head, "Authorization: Bearer {key}\r\n");
    }
    if let Some(deadline_ms) = options.deadline_ms {
        let _ = write!(head, "X-Deadline-Ms: {deadline_ms}\r\n");
    }
    head.push_str("Content-Length: ");
    head
}

/// What the progress bar shows.
#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Whole microseconds, at least 1.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// What one thread needs.
#[derive(Clone)]
struct Sender<'a> {
    address: SocketAddr,
    timeout: Duration,
    head: &'a str,
    bodies: &'a Bodies,
    schedule: &'a Schedule,
    counters: &'a Counters,
    deadline: Option<Duration>,
}

impl Sender<'_> {
    fn run(&self) -> Result<Measured, CreationError> {
        wake_exactly();
        let mut measured = Measured::new()?;
        let mut connection = Connection::new(self.address, self.timeout);
        let mut body = Vec::new();
        let mut request = Vec::new();
        while let Some(due) = self.schedule.take() {
            // Before the wait, so that making the request does not make it late.
            body.clear();
            self.bodies.write(due.index, due.occurred_at, &mut body);
            request.clear();
            request.extend_from_slice(self.head.as_bytes());
            request.extend_from_slice(body.len().to_string().as_bytes());
            request.extend_from_slice(b"\r\n\r\n");
            request.extend_from_slice(&body);
            let Some(was_free) = self.schedule.wait_for(&due) else { break };
            let sent = SystemClock.instant();
            let result = connection.exchange(&request);
            let answered = SystemClock.instant();
            self.counters.answered.fetch_add(1, Ordering::Relaxed);
            if !matches!(result, Ok(Answer { status: 200, .. })) {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
            }
            if !due.is_warm_up {
                self.record(&mut measured, &due, was_free, sent, answered, result);
            }
        }
        Ok(measured)
    }

    fn record(
        &self,
        measured: &mut Measured,
        due: &Due,
        was_free: bool,
        sent: Instant,
        answered: Instant,
        result: Result<Answer, Failure>,
    ) {
        let latency = answered.saturating_duration_since(due.at);
        let lag = sent.saturating_duration_since(due.at);
        measured.latency_us.saturating_record(micros(latency));
        measured.exchange_us.saturating_record(micros(answered.saturating_duration_since(sent)));
        if was_free {
            // The connection was free in time, so that whatever was late, it was this program.
            measured.lag_us.saturating_record(micros(lag));
        } else {
            measured.waited += 1;
        }
        measured.last_sent = measured.last_sent.max(Some(sent));
        measured.sent += 1;
        match result {
            Ok(Answer { status: 200, degraded }) => {
                measured.ok += 1;
                measured.ok_us.saturating_record(micros(latency));
                measured.degraded += u64::from(degraded);
                measured.in_time += u64::from(self.deadline.is_none_or(|deadline| latency <= deadline));
            }
            Ok(Answer { status, .. }) => *measured.errors.entry(format!("status_{status}")).or_default() += 1,
            Err(failure) => *measured.errors.entry(failure.name().to_owned()).or_default() += 1,
        }
    }
}

/// Linux rounds the sleep of a thread up by 50 us to save wake-ups, which would be counted as latency.
fn wake_exactly() {
    #[cfg(target_os = "linux")]
    {
        // Without it the lag is larger, and the report says so.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    }
}
