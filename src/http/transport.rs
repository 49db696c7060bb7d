//! A connection that cannot be held for ever: the time limits of waiting, of a request's head and of taking the answer.
//!
//! The limits cost nothing while bytes flow: a timer is armed only when the socket has nothing to give, and it is not set
//! back with every request. hyper's own `header_read_timeout` makes and drops a timer for each request, and counts idle time
//! as if it were a slow head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::domain::time::{Clock, SystemClock};

/// Between two requests.
const IDLE: u8 = 0;
/// A request has begun and its head is not complete.
const HEAD: u8 = 1;
/// A request is in work; its body has a time limit of its own.
const BUSY: u8 = 2;
/// No timer is armed.
const NOTHING: u8 = 3;

/// What a connection is doing, shared between its bytes and its requests.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Doing>);

#[derive(Debug)]
struct Doing {
    phase: AtomicU8,
    /// What `received_ns` counts from.
    opened: std::time::Instant,
    /// When the kernel received the request that is in work or next, in nanoseconds; `NOT_STAMPED` when nobody knows.
    received_ns: AtomicU64,
}

/// Nobody has said when the request was received.
const NOT_STAMPED: u64 = 0;
/// A connection may be younger than what the kernel received for it before it was taken.
const BEFORE_OPENED: Duration = Duration::from_secs(60);

impl Default for Activity {
    fn default() -> Self {
        let now = SystemClock.instant();
        Self(Arc::new(Doing {
            phase: AtomicU8::new(IDLE),
            opened: now.checked_sub(BEFORE_OPENED).unwrap_or(now),
            received_ns: AtomicU64::new(NOT_STAMPED),
        }))
    }
}

impl Activity {
    /// Marks a request as in work until the guard goes.
    pub fn begin(&self) -> BusyGuard {
        self.0.phase.store(BUSY, Ordering::Relaxed);
        BusyGuard(self.clone())
    }

    /// Bytes were read that the kernel had received at `at`, if it says so. What belongs to a request that has begun already does not count: its
    /// age is that of its beginning.
    pub fn note_received(&self, at: Option<std::time::Instant>) {
        if self.0.phase.load(Ordering::Relaxed) == IDLE {
            let after = at.map_or(NOT_STAMPED, |at| {
                let after = at.saturating_duration_since(self.0.opened).as_nanos();
                u64::try_from(after).unwrap_or(u64::MAX).max(NOT_STAMPED + 1)
            });
            self.0.received_ns.store(after, Ordering::Relaxed);
        }
    }

    /// When the kernel received the request in work; `now` when it did not say. One that came behind another, in the same bytes, is
    /// as old as that one.
    pub fn received(&self, now: std::time::Instant) -> std::time::Instant {
        match self.0.received_ns.load(Ordering::Relaxed) {
            NOT_STAMPED => now,
            after => now.min(self.0.opened + Duration::from_nanos(after)),
        }
    }
}

/// A request in work.
#[derive(Debug)]
pub struct BusyGuard(Activity);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.0.phase.store(IDLE, Ordering::Relaxed);
    }
}

/// The time limits of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between requests; the connection is closed after one to two times this.
    pub idle: Duration,
    /// For the client to take more of an answer.
    pub write: Duration,
}

/// A byte stream under `Limits`. Past a limit it fails with `TimedOut`, and hyper closes the connection.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: S,
    limits: Limits,
    activity: Activity,
    read_timer: Option<Pin<Box<Sleep>>>,
    armed_for: u8,
    read_since_armed: bool,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    /// Puts `inner` under `limits`.
    pub fn new(inner: S, limits: Limits, activity: Activity) -> Self {
        Self {
            inner,
            limits,
            activity,
            read_timer: None,
            armed_for: NOTHING,
            read_since_armed: false,
            write_timer: None,
        }
    }

    fn on_bytes_read(&mut self) {
        self.read_since_armed = true;
        if self.activity.0.phase.load(Ordering::Relaxed) == IDLE {
            self.activity.0.phase.store(HEAD, Ordering::Relaxed);
            if self.armed_for == HEAD {
                self.armed_for = NOTHING;
            }
        }
    }

    fn poll_read_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.activity.0.phase.load(Ordering::Relaxed);
        let limit = match phase {
            IDLE => self.limits.idle,
            HEAD => self.limits.head,
            _ => return Poll::Pending,
        };
        let timer = self.read_timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if self.armed_for != phase {
            timer.as_mut().reset(Instant::now() + limit);
            self.armed_for = phase;
            self.read_since_armed = false;
        }
        while timer.as_mut().poll(cx).is_ready() {
            if phase == IDLE && self.read_since_armed {
                timer.as_mut().reset(Instant::now() + limit);
                self.read_since_armed = false;
                continue;
            }
            self.armed_for = NOTHING;
            let what = if phase == IDLE { "idle for too long" } else { "head of a request too slow" };
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)));
        }
        Poll::Pending
    }

    fn limit_write<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.write_timer = None;
            return progress;
        }
        let limit = self.limits.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "client does not take its answer")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > filled_before {
                    self.on_bytes_read();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_read_limit(cx),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.limit_write(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_flush(cx);
        if progress.is_ready() { progress } else { self.limit_write(cx, progress) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.limit_write(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.limit_write(cx, progress)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMITS: Limits = Limits {
        head: Duration::from_millis(60),
        idle: Duration::from_millis(150),
        write: Duration::from_millis(80),
    };

    #[tokio::test]
    async fn a_slow_head_ends_and_a_slow_decision_does_not() {
        let (mut client, server) = duplex(64);
        let activity = Activity::default();
        let mut server = Guarded::new(server, LIMITS, activity.clone());
        let mut byte = [0];
        client.write_all(b"POST").await.unwrap();
        for _ in 0..4 {
            server.read_exact(&mut byte).await.unwrap();
        }
        let busy = activity.begin();
        let waited = tokio::time::timeout(LIMITS.head * 3, server.read_exact(&mut byte)).await;
        assert!(waited.is_err(), "a request in work has no limit here");
        drop(busy);
        client.write_all(b"P").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        let error = server.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::TimedOut, "head of a request too slow")
        );
    }

    #[tokio::test]
    async fn silence_ends_after_the_idle_limit() {
        let (_client, server) = duplex(64);
        let mut server = Guarded::new(server, LIMITS, Activity::default());
        let error = server.read_exact(&mut [0]).await.unwrap_err();
        assert_eq!(error.to_string(), "idle for too long");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_ends() {
        let (_client, server) = duplex(8);
        let mut server = Guarded::new(server, LIMITS, Activity::default());
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.to_string(), "client does not take its answer");
    }
}
