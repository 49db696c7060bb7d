//! Threads that nobody waits for.

/// What is added to the process's own niceness: a tenth of the weight of a thread that decides, where both want the same processor.
#[cfg(target_os = "linux")]
const MORE_NICENESS: i32 = 10;

/// Has this thread stand back behind those that decide. Where the system does not let it, it does not.
pub fn stand_back() {
    // Linux keeps a niceness for each thread, and changes that of the thread that asks.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(MORE_NICENESS) {
        tracing::debug!(%error, "a thread in the background keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_thread_that_asks_stands_back() {
        let before = getpriority_process(None).unwrap();
        let there = std::thread::spawn(|| {
            stand_back();
            getpriority_process(None).unwrap()
        });
        // Nobody is nicer than 19.
        assert_eq!(there.join().unwrap(), (before + MORE_NICENESS).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
