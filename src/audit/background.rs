//! Threads that nobody waits for.

/// What `nice` would say: a tenth of the weight of a thread that decides, where both want the same processor.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Has this thread stand back behind those that decide. Where the system does not let it, it does not.
pub fn stand_back() {
    // Linux keeps a priority for each thread, and "this process" is the thread that asks.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread in the background keeps its priority");
    }
}
