//! Bodies with a sealed part: what stands in clear, what does not, and that bodies once written are read for ever.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::audit::frame::Header;
use crate::audit::receipt::{Position, RecordHash};
use crate::domain::label::{Label, LabelKind, Verdict};
use crate::domain::text::TransactionId;
use crate::domain::time::EventTime;
use crate::privacy::entry::{ENTRY_BYTES, Entry, SubjectKey, header};
use crate::privacy::subject::Tag;
use crate::wire;

const LOG: LogId = LogId([3; 16]);
const KEY: [u8; 32] = [5; 32];
/// Texts that say who somebody is or what they did, all of them in the decision below.
const PERSONAL: [&str; 17] = [
    "cus_alice",
    "mail_hash_1",
    "fp_alice",
    "411111",
    "dev_alice",
    "203.0.113.9",
    "Mozilla",
    "90210",
    "sess_alice",
    "order note",
    "known_text",
    "AS64500",
    "feature_text",
    "hit_text",
    "listed_value",
    "key_alice",
    "message about alice",
];

/// A schema-1 body with everything that a decision can have.
fn full() -> DecisionRecord {
    let body = json!({
        "decision_id": "dec_01JXXXXXXXXXXXXXXXXXXXXXXX", "transaction_id": "pay_1", "decision": "BLOCK", "reason": "too_dear",
        "reasons": [
            {"code": "too_dear", "source": "rule", "rule": "dear", "message": "message about alice: 120.50"},
            {"code": "card.count_5m", "source": "model", "value": 6.0, "contribution": 0.75},
            {"code": "enrich", "source": "degraded"}],
        "score": 0.005220126, "risk_level": "high", "challenge": null, "degraded": true, "missing": ["enrich"],
        "versions": {"rules": "sha256:00", "model": "sha256:01", "features": "sha256:02"},
        "idempotency_key": "key_alice", "fingerprint": "000102030405060708090a0b0c0d0e0f",
        "received_at_ms": 1_792_497_600_123_i64, "repeat": true, "state_sequence": 41,
        "transaction": {"transaction_id": "pay_1", "occurred_at": "2026-10-20T12:00:00.000Z",
            "amount": {"value": 12050, "currency": "EUR"}, "channel": "ecommerce",
            "customer": {"id": "cus_alice", "email_hash": "mail_hash_1", "account_created_at": "2020-01-01T00:00:00.000Z"},
            "card": {"fingerprint": "fp_alice", "bin": "411111", "last4": "1111"},
            "merchant": {"id": "m_1", "mcc": "5732", "country": "DE"}, "terminal": {"id": "t_1"},
            "device": {"id": "dev_alice", "ip": "203.0.113.9", "user_agent": "Mozilla/5.0"},
            "location": {"latitude": 52.5, "longitude": 13.25},
            "billing": {"country": "US", "postal_code": "90210"}, "session": {"id": "sess_alice"},
            "metadata": {"note": "order note"}},
        "ip": {"kind": "public", "as_org": "AS64500 Example"},
        "enrichment": [{"known": 7}, "absent", "timed_out", {"known": "known_text"}],
        "features": [1.5, null, 120.5], "feature_texts": [[3, "feature_text"]],
        "margin": -5.25, "contributions": [[0, 0.1]], "bias": -3.5,
        "hits": [{"rule": "dear", "values": {"amount": 120.5, "device": "hit_text"}}, {"rule": "watch", "shadow": true}],
        "hits_left_out": 2, "listed": [{"list": "watched", "value": "listed_value"}], "policy": "sha256:03",
        "latency_us": {"total": 900, "parse": 10, "enrich": 1, "windows": 2, "model": 3, "explain": 4, "rules": 5, "audit": 0},
    });
    // By way of a text: raw JSON is not read from values.
    serde_json::from_str(&body.to_string()).unwrap()
}

fn transaction_of(record: &DecisionRecord) -> Transaction {
    record.transaction().unwrap()
}

fn sealing(key: u64) -> Sealing {
    Sealing { key: SealingKey { number: key, key: SubjectKey(KEY) }, log: LOG }
}

/// A file of keys in which number 1 is that key, 2 is erased, and there is no 3.
fn keys(directory: &Path) -> Bodies {
    let path = directory.join("subjects");
    let live = Entry::Live { tag: Tag([1; 16]), key: SubjectKey(KEY) };
    let bytes = [header(LOG.0), live.encode(1), Entry::Erased.encode(2)].concat();
    assert_eq!(bytes.len(), 3 * ENTRY_BYTES);
    std::fs::write(&path, bytes).unwrap();
    Bodies::new(KeyFile::open(&path).unwrap())
}

fn stored(kind: Kind, body: &Body) -> Record<'_> {
    let header = Header {
        schema: body.schema,
        kind,
        sequence: 1,
        recorded_at: EventTime::EPOCH,
        previous_hash: RecordHash([0; 32]),
    };
    let position = Position { segment: 1, offset: 0 };
    Record { header, body: &body.bytes, hash: RecordHash([0; 32]), position }
}

fn text(body: &Body) -> &str {
    std::str::from_utf8(&body.bytes).unwrap()
}

fn as_value(record: &impl Serialize) -> Value {
    serde_json::from_slice(&record::encode(record).unwrap()).unwrap()
}

#[test]
fn a_sealed_decision_opens_to_what_it_was_and_shows_nothing_personal() {
    let directory = tempfile::tempdir().unwrap();
    let (bodies, record) = (keys(directory.path()), full());
    let transaction = transaction_of(&record);
    let open = decision_body(&record, &transaction, None).unwrap();
    assert_eq!(open.schema, 1);
    assert_eq!(open.bytes, record::encode(&record).unwrap());
    let sealed = decision_body(&record, &transaction, Some(&sealing(1))).unwrap();
    assert_eq!(sealed.schema, 3);
    for personal in PERSONAL {
        assert!(text(&open).contains(personal), "{personal} is not in the example");
        assert!(!text(&sealed).contains(personal), "{personal} stands in clear: {}", text(&sealed));
    }
    for number in ["120.5", "5.25", "0.75", "13.25", "2020-01-01"] {
        assert!(text(&open).contains(number) && !text(&sealed).contains(number), "{number}");
    }
    let opened = bodies.decision(&stored(Kind::Decision, &sealed)).unwrap().whole().unwrap();
    assert_eq!(record::encode(&opened).unwrap(), record::encode(&record).unwrap());
    assert_eq!(bodies.json(&stored(Kind::Decision, &sealed)).unwrap(), as_value(&record));
    assert_eq!(sealed_with(&stored(Kind::Decision, &sealed)), Some(1));
}

#[test]
fn what_is_left_of_an_erased_decision_is_what_counting_needs() {
    let directory = tempfile::tempdir().unwrap();
    let (bodies, record) = (keys(directory.path()), full());
    for (key, why, name) in [(2, Unreadable::Erased, "erased"), (3, Unreadable::KeyLost, "key_lost")] {
        let body = decision_body(&record, &transaction_of(&record), Some(&sealing(key))).unwrap();
        let stored = stored(Kind::Decision, &body);
        let (left, found) = bodies.decision(&stored).unwrap().or_left();
        assert_eq!(found, Some(why));
        let whole = bodies.decision(&stored).unwrap().whole();
        assert!(matches!(whole, Err(RecordError::Unreadable(found)) if found == why));
        assert_eq!(
            (left.answer.decision, left.answer.score, left.policy, left.hits_left_out),
            (record.answer.decision, record.answer.score, record.policy.clone(), 2)
        );
        let transaction =
            wire::transaction::parse_slice(left.transaction.get().as_bytes()).unwrap().transaction;
        assert_eq!(transaction, decision_body::kept(&transaction_of(&record)));
        let shown = bodies.json(&stored).unwrap();
        assert_eq!(shown["unreadable"], name);
        assert_eq!(shown["sealed"], Value::Null);
        assert_eq!(shown["reasons"][1], json!({"code": "card.count_5m", "source": "model"}));
        assert_eq!(shown["hits"], json!([{"rule": "dear"}, {"rule": "watch", "shadow": true}]));
        assert_eq!(
            shown["transaction"],
            json!({"transaction_id": "pay_1", "occurred_at": "2026-10-20T12:00:00.000Z",
                "amount": {"value": 12050, "currency": "EUR"}, "merchant": {"id": "m_1", "mcc": "5732", "country": "DE"},
                "terminal": {"id": "t_1"}})
        );
    }
}

#[test]
fn a_sealed_part_in_another_record_or_of_another_schema_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let (bodies, record) = (keys(directory.path()), full());
    let body = decision_body(&record, &transaction_of(&record), Some(&sealing(1))).unwrap();
    let other = text(&body).replace("dec_01JXXXXXXXXXXXXXXXXXXXXXXX", "dec_01JXXXXXXXXXXXXXXXXXXXXXXY");
    let moved = Body { schema: 3, bytes: other.into_bytes() };
    assert!(matches!(bodies.decision(&stored(Kind::Decision, &moved)), Err(RecordError::Seal(_))));
    let older = Body { schema: 2, ..body.clone() };
    assert!(matches!(bodies.decision(&stored(Kind::Decision, &older)), Err(RecordError::Json(_))));
    let newer = Body { schema: 4, ..body };
    assert!(matches!(bodies.decision(&stored(Kind::Decision, &newer)), Err(RecordError::Schema(4))));
}

fn label() -> Label {
    Label {
        transaction_id: TransactionId::parse("pay_1").unwrap(),
        verdict: Verdict::Fraud,
        kind: LabelKind::Chargeback,
        occurred_at: EventTime::from_unix_millis(1_792_497_700_000).unwrap(),
        reason_code: None,
    }
}

fn list_change() -> ListChangeRecord {
    ListChangeRecord {
        change: ListChangeKind::Add,
        list: "watched".into(),
        value: "cus_alice".into(),
        until: Some("2027-02-01T00:00:00.000Z".into()),
        note: "alice called".into(),
        by: "ops".into(),
    }
}

#[test]
fn labels_and_changes_of_lists_are_sealed_and_opened_too() {
    let directory = tempfile::tempdir().unwrap();
    let bodies = keys(directory.path());
    let decided = full();
    let transaction = transaction_of(&decided);
    let labelled = LabelRecord::new(&label(), Some(decided.transaction)).unwrap();
    for key in [1, 2] {
        let body = label_body(&labelled, Some(&transaction), Some(&sealing(key))).unwrap();
        assert!(PERSONAL.iter().all(|personal| !text(&body).contains(personal)), "{}", text(&body));
        let (read, why) = bodies.label(&stored(Kind::Label, &body)).unwrap().or_left();
        assert_eq!(read.label().unwrap(), label());
        let found = read.transaction().unwrap().unwrap();
        let expected = if key == 1 { transaction.clone() } else { decision_body::kept(&transaction) };
        assert_eq!((found, why.is_some()), (expected, key == 2));

        let body = list_change_body(list_change(), Some(&sealing(key))).unwrap();
        assert!(!text(&body).contains("alice"), "{}", text(&body));
        let (read, why) = bodies.list_change(&stored(Kind::ListChange, &body)).unwrap().or_left();
        let erased = ListChangeRecord { value: "".into(), note: "".into(), ..list_change() };
        assert_eq!((read, why.is_some()), (if key == 1 { list_change() } else { erased }, key == 2));
    }
    let unknown = LabelRecord::new(&label(), None).unwrap();
    assert_eq!(label_body(&unknown, None, Some(&sealing(1))).unwrap(), open_body(&unknown).unwrap());
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/audit/bodies").join(name)
}

fn review() -> ReviewRecord {
    ReviewRecord {
        decision_id: "dec_01JXXXXXXXXXXXXXXXXXXXXXXX".into(),
        sequence: 7,
        transaction_id: "pay_1".into(),
        verdict: Verdict::Legitimate,
        occurred_at: "2026-10-21T09:00:00.000Z".into(),
        note: "alice called".into(),
        by: "ops".into(),
        analyst: None,
        replaces: None,
    }
}

/// The bodies of every schema as they were written once. A golden file is never changed: a new schema gets new files.
#[test]
fn bodies_once_written_are_read_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (bodies, decided) = (keys(directory.path()), full());
    let transaction = transaction_of(&decided);
    let labelled = LabelRecord::new(&label(), Some(decided.transaction.clone())).unwrap();
    let erasure = ErasureRecord {
        subjects: vec![record::ErasedSubject { kind: "customer".into(), tag: Tag([0xab; 16]) }],
        keys: vec![1, 7],
        note: "asked on 2026-10-21, ticket 12".into(),
        by: "ops".into(),
    };
    if std::env::var_os("TOLLGATE_WRITE_GOLDEN").is_some() {
        let seal = sealing(1);
        for (name, body) in [
            ("decision_v3.json", decision_body(&decided, &transaction, Some(&seal)).unwrap()),
            ("review_v2.json", review_body(&review(), Some(&seal)).unwrap()),
            ("label_v2.json", label_body(&labelled, Some(&transaction), Some(&seal)).unwrap()),
            ("list_change_v2.json", list_change_body(list_change(), Some(&seal)).unwrap()),
            ("decision_v1.json", decision_body(&decided, &transaction, None).unwrap()),
            ("erasure_v1.json", open_body(&erasure).unwrap()),
        ] {
            if !golden(name).exists() {
                std::fs::write(golden(name), body.bytes).unwrap();
            }
        }
    }
    let read = |name: &str, schema| Body { schema, bytes: std::fs::read(golden(name)).unwrap() };
    for (name, schema) in [("decision_v1.json", 1), ("decision_v2.json", 2), ("decision_v3.json", 3)] {
        let body = read(name, schema);
        let found = bodies.decision(&stored(Kind::Decision, &body)).unwrap().whole().unwrap();
        assert_eq!(as_value(&found), as_value(&decided), "{name}");
    }
    let body = read("label_v2.json", 2);
    let found = bodies.label(&stored(Kind::Label, &body)).unwrap().whole().unwrap();
    assert_eq!(as_value(&found), as_value(&labelled));
    let body = read("list_change_v2.json", 2);
    let found = bodies.list_change(&stored(Kind::ListChange, &body)).unwrap().whole().unwrap();
    assert_eq!(found, list_change());
    let body = read("review_v2.json", 2);
    let found = bodies.review(&stored(Kind::Review, &body)).unwrap().whole().unwrap();
    assert_eq!(found, review());
    let body = read("erasure_v1.json", 1);
    assert_eq!(super::erasure(&stored(Kind::Erasure, &body)).unwrap(), erasure);
    assert_eq!(record::encode(&erasure).unwrap(), body.bytes);
}

/// What sealing costs, run with `cargo test --release --lib bodies -- --ignored --nocapture`: microseconds for one decision of a size as
/// in service, written in clear, sealed, and opened again.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn what_sealing_costs() {
    let directory = tempfile::tempdir().unwrap();
    let (bodies, mut record) = (keys(directory.path()), full());
    record.features = (0..110).map(|number| Some(f64::from(number) * 1.37)).collect();
    record.contributions = (0..110).map(|slot| (slot, f32::from(slot) * 0.017)).collect();
    let transaction = transaction_of(&record);
    let us = |what: &str, run: &mut dyn FnMut() -> usize| {
        let rounds = 20_000;
        let mut best = f64::MAX;
        for _ in 0..5 {
            let started = std::time::Instant::now();
            let mut bytes = 0;
            for _ in 0..rounds {
                bytes = std::hint::black_box(run());
            }
            best = best.min(started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
            if bytes == 0 {
                println!("nothing");
            }
        }
        println!("{what}: {best:.2} us");
    };
    let seal = sealing(1);
    let sealed = decision_body(&record, &transaction, Some(&seal)).unwrap();
    let open = decision_body(&record, &transaction, None).unwrap();
    println!("in clear {} bytes, sealed {} bytes", open.bytes.len(), sealed.bytes.len());
    us("encode in clear", &mut || decision_body(&record, &transaction, None).unwrap().bytes.len());
    us("encode and seal", &mut || decision_body(&record, &transaction, Some(&seal)).unwrap().bytes.len());
    us("decode in clear", &mut || {
        bodies.decision(&stored(Kind::Decision, &open)).unwrap().get().features.len()
    });
    us("open and decode", &mut || {
        bodies.decision(&stored(Kind::Decision, &sealed)).unwrap().get().features.len()
    });
}
