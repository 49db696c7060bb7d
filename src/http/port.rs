//! One listening port: taking connections up to a bound, serving each under its time limits, and letting go of them.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::domain::time::{Clock, SystemClock};
use crate::http::arrival::Arrival;
use crate::http::auth::PortName;
use crate::http::body::ResponseBody;
use crate::http::metrics::HttpMetrics;
use crate::http::options::{HEAD_BYTES_MAX, REFUSALS_IN_FLIGHT_MAX};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::stamped::Stamped;
use crate::http::transport::{Activity, Guarded, Limits};

/// How long to wait after the machine could not give a connection (no descriptor or memory left).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How long a refused connection has to read its 503.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);
/// How long connections that are cut off have to notice.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// What answers the requests of a port.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// How far the connections of a port are from their end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Serving.
    Serving,
    /// Each closes as soon as it has answered what it has taken.
    Closing,
    /// Each closes now.
    Aborting,
}

/// One port and its connections.
#[derive(Debug)]
pub struct Port {
    name: PortName,
    limits: Limits,
    connections_max: u32,
    slots: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    /// Has seen no phase yet, so that its clones see every change.
    phase_seen: watch::Receiver<Phase>,
    metrics: Arc<HttpMetrics>,
    refusals: Arc<AtomicUsize>,
}

impl Port {
    /// A port for at most `connections_max` connections at once.
    pub fn new(name: PortName, limits: Limits, connections_max: usize, metrics: Arc<HttpMetrics>) -> Self {
        let connections_max = u32::try_from(connections_max).unwrap_or(u32::MAX).clamp(1, 1_000_000);
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        Self {
            name,
            limits,
            connections_max,
            slots: Arc::new(Semaphore::new(connections_max as usize)),
            phase,
            phase_seen,
            metrics,
            refusals: Arc::default(),
        }
    }

    /// Takes connections and deals them to `runtimes` in turn (without any: serves them on this one), for as long as the
    /// future is polled. Dropping it closes the listener; connections go on.
    pub async fn accept<H: Handler>(
        &self,
        listener: TcpListener,
        handler: Arc<H>,
        runtimes: &[Handle],
    ) -> Infallible {
        let mut turn = 0_usize;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(port = self.name.name(), %error, "cannot take a connection; waiting");
                    sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                self.refuse(stream);
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                // The client is gone already.
                tracing::debug!(port = self.name.name(), %error, "cannot set TCP_NODELAY");
                continue;
            }
            let connection = Connection {
                port: self.name,
                limits: self.limits,
                phase: self.phase_seen.clone(),
                metrics: Arc::clone(&self.metrics),
                peer,
                worker: turn.checked_rem(runtimes.len()).unwrap_or(0),
                _slot: slot,
            };
            self.metrics.connection_opened(self.name);
            let handler = Arc::clone(&handler);
            if runtimes.is_empty() {
                tokio::spawn(connection.serve(stream, handler));
            } else {
                // The socket leaves this runtime's poller and enters the other's.
                match stream.into_std() {
                    Ok(stream) => {
                        runtimes[turn % runtimes.len()].spawn(connection.serve_std(stream, handler));
                    }
                    Err(error) => tracing::warn!(%error, "cannot hand a connection over"),
                }
                turn = turn.wrapping_add(1);
            }
        }
    }

    /// Answers 503 and closes, without letting any number of refused connections pile up either.
    fn refuse(&self, mut stream: TcpStream) {
        self.metrics.connection_refused(self.name);
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS_IN_FLIGHT_MAX {
            self.refusals.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let refusals = Arc::clone(&self.refusals);
        let answer = refusal(self.connections_max);
        tokio::spawn(async move {
            let linger = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                // Closing a socket with unread bytes resets it, and the client would lose the answer.
                let mut unread = [0; 4096];
                while stream.read(&mut unread).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(REFUSAL_LINGER, linger).await;
            refusals.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        (self.connections_max as usize).saturating_sub(self.slots.available_permits())
    }

    /// Lets go of all connections: leaves them be for `notice`, then closes each when it is between requests, and after
    /// `total` (from the start) cuts off the rest. Says how many were cut off.
    pub async fn drain(&self, notice: Duration, total: Duration) -> usize {
        if timeout(notice, self.all_closed()).await.is_ok() {
            return 0;
        }
        self.phase.send_replace(Phase::Closing);
        if timeout(total.saturating_sub(notice), self.all_closed()).await.is_ok() {
            return 0;
        }
        let cut_off = self.connections();
        self.phase.send_replace(Phase::Aborting);
        let _ = timeout(ABORT_GRACE, self.all_closed()).await;
        cut_off
    }

    async fn all_closed(&self) {
        // The semaphore is never closed, so this waits until every slot is free.
        let _ = self.slots.acquire_many(self.connections_max).await;
    }
}

/// Whether an error of `accept` is about the connection that was taken, and the next may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn refusal(connections_max: u32) -> Vec<u8> {
    let detail = format!("this port serves at most {connections_max} connections at once");
    let body = Problem::new(ProblemKind::Overloaded, detail).to_json();
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

/// What a connection needs to know of its port.
struct Connection {
    port: PortName,
    limits: Limits,
    phase: watch::Receiver<Phase>,
    metrics: Arc<HttpMetrics>,
    peer: IpAddr,
    worker: usize,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connection_closed(self.port);
    }
}

impl Connection {
    async fn serve_std<H: Handler>(self, stream: std::net::TcpStream, handler: Arc<H>) {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.serve(stream, handler).await,
            Err(error) => tracing::warn!(%error, "cannot take a connection over"),
        }
    }

    async fn serve<H: Handler>(mut self, stream: TcpStream, handler: Arc<H>) {
        let activity = Activity::default();
        let stream = Stamped::new(stream, activity.clone());
        let io = TokioIo::new(Guarded::new(stream, self.limits, activity.clone()));
        let (peer, worker) = (self.peer, self.worker);
        // Counting references on this connection's own place keeps threads off each other's cache lines.
        let handler = Arc::new(handler);
        let service = service_fn(move |request| {
            let busy = activity.begin();
            let read = SystemClock.instant();
            let arrival = Arrival { received: activity.received(read), read, peer, worker, busy };
            let handler = Arc::clone(&handler);
            async move { Ok::<_, Infallible>(answer(&**handler, request, arrival).await) }
        });
        let connection = http1::Builder::new()
            // `Guarded` limits heads and idling, for less.
            .header_read_timeout(None)
            .max_header_size(HEAD_BYTES_MAX)
            // A client that has closed its side may still read; above all, a decision that has begun is finished.
            .half_close(true)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(port = self.port.name(), %error, "a connection ended early");
                    }
                    return;
                }
                changed = self.phase.changed() => {
                    let phase = if changed.is_ok() { *self.phase.borrow() } else { Phase::Aborting };
                    match phase {
                        Phase::Serving => {}
                        Phase::Closing => connection.as_mut().graceful_shutdown(),
                        Phase::Aborting => return,
                    }
                }
            }
        }
    }
}

async fn answer<H: Handler>(
    handler: &H,
    request: Request<Incoming>,
    arrival: Arrival,
) -> Response<ResponseBody> {
    match catch_panic(handler.handle(request, arrival)).await {
        Some(response) => response,
        None => Problem::new(ProblemKind::Internal, "the request failed; the log of the service says why")
            .into_response(),
    }
}

/// Runs a future to its end; `None` when it panics. One request's fault must not take its connection's others with it.
pub async fn catch_panic<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(panic = %text, "a request panicked");
            Poll::Ready(None)
        }
    })
    .await
}
