//! A batch of decisions: one JSON object a line in, one answer or problem a line out, in order.
//!
//! Lines are decided one after another, because a later line must see the earlier ones in its windows: a batch then decides
//! as the same transactions would have one by one. Clients that want more throughput send several batches at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::domain::time::{Clock, SystemClock};
use crate::engine::settings::Effort;
use crate::http::body::StreamPart;
use crate::http::decision_port::draining;
use crate::http::options::BATCH_LINES_MAX;
use crate::http::port::catch_panic;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::server::Shared;
use crate::http::service::DecisionService;

/// Answers are sent on in pieces of about this many bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// Most pieces that wait for the client.
const PIECES_WAITING_MAX: usize = 4;

/// Every line with its number, counted from 1; empty lines are left out.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .zip(1..)
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| (number, line))
}

/// How many lines a batch has. Refuses too many before any of them is decided.
pub fn check(body: &[u8]) -> Result<u32, Problem> {
    match u32::try_from(lines(body).take(BATCH_LINES_MAX + 1).count()) {
        Ok(count) if count as usize <= BATCH_LINES_MAX => Ok(count),
        _ => {
            let detail = format!("a batch must have at most {BATCH_LINES_MAX} lines");
            Err(Problem::new(ProblemKind::TooLarge, detail))
        }
    }
}

/// Decides line after line, each within `budget` of its own, for as long as the client takes the answers.
pub fn decide<S: DecisionService>(
    shared: Arc<Shared<S>>,
    body: Bytes,
    budget: Option<Duration>,
    slot: OwnedSemaphorePermit,
) -> mpsc::Receiver<StreamPart> {
    let (parts, answers) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(async move {
        let _slot = slot;
        let mut piece = BytesMut::with_capacity(PIECE_BYTES * 2);
        for (number, line) in lines(&body) {
            match decide_line(&shared, line, budget).await {
                Ok(answer) => piece.extend_from_slice(&answer),
                Err(problem) => piece.extend_from_slice(&problem.at_line(number).to_json()),
            }
            piece.extend_from_slice(b"\n");
            if piece.len() >= PIECE_BYTES
                && parts.send(StreamPart::Data(piece.split().freeze())).await.is_err()
            {
                // The client is gone. What it did not get, it can send again: the answers are idempotent.
                return;
            }
        }
        if !piece.is_empty() && parts.send(StreamPart::Data(piece.freeze())).await.is_err() {
            return;
        }
        let _ = parts.send(StreamPart::End).await;
    });
    answers
}

async fn decide_line<S: DecisionService>(
    shared: &Shared<S>,
    line: &[u8],
    budget: Option<Duration>,
) -> Result<Bytes, Problem> {
    if shared.is_draining() {
        return Err(draining());
    }
    if line.len() > shared.options.body_bytes_max {
        return Err(Problem::too_large(shared.options.body_bytes_max));
    }
    let received = SystemClock.instant();
    match catch_panic(shared.service.decide(line, None, budget, received, Effort::Full)).await {
        Some(result) => Ok(result?),
        None => Err(Problem::new(ProblemKind::Internal, "the line failed; the log of the service says why")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers() {
        let body = b"a\r\n\n  \nb \n\nc";
        let found: Vec<_> = lines(body).collect();
        assert_eq!(found, [(1, b"a".as_slice()), (4, b"b".as_slice()), (6, b"c".as_slice())]);
        assert!(check("x\n".repeat(BATCH_LINES_MAX).as_bytes()).is_ok());
        assert!(check("x\n".repeat(BATCH_LINES_MAX + 1).as_bytes()).is_err());
        assert!(check(b"").is_ok());
    }
}
