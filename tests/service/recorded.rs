//! Whatever changes something leaves a record that says who and why: each operation of both ports, from the list that they publish.

use serde_json::{Value, json};

use crate::reload::{Rules, own_rule};
use crate::tollgate_process::{Installation, PATIENT, Service, root};
use crate::traffic::transaction;

const NAME: &str = "alice";
const KEY: &str = "a-key-of-alice-0123456789";
/// The files are watched, too: how often the test asks for a reload until it was the first.
const RELOADS_MAX: usize = 50;

/// What a record must say of who and why: where in the body, and what.
type Said = &'static [(&'static str, &'static str)];

/// An operation by its id: what is sent, and the record that it leaves; none if it changes nothing.
struct Operation {
    id: &'static str,
    path: &'static str,
    body: String,
    leaves: Option<(&'static str, Said)>,
}

fn operations() -> Vec<Operation> {
    let entry = "/v1/lists/blocked_cards/fp_1";
    let candidate = json!({"files": {"own.yaml": own_rule("checked")}}).to_string();
    let label = json!({"transaction_id": "pay_1", "label": "fraud", "kind": "chargeback", "occurred_at": "2025-11-20T12:00:00Z"});
    let operation = |id, path, body: String, leaves| Operation { id, path, body, leaves };
    vec![
        operation(
            "decide",
            "/v1/decisions",
            transaction("pay_1").to_string(),
            Some(("decision", &[("/transaction_id", "pay_1")])),
        ),
        operation(
            "decideBatch",
            "/v1/decisions/batch",
            transaction("pay_2").to_string(),
            Some(("decision", &[("/transaction_id", "pay_2")])),
        ),
        operation(
            "label",
            "/v1/labels",
            label.to_string(),
            Some(("label", &[("/label/kind", "chargeback")])),
        ),
        operation(
            "putOnList",
            entry,
            json!({"note": "case 1"}).to_string(),
            Some(("list_change", &[("/by", NAME), ("/note", "case 1")])),
        ),
        operation(
            "takeOffList",
            entry,
            json!({"note": "case 2"}).to_string(),
            Some(("list_change", &[("/by", NAME), ("/note", "case 2")])),
        ),
        operation(
            "review",
            "/v1/reviews/{decision_id}",
            json!({"verdict": "legitimate", "note": "case 3"}).to_string(),
            Some(("review", &[("/by", NAME), ("/note", "case 3")])),
        ),
        operation(
            "reloadPolicy",
            "/v1/policy/reload",
            String::new(),
            Some(("policy_change", &[("/by", NAME), ("/cause", "api")])),
        ),
        operation(
            "erase",
            "/v1/audit/erasures",
            json!({"customer": "c_7", "note": "case 4"}).to_string(),
            Some(("erasure", &[("/by", NAME), ("/note", "case 4")])),
        ),
        operation("signCheckpoint", "/v1/audit/checkpoint", String::new(), Some(("checkpoint", &[]))),
        operation("checkRules", "/v1/rules/check", candidate.clone(), None),
        operation("backtestRules", "/v1/rules/backtest", candidate, None),
    ]
}

/// Ids and methods of the published operations that are not just read.
fn published() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("src/http/openapi.json")).unwrap();
    let openapi: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    for methods in openapi["paths"].as_object().unwrap().values() {
        for (method, operation) in methods.as_object().unwrap() {
            if ["post", "put", "patch", "delete"].contains(&&**method) {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                found.push((id, method.to_uppercase()));
            }
        }
    }
    found
}

/// The id of the first decision.
fn decision_id(records: &[Value]) -> String {
    let found = records.iter().find(|record| record["kind"] == "decision");
    found.map_or_else(String::new, |record| record["body"]["decision_id"].as_str().unwrap().to_owned())
}

fn send(service: &Service, method: &str, operation: &Operation, decision_id: &str) {
    let is_admin = !["decide", "decideBatch", "label"].contains(&operation.id);
    let mut connection = if is_admin { service.connect_admin() } else { service.connect() };
    let kind = if operation.id == "decideBatch" { "application/x-ndjson" } else { "application/json" };
    let (path, body) = (operation.path.replace("{decision_id}", decision_id), &operation.body);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: tollgate\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
    );
    let request = format!("{head}Authorization: Bearer {KEY}\r\n\r\n{body}");
    connection.send(request.as_bytes()).unwrap();
    let answer = connection.answer().unwrap();
    assert!((200..300).contains(&answer.status), "{}: {} {}", operation.id, answer.status, answer.body);
}

fn leaves(record: &Value, kind: &str, said: Said) -> bool {
    record["kind"] == kind
        && said.iter().all(|(pointer, text)| record["body"].pointer(pointer).is_some_and(|it| it == text))
}

#[test]
fn every_operation_that_changes_something_leaves_a_record_of_who_and_why() {
    let rules = Rules::new();
    std::fs::write(rules.path().join("lists/blocked_cards.txt"), "").unwrap();
    rules.write(&own_rule("before"));
    let settings =
        format!("{PATIENT}[auth]\ndecision_keys = [\"{NAME}:{KEY}\"]\nadmin_keys = [\"{NAME}:{KEY}\"]\n");
    let installation = Installation::with_settings(&settings).rules(&rules.path());
    let service = installation.serve();
    let operations = operations();
    let published = published();
    for (id, _) in &published {
        assert!(
            operations.iter().any(|known| known.id == id),
            "say in `operations` what {id} leaves in the log"
        );
    }
    for operation in &operations {
        let Some((_, method)) = published.iter().find(|(id, _)| id == operation.id) else {
            panic!("{} is not published", operation.id)
        };
        let known = installation.records();
        let (before, first) = (known.len(), decision_id(&known));
        let new = |before: usize| installation.records().split_off(before);
        let records = if operation.id == "reloadPolicy" {
            (0..RELOADS_MAX)
                .find_map(|turn| {
                    rules.write(&own_rule(&format!("reason_{turn}")));
                    send(&service, method, operation, &first);
                    let records = new(before);
                    records.iter().any(|it| it["body"]["by"] == NAME).then_some(records)
                })
                .expect("the watch is not always first")
        } else {
            send(&service, method, operation, &first);
            new(before)
        };
        match operation.leaves {
            Some((kind, said)) => {
                let found = records.iter().filter(|record| leaves(record, kind, said)).count();
                assert_eq!(found, 1, "{}: {records:#?}", operation.id);
            }
            None => assert!(records.is_empty(), "{}: {records:#?}", operation.id),
        }
    }
}
