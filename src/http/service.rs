//! What the ports ask of the decision service. The pipeline's `Service` answers; tests answer with one that they steer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::evaluation::comparison::SAMPLES_DEFAULT;
use crate::evaluation::report::BacktestReport;
use crate::evaluation::truth::Unlabelled;
use crate::pipeline::backtest::{BacktestError, CandidateRun};
use crate::pipeline::candidate_shadow::CandidateStatus;
use crate::pipeline::erasure::{ErasureDone, ErasureError};
use crate::pipeline::list_status::{ListChanged, ListPage, ListedStatus, ListsStatus};
use crate::pipeline::lists::ListError;
use crate::pipeline::policy::PolicyStatus;
use crate::pipeline::readiness::Readiness;
use crate::pipeline::rules_check::RulesChecked;
use crate::pipeline::rules_status::RulesStatus;
use crate::pipeline::service::{DecideError, Service};
use crate::rules::candidate::CandidateFiles;

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
    fn reload(
        self: &Arc<Self>,
        cause: &'static str,
        by: Option<&str>,
    ) -> impl Future<Output = PolicyStatus> + Send;

    /// The rules now live.
    fn rules_status(&self) -> RulesStatus;

    /// Runs candidate rules over the recorded traffic.
    fn backtest(
        self: &Arc<Self>,
        wanted: CandidateRun,
    ) -> impl Future<Output = Result<BacktestReport, BacktestError>> + Send;

    /// The candidate that decides beside the live rules; `None` when there is none to be. May take a moment.
    fn candidate_status(&self, unlabelled: Unlabelled) -> Option<CandidateStatus>;
    /// Checks rule files as a reload would. Blocks while it does.
    fn check_rules(&self, candidate: CandidateFiles) -> RulesChecked;

    /// All lists.
    fn lists_status(&self) -> ListsStatus;

    /// Entries of a list that were put there at run time. May take a while.
    fn list_page(&self, list: &str, after: Option<&str>, count: usize) -> Result<ListPage, ListError>;

    /// Where a value stands on a list.
    fn listed(&self, list: &str, value: &str) -> Result<ListedStatus, ListError>;

    /// Puts a value on a list. `body` is the JSON of the request, `by` whose API key it came with.
    fn put_on_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ListChanged, ListError>> + Send;

    /// Takes a value off a list. `body` is the JSON of the request, `by` whose API key it came with.
    fn take_off_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ListChanged, ListError>> + Send;

    /// Erases somebody's personal data. `body` is the JSON of the request, `by` whose API key it came with.
    fn erase(
        self: &Arc<Self>,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ErasureDone, ErasureError>> + Send;

    /// Every metric as Prometheus or OpenMetrics text.
    fn metrics_text(&self) -> String;
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

    fn reload(
        self: &Arc<Self>,
        cause: &'static str,
        by: Option<&str>,
    ) -> impl Future<Output = PolicyStatus> + Send {
        Self::reload(self, cause, by)
    }

    fn rules_status(&self) -> RulesStatus {
        Self::rules_status(self)
    }

    fn check_rules(&self, candidate: CandidateFiles) -> RulesChecked {
        Self::check_rules(self, candidate)
    }

    fn lists_status(&self) -> ListsStatus {
        Self::lists_status(self)
    }

    fn list_page(&self, list: &str, after: Option<&str>, count: usize) -> Result<ListPage, ListError> {
        Self::list_page(self, list, after, count)
    }

    fn listed(&self, list: &str, value: &str) -> Result<ListedStatus, ListError> {
        Self::listed(self, list, value)
    }

    fn put_on_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ListChanged, ListError>> + Send {
        Self::put_on_list(self, list, value, body, by)
    }

    fn take_off_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ListChanged, ListError>> + Send {
        Self::take_off_list(self, list, value, body, by)
    }

    fn erase(
        self: &Arc<Self>,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ErasureDone, ErasureError>> + Send {
        Self::erase(self, body, by)
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
