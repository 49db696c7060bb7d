//! A disk that is full, for the real program: a limit on the length of its files, which the kernel enforces as it does the end of a disk. What is answered
//! is what config says and says so; what says that it is recorded is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::reload::{Rules, own_rule};
use crate::tollgate_process::{Installation, PATIENT, Service, wait_until};
use crate::traffic::transaction;

/// Room for so many more bytes of log: a few records, and a part of one.
const ROOM_BYTES: u64 = 20_000;
const PAYMENTS: usize = 40;

fn log_bytes(installation: &Installation) -> u64 {
    let log = std::fs::read_dir(installation.data().join("log")).unwrap().map(|entry| entry.unwrap().path());
    log.filter(|path| path.extension().is_some_and(|it| it == "log"))
        .map(|path| path.metadata().unwrap().len())
        .max()
        .unwrap()
}

fn is_ready(service: &Service) -> bool {
    service.admin("/readyz").status == 200
}

fn full_disk(policy: &str, ack: &str) {
    let rules = Rules::new();
    rules.write(&own_rule("before"));
    let settings = format!("{PATIENT}on_audit_failure = \"{policy}\"\n[audit]\nack = \"{ack}\"\n");
    let installation = Installation::with_settings(&settings).rules(&rules.path());
    let service = installation.serve();
    let mut connection = service.connect();
    connection.decide(&transaction("pay_before").to_string());
    assert!(
        service.limit_files(Some(log_bytes(&installation) + ROOM_BYTES)),
        "prlimit (util-linux) is needed"
    );

    let (mut recorded, mut not_recorded) = (BTreeSet::from(["pay_before".to_owned()]), BTreeSet::new());
    for number in 0..PAYMENTS {
        let id = format!("pay_{number}");
        let answer = connection.post("/v1/decisions", "", &transaction(&id).to_string());
        let body = answer.json();
        if answer.status == 200 && body["audit"].is_object() {
            assert_eq!(body["missing"].as_array().unwrap().iter().filter(|it| *it == "audit").count(), 0);
            recorded.insert(id);
            continue;
        }
        match policy {
            "refuse" => {
                assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{body}");
                assert!(body["decision"].is_null(), "{body}");
            }
            _ => {
                assert_eq!((answer.status, &body["degraded"]), (200, &json!(true)), "{body}");
                assert_eq!(body["audit"], Value::Null, "{body}");
                assert!(body["missing"].as_array().unwrap().contains(&json!("audit")), "{body}");
                let decision = body["decision"].as_str().unwrap();
                if body["reason"] == "audit_unavailable" {
                    assert_eq!(decision, policy.to_uppercase(), "{body}");
                }
            }
        }
        not_recorded.insert(id);
    }
    assert!(recorded.len() > 1 && not_recorded.len() > 1, "{} and {}", recorded.len(), not_recorded.len());
    assert!(!is_ready(&service));
    assert!(service.metric("tollgate_audit_failures_total") >= not_recorded.len() as f64);
    // Nothing else changes unrecorded either: no label, no list, no policy.
    let label = json!({"transaction_id": "pay_before", "label": "fraud", "kind": "chargeback", "occurred_at": "2025-11-20T12:00:00Z"});
    let label = service.connect().post("/v1/labels", "", &label.to_string());
    assert_eq!(label.status, 503, "{}", label.body);
    let mut admin = service.connect_admin();
    let listed = admin.request("PUT", "/v1/lists/blocked_cards/fp_1", r#"{"note": "full"}"#);
    assert_eq!(listed.status, 503, "{}", listed.body);
    assert_eq!(admin.get("/v1/lists/blocked_cards/fp_1").status, 404);
    let live = service.policy()["policy"].clone();
    rules.write(&own_rule("after"));
    let refused = wait_until("a refusal", || {
        let status = service.policy();
        status["refused"]["errors"][0].as_str().map(str::to_owned)
    });
    assert!(refused.contains("cannot be recorded"), "{refused}");
    assert_eq!(service.policy()["policy"], live);

    assert!(service.limit_files(None));
    wait_until("room", || is_ready(&service).then_some(()));
    for id in &not_recorded {
        let answer = connection.decide(&transaction(id).to_string());
        assert_eq!((&answer["replayed"], answer["audit"].is_object()), (&json!(false), true), "{answer}");
    }
    assert_eq!(admin.request("POST", "/v1/policy/reload", "").status, 200);
    assert_ne!(service.policy()["policy"], live);
    service.kill();

    installation.verify();
    let mut times: Vec<String> = installation
        .decisions()
        .iter()
        .map(|decision| decision["transaction_id"].as_str().unwrap().to_owned())
        .collect();
    times.sort_unstable();
    let all: Vec<String> = recorded.union(&not_recorded).cloned().collect();
    assert_eq!(times, all, "each once, and nothing that was refused before it was sent again");
}

#[test]
fn a_full_disk_refuses() {
    full_disk("refuse", "process");
}

#[test]
fn a_full_disk_approves_and_says_so() {
    full_disk("approve", "disk");
}

#[test]
fn a_full_disk_reviews_and_says_so() {
    full_disk("review", "process");
}
