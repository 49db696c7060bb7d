//! Bodies: reading a request's within its bounds of size and time, and the two forms that an answer has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use hyper::{HeaderMap, Request};
use tokio::sync::mpsc;

use crate::http::options::DISCARD_BYTES_MAX;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::transport::BusyGuard;

/// Reads a whole body of at most `bytes_max` bytes within `timeout`, or says 413, 408 or 400.
pub async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    let result = match tokio::time::timeout(timeout, collect(&mut body, bytes_max)).await {
        Ok(result) => result,
        Err(_) => {
            let detail = format!("the body must arrive within {} ms", timeout.as_millis());
            return Err(Problem::new(ProblemKind::BodyTooSlow, detail).closing());
        }
    };
    match result {
        Ok(bytes) => Ok(bytes),
        Err(ReadError::TooLarge) => {
            // A client that waits for 100 Continue sends nothing more. Any other is in the middle of sending, and would
            // lose the answer to a connection reset if the rest of its body met a closed socket.
            if headers.get(EXPECT).is_none() {
                let _ = tokio::time::timeout(timeout, discard(&mut body)).await;
            }
            Err(Problem::too_large(bytes_max).closing())
        }
        Err(ReadError::Broken(detail)) => Err(Problem::new(
            ProblemKind::BadRequest,
            format!("the body is cut short or malformed: {detail}"),
        )
        .closing()),
    }
}

enum ReadError {
    TooLarge,
    Broken(String),
}

async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, ReadError> {
    let bytes_min = body.size_hint().lower();
    if bytes_min > bytes_max as u64 {
        return Err(ReadError::TooLarge);
    }
    // Nearly every body is one frame, which then is the whole, without a copy.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReadError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > bytes_max {
            return Err(ReadError::TooLarge);
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if !first.is_empty() {
            whole.reserve(
                usize::try_from(bytes_min).unwrap_or(0).min(bytes_max).max(first.len() + data.len()),
            );
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// Reads the body of a request that was shed and throws it away, within the time that any body has.
pub async fn read_away(request: Request<Incoming>, timeout: Duration) {
    let mut body = request.into_body();
    if !body.is_end_stream() {
        let _ = tokio::time::timeout(timeout, discard(&mut body)).await;
    }
}

async fn discard(body: &mut Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > DISCARD_BYTES_MAX {
            return;
        }
    }
}

/// A part of an answer that is made while it is sent.
#[derive(Debug)]
pub enum StreamPart {
    /// The next bytes.
    Data(Bytes),
    /// The regular end. A stream that stops without it is cut off, so that no client takes a part for the whole.
    End,
}

/// The body of an answer.
#[derive(Debug)]
pub struct ResponseBody(Form);

#[derive(Debug)]
enum Form {
    Full(Option<Bytes>),
    Stream {
        parts: mpsc::Receiver<StreamPart>,
        /// Keeps the connection marked busy until the last part is sent.
        _busy: BusyGuard,
    },
}

impl ResponseBody {
    /// All of it, now.
    pub fn full(bytes: Bytes) -> Self {
        Self(Form::Full((!bytes.is_empty()).then_some(bytes)))
    }

    /// Part after part, until `StreamPart::End`.
    pub fn stream(parts: mpsc::Receiver<StreamPart>, busy: BusyGuard) -> Self {
        Self(Form::Stream { parts, _busy: busy })
    }

    /// The bytes of a full body; `None` for a stream.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Full(bytes) => Some(bytes.as_deref().unwrap_or_default()),
            Form::Stream { .. } => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Form::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Form::Stream { parts, .. } => match parts.poll_recv(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(StreamPart::Data(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(StreamPart::End)) => {
                    self.0 = Form::Full(None);
                    Poll::Ready(None)
                }
                Poll::Ready(None) => {
                    self.0 = Form::Full(None);
                    Poll::Ready(Some(Err(io::Error::other("the answer stopped before its end"))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Form::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Form::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Form::Stream { .. } => SizeHint::default(),
        }
    }
}
