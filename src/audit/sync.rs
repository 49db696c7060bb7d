//! Bringing written segments to stable storage in the background, for logs that acknowledge at the level `process`: a sync takes
//! milliseconds, and no answer waits for it. It bounds what a power loss can take.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::audit::disk::Disk;

/// Most files that wait for a sync. With more than that, `mark` is refused and the writer syncs by itself.
const FILES_MAX: usize = 16;

#[derive(Default)]
struct State {
    /// Oldest first, so that a segment is on stable storage before the one that follows it.
    files: Vec<Arc<File>>,
    failure: Option<io::Error>,
    closing: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread that syncs.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// A thread that syncs what is marked, once every `interval`.
    pub(crate) fn start(disk: Arc<dyn Disk>, interval: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("audit-sync".to_owned())
            .spawn(move || run(&theirs, &*disk, interval))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for a sync of `file`. False if too many wait already.
    pub(crate) fn mark(&self, file: &Arc<File>) -> bool {
        let mut state = self.shared.state.lock();
        if state.files.last().is_some_and(|last| Arc::ptr_eq(last, file)) {
            return true;
        }
        if state.files.len() == FILES_MAX {
            return false;
        }
        state.files.push(Arc::clone(file));
        true
    }

    /// The failure of a sync since the last call.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.shared.state.lock().failure.take()
    }

    /// Syncs what is marked and ends.
    pub(crate) fn close(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.changed.notify_one();
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

fn run(shared: &Shared, disk: &dyn Disk, interval: Duration) {
    let mut closing = false;
    while !closing {
        let files = {
            let mut state = shared.state.lock();
            if !state.closing {
                shared.changed.wait_for(&mut state, interval);
            }
            closing = state.closing;
            std::mem::take(&mut state.files)
        };
        for file in files {
            if let Err(error) = disk.sync(&file) {
                shared.state.lock().failure = Some(error);
            }
        }
    }
}
