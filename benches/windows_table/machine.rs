//! How long a thread was ready to run while the machine ran others in its place: that is not the store's doing.

/// What the machine has kept this thread waiting for.
pub(crate) struct MachineWaits {
    nanos: u64,
}

impl MachineWaits {
    /// From now on.
    pub(crate) fn from_now() -> Self {
        Self { nanos: waited_nanos() }
    }

    /// Nanoseconds since it was last asked; 0 where the system does not say.
    pub(crate) fn take(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.nanos, waited_nanos());
        self.nanos.saturating_sub(before)
    }
}

/// The second number is the time spent waiting on a run queue.
fn waited_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}
