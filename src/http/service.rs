//! What the ports ask of the decision service. The pipeline's `Service` answers; tests answer with one that they steer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use crate::domain::decision::Outcome;
use crate::evaluation::comparison::SAMPLES_DEFAULT;
use crate::evaluation::report::BacktestReport;
use crate::evaluation::truth::Unlabelled;
use crate::pipeline::backtest::{BacktestError, CandidateRun};
use crate::pipeline::candidate_shadow::CandidateStatus;
use crate::pipeline::policy::PolicyStatus;
use crate::pipeline::readiness::Readiness;
use crate::pipeline::service::{DecideError, Service};
use crate::rules::file::State;

/// The service behind both ports.
///
/// A future of `decide` or `label` is finished even when its client goes away, but it is dropped where it stands when
/// draining runs out of time: it must leave nothing locked then.
pub trait DecisionService: Send + Sync + 'static {
    /// Decides one transaction. `body` is the JSON of the request, `received` when its head had arrived, and `budget` how
    /// long after that the answer may take (`None`: the configured default). Answers with the JSON of the decision.
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

    /// Whether it can decide, and if not, why.
    fn readiness(&self) -> Readiness;

    /// The policy now live.
    fn policy_status(&self) -> PolicyStatus;

    /// Reloads the policy now; `refused` of the answer says why when it was refused.
    fn reload(self: &Arc<Self>, cause: &'static str) -> impl Future<Output = PolicyStatus> + Send;

    /// The rules now live.
    fn rules_status(&self) -> RulesStatus;

    /// Runs candidate rules over the recorded traffic.
    fn backtest(
        self: &Arc<Self>,
        wanted: CandidateRun,
    ) -> impl Future<Output = Result<BacktestReport, BacktestError>> + Send;

    /// The candidate that decides beside the live rules; `None` when there is none to be. May take a moment.
    fn candidate_status(&self, unlabelled: Unlabelled) -> Option<CandidateStatus>;

    /// Every metric as Prometheus or OpenMetrics text.
    fn metrics_text(&self) -> String;
}

/// The rules now live.
#[derive(Clone, Debug, Serialize)]
pub struct RulesStatus {
    /// Their content hash, with the lists that they name.
    pub version: Box<str>,
    /// Each rule, in the order of the files.
    pub rules: Vec<RuleStatus>,
}

/// One rule now live.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// Its id.
    pub id: Box<str>,
    /// Why it exists.
    pub description: Box<str>,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
    /// Its condition as written.
    pub when: Box<str>,
    /// What it asks for.
    pub then: Outcome,
    /// The code that the answer shows.
    pub reason: Box<str>,
    /// Whether it decides.
    pub state: State,
    /// Higher wins.
    pub priority: i32,
    /// The file that it stands in.
    pub file: Box<str>,
    /// The line there, counted from 1.
    pub line: usize,
}

impl DecisionService for Service {
    fn decide(
        &self,
        body: &[u8],
        idempotency_key: Option<&str>,
        budget: Option<Duration>,
        received: Instant,
    ) -> impl Future<Output = Result<Bytes, DecideError>> + Send {
        Self::decide(self, body, idempotency_key, budget, received)
    }

    fn label(&self, body: &[u8]) -> impl Future<Output = Result<Bytes, DecideError>> + Send {
        Self::label(self, body)
    }

    fn decision_by_id(&self, decision_id: &str) -> Result<Option<Bytes>, DecideError> {
        Self::decision_by_id(self, decision_id)
    }

    fn decision_by_transaction(&self, transaction_id: &str) -> Result<Option<Bytes>, DecideError> {
        Self::decision_by_transaction(self, transaction_id)
    }

    fn readiness(&self) -> Readiness {
        Self::readiness(self)
    }

    fn policy_status(&self) -> PolicyStatus {
        Self::policy_status(self)
    }

    fn reload(self: &Arc<Self>, cause: &'static str) -> impl Future<Output = PolicyStatus> + Send {
        Self::reload(self, cause)
    }

    fn rules_status(&self) -> RulesStatus {
        let live = self.policies.live();
        let rules = live.policy.rules.rules().iter().map(|rule| RuleStatus {
            id: rule.id.clone(),
            description: rule.description.clone(),
            owner: rule.owner.clone(),
            when: rule.when.clone(),
            then: rule.then,
            reason: rule.reason.clone(),
            state: rule.state,
            priority: rule.priority,
            file: rule.file.clone(),
            line: rule.place.line,
        });
        RulesStatus { version: live.policy.versions.rules.clone(), rules: rules.collect() }
    }

    fn backtest(
        self: &Arc<Self>,
        wanted: CandidateRun,
    ) -> impl Future<Output = Result<BacktestReport, BacktestError>> + Send {
        Self::backtest(self, wanted)
    }

    fn candidate_status(&self, unlabelled: Unlabelled) -> Option<CandidateStatus> {
        Self::candidate_status(self, SAMPLES_DEFAULT, unlabelled)
    }

    fn metrics_text(&self) -> String {
        Self::metrics_text(self)
    }
}
