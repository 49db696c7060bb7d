//! 100, 1,000 and 10,000 rules of five conditions over 160 features, asked about one payment after the other.
//!
//! `cargo bench --bench rules`; with `--features peers` beside wirefilter, zen-expression and cel-rust. `rules_table` measures the same in turns
//! and prints ratios.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "criterion_group! writes undocumented functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use crate::contestants::contestants;
use crate::workload::{Kind, payments, rules};

#[allow(dead_code, reason = "the table uses the rest")]
#[path = "rules/contestants.rs"]
mod contestants;
#[cfg(feature = "peers")]
#[allow(dead_code, reason = "the table uses the rest")]
#[path = "rules/peers.rs"]
mod peers;
#[allow(dead_code, reason = "the table uses the rest")]
#[path = "rules/workload.rs"]
mod workload;

fn bench(criterion: &mut Criterion) {
    let payments = payments();
    for kind in Kind::ALL {
        let mut group = criterion.benchmark_group(format!("rules {}", kind.name()));
        for count in [100, 1_000, 10_000] {
            let rules = rules(kind, count);
            for mut contestant in contestants(&rules, &payments) {
                let mut next = (0..payments.len()).cycle();
                let mut matching = Vec::new();
                group.bench_function(BenchmarkId::new(contestant.name, count), |bencher| {
                    bencher.iter(|| {
                        matching.clear();
                        (contestant.run)(black_box(next.next().unwrap()), &mut matching);
                        black_box(&matching);
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = bench
}
criterion_main!(benches);
