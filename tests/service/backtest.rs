//! A candidate over the log of a real service: the same policy changes nothing, to the bit; another one changes what can be counted by
//! hand from the log.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::tollgate_process::{Installation, root, run};
use crate::traffic::{Event, Traffic};

/// What the candidate does more: it blocks large amounts.
pub const LARGE: &str = "rules:
  - id: large-amount
    description: Far above what customers here ever pay.
    when: amount > 150
    then: BLOCK
    reason: large_amount
";

/// A copy of the shipped rules, with one more file.
pub fn rules_with(directory: &Path, name: &str, text: &str) -> PathBuf {
    let rules = directory.join(name);
    fs::create_dir_all(rules.join("lists")).unwrap();
    for part in ["", "lists"] {
        for entry in fs::read_dir(root().join("rules").join(part)).unwrap() {
            let file = entry.unwrap().path();
            if file.is_file() {
                fs::copy(&file, rules.join(part).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    if !text.is_empty() {
        fs::write(rules.join("mine.yaml"), text).unwrap();
    }
    rules
}

/// `backtest --json` with the installation's policy, whose rules may be others.
pub fn backtest(with: &Installation, rules: Option<&Path>, arguments: &[&str]) -> Value {
    let mut flags = with.policy();
    if let Some(rules) = rules {
        let at = flags.iter().position(|flag| flag == "--rules").unwrap() + 1;
        flags[at] = rules.to_str().unwrap().to_owned();
    }
    let text =
        run("backtest", flags.iter().map(String::as_str).chain(arguments.iter().copied()).chain(["--json"]));
    serde_json::from_str(&text).unwrap()
}

/// The transaction that a label is for.
fn labelled_transaction(event: &Event) -> Option<String> {
    match event {
        Event::Label(body) => Some(field(body, "transaction_id")),
        Event::Transaction(_) => None,
    }
}

fn field(body: &str, name: &str) -> String {
    text(&serde_json::from_str(body).unwrap(), name).to_owned()
}

/// Traffic, and behind it every label that is still to come for its transactions.
pub fn labelled(with: &Installation, seed: u64, transactions: usize) -> Vec<Event> {
    let traffic = Traffic::simulate(with, seed, 200, 20);
    let mut events = traffic.events(transactions);
    let sent: BTreeSet<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Transaction(body) => Some(field(body, "transaction_id")),
            Event::Label(_) => None,
        })
        .collect();
    let known: BTreeSet<String> = events.iter().filter_map(labelled_transaction).collect();
    let labels = fs::read_to_string(&traffic.labels).unwrap();
    let is_to_come = |line: &&str| {
        let id = field(line, "transaction_id");
        sent.contains(&id) && !known.contains(&id)
    };
    events.extend(labels.lines().filter(is_to_come).map(|line| Event::Label(line.to_owned())));
    events
}

/// Serves traffic and leaves its log.
fn recorded(with: &Installation, seed: u64, transactions: usize) {
    let events = labelled(with, seed, transactions);
    let service = with.serve();
    let mut connection = service.connect();
    for event in &events {
        event.send(&mut connection);
    }
    service.terminate();
    assert!(service.ended().success());
}

pub const NOTHING_DIFFERS: &str = r#"{"outcome": 0, "reason": 0, "reasons": 0, "score": 0, "hits": 0}"#;

#[test]
fn a_candidate_equal_to_the_live_policy_changes_nothing() {
    let with = Installation::new();
    let events = labelled(&with, 41, 600);
    let labels: BTreeSet<String> = events.iter().filter_map(labelled_transaction).collect();
    let service = with.serve();
    let mut connection = service.connect();
    for event in &events {
        event.send(&mut connection);
    }
    let (data, file) = (with.data(), with.path().join("decided.csv"));
    let data = data.to_str().unwrap();
    let nothing: Value = serde_json::from_str(NOTHING_DIFFERS).unwrap();
    // The service is running, and goes on deciding.
    for (arguments, windows) in [
        (vec!["--data", data, "--decisions", file.to_str().unwrap()], "recorded"),
        (vec!["--data", data, "--rebuild-windows"], "rebuilt"),
    ] {
        let report = backtest(&with, None, &arguments);
        assert_eq!(report["input"]["windows"], windows);
        assert_eq!(report["input"]["rows"], 600);
        assert_eq!(report["input"]["rows_skipped"], 0);
        let comparison = &report["comparison"];
        assert_eq!(comparison["compared"], 600);
        assert_eq!(comparison["differing"], nothing, "{windows}");
        assert_eq!(comparison["changes"], json!([]));
        assert_eq!(report["operation"], comparison["operation_before"]);
        let truth = &report["truth"];
        let labelled = truth["fraud"].as_u64().unwrap() + truth["legitimate"].as_u64().unwrap();
        assert_eq!(labelled, labels.len() as u64);
        assert!(truth["fraud"].as_u64().unwrap() >= 5, "{truth}");
    }
    service.terminate();
    assert!(service.ended().success());
    let decisions = with.decisions();
    let expected: Vec<String> = decisions
        .iter()
        .map(|it| {
            format!(
                "{},{},{},{}",
                text(it, "transaction_id"),
                text(it, "decision"),
                text(it, "reason"),
                it["score"]
            )
        })
        .collect();
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(written.lines().skip(1).collect::<Vec<_>>(), expected);
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[test]
fn what_a_candidate_changes_is_what_can_be_counted_in_the_log() {
    let with = Installation::new();
    recorded(&with, 43, 500);
    let rules = rules_with(with.path(), "candidate", LARGE);
    let data = with.data();
    let report = backtest(&with, Some(&rules), &["--data", data.to_str().unwrap(), "--samples", "2"]);

    let decisions = with.decisions();
    let amount = |it: &Value| it["transaction"]["amount"]["value"].as_i64().unwrap();
    let large: Vec<&Value> = decisions.iter().filter(|it| amount(it) > 15_000).collect();
    let trusted =
        |it: &Value| it["hits"].as_array().unwrap().iter().any(|hit| hit["rule"] == "trusted-customer");
    assert!(large.len() > 5 && !large.iter().any(|it| trusted(it)), "{}", large.len());
    let changed: Vec<&&Value> = large.iter().filter(|it| it["decision"] != "BLOCK").collect();
    let comparison = &report["comparison"];
    assert_eq!(comparison["changed"], changed.len() as u64);
    assert_eq!(comparison["differing"]["score"], 0, "the model scores again, and says the same");
    let changes = comparison["changes"].as_array().unwrap();
    for change in changes {
        assert_eq!(change["after"], "BLOCK");
        let alike: Vec<_> = changed.iter().filter(|it| it["decision"] == change["before"]).collect();
        assert_eq!(change["count"], alike.len() as u64);
        let money: i64 = alike.iter().map(|it| amount(it)).sum();
        let parts = ["fraud_minor", "legitimate_minor", "unlabelled_minor"];
        let values = change["value"].as_array().unwrap().iter();
        let sum: i64 = values.flat_map(|it| parts.map(|part| it[part].as_i64().unwrap())).sum();
        assert_eq!(sum, money);
        let samples = change["samples"].as_array().unwrap();
        assert_eq!(samples.len(), alike.len().min(2));
        for sample in samples {
            let recorded = alike.iter().find(|it| it["transaction_id"] == sample["transaction_id"]).unwrap();
            assert_eq!(sample["before"]["reason"], recorded["reason"]);
            assert_eq!(sample["after"]["rule"], "large-amount");
        }
    }
    let rule = report["rules"].as_array().unwrap().iter().find(|row| row["rule"] == "large-amount").unwrap();
    assert_eq!(rule["hits"], large.len() as u64);
    let moved = &comparison["rules"][0];
    assert_eq!((&moved["rule"], &moved["presence"]), (&json!("large-amount"), &json!("after")));

    // The same against the live rules themselves, decided side by side.
    let live = root().join("rules");
    let side = backtest(
        &with,
        Some(&rules),
        &["--data", data.to_str().unwrap(), "--against", live.to_str().unwrap(), "--samples", "2"],
    );
    assert_eq!(side["comparison"]["changes"], comparison["changes"]);
    let again = backtest(&with, Some(&rules), &["--data", data.to_str().unwrap(), "--samples", "2"]);
    assert_eq!(again["comparison"], *comparison, "two runs show the same");
}

#[test]
fn another_catalogue_has_its_windows_counted_anew_and_bounds_are_kept() {
    let with = Installation::new();
    recorded(&with, 47, 400);
    let (data, catalogue) = (with.data(), with.path().join("features.yaml"));
    let data = data.to_str().unwrap();
    let shipped = fs::read_to_string(root().join("models/features.yaml")).unwrap();
    fs::write(&catalogue, format!("{shipped}# another file, the same features\n")).unwrap();
    let mut flags = with.policy();
    let at = flags.iter().position(|flag| flag == "--features").unwrap() + 1;
    flags[at] = catalogue.to_str().unwrap().to_owned();
    let arguments = flags.iter().map(String::as_str).chain(["--data", data, "--json"]);
    let report: Value = serde_json::from_str(&run("backtest", arguments)).unwrap();
    assert_eq!(report["input"]["windows"], "rebuilt");
    assert_eq!(report["input"]["outcomes_follow"], "recorded");
    assert_eq!(
        report["input"]["windows_note"],
        "400 of 400 decisions were recorded under another feature catalogue; what the enrichment store said is left out of 400"
    );
    let nothing: Value = serde_json::from_str(NOTHING_DIFFERS).unwrap();
    assert_eq!(report["comparison"]["differing"], nothing, "counted anew, they are the same");

    let decisions = with.decisions();
    let at = |decision: &Value| text(&decision["transaction"], "occurred_at").to_owned();
    let middle = at(&decisions[200]);
    let before = decisions.iter().filter(|it| at(it) < middle).count();
    for (arguments, expected) in [
        (vec!["--last", "150"], 150),
        (vec!["--limit", "70"], 70),
        (vec!["--last", "150", "--limit", "70"], 70),
        (vec!["--from", middle.as_str()], 400 - before),
        (vec!["--to", middle.as_str()], before),
        (vec!["--from", middle.as_str(), "--rebuild-windows"], 400 - before),
        (vec!["--last", "10", "--rebuild-windows"], 10),
    ] {
        let report = backtest(&with, None, &[&["--data", data][..], &arguments].concat());
        assert_eq!(report["comparison"]["compared"], expected as u64, "{arguments:?}");
        assert_eq!(report["comparison"]["differing"], nothing, "{arguments:?}");
    }
}
