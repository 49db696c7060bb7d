//! State snapshots: taken in the background while requests are decided, so that a start reads only the end of the log.
//!
//! One thread takes them, one after the other. Under the lane's lock, where no `observe` and no consequence is under way, it notes
//! the last record whose consequences the windows hold, and begins the snapshots of windows and ledger: microseconds. Then it waits
//! until all attempts that are counted by now are settled: their records are in the log, or never will be. Only then is the
//! snapshot written, with a record at or after the last of them in its header; where the log does not hold that record any more
//! (power loss), the snapshot is not used.
//!
//! What fails is logged and counted, and touches no decision.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;
use tracing::{error, info, warn};

use crate::audit::failure::FailureKind;
use crate::audit::writer::LogHandle;
use crate::domain::time::{Clock, EventTime};
use crate::engine::state::State;
use crate::pipeline::fold::Consequence;
use crate::pipeline::index::DecisionIndex;
use crate::pipeline::lane::{Mark, SharedLane};
use crate::pipeline::metrics::Metrics;
use crate::pipeline::restore::Restored;
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_file::{self, Beside};
use crate::pipeline::snapshot_header::{Header, Identity};
use crate::privacy::key_store::{KeyStore, KeyStoreError};
use crate::rules::run_time;

/// How long a snapshot waits for the attempts that are counted to be in the log.
const SETTLE_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);
/// How long after its end an entry of a list is kept: until then, a payment that comes late finds it as it was at the payment's own
/// time. No decision is ever made again from it (a record names what was found), so that it may go without a record of its own, and
/// come back with a start that folds the whole log, until it goes again.
pub(crate) const LIST_SWEEP_AFTER: Duration = run_time::SWEEP_AFTER;
/// Entries that go with one snapshot, and at once.
const LIST_SWEEP_MAX: usize = 10_000;
const LIST_SWEEP_STEP: usize = 50;
/// Requests for a snapshot that wait for the one being taken; one more is not taken on.
const ASKED_MAX: usize = 1;

/// Why there is no new snapshot.
#[derive(Debug, Error)]
pub enum SnapshotFailure {
    /// Another one is being taken of the same state.
    #[error("another one is being taken")]
    Busy,
    /// The writer of the log has stopped for a defect: the state may hold half of a record's consequences.
    #[error("the state can no longer be trusted: {0}")]
    Stopped(String),
    /// The log does not write what it was given.
    #[error("records that are on their way do not reach the log")]
    Unsettled,
    /// Keys that the records before it need, or whose erasure is before it: a start from it would not look for them again.
    #[error("the keys of subjects cannot be settled: {0}")]
    Keys(#[from] KeyStoreError),
    /// The file.
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// A snapshot that was written or restored.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Taken {
    /// The last record whose consequences it holds.
    pub sequence: u64,
    /// Keys of its windows.
    pub keys: u64,
    /// Its length.
    pub bytes: u64,
    /// How long it took to write it, or to read it.
    pub took: Duration,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub taken_at_ms: i64,
}

impl From<&Restored> for Taken {
    fn from(restored: &Restored) -> Self {
        let Restored { header, keys, bytes, took } = restored;
        Self {
            sequence: header.applied.sequence,
            keys: *keys,
            bytes: *bytes,
            took: *took,
            taken_at_ms: header.taken_at_ms,
        }
    }
}

/// What snapshots are taken of, and where they go.
pub(crate) struct Source {
    pub(crate) state: Arc<State>,
    pub(crate) index: Arc<DecisionIndex>,
    pub(crate) lane: SharedLane,
    pub(crate) log: LogHandle<Consequence>,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) identity: Identity,
    pub(crate) directory: StateDirectory,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Somebody waits for a snapshot; dropped when it is taken, or is not.
struct Asked(#[expect(dead_code, reason = "its end is the answer")] SyncSender<()>);

/// The thread that takes snapshots. It ends with this value.
pub(crate) struct Snapshots {
    asks: Mutex<Option<SyncSender<Asked>>>,
    /// From then on no snapshot is worth waiting for.
    give_up_at: Arc<OnceLock<Instant>>,
    clock: Arc<dyn Clock>,
}

impl Snapshots {
    /// Starts the thread; none when `interval` is none. `restored` is what the state began with.
    pub(crate) fn start(
        source: Source,
        interval: Option<Duration>,
        restored: Option<&Restored>,
    ) -> io::Result<Self> {
        let (clock, give_up_at) = (Arc::clone(&source.clock), Arc::default());
        let last = restored.map(Taken::from);
        if let Some(last) = &last {
            source.metrics.note_snapshot(last);
        }
        let asks = match interval {
            None => None,
            Some(interval) => {
                let (sender, receiver) = sync_channel(ASKED_MAX);
                let last = last.map(|last| last.sequence);
                let taker = Taker { source, last, give_up_at: Arc::clone(&give_up_at) };
                std::thread::Builder::new()
                    .name("state-snapshot".to_owned())
                    .spawn(move || taker.run(&receiver, interval))?;
                Some(sender)
            }
        };
        Ok(Self { asks: Mutex::new(asks), give_up_at, clock })
    }

    /// Takes a snapshot now, if a record has come since the last one, and waits for it for so long.
    pub(crate) fn take(&self, patience: Duration) {
        let (answer, answered) = sync_channel(0);
        if let Some(asks) = &*self.asks.lock()
            && asks.try_send(Asked(answer)).is_ok()
        {
            // Nothing is ever sent: it ends.
            let _ = answered.recv_timeout(patience);
        }
    }

    /// Takes a last one, and ends the thread. One that is not done after `patience` is given up.
    pub(crate) fn close(&self, patience: Duration) {
        let _ = self.give_up_at.set(self.clock.instant() + patience);
        self.take(patience);
        *self.asks.lock() = None;
    }
}

struct Taker {
    source: Source,
    /// The last snapshot that is known to be good.
    last: Option<u64>,
    give_up_at: Arc<OnceLock<Instant>>,
}

impl Taker {
    fn run(mut self, asks: &Receiver<Asked>, interval: Duration) {
        loop {
            // Whoever asks is answered by the end of this value.
            let _asked = match asks.recv_timeout(interval) {
                Ok(asked) => Some(asked),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match self.take() {
                Ok(None) => {}
                Ok(Some(taken)) => {
                    let Taken { sequence, keys, bytes, took, .. } = taken;
                    info!(sequence, keys, bytes, seconds = took.as_secs_f64(), "a state snapshot is written");
                    self.source.metrics.note_snapshot(&taken);
                    self.remove_old(sequence);
                }
                Err(error) => {
                    error!(%error, "a state snapshot failed; the next start reads more of the log");
                    self.source.metrics.count_snapshot_failure();
                }
            }
        }
    }

    /// None when no record has come since the last one.
    fn take(&self) -> Result<Option<Taken>, SnapshotFailure> {
        let Source { state, index, lane, log, keys, identity, directory, clock, .. } = &self.source;
        let (started, taken_at) = (clock.instant(), clock.now());
        self.sweep_lists(taken_at);
        let (applied, next_ticket, windows, ledger, lists) = {
            let lane = lane.lock();
            match lane.applied {
                Some(applied) if self.last != Some(applied.sequence) => (
                    applied,
                    log.next_ticket(),
                    state.windows.begin_snapshot(),
                    state.ledger.begin_snapshot(),
                    state.lists.load_full(),
                ),
                _ => return Ok(None),
            }
        };
        let (Some(windows), Some(ledger)) = (windows, ledger) else { return Err(SnapshotFailure::Busy) };
        let taken = self.settled(next_ticket, started)?.unwrap_or(applied);
        keys.settle()?;
        let header =
            Header { identity: identity.clone(), applied, taken, taken_at_ms: taken_at.unix_millis() };
        let size = directory.write(applied.sequence, &|| self.may_go_on(), |out| {
            snapshot_file::write(out, &header, windows, ledger, Beside { index, lists: &lists })
        })?;
        Ok(Some(Taken {
            sequence: applied.sequence,
            keys: size.keys,
            bytes: size.bytes,
            took: clock.instant().saturating_duration_since(started),
            taken_at_ms: EventTime::unix_millis(taken_at),
        }))
    }

    /// Takes off what nobody can ask for any more; a little at a time, so that the lane is held for microseconds.
    fn sweep_lists(&self, now: EventTime) {
        let Source { state, lane, .. } = &self.source;
        let before = now.minus(LIST_SWEEP_AFTER);
        let expired = state.lists.load().expired(before, LIST_SWEEP_MAX);
        for some in expired.chunks(LIST_SWEEP_STEP) {
            let _lane = lane.lock();
            state.sweep_lists(some, before);
        }
    }

    /// Waits until every ticket before that one is settled. Then, the last record whose consequences the windows hold.
    fn settled(&self, next_ticket: u64, started: Instant) -> Result<Option<Mark>, SnapshotFailure> {
        let Source { lane, log, clock, .. } = &self.source;
        while !log.is_settled(next_ticket) {
            self.may_go_on()?;
            if clock.instant().saturating_duration_since(started) > SETTLE_PATIENCE {
                return Err(SnapshotFailure::Unsettled);
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
        match log.failure() {
            Some(failure) if failure.kind == FailureKind::Stopped => {
                Err(SnapshotFailure::Stopped(failure.to_string()))
            }
            _ => Ok(lane.lock().applied),
        }
    }

    fn may_go_on(&self) -> io::Result<()> {
        let is_late = self.give_up_at.get().is_some_and(|at| *at <= self.source.clock.instant());
        if is_late { Err(io::Error::new(io::ErrorKind::TimedOut, "the service ends")) } else { Ok(()) }
    }

    /// Keeps the new one and the one before it that is known to be good.
    fn remove_old(&mut self, new: u64) {
        let before = self.last.replace(new);
        let kept: Vec<u64> = before.into_iter().chain([new]).collect();
        if let Err(error) = self.source.directory.keep_only(&kept) {
            warn!(%error, "old state snapshots cannot be removed");
        }
    }
}
