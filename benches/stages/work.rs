//! The stages of a decision, each a function of its own that is never inlined, so that callgrind can tell it by its name. Each also frees
//! what it makes.

use std::hint::black_box;

use serde_json::value::to_raw_value;
use tollgate::audit::bodies::decision_body;
use tollgate::audit::frame::{self, Header, Kind};
use tollgate::audit::receipt::RecordHash;
use tollgate::domain::decision::Outcome;
use tollgate::domain::transaction::Transaction;
use tollgate::engine::judge::{JudgeFacts, Stage};
use tollgate::engine::observe::Observation;
use tollgate::engine::state::Counted;
use tollgate::feature::extract;
use tollgate::feature::vector::FeatureVector;
use tollgate::pipeline::index::Fingerprint;
use tollgate::wire::transaction::{TransactionJson, parse_slice};

use crate::stages::inputs::{Case, Inputs, Scratch};

/// Is told when a part of `judge` is over.
pub(crate) type Lap<'a> = &'a mut dyn FnMut(Stage);

/// What a stage is given.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// A case, which it leaves as it is: it can be done again.
    Case(fn(&Inputs, &Case)),
    /// A case, and what the windows said of it, which is used up.
    Windows(fn(&Inputs, &Case, FeatureVector, Lap<'_>)),
    /// A payment that has not been counted yet. It says what was counted, and what was decided.
    Payment(fn(&Inputs, &Transaction, Lap<'_>) -> (Counted, Outcome)),
}

/// One stage.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// What callgrind calls the function, from the module on.
    pub(crate) symbol: &'static str,
    pub(crate) work: Work,
    /// Whether attributions are a part of it that it can be measured without.
    pub(crate) has_attributions: bool,
}

const fn operation(name: &'static str, symbol: &'static str, work: Work) -> Operation {
    Operation { name, symbol, work, has_attributions: false }
}

/// The operation that is taken out of others.
pub(crate) const ATTRIBUTIONS: &str = "attributions";

/// All of them, in the order in which a decision walks.
pub(crate) const OPERATIONS: [Operation; 11] = [
    operation("parse", "work::parse", Work::Case(parse)),
    operation("windows", "work::windows", Work::Payment(windows)),
    operation("features", "work::features", Work::Windows(features)),
    operation("model", "work::model", Work::Case(model)),
    operation(ATTRIBUTIONS, "work::attributions", Work::Case(attributions)),
    operation("rules", "work::rules", Work::Case(rules)),
    Operation { has_attributions: true, ..operation("judge", "work::judge", Work::Windows(judge)) },
    operation("audit body", "work::audit_body", Work::Case(audit_body)),
    operation("audit frame", "work::audit_frame", Work::Case(audit_frame)),
    operation("audit body and frame", "work::audit_both", Work::Case(audit_both)),
    Operation {
        has_attributions: true,
        ..operation("decision in process", "work::decision", Work::Payment(decision))
    },
];

/// The body of a request becomes a transaction, its canonical form and its fingerprint.
#[inline(never)]
fn parse(_: &Inputs, case: &Case) {
    let request = parse_slice(black_box(&case.request)).expect("a request");
    let canonical = to_raw_value(&TransactionJson(&request.transaction)).expect("JSON");
    black_box(Fingerprint::of(canonical.get().as_bytes()));
    black_box((request, canonical));
}

/// Who took part is hashed, the windows are read, and the payment is counted.
#[inline(never)]
fn windows(inputs: &Inputs, payment: &Transaction, _: Lap<'_>) -> (Counted, Outcome) {
    let Observation { windows, counted, .. } = inputs.observe(black_box(payment));
    black_box(windows);
    (counted, Outcome::Approve)
}

/// Windows, profile and what is computed from them, in one vector.
#[inline(never)]
fn features(inputs: &Inputs, case: &Case, windows: FeatureVector, _: Lap<'_>) {
    let catalogue = &inputs.policy.catalogue;
    let ip = case.ip.as_ref();
    black_box(extract::vector(catalogue, &case.transaction, black_box(windows), &inputs.enrichment, ip));
}

/// The model's row of a vector, and its margin.
#[inline(never)]
fn model(inputs: &Inputs, case: &Case) {
    let Some(bound) = &inputs.policy.model else { return };
    let row = &mut inputs.scratch.borrow_mut().row;
    bound.binding.row_into(black_box(case.features.numbers()), row);
    black_box(bound.scorer.margin(&bound.model, row).expect("a row that fits"));
}

/// How much each feature moved the margin.
#[inline(never)]
fn attributions(inputs: &Inputs, case: &Case) {
    let Some(bound) = &inputs.policy.model else { return };
    let Scratch { contributions, attribution, .. } = &mut *inputs.scratch.borrow_mut();
    contributions.resize(case.row.len(), 0.0);
    let attributor = &bound.model.attributor;
    attributor
        .contributions_into(&bound.model.forest, black_box(&case.row), attribution, contributions)
        .expect("a row that fits");
    black_box(contributions);
}

/// Which rules match, what follows, and the reasons for people.
#[inline(never)]
fn rules(inputs: &Inputs, case: &Case) {
    let (policy, ip) = (&inputs.policy, case.ip.as_ref());
    let facts =
        JudgeFacts::new(policy, &case.transaction, ip, black_box(&case.features), case.score, &inputs.lists);
    let hits = policy.rules.evaluate(&facts, case.transaction.occurred_at);
    black_box(policy.rules.decide(&hits));
    black_box(policy.rules.reasons(&hits, &facts));
}

/// Features, model, attributions, rules and the decision.
#[inline(never)]
fn judge(inputs: &Inputs, case: &Case, windows: FeatureVector, lap: Lap<'_>) {
    black_box(inputs.judge(&case.transaction, black_box(windows), lap));
}

/// A decision as JSON, its personal part sealed.
#[inline(never)]
fn audit_body(inputs: &Inputs, case: &Case) {
    black_box(
        decision_body(black_box(&case.record), &case.transaction, Some(&inputs.sealing)).expect("a body"),
    );
}

fn append(frame: &mut Vec<u8>, case: &Case, schema: u16, body: &[u8]) -> RecordHash {
    frame.clear();
    let header = Header {
        schema,
        kind: Kind::Decision,
        sequence: case.record.state_sequence,
        recorded_at: case.transaction.occurred_at,
        previous_hash: RecordHash([5; 32]),
    };
    frame::encode(frame, &header, body).expect("a body that fits")
}

/// A body becomes a record: header, checksums, hash.
#[inline(never)]
fn audit_frame(inputs: &Inputs, case: &Case) {
    let frame = &mut inputs.scratch.borrow_mut().frame;
    black_box(append(frame, case, case.body.schema, black_box(&case.body.bytes)));
}

/// Both.
#[inline(never)]
fn audit_both(inputs: &Inputs, case: &Case) {
    let record = black_box(&case.record);
    let body = decision_body(record, &case.transaction, Some(&inputs.sealing)).expect("a body");
    let frame = &mut inputs.scratch.borrow_mut().frame;
    black_box(append(frame, case, body.schema, &body.bytes));
}

/// All that is decided in process: windows, and `judge`.
#[inline(never)]
fn decision(inputs: &Inputs, payment: &Transaction, lap: Lap<'_>) -> (Counted, Outcome) {
    let Observation { windows, counted, .. } = inputs.observe(black_box(payment));
    let judgement = black_box(inputs.judge(payment, windows, lap));
    (counted, judgement.outcome)
}
