//! What the server can be told, and every bound of this room.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::domain::limits::BODY_BYTES_MAX;
use crate::http::admission::AdmissionOptions;
use crate::http::auth::ApiKeys;
use crate::http::rate_limit::RateLimits;

/// Most connections of the decision port at once, unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Most connections of the admin port at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Largest head of a request (request line and headers), in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most lines of one batch.
pub const BATCH_LINES_MAX: usize = 1_000;
/// Largest body of one batch, in bytes.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most batches in work at once; together they hold at most 64 MiB of bodies.
pub const BATCHES_IN_FLIGHT_MAX: usize = 8;
/// Most look-ups of recorded decisions at once: they may read from disk and run beside the decisions.
pub const LOOKUPS_IN_FLIGHT_MAX: usize = 16;
/// Most checks of rules at once: each may take a processor for a while, beside the decisions.
pub const RULES_CHECKS_IN_FLIGHT_MAX: usize = 1;
/// How much of a body that is too large is read and thrown away, so that its client gets to read the 413, in bytes.
pub const DISCARD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most refused connections that are given the time to read their 503.
pub const REFUSALS_IN_FLIGHT_MAX: usize = 64;
/// Most mistakes that one problem document lists.
pub const PROBLEM_ERRORS_MAX: usize = 64;
/// Largest `X-Deadline-Ms`.
pub const DEADLINE_MS_MAX: u64 = 10_000;
/// Most API keys of one port.
pub const API_KEYS_MAX: usize = 64;

/// What the server can be told.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where the decision port listens; port 0 picks a free one.
    pub decision_address: SocketAddr,
    /// Where the admin port listens; port 0 picks a free one.
    pub admin_address: SocketAddr,
    /// Who may call; without keys everybody may.
    pub keys: ApiKeys,
    /// Most decision connections at once, 1..=1,000,000. One more is answered 503 and closed.
    pub connections_max: usize,
    /// Which decisions are begun.
    pub admission: AdmissionOptions,
    /// How much each client may send to the decision port.
    pub rate_limits: RateLimits,
    /// How long a request's head may take from its first byte to its last.
    pub head_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long the body of a batch may take.
    pub batch_body_timeout: Duration,
    /// How long a connection may be silent between requests. It is closed after one to two times this.
    pub idle_timeout: Duration,
    /// How long a client may refuse to take its answer.
    pub write_timeout: Duration,
    /// Largest body of one decision or label, in bytes.
    pub body_bytes_max: usize,
    /// At shutdown: how long open connections are told 503 before they are closed.
    pub drain_notice: Duration,
    /// At shutdown: how long requests in flight may take, including `drain_notice`.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            decision_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            keys: ApiKeys::default(),
            connections_max: CONNECTIONS_MAX,
            admission: AdmissionOptions::default(),
            rate_limits: RateLimits::default(),
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            batch_body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(10),
            body_bytes_max: BODY_BYTES_MAX,
            drain_notice: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
