//! The two HTTP ports: decisions for gateways, and health, metrics and policy for operators.
//!
//! What must hold here: no input can panic, hold memory without a bound or hold a connection without a time limit; every
//! error answer is a problem document (RFC 9457); a decision that has begun is finished even when its client goes away;
//! and nothing below this room knows about HTTP.

pub mod admin_port;
pub mod admission;
mod admission_metrics;
pub mod arrival;
mod audit_port;
pub mod auth;
pub mod backtest;
pub mod batch;
pub mod body;
pub mod candidate_body;
pub mod decision_port;
mod lists_port;
pub mod metrics;
pub mod options;
pub mod port;
pub mod problem;
mod proof_port;
pub mod queue_delay;
pub mod rate_limit;
pub mod request;
pub mod server;
pub mod service;
pub mod stamped;
pub mod transport;
pub mod workers;
