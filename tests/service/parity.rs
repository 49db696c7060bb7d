//! HTTP, `tollgate backtest` and `tollgate features` are one decision function: the same history gives the same decisions, scores
//! and feature vectors, bit for bit.

#[cfg(feature = "parquet")]
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
#[cfg(feature = "parquet")]
use tollgate::domain::time::EventTime;

use crate::tollgate_process::{Installation, run};
use crate::traffic::{Event, Traffic};

const TRANSACTIONS: usize = 2_500;
#[cfg(feature = "parquet")]
const PUBLIC_TRANSACTIONS: usize = 1_000;
/// The end of the Handbook's first day, which needs no history.
#[cfg(feature = "parquet")]
const DAY_END: &str = "2018-04-02T00:00:00Z";
#[cfg(feature = "parquet")]
const DAY_TRANSACTIONS: usize = 9_488;
/// So late are the labels of that day, instead of seven days, so that they come within it.
#[cfg(feature = "parquet")]
const DAY_LABEL_DELAY: &str = "1h";
/// Rules for the Handbook's catalogue: over labels, windows and the transaction itself.
#[cfg(feature = "parquet")]
const HANDBOOK_RULES: &str = "rules:
  - {id: risky, when: terminal_id_risk_1day_window > 0.0, then: REVIEW, reason: risky_terminal, message: at risk}
  - {id: often, when: customer_id_nb_tx_1day_window >= 6, then: BLOCK, reason: often, message: often}
  - {id: night, when: tx_during_night && amount > 100, then: CHALLENGE, reason: night, message: at night}
default: {then: APPROVE, reason: no_rule_matched}
";

/// Sends everything in order over one connection and answers the recorded decisions.
fn over_http(installation: &Installation, events: &[Event]) -> Vec<Value> {
    let service = installation.serve();
    let mut connection = service.connect();
    for event in events {
        event.send(&mut connection);
    }
    service.kill();
    installation.decisions()
}

/// Runs `backtest` and `features` over the files and compares them with what was recorded.
fn compare(installation: &Installation, recorded: &[Value], files: &[&str]) {
    let decisions = installation.path().join("decisions.csv");
    let features = installation.path().join("features.csv");
    let policy = installation.policy();
    let limit = recorded.len().to_string();
    for (command, flag, output) in
        [("backtest", "--decisions", &decisions), ("features", "--output", &features)]
    {
        let policy = policy.iter().map(String::as_str);
        let rest = ["--limit", &limit, "--json", flag, output.to_str().unwrap()];
        run(command, files.iter().copied().chain(policy).chain(rest));
    }
    let mut decisions = csv::Reader::from_path(decisions).unwrap();
    let mut features = csv::Reader::from_path(features).unwrap();
    let header = features.headers().unwrap().clone();
    assert_eq!(header.iter().skip(1).collect::<Vec<_>>(), installation.feature_names(), "one column each");

    let mut rows = 0;
    for ((recorded, decision), vector) in recorded.iter().zip(decisions.records()).zip(features.records()) {
        let (decision, vector) = (decision.unwrap(), vector.unwrap());
        let id = recorded["transaction_id"].as_str().unwrap();
        assert_eq!((&decision[0], &vector[0]), (id, id), "one row for each transaction, in order");
        assert_eq!(
            (&decision[1], &decision[2]),
            (text(&recorded["decision"]), text(&recorded["reason"])),
            "{id}"
        );
        assert_eq!(number(&decision[3]), recorded["score"].as_f64().map(f64::to_bits), "score of {id}");
        let numbers = recorded["features"].as_array().unwrap();
        assert_eq!(numbers.len(), header.len() - 1);
        for (slot, (recorded_number, field)) in numbers.iter().zip(vector.iter().skip(1)).enumerate() {
            let name = &header[slot + 1];
            match recorded_text(recorded, slot) {
                Some(recorded) => assert_eq!(field, recorded, "{name} of {id}"),
                None => {
                    let recorded = recorded_number.as_f64().map(f64::to_bits);
                    assert_eq!(number(field), recorded, "{name} of {id}");
                }
            }
        }
        rows += 1;
    }
    assert_eq!(rows, recorded.len());
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The bits of a number in CSV; nothing for an empty field.
fn number(field: &str) -> Option<u64> {
    let number = || field.parse::<f64>().unwrap_or_else(|_| panic!("{field:?} is no number"));
    (!field.is_empty()).then(|| number().to_bits())
}

fn recorded_text(recorded: &Value, slot: usize) -> Option<&str> {
    let texts = recorded["feature_texts"].as_array()?;
    texts.iter().find(|it| it[0].as_u64() == Some(slot as u64)).and_then(|it| it[1].as_str())
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

#[test]
fn simulated_traffic_is_decided_the_same_over_http_and_offline() {
    let installation = Installation::new();
    let traffic = Traffic::simulate(&installation, 3, 150, 30);
    let events = traffic.events(TRANSACTIONS);
    let recorded = over_http(&installation, &events);
    assert_eq!(recorded.len(), TRANSACTIONS);
    compare(
        &installation,
        &recorded,
        &["--input", path(&traffic.transactions), "--labels", path(&traffic.labels)],
    );
}

/// On rows of the public data sets, where they are at hand; they are read as Parquet.
#[cfg(feature = "parquet")]
#[test]
fn public_data_is_decided_the_same_over_http_and_offline() {
    for public in [&crate::traffic::HANDBOOK, &crate::traffic::SPARKOV] {
        let Some(events) = crate::traffic::public_events(public, PUBLIC_TRANSACTIONS) else { continue };
        let installation = Installation::new();
        let recorded = over_http(&installation, &events);
        assert_eq!(recorded.len(), PUBLIC_TRANSACTIONS);
        compare(&installation, &recorded, &["--input", path(&public.path()), "--map", public.mapping]);
    }
}

/// One whole day of the Handbook through `installation`, with its labels; what was recorded, where the data are at hand.
#[cfg(feature = "parquet")]
fn handbook_day(installation: &Installation) -> Option<Vec<Value>> {
    use crate::traffic::{HANDBOOK, public_events_while};

    let end = EventTime::parse_rfc3339(DAY_END).unwrap();
    let text = std::fs::read_to_string(crate::tollgate_process::root().join(HANDBOOK.mapping)).unwrap();
    let sooner = text.replace("delay: 7d", &format!("delay: {DAY_LABEL_DELAY}"));
    assert_ne!(text, sooner, "the mapping has a delay");
    let mapping = installation.path().join("mapping.yaml");
    std::fs::write(&mapping, sooner).unwrap();
    let events = public_events_while(&HANDBOOK, &mapping, |transaction| transaction.occurred_at < end)?;
    let transactions = events.iter().filter(|event| matches!(event, Event::Transaction(_))).count();
    assert_eq!(transactions, DAY_TRANSACTIONS);
    assert!(events.len() - transactions > DAY_TRANSACTIONS / 2, "labels take part");

    let recorded = over_http(installation, &events);
    assert_eq!(recorded.len(), DAY_TRANSACTIONS);
    compare(installation, &recorded, &["--input", path(&HANDBOOK.path()), "--map", path(&mapping)]);
    Some(recorded)
}

#[cfg(feature = "parquet")]
#[test]
fn a_day_of_public_data_gives_the_same_book_features_over_http_and_offline() {
    let rules = tempfile::tempdir().unwrap();
    std::fs::write(rules.path().join("handbook.yaml"), HANDBOOK_RULES).unwrap();
    let installation = Installation::new().rules(rules.path()).features("models/handbook/features.yaml");
    let Some(recorded) = handbook_day(&installation) else { return };
    let reasons: BTreeSet<&str> = recorded.iter().map(|decision| text(&decision["reason"])).collect();
    let expected = ["night", "no_rule_matched", "often", "risky_terminal"];
    assert!(reasons.iter().eq(&expected), "every rule matches on some: {reasons:?}");
}

#[cfg(feature = "parquet")]
#[test]
#[cfg_attr(debug_assertions, ignore = "forty seconds: run with --release, or with --include-ignored")]
fn a_day_of_public_data_gives_the_same_shipped_features_over_http_and_offline() {
    handbook_day(&Installation::new());
}
