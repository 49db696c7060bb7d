//! A service that reads requests as the real one does, and then does what the `transaction_id` tells it to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use tollgate::audit::receipt::{LogId, Position, RecordHash};
use tollgate::audit::review_record::ReviewRecord;
use tollgate::domain::decision::{ChallengerVersion, Outcome, RiskLevel, Versions};
use tollgate::domain::label::Verdict;
use tollgate::domain::time::EventTime;
use tollgate::engine::settings::Effort;
use tollgate::evaluation::report::{BacktestReport, InputSummary, Origin, PolicyVersions, RuleState};
use tollgate::evaluation::rule_tally::RuleInfo;
use tollgate::evaluation::tally::{Against, Tally};
use tollgate::evaluation::truth::Unlabelled;
use tollgate::http::options::ServerOptions;
use tollgate::http::server::{DrainReport, Server};
use tollgate::http::service::DecisionService;
use tollgate::http::workers::Workers;
use tollgate::pipeline::audit_search::{AuditPage, ReviewPage};
use tollgate::pipeline::backtest::{BacktestError, CandidateRun};
use tollgate::pipeline::candidate_shadow::CandidateStatus;
use tollgate::pipeline::erasure::{ErasureDone, ErasureError};
use tollgate::pipeline::erasure_traces::Touched;
use tollgate::pipeline::ip::{DatabaseStatus, IpStatus, ListFileStatus};
use tollgate::pipeline::list_status::{
    ChangeAudit, EntryStatus, FileEntryStatus, ListChanged, ListPage, ListStatus, ListedStatus, ListsStatus,
};
use tollgate::pipeline::lists::ListError;
use tollgate::pipeline::policy::{PolicyStatus, Refusal};
use tollgate::pipeline::prove::ProveError;
use tollgate::pipeline::readiness::{Check, Readiness};
use tollgate::pipeline::reviews::{ReviewAnswer, ReviewError};
use tollgate::pipeline::rules_check::RulesChecked;
use tollgate::pipeline::rules_status::{CountsStatus, RolloutStatus, RuleStatus, RulesStatus};
use tollgate::pipeline::service::DecideError;
use tollgate::proof::bundle::ProofError;
use tollgate::proof::tile::Tile;
use tollgate::rules::candidate::CandidateFiles;
use tollgate::rules::file::State;
use tollgate::rules::problem::Problem;
use tollgate::search::dossier::{Dossier, Later};
use tollgate::search::facts::{DecisionFacts, RecordedAmount};
use tollgate::search::query::Query;
use tollgate::search::run::Hit;
use tollgate::wire::label;
use tollgate::wire::rejection::Rejection;
use tollgate::wire::transaction::parse_slice;

#[derive(Default)]
pub(crate) struct Steered {
    /// Decisions begun.
    pub(crate) begun: AtomicUsize,
    /// Decisions finished.
    pub(crate) finished: AtomicUsize,
    /// Lets go of every `held` decision.
    pub(crate) release: Notify,
    pub(crate) is_ready: bool,
    pub(crate) refuses_policy: bool,
}

impl Steered {
    fn decision(id: &str, key: Option<&str>, budget: Option<Duration>) -> Value {
        json!({
            "decision_id": "dec_01JD", "transaction_id": id, "decision": "BLOCK", "reason": "velocity_exceeded",
            "reasons": [{"code": "velocity_exceeded", "source": "rule", "rule": "card-velocity-5m",
                "message": format!("key {key:?}, budget {budget:?}")}],
            "score": 0.934, "risk_level": "high", "challenge": {"type": "three_ds"}, "degraded": false, "missing": [],
            "replayed": false, "versions": {"rules": "sha256:01", "model": null, "features": "sha256:02"}, "latency_us": {"total": 212, "parse": 4},
            "audit": {"log": "l", "sequence": 88123, "hash": "blake3:00"},
        })
    }
}

/// The report on one rule that has matched nothing.
fn report(origin: Origin) -> BacktestReport {
    let rule = RuleInfo {
        id: "card-velocity-5m".to_owned(),
        state: RuleState::Live,
        outcome: Outcome::Block,
        priority: 0,
    };
    let tally = Tally::new(vec![rule], Outcome::Approve, Some(Against::recorded()));
    let input = InputSummary { origin, file: "data/log".to_owned(), ..InputSummary::default() };
    tally.report(input, PolicyVersions::default(), Duration::from_secs(1))
}

fn bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

const NOTE: &str = "a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} a AAAAAAA=\n";
const AT: &str = "2026-10-20T12:00:00.000Z";

/// A decision as a search shows it.
fn recorded() -> Hit {
    let decision = DecisionFacts {
        decision_id: "dec_01JD".into(),
        transaction_id: "pay_9_1".into(),
        occurred_at: Some(AT.into()),
        decision: Outcome::Review,
        reason: "velocity".into(),
        reasons: vec!["velocity".into()],
        score: Some(0.5),
        risk_level: RiskLevel::Elevated,
        degraded: false,
        rules: vec!["card-velocity-5m".into()],
        policy: "sha256:00".into(),
        amount: Some(RecordedAmount { value: 12_999, currency: "EUR".into() }),
        customer: Some("c_7".into()),
        card: None,
        merchant: Some("m_1".into()),
        device: None,
    };
    let recorded_at = EventTime::parse_rfc3339(AT).unwrap();
    let position = Position { segment: 1, offset: 96 };
    Hit { sequence: 7, recorded_at, hash: RecordHash([0; 32]), position, decision }
}

/// There is one list, `a`.
fn known(list: &str) -> Result<(), ListError> {
    let suggestion = Some("a".to_owned());
    if list == "a" { Ok(()) } else { Err(ListError::UnknownList { suggestion }) }
}

fn entry(value: &str) -> EntryStatus {
    let (note, by) = ("why".into(), "ops".into());
    EntryStatus { value: value.into(), expires: None, note, by, added_at: AT.to_owned(), sequence: 7 }
}

fn changed(list: &str, value: &str, entry: Option<EntryStatus>, before: Option<EntryStatus>) -> ListChanged {
    let audit = ChangeAudit { log: LogId([0; 16]), sequence: 7, hash: "blake3:00".to_owned() };
    ListChanged { list: list.into(), value: value.into(), entry, before, audit }
}

impl DecisionService for Steered {
    async fn decide(
        &self,
        body: &[u8],
        idempotency_key: Option<&str>,
        budget: Option<Duration>,
        _received: Instant,
        effort: Effort,
    ) -> Result<Bytes, DecideError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let request = parse_slice(body)?;
        let id = request.transaction.id.as_str();
        match id {
            "held" => self.release.notified().await,
            "slow" => tokio::time::sleep(Duration::from_millis(200)).await,
            "blocks" => std::thread::sleep(Duration::from_millis(300)),
            "panic" => panic!("told to"),
            "reused" => return Err(DecideError::KeyReused),
            "erased" => return Err(DecideError::Erased),
            "in-flight" => return Err(DecideError::InFlight),
            "overloaded" => return Err(DecideError::Overloaded { retry_after_s: 2 }),
            "not-ready" => return Err(DecideError::NotReady("starting")),
            "audit" => return Err(DecideError::AuditUnavailable("disk full".to_owned())),
            "internal" => return Err(DecideError::Internal("a secret".to_owned())),
            _ => {}
        }
        self.finished.fetch_add(1, Ordering::SeqCst);
        let mut answer = Self::decision(id, idempotency_key, budget);
        if effort == Effort::RulesAlone {
            answer["degraded"] = true.into();
            answer["missing"] = json!(["overload"]);
        }
        Ok(bytes(&answer))
    }

    async fn label(&self, body: &[u8]) -> Result<Bytes, DecideError> {
        let label = label::parse_slice(body)?;
        let mut answer = serde_json::to_value(label::LabelJson(&label)).unwrap();
        answer["transaction_known"] = true.into();
        answer["replayed"] = false.into();
        answer["audit"] = json!({"log": "l", "sequence": 1, "hash": "blake3:00"});
        Ok(bytes(&answer))
    }

    fn decision_by_id(&self, decision_id: &str) -> Result<Option<Bytes>, DecideError> {
        Ok((decision_id == "dec_01JD").then(|| bytes(&Self::decision("pay_9_1", None, None))))
    }

    fn decision_by_transaction(&self, transaction_id: &str) -> Result<Option<Bytes>, DecideError> {
        match transaction_id {
            "pay/9" => Ok(Some(bytes(&Self::decision("pay/9", None, None)))),
            "broken" => Err(DecideError::Rejected(Rejection::NotJson("x".to_owned()))),
            _ => Ok(None),
        }
    }

    fn readiness(&self) -> Readiness {
        let detail = (!self.is_ready).then(|| "read-only file system".to_owned());
        Readiness { ready: self.is_ready, checks: vec![Check { name: "log", ok: self.is_ready, detail }] }
    }

    fn policy_status(&self) -> PolicyStatus {
        let errors = vec!["rules/velocity.yaml:12: unknown field \"amont\"".to_owned()];
        let at = AT.to_owned();
        let problems = vec![Problem::error("rules/velocity.yaml", "unknown field \"amont\"")];
        let refusal = Refusal { at: at.clone(), cause: "api", errors, problems };
        let versions = Versions { rules: "sha256:01".into(), model: None, features: "sha256:02".into() };
        PolicyStatus {
            challengers: vec![ChallengerVersion { name: "next".into(), model: "sha256:04".into() }],
            policy: "sha256:00".into(),
            versions,
            live_since: at,
            cause: "start",
            refused: self.refuses_policy.then_some(refusal),
            reloads: 0,
            refusals: 1,
            ip: Some(IpStatus {
                databases: vec![DatabaseStatus {
                    file: "data/city.mmdb".into(),
                    kind: "GeoLite2-City".to_owned(),
                    sha256: "sha256:05".into(),
                    built_at: AT.to_owned(),
                    is_old: false,
                }],
                lists: vec![ListFileStatus {
                    name: "drop".to_owned(),
                    file: "data/drop.txt".into(),
                    sha256: "sha256:06".into(),
                    entries: 2,
                }],
                live_since: AT.to_owned(),
                refused: None,
                reloads: 0,
                refusals: 0,
            }),
        }
    }

    async fn reload(self: &Arc<Self>, _cause: &'static str, _by: Option<&str>) -> PolicyStatus {
        self.policy_status()
    }

    fn rules_status(&self) -> RulesStatus {
        let counts = CountsStatus {
            since: AT.to_owned(),
            evaluated: 9,
            hits: 3,
            decided: 2,
            shadow_hits: 0,
            last_hit: Some(AT.to_owned()),
        };
        let rule = RuleStatus {
            id: "card-velocity-5m".into(),
            description: "Card testing".into(),
            owner: None,
            when: "card.attempts_5m >= 6".into(),
            then: Outcome::Block,
            reason: "velocity_exceeded".into(),
            state: State::Live,
            priority: 0,
            rollout: Some(RolloutStatus { percent: 12.5, by: "customer.id".into() }),
            starts: None,
            expires: Some("2027-06-30".to_owned()),
            tests: 3,
            file: "rules/velocity.yaml".into(),
            line: 12,
            counts,
        };
        RulesStatus { version: "sha256:01".into(), decisions: 12, rules: vec![rule] }
    }

    fn check_rules(&self, _candidate: CandidateFiles) -> RulesChecked {
        let problems = vec![Problem::error("rules/mine.yaml", "unknown field `amont`")];
        let files = vec!["mine.yaml".to_owned()];
        RulesChecked { sound: false, problems, rules: None, tests: None, hash: None, files }
    }

    async fn erase(self: &Arc<Self>, body: &[u8], by: &str) -> Result<ErasureDone, ErasureError> {
        match String::from_utf8_lossy(body).as_ref() {
            "busy" => Err(ErasureError::Busy),
            "wrong" => Err(Rejection::field("/note", "is required").into()),
            "audit" => Err(ErasureError::NotRecorded("disk full".to_owned())),
            "keys" => Err(ErasureError::NotDestroyed("disk full".to_owned())),
            body => Ok(ErasureDone {
                log: LogId([1; 16]),
                sequences: vec![7],
                keys_destroyed: 1,
                records: Touched { decisions: 3, is_complete: true, ..Touched::default() },
                list_entries: 2,
                profiles_removed: 1,
                snapshots_removed: 0,
                notes: vec![format!("{by}: {body}")],
            }),
        }
    }

    fn lists_status(&self) -> ListsStatus {
        let list = ListStatus { list: "a".into(), file_entries: 3, run_time_entries: 1, in_policy: true };
        ListsStatus { lists: vec![list], run_time_entries: 1, run_time_entries_max: 9 }
    }

    fn list_page(&self, list: &str, after: Option<&str>, count: usize) -> Result<ListPage, ListError> {
        known(list)?;
        let value = format!("after {after:?}, {count}");
        let entries = vec![entry(&value)];
        Ok(ListPage { list: list.into(), entries, total: 2, next: Some(value.into()) })
    }

    fn listed(&self, list: &str, value: &str) -> Result<ListedStatus, ListError> {
        known(list)?;
        let file = Some(FileEntryStatus { file: "lists/a.txt".to_owned(), expires: None });
        Ok(ListedStatus { list: list.into(), value: value.into(), run_time: Some(entry(value)), file })
    }

    async fn put_on_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> Result<ListChanged, ListError> {
        known(list)?;
        match value {
            "full" => return Err(ListError::Full),
            "wrong" => return Err(Rejection::field("/note", "is required").into()),
            "audit" => return Err(DecideError::AuditUnavailable("disk full".to_owned()).into()),
            _ => {}
        }
        let note = format!("{by}: {}", String::from_utf8_lossy(body));
        let now = EntryStatus { note: note.into(), ..entry(value) };
        Ok(changed(list, value, Some(now), (value == "old").then(|| entry(value))))
    }

    async fn take_off_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> Result<ListChanged, ListError> {
        known(list)?;
        if value == "file" {
            return Err(ListError::InFile { file: "lists/a.txt".to_owned() });
        }
        let note = format!("{by}: {}", String::from_utf8_lossy(body));
        Ok(changed(list, value, None, Some(EntryStatus { note: note.into(), ..entry(value) })))
    }

    async fn backtest(self: &Arc<Self>, wanted: CandidateRun) -> Result<BacktestReport, BacktestError> {
        match wanted.files.files.first().map(|(name, _)| name.as_str()) {
            Some("busy.yaml") => Err(BacktestError::Busy),
            Some("wrong.yaml") => Err(BacktestError::Refused(vec![
                Problem::error("rules/wrong.yaml", "unknown name `amont`")
                    .suggesting(Some("amount".to_owned())),
            ])),
            Some("broken.yaml") => Err(BacktestError::Failed("/secret/path".to_owned())),
            _ => Ok(report(Origin::Log)),
        }
    }

    fn candidate_status(&self, _unlabelled: Unlabelled) -> Option<CandidateStatus> {
        self.is_ready.then(|| CandidateStatus {
            directory: "rules-next".to_owned(),
            rules: Some("sha256:05".into()),
            since: Some("2026-10-20T12:00:00.000Z".to_owned()),
            refused: None,
            decisions_max: 50_000,
            report: Some(report(Origin::Traffic)),
        })
    }

    fn checkpoint_note(&self) -> Result<String, ProveError> {
        if self.is_ready { Ok(NOTE.to_owned()) } else { Err(ProveError::NoCheckpoint) }
    }

    async fn sign_checkpoint(&self) -> Result<String, ProveError> {
        if self.is_ready { Ok(NOTE.to_owned()) } else { Err(ProveError::NotSigned("told to")) }
    }

    fn inclusion_proof(&self, sequence: u64, bare: bool) -> Result<String, ProveError> {
        match sequence {
            7 => Ok(format!(
                "c2sp.org/tlog-proof@v1\n{}index 6\n\n{NOTE}",
                if bare { "" } else { "extra AA==\n" }
            )),
            8 => Err(ProveError::Wrong(ProofError::Malformed("told to"))),
            sequence => Err(ProveError::NotCovered { sequence, size: 7 }),
        }
    }

    fn consistency_proof(&self, old_size: u64) -> Result<String, ProveError> {
        match old_size {
            7 => Ok(format!("old 7\n\n{NOTE}")),
            sequence => Err(ProveError::NotCovered { sequence, size: 7 }),
        }
    }

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, ProveError> {
        Ok((tile.index == 0 && tile.width == 7).then(|| vec![0xff; 7 * 32]))
    }

    fn search_audit(&self, query: &Query) -> Result<AuditPage, DecideError> {
        if !self.is_ready {
            return Err(DecideError::NotReady("making its search index"));
        }
        let next = (query.limit == 1).then_some(7);
        Ok(AuditPage { log: LogId([0; 16]), decisions: vec![recorded()], next, through: 9 })
    }

    fn audit_record(&self, sequence: u64) -> Result<Option<Dossier>, DecideError> {
        let raw = |value: Value| serde_json::value::to_raw_value(&value).unwrap();
        let later = || Later { sequence: 8, recorded_at: AT.to_owned(), body: raw(json!({"note": "why"})) };
        Ok((sequence == 7).then(|| Dossier {
            log: LogId([0; 16]),
            sequence,
            kind: "decision",
            schema: 1,
            recorded_at: AT.to_owned(),
            hash: "blake3:00".to_owned(),
            previous_hash: "blake3:01".to_owned(),
            segment: 1,
            offset: 96,
            body: raw(Self::decision("pay_9_1", None, None)),
            labels: vec![later()],
            reviews: vec![later()],
        }))
    }

    fn review_queue(&self, _query: &Query, after: u64) -> Result<ReviewPage, DecideError> {
        let next = (after == 0).then_some(7);
        Ok(ReviewPage { reviews: vec![recorded()], open: 3, next, through: 9 })
    }

    async fn review(&self, decision_id: &str, body: &[u8], by: &str) -> Result<ReviewAnswer, ReviewError> {
        match decision_id {
            "nobody" => return Err(ReviewError::NotFound),
            "reviewed" => {
                return Err(ReviewError::Reviewed { sequence: 7, verdict: "fraud", by: "ops".into() });
            }
            "wrong" => return Err(Rejection::field("/verdict", "is required").into()),
            "audit" => return Err(DecideError::AuditUnavailable("disk full".to_owned()).into()),
            _ => {}
        }
        let review = ReviewRecord {
            decision_id: decision_id.into(),
            sequence: 7,
            transaction_id: "pay_9_1".into(),
            verdict: Verdict::Fraud,
            occurred_at: AT.into(),
            note: String::from_utf8_lossy(body).into(),
            by: by.into(),
            analyst: Some("jane".into()),
            replaces: Some(5),
        };
        let audit = ChangeAudit { log: LogId([0; 16]), sequence: 9, hash: "blake3:00".to_owned() };
        Ok(ReviewAnswer { review, replayed: decision_id == "again", audit })
    }

    fn metrics_text(&self) -> String {
        "# TYPE tollgate_decisions counter\ntollgate_decisions_total 1\n# EOF\n".to_owned()
    }
}

/// A server with short limits, and its steered service.
pub(crate) struct Running<S = Steered> {
    pub(crate) decision: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) service: Arc<S>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<DrainReport>,
}

impl Running {
    pub(crate) fn options() -> ServerOptions {
        ServerOptions {
            decision_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            head_timeout: Duration::from_millis(300),
            body_timeout: Duration::from_millis(400),
            batch_body_timeout: Duration::from_millis(800),
            idle_timeout: Duration::from_millis(600),
            drain_notice: Duration::from_millis(400),
            drain_timeout: Duration::from_millis(1_200),
            ..ServerOptions::default()
        }
    }

    pub(crate) async fn start() -> Self {
        Self::start_with(Self::options(), Steered { is_ready: true, ..Steered::default() }).await
    }

    pub(crate) async fn start_with(options: ServerOptions, service: Steered) -> Self {
        Self::serve(options, Arc::new(service)).await
    }
}

impl<S: DecisionService> Running<S> {
    pub(crate) async fn serve(options: ServerOptions, service: Arc<S>) -> Self {
        Self::serve_on(0, options, service).await
    }

    /// On so many threads of its own.
    pub(crate) async fn serve_on(threads: usize, options: ServerOptions, service: Arc<S>) -> Self {
        let workers = Workers::start(threads).unwrap();
        let server = Server::bind(options, Arc::clone(&service), workers).await.unwrap();
        let (decision, admin) = (server.decision_address(), server.admin_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { decision, admin, service, stop: Some(stop), server }
    }

    pub(crate) fn shut_down(&mut self) {
        self.stop.take().expect("once").send(()).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> DrainReport {
        drop(self.stop.take());
        self.server.await.unwrap()
    }
}
