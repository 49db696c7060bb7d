//! A thread that once a second syncs new keys, and finishes what could not be destroyed at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::error;

use crate::privacy::key_store::KeyStore;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread. It ends with this value, after a last sync.
#[derive(Debug)]
pub struct KeyKeeper {
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KeyKeeper {
    /// Starts it.
    pub fn start(store: Arc<KeyStore>) -> io::Result<Self> {
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&is_ending);
        let thread = std::thread::Builder::new().name("subject-keys".to_owned()).spawn(move || {
            let mut failures = 0_u64;
            loop {
                let is_last = ending.load(Ordering::Acquire);
                if let Err(error) = store.settle() {
                    failures += 1;
                    if failures.is_power_of_two() {
                        error!(%error, failures, "the keys of subjects are not settled");
                    }
                }
                if is_last {
                    break;
                }
                std::thread::park_timeout(INTERVAL);
            }
        })?;
        Ok(Self { is_ending, thread: Some(thread) })
    }
}

impl Drop for KeyKeeper {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
