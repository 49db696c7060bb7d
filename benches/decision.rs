//! One decision in process, without HTTP and log: `observe`, `judge` with attributions, and the consequences.
//!
//! `cargo bench --bench decision`

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tollgate::domain::transaction::{Mode, Transaction};
use tollgate::engine::policy::{Policy, PolicyFiles};
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::evaluation::session::Session;
use tollgate::model::backend::Backend;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;

/// Transactions that fill the windows before anything is measured.
const WARM_UP: usize = 50_000;

fn policy(model: Option<&str>) -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = PolicyFiles {
        rules: root.join("rules"),
        model: model.map(|model| root.join(model)),
        backend: Backend::default(),
        challengers: Vec::new(),
        features: root.join("models/features.yaml"),
    };
    let missing = MissingPolicy {
        enrich: OnMissing::Continue,
        model: OnMissing::Review,
        overload: OnMissing::Continue,
    };
    Policy::load(&files, missing).expect("the shipped policy is sound")
}

fn decisions(criterion: &mut Criterion) {
    let parameters = Parameters { customers: 4_000, days: 60, ..Parameters::default() };
    let transactions: Vec<Transaction> = Simulation::new(&parameters)
        .expect("sound parameters")
        .map(|simulated| simulated.transaction)
        .take(WARM_UP + 50_000)
        .collect();
    let mut group = criterion.benchmark_group("decision");
    for (name, model) in [("rules and model", Some("models/default")), ("rules alone", None)] {
        let policy = policy(model);
        let session = Session::new(&policy);
        for transaction in &transactions[..WARM_UP] {
            session.decide(transaction, Mode::Live);
        }
        let mut live = transactions[WARM_UP..].iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || live.next().expect("it goes round and round"),
                |transaction| black_box(session.decide(transaction, Mode::Live)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
