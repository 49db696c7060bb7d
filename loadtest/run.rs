//! A run: one thread a connection, each taking the next request that is due.
//!
//! Blocking threads are the cheapest exact clock there is here: a thread sleeps until its request is due to some
//! microseconds, while the timers of an asynchronous runtime tick in milliseconds.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use parking_lot::Mutex;

use tollgate::cli::progress;
use tollgate::domain::time::{Clock, SystemClock};
use tollgate::offline::mapping::Mapping;

use crate::load::arrivals::{Arrivals, requests};
use crate::load::connection::{Answer, Connection, Failure};
use crate::load::gate::Gate;
use crate::load::interval_log::IntervalLog;
use crate::load::measured::{ErrorKind, Measured};
use crate::load::mix::{Mix, What};
use crate::load::options::{DURATION_DEFAULT, LoadOptions, REQUESTS_MAX, Rate};
use crate::load::replay::Replay;
use crate::load::report::LoadReport;
use crate::load::schedule::{Due, Schedule};
use crate::load::source::{Bodies, Source, TEMPLATES_MAX};

/// From when all threads are there to the first request.
const LEAD: Duration = Duration::from_millis(50);
/// A thread needs little.
const STACK_BYTES: usize = 256 * 1024;
/// Room for a usual request.
const REQUEST_BYTES: usize = 4 * 1024;
/// Threads note what they measured in so many places at most, of some 700 KB each: a place for each thread would take a second to be touched for
/// the first time, at a thousand connections, and be gathered as slowly.
const PARTS_MAX: u64 = 16;
/// How often what the threads measured is gathered: one line of progress, one interval of the histogram log.
const INTERVAL: Duration = Duration::from_secs(1);

/// Everything that a run needs and that the next one, at another rate, needs again.
#[derive(Debug)]
pub(crate) struct Load {
    options: LoadOptions,
    address: SocketAddr,
    mapping: Option<Mapping>,
    bodies: Bodies,
    head: String,
    /// Where the next run goes on: a `transaction_id` that comes again with another time is another transaction's, and refused.
    next_index: AtomicU64,
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// For people and programs.
    pub(crate) report: LoadReport,
    /// What was measured.
    pub(crate) measured: Measured,
}

impl Load {
    /// Looks the target up and makes or reads the transactions.
    pub(crate) fn prepare(options: LoadOptions) -> anyhow::Result<Self> {
        let address = options.target.resolve()?;
        let mapping = options.map.as_deref().map(Mapping::load).transpose()?;
        let source = match &options.input {
            Some(path) => {
                Source::File { path, mapping: mapping.as_ref(), skip_bad_rows: options.skip_bad_rows }
            }
            None => Source::Simulated(options.seed),
        };
        let duration = options.warm_up + options.duration.unwrap_or(DURATION_DEFAULT);
        let wanted = match (options.rate, options.speed) {
            (_, Some(_)) => 0,
            (Rate::PerSecond(rate), None) => requests(rate, duration),
            (Rate::Max, None) => TEMPLATES_MAX as u64,
        };
        let bodies = Bodies::load(source, wanted, SystemClock.now())?;
        let head = head(&options);
        Ok(Self { options, address, mapping, bodies, head, next_index: AtomicU64::new(0) })
    }

    /// What was asked for.
    pub(crate) const fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Runs at that rate, or as the file says, until all requests are answered or given up, or until `stop`.
    pub(crate) fn run(
        &self,
        rate: f64,
        duration: Option<Duration>,
        stop: &AtomicBool,
    ) -> anyhow::Result<Ran> {
        let options = &self.options;
        let arrivals = match (options.speed, &options.input) {
            (Some(speed), Some(path)) => Arrivals::Replay {
                replay: Replay::start(path, self.mapping.as_ref(), options.skip_bad_rows, speed)?,
                warm_up: options.warm_up,
                end: duration.map(|duration| options.warm_up + duration),
            },
            _ => {
                let duration = duration.unwrap_or(DURATION_DEFAULT);
                let measured = requests(rate, duration);
                if measured == 0 || measured + requests(rate, options.warm_up) > REQUESTS_MAX {
                    bail!("rate times duration must come to 1 to {REQUESTS_MAX} requests");
                }
                Arrivals::at_rate(options.arrivals, rate, options.warm_up, duration, options.seed)
            }
        };
        let mut log = options.histogram_log.as_deref().map(IntervalLog::create).transpose()?;
        let bar = progress::things("sending", arrivals.expected());
        let mix = Mix::new(options.shares(), options.seed);
        let first = self.next_index.load(Ordering::Relaxed);
        let begin = || {
            let (started, started_at) = (SystemClock.instant() + LEAD, SystemClock.now().plus(LEAD));
            Arc::new(Schedule::new(first, started, started_at, options.warm_up, arrivals, mix))
        };
        let (schedule, mut all) = self.send(begin, stop, &bar, &mut log)?;
        bar.finish_and_clear();
        self.next_index.store(schedule.next_index(), Ordering::Relaxed);
        if let Some(error) = schedule.failed() {
            return Err(error.context("the run ended early"));
        }
        if let Some(log) = log {
            log.finish()?;
        }

        // What was due and could not even be sent has waited at least this long.
        let ended = SystemClock.instant();
        let interrupted = stop.load(Ordering::Relaxed);
        if !interrupted {
            for due in schedule.untaken(ended) {
                all.not_sent(micros(ended.saturating_duration_since(due)));
            }
        }
        let rate = options.speed.is_none().then_some(rate);
        let report =
            LoadReport::new(options, rate, &all, schedule.measured_from(), self.bodies.len(), interrupted);
        Ok(Ran { report, measured: all })
    }

    /// Starts a thread for each connection and, when all of them have theirs, sends what the schedule says that `begin` makes.
    fn send(
        &self,
        begin: impl FnOnce() -> Arc<Schedule>,
        stop: &AtomicBool,
        bar: &ProgressBar,
        log: &mut Option<IntervalLog>,
    ) -> anyhow::Result<(Arc<Schedule>, Measured)> {
        let mut all = Measured::new()?;
        let mut interval = Measured::new()?;
        let mut failed_thread = None;
        let gate = Gate::default();
        let mut taken = Measured::new()?;
        let parts = (0..self.options.connections.min(PARTS_MAX)).map(|_| Ok(Mutex::new(Measured::new()?)));
        let parts = parts.collect::<anyhow::Result<Vec<_>>>()?;
        let schedule = std::thread::scope(|scope| {
            let mut senders = Vec::new();
            for (number, measured) in (0..self.options.connections).zip(parts.iter().cycle()) {
                let sender = Sender {
                    load: self,
                    deadline: self.options.deadline_ms.map(Duration::from_millis),
                    measured,
                    connection: Connection::new(self.address, self.options.timeout),
                    body: Vec::with_capacity(REQUEST_BYTES),
                    request: Vec::with_capacity(REQUEST_BYTES),
                };
                let thread = std::thread::Builder::new()
                    .name(format!("load-{number}"))
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, {
                        let gate = &gate;
                        move || sender.run(gate)
                    });
                match thread {
                    Ok(thread) => senders.push(thread),
                    Err(error) => {
                        failed_thread = Some(error);
                        break;
                    }
                }
            }
            gate.wait_for(senders.len(), self.options.timeout);
            let schedule = begin();
            gate.open(failed_thread.is_none().then(|| Arc::clone(&schedule)));
            let mut gathered_at = SystemClock.instant();
            loop {
                let is_over = senders.iter().all(std::thread::ScopedJoinHandle::is_finished);
                let now = SystemClock.instant();
                if is_over || now.saturating_duration_since(gathered_at) >= INTERVAL {
                    interval.clear();
                    for measured in &parts {
                        taken.clear();
                        std::mem::swap(&mut *measured.lock(), &mut taken);
                        interval.add(&taken);
                    }
                    all.add(&interval);
                    show(bar, &all, &interval);
                    if let Some(log) = log
                        && let Err(error) = log.write(&interval, now.saturating_duration_since(gathered_at))
                    {
                        schedule.stop();
                        return Err(error);
                    }
                    gathered_at = now;
                }
                if is_over {
                    break;
                }
                self.check_end(&schedule, stop);
                std::thread::sleep(Duration::from_millis(20));
            }
            for thread in senders {
                if thread.join().is_err() {
                    failed_thread = Some(std::io::Error::other("a thread panicked"));
                }
            }
            anyhow::Ok(schedule)
        })?;
        match failed_thread {
            Some(error) => {
                Err(error).context("not every connection has its thread; take fewer --connections")
            }
            None => Ok((schedule, all)),
        }
    }

    /// Ends the run at Ctrl-C, or when the service cannot catch up within a timeout.
    fn check_end(&self, schedule: &Schedule, stop: &AtomicBool) {
        let give_up_at = schedule.end_or_last_due() + self.options.timeout;
        if SystemClock.instant() > give_up_at || stop.load(Ordering::Relaxed) {
            schedule.stop();
        }
    }
}

fn show(bar: &ProgressBar, all: &Measured, interval: &Measured) {
    bar.set_position(all.counts.answered);
    let p99_ms = interval.latency_us.value_at_quantile(0.99) / 1_000;
    let failed: u64 = interval.counts.errors.values().sum();
    bar.set_message(format!(
        "sending: this second {} sent, {failed} failed, p99 {p99_ms} ms;",
        interval.counts.sent
    ));
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

/// Whole microseconds, at least 1.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// What one thread needs.
struct Sender<'a> {
    load: &'a Load,
    deadline: Option<Duration>,
    /// Since it was gathered last; of some other threads as well.
    measured: &'a Mutex<Measured>,
    // Made by the thread that starts this one: an allocator gives each thread that allocates a megabyte and more of its own, and to clear
    // them for hundreds of threads takes a second.
    connection: Connection,
    body: Vec<u8>,
    request: Vec<u8>,
}

impl Sender<'_> {
    fn run(mut self, gate: &Gate) {
        wake_exactly();
        self.connection.open();
        let Some(schedule) = gate.pass() else { return };
        while let Some(due) = schedule.take() {
            // Before the wait, so that making the request does not make it late.
            self.body.clear();
            self.load.bodies.write(&due, &mut self.body);
            self.request.clear();
            self.request.extend_from_slice(self.load.head.as_bytes());
            // Writing to a Vec cannot fail.
            let _ = write!(self.request, "{}\r\n\r\n", self.body.len());
            self.request.extend_from_slice(&self.body);
            let Some(was_free) = schedule.wait_for(&due) else { break };
            let sent = SystemClock.instant();
            let result = self.connection.exchange(&self.request);
            let answered = SystemClock.instant();
            self.record(&due, was_free, sent, answered, result);
        }
    }

    fn record(
        &self,
        due: &Due,
        was_free: bool,
        sent: Instant,
        answered: Instant,
        result: Result<Answer, Failure>,
    ) {
        let mut measured = self.measured.lock();
        measured.counts.answered += 1;
        if due.is_warm_up {
            return;
        }
        let latency = answered.saturating_duration_since(due.at);
        let lag = sent.saturating_duration_since(due.at);
        measured.latency_us.saturating_record(micros(latency));
        measured.exchange_us.saturating_record(micros(answered.saturating_duration_since(sent)));
        if was_free {
            // The connection was free in time, so that whatever was late, it was this program.
            measured.lag_us.saturating_record(micros(lag));
        } else {
            measured.counts.waited += 1;
        }
        measured.counts.last_sent = measured.counts.last_sent.max(Some(sent));
        measured.counts.sent += 1;
        measured.counts.duplicates += u64::from(matches!(due.what, What::Again { .. }));
        measured.counts.bursts += u64::from(matches!(due.what, What::Burst { .. }));
        match result {
            Ok(Answer { status: 200, degraded, replayed }) => {
                measured.counts.ok += 1;
                measured.ok_us.saturating_record(micros(latency));
                measured.counts.degraded += u64::from(degraded);
                measured.counts.replayed += u64::from(replayed);
                measured.counts.in_time +=
                    u64::from(self.deadline.is_none_or(|deadline| latency <= deadline));
            }
            Ok(Answer { status, .. }) => {
                *measured.counts.errors.entry(ErrorKind::Status(status)).or_default() += 1;
            }
            Err(failure) => *measured.counts.errors.entry(ErrorKind::Failed(failure)).or_default() += 1,
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
