//! The shipped policy, a state that has seen thousands of payments, and what each stage is given.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use serde_json::value::to_raw_value;
use tollgate::audit::bodies::{Sealing, decision_body};
use tollgate::audit::frame::Body;
use tollgate::audit::receipt::LogId;
use tollgate::audit::record::{DecisionRecord, RecordedHit, StageTimes};
use tollgate::domain::decision::{Challenge, Decision, Outcome};
use tollgate::domain::enrichment::Enrichment;
use tollgate::domain::ip_facts::IpFacts;
use tollgate::domain::text::TransactionId;
use tollgate::domain::transaction::{Mode, Transaction};
use tollgate::engine::judge::{Judgement, Known, Stage, judge};
use tollgate::engine::observe::{Observation, observe, prepare};
use tollgate::engine::policy::{Policy, PolicyFiles};
use tollgate::engine::settings::{Effort, MissingPolicy, OnMissing};
use tollgate::engine::state::State;
use tollgate::feature::vector::FeatureVector;
use tollgate::ip::knowledge::IpKnowledge;
use tollgate::model::attribution::AttributionScratch;
use tollgate::model::backend::Backend;
use tollgate::pipeline::index::Fingerprint;
use tollgate::privacy::entry::SubjectKey;
use tollgate::privacy::seal::SealingKey;
use tollgate::rules::run_time::RunTimeLists;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;
use tollgate::wire::transaction::TransactionJson;

/// Days that the simulator is asked for.
const DAYS: u32 = 60;
const SECRET: [u8; 16] = [7; 16];
/// The ledger remembers no more: it would grow while something is measured.
const TRANSACTIONS_MAX: usize = 200_000;

/// How many customers pay, and how many payments the windows have seen before anything is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) customers: u32,
    pub(crate) payments: usize,
}

impl Size {
    /// For a clock.
    pub(crate) const LARGE: Self = Self { customers: 4_000, payments: 50_000 };
    /// Where each instruction is interpreted: as many payments a customer, of fewer of them.
    pub(crate) const SMALL: Self = Self { customers: 400, payments: 5_000 };
}

/// Where the shipped policy lies.
pub(crate) fn shipped_files() -> PolicyFiles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    PolicyFiles {
        rules: root.join("rules"),
        model: Some(root.join("models/default")),
        backend: Backend::default(),
        challengers: Vec::new(),
        features: root.join("models/features.yaml"),
    }
}

/// What is shipped for missing parts.
pub(crate) const MISSING: MissingPolicy =
    MissingPolicy { enrich: OnMissing::Continue, model: OnMissing::Review, overload: OnMissing::Continue };

/// Simulated payments without end: after the last one they begin again, later and under other ids.
pub(crate) struct Payments {
    simulated: Vec<Transaction>,
    next: usize,
    round: u32,
}

impl Payments {
    /// As the simulator makes them.
    pub(crate) fn of(customers: u32) -> Self {
        let parameters = Parameters { customers, days: DAYS, ..Parameters::default() };
        let simulation = Simulation::new(&parameters).expect("sound parameters");
        Self { simulated: simulation.map(|simulated| simulated.transaction).collect(), next: 0, round: 0 }
    }
}

impl Iterator for Payments {
    type Item = Transaction;

    fn next(&mut self) -> Option<Transaction> {
        if self.next == self.simulated.len() {
            (self.next, self.round) = (0, self.round + 1);
        }
        let mut payment = self.simulated[self.next].clone();
        self.next += 1;
        if self.round > 0 {
            let id = format!("{}-{}", payment.id.as_str(), self.round);
            payment.id = TransactionId::parse(&id).expect("a little longer");
            payment.occurred_at = payment.occurred_at.plus(Duration::from_hours(24) * DAYS * self.round);
        }
        Some(payment)
    }
}

/// A payment that has been decided, with what each stage made of it.
pub(crate) struct Case {
    /// The request, as a gateway sends it.
    pub(crate) request: Vec<u8>,
    pub(crate) transaction: Transaction,
    pub(crate) windows: FeatureVector,
    pub(crate) ip: Option<IpFacts>,
    pub(crate) features: FeatureVector,
    /// The features in the order of the model.
    pub(crate) row: Vec<f32>,
    pub(crate) score: Option<f32>,
    pub(crate) record: DecisionRecord,
    pub(crate) body: Body,
}

/// The room that a thread works in, which a stage fills anew.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) row: Vec<f32>,
    pub(crate) contributions: Vec<f32>,
    pub(crate) attribution: AttributionScratch,
    pub(crate) frame: Vec<u8>,
}

/// Everything that stages work with.
pub(crate) struct Inputs {
    pub(crate) policy: Policy,
    pub(crate) state: State,
    /// What an empty profile store answers.
    pub(crate) enrichment: Enrichment,
    pub(crate) lists: RunTimeLists,
    pub(crate) sealing: Sealing,
    pub(crate) scratch: RefCell<Scratch>,
    ip: IpKnowledge,
    payments: RefCell<Payments>,
    sequence: Cell<u64>,
}

impl Inputs {
    /// With the shipped model and rules, and windows that are warm.
    pub(crate) fn new(size: Size) -> Self {
        let policy = Policy::load(&shipped_files(), MISSING).expect("the shipped policy is sound");
        let inputs = Self {
            state: State::new(policy.catalogue.layout.clone(), SECRET, TRANSACTIONS_MAX),
            enrichment: Enrichment::absent(policy.catalogue.profile.len()),
            lists: RunTimeLists::default(),
            sealing: Sealing { key: SealingKey { number: 1, key: SubjectKey([9; 32]) }, log: LogId([3; 16]) },
            scratch: RefCell::default(),
            ip: IpKnowledge::default(),
            payments: RefCell::new(Payments::of(size.customers)),
            sequence: Cell::new(0),
            policy,
        };
        for _ in 0..size.payments {
            inputs.case_of(inputs.payment());
        }
        inputs
    }

    /// A payment that nobody has seen yet.
    pub(crate) fn payment(&self) -> Transaction {
        self.payments.borrow_mut().next().expect("there is no end")
    }

    /// What local files know of the address: without any, its kind.
    pub(crate) fn ip(&self, transaction: &Transaction) -> Option<IpFacts> {
        transaction.device.ip.as_ref().map(|address| self.ip.look_up(address))
    }

    /// Counts a payment, and says what the windows hold.
    pub(crate) fn observe(&self, payment: &Transaction) -> Observation {
        let counted = prepare(&self.state, &self.policy.catalogue, payment);
        observe(&self.state, &self.policy.catalogue, counted, Mode::Live)
    }

    /// Decides by what the windows said.
    pub(crate) fn judge(
        &self,
        transaction: &Transaction,
        windows: FeatureVector,
        lap: &mut dyn FnMut(Stage),
    ) -> Judgement {
        let ip = self.ip(transaction);
        let known = Known { enrichment: &self.enrichment, ip, lists: &self.lists, effort: Effort::Full };
        judge(&self.policy, transaction, windows, known, lap)
    }

    /// The next payments, decided.
    pub(crate) fn cases(&self, count: usize) -> Vec<Case> {
        (0..count).map(|_| self.case_of(self.payment())).collect()
    }

    /// Walks with a payment through all stages, so that each thread's room is as large as it needs to be.
    fn case_of(&self, transaction: Transaction) -> Case {
        let Observation { windows, counted, .. } = self.observe(&transaction);
        let judgement = self.judge(&transaction, windows.clone(), &mut |_| {});
        self.state.record_outcome(&counted, judgement.outcome);
        let (ip, features, score) = (judgement.ip.clone(), judgement.features.clone(), judgement.score);
        let bound = self.policy.model.as_ref().expect("the shipped policy has a model");
        let record = self.record(&transaction, judgement);
        Case {
            request: serde_json::to_vec(&TransactionJson(&transaction)).expect("JSON"),
            windows,
            ip,
            row: bound.binding.row(features.numbers()),
            features,
            score,
            body: decision_body(&record, &transaction, Some(&self.sealing)).expect("a body"),
            record,
            transaction,
        }
    }

    /// The record of a decision, as the service makes it.
    fn record(&self, transaction: &Transaction, judgement: Judgement) -> DecisionRecord {
        let canonical = to_raw_value(&TransactionJson(transaction)).expect("JSON");
        self.sequence.set(self.sequence.get() + 1);
        let hits = judgement.hits.into_iter();
        DecisionRecord {
            answer: Decision {
                decision_id: format!("dec_{:026}", self.sequence.get()).into(),
                transaction_id: transaction.id.as_str().into(),
                decision: judgement.outcome,
                reason: judgement.reason,
                reasons: judgement.reasons,
                score: judgement.score,
                risk_level: judgement.risk_level,
                challenge: (judgement.outcome == Outcome::Challenge).then_some(Challenge::ThreeDs),
                degraded: !judgement.missing.is_empty(),
                missing: judgement.missing.iter().map(|part| part.name().into()).collect(),
                versions: self.policy.versions.clone(),
            },
            idempotency_key: transaction.id.as_str().into(),
            fingerprint: Fingerprint::of(canonical.get().as_bytes()).to_string().into(),
            received_at_ms: transaction.occurred_at.unix_millis(),
            repeat: false,
            state_sequence: self.sequence.get(),
            transaction: canonical,
            enrichment: self.enrichment.clone(),
            ip: judgement.ip,
            features: judgement.features.numbers_or_null(),
            feature_texts: judgement.features.texts(),
            margin: judgement.margin,
            contributions: judgement.contributions,
            bias: judgement.bias,
            hits: hits
                .map(|hit| RecordedHit {
                    rule: hit.rule,
                    shadow: hit.is_shadow,
                    values: hit.values.into_iter().collect(),
                })
                .collect(),
            hits_left_out: judgement.hits_left_out,
            listed: judgement.listed,
            policy: self.policy.hash.clone(),
            latency_us: StageTimes {
                total: 60,
                parse: 5,
                windows: 12,
                model: 4,
                explain: 25,
                rules: 5,
                ..StageTimes::default()
            },
        }
    }
}
