//! `tollgate load`: an open-loop load generator for the decision port.
//!
//! What must hold here: request `i` is due at `start + i / rate`, whatever the service does; every latency is counted from
//! that moment, not from when the request could at last be sent; nothing that went wrong is left out of the percentiles; and
//! the report says how late the generator itself was.

pub(crate) mod connection;
pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod source;
pub(crate) mod target;

#[cfg(test)]
mod tests;
