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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn nobody_passes_before_it_opens() {
        let (gate, passed) = (Gate::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert!(gate.pass().is_none());
                    passed.fetch_add(1, Ordering::SeqCst);
                });
            }
            gate.wait_for(8, Duration::from_secs(60));
            assert_eq!((gate.state.lock().arrived, passed.load(Ordering::SeqCst)), (8, 0));
            // Nobody waits for more than there are for ever.
            gate.wait_for(9, Duration::from_millis(1));
            gate.open(None);
        });
        assert_eq!(passed.into_inner(), 8);
    }
}
