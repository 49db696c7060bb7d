//! Threads that each serve their connections on a runtime of their own.
//!
//! A request then never moves between threads, and threads share no run queue. One acceptor deals connections out in turn,
//! which spreads them more evenly than `SO_REUSEPORT`.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The threads, until they are dropped.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts `count` threads. With 0 there are none, and `handles` is empty.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut workers =
            Self { handles: Vec::with_capacity(count), threads: Vec::with_capacity(count), stop };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let mut stopped = stopped.clone();
            let thread = std::thread::Builder::new().name(format!("decide-{number}")).spawn(move || {
                // An error means that the sender is gone, which is a stop too.
                let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            })?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// The runtimes, in the order in which connections are dealt to them.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that served connections has panicked");
            }
        }
    }
}
