//! Where the threads of a run wait until all of them are there and have their connections: a thread that is started among hundreds that
//! already send waits for seconds until it has its first turn.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::load::schedule::Schedule;

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    is_open: bool,
    schedule: Option<Arc<Schedule>>,
}

/// Closed at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    arrival: Condvar,
    opening: Condvar,
}

impl Gate {
    /// Waits until it opens. None: there is nothing to be sent.
    pub(crate) fn pass(&self) -> Option<Arc<Schedule>> {
        let mut state = self.state.lock();
        state.arrived += 1;
        self.arrival.notify_one();
        self.opening.wait_while(&mut state, |state| !state.is_open);
        state.schedule.clone()
    }

    /// Waits until so many are there, but no longer than `patience`.
    pub(crate) fn wait_for(&self, threads: usize, patience: Duration) {
        let mut state = self.state.lock();
        self.arrival.wait_while_for(&mut state, |state| state.arrived < threads, patience);
    }

    /// Lets all pass, with a schedule or none.
    pub(crate) fn open(&self, schedule: Option<Arc<Schedule>>) {
        let mut state = self.state.lock();
        (state.is_open, state.schedule) = (true, schedule);
        self.opening.notify_all();
    }
}
