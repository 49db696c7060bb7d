//! What a target can do.

use thiserror::Error;

use crate::forward::message::Message;

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The target has it.
    Taken,
    /// The target had it already.
    Repeated,
    /// The target will never take it: the message itself is at fault. Says why.
    Refused(String),
}

/// Why nothing can be said of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SendError {
    /// The target is away, full or wrongly set up. Says why, and what to do where that is not plain. The same batch is sent again later.
    #[error("{0}")]
    Outage(String),
    /// The target has lost what it had: it holds nothing after this sequence.
    #[error("it holds records up to {holds} only, and had more")]
    Behind {
        /// The last sequence that it holds; 0 for none.
        holds: u64,
    },
}

/// A target of forwarding. All calls block; none takes longer than some seconds.
pub trait Sink: Send {
    /// Sends messages in their order, and returns when the target has said what became of each, in the same order. `after` is the last
    /// sequence that the target has taken before; 0 where none is known of. After an outage, some may have been taken: the caller sends
    /// the same batch again.
    fn send(&mut self, after: u64, batch: &[Message]) -> Result<Vec<Fate>, SendError>;

    /// Sends a message that was left out before, behind everything that the target has.
    fn send_late(&mut self, message: &Message) -> Result<Fate, SendError>;
}
