//! The Handbook's own feature values, which another program computed, against ours.
//!
//! `../shared/data` holds the book's transactions and its fourteen features of one test week; without them, or without the
//! cargo feature `parquet`, there is nothing to do. Slow in the dev profile: see models/README.md for the full run.
#![cfg(feature = "parquet")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tollgate::domain::time::EventTime;
use tollgate::engine::policy::Policy;
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::offline::input::Rows;
use tollgate::offline::mapping::{ColumnName, Mapping};
use tollgate::offline::replay::{LabelSource, Replay, ReplayEvent};
use tollgate::offline::session::Session;
use tollgate::offline::transactions::{ReadOptions, TransactionReader};

const TRANSACTIONS: &str = "handbook_2018-04-01_2018-09-04.parquet";
const GOLDEN: &str = "handbook_book_features_2018-08-08_2018-08-14.parquet";
/// The longest window is 37 days, and labels of 30 days come 7 days late: nothing before this can matter to the test week.
const HISTORY_FROM: &str = "2018-07-01T00:00:00Z";
const WEEK_FROM: &str = "2018-08-08T00:00:00Z";
const WEEK_TO: &str = "2018-08-15T00:00:00Z";
const WEEK_ROWS: usize = 67_080;
/// Two transactions of one customer in one second: whose count is the higher depends on the order of ties.
const TIED_ROWS: [&str; 2] = ["1240489", "1240490"];

/// The book's column and our feature.
const PAIRS: [(&str, &str); 14] = [
    ("tx_during_weekend", "tx.is_weekend"),
    ("tx_during_night", "tx.is_night"),
    ("customer_id_nb_tx_1day_window", "customer.count_1d"),
    ("customer_id_avg_amount_1day_window", "customer.amount_mean_1d"),
    ("customer_id_nb_tx_7day_window", "customer.count_7d"),
    ("customer_id_avg_amount_7day_window", "customer.amount_mean_7d"),
    ("customer_id_nb_tx_30day_window", "customer.count_30d"),
    ("customer_id_avg_amount_30day_window", "customer.amount_mean_30d"),
    ("terminal_id_nb_tx_1day_window", "terminal.delayed_count_1d"),
    ("terminal_id_risk_1day_window", "terminal.risk_1d"),
    ("terminal_id_nb_tx_7day_window", "terminal.delayed_count_7d"),
    ("terminal_id_risk_7day_window", "terminal.risk_7d"),
    ("terminal_id_nb_tx_30day_window", "terminal.delayed_count_30d"),
    ("terminal_id_risk_30day_window", "terminal.risk_30d"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shared(file: &str) -> PathBuf {
    root().join("../shared/data").join(file)
}

fn moment(text: &str) -> EventTime {
    EventTime::parse_rfc3339(text).unwrap()
}

fn policy() -> Policy {
    let missing = MissingPolicy { enrich: OnMissing::Continue, model: OnMissing::Continue };
    Policy::features_only(&root().join("models/handbook/features.yaml"), missing).unwrap()
}

/// The book's features by transaction id.
fn golden() -> HashMap<String, [f32; 14]> {
    let mut rows = Rows::open(&shared(GOLDEN)).unwrap();
    let names = std::iter::once("tx_id").chain(PAIRS.iter().map(|(book, _)| *book));
    let columns: Vec<ColumnName> =
        names.map(|name| ColumnName { name: name.to_owned(), named_at: String::new() }).collect();
    rows.select(&columns).unwrap();
    let (mut cells, mut golden) = (Vec::new(), HashMap::new());
    while rows.next_cells(&mut cells).is_ok_and(|more| more) {
        let values = std::array::from_fn(|at| cells[at + 1].decimal().unwrap().parse::<f32>().unwrap());
        golden.insert(cells[0].decimal().unwrap().into_owned(), values);
    }
    assert_eq!(golden.len(), WEEK_ROWS);
    golden
}

#[test]
fn the_catalogue_has_the_books_features() {
    let policy = policy();
    for (_, ours) in PAIRS {
        assert!(policy.catalogue.slot(ours).is_some(), "{ours}");
    }
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "half a million transactions: run with --release, or with --include-ignored"
)]
fn our_windows_give_the_books_numbers() {
    if !shared(TRANSACTIONS).exists() || !shared(GOLDEN).exists() {
        eprintln!("{} is not here: nothing to compare with", shared(GOLDEN).display());
        return;
    }
    let golden = golden();
    let policy = policy();
    let slots = PAIRS.map(|(_, ours)| policy.catalogue.slot(ours).unwrap());
    let mapping = Mapping::load(&root().join("models/mappings/handbook.yaml")).unwrap();
    let options = ReadOptions { mapping: Some(&mapping), skip_bad_rows: false };
    let (from, week, end) = (moment(HISTORY_FROM), moment(WEEK_FROM), moment(WEEK_TO));
    let rows = TransactionReader::open(&shared(TRANSACTIONS), options)
        .unwrap()
        .skip_while(|row| row.as_ref().is_ok_and(|row| row.request.transaction.occurred_at < from))
        .take_while(|row| row.as_ref().map_or(true, |row| row.request.transaction.occurred_at < end));
    let mut replay = Replay::new(rows, LabelSource::choose(Some(&mapping), None).unwrap());

    let session = Session::new(&policy);
    let (mut compared, mut tied, mut different) = (0, 0, Vec::new());
    while let Some(event) = replay.next_event().unwrap() {
        match event {
            ReplayEvent::Label { label, transaction } => session.label(&transaction, &label),
            ReplayEvent::Attempt { transaction, .. } => {
                let judgement = session.decide(&transaction, tollgate::domain::transaction::Mode::Live);
                if transaction.occurred_at < week {
                    continue;
                }
                compared += 1;
                let book = golden[transaction.id.as_str()];
                let numbers = judgement.features.numbers();
                #[expect(clippy::cast_possible_truncation, reason = "the book's values are float32")]
                let wrong: Vec<String> = PAIRS
                    .iter()
                    .zip(slots)
                    .zip(book)
                    .filter(|((_, slot), book)| (numbers[*slot] as f32).to_bits() != book.to_bits())
                    .map(|(((_, ours), slot), book)| format!("{ours} {} book {book}", numbers[slot]))
                    .collect();
                if !wrong.is_empty() && TIED_ROWS.contains(&transaction.id.as_str()) {
                    tied += 1;
                } else if !wrong.is_empty() {
                    let (at, id) = (transaction.occurred_at, transaction.id.as_str());
                    different.push(format!("{id} at {at}: {}", wrong.join(", ")));
                }
            }
        }
    }
    assert_eq!(compared, WEEK_ROWS);
    let shown = different.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    println!("{compared} rows compared, {tied} differ by the order of ties, {} otherwise", different.len());
    assert!(different.is_empty(), "{} rows differ:\n{shown}", different.len());
}
