//! What happened later reaches the next decision, once.

use serde_json::json;

use crate::tollgate_process::Installation;
use crate::traffic::{feature, transaction};

fn at(second: u64, id: &str) -> String {
    let mut body = transaction(id);
    body["occurred_at"] = json!(format!("2025-10-20T12:00:{second:02}Z"));
    body.to_string()
}

fn label(second: u64, id: &str, label: &str, kind: &str) -> String {
    let occurred_at = format!("2025-10-20T12:00:{second:02}Z");
    json!({"transaction_id": id, "label": label, "kind": kind, "occurred_at": occurred_at}).to_string()
}

#[test]
fn labels_reach_the_next_decision_of_everyone_who_took_part() {
    let installation = Installation::new();
    let service = installation.serve();
    let mut connection = service.connect();
    connection.decide(&at(0, "pay_1"));
    let chargeback = label(10, "pay_1", "fraud", "chargeback");
    // (when, what is posted, known, replayed, frauds that the next decision sees)
    let early = label(15, "after_8", "fraud", "chargeback");
    let steps = [
        ("nothing yet", None, true, false, 0.0),
        ("a chargeback", Some(chargeback.clone()), true, false, 1.0),
        ("the same again", Some(chargeback), true, true, 1.0),
        ("said in another way", Some(label(11, "pay_1", "fraud", "customer_report")), true, false, 1.0),
        ("for nobody known", Some(label(12, "pay_unknown", "fraud", "chargeback")), false, false, 1.0),
        ("a second fraud", Some(label(13, "after_0", "fraud", "early_fraud_warning")), true, false, 2.0),
        ("a good one", Some(label(14, "after_1", "legitimate", "review")), true, false, 2.0),
        ("before its transaction", Some(early.clone()), false, false, 2.0),
        ("the same, still before", Some(early.clone()), false, true, 2.0),
        ("the same when it is known", Some(early), true, false, 3.0),
    ];
    let mut expected = Vec::new();
    for (number, (what, label, known, replayed, frauds)) in steps.into_iter().enumerate() {
        if let Some(label) = label {
            let answer = connection.label(&label);
            assert_eq!(answer["transaction_known"], known, "{what}: {answer}");
            assert_eq!(answer["replayed"], replayed, "{what}: {answer}");
        }
        connection.decide(&at(20 + number as u64, &format!("after_{number}")));
        expected.push((what, frauds));
    }
    service.kill();
    let decisions = installation.decisions();
    for (decision, (what, frauds)) in decisions[1..].iter().zip(expected) {
        for name in ["merchant.fraud_count_7d", "terminal.fraud_count_1d", "card.fraud_count_30d"] {
            assert_eq!(feature(decision, name), frauds, "{name} after {what}");
        }
    }
    let kinds = &installation.verify()["by_kind"];
    assert_eq!((kinds["decision"].as_u64(), kinds["label"].as_u64()), (Some(11), Some(7)));
}
