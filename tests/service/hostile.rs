//! Nonsense gets a clear answer from the real program, and the next request is served.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::domain::time::{Clock as _, SystemClock};

use crate::http::{Answer, Connection, post};
use crate::tollgate_process::{Installation, PATIENT, Service};
use crate::traffic::transaction;

const CARD_NUMBER: &str = "4242424242424242";

fn with(pointer: &str, value: Value) -> String {
    let mut body = transaction("pay_1");
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    parent.insert(field.to_owned(), value);
    body.to_string()
}

/// Sends what may be refused before its end, on a connection of its own.
fn ask(service: &Service, headers: &str, body: &str) -> Answer {
    let mut connection = service.connect();
    let _ = connection.send(&post("/v1/decisions", headers, body));
    connection.answer().unwrap_or_else(|error| panic!("{error}: no answer to {body:.100}"))
}

#[test]
fn nonsense_is_refused_with_what_is_wrong_and_where() {
    let installation = Installation::new();
    let service = installation.serve();
    let far = SystemClock.now().plus(Duration::from_secs(3_600)).to_string();
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    let inside = with("/metadata", json!(0)).replace("\"metadata\":0", &format!("\"metadata\":{nested}"));
    let everything = json!({
        "transaction_id": "", "occurred_at": "yesterday", "amount": {"value": -1, "currency": "EURO"},
        "customer": {"id": 7}, "card": {"exp_month": 13}, "location": {"latitude": 91, "longitude": 0},
    });
    let all = [
        "/transaction_id",
        "/occurred_at",
        "/amount/value",
        "/amount/currency",
        "/customer/id",
        "/card/exp_month",
        "/location/latitude",
    ];
    let missing = ["/transaction_id", "/occurred_at", "/amount"];
    let cases: Vec<(&str, String, u16, &str, &[&str])> = vec![
        ("not JSON", "transaction_id=pay_1".to_owned(), 400, "not-json", &[]),
        ("nothing", String::new(), 400, "not-json", &[]),
        ("half", transaction("pay_1").to_string()[..50].to_owned(), 400, "not-json", &[]),
        ("10,000 nested arrays", nested, 400, "not-json", &[]),
        ("10,000 nested arrays inside", inside, 400, "not-json", &[]),
        ("1 MB", with("/metadata", json!({"note": "x".repeat(1 << 20)})), 413, "too-large", &[]),
        ("1 MB of nothing", " ".repeat(1 << 20), 413, "too-large", &[]),
        ("an empty object", "{}".to_owned(), 422, "invalid-fields", &missing),
        (
            "an amount in words",
            with("/amount/value", json!("12999")),
            422,
            "invalid-fields",
            &["/amount/value"],
        ),
        ("half a cent", with("/amount/value", json!(129.5)), 422, "invalid-fields", &["/amount/value"]),
        ("a negative amount", with("/amount/value", json!(-1)), 422, "invalid-fields", &["/amount/value"]),
        (
            "an unknown currency",
            with("/amount/currency", json!("XQQ")),
            422,
            "invalid-fields",
            &["/amount/currency"],
        ),
        ("the far future", with("/occurred_at", json!(far)), 422, "invalid-fields", &["/occurred_at"]),
        (
            "no offset",
            with("/occurred_at", json!("2025-10-20T12:00:00")),
            422,
            "invalid-fields",
            &["/occurred_at"],
        ),
        ("no address", with("/device/ip", json!("203.0.113.256")), 422, "invalid-fields", &["/device/ip"]),
        ("all at once", everything.to_string(), 422, "invalid-fields", &all),
        (
            "a card number as fingerprint",
            with("/card/fingerprint", json!(CARD_NUMBER)),
            422,
            "invalid-fields",
            &["/card/fingerprint"],
        ),
        (
            "a card number in a note",
            with("/metadata", json!({"note": format!("card {CARD_NUMBER} declined")})),
            422,
            "invalid-fields",
            &["/metadata/note"],
        ),
        (
            "a card number as id",
            with("/transaction_id", json!(CARD_NUMBER)),
            422,
            "invalid-fields",
            &["/transaction_id"],
        ),
    ];
    for (what, body, status, problem, pointers) in cases {
        let answer = ask(&service, "", &body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let (said, mut at) = answer.problem();
        let mut pointers = pointers.to_vec();
        at.sort_unstable();
        pointers.sort_unstable();
        assert_eq!(
            (said.as_str(), at.iter().map(String::as_str).collect::<Vec<_>>()),
            (problem, pointers),
            "{what}"
        );
        assert!(!answer.body.contains(CARD_NUMBER), "{what}: {answer:?}");
    }
    for (what, header, pointer) in [
        ("no deadline", "X-Deadline-Ms: 0\r\n", "X-Deadline-Ms"),
        ("a long deadline", "X-Deadline-Ms: 10001\r\n", "X-Deadline-Ms"),
        ("a deadline in words", "X-Deadline-Ms: soon\r\n", "X-Deadline-Ms"),
        ("a long key", &format!("Idempotency-Key: {}\r\n", "k".repeat(1_000)), "Idempotency-Key"),
    ] {
        let answer = ask(&service, header, &transaction("pay_1").to_string());
        assert_eq!(
            (answer.status, answer.problem().0.as_str()),
            (422, "invalid-fields"),
            "{what}: {answer:?}"
        );
        assert!(answer.body.contains(pointer), "{what}: {answer:?}");
    }
    let good = service.connect().decide(&transaction("pay_1").to_string());
    assert_eq!(good["replayed"], false, "nothing of all that was decided");
    service.kill();
    assert_eq!(installation.decisions().len(), 1);
    let log: String = installation.records().iter().map(Value::to_string).collect();
    assert!(!log.contains(CARD_NUMBER), "no card number is recorded");
}

#[test]
fn slow_clients_are_cut_off_and_hold_nobody_up() {
    let settings = format!("{PATIENT}\n[server]\nheader_timeout_ms = 300\nbody_timeout_ms = 300\n");
    let installation = Installation::with_settings(&settings);
    let service = installation.serve();
    let body = transaction("slow").to_string();
    let whole = post("/v1/decisions", "", &body);
    let head_length = whole.len() - body.len();
    let mut in_head: Vec<Connection> = (0..20).map(|_| service.connect()).collect();
    let mut in_body: Vec<Connection> = (0..20).map(|_| service.connect()).collect();
    for (slow, length) in [(&mut in_head, head_length / 2), (&mut in_body, head_length + 10)] {
        slow.iter_mut().for_each(|connection| connection.send(&whole[..length]).unwrap());
    }
    let decided = service.connect().decide(&transaction("quick").to_string());
    assert_eq!(decided["transaction_id"], "quick");
    for mut connection in in_head {
        let answer = connection.answer();
        assert!(
            answer.as_ref().map_or(true, |answer| answer.status == 408),
            "cut off, or told why: {answer:?}"
        );
    }
    for mut connection in in_body {
        let answer = connection.answer().expect("an answer");
        assert_eq!((answer.status, answer.problem().0.as_str()), (408, "body-too-slow"), "{answer:?}");
    }
    service.connect().decide(&transaction("later").to_string());
}
