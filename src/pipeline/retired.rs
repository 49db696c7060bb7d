//! Where replaced policies go. Letting go of a list of a million values takes a while, and must not happen to whichever request
//! happens to hold it last: so a thread of its own holds each until nobody else does.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often it looks whether anybody still holds one.
const PAUSE: Duration = Duration::from_millis(20);
/// How long it waits when there is none.
const IDLE: Duration = Duration::from_secs(3_600);

/// Takes replaced policies. Its thread ends with it.
#[derive(Debug)]
pub struct Retired<T> {
    /// Unbounded, but filled by reloads alone, which come one at a time and take longer than letting go.
    sender: Sender<Arc<T>>,
}

impl<T: Send + Sync + 'static> Retired<T> {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = channel();
        std::thread::Builder::new().name("policy-retire".to_owned()).spawn(move || run(&receiver))?;
        Ok(Self { sender })
    }

    /// Takes one on. Nobody must be able to get it anew.
    pub fn take(&self, policy: Arc<T>) {
        // The thread ends only with this value.
        let _ = self.sender.send(policy);
    }
}

fn run<T>(receiver: &Receiver<Arc<T>>) {
    let mut held: Vec<Arc<T>> = Vec::new();
    loop {
        match receiver.recv_timeout(if held.is_empty() { IDLE } else { PAUSE }) {
            Ok(policy) => held.push(policy),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Who holds the only one cannot be joined by another.
        held.retain(|policy| Arc::strong_count(policy) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says on which thread it goes.
    struct Policy(Sender<Option<String>>);

    impl Drop for Policy {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn whoever_holds_it_last_the_thread_lets_go_of_it() {
        let (retired, (say, said)) = (Retired::start().unwrap(), channel());
        let policy = Arc::new(Policy(say));
        let in_flight = Arc::clone(&policy);
        retired.take(policy);
        assert!(said.recv_timeout(5 * PAUSE).is_err(), "a request still decides by it");
        drop(in_flight);
        assert_eq!(said.recv().unwrap().as_deref(), Some("policy-retire"));
    }
}
