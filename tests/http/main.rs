//! The ports over real sockets, with a service that the tests steer.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod admin;
mod backlog;
mod contract;
mod drain;
mod hostile;
mod limits;
mod overload;
mod real;
mod steered;
mod wire;
