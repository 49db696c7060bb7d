//! What the ports ask of the decision service. The pipeline implements it; tests implement it with a service that they steer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;

use crate::wire::rejection::Rejection;

/// The service behind both ports.
///
/// A future of `decide` or `label` is finished even when its client goes away, but it is dropped where it stands when
/// draining runs out of time: it must leave nothing locked then.
pub trait DecisionService: Send + Sync + 'static {
    /// Decides one transaction. `body` is the JSON of the request, `received` when it arrived, and `budget` how long after
    /// that the answer may take (`None`: the configured default). Answers with the JSON of the decision.
    fn decide(
        &self,
        body: &[u8],
        idempotency_key: Option<&str>,
        budget: Option<Duration>,
        received: Instant,
    ) -> impl Future<Output = Result<Bytes, DecideError>> + Send;

    /// Takes a label. Answers with the JSON of what was recorded.
    fn label(&self, body: &[u8]) -> impl Future<Output = Result<Bytes, DecideError>> + Send;

    /// The JSON of a recorded decision; `None` when there is none. May read from disk.
    fn decision_by_id(&self, decision_id: &str) -> Result<Option<Bytes>, DecideError>;

    /// The JSON of the decision of a transaction; `None` when there is none. May read from disk.
    fn decision_by_transaction(&self, transaction_id: &str) -> Result<Option<Bytes>, DecideError>;

    /// Whether it is ready to decide, and if not, why.
    fn readiness(&self) -> Readiness;

    /// The policy now live.
    fn policy_status(&self) -> PolicyStatus;

    /// Reloads the policy now; `refused` says why when it was refused.
    fn reload(&self, cause: &'static str) -> impl Future<Output = PolicyStatus> + Send;

    /// The rules now live, with their hit counts.
    fn rules_status(&self) -> RulesStatus;

    /// Every metric as Prometheus or OpenMetrics text.
    fn metrics_text(&self) -> String;
}

/// Why a request was not answered with a decision.
#[derive(Debug, Error)]
pub enum DecideError {
    /// The body is not JSON or has wrong fields.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The key was used before, with another body.
    #[error("this idempotency key was already used with another body")]
    KeyReused,
    /// The first request with this key is still in work.
    #[error("the first request with this idempotency key is still in work")]
    InFlight,
    /// Load was shed.
    #[error("more requests than can be decided in time")]
    Overloaded {
        /// When to come again, in seconds.
        retry_after_s: u32,
    },
    /// Not ready to decide yet.
    #[error("not ready to decide: {reason}")]
    NotReady {
        /// What is not ready.
        reason: String,
    },
    /// The decision could not be made durable, so it was not given.
    #[error("the audit log cannot be written: {0}")]
    AuditUnavailable(String),
    /// Over this client's limit.
    #[error("more requests than this client may send")]
    TooManyRequests,
    /// A fault of the service itself.
    #[error("{0}")]
    Internal(String),
}

/// Whether the service is ready to decide.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// All checks passed.
    pub ready: bool,
    /// Every check by name, and what is wrong.
    pub checks: Vec<(&'static str, Result<(), String>)>,
}

/// The policy now live.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    /// Its content hash.
    pub version: String,
    /// Why the last reload was refused.
    pub refused: Option<Refused>,
}

/// Why a reload was refused.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Every error, with file and line.
    pub errors: Vec<String>,
}

/// The rules now live.
#[derive(Clone, Debug, Serialize)]
pub struct RulesStatus {
    /// One entry a rule.
    pub rules: Vec<serde_json::Value>,
}
