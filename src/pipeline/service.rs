//! The service: what the decision port and the admin port call.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tracing::error;

use crate::audit::bodies::{Sealing, decision_body};
use crate::audit::failure::LogError;
use crate::audit::follow::FollowThread;
use crate::audit::frame::Kind;
use crate::audit::lookup::LogLookup;
use crate::audit::queue::{Pending, Ticket};
use crate::audit::receipt::LogId;
use crate::audit::record::{DecisionRecord, RecordedHit, StageTimes};
use crate::audit::writer::{LogHandle, LogStatus};
use crate::domain::decision::{Challenge, Decision, Outcome, Reason, ReasonSource, RiskLevel, Versions};
use crate::domain::enrichment::Enrichment;
use crate::domain::time::{Clock, EventTime};
use crate::domain::transaction::{Mode, Transaction};
use crate::engine::judge::{Judgement, Known, RuleHit, judge};
use crate::engine::observe::{Observation, observe, prepare};
use crate::engine::settings::Effort;
use crate::engine::state::{Counted, State};
use crate::enrich::profiles::Profiles;
use crate::enrich::source::ProfileSource;
use crate::pipeline::answer::answer_json;
use crate::pipeline::candidate::CandidateKeeper;
use crate::pipeline::candidate_shadow::CandidateSeen;
use crate::pipeline::checkpoints::Board;
use crate::pipeline::fold::{Consequence, PolicyHits};
use crate::pipeline::index::{Claim, Claimed, DecisionIndex, Fingerprint, RequestKey};
use crate::pipeline::ip::IpKeeper;
use crate::pipeline::lane::SharedLane;
use crate::pipeline::metrics::Metrics;
use crate::pipeline::policy::{LivePolicy, PolicyKeeper};
use crate::pipeline::privacy::Privacy;
use crate::pipeline::rule_counts::CountedHit;
use crate::pipeline::secret::Secret;
use crate::pipeline::settings::{OnAuditFailure, OnBacklog, ServiceSettings};
use crate::pipeline::shadow::{Seen, Shadow};
use crate::pipeline::snapshot::Snapshots;
use crate::pipeline::stopwatch::Stopwatch;
use crate::rules::run_time::RunTimeLists;
use crate::search::facts::DecisionFacts;
use crate::search::live::LiveIndex;
use crate::wire::rejection::Rejection;
use crate::wire::transaction::{DecisionRequest, TransactionJson, parse_slice};

/// The most of a deadline that is kept back from enrichment, for the decision and its record.
const AFTER_ENRICH_MAX: Duration = Duration::from_millis(20);
/// The least time that a record gets, also past the deadline: a late answer is better than none for a decision that is
/// already counted and on its way into the log.
const RECORD_WAIT_MIN: Duration = Duration::from_millis(20);

/// How long a decision waits before it asks again for a place in the log.
const BACKLOG_WAIT: Duration = Duration::from_millis(1);

/// How long decisions that wait for their shadow scores may hold up the end of the service.
const LAST_SHADOW_PATIENCE: Duration = Duration::from_secs(2);

/// How long the last state snapshot may take when the service ends; without it, the next start reads more of the log.
const LAST_SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no decision.
#[derive(Debug, Error)]
pub enum DecideError {
    /// The request is wrong.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The idempotency key has been used for another body.
    #[error("this idempotency key or transaction_id was used before, for a request with another body")]
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
    /// The decision was made, and the personal data of its record was erased since.
    #[error("the personal data of this decision was erased on request")]
    Erased,
    /// A defect of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Everything that the request path needs.
pub struct Service {
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The settings.
    pub(crate) settings: ServiceSettings,
    /// The installation's secret.
    pub(crate) secret: Secret,
    /// The live policy and its history.
    pub(crate) policies: PolicyKeeper,
    /// The windows and what has been counted.
    pub(crate) state: Arc<State>,
    /// The rules that decide beside the live ones.
    pub(crate) candidates: Arc<CandidateKeeper>,
    /// The order of `observe`.
    pub(crate) lane: SharedLane,
    /// The enrichment store.
    pub(crate) profiles: Profiles,
    /// What local files know of addresses.
    pub(crate) ip: IpKeeper,
    /// The log's writer.
    pub(crate) log: LogHandle<Consequence>,
    /// The log's name.
    pub(crate) log_id: LogId,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where the log lies.
    pub(crate) log_directory: PathBuf,
    /// What seals and opens records.
    pub(crate) privacy: Privacy,
    /// The newest checkpoint of the log.
    pub(crate) board: Arc<Board>,
    /// Records by position.
    pub(crate) lookup: LogLookup,
    /// The search index over the log.
    pub(crate) search: Arc<LiveIndex>,
    /// What makes it.
    pub(crate) indexer: FollowThread,
    /// Whose review is on its way, one after the other; the sequence of the last.
    pub(crate) last_review: tokio::sync::Mutex<u64>,
    /// Admission of reviews.
    pub(crate) reviews: Semaphore,
    /// Answered requests.
    pub(crate) index: Arc<DecisionIndex>,
    /// What takes snapshots of windows, ledger and index.
    pub(crate) snapshots: Snapshots,
    /// What is looked at after a decision: challengers and drift.
    pub(crate) shadow: Shadow,
    /// One place for a backtest.
    pub(crate) backtests: Arc<Semaphore>,
    /// One place for an erasure.
    pub(crate) erasures: Arc<Semaphore>,
    /// Admission.
    pub(crate) in_flight: Semaphore,
    /// Admission of changes of lists.
    pub(crate) list_changes: Arc<Semaphore>,
    /// Counters and histograms.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the service is draining.
    pub(crate) draining: AtomicBool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("log", &self.log_id).finish_non_exhaustive()
    }
}

/// One request on its way.
struct Walk {
    received_at: EventTime,
    deadline: Duration,
    effort: Effort,
    stopwatch: Stopwatch,
    times: StageTimes,
}

impl Walk {
    fn remaining(&self) -> Duration {
        self.deadline.saturating_sub(self.stopwatch.elapsed())
    }

    /// What enrichment must leave for the decision and its record: a quarter of the deadline, and no more than it takes.
    fn reserve(&self) -> Duration {
        (self.deadline / 4).min(AFTER_ENRICH_MAX)
    }
}

/// What a request holds until its record is in the log.
struct Claims {
    request: Claimed,
    transaction: Option<Claimed>,
}

/// What was seen and concluded, before it is written down.
struct Decided {
    policy: Arc<LivePolicy>,
    key: RequestKey,
    counted: Counted,
    is_new: bool,
    enrichment: Enrichment,
    judgement: Judgement,
    answer: Decision,
    state_sequence: u64,
    lists: Arc<RunTimeLists>,
}

impl Service {
    /// Decides one request. `budget` is the client's deadline, if it named one; `received` is when the request came. With
    /// `Effort::RulesAlone` nobody is asked for profiles and nothing is scored; all else is as ever.
    pub async fn decide(
        &self,
        body: &[u8],
        idempotency_key: Option<&str>,
        budget: Option<Duration>,
        received: Instant,
        effort: Effort,
    ) -> Result<Bytes, DecideError> {
        let result = self.decide_counted(body, idempotency_key, budget, received, effort).await;
        self.metrics.count_request(&result);
        result
    }

    /// Decides a made-up transaction once, changing nothing, so that the first real one does not pay for cold caches and pages.
    pub async fn warm_up(&self) {
        let body = br#"{"transaction_id": "warm-up", "occurred_at": "2026-01-01T00:00:00Z", "mode": "dry_run",
            "amount": {"value": 1, "currency": "EUR"}, "customer": {"id": "warm-up"}, "card": {"fingerprint": "warm-up"},
            "merchant": {"id": "warm-up"}, "device": {"id": "warm-up", "ip": "192.0.2.1"}}"#;
        if let Err(error) = self.decide_counted(body, None, None, self.clock.instant(), Effort::Full).await {
            error!(%error, "the warm-up decision failed");
        }
    }

    async fn decide_counted(
        &self,
        body: &[u8],
        idempotency_key: Option<&str>,
        budget: Option<Duration>,
        received: Instant,
        effort: Effort,
    ) -> Result<Bytes, DecideError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(DecideError::NotReady("draining"));
        }
        let Ok(_admitted) = self.in_flight.try_acquire() else {
            return Err(DecideError::Overloaded { retry_after_s: 1 });
        };
        let mut walk = Walk {
            received_at: self.clock.now(),
            deadline: budget.unwrap_or(self.settings.deadline_default),
            effort,
            stopwatch: Stopwatch::new(Arc::clone(&self.clock), received),
            times: StageTimes::default(),
        };
        let request = parse_slice(body)?;
        self.refuse_far_future(request.transaction.occurred_at, walk.received_at, "/occurred_at")?;
        self.metrics.count_unknown_fields(request.unknown_fields);
        walk.times.parse = walk.stopwatch.lap_us();
        match request.mode {
            Mode::DryRun => self.dry_run(&request, walk).await,
            Mode::Live => self.decide_live(&request, idempotency_key, walk).await,
        }
    }

    /// Event times too far ahead of the receiver's clock would poison windows.
    pub(crate) fn refuse_far_future(
        &self,
        occurred_at: EventTime,
        now: EventTime,
        pointer: &str,
    ) -> Result<(), Rejection> {
        let skew_max = self.settings.clock_skew_max;
        if occurred_at > now.plus(skew_max) {
            let detail =
                format!("lies more than {} s ahead of the receiver's clock ({now})", skew_max.as_secs());
            return Err(Rejection::field(pointer, detail));
        }
        Ok(())
    }

    async fn dry_run(&self, request: &DecisionRequest, mut walk: Walk) -> Result<Bytes, DecideError> {
        let policy = self.policies.live();
        let enrichment = self.enrich(&policy, &request.transaction, &mut walk).await;
        let counted = prepare(&self.state, &policy.policy.catalogue, &request.transaction);
        let (observation, state_sequence) = {
            let lane = self.lane.lock();
            (observe(&self.state, &policy.policy.catalogue, counted, Mode::DryRun), lane.state_sequence())
        };
        walk.times.windows = walk.stopwatch.lap_us();
        let key = RequestKey::of_request(&self.secret, request.transaction.id.as_str());
        let decided = self.conclude(
            policy,
            &request.transaction,
            key,
            enrichment,
            observation,
            state_sequence,
            &mut walk,
        );
        walk.times.total = walk.stopwatch.total_us();
        answer_json(&decided.answer, false, walk.times, None)
            .map_err(|error| DecideError::Internal(error.to_string()))
    }

    async fn decide_live(
        &self,
        request: &DecisionRequest,
        idempotency_key: Option<&str>,
        mut walk: Walk,
    ) -> Result<Bytes, DecideError> {
        let transaction = &request.transaction;
        let canonical = serde_json::value::to_raw_value(&TransactionJson(transaction))
            .map_err(|error| DecideError::Internal(error.to_string()))?;
        let idempotency_key = idempotency_key.unwrap_or(transaction.id.as_str());
        let key = RequestKey::of_request(&self.secret, idempotency_key);
        let fingerprint = Fingerprint::of(canonical.get().as_bytes());
        let claimed = loop {
            match self.index.claim(key, fingerprint) {
                Claim::New(claimed) => break claimed,
                Claim::Conflict => return Err(DecideError::KeyReused),
                Claim::Done(position) => {
                    walk.times.total = walk.stopwatch.total_us();
                    return self.answer_again(position, walk.times);
                }
                Claim::InFlight(released) => wait_released(released, walk.remaining()).await?,
            }
        };
        let transaction_claimed =
            self.claim_transaction(transaction, idempotency_key, fingerprint, &walk).await?;
        let claims = Claims { request: claimed, transaction: transaction_claimed };
        walk.times.parse += walk.stopwatch.lap_us(); // claiming is part of taking the request in
        let policy = self.policies.live();
        // A new key may have to be synced: beside the profiles, and before a ticket is taken.
        let sealing = self.privacy.of_transaction(transaction, walk.received_at);
        let sealing = tokio::time::timeout(walk.remaining(), sealing);
        let (sealing, enrichment) = tokio::join!(sealing, self.enrich(&policy, transaction, &mut walk));
        let late = "its key was not synced within the deadline";
        let sealing = match sealing.map(|sealing| sealing.map_err(|error| error.to_string())) {
            Ok(Ok(sealing)) => sealing,
            failed => {
                let error =
                    failed.map_or_else(|_| late.to_owned(), |sealing| sealing.err().unwrap_or_default());
                let versions = policy.policy.versions.clone();
                return self.without_record(transaction, key, Err(versions), &error, walk);
            }
        };

        // From the ticket to `commit` nothing waits, so that a client that hangs up cannot leave a gap between windows and log.
        let (ticket, observation, state_sequence) = loop {
            let counted = prepare(&self.state, &policy.policy.catalogue, transaction);
            let error = {
                let lane = self.lane.lock();
                match self.log.reserve() {
                    Ok(ticket) => {
                        let observation = observe(&self.state, &policy.policy.catalogue, counted, Mode::Live);
                        break (ticket, observation, lane.state_sequence());
                    }
                    Err(error) => error,
                }
            };
            let waits = self.settings.on_backlog == OnBacklog::Wait
                && matches!(error, LogError::Full { .. })
                && walk.remaining() > walk.reserve();
            if !waits {
                let versions = policy.policy.versions.clone();
                return self.without_record(transaction, key, Err(versions), &error, walk);
            }
            tokio::time::sleep(BACKLOG_WAIT).await;
        };
        walk.times.windows = walk.stopwatch.lap_us();
        let decided =
            self.conclude(policy, transaction, key, enrichment, observation, state_sequence, &mut walk);
        let (answer, pending) = self.commit(
            ticket,
            transaction,
            decided,
            claims,
            idempotency_key,
            fingerprint,
            canonical,
            sealing.as_ref(),
            &walk,
        )?;
        let receipt = tokio::time::timeout(walk.remaining().max(RECORD_WAIT_MIN), pending).await;
        walk.times.audit = walk.stopwatch.lap_us();
        match receipt {
            Ok(Ok(receipt)) => {
                walk.times.total = walk.stopwatch.total_us();
                self.metrics.count_decision(&answer);
                self.metrics.stages.record(&walk.times, walk.stopwatch.lap_started());
                answer_json(&answer, false, walk.times, Some((self.log_id, &receipt)))
                    .map_err(|error| DecideError::Internal(error.to_string()))
            }
            Ok(Err(error)) => self.without_record(transaction, key, Ok(answer), &error, walk),
            Err(_) => {
                let late = "it was not written within the deadline";
                self.without_record(transaction, key, Ok(answer), &late, walk)
            }
        }
    }

    /// Makes sure that one transaction id stands for one transaction, whatever the idempotency keys are: the same under another
    /// key is decided again and counts once, another body is refused. The first decision stays the one that is found by the id.
    async fn claim_transaction(
        &self,
        transaction: &Transaction,
        idempotency_key: &str,
        fingerprint: Fingerprint,
        walk: &Walk,
    ) -> Result<Option<Claimed>, DecideError> {
        let id = transaction.id.as_str();
        let by_id = RequestKey::of_transaction(&self.secret, id);
        if idempotency_key == id {
            let known = self.index.fingerprint(by_id);
            return if known.is_none_or(|known| known.agrees(fingerprint)) {
                Ok(None)
            } else {
                Err(DecideError::KeyReused)
            };
        }
        let is_it = |record: &DecisionRecord| &*record.answer.transaction_id == id;
        if let Some((first, _)) = self.find(RequestKey::of_request(&self.secret, id), is_it)? {
            let (first, left) = first.or_left();
            let is_same = left.is_some() || Fingerprint::parse(&first.fingerprint) == Some(fingerprint);
            return if is_same { Ok(None) } else { Err(DecideError::KeyReused) };
        }
        loop {
            match self.index.claim(by_id, fingerprint) {
                Claim::New(claimed) => return Ok(Some(claimed)),
                Claim::Done(_) => return Ok(None),
                Claim::Conflict => return Err(DecideError::KeyReused),
                Claim::InFlight(released) => wait_released(released, walk.remaining()).await?,
            }
        }
    }

    async fn enrich(&self, policy: &LivePolicy, transaction: &Transaction, walk: &mut Walk) -> Enrichment {
        let keys = policy.profile_keys(transaction);
        if walk.effort == Effort::RulesAlone {
            return policy.profile_plan.unanswered(&keys);
        }
        let timeout = walk.remaining().saturating_sub(walk.reserve()).min(self.settings.enrich_timeout_max);
        let enrichment = self.profiles.fetch(&policy.profile_plan, &keys, timeout).await;
        walk.times.enrich = walk.stopwatch.lap_us();
        enrichment
    }

    #[expect(clippy::too_many_arguments, reason = "all that a decision is made of")]
    fn conclude(
        &self,
        policy: Arc<LivePolicy>,
        transaction: &Transaction,
        key: RequestKey,
        enrichment: Enrichment,
        observation: Observation,
        state_sequence: u64,
        walk: &mut Walk,
    ) -> Decided {
        let Observation { windows, counted, is_new } = observation;
        let lists = self.state.lists.load_full();
        let ip = self.ip.look_up(transaction);
        let mut times = walk.times;
        let known = Known { enrichment: &enrichment, ip, lists: &lists, effort: walk.effort };
        let judgement = judge(&policy.policy, transaction, windows, known, &mut |stage| {
            let lap_us = walk.stopwatch.lap_us();
            match stage {
                crate::engine::judge::Stage::Model => times.model = lap_us,
                crate::engine::judge::Stage::Explain => times.explain = lap_us,
                crate::engine::judge::Stage::Rules => times.rules = lap_us,
            }
        });
        walk.times = times;
        let answer = Decision {
            decision_id: key.decision_id(walk.received_at).into(),
            transaction_id: transaction.id.as_str().into(),
            decision: judgement.outcome,
            reason: judgement.reason.clone(),
            reasons: judgement.reasons.clone(),
            score: judgement.score,
            risk_level: judgement.risk_level,
            challenge: (judgement.outcome == Outcome::Challenge).then_some(Challenge::ThreeDs),
            degraded: !judgement.missing.is_empty(),
            missing: judgement.missing.iter().map(|part| part.name().into()).collect(),
            versions: policy.policy.versions.clone(),
        };
        Decided { policy, key, counted, is_new, enrichment, judgement, answer, state_sequence, lists }
    }

    #[expect(clippy::too_many_arguments, reason = "all that a record is made of")]
    fn commit(
        &self,
        ticket: Ticket<Consequence>,
        transaction: &Transaction,
        decided: Decided,
        claims: Claims,
        idempotency_key: &str,
        fingerprint: Fingerprint,
        canonical: Box<RawValue>,
        sealing: Option<&Sealing>,
        walk: &Walk,
    ) -> Result<(Decision, Pending), DecideError> {
        let Decided { policy, key, counted, is_new, enrichment, judgement, answer, state_sequence, lists } =
            decided;
        let deciding = answer.reasons.first().filter(|reason| reason.source == ReasonSource::Rule);
        let deciding = deciding.and_then(|reason| reason.rule.clone());
        let counted_hits = judgement
            .hits
            .iter()
            .map(|hit| CountedHit {
                position: hit.position,
                is_shadow: hit.is_shadow,
                has_decided: !hit.is_shadow && deciding.as_ref() == Some(&hit.rule),
            })
            .collect();
        let mut latency_us = walk.times;
        latency_us.total = walk.stopwatch.total_us();
        let record = DecisionRecord {
            answer,
            idempotency_key: idempotency_key.into(),
            fingerprint: fingerprint.to_string().into(),
            received_at_ms: walk.received_at.unix_millis(),
            repeat: !is_new,
            state_sequence,
            transaction: canonical,
            enrichment,
            ip: judgement.ip,
            features: judgement.features.numbers_or_null(),
            feature_texts: judgement.features.texts(),
            margin: judgement.margin,
            contributions: judgement.contributions,
            bias: judgement.bias,
            hits: judgement.hits.into_iter().map(recorded_hit).collect(),
            hits_left_out: judgement.hits_left_out,
            listed: judgement.listed,
            policy: policy.policy.hash.clone(),
            latency_us,
        };
        let facts = Box::new(DecisionFacts::of(&record, transaction));
        let body = decision_body(&record, transaction, sealing)
            .map_err(|error| DecideError::Internal(error.to_string()))?;
        let (answer, candidate) = match self.candidates.current() {
            None => (record.answer, None),
            Some(candidate) => {
                let answer = record.answer.clone();
                (
                    answer,
                    Some(Box::new(CandidateSeen {
                        candidate,
                        transaction: transaction.clone(),
                        record,
                        lists,
                    })),
                )
            }
        };
        let (features, score) = (judgement.features, judgement.score);
        let hits = PolicyHits { policy: Arc::clone(&policy), hits: counted_hits, at: walk.received_at };
        let seen = Seen::new(policy, features, score, key, walk.received_at, candidate).map(Box::new);
        let consequence = Consequence::decision(
            claims.request,
            claims.transaction,
            counted,
            answer.decision,
            hits,
            seen,
            facts,
        );
        let pending = ticket.commit_body(Kind::Decision, walk.received_at, body, consequence);
        Ok((answer, pending))
    }

    /// The decision cannot be recorded: what then is config's choice. Where the decision was made and is more severe than that
    /// choice, it holds; where none was made, `made` says by what it would have been.
    fn without_record(
        &self,
        transaction: &Transaction,
        key: RequestKey,
        made: Result<Decision, Versions>,
        error: &dyn std::fmt::Display,
        mut walk: Walk,
    ) -> Result<Bytes, DecideError> {
        self.metrics.count_audit_failure();
        let outcome = match self.settings.on_audit_failure {
            OnAuditFailure::Refuse => return Err(DecideError::AuditUnavailable(error.to_string())),
            OnAuditFailure::Approve => Outcome::Approve,
            OnAuditFailure::Review => Outcome::Review,
        };
        walk.times.total = walk.stopwatch.total_us();
        let versions = match made {
            Ok(mut made) if made.decision > outcome => {
                made.degraded = true;
                made.missing.push("audit".into());
                return answer_json(&made, false, walk.times, None)
                    .map_err(|error| DecideError::Internal(error.to_string()));
            }
            Ok(made) => made.versions,
            Err(versions) => versions,
        };
        let reason: Box<str> = "audit_unavailable".into();
        let answer = Decision {
            decision_id: key.decision_id(walk.received_at).into(),
            transaction_id: transaction.id.as_str().into(),
            decision: outcome,
            reason: reason.clone(),
            reasons: vec![Reason {
                code: reason,
                source: ReasonSource::Degraded,
                rule: None,
                message: Some("the decision could not be recorded; config chose this outcome".to_owned()),
                value: None,
                contribution: None,
            }],
            score: None,
            risk_level: RiskLevel::Unknown,
            challenge: None,
            degraded: true,
            missing: vec!["audit".into()],
            versions,
        };
        answer_json(&answer, false, walk.times, None)
            .map_err(|error| DecideError::Internal(error.to_string()))
    }

    /// Takes no more requests. Those on their way are decided.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Waits until the log holds everything, closes it, and takes a last snapshot of the state. Blocks, for `patience` and at most
    /// 12 seconds more.
    pub fn close(&self, patience: Duration) -> Result<(), LogError> {
        self.start_draining();
        self.indexer.close();
        self.shadow.close(LAST_SHADOW_PATIENCE);
        self.log.close(patience)?;
        self.snapshots.close(LAST_SNAPSHOT_PATIENCE);
        Ok(())
    }

    /// The state of the log.
    pub fn log_status(&self) -> LogStatus {
        self.log.status()
    }
}

fn recorded_hit(hit: RuleHit) -> RecordedHit {
    RecordedHit { rule: hit.rule, shadow: hit.is_shadow, values: hit.values.into_iter().collect() }
}

/// Waits until whoever holds a key has decided, but not past the deadline.
async fn wait_released(mut released: watch::Receiver<()>, remaining: Duration) -> Result<(), DecideError> {
    match tokio::time::timeout(remaining, released.changed()).await {
        Ok(_) => Ok(()),
        Err(_) => Err(DecideError::InFlight),
    }
}
