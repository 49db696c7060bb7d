//! Lists at run time: what is put there decides at once, is in the log before it is answered, and is there after a kill.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::domain::time::{Clock, SystemClock};

use crate::http::Connection;
use crate::reload::Rules;
use crate::tollgate_process::{Installation, PATIENT, Service, wait_until};
use crate::traffic::transaction;

const WRITERS: usize = 4;
/// How many more changes each round waits for before it kills.
const CHANGES_BEFORE_KILL: [usize; 4] = [1, 400, 90, 700];

/// An installation whose list `blocked_cards` has a file with one value.
fn installation(settings: &str) -> (Rules, Installation) {
    let rules = Rules::new();
    std::fs::write(rules.path().join("lists/blocked_cards.txt"), "fp_file\nfp_over,2025-01-01\n").unwrap();
    let installation = Installation::with_settings(&format!("{PATIENT}{settings}")).rules(&rules.path());
    (rules, installation)
}

/// A payment by that card at that moment; its own otherwise.
fn payment(id: &str, card: &str, occurred_at: &str) -> Value {
    let mut body = transaction(id);
    body["occurred_at"] = json!(occurred_at);
    body["customer"]["id"] = json!(format!("c_{id}"));
    body["card"]["fingerprint"] = json!(card);
    body["device"] = json!({"id": format!("d_{id}")});
    body
}

const THEN: &str = "2025-10-20T12:00:00Z";

fn entry(value: &str) -> String {
    format!("/v1/lists/blocked_cards/{value}")
}

#[test]
fn what_is_put_on_a_list_decides_until_it_is_taken_off() {
    let (_rules, installation) = installation("");
    let mut service = installation.serve();
    let mut number = 0;
    let mut reason = |service: &Service, card: &str| {
        number += 1;
        let answer = service.connect().decide(&payment(&format!("pay_{number}"), card, THEN).to_string());
        let is_blocked = answer["reason"] == "card_blocklisted";
        (is_blocked, answer["decision_id"].as_str().unwrap().to_owned())
    };
    let note = r#"{"note": "case 4711"}"#;
    let dated = r#"{"note": "case 4711", "expires": "2999-12-31"}"#;
    let long = format!(r#"{{"note": "{}"}}"#, "x".repeat(513));
    let card_number = entry("4242424242424242");
    let unknown = "/v1/lists/blocked_card/fp_1";
    // Method, path, body, status, where in the answer stands what; the card that is asked about, and whether it is blocked then.
    type Fact<'a> = (&'a str, String, &'a str, u16, &'a str, Value, &'a str, bool);
    let facts: [Fact<'_>; 26] = [
        ("GET", entry("fp_1"), "", 404, "/title", json!("Not found"), "fp_1", false),
        ("PUT", entry("fp_1"), note, 201, "/entry/note", json!("case 4711"), "fp_1", true),
        ("PUT", entry("fp_1"), dated, 200, "/entry/expires", json!("3000-01-01T00:00:00.000Z"), "fp_1", true),
        ("GET", entry("fp_1"), "", 200, "/run_time/by", json!("anybody"), "fp_1", true),
        ("GET", entry("fp_file"), "", 200, "/run_time", json!(null), "fp_file", true),
        ("DELETE", entry("fp_file"), note, 409, "/title", json!("Listed in a file"), "fp_file", true),
        ("DELETE", entry("fp_over"), note, 404, "/title", json!("Not found"), "fp_over", false),
        ("PUT", entry("fp_over"), note, 201, "/before", json!(null), "fp_over", true),
        ("DELETE", entry("fp_over"), note, 200, "/before/note", json!("case 4711"), "fp_over", false),
        ("PUT", entry("FP%2F2%20%C3%B6"), note, 201, "/value", json!("FP/2 ö"), "FP/2 ö", true),
        ("DELETE", entry("fp_1"), "", 422, "/errors/0/pointer", json!("/note"), "fp_1", true),
        ("DELETE", entry("fp_1?note=found"), "", 200, "/entry", json!(null), "fp_1", false),
        ("DELETE", entry("fp_1"), note, 404, "/title", json!("Not found"), "fp_1", false),
        ("PUT", entry("fp_1"), "{}", 422, "/errors/0/pointer", json!("/note"), "fp_1", false),
        ("PUT", entry("fp_1"), r#"{"note": " "}"#, 422, "/errors/0/pointer", json!("/note"), "fp_1", false),
        ("PUT", entry("fp_1"), r#"{"note": 1}"#, 422, "/errors/0/pointer", json!("/note"), "fp_1", false),
        ("PUT", entry("fp_1"), &long, 422, "/errors/0/pointer", json!("/note"), "fp_1", false),
        (
            "PUT",
            entry("fp_1"),
            r#"{"note": "4242 4242 4242 4242"}"#,
            422,
            "/errors/0/pointer",
            json!("/note"),
            "fp_1",
            false,
        ),
        (
            "PUT",
            entry("fp_1"),
            r#"{"note": "n", "expires": "soon"}"#,
            422,
            "/errors/0/pointer",
            json!("/expires"),
            "fp_1",
            false,
        ),
        (
            "PUT",
            entry("fp_1"),
            r#"{"note": "n", "expires": "2025-01-01"}"#,
            422,
            "/errors/0/pointer",
            json!("/expires"),
            "fp_1",
            false,
        ),
        ("PUT", entry("fp_1"), "{", 400, "/title", json!("Not JSON"), "fp_1", false),
        ("PUT", card_number, note, 422, "/errors/0/pointer", json!(""), "fp_1", false),
        ("PUT", entry(&"x".repeat(257)), note, 422, "/errors/0/pointer", json!(""), "fp_1", false),
        ("PUT", entry("a%0Ab"), note, 422, "/errors/0/pointer", json!(""), "fp_1", false),
        (
            "PUT",
            unknown.to_owned(),
            note,
            404,
            "/detail",
            json!("the live policy has no such list; did you mean `blocked_cards`?"),
            "fp_1",
            false,
        ),
        ("PUT", entry("fp_3"), dated, 201, "/entry/value", json!("fp_3"), "fp_3", true),
    ];
    for (method, path, body, status, pointer, value, card, is_blocked) in facts {
        let answer = service.connect_admin().request(method, &path, body);
        assert_eq!(answer.status, status, "{method} {path} {body:.90}: {answer:?}");
        assert_eq!(answer.json().pointer(pointer), Some(&value), "{method} {path}: {answer:?}");
        assert!(!answer.body.contains("4242"), "no card number is repeated: {answer:?}");
        assert_eq!(reason(&service, card).0, is_blocked, "after {method} {path}: {card}");
    }
    let lists = service.admin("/v1/lists").good();
    let of_cards =
        lists["lists"].as_array().unwrap().iter().find(|it| it["list"] == "blocked_cards").unwrap();
    let expected =
        json!({"list": "blocked_cards", "file_entries": 2, "run_time_entries": 2, "in_policy": true});
    assert_eq!((of_cards, &lists["run_time_entries"]), (&expected, &json!(2)));
    for (series, value) in [
        (r#"tollgate_list_entries{list="blocked_cards",source="file"}"#, 2.0),
        (r#"tollgate_list_entries{list="blocked_cards",source="run_time"}"#, 2.0),
        (r#"tollgate_list_changes_total{change="add"}"#, 5.0),
        (r#"tollgate_list_changes_total{change="remove"}"#, 2.0),
    ] {
        assert_eq!(service.metric(series), value, "{series}");
    }

    // A dry run sees it, and leaves nothing behind.
    let mut dry = payment("dry", "fp_3", THEN);
    dry["mode"] = json!("dry_run");
    assert_eq!(service.connect().decide(&dry.to_string())["reason"], "card_blocklisted");

    // After a kill, it is as it was; and a decision says what it found.
    let (_, before) = reason(&service, "fp_3");
    service.kill();
    service = installation.serve();
    assert_eq!(service.admin("/v1/lists").good(), lists);
    let (is_blocked, after) = reason(&service, "fp_3");
    assert!(is_blocked && !reason(&service, "fp_1").0);
    for id in [before, after] {
        let found = service.connect().get(&format!("/v1/decisions/{id}")).good();
        assert_eq!(found["listed"], json!([{"list": "blocked_cards", "value": "fp_3"}]));
        let hit = json!({"rule": "blocked-card", "values": {"card.fingerprint": "fp_3"}});
        assert!(found["hits"].as_array().unwrap().contains(&hit), "{found:#}");
        assert!(found["policy"].as_str().unwrap().starts_with("sha256:"));
    }
    service.kill();
    let records = installation.records();
    let changes: Vec<&Value> = records.iter().filter(|record| record["kind"] == "list_change").collect();
    assert_eq!(changes.len(), 7);
    assert!(changes.iter().all(|it| it["body"]["by"] == "anybody" && it["body"]["list"] == "blocked_cards"));
    assert_eq!(changes[1]["body"]["until"], "3000-01-01T00:00:00.000Z");
    assert_eq!(
        changes[5]["body"],
        json!({"change": "remove", "list": "blocked_cards", "value": "fp_1", "note": "found", "by": "anybody"})
    );
    let decisions = records.iter().filter(|record| record["kind"] == "decision").map(|it| &it["body"]);
    for decision in decisions {
        let card = &decision["transaction"]["card"]["fingerprint"];
        let is_at_run_time = decision["reason"] == "card_blocklisted" && card != "fp_file";
        assert_eq!(decision.get("listed").is_some(), is_at_run_time, "{decision}");
    }
    installation.verify();
}

#[test]
fn an_entry_ends_by_the_time_of_the_payment() {
    let (_rules, installation) = installation("");
    let service = installation.serve();
    let until = SystemClock.now().plus(Duration::from_secs(60));
    let body = json!({"note": "for a minute", "expires": until.to_string()}).to_string();
    let put = service.connect_admin().request("PUT", &entry("fp_1"), &body);
    assert_eq!(put.json()["entry"]["expires"], until.to_string());
    let ms = Duration::from_millis(1);
    for (number, (at, is_blocked)) in
        [(until.minus(ms), true), (until, false), (until.plus(ms), false), (until.minus(ms), true)]
            .iter()
            .enumerate()
    {
        let body = payment(&format!("pay_{number}"), "fp_1", &at.to_string());
        let answer = service.connect().decide(&body.to_string());
        assert_eq!(answer["reason"] == "card_blocklisted", *is_blocked, "{at}: {answer}");
    }
}

#[test]
fn a_list_without_a_file_waits_for_one() {
    let (rules, installation) = installation("");
    let service = installation.serve();
    let (file, policy) = (rules.path().join("lists/seen.txt"), service.policy()["policy"].clone());
    std::fs::write(&file, "").unwrap();
    wait_until("a list", || (service.policy()["policy"] != policy).then_some(()));
    let mut admin = service.connect_admin();
    for number in 0..25 {
        assert_eq!(
            admin.request("PUT", &format!("/v1/lists/seen/v{number:02}"), r#"{"note": "n"}"#).status,
            201
        );
    }
    // Page after page.
    let (mut after, mut values) = (String::new(), Vec::new());
    loop {
        let page = admin.get(&format!("/v1/lists/seen?limit=10{after}")).good();
        values.extend(
            page["entries"].as_array().unwrap().iter().map(|it| it["value"].as_str().unwrap().to_owned()),
        );
        assert_eq!(page["total"], 25);
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(values, (0..25).map(|number| format!("v{number:02}")).collect::<Vec<_>>());

    let policy = service.policy()["policy"].clone();
    std::fs::remove_file(&file).unwrap();
    wait_until("no list", || (service.policy()["policy"] != policy).then_some(()));
    assert_eq!(admin.get("/v1/lists/seen").status, 404);
    let lists = admin.get("/v1/lists").good();
    let seen = lists["lists"].as_array().unwrap().iter().find(|it| it["list"] == "seen").unwrap().clone();
    assert_eq!((&seen["in_policy"], &seen["run_time_entries"]), (&json!(false), &json!(25)));
    std::fs::write(&file, "").unwrap();
    wait_until("a list", || (admin.get("/v1/lists/seen/v07").status == 200).then_some(()));
}

/// What stands on the list, as the service says: the sequence of the record of each value.
fn standing(service: &Service) -> BTreeMap<String, u64> {
    let (mut admin, mut after, mut standing) = (service.connect_admin(), String::new(), BTreeMap::new());
    loop {
        let page = admin.get(&format!("/v1/lists/blocked_cards?limit=1000{after}")).good();
        for entry in page["entries"].as_array().unwrap() {
            standing.insert(entry["value"].as_str().unwrap().to_owned(), entry["sequence"].as_u64().unwrap());
        }
        let Some(next) = page["next"].as_str() else { return standing };
        after = format!("&after={next}");
    }
}

/// The same, as the log says.
fn recorded(records: &[Value]) -> BTreeMap<String, u64> {
    let mut standing = BTreeMap::new();
    for record in records.iter().filter(|record| record["kind"] == "list_change") {
        let value = record["body"]["value"].as_str().unwrap().to_owned();
        match record["body"]["change"].as_str().unwrap() {
            "add" => standing.insert(value, record["sequence"].as_u64().unwrap()),
            _ => standing.remove(&value),
        };
    }
    standing
}

/// Several clients put values on a list and take them off, while payments are decided; then the service is killed.
fn killed_under_changes(settings: &str) {
    let (_rules, installation) = installation(settings);
    let (count, pay) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let acknowledged: Mutex<BTreeMap<u64, (String, bool)>> = Mutex::default();
    for changes in CHANGES_BEFORE_KILL {
        let service = installation.serve();
        let expected = recorded(&installation.records());
        assert_eq!(standing(&service), expected, "as the log says");
        let (admin, decision) = (service.admin, service.decision);
        let enough = acknowledged.lock().unwrap().len() + changes;
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    let Ok(mut connection) = Connection::try_open(admin) else { return };
                    loop {
                        let number = count.fetch_add(1, Ordering::Relaxed);
                        // The writers meet at the same values.
                        let value = format!("fp_{}", number * 7 % 40);
                        let is_add = number % 3 > 0;
                        let method = if is_add { "PUT" } else { "DELETE" };
                        let Ok(answer) = connection.try_request(method, &entry(&value), r#"{"note": "n"}"#)
                        else {
                            return;
                        };
                        match answer.status {
                            200 | 201 => {}
                            404 if !is_add => continue,
                            _ => panic!("{answer:?}"),
                        }
                        let sequence = answer.json()["audit"]["sequence"].as_u64().unwrap();
                        acknowledged.lock().unwrap().insert(sequence, (value, is_add));
                    }
                });
            }
            scope.spawn(|| {
                let Ok(mut connection) = Connection::try_open(decision) else { return };
                loop {
                    let number = pay.fetch_add(1, Ordering::Relaxed);
                    let body = payment(&format!("pay_{number}"), &format!("fp_{}", number % 40), THEN);
                    if connection.try_post("/v1/decisions", "", &body.to_string()).is_err() {
                        return;
                    }
                }
            });
            wait_until("changes under load", || (acknowledged.lock().unwrap().len() >= enough).then_some(()));
            service.kill();
        });
    }
    let service = installation.serve();
    let records = installation.records();
    assert_eq!(standing(&service), recorded(&records), "as the log says");
    let of = |sequence: u64| &records[usize::try_from(sequence).unwrap() - 1];
    for (sequence, (value, is_add)) in &*acknowledged.lock().unwrap() {
        let record = of(*sequence);
        assert_eq!((&record["kind"], &record["body"]["value"]), (&json!("list_change"), &json!(value)));
        assert_eq!(record["body"]["change"] == "add", *is_add);
    }
    // What a decision named had been put there by a record before it, or by one that was on its way with it.
    let named = records.iter().filter(|record| record["body"]["listed"].is_array());
    assert!(named.count() > 20, "lists took part");
    service.kill();
    installation.verify();
}

#[test]
fn every_answered_change_is_there_after_a_kill_that_left_only_the_log() {
    killed_under_changes("[state]\nsnapshot_interval_s = 0\n");
}

#[test]
fn every_answered_change_is_there_after_a_kill_between_snapshots() {
    killed_under_changes("[state]\nsnapshot_interval_s = 1\n");
}
