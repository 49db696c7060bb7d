//! How a request came: when, from whom, to which thread.

use std::net::IpAddr;
use std::time::Instant;

use crate::http::transport::BusyGuard;

/// What a port knows of a request besides the request itself.
#[derive(Debug)]
pub struct Arrival {
    /// When the kernel received it; where the kernel does not say, when it was read.
    pub received: Instant,
    /// When it was handed over.
    pub read: Instant,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Which of the port's threads serves it, counted from 0.
    pub worker: usize,
    /// Marks the connection as in work as long as it is kept.
    pub busy: BusyGuard,
}
