//! Both ports together: bound, served, and drained in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

use crate::http::admin_port::AdminPort;
use crate::http::admission::Admission;
use crate::http::auth::PortName;
use crate::http::decision_port::DecisionPort;
use crate::http::metrics::HttpMetrics;
use crate::http::options::{
    ADMIN_CONNECTIONS_MAX, BATCHES_IN_FLIGHT_MAX, LOOKUPS_IN_FLIGHT_MAX, RULES_CHECKS_IN_FLIGHT_MAX,
    ServerOptions,
};
use crate::http::port::Port;
use crate::http::rate_limit::RateLimiter;
use crate::http::service::DecisionService;
use crate::http::stamped::ask_for_stamps;
use crate::http::transport::Limits;
use crate::http::workers::Workers;

/// Most connections that stand in the kernel and wait to be taken; it may have a lower bound of its own (`net.core.somaxconn`). One more is
/// not answered, and its client asks again after a second: many gateways that come back at once must not meet with that.
const ACCEPT_QUEUE_MAX: u32 = 4_096;

/// How long open admin connections have at the very end.
const ADMIN_DRAIN: Duration = Duration::from_millis(500);

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A port cannot be listened on.
    #[error("cannot listen on {address} for the {port} port: {source}")]
    Listen {
        /// Which port.
        port: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the machine says.
        source: std::io::Error,
    },
}

/// What the handlers of both ports share.
pub struct Shared<S> {
    /// What the server was told.
    pub options: ServerOptions,
    /// What decides.
    pub service: Arc<S>,
    /// What is counted.
    pub metrics: Arc<HttpMetrics>,
    /// Whether new decisions are refused because the server shuts down.
    pub draining: AtomicBool,
    /// Which decisions are begun.
    pub admission: Admission,
    /// How much each client has sent.
    pub rate_limiter: RateLimiter,
    /// Bounds the batches in work.
    pub batches: Arc<Semaphore>,
    /// Bounds the look-ups in work.
    pub lookups: Arc<Semaphore>,
    /// Bounds the checks of rules in work.
    pub checks: Arc<Semaphore>,
}

impl<S> Shared<S> {
    /// Whether new decisions are refused because the server shuts down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// How the server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainReport {
    /// Decision connections that were cut off because draining ran out of time. 0 is a clean end.
    pub connections_cut_off: usize,
}

/// Both ports, listening.
pub struct Server<S> {
    decision_listener: TcpListener,
    admin_listener: TcpListener,
    decision_address: SocketAddr,
    admin_address: SocketAddr,
    workers: Workers,
    shared: Arc<Shared<S>>,
}

impl<S: DecisionService> Server<S> {
    /// Listens on both ports. Connections wait in the kernel until `run`. Decisions are served by `workers`; where there are none, on
    /// the caller's runtime.
    pub async fn bind(options: ServerOptions, service: Arc<S>, workers: Workers) -> Result<Self, ServeError> {
        let (decision_listener, decision_address) =
            listen(PortName::Decision, options.decision_address).await?;
        let (admin_listener, admin_address) = listen(PortName::Admin, options.admin_address).await?;
        ask_for_stamps(&decision_listener);
        let shared = Arc::new(Shared {
            admission: Admission::new(options.admission, workers.handles().len()),
            rate_limiter: RateLimiter::new(options.rate_limits.clone()),
            options,
            service,
            metrics: Arc::default(),
            draining: AtomicBool::new(false),
            batches: Arc::new(Semaphore::new(BATCHES_IN_FLIGHT_MAX)),
            lookups: Arc::new(Semaphore::new(LOOKUPS_IN_FLIGHT_MAX)),
            checks: Arc::new(Semaphore::new(RULES_CHECKS_IN_FLIGHT_MAX)),
        });
        Ok(Self { decision_listener, admin_listener, decision_address, admin_address, workers, shared })
    }

    /// Where the decision port listens.
    pub fn decision_address(&self) -> SocketAddr {
        self.decision_address
    }

    /// Where the admin port listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until `shutdown` is done, then drains: takes no more connections, answers new decisions with 503, closes idle
    /// connections after `drain_notice`, finishes what is in flight, and cuts off the rest after `drain_timeout`. The admin
    /// port goes on until the decision port has ended, so that `/readyz` and `/metrics` tell how it goes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> DrainReport {
        let options = &self.shared.options;
        let limits =
            Limits { head: options.head_timeout, idle: options.idle_timeout, write: options.write_timeout };
        let metrics = &self.shared.metrics;
        let decision = Port::new(PortName::Decision, limits, options.connections_max, Arc::clone(metrics));
        let admin = Port::new(PortName::Admin, limits, ADMIN_CONNECTIONS_MAX, Arc::clone(metrics));
        let decision_handler = Arc::new(DecisionPort::new(Arc::clone(&self.shared)));
        let admin_handler = Arc::new(AdminPort::new(Arc::clone(&self.shared)));

        let mut accept_admin = std::pin::pin!(admin.accept(self.admin_listener, admin_handler, &[]));
        {
            // Owned by this block, so that its end closes the listener.
            let accept_decisions =
                decision.accept(self.decision_listener, decision_handler, self.workers.handles());
            tokio::select! {
                biased;
                () = shutdown => {}
                never = accept_decisions => match never {},
                never = accept_admin.as_mut() => match never {},
            }
        }
        self.shared.draining.store(true, Ordering::Release);
        tracing::info!(connections = decision.connections(), "shutting down: finishing what is in flight");
        let connections_cut_off = tokio::select! {
            biased;
            cut_off = decision.drain(options.drain_notice, options.drain_timeout) => cut_off,
            never = accept_admin.as_mut() => match never {},
        };
        if connections_cut_off > 0 {
            tracing::warn!(connections_cut_off, "draining ran out of time");
        }
        admin.drain(Duration::ZERO, ADMIN_DRAIN).await;
        let workers = self.workers;
        // Joining threads blocks.
        let _ = tokio::task::spawn_blocking(move || drop(workers)).await;
        DrainReport { connections_cut_off }
    }
}

async fn listen(port: PortName, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let fail = |source| ServeError::Listen { port: port.name(), address, source };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let listener = socket.and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(ACCEPT_QUEUE_MAX)
    });
    let listener = listener.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}
