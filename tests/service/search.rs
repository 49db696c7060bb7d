//! What was recorded is found: over HTTP while records come in, and on the command line beside the service, without it, and with an
//! index that is gone.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::http::Connection;
use crate::reload::{Rules, own_rule};
use crate::tollgate_process::{Installation, PATIENT, Service, run, wait_until};
use crate::traffic::transaction;

/// Segments of 1 MiB, so that there are several.
fn installation() -> (Rules, Installation) {
    let rules = Rules::new();
    rules.write(&own_rule("own_reason"));
    let installation = Installation::with_settings(&format!("{PATIENT}[audit]\nsegment_mib = 1\n"));
    let installation = installation.rules(&rules.path());
    (rules, installation)
}

/// A payment of one of five customers; every third at the merchant of the test's rule.
fn payment(number: u64) -> String {
    let mut body = transaction(&format!("pay_{number}"));
    body["customer"]["id"] = json!(format!("c_{}", number % 5));
    body["card"]["fingerprint"] = json!(format!("fp_{number}"));
    body["merchant"]["id"] = json!(if number.is_multiple_of(3) { "m_own" } else { "m_1" });
    body["device"] = json!({"id": format!("d_{number}")});
    body.to_string()
}

fn search(connection: &mut Connection, query: &str) -> Value {
    connection.get(&format!("/v1/audit?{query}")).good()
}

fn numbers(page: &Value) -> Vec<u64> {
    let decisions = page["decisions"].as_array().unwrap().iter();
    decisions.map(|it| it["transaction_id"].as_str().unwrap()[4..].parse().unwrap()).collect()
}

/// Waits until all that is in the log can be found.
pub fn indexed(service: &Service) {
    let metric = |name: &str| service.metric(name);
    wait_until("the index", || (metric("tollgate_search_index_lag_records") == 0.0).then_some(()));
}

fn cli(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    let data = installation.data();
    let all =
        ["search", "--json", "--data", data.to_str().unwrap()].into_iter().chain(arguments.iter().copied());
    run("audit", all).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn pages_stay_as_they_are_while_records_come_in() {
    let (_rules, installation) = installation();
    let service = installation.serve();
    let mut connection = service.connect();
    for number in 1..=100 {
        connection.decide(&payment(number));
    }
    indexed(&service);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 100;
            while !is_done.load(Ordering::Acquire) || number < 400 {
                number += 1;
                connection.decide(&payment(number));
            }
        });
        let mut admin = service.connect_admin();
        // The first page is of now; from there on, the pages are those that a log without more records would have.
        let first = search(&mut admin, "customer=c_2&limit=7");
        let newest = numbers(&first)[0];
        let (mut found, mut next) = (numbers(&first), first["next"].clone());
        while let Some(before) = next.as_u64() {
            let page = search(&mut admin, &format!("customer=c_2&limit=7&before={before}"));
            found.extend(numbers(&page));
            next = page["next"].clone();
        }
        let expected: Vec<u64> = (1..=newest).rev().filter(|number| number % 5 == 2).collect();
        is_done.store(true, Ordering::Release);
        writer.join().unwrap();
        assert_eq!(found, expected);
    });
    indexed(&service);
    let mut admin = service.connect_admin();
    let own = search(&mut admin, "merchant=m_own&outcome=BLOCK&rule=own-rule&limit=200");
    assert!(numbers(&own).len() > 100 && numbers(&own).iter().all(|number| number % 3 == 0), "{own}");
    let by_rule = search(&mut admin, "rule=own-rule&reason=own_reason&limit=200");
    assert_eq!(numbers(&by_rule), numbers(&own));
    assert_eq!(numbers(&search(&mut admin, "device=d_17&degraded=false")), [17]);
    assert_eq!(numbers(&search(&mut admin, "customer=c_0&merchant=m_own&before=40&from=1h")).len(), 2);
    assert_eq!(numbers(&search(&mut admin, "until=1h")), [0_u64; 0]);

    let decision = &search(&mut admin, "transaction_id=pay_33")["decisions"][0];
    let record = admin.get(&format!("/v1/audit/{}", decision["sequence"])).good();
    assert_eq!(
        (&record["hash"], &record["body"]["decision_id"]),
        (&decision["hash"], &decision["decision_id"])
    );
    assert_eq!(record["body"]["hits"][0]["values"]["merchant.id"], "m_own");
    assert_eq!(admin.get("/v1/audit/999999").status, 404);
}

#[test]
fn the_command_line_finds_the_same_whatever_there_is_of_an_index() {
    let (_rules, installation) = installation();
    let service = installation.serve();
    let mut connection = service.connect();
    for number in 1..=900 {
        connection.decide(&payment(number));
    }
    let label = json!({"transaction_id": "pay_33", "label": "fraud", "kind": "chargeback", "reason_code": "10.4",
        "occurred_at": "2025-10-27T12:00:00Z"});
    connection.label(&label.to_string());
    indexed(&service);
    let parts = || std::fs::read_dir(installation.data().join("search")).map_or(0, Iterator::count);
    assert!(parts() >= 2, "{}", parts());
    let expected: Vec<u64> = (1..=900).rev().filter(|number| number % 5 == 2 && number % 3 == 0).collect();
    let arguments = ["--customer", "c_2", "--rule", "own-rule", "--outcome", "block", "--limit", "1000"];
    let found = |what: &str| {
        let hits = cli(&installation, &arguments);
        let found: Vec<u64> =
            hits.iter().map(|it| it["transaction_id"].as_str().unwrap()[4..].parse().unwrap()).collect();
        assert_eq!(found, expected, "{what}");
    };
    found("beside the service");
    service.kill();
    found("after a kill");
    std::fs::remove_dir_all(installation.data().join("search")).unwrap();
    found("without an index");
    let data = installation.data();
    let data = data.to_str().unwrap();
    let made: Value = serde_json::from_str(&run("audit", ["index", "--json", "--data", data])).unwrap();
    assert_eq!(made["parts_made"], made["parts"]);
    assert_eq!(made["records"], installation.verify()["records"]);
    found("with an index that was made at rest");
    let one = std::fs::read_dir(installation.data().join("search")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&one).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x55);
    std::fs::write(one, bytes).unwrap();
    found("with a damaged part");

    let shown = run("audit", ["show", "pay_33", "--data", data, "--features", "models/features.yaml"]);
    for text in [
        "BLOCK  own_reason",
        "customer.id = c_3",
        crate::traffic::names()[0].as_str(),
        "own_reason, by rule own-rule: Seen",
        "merchant.id = \"m_own\"",
        "label: fraud by chargeback of 2025-10-27T12:00:00.000Z, code 10.4",
        "hash      blake3:",
    ] {
        assert!(shown.contains(text), "{text} is not in\n{shown}");
    }
    let json: Value =
        serde_json::from_str(&run("audit", ["show", "pay_33", "--data", data, "--json"])).unwrap();
    assert_eq!(json["labels"][0]["body"]["label"]["label"], "fraud");
    let again: Value = serde_json::from_str(&run(
        "audit",
        ["show", &json["sequence"].to_string(), "--data", data, "--json"],
    ))
    .unwrap();
    assert_eq!(again, json, "by its sequence");
    let tail =
        run("audit", ["tail", "--no-follow", "--last", "3", "--json", "--customer", "c_4", "--data", data]);
    let tail: Vec<Value> = tail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = tail.iter().map(|it| it["transaction_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["pay_889", "pay_894", "pay_899"]);

    // A service makes again what is damaged or missing.
    let service = installation.serve();
    indexed(&service);
    let mut admin = service.connect_admin();
    let page = search(&mut admin, "customer=c_2&rule=own-rule&limit=200");
    assert_eq!(numbers(&page), expected);
}

#[test]
fn tail_follows_what_is_recorded() {
    use std::io::BufRead as _;
    let (_rules, installation) = installation();
    let service = installation.serve();
    let mut connection = service.connect();
    connection.decide(&payment(1));
    let mut tail = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["audit", "tail", "--json", "--merchant", "m_own", "--data"])
        .arg(installation.data())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(tail.stdout.take().unwrap()).lines();
    connection.decide(&payment(3));
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    connection.decide(&payment(4));
    connection.decide(&payment(6));
    let second: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!((&first["transaction_id"], &second["transaction_id"]), (&json!("pay_3"), &json!("pay_6")));
}
