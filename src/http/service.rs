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

/// Why there is no decision.
#[derive(Debug, Error)]
pub enum DecideError {
    /// The request is wrong.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The idempotency key has been used for another body.
    #[error("this idempotency key was used before, for a request with another body")]
    KeyReused,
    /// The first request with this key is still being decided, and the deadline of this one is over.
    #[error("the first request with this idempotency key is still being decided")]
    InFlight,
    /// More requests than can be decided in time.
    #[error("more requests are being decided than the service takes on; ask again in {retry_after_s} s")]
    Overloaded {
        /// When to ask again.
        retry_after_s: u32,
    },
    /// Starting or draining.
    #[error("the service is {0}")]
    NotReady(&'static str),
    /// The decision cannot be recorded, and config says that then there is none.
    #[error("the decision cannot be recorded: {0}")]
    AuditUnavailable(String),
    /// Over this client's limit.
    #[error("more requests than this client may send")]
    TooManyRequests,
    /// A defect of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Whether the service can decide.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Readiness {
    /// All checks passed.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One check of readiness.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What is live, and why the last candidate was refused.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    /// The live policy, by content hash.
    pub policy: Box<str>,
    /// Why the last candidate was refused; absent when the last one went live.
    pub refused: Option<Refusal>,
}

/// Why a candidate was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// Every mistake, with its file and line.
    pub errors: Vec<String>,
}

/// The rules now live.
#[derive(Clone, Debug, Serialize)]
pub struct RulesStatus {
    /// One entry a rule.
    pub rules: Vec<serde_json::Value>,
}
