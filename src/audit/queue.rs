//! The ordered hand-off from many threads to the one writer.
//!
//! A ticket is a place in the queue; places are given out in the order of `reserve` and drained in that order. Nobody waits in here
//! but the writer: `reserve` is refused when the queue is full, and a ticket that is dropped gives its place up. The lock is held only to put and to
//! take single entries.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::audit::failure::{Failure, LogError};
use crate::audit::frame::{Body, Kind, SCHEMA_VERSION};
use crate::audit::receipt::Receipt;
use crate::domain::time::EventTime;

/// Most tickets that may be outstanding, unless config says otherwise.
pub const QUEUE_MAX: usize = 8192;
/// Most entries that are moved under one hold of the lock.
const TAKE_MAX: usize = 256;

/// A record on its way to the writer.
pub(crate) struct Entry<C> {
    pub(crate) kind: Kind,
    pub(crate) schema: u16,
    pub(crate) recorded_at: EventTime,
    pub(crate) body: Vec<u8>,
    pub(crate) context: C,
    pub(crate) answer: oneshot::Sender<Result<Receipt, LogError>>,
}

enum Slot<C> {
    Reserved,
    Ready(Entry<C>),
    Skipped,
}

enum Phase {
    Open,
    Failed(Arc<Failure>),
    Closed,
}

struct Ring<C> {
    /// The number of the ticket whose place is the front.
    base: u64,
    /// Every ticket before this number is settled: the writer has answered it, or it was given up.
    settled: u64,
    slots: VecDeque<Slot<C>>,
    phase: Phase,
    /// The writer ends when all places are settled.
    closing: bool,
    /// The writer ends now.
    abandoned: bool,
    /// The writer is gone.
    done: bool,
    /// The writer sleeps until the front is ready.
    writer_waits: bool,
    /// The writer sleeps until that many tickets are out.
    wake_at: usize,
}

pub(crate) struct Queue<C> {
    ring: Mutex<Ring<C>>,
    /// For the writer.
    ready: Condvar,
    /// For `close`.
    done: Condvar,
    limit: usize,
}

/// Why the writer woke up.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Wakeup {
    Ready,
    TimedOut,
    Stop,
}

impl<C> Queue<C> {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            ring: Mutex::new(Ring {
                base: 0,
                settled: 0,
                slots: VecDeque::with_capacity(limit),
                phase: Phase::Open,
                closing: false,
                abandoned: false,
                done: false,
                writer_waits: false,
                wake_at: usize::MAX,
            }),
            ready: Condvar::new(),
            done: Condvar::new(),
            limit,
        }
    }

    pub(crate) fn reserve(self: &Arc<Self>) -> Result<Ticket<C>, LogError> {
        self.reserve_below(self.limit)
    }

    /// As `reserve`, but refused already when half of the places are taken.
    pub(crate) fn reserve_spare(self: &Arc<Self>) -> Result<Ticket<C>, LogError> {
        self.reserve_below(self.limit / 2)
    }

    fn reserve_below(self: &Arc<Self>, limit: usize) -> Result<Ticket<C>, LogError> {
        let mut ring = self.ring.lock();
        match &ring.phase {
            Phase::Open => {}
            Phase::Failed(failure) => return Err(LogError::Failed(Arc::clone(failure))),
            Phase::Closed => return Err(LogError::Closed),
        }
        if ring.closing {
            return Err(LogError::Closed);
        }
        if ring.slots.len() >= limit {
            return Err(LogError::Full { limit });
        }
        ring.slots.push_back(Slot::Reserved);
        let number = ring.base + ring.slots.len() as u64 - 1;
        if ring.slots.len() >= ring.wake_at {
            ring.wake_at = usize::MAX;
            self.ready.notify_one();
        }
        drop(ring);
        Ok(Ticket { queue: Some(Arc::clone(self)), number })
    }

    fn put(&self, number: u64, slot: Slot<C>) {
        let mut ring = self.ring.lock();
        let index = number.checked_sub(ring.base).and_then(|index| usize::try_from(index).ok());
        let Some(place) = index.and_then(|index| ring.slots.get_mut(index)) else {
            // The writer is gone; the entry's answer, dropped, says so.
            drop(ring);
            drop(slot);
            return;
        };
        *place = slot;
        let wake = ring.writer_waits && index == Some(0);
        if wake {
            ring.writer_waits = false;
        }
        drop(ring);
        if wake {
            self.ready.notify_one();
        }
    }

    /// The number of the next ticket.
    pub(crate) fn next_number(&self) -> u64 {
        let ring = self.ring.lock();
        ring.base + ring.slots.len() as u64
    }

    /// Whether every ticket before that number is settled.
    pub(crate) fn is_settled(&self, number: u64) -> bool {
        self.ring.lock().settled >= number
    }

    /// Sleeps until the front is ready, at most for `timeout`. Whoever waits has settled all that it took.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Wakeup {
        let mut ring = self.ring.lock();
        loop {
            while matches!(ring.slots.front(), Some(Slot::Skipped)) {
                ring.slots.pop_front();
                ring.base += 1;
            }
            ring.settled = ring.base;
            if ring.abandoned || (ring.closing && ring.slots.is_empty()) {
                return Wakeup::Stop;
            }
            if matches!(ring.slots.front(), Some(Slot::Ready(_))) {
                return Wakeup::Ready;
            }
            ring.writer_waits = true;
            let timed_out = self.sleep(&mut ring, timeout);
            ring.writer_waits = false;
            if timed_out {
                return Wakeup::TimedOut;
            }
        }
    }

    /// Whether there is something for the writer to do.
    pub(crate) fn is_ready(&self) -> bool {
        let ring = self.ring.lock();
        ring.closing || matches!(ring.slots.front(), Some(Slot::Ready(_) | Slot::Skipped))
    }

    /// Sleeps for `duration`; less if the queue fills up or is to be closed.
    pub(crate) fn nap(&self, duration: Duration) {
        let mut ring = self.ring.lock();
        let wake_at = self.limit.div_ceil(2);
        if !ring.closing && ring.slots.len() < wake_at {
            ring.wake_at = wake_at;
            self.sleep(&mut ring, Some(duration));
            ring.wake_at = usize::MAX;
        }
    }

    fn sleep(&self, ring: &mut MutexGuard<'_, Ring<C>>, timeout: Option<Duration>) -> bool {
        match timeout {
            Some(timeout) => self.ready.wait_for(ring, timeout).timed_out(),
            None => {
                self.ready.wait(ring);
                false
            }
        }
    }

    /// Moves ready entries from the front to `entries`, and says whether there were any.
    pub(crate) fn take(&self, entries: &mut VecDeque<Entry<C>>) -> bool {
        let mut ring = self.ring.lock();
        let before = entries.len();
        for _ in 0..TAKE_MAX {
            match ring.slots.pop_front() {
                Some(Slot::Ready(entry)) => entries.push_back(entry),
                Some(Slot::Skipped) => {}
                Some(Slot::Reserved) => {
                    ring.slots.push_front(Slot::Reserved);
                    break;
                }
                None => break,
            }
            ring.base += 1;
        }
        entries.len() > before
    }

    pub(crate) fn set_failed(&self, failure: &Arc<Failure>) {
        self.ring.lock().phase = Phase::Failed(Arc::clone(failure));
    }

    pub(crate) fn set_open(&self) {
        self.ring.lock().phase = Phase::Open;
    }

    /// No more tickets; the writer ends when those that are out are settled.
    pub(crate) fn close(&self) {
        self.ring.lock().closing = true;
        self.ready.notify_one();
    }

    /// After `close`: waits until the writer is gone; false if that took longer than `patience`, and then tells it to leave what is open.
    pub(crate) fn wait_done(&self, patience: Duration) -> bool {
        let mut ring = self.ring.lock();
        self.done.wait_while_for(&mut ring, |ring| !ring.done, patience);
        if !ring.done {
            ring.abandoned = true;
            self.ready.notify_one();
        }
        ring.done
    }

    /// The writer's last word. Whoever still holds a ticket or a pending learns that the log is closed.
    pub(crate) fn finish(&self, failure: Option<Arc<Failure>>) {
        let mut ring = self.ring.lock();
        ring.phase = failure.map_or(Phase::Closed, Phase::Failed);
        ring.base += ring.slots.len() as u64;
        ring.settled = ring.base;
        let slots = std::mem::take(&mut ring.slots);
        ring.done = true;
        drop(ring);
        self.done.notify_all();
        drop(slots);
    }

    /// Why no tickets are given out, while something is wrong.
    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        match &self.ring.lock().phase {
            Phase::Failed(failure) => Some(Arc::clone(failure)),
            Phase::Open | Phase::Closed => None,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.ring.lock().slots.len()
    }
}

/// A place in the order of the log. Dropped without commit, it gives the place up.
#[must_use = "a ticket holds back every later one until it is committed or dropped"]
pub struct Ticket<C> {
    queue: Option<Arc<Queue<C>>>,
    number: u64,
}

impl<C> Ticket<C> {
    /// Hands a record with a body of schema 1 over: see `commit_body`.
    pub fn commit(self, kind: Kind, recorded_at: EventTime, body: Vec<u8>, context: C) -> Pending {
        self.commit_body(kind, recorded_at, Body { schema: SCHEMA_VERSION, bytes: body }, context)
    }

    /// Hands the record over. The context comes back through exactly one of the writer's hooks, unless the log is closed without waiting.
    pub fn commit_body(mut self, kind: Kind, recorded_at: EventTime, body: Body, context: C) -> Pending {
        let (answer, receiver) = oneshot::channel();
        let Body { schema, bytes: body } = body;
        if let Some(queue) = self.queue.take() {
            queue.put(self.number, Slot::Ready(Entry { kind, schema, recorded_at, body, context, answer }));
        }
        Pending(receiver)
    }
}

impl<C> Drop for Ticket<C> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.put(self.number, Slot::Skipped);
        }
    }
}

impl<C> fmt::Debug for Ticket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The answer of the log, to come. Dropped, the record is written all the same.
#[derive(Debug)]
#[must_use = "the record is not acknowledged before this says so"]
pub struct Pending(oneshot::Receiver<Result<Receipt, LogError>>);

impl Future for Pending {
    type Output = Result<Receipt, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(LogError::Closed)))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Pending {
    /// Blocks this thread until the answer is there. Not for threads that serve requests.
    pub fn wait_blocking(self) -> Result<Receipt, LogError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut this = pin!(self);
        loop {
            if let Poll::Ready(answer) = this.as_mut().poll(&mut context) {
                return answer;
            }
            std::thread::park();
        }
    }
}
