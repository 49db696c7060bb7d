//! The writer: one thread that drains the queue in ticket order, writes group by group, folds, and answers.
//!
//! For each group, in this order: what must be there before it (`before_group`), one write (with `Ack::Disk`, one sync), the hook
//! `on_committed`, the status, the answers. So whoever has an answer, or sees in the status that a record is written, finds its effect in
//! the state. If the disk refuses, the group is taken back, its contexts go to `on_failed`, and tickets are refused until a probe shows that
//! the disk works again.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::vec::Drain;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::audit::append::Appender;
use crate::audit::disk::{Disk, SystemDisk};
use crate::audit::failure::{Failure, FailureKind, LogError};
use crate::audit::frame::Kind;
use crate::audit::open::OpenedLog;
use crate::audit::queue::{Entry, QUEUE_MAX, Queue, Ticket, Wakeup};
use crate::audit::receipt::{Head, Receipt};
use crate::audit::sync::{Syncer, Syncs};
use crate::domain::time::{Clock, SystemClock};

/// Most records that are written at once.
pub const GROUP_RECORDS_MAX: usize = 4096;
/// A group that has this many bytes takes no more records.
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often the writer naps for `linger` without finding anything before it sleeps until it is woken.
pub const LINGER_NAPS_MAX: u32 = 20;
/// How long a failed log waits before the first probe; doubled with each that fails.
pub const PROBE_WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two probes.
pub const PROBE_WAIT_MAX: Duration = Duration::from_secs(5);

/// When a record counts as acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// When the kernel has it: survives the death of the process at any instant.
    #[default]
    Process,
    /// When stable storage has it: survives power loss as well.
    Disk,
}

/// What must be written before the records of a group are. Called on the writer's thread; where it fails, the group is refused as if
/// the log could not be written.
pub type BeforeGroup = Arc<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// How to write.
#[derive(Clone)]
pub struct WriterOptions {
    /// When a record counts as acknowledged.
    pub ack: Ack,
    /// Most tickets that may be outstanding; at least 1.
    pub queue_max: usize,
    /// With `Ack::Disk`: from the end of one sync to the start of the next. Longer groups more records into one sync.
    pub commit_interval: Duration,
    /// With `Ack::Process`: after a group, the writer looks for the next one that often instead of being woken for it. That takes the cost of waking a thread off
    /// those who commit, and adds up to this (and what the kernel's timers add) to their answers. Zero: it is always woken.
    pub linger: Duration,
    /// With `Ack::Process`: how often what was written is synced in the background; none leaves that to the kernel.
    pub sync_interval: Option<Duration>,
    /// What is written before each group.
    pub before_group: Option<BeforeGroup>,
    /// The clock, for intervals and for the time of creation of segments.
    pub clock: Arc<dyn Clock>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            ack: Ack::default(),
            queue_max: QUEUE_MAX,
            commit_interval: Duration::from_millis(5),
            linger: Duration::ZERO,
            sync_interval: Some(Duration::from_secs(1)),
            before_group: None,
            clock: Arc::new(SystemClock),
            disk: Arc::new(SystemDisk),
        }
    }
}

impl fmt::Debug for WriterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterOptions")
            .field("ack", &self.ack)
            .field("queue_max", &self.queue_max)
            .field("commit_interval", &self.commit_interval)
            .field("linger", &self.linger)
            .field("sync_interval", &self.sync_interval)
            .finish_non_exhaustive()
    }
}

/// A record that is acknowledged.
#[derive(Debug)]
pub struct Committed<C> {
    /// What it is about.
    pub kind: Kind,
    /// What the log says about it.
    pub receipt: Receipt,
    /// What was given with it.
    pub context: C,
}

/// A record that could not be written.
#[derive(Debug)]
pub struct Failed<C> {
    /// What it is about.
    pub kind: Kind,
    /// Why.
    pub error: LogError,
    /// What was given with it.
    pub context: C,
}

/// Called on the writer's thread with each group that is acknowledged, in sequence order, before the answers. Must be quick: the next group waits for it.
/// A panic in it stops the writer, since the state it folds is then not what the log says.
pub type OnCommitted<C> = Box<dyn FnMut(Drain<'_, Committed<C>>) + Send>;
/// Called on the writer's thread with the records that could not be written, in ticket order, before the answers.
pub type OnFailed<C> = Box<dyn FnMut(Drain<'_, Failed<C>>) + Send>;

/// The writer's state, for `readyz` and metrics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogStatus {
    /// Whether records are taken.
    pub healthy: bool,
    /// The latest failure, also when it is over; none since the start.
    pub last_error: Option<String>,
    /// The last acknowledged record.
    pub head: Head,
    /// The first sequence of the segment that is written.
    pub segment: u64,
    /// Length of the whole log, in bytes.
    pub bytes: u64,
    /// Tickets outstanding.
    pub queue_depth: usize,
    /// Groups written since the start.
    pub groups: u64,
    /// Records acknowledged since the start.
    pub committed: u64,
    /// Records refused after they were handed over, since the start.
    pub failed: u64,
    /// Times that the log went from healthy to failed, since the start.
    pub failures: u64,
}

struct Owner<C> {
    queue: Arc<Queue<C>>,
    status: Arc<Mutex<LogStatus>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<C> Drop for Owner<C> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Where records are handed over. Cheap to clone; when the last one is dropped, the writer drains, syncs and ends by itself.
pub struct LogHandle<C>(Arc<Owner<C>>);

impl<C> Clone for LogHandle<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for LogHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogHandle").field(&*self.0.status.lock()).finish()
    }
}

impl<C> LogHandle<C> {
    /// The next place in the order of the log. Never blocks: a full queue, a log that cannot be written and a closed one are refused at once.
    pub fn reserve(&self) -> Result<Ticket<C>, LogError> {
        self.0.queue.reserve()
    }

    /// As `reserve`, for records that nobody waits for: refused already when half of the places are taken.
    pub fn reserve_spare(&self) -> Result<Ticket<C>, LogError> {
        self.0.queue.reserve_spare()
    }

    /// The number of the next ticket, for `is_settled`.
    pub fn next_ticket(&self) -> u64 {
        self.0.queue.next_number()
    }

    /// Whether every ticket before that number has been committed, with the hook `on_committed` done, refused or dropped.
    pub fn is_settled(&self, ticket: u64) -> bool {
        self.0.queue.is_settled(ticket)
    }

    /// Why records are refused, while something is wrong.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.0.queue.failure()
    }

    /// The state of the writer.
    pub fn status(&self) -> LogStatus {
        let mut status = self.0.status.lock().clone();
        status.queue_depth = self.0.queue.depth();
        status
    }

    /// Takes no more tickets, waits until those that are out are settled and everything is on stable storage, and ends the writer. After
    /// `patience`, leaves open tickets be: their answers are `Closed`. Blocks. Fails if the last records could not be synced.
    pub fn close(&self, patience: Duration) -> Result<(), LogError> {
        self.0.queue.close();
        self.0.queue.wait_done(patience);
        if let Some(thread) = self.0.thread.lock().take() {
            let _ = thread.join();
        }
        match self.reserve() {
            Err(LogError::Failed(failure)) => Err(LogError::Failed(failure)),
            _ => Ok(()),
        }
    }
}

/// Starts writers.
#[derive(Clone, Copy, Debug)]
pub struct LogWriter;

impl LogWriter {
    /// Starts the thread that writes `log`. Fails if a thread cannot be started.
    pub fn start<C: Send + 'static>(
        log: OpenedLog,
        options: WriterOptions,
        on_committed: OnCommitted<C>,
        on_failed: OnFailed<C>,
    ) -> io::Result<LogHandle<C>> {
        let sync_interval = options.sync_interval;
        let mut writer = Writer::new(log, options, on_committed, on_failed);
        writer.syncer = match (&writer.syncs, sync_interval) {
            (Some(syncs), Some(interval)) => Some(Syncer::start(syncs, interval)?),
            _ => None,
        };
        let (queue, status) = (Arc::clone(&writer.queue), Arc::clone(&writer.status));
        let thread =
            std::thread::Builder::new().name("audit-writer".to_owned()).spawn(move || writer.run())?;
        Ok(LogHandle(Arc::new(Owner { queue, status, thread: Mutex::new(Some(thread)) })))
    }
}

type Answer = oneshot::Sender<Result<Receipt, LogError>>;

/// While the disk refuses.
struct Failing {
    failure: Arc<Failure>,
    probe_at: Instant,
    wait: Duration,
}

/// What the thread works with. Tests that want each step in their own hands take the steps themselves.
pub(crate) struct Writer<C> {
    pub(crate) queue: Arc<Queue<C>>,
    pub(crate) status: Arc<Mutex<LogStatus>>,
    appender: Appender,
    /// With `Ack::Process`, if there is a `sync_interval`: what is to be synced, and the thread that does.
    pub(crate) syncs: Option<Arc<Syncs>>,
    syncer: Option<Syncer>,
    next_sync: Instant,
    options: WriterOptions,
    on_committed: OnCommitted<C>,
    on_failed: OnFailed<C>,
    /// Taken from the queue, not yet encoded.
    entries: VecDeque<Entry<C>>,
    /// Encoded, not yet settled; and their answers.
    committed: Vec<Committed<C>>,
    answers: Vec<Answer>,
    failing: Option<Failing>,
}

impl<C> Writer<C> {
    pub(crate) fn new(
        log: OpenedLog,
        options: WriterOptions,
        on_committed: OnCommitted<C>,
        on_failed: OnFailed<C>,
    ) -> Self {
        let directory = log.directory().to_owned();
        let appender = Appender::new(log, Arc::clone(&options.disk), options.ack == Ack::Disk);
        let syncs = (options.ack == Ack::Process && options.sync_interval.is_some())
            .then(|| Arc::new(Syncs::new(Arc::clone(&options.disk), directory, appender.marker().clone())));
        let status = LogStatus {
            healthy: true,
            last_error: None,
            head: appender.head(),
            segment: appender.segment(),
            bytes: appender.log_bytes(),
            queue_depth: 0,
            groups: 0,
            committed: 0,
            failed: 0,
            failures: 0,
        };
        Self {
            queue: Arc::new(Queue::new(options.queue_max)),
            status: Arc::new(Mutex::new(status)),
            appender,
            syncs,
            syncer: None,
            next_sync: options.clock.instant(),
            options,
            on_committed,
            on_failed,
            entries: VecDeque::new(),
            committed: Vec::new(),
            answers: Vec::new(),
            failing: None,
        }
    }

    fn run(mut self) {
        self.appender.make_room();
        let panicked = catch_unwind(AssertUnwindSafe(|| self.serve())).is_err();
        if let Some(syncer) = &mut self.syncer {
            syncer.close();
        }
        self.appender.release_room();
        let synced = self.finish();
        let failure = if panicked {
            let message =
                "a hook of the writer panicked; restart the service to fold the log again".to_owned();
            Some(Failure { kind: FailureKind::Stopped, message })
        } else {
            synced.err()
        };
        {
            let mut status = self.status.lock();
            status.healthy = false;
            if let Some(failure) = &failure {
                status.last_error = Some(failure.to_string());
            }
        }
        let queue = Arc::clone(&self.queue);
        // Releases the log's lock and drops unanswered entries before anybody hears that the writer is gone.
        drop(self);
        queue.finish(failure.map(Arc::new));
    }

    /// Brings everything that is written to stable storage.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if let Some(syncs) = &self.syncs {
            syncs.sync_all();
            if let Some(error) = syncs.take_failure() {
                let _ = self.appender.sync_failed(&error);
            }
        }
        self.appender.sync()
    }

    fn serve(&mut self) {
        while self.turn() {}
    }

    /// Waits for the next thing to do and does it; false at the end.
    pub(crate) fn turn(&mut self) -> bool {
        if let Some(error) = self.syncs.as_ref().and_then(|syncs| syncs.take_failure()) {
            // What was acknowledged stays where it is, but nothing is built upon it before it is written once more.
            let failure = self.appender.sync_failed(&error);
            self.fail(failure);
        }
        let now = self.options.clock.instant();
        if self.failing.as_ref().is_some_and(|failing| failing.probe_at <= now) {
            self.probe();
            return true;
        }
        self.linger();
        let timeout = match &self.failing {
            Some(failing) => Some(failing.probe_at.saturating_duration_since(now)),
            // A failure of the last sync is heard of also when nothing more comes.
            None => self
                .options
                .sync_interval
                .filter(|_| self.syncs.as_ref().is_some_and(|syncs| syncs.is_busy())),
        };
        match self.queue.wait(timeout) {
            Wakeup::Stop => return false,
            Wakeup::TimedOut => return true,
            Wakeup::Ready => {}
        }
        if self.options.ack == Ack::Disk && self.failing.is_none() {
            let early = self.next_sync.saturating_duration_since(self.options.clock.instant());
            if !early.is_zero() {
                self.queue.nap(early);
            }
        }
        self.take_group();
        if let Some(failing) = &self.failing {
            let failure = Arc::clone(&failing.failure);
            self.refuse(&failure);
        }
        while !self.entries.is_empty() {
            if let Err(failure) = self.write_group() {
                let failure = self.fail(failure);
                self.refuse(&failure);
            }
        }
        true
    }

    fn linger(&self) {
        if self.options.ack == Ack::Process && self.failing.is_none() && !self.options.linger.is_zero() {
            for _ in 0..LINGER_NAPS_MAX {
                if self.queue.is_ready() {
                    return;
                }
                self.queue.nap(self.options.linger);
            }
        }
    }

    fn take_group(&mut self) {
        let (mut counted, mut bytes) = (0, 0);
        while counted < GROUP_RECORDS_MAX && bytes < GROUP_BYTES_MAX && self.queue.take(&mut self.entries) {
            bytes += self.entries.iter().skip(counted).map(|entry| entry.body.len()).sum::<usize>();
            counted = self.entries.len();
        }
    }

    /// Writes and settles the first entries, as many as belong into the segment.
    fn write_group(&mut self) -> Result<(), Failure> {
        if let Some(before_group) = &self.options.before_group {
            before_group()?;
        }
        let mut too_long = Vec::new();
        while self.appender.encoded_bytes() < GROUP_BYTES_MAX
            && let Some(entry) = self.entries.pop_front()
        {
            if !self.appender.has_room(entry.body.len()) {
                self.entries.push_front(entry);
                break;
            }
            match self.appender.encode(entry.kind, entry.schema, entry.recorded_at, &entry.body) {
                Ok(receipt) => {
                    self.committed.push(Committed { kind: entry.kind, receipt, context: entry.context });
                    self.answers.push(entry.answer);
                }
                Err(error) => too_long.push((
                    Failed { kind: entry.kind, error: LogError::from(error), context: entry.context },
                    entry.answer,
                )),
            }
        }
        self.settle_failed(too_long);
        if !self.committed.is_empty() {
            self.appender.write()?;
            self.next_sync = self.options.clock.instant() + self.options.commit_interval;
            self.ask_for_sync();
            self.settle();
            self.appender.make_room();
        }
        if self.entries.front().is_some_and(|entry| !self.appender.has_room(entry.body.len())) {
            self.appender.rotate(self.options.clock.now())?;
        }
        Ok(())
    }

    fn ask_for_sync(&self) {
        if let Some(syncs) = &self.syncs {
            let (file, end) = (self.appender.file(), self.appender.end());
            if !syncs.ask(file, end) {
                // The disk is too slow for what is written: better to wait than to leave ever more to chance.
                syncs.sync_all();
                syncs.ask(file, end);
            }
        }
    }

    /// Folds what was written, then says that it is written, then answers. Whoever follows the log and finds a record there finds, too, what
    /// the fold told of it.
    fn settle(&mut self) {
        let (head, written) = (self.appender.head(), self.committed.len() as u64);
        let receipts: Vec<Receipt> = self.committed.iter().map(|committed| committed.receipt).collect();
        (self.on_committed)(self.committed.drain(..));
        {
            let mut status = self.status.lock();
            status.head = head;
            status.segment = self.appender.segment();
            status.bytes = self.appender.log_bytes();
            status.groups += 1;
            status.committed += written;
        }
        for (answer, receipt) in self.answers.drain(..).zip(receipts) {
            // Whoever asked may have gone away.
            let _ = answer.send(Ok(receipt));
        }
    }

    fn settle_failed(&mut self, failed: Vec<(Failed<C>, Answer)>) {
        if failed.is_empty() {
            return;
        }
        self.status.lock().failed += failed.len() as u64;
        let (mut failed, answers): (Vec<Failed<C>>, Vec<Answer>) = failed.into_iter().unzip();
        let errors: Vec<LogError> = failed.iter().map(|failed| failed.error.clone()).collect();
        (self.on_failed)(failed.drain(..));
        for (answer, error) in answers.into_iter().zip(errors) {
            let _ = answer.send(Err(error));
        }
    }

    /// Refuses everything that was taken from the queue.
    fn refuse(&mut self, failure: &Arc<Failure>) {
        let error = LogError::Failed(Arc::clone(failure));
        let mut failed = Vec::with_capacity(self.committed.len() + self.entries.len());
        for (committed, answer) in self.committed.drain(..).zip(self.answers.drain(..)) {
            let Committed { kind, context, .. } = committed;
            failed.push((Failed { kind, error: error.clone(), context }, answer));
        }
        for Entry { kind, context, answer, .. } in self.entries.drain(..) {
            failed.push((Failed { kind, error: error.clone(), context }, answer));
        }
        self.settle_failed(failed);
    }

    /// From now on, tickets are refused until a probe succeeds.
    fn fail(&mut self, failure: Failure) -> Arc<Failure> {
        let failure = Arc::new(failure);
        {
            let mut status = self.status.lock();
            status.healthy = false;
            status.last_error = Some(failure.to_string());
            status.failures += u64::from(self.failing.is_none());
        }
        self.queue.set_failed(&failure);
        let wait =
            self.failing.as_ref().map_or(PROBE_WAIT_MIN, |failing| (failing.wait * 2).min(PROBE_WAIT_MAX));
        let probe_at = self.options.clock.instant() + wait;
        self.failing = Some(Failing { failure: Arc::clone(&failure), probe_at, wait });
        failure
    }

    fn probe(&mut self) {
        let syncs = self.syncs.clone();
        let pause = syncs.as_ref().map(|syncs| syncs.pause());
        let recovered = self.appender.recover(self.options.clock.now());
        if let Some(syncs) = &syncs {
            if self.appender.is_unstable() {
                syncs.halt();
            } else if recovered.is_ok() {
                syncs.resume();
            }
        }
        drop(pause);
        match recovered {
            Ok(()) => {
                self.failing = None;
                {
                    let mut status = self.status.lock();
                    status.healthy = true;
                    status.segment = self.appender.segment();
                    status.bytes = self.appender.log_bytes();
                }
                self.queue.set_open();
            }
            Err(failure) => {
                self.fail(failure);
            }
        }
    }
}
