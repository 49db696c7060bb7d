//! Bringing written segments to stable storage in the background, for logs that acknowledge at the level `process`: a sync takes
//! milliseconds, and no answer waits for it. It bounds what a power loss can take, and moves the mark.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::audit::disk::Disk;
use crate::audit::mark::{Mark, Marker};

/// Most files that wait for a sync. With more than that, `ask` is refused and the writer takes part.
pub(crate) const FILES_MAX: usize = 16;

#[derive(Default)]
struct State {
    /// Oldest first, so that a segment is on stable storage before the one that follows it; each with how far it was written.
    files: VecDeque<(Arc<File>, Mark)>,
    /// After it, nothing is synced until `resume`.
    failure: Option<io::Error>,
    halted: bool,
    /// The file whose name is known to be on stable storage.
    named: Option<Arc<File>>,
    closing: bool,
}

/// What the thread and the writer share.
pub(crate) struct Syncs {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    marker: Marker,
    state: Mutex<State>,
    /// Held while files are synced, so that they are in their order.
    pass: Mutex<()>,
    changed: Condvar,
}

impl Syncs {
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: PathBuf, marker: Marker) -> Self {
        Self {
            disk,
            directory,
            marker,
            state: Mutex::default(),
            pass: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// Asks for a sync of `file`, which is written up to `mark`. False if too many wait already.
    pub(crate) fn ask(&self, file: &Arc<File>, mark: Mark) -> bool {
        let mut state = self.state.lock();
        if let Some((last, written)) = state.files.back_mut()
            && Arc::ptr_eq(last, file)
        {
            *written = mark;
            return true;
        }
        if state.files.len() == FILES_MAX {
            return false;
        }
        state.files.push_back((Arc::clone(file), mark));
        true
    }

    /// Whether something waits, or has failed and nobody knows.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state.lock();
        !state.files.is_empty() || state.failure.is_some()
    }

    /// The failure of a sync since the last call. Nothing more is synced before `resume`.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.state.lock().failure.take()
    }

    /// Keeps the thread from syncing while it is held, so that the writer may.
    pub(crate) fn pause(&self) -> MutexGuard<'_, ()> {
        self.pass.lock()
    }

    /// Nothing is synced before `resume`: a sync of the writer's own has failed, and to ask again would say that all is well.
    pub(crate) fn halt(&self) {
        self.state.lock().halted = true;
    }

    /// Goes on after a failure that was taken: what was to be synced is on stable storage now.
    pub(crate) fn resume(&self) {
        let mut state = self.state.lock();
        if state.halted && state.failure.is_none() {
            state.files.clear();
            state.halted = false;
        }
    }

    /// Syncs what waits, the oldest first, and moves the mark behind it. After a failure nothing that follows may count as stable, so it ends there.
    pub(crate) fn sync_all(&self) {
        let _alone = self.pass.lock();
        loop {
            let (file, mark, is_named) = {
                let mut state = self.state.lock();
                if state.halted {
                    return;
                }
                let Some((file, mark)) = state.files.pop_front() else { return };
                let is_named = state.named.as_ref().is_some_and(|named| Arc::ptr_eq(named, &file));
                (file, mark, is_named)
            };
            let synced = self
                .disk
                .sync(&file)
                .and_then(|()| if is_named { Ok(()) } else { self.disk.sync_directory(&self.directory) });
            match synced {
                Ok(()) => {
                    self.marker.advance(mark);
                    self.marker.sync();
                    self.state.lock().named = Some(file);
                }
                Err(error) => {
                    let mut state = self.state.lock();
                    (state.failure, state.halted) = (Some(error), true);
                }
            }
        }
    }

    fn run(&self, interval: Duration) {
        let mut closing = false;
        while !closing {
            {
                let mut state = self.state.lock();
                if !state.closing {
                    self.changed.wait_for(&mut state, interval);
                }
                closing = state.closing;
            }
            self.sync_all();
        }
    }
}

/// The thread that syncs.
pub(crate) struct Syncer {
    syncs: Arc<Syncs>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// A thread that syncs what is asked for, once every `interval`.
    pub(crate) fn start(syncs: &Arc<Syncs>, interval: Duration) -> io::Result<Self> {
        let theirs = Arc::clone(syncs);
        let thread =
            std::thread::Builder::new().name("audit-sync".to_owned()).spawn(move || theirs.run(interval))?;
        Ok(Self { syncs: Arc::clone(syncs), thread: Some(thread) })
    }

    /// Syncs what is asked for and ends.
    pub(crate) fn close(&mut self) {
        self.syncs.state.lock().closing = true;
        self.syncs.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.close();
    }
}
