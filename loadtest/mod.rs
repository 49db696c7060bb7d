//! `tollgate load`: an open-loop load generator for the decision port.
//!
//! What must hold here: when a request is due was settled before, and nothing that the service does changes it; every latency is counted from
//! that moment, not from when the request could at last be sent; nothing that went wrong is left out of the percentiles; and
//! the report says how late the generator itself was.

pub(crate) mod arrivals;
pub(crate) mod connection;
pub(crate) mod gate;
pub(crate) mod interval_log;
pub(crate) mod main;
pub(crate) mod measured;
pub(crate) mod mix;
pub(crate) mod options;
pub(crate) mod picture;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod saturation;
pub(crate) mod schedule;
pub(crate) mod source;
pub(crate) mod target;

#[cfg(test)]
mod tests;
