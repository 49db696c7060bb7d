//! A log written record by record: what is skipped and counted, what is passed by, and whose labels hold.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::receipt::LogId;
use crate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use crate::domain::time::EventTime;
use crate::engine::policy::{Policy, PolicyFiles};
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::evaluation::recorded::{Rebuild, RecordedOptions, Step, run};
use crate::evaluation::report::{BacktestReport, Stopped};
use crate::evaluation::tally::Against;
use crate::evaluation::truth::Truth;
use crate::model::backend::Backend;

const CATALOGUE: &str = "version: 1
entities:
  card: {key: card.fingerprint}
windows:
  - {entity: card, stream: attempts, count: [1h]}
";
pub(super) const RULES: &str = "default: {then: APPROVE, reason: nothing}
rules:
  - {id: often, when: card.count_1h >= 3, then: BLOCK, reason: often, owner: tests, description: Often.}
";

pub(super) fn policy(directory: &Path, rules: &str) -> Policy {
    let file = |name: &str, text: &str| {
        let file = directory.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    };
    let features = file("features.yaml", CATALOGUE);
    let rules = file("rules/default.yaml", rules).parent().unwrap().to_owned();
    let backend = Backend::default();
    let files = PolicyFiles { rules, model: None, challengers: Vec::new(), features, backend };
    let missing = MissingPolicy {
        enrich: OnMissing::Continue,
        model: OnMissing::Review,
        overload: OnMissing::Continue,
    };
    Policy::load(&files, missing).unwrap()
}

/// A record of one transaction, whose card had been seen that often within an hour.
pub(super) fn decision(id: &str, minute: u32, count: u32, outcome: &str, features: &str) -> Value {
    let hits = if outcome == "BLOCK" { json!([{"rule": "old"}]) } else { json!([]) };
    json!({"decision_id": format!("dec_{id}"), "transaction_id": id, "decision": outcome, "reason": "old", "reasons": [],
        "score": null, "risk_level": "unknown", "challenge": null, "degraded": false, "missing": [],
        "versions": {"rules": "sha256:00", "model": null, "features": features}, "idempotency_key": id,
        "fingerprint": "00", "received_at_ms": 0, "state_sequence": 0,
        "transaction": {"transaction_id": id, "occurred_at": format!("2026-03-01T10:{minute:02}:00Z"),
            "amount": {"value": 1_000, "currency": "EUR"}, "card": {"fingerprint": "fp_1"}},
        "enrichment": [], "features": [count], "margin": null, "hits": hits, "policy": "sha256:01",
        "latency_us": {"total": 0, "parse": 0, "enrich": 0, "windows": 0, "model": 0, "explain": 0, "rules": 0, "audit": 0}})
}

fn label(id: &str, verdict: &str, minute: u32) -> Value {
    json!({"label": {"transaction_id": id, "label": verdict, "kind": "chargeback",
        "occurred_at": format!("2026-03-02T10:{minute:02}:00Z")}})
}

/// A change of a list: a value is put there.
pub(super) fn put(list: &str, value: &str) -> Value {
    json!({"list": list, "value": value, "change": "add", "note": "a test", "by": "tests"})
}

/// Writes records, each with its kind, and closes the log.
pub(super) fn write(log: &Path, records: &[(Kind, Value)]) {
    write_with(log, records, LogOptions::default());
}

pub(super) fn write_with(log: &Path, records: &[(Kind, Value)], options: LogOptions) {
    let now = EventTime::from_unix_millis(1_772_000_000_000).unwrap();
    let opened = OpenedLog::open(log, LogId([7; 16]), now, options).unwrap();
    let handle: LogHandle<()> = LogWriter::start(
        opened,
        WriterOptions::default(),
        Box::new(|group| drop(group)),
        Box::new(|group| drop(group)),
    )
    .unwrap();
    for (kind, body) in records {
        let body = serde_json::to_vec(body).unwrap();
        handle.reserve().unwrap().commit(*kind, now, body, ()).wait_blocking().unwrap();
    }
    handle.close(Duration::from_secs(20)).unwrap();
}

fn report(policy: &Policy, options: &RecordedOptions) -> BacktestReport {
    let go_on = |_: Step<'_>| ControlFlow::Continue(());
    run(policy, Against::recorded(), None, options, Truth::default(), go_on, || Duration::from_secs(1))
        .unwrap()
}

#[test]
fn what_cannot_be_decided_again_is_counted_by_its_reason_and_the_rest_is_decided() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(directory.path(), RULES);
    let catalogue = &*policy.catalogue.sha256;
    let mut wrong_length = decision("t4", 4, 1, "APPROVE", catalogue);
    wrong_length["features"] = json!([1, 2]);
    let records = [
        (Kind::PolicyChange, json!({"cause": "start"})),
        (Kind::Decision, decision("t1", 1, 1, "APPROVE", catalogue)),
        (Kind::ListChange, put("blocked_cards", "fp_9")),
        (Kind::Decision, decision("t2", 2, 3, "APPROVE", catalogue)),
        (Kind::ChallengerScores, json!({"policy": "sha256:01", "challengers": [], "decisions": []})),
        (Kind::Decision, decision("t3", 3, 2, "BLOCK", catalogue)),
        (Kind::Decision, json!({"transaction_id": "of another time"})),
        (Kind::Decision, wrong_length),
        (Kind::Decision, decision("t5", 5, 3, "BLOCK", "sha256:another")),
        (Kind::Label, label("t2", "fraud", 1)),
        (Kind::Label, label("t3", "fraud", 1)),
        (Kind::Label, label("t3", "legitimate", 2)),
        (Kind::Label, json!({"label": "none"})),
    ];
    let log = directory.path().join("log");
    write(&log, &records);
    let options = RecordedOptions { rebuild: Rebuild::Never, ..RecordedOptions::all(log.clone()) };
    let found = report(&policy, &options);
    let (comparison, input) = (found.comparison.unwrap(), found.input);
    let changes: Vec<_> = comparison
        .changes
        .iter()
        .map(|it| (it.before.name(), it.after.name(), it.count, it.truth.fraud, it.truth.legitimate))
        .collect();
    assert_eq!(changes, [("APPROVE", "BLOCK", 1, 1, 0), ("BLOCK", "APPROVE", 1, 0, 1)]);
    assert_eq!((comparison.compared, comparison.changed), (3, 2));
    let skipped: Vec<_> =
        input.skipped.iter().map(|it| (it.reason.as_str(), it.count, it.first_sequence)).collect();
    let expected = [
        ("it was recorded under another feature catalogue", 1, 9),
        ("its body is not what its schema says", 2, 7),
        ("its values are not as many as its feature catalogue has", 1, 8),
    ];
    assert_eq!(skipped, expected);
    assert_eq!((input.rows, input.rows_skipped, input.first_skipped.len()), (6, 4, 4));

    // Counted anew, the catalogue of the record does not matter: t5 is the fourth of its card, t4 the third or fourth.
    let rebuilt = report(&policy, &RecordedOptions::all(log));
    assert_eq!(rebuilt.truth.total(), 5);
    let block = rebuilt.decisions.iter().find(|it| it.outcome.name() == "BLOCK").unwrap();
    assert_eq!(block.count, 3, "t3, t4 and t5");
    let note = rebuilt.input.windows_note.unwrap();
    assert!(note.starts_with("1 of 6 decisions were recorded under another feature catalogue"), "{note}");
}

#[test]
fn a_candidate_that_asks_lists_gets_what_the_log_says_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let rules = RULES.replace("card.count_1h >= 3", "'in_list(card.fingerprint, \"stolen\")'");
    std::fs::create_dir_all(directory.path().join("rules/lists")).unwrap();
    std::fs::write(directory.path().join("rules/lists/stolen.txt"), "").unwrap();
    let policy = policy(directory.path(), &rules);
    let catalogue = &*policy.catalogue.sha256;
    let mut recorded = decision("t4", 4, 1, "APPROVE", catalogue);
    recorded["listed"] = json!([{"list": "stolen", "value": "fp_1"}]);
    let mut same_rules = decision("t5", 5, 1, "APPROVE", catalogue);
    same_rules["versions"] = serde_json::to_value(&policy.versions).unwrap();
    let mut taken = put("stolen", "fp_1");
    taken["change"] = json!("remove");
    let records = [
        (Kind::Decision, decision("t1", 1, 1, "APPROVE", catalogue)),
        (Kind::ListChange, put("stolen", "fp_1")),
        (Kind::Decision, decision("t2", 2, 1, "APPROVE", catalogue)),
        // These very rules decided it, before the change took hold: they found nothing.
        (Kind::Decision, same_rules),
        (Kind::ListChange, taken),
        (Kind::Decision, decision("t3", 3, 1, "APPROVE", catalogue)),
        // It says what it found.
        (Kind::Decision, recorded),
    ];
    let log = directory.path().join("log");
    write(&log, &records);
    let mut blocked = Vec::new();
    let collect = |step: Step<'_>| {
        if let Step::Decided { transaction, judgement } = step
            && judgement.outcome.name() == "BLOCK"
        {
            blocked.push(transaction.id.as_str().to_owned());
        }
        ControlFlow::Continue(())
    };
    let options = RecordedOptions::all(log);
    let took = || Duration::from_secs(1);
    let report = run(&policy, Against::recorded(), None, &options, Truth::default(), collect, took).unwrap();
    assert_eq!(blocked, ["t2", "t4"]);
    assert_eq!(report.input.rows_skipped, 0);
}

#[test]
fn a_run_that_is_stopped_gives_the_report_so_far() {
    let directory = tempfile::tempdir().unwrap();
    let policy = Arc::new(policy(directory.path(), RULES));
    let catalogue = &*policy.catalogue.sha256;
    let records: Vec<_> = (0..20)
        .map(|at| (Kind::Decision, decision(&format!("t{at}"), at, 1, "APPROVE", catalogue)))
        .collect();
    let log = directory.path().join("log");
    write(&log, &records);
    let mut decided = 0;
    let stop = |step: Step<'_>| {
        decided += u64::from(matches!(step, Step::Decided { .. }));
        if decided == 7 { ControlFlow::Break(Stopped::Time) } else { ControlFlow::Continue(()) }
    };
    let options = RecordedOptions::all(log);
    let found =
        run(&policy, Against::recorded(), None, &options, Truth::default(), stop, || Duration::ZERO).unwrap();
    assert_eq!((found.truth.total(), found.input.stopped), (7, Some(Stopped::Time)));
}
