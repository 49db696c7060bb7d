//! One row through a model of 400 trees, depth 6, 160 features, 15 % of the values missing: margin and attributions, as this
//! processor and as every processor computes them.
//!
//! `cargo bench --bench model`; `model_table` measures the same beside libxgboost. With `--features peers` beside `hessboost`, which is first held to the same bits.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "criterion_group! writes undocumented functions")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::model::attribution::{AttributionScratch, Attributor};
use tollgate::model::xgboost_file::{ModelFile, parse};

use crate::workload::{FEATURES, model_text, rows};

#[path = "model/workload.rs"]
mod workload;

fn bench(criterion: &mut Criterion) {
    let text = model_text();
    let ModelFile { forest, .. } = parse(Path::new("bench.json"), text.as_bytes()).unwrap();
    let rows = rows();
    let mut rows = rows.iter().cycle();

    criterion.bench_function("margin", |bencher| {
        bencher.iter(|| forest.margin(black_box(rows.next().unwrap())));
    });
    criterion.bench_function("margin portable", |bencher| {
        bencher.iter(|| forest.margin_portable(black_box(rows.next().unwrap())));
    });

    let attributor = Attributor::new(&forest);
    let mut scratch = AttributionScratch::default();
    let mut features = vec![0.0; FEATURES];
    criterion.bench_function("attributions", |bencher| {
        bencher.iter(|| {
            let row = black_box(rows.next().unwrap());
            attributor.contributions_into(&forest, row, &mut scratch, &mut features).unwrap();
            black_box(&features);
        });
    });
    criterion.bench_function("attributions portable", |bencher| {
        bencher.iter(|| {
            let row = black_box(rows.next().unwrap());
            attributor.contributions_portable_into(&forest, row, &mut scratch, &mut features).unwrap();
            black_box(&features);
        });
    });
    #[cfg(feature = "peers")]
    hessboost(criterion, &text, &forest);
}

#[cfg(feature = "peers")]
fn hessboost(criterion: &mut Criterion, text: &str, forest: &tollgate::model::forest::Forest) {
    use hessboost::model::{BoostedModel, ModelFormat};

    let peer = BoostedModel::decode(text, ModelFormat::XgboostJson).unwrap();
    let rows = rows();
    for row in &rows {
        let (found, ours) = (peer.predict_margin_row(row, ..).unwrap(), forest.margin(row).unwrap());
        assert_eq!(found.to_bits(), ours.to_bits(), "{found} and {ours}");
    }
    let mut rows = rows.iter().cycle();
    criterion.bench_function("margin hessboost", |bencher| {
        bencher.iter(|| peer.predict_margin_row(black_box(rows.next().unwrap()), ..));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(3));
    targets = bench
}
criterion_main!(benches);
