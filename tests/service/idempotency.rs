//! One request, one decision, one record, one count: however often, at once, or under whatever key it is sent.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::tollgate_process::{Installation, Service};
use crate::traffic::{feature, lasting, transaction};

const DUPLICATES: usize = 64;

#[test]
fn duplicates_at_once_are_one_decision() {
    let installation = Installation::new();
    let service = installation.serve();
    let body = transaction("pay_1").to_string();
    let together = Barrier::new(DUPLICATES);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let mut connection = service.connect();
            together.wait();
            connection.post("/v1/decisions", "", &body)
        };
        let asking: Vec<_> = (0..DUPLICATES).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let first = answers.iter().filter(|answer| answer.good()["replayed"] == false);
    assert_eq!(first.count(), 1);
    for answer in &answers {
        assert_eq!(lasting(&answer.body), lasting(&answers[0].body));
    }
    service.kill();
    let decisions = installation.decisions();
    assert_eq!(decisions.len(), 1);
    assert_eq!(feature(&decisions[0], "card.count_1h"), 1.0);
}

#[test]
fn keys_bodies_and_counts() {
    let installation = Installation::new();
    let service = installation.serve();
    let mut connection = service.connect();
    let body = |id: &str, value: u64| {
        let mut body = transaction(id);
        body["amount"]["value"] = json!(value);
        body.to_string()
    };
    let at = |second: u64, id: &str| {
        let mut body = transaction(id);
        body["occurred_at"] = json!(format!("2025-10-20T12:00:{second:02}Z"));
        body.to_string()
    };

    // (what, key, body, status, replayed, recorded count of the card; nothing where no record is written)
    let reordered = {
        let text = body("pay_1", 100);
        format!(r#"{{"amount": {{"currency": "EUR", "value": 100}}, {}"#, &text[1..])
    };
    assert_ne!(reordered, body("pay_1", 100));
    type Step = (&'static str, Option<&'static str>, String, u16, bool, Option<f64>);
    let steps: [Step; 11] = [
        ("the first", None, body("pay_1", 100), 200, false, Some(1.0)),
        ("again", None, body("pay_1", 100), 200, true, None),
        ("the same key said aloud", Some("pay_1"), body("pay_1", 100), 200, true, None),
        ("another body", None, body("pay_1", 101), 422, false, None),
        ("the same transaction under another key", Some("key_2"), body("pay_1", 100), 200, false, Some(1.0)),
        ("that key again", Some("key_2"), body("pay_1", 100), 200, true, None),
        ("that key for another transaction", Some("key_2"), body("pay_2", 100), 422, false, None),
        ("another transaction under a key of its own", Some("key_3"), at(1, "pay_3"), 200, false, Some(2.0)),
        ("its id again, another body, yet another key", Some("key_4"), body("pay_1", 7), 422, false, None),
        ("an id that a key has used, another body", None, body("pay_3", 7), 422, false, None),
        ("and one more", None, at(2, "pay_4"), 200, false, Some(3.0)),
    ];
    let mut counts = Vec::new();
    for (what, key, body, status, replayed, count) in steps {
        let key = key.map_or_else(String::new, |key| format!("Idempotency-Key: {key}\r\n"));
        let answer = connection.post("/v1/decisions", &key, &body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.json()["replayed"], replayed, "{what}");
        } else {
            assert_eq!(answer.problem().0, "idempotency-key-reused", "{what}");
        }
        counts.extend(count.map(|count| (what, count)));
    }
    let by_id = |service: &Service| {
        let found = service.connect().get("/v1/decisions?transaction_id=pay_1").good();
        found["decision_id"].clone()
    };
    let first = by_id(&service);
    service.kill();
    let decisions = installation.decisions();
    assert_eq!(decisions.len(), counts.len());
    for (decision, (what, count)) in decisions.iter().zip(counts) {
        assert_eq!(feature(decision, "card.count_1h"), count, "{what}");
    }
    assert_eq!(decisions[0]["decision_id"], first, "the id finds the first decision");
    assert_eq!(by_id(&installation.serve()), first, "also after a restart");
}

#[test]
fn the_same_json_in_another_order_is_the_same_request() {
    let installation = Installation::new();
    let service = installation.serve();
    let mut connection = service.connect();
    let first = connection.decide(r#"{"transaction_id":"pay_1","occurred_at":"2025-10-20T12:00:00Z","amount":{"value":5,"currency":"EUR"}}"#);
    let again = connection.decide(
        r#" {"amount": {"currency": "EUR", "value": 5}, "occurred_at": "2025-10-20T14:00:00.000+02:00", "transaction_id": "pay_1"} "#,
    );
    assert_eq!((first["replayed"].as_bool(), again["replayed"].as_bool()), (Some(false), Some(true)));
    assert_eq!(first["decision_id"], again["decision_id"]);
}

#[test]
fn a_dry_run_says_what_would_be_decided_and_changes_nothing() {
    let installation = Installation::new();
    let service = installation.serve();
    let mut connection = service.connect();
    connection.decide(&transaction("pay_1").to_string());
    let mut dry = transaction("pay_2");
    dry["mode"] = json!("dry_run");
    let essence = |mut answer: Value| {
        for field in ["decision_id", "replayed", "latency_us", "audit"] {
            answer.as_object_mut().unwrap().remove(field).expect(field);
        }
        answer
    };
    let dry_runs: Vec<Value> = (0..3).map(|_| connection.decide(&dry.to_string())).collect();
    assert!(dry_runs.iter().all(|answer| answer["audit"].is_null() && answer["replayed"] == false));
    let unknown = connection.get("/v1/decisions?transaction_id=pay_2");
    assert_eq!(unknown.status, 404, "a dry run is not recorded: {unknown:?}");
    let live = connection.decide(&transaction("pay_2").to_string());
    assert_eq!(live["replayed"], false, "a dry run does not use up the key");
    let live = essence(live);
    for answer in dry_runs {
        assert_eq!(essence(answer), live);
    }
    service.kill();
    let decisions = installation.decisions();
    assert_eq!(decisions.len(), 2);
    assert_eq!(feature(&decisions[1], "card.count_1h"), 2.0);
}
