//! What the ports ask of the decision service. The pipeline's `Service` answers; tests answer with one that they steer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::engine::settings::Effort;
use crate::evaluation::comparison::SAMPLES_DEFAULT;
use crate::evaluation::report::BacktestReport;
use crate::evaluation::truth::Unlabelled;
use crate::pipeline::audit_search::{AuditPage, ReviewPage};
use crate::pipeline::backtest::{BacktestError, CandidateRun};
use crate::pipeline::candidate_shadow::CandidateStatus;
use crate::pipeline::erasure::{ErasureDone, ErasureError};
use crate::pipeline::list_status::{ListChanged, ListPage, ListedStatus, ListsStatus};
use crate::pipeline::lists::ListError;
use crate::pipeline::policy::PolicyStatus;
use crate::pipeline::prove::ProveError;
use crate::pipeline::readiness::Readiness;
use crate::pipeline::reviews::{ReviewAnswer, ReviewError};
use crate::pipeline::rules_check::RulesChecked;
use crate::pipeline::rules_status::RulesStatus;
use crate::pipeline::service::{DecideError, Service};
use crate::proof::tile::Tile;
use crate::rules::candidate::CandidateFiles;
use crate::search::dossier::Dossier;
use crate::search::query::Query;

/// The service behind both ports.
///
/// A future of `decide` or `label` is finished even when its client goes away, but it is dropped where it stands when
/// draining runs out of time: it must leave nothing locked then.
pub trait DecisionService: Send + Sync + 'static {
    /// Decides one transaction. `body` is the JSON of the request, `received` when it had arrived in the kernel, and `budget` how
    /// long after that the answer may take (`None`: the configured default). `effort` says how much of a decision there is time
    /// for. Answers with the JSON of the decision.
    fn decide(
        &self,
        body: &[u8],
        idempotency_key: Option<&str>,
        budget: Option<Duration>,
        received: Instant,
        effort: Effort,
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

    /// The newest checkpoint of the audit log, a signed note.
    fn checkpoint_note(&self) -> Result<String, ProveError>;

    /// Has a checkpoint signed that covers all that is recorded, and answers with it.
    fn sign_checkpoint(&self) -> impl Future<Output = Result<String, ProveError>> + Send;

    /// A proof that a record is covered by the newest checkpoint; `bare`: without the record. Reads from disk.
    fn inclusion_proof(&self, sequence: u64, bare: bool) -> Result<String, ProveError>;

    /// A proof that the newest checkpoint goes on from an earlier one. Reads from disk.
    fn consistency_proof(&self, old_size: u64) -> Result<String, ProveError>;

    /// A tile of the log's tree; none if it has no such tile. Reads from disk.
    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, ProveError>;

    /// Decisions of the log. May take a while.
    fn search_audit(&self, query: &Query) -> Result<AuditPage, DecideError>;

    /// All that is known of a record; `None` when there is none. May read from disk.
    fn audit_record(&self, sequence: u64) -> Result<Option<Dossier>, DecideError>;

    /// Open reviews after a sequence. May read from disk.
    fn review_queue(&self, query: &Query, after: u64) -> Result<ReviewPage, DecideError>;

    /// Records a verdict on a decision. `body` is the JSON of the request, `by` whose API key it came with.
    fn review(
        &self,
        decision_id: &str,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ReviewAnswer, ReviewError>> + Send;

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
        effort: Effort,
    ) -> impl Future<Output = Result<Bytes, DecideError>> + Send {
        Self::decide(self, body, idempotency_key, budget, received, effort)
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

    fn search_audit(&self, query: &Query) -> Result<AuditPage, DecideError> {
        Self::search_audit(self, query)
    }

    fn audit_record(&self, sequence: u64) -> Result<Option<Dossier>, DecideError> {
        Self::audit_record(self, sequence)
    }

    fn review_queue(&self, query: &Query, after: u64) -> Result<ReviewPage, DecideError> {
        Self::review_queue(self, query, after)
    }

    fn review(
        &self,
        decision_id: &str,
        body: &[u8],
        by: &str,
    ) -> impl Future<Output = Result<ReviewAnswer, ReviewError>> + Send {
        Self::review(self, decision_id, body, by)
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

    fn checkpoint_note(&self) -> Result<String, ProveError> {
        Self::checkpoint_note(self)
    }

    fn sign_checkpoint(&self) -> impl Future<Output = Result<String, ProveError>> + Send {
        Self::sign_checkpoint(self)
    }

    fn inclusion_proof(&self, sequence: u64, bare: bool) -> Result<String, ProveError> {
        Self::inclusion_proof(self, sequence, bare)
    }

    fn consistency_proof(&self, old_size: u64) -> Result<String, ProveError> {
        Self::consistency_proof(self, old_size)
    }

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, ProveError> {
        Self::tile(self, tile)
    }

    fn metrics_text(&self) -> String {
        Self::metrics_text(self)
    }
}
