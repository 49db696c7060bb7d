//! Ctrl-C during long work: finish the row at hand, say what was done so far, and leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once somebody pressed Ctrl-C.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Needs a thread of its own, since the work at hand does not wait for anything.
    pub fn listen() -> Self {
        let flag = Self(Arc::new(AtomicBool::new(false)));
        let set = flag.clone();
        let listener = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime
                && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
            {
                set.0.store(true, Ordering::Release);
            }
        });
        if let Err(error) = listener {
            tracing::warn!(%error, "Ctrl-C ends the program at once");
        }
        flag
    }

    /// Whether it was pressed.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
