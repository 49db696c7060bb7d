//! The shipped mappings over the first rows of the public data sets, where they are at hand (`../shared/data`).

#![cfg(feature = "parquet")]

use std::path::{Path, PathBuf};

use crate::domain::label::Verdict;
use crate::offline::mapping::Mapping;
use crate::offline::replay::{LabelSource, Replay, ReplayEvent};
use crate::offline::transactions::{ReadOptions, TransactionReader};

const ROWS: usize = 50_000;

fn open(file: &str, mapping: &str) -> Option<(Mapping, TransactionReader)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path: PathBuf = root.join("../shared/data").join(file);
    let mapping = Mapping::load(&root.join("models/mappings").join(mapping)).unwrap();
    if !path.exists() {
        return None;
    }
    let reader =
        TransactionReader::open(&path, ReadOptions { mapping: Some(&mapping), skip_bad_rows: false })
            .unwrap();
    Some((mapping, reader))
}

#[test]
fn the_handbook_is_read() {
    let Some((mapping, mut reader)) = open("handbook_2018-04-01_2018-09-04.parquet", "handbook.yaml") else {
        return;
    };
    assert!(reader.id_is_integer());
    assert_eq!(reader.progress().total, Some(1_504_628));
    let first = reader.next_row().unwrap().unwrap();
    let transaction = &first.request.transaction;
    assert_eq!(transaction.id.as_str(), "0");
    assert_eq!(transaction.occurred_at.to_string(), "2018-04-01T00:00:31.000Z");
    assert_eq!(transaction.amount.to_string(), "57.16 EUR");
    assert_eq!(transaction.customer.id.as_ref().unwrap().as_str(), "596");
    assert_eq!(transaction.card.fingerprint, None, "a card would be the customer again");
    assert_eq!(transaction.terminal_id.as_ref().unwrap().as_str(), "3156");
    assert_eq!(first.verdict, Some(Verdict::Legitimate));

    let labels = LabelSource::choose(Some(&mapping), None).unwrap();
    let mut replay = Replay::new(reader.take(2 * ROWS), labels);
    let mut now = 0;
    while let Some(event) = replay.next_event().unwrap() {
        match event {
            ReplayEvent::Attempt { transaction, .. } => now = transaction.occurred_at.unix_millis(),
            ReplayEvent::Label { label, transaction } => {
                assert_eq!(label.occurred_at.millis_since(transaction.occurred_at), 7 * 86_400_000);
                assert!(label.occurred_at.unix_millis() >= now);
            }
        }
    }
    let counts = replay.counts();
    assert_eq!(counts.attempts, 2 * ROWS as u64);
    assert_eq!(counts.labels_delivered + counts.labels_pending, counts.attempts);
    assert!(counts.labels_delivered > 0);
}

#[test]
fn sparkov_is_read() {
    let Some((_, reader)) = open("sparkov_A_train_2012-01-01_2013-06-21.parquet", "sparkov.yaml") else {
        return;
    };
    let rows: Result<Vec<_>, _> = reader.take(ROWS).collect();
    let rows = rows.unwrap();
    assert_eq!(rows.len(), ROWS);
    let first = &rows[0].request.transaction;
    assert_eq!(first.merchant.id.as_ref().unwrap().as_str(), "Huel Ltd");
    assert_eq!(first.amount.to_string(), "24.47 USD");
    assert!((first.location.unwrap().latitude - 39.0545).abs() < 1e-6);
    assert!(rows.iter().any(|row| row.verdict == Some(Verdict::Fraud)));
}

/// `cargo test --release --features parquet --lib -- --ignored --nocapture reading_speed`
#[test]
#[ignore = "reads everything; prints how fast"]
fn reading_speed() {
    use crate::domain::time::{Clock, SystemClock};

    for (file, mapping) in [
        ("handbook_2018-04-01_2018-09-04.parquet", "handbook.yaml"),
        ("sparkov_A_train_2012-01-01_2013-06-21.parquet", "sparkov.yaml"),
    ] {
        let Some((_, reader)) = open(file, mapping) else { return };
        let start = SystemClock.instant();
        let rows = reader.map(Result::unwrap).count();
        let seconds = start.elapsed().as_secs_f64();
        println!("{file}: {rows} rows in {seconds:.2} s, {:.0} rows/s", rows as f64 / seconds);
    }
}
