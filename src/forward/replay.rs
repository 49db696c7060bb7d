//! Dead letters, sent again: after the target has been changed so that it takes them, or `message_bytes_max` has.

use std::io;

use thiserror::Error;

use crate::forward::dead_letters::DeadLetters;
use crate::forward::sink::{Fate, SendError, Sink};

/// What became of the letters.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct Replayed {
    /// Taken by the target.
    pub sent: u64,
    /// Refused again, or not readable; they are still among the dead letters.
    pub left: u64,
    /// Why the last of these was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a replay stopped. What was not sent is still among the dead letters; what was sent before may be sent once more by the next.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The target.
    #[error("the target takes nothing: {0}")]
    Target(#[from] SendError),
    /// The files.
    #[error("the dead letters cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Sends all letters behind what the target has, each with the id that it had, and keeps those that are refused again. The service may be
/// running. `see` is told of each letter; when it answers `false`, the rest is kept.
pub fn replay(
    letters: &DeadLetters,
    sink: &mut dyn Sink,
    mut see: impl FnMut() -> bool,
) -> Result<Replayed, ReplayError> {
    let mut replayed = Replayed::default();
    // What an earlier replay left behind, and the file. What is refused meanwhile waits for the next.
    for _ in 0..2 {
        let Some(mut taken) = letters.take()? else { break };
        let (mut left, mut stopped) = (Vec::new(), None);
        while let Some((line, message)) = taken.next()? {
            if stopped.is_none() && !see() {
                stopped = Some(None);
            }
            if stopped.is_some() {
                left.extend_from_slice(line);
                continue;
            }
            let refused = match message {
                Err(error) => error.to_string(),
                Ok(message) => match sink.send_late(&message) {
                    Ok(Fate::Taken | Fate::Repeated) => {
                        replayed.sent += 1;
                        continue;
                    }
                    Ok(Fate::Refused(reason)) => reason,
                    Err(error) => {
                        left.extend_from_slice(line);
                        stopped = Some(Some(error));
                        continue;
                    }
                },
            };
            replayed.left += 1;
            replayed.reason = Some(refused);
            left.extend_from_slice(line);
        }
        letters.finish(&left)?;
        match stopped {
            None if replayed.left == 0 => {}
            None | Some(None) => break,
            Some(Some(error)) => return Err(error.into()),
        }
    }
    Ok(replayed)
}
