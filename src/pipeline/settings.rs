//! What the operator chose for the service. Each value has its bound and its default in `tollgate.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most idempotency keys and transaction ids remembered, unless config says otherwise. The oldest is forgotten first.
pub const DECISIONS_MAX_DEFAULT: usize = 4_000_000;
/// Longest deadline that a request may ask for.
pub const DEADLINE_MAX: Duration = Duration::from_millis(10_000);

/// What is answered when a decision cannot be recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAuditFailure {
    /// No decision: 503 with Retry-After.
    Refuse,
    /// APPROVE, marked as degraded.
    Approve,
    /// REVIEW, marked as degraded.
    Review,
}

/// What a decision does when as many records wait for the disk as may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBacklog {
    /// It is not recorded, at once: see `OnAuditFailure`.
    Fail,
    /// It waits for a place, for as long as its deadline leaves; then the same.
    Wait,
}

/// Settings of the request path.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSettings {
    /// The deadline of a request that names none.
    pub deadline_default: Duration,
    /// The longest wait for the enrichment store, however far away the deadline is.
    pub enrich_timeout_max: Duration,
    /// How far ahead of the receiver's clock an event time may lie.
    pub clock_skew_max: Duration,
    /// Most requests being decided at once; more are answered 503 at once.
    pub in_flight_max: usize,
    /// Most idempotency keys remembered.
    pub decisions_max: usize,
    /// What is answered when a decision cannot be recorded.
    pub on_audit_failure: OnAuditFailure,
    /// What a decision does when as many records wait for the disk as may.
    pub on_backlog: OnBacklog,
}
