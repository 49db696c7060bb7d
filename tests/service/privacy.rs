//! Personal data is sealed in the log, gone after an erasure wherever it was copied to, and counted all the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use tollgate::audit::lookup::LogLookup;
use tollgate::audit::segment::list_segments;
use tollgate::pipeline::secret::Secret;
use tollgate::search::key::Field;
use tollgate::search::part::Part as _;
use tollgate::search::parts::{Parts, log_id};

use crate::http::Connection;
use crate::redis_server::RedisServer;
use crate::reload::Rules;
use crate::search::indexed;
use crate::tollgate_process::{Installation, PATIENT, Service, root, run, wait_until};
use crate::traffic::feature;

/// Stands in everything that says who the first customer is.
const ALICE: &str = "alice7731";
const BOB: &str = "bob7731";
/// A test number of Visa's.
const PAN: &str = "4242424242424242";

fn payment(who: &str, number: u32) -> Value {
    json!({
        "transaction_id": format!("pay_{}_{number}", &who[..1]),
        "occurred_at": format!("2025-10-20T12:00:{number:02}Z"),
        "amount": {"value": 4_200 + number, "currency": "EUR"},
        "customer": {"id": format!("cus_{who}"), "email_hash": format!("mail_{who}")},
        "card": {"fingerprint": format!("fp_{who}"), "issuer_country": "DE"},
        "merchant": {"id": "m_shop", "mcc": "5732"},
        "device": {"id": format!("dev_{who}"), "ip": "203.0.113.77", "user_agent": format!("browser of {who}")},
        "billing": {"country": "DE", "postal_code": "1077131"},
        "metadata": {"note": format!("for {who}")},
    })
}

/// The files under a directory that hold a text.
fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if fs::read(&path).expect("a file").windows(text.len()).any(|it| it == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

fn installation(settings: &str) -> (Rules, Installation) {
    let rules = Rules::new();
    fs::write(rules.path().join("lists/blocked_cards.txt"), "").expect("a list");
    let installation = Installation::with_settings(&format!("{PATIENT}{settings}")).rules(&rules.path());
    (rules, installation)
}

fn end(service: Service) {
    service.terminate();
    assert!(service.ended().success());
}

fn erase(service: &Service, body: &Value) -> Value {
    service.connect_admin().post("/v1/audit/erasures", "", &body.to_string()).good()
}

/// What stands in the file of keys.
fn keys(installation: &Installation) -> Vec<u8> {
    fs::read(installation.data().join("keys/subjects")).expect("the keys")
}

/// What a command says that must fail.
fn fails(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(arguments).current_dir(root()).output().expect("the program runs");
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|it| it["kind"] == kind).map(|it| &it["body"]).collect()
}

/// How many decisions a search finds.
fn found(installation: &Installation, filter: &str, value: &str) -> usize {
    let data = installation.data();
    let data = data.to_str().expect("a path");
    let arguments = ["search", "--json", "--limit", "100000", "--data", data, filter, value];
    run("audit", arguments).lines().count()
}

fn show(installation: &Installation, id: &str) -> String {
    let data = installation.data();
    run("audit", ["show", id, "--data", data.to_str().expect("a path")])
}

#[test]
fn an_erased_customer_is_nowhere_and_still_counted() {
    let (_rules, installation) = installation("");
    let service = installation.serve();
    let mut connection = service.connect();
    let first = connection.decide(&payment(ALICE, 1).to_string());
    let keyed = format!("Idempotency-Key: key_{ALICE}\r\n");
    assert_eq!(connection.post("/v1/decisions", &keyed, &payment(ALICE, 2).to_string()).status, 200);
    let bobs = connection.decide(&payment(BOB, 1).to_string());
    let label = json!({"transaction_id": "pay_a_1", "label": "fraud", "kind": "chargeback", "occurred_at": "2025-10-20T13:00:00Z"});
    assert_eq!(connection.label(&label.to_string())["transaction_known"], true);
    indexed(&service);
    let review = format!("/v1/reviews/{}", first["decision_id"].as_str().unwrap());
    let verdict = json!({"verdict": "fraud", "note": format!("{ALICE} did not order"), "analyst": "jane"});
    assert_eq!(service.connect_admin().post(&review, "", &verdict.to_string()).status, 201);
    let entry = format!("/v1/lists/blocked_cards/fp_{ALICE}");
    let note = format!(r#"{{"note": "{ALICE} called"}}"#);
    assert_eq!(service.connect_admin().request("PUT", &entry, &note).status, 201);
    let blocked = connection.decide(&payment(ALICE, 3).to_string());
    assert_eq!(blocked["reason"], "card_blocklisted");

    // Nothing in clear in the log, and everything for who has the keys.
    for personal in [ALICE, BOB, "203.0.113.77", "1077131"] {
        assert!(
            holding(&installation.data(), personal).is_empty(),
            "{personal}: {:?}",
            holding(&installation.data(), personal)
        );
    }
    let before = installation.records();
    assert!(before.iter().any(|record| record["body"]["idempotency_key"] == format!("key_{ALICE}")));
    let shown = before.iter().find(|record| record["kind"] == "list_change").expect("a change of a list");
    assert_eq!(shown["body"]["value"], format!("fp_{ALICE}"));

    assert_eq!(of_kind(&before, "review")[0]["note"], format!("{ALICE} did not order"));
    assert_eq!(found(&installation, "--customer", &format!("cus_{ALICE}")), 3);
    let shown = show(&installation, "pay_a_1");
    assert!(shown.contains(&format!("fp_{ALICE}")) && shown.contains("did not order"), "{shown}");

    // After a restart, what was answered is answered the same; the snapshot of the end holds the list.
    end(service);
    let service = installation.serve();
    let again = service.connect().decide(&payment(ALICE, 1).to_string());
    assert_eq!((&again["decision_id"], &again["reasons"]), (&first["decision_id"], &first["reasons"]));
    assert!(
        !holding(&installation.data().join("state"), ALICE).is_empty(),
        "the snapshot of the end holds the list"
    );

    let wanted =
        json!({"customer": format!("cus_{ALICE}"), "card": format!("fp_{ALICE}"), "note": "ticket 12"});
    let done = erase(&service, &wanted);
    let records = json!({"decisions": 3, "labels": 2, "list_changes": 1, "reviews": 1, "in_clear": 0, "is_complete": true});
    assert_eq!(
        (&done["keys_destroyed"], &done["records"], &done["list_entries"]),
        (&json!(2), &records, &json!(1))
    );
    assert_eq!(done["notes"], json!([]), "{done}");

    // What is left is that there was a decision.
    let mut connection = service.connect();
    let id = first["decision_id"].as_str().unwrap();
    for (what, answer) in [
        ("sent again", connection.post("/v1/decisions", "", &payment(ALICE, 1).to_string())),
        ("by the other key", connection.post("/v1/decisions", &keyed, &payment(ALICE, 2).to_string())),
        ("by id", connection.get(&format!("/v1/decisions/{id}"))),
        ("by transaction", connection.get("/v1/decisions?transaction_id=pay_a_3")),
    ] {
        assert_eq!((answer.status, answer.problem().0.as_str()), (410, "erased"), "{what}");
    }
    assert_eq!(connection.decide(&payment(BOB, 1).to_string())["decision_id"], bobs["decision_id"]);
    indexed(&service);
    let page = |query: &str| {
        let page = service.connect_admin().get(&format!("/v1/audit?{query}")).good();
        page["decisions"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((page(&format!("customer=cus_{ALICE}")), page("merchant=m_shop")), (0, 4));
    // The card stands on the list no more. Who comes back is sealed with another key.
    let back = connection.decide(&payment(ALICE, 4).to_string());
    assert_ne!(back["reason"], "card_blocklisted");
    end(service);
    assert!(holding(&installation.data(), ALICE).is_empty(), "{:?}", holding(&installation.data(), ALICE));

    // The chain holds, and everything is counted.
    assert_eq!(installation.verify()["by_kind"]["erasure"], 1);
    let after = installation.records();
    let of = |kind: &str| of_kind(&after, kind);
    let decisions = of("decision");
    let unreadable: Vec<&Value> = decisions.iter().map(|body| &body["unreadable"]).collect();
    assert_eq!(
        unreadable,
        [&json!("erased"), &json!("erased"), &Value::Null, &json!("erased"), &Value::Null]
    );
    assert_eq!(decisions[3]["reason"], "card_blocklisted");
    assert_eq!(decisions[3]["transaction"]["amount"]["value"], 4_203);
    assert_eq!(decisions[4]["transaction"]["customer"]["id"], format!("cus_{ALICE}"));
    assert_eq!(of("erasure")[0]["note"], "ticket 12");
    let data = installation.data();
    let log = ["--data", data.to_str().unwrap(), "--id", "pay_a_1"];
    let policy = installation.policy();
    let mut arguments = vec!["decide"];
    arguments.extend(policy.iter().map(String::as_str));
    arguments.extend(log);
    let said = fails(&arguments);
    assert!(
        said.contains("erased on request") && said.contains(first["decision"].as_str().unwrap()),
        "{said}"
    );

    assert_eq!(found(&installation, "--customer", &format!("cus_{ALICE}")), 1);
    assert_eq!(found(&installation, "--merchant", "m_shop"), 5);
    let shown = show(&installation, "pay_a_1");
    assert!(shown.contains("was erased on request") && !shown.contains(ALICE), "{shown}");
    assert!(shown.contains("review: fraud") && !shown.contains("did not order"), "{shown}");
    let report = run("audit", ["redecide", "--json", "--rebuild", "--data", data.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&report).expect("a report");
    let (decisions, vectors) = (&report["decisions"], &report["rebuilt"]);
    assert_eq!(
        (&decisions["seen"], &decisions["same"], &decisions["different"]),
        (&json!(5), &json!(2), &json!(0)),
        "{report:#}"
    );
    assert_eq!(
        decisions["not_compared"]["its personal data was erased on request"]["count"], 3,
        "{report:#}"
    );
    assert_eq!((&vectors["seen"], &vectors["different"]), (&json!(5), &json!(0)), "{report:#}");

    // A start from the log alone has the same answers, and counts what the merchant had.
    fs::remove_dir_all(data.join("state")).expect("the snapshots go");
    let service = installation.serve();
    let ready = &service.heard("the state is rebuilt")[0];
    assert_eq!(
        (&ready["decisions"], &ready["unreadable"], &ready["erasures"]),
        (&json!(5), &json!(3), &json!(1))
    );
    let mut connection = service.connect();
    assert_eq!(connection.post("/v1/decisions", "", &payment(ALICE, 1).to_string()).status, 410);
    assert_eq!(connection.post("/v1/decisions", &keyed, &payment(ALICE, 2).to_string()).status, 410);
    assert_eq!(connection.decide(&payment(BOB, 1).to_string())["decision_id"], bobs["decision_id"]);
    connection.decide(&payment(BOB, 9).to_string());
    service.kill();
    let last = installation.decisions().pop().expect("a decision");
    // All six attempts at this shop, this one among them; three of them by a customer whom nobody knows any more.
    assert_eq!(feature(&last, "merchant.count_1h"), 6.0);
    assert_eq!(feature(&last, "customer.count_1h"), 2.0);
}

#[test]
fn an_erasure_that_a_kill_cuts_short_is_finished_by_the_next_start() {
    for settings in ["", "[audit]\nack = \"disk\"\n"] {
        let (_rules, installation) = installation(settings);
        let service = installation.serve();
        service.connect().decide(&payment(ALICE, 1).to_string());
        service.connect().decide(&payment(BOB, 1).to_string());
        let before = keys(&installation);
        erase(&service, &json!({"customer": format!("cus_{ALICE}"), "note": "ticket 13"}));
        let erased = keys(&installation);
        assert_ne!(before, erased);
        service.kill();
        // As if the kill had come before the key was overwritten; or as if somebody put a backup of the keys back.
        fs::write(installation.data().join("keys/subjects"), &before).expect("the keys of before");
        assert!(
            installation.decisions()[0]["customer"].is_null()
                && installation.decisions()[0]["unreadable"].is_null()
        );
        drop(installation.serve());
        assert_eq!(keys(&installation), erased);
        let decisions = installation.decisions();
        assert_eq!(
            (&decisions[0]["unreadable"], &decisions[1]["unreadable"]),
            (&json!("erased"), &Value::Null)
        );
        installation.verify();
    }
}

#[test]
fn the_data_of_a_stopped_service_is_erased_by_command_and_its_profiles_too() {
    let (_rules, installation) = installation("[profiles.updates]\nenabled = true\n");
    let data = installation.data();
    let data = data.to_str().unwrap();
    let service = installation.serve();
    service.connect().decide(&payment(ALICE, 1).to_string());
    service.connect().decide(&payment(BOB, 1).to_string());
    let customer = format!("cus_{ALICE}");
    let card = format!("fp_{ALICE}");
    let erase =
        ["audit", "erase", "--data", data, "--customer", &customer, "--card", &card, "--note", "ticket 14"];
    let said = fails(&erase);
    assert!(said.contains("--admin"), "{said}");
    end(service);
    assert_eq!(holding(&installation.data(), ALICE), [installation.data().join("profiles.redb")]);

    let (command, erase) = (erase[0], &erase[1..]);
    let tried = run(command, erase.iter().copied().chain(["--dry-run", "--json"]));
    let tried: Value = serde_json::from_str(&tried).unwrap();
    assert_eq!((&tried["keys_destroyed"], &tried["records"]["decisions"]), (&json!(1), &json!(1)));
    assert_eq!(installation.verify()["by_kind"]["erasure"], Value::Null);
    assert!(installation.decisions()[0]["unreadable"].is_null());

    let said = run(command, erase.iter().copied());
    assert!(said.contains("erased: 1 keys; 1 decisions") && said.contains("profiles removed: 2"), "{said}");
    assert!(holding(&installation.data(), ALICE).is_empty(), "{:?}", holding(&installation.data(), ALICE));
    assert_eq!(installation.verify()["by_kind"]["erasure"], 1);
    for (arguments, expected) in [
        (vec!["--customer", &customer, "--note", &customer], "the note stays in the log"),
        (vec!["--note", "why"], "names nobody"),
        (vec!["--customer", PAN, "--note", "why"], "holds a card number"),
    ] {
        let said = fails(&[&["audit", "erase", "--data", data][..], &arguments].concat());
        assert!(said.contains(expected), "{said}");
    }

    // The service goes on with what is left, and takes an erasure by the same command.
    let service = installation.serve();
    assert_eq!(service.connect().post("/v1/decisions", "", &payment(ALICE, 1).to_string()).status, 410);
    let admin = service.admin.to_string();
    let (bob, card) = (format!("cus_{BOB}"), format!("fp_{BOB}"));
    let erase = ["erase", "--admin", &admin, "--customer", &bob, "--card", &card, "--note", "ticket 15"];
    let said = run("audit", erase.into_iter().chain(["--json"]));
    let done: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&done["keys_destroyed"], &done["profiles_removed"]), (&json!(1), &json!(2)), "{done}");
    end(service);
    drop(installation.serve());
    assert!(holding(&installation.data(), BOB).is_empty(), "{:?}", holding(&installation.data(), BOB));
    let unreadable: Vec<Value> =
        installation.decisions().iter().map(|body| body["unreadable"].clone()).collect();
    assert_eq!(unreadable, ["erased", "erased"]);
}

/// How many parts of the search index hold the hash of a value, with the installation's own secret.
fn parts_with(installation: &Installation, field: Field, value: &str) -> usize {
    let data = installation.data();
    let (log, directory) = (data.join("log"), data.join("search"));
    let key = Secret::load(&data).expect("the secret").expect("it is there").search_key();
    let log_id = log_id(&log).expect("a log").expect("it is not empty");
    let parts = Parts::open(&directory, &log, log_id, &key, &LogLookup::new(&log)).expect("an index");
    let hash = key.hash(field, value);
    parts.files.iter().filter(|part| !part.postings(hash).expect("it is whole").is_empty()).count()
}

/// Waits until no part has to be made anew.
fn rid_of(service: &Service) {
    let waiting = || service.metric("tollgate_search_index_erased_waiting");
    wait_until("the parts to be made anew", || (waiting() == 0.0).then_some(()));
}

#[test]
fn the_search_index_holds_no_hash_of_who_was_erased() {
    let (_rules, installation) = installation("[audit]\nsegment_mib = 1\n");
    let service = installation.serve();
    let mut connection = service.connect();
    let (alice, bob) = (format!("cus_{ALICE}"), format!("cus_{BOB}"));
    let mut payments = 0;
    let mut pay = |connection: &mut Connection, who: &str| {
        let mut body = payment(who, 1);
        body["transaction_id"] = json!(format!("pay_{payments}"));
        connection.decide(&body.to_string());
        payments += 1;
    };
    // Over several segments; the last ones are in memory.
    while list_segments(&installation.data().join("log")).expect("a log").len() < 4 {
        pay(&mut connection, ALICE);
        pay(&mut connection, BOB);
    }
    pay(&mut connection, ALICE);
    indexed(&service);
    let file = installation.data().join("search/erased");
    assert!(parts_with(&installation, Field::Customer, &alice) >= 2);
    let decided = found(&installation, "--merchant", "m_shop");
    let of_bob = found(&installation, "--customer", &bob);

    let done = erase(&service, &json!({"customer": alice, "note": "ticket 16"}));
    assert_eq!(done["keys_destroyed"], 1, "{done}");
    rid_of(&service);
    for (field, value) in [
        (Field::Customer, alice.clone()),
        (Field::Card, format!("fp_{ALICE}")),
        (Field::Device, format!("dev_{ALICE}")),
    ] {
        assert_eq!(parts_with(&installation, field, &value), 0, "{value}");
    }
    assert!(!file.exists(), "nothing waits");
    assert!(parts_with(&installation, Field::Customer, &bob) >= 2);
    let page = service.admin(&format!("/v1/audit?customer={alice}")).good();
    assert_eq!(page["decisions"], json!([]));
    assert_eq!(found(&installation, "--customer", &alice), 0);
    assert_eq!(found(&installation, "--customer", &bob), of_bob);
    assert_eq!(found(&installation, "--merchant", "m_shop"), decided, "all are still counted");

    // Killed before it is done with: the next start goes on.
    erase(&service, &json!({"customer": bob, "note": "ticket 17"}));
    service.kill();
    let service = installation.serve();
    rid_of(&service);
    assert_eq!(parts_with(&installation, Field::Customer, &bob), 0);
    indexed(&service);
    assert_eq!(found(&installation, "--merchant", "m_shop"), decided);

    // Of a service that is stopped.
    let carol = "carol7731";
    let mut connection = service.connect();
    while parts_with(&installation, Field::Customer, &format!("cus_{carol}")) == 0 {
        pay(&mut connection, carol);
    }
    end(service);
    let (data, customer) = (installation.data(), format!("cus_{carol}"));
    let arguments =
        ["erase", "--data", data.to_str().expect("a path"), "--customer", &customer, "--note", "ticket 18"];
    run("audit", arguments);
    assert_eq!(parts_with(&installation, Field::Customer, &customer), 0);
    assert!(!file.exists());
    let service = installation.serve();
    indexed(&service);
    assert_eq!(parts_with(&installation, Field::Customer, &customer), 0);
    assert!(found(&installation, "--merchant", "m_shop") > decided);
}

#[test]
fn an_erasure_removes_the_profiles_in_redis() {
    let redis = RedisServer::start();
    let (_rules, installation) = installation("[profiles.updates]\nenabled = true\n");
    let installation = installation.redis(&redis.url());
    let service = installation.serve();
    let mut connection = service.connect();
    let keys: Vec<String> = [ALICE, BOB]
        .iter()
        .flat_map(|who| [format!("customer:cus_{who}"), format!("card:fp_{who}")])
        .collect();
    let keys: Vec<String> = keys.iter().map(|key| format!("tollgate:profile:{key}")).collect();
    for number in 1..4 {
        connection.decide(&payment(ALICE, number).to_string());
        connection.decide(&payment(BOB, number).to_string());
    }
    let exists = |key: &str| redis.command(&["EXISTS", key]).trim_start_matches(':').trim() == "1";
    for key in &keys {
        wait_until("the profiles", || exists(key).then_some(()));
    }
    let wanted =
        json!({"customer": format!("cus_{ALICE}"), "card": format!("fp_{ALICE}"), "note": "ticket 19"});
    let done = erase(&service, &wanted);
    assert_eq!((&done["profiles_removed"], &done["notes"]), (&json!(2), &json!([])), "{done}");
    let there: Vec<bool> = keys.iter().map(|key| exists(key)).collect();
    assert_eq!(there, [false, false, true, true]);

    // Nothing that was on its way brings them back; who comes back begins anew.
    connection.decide(&payment(BOB, 4).to_string());
    wait_until("the updates", || {
        (service.metric("tollgate_profile_update_lag_records") == 0.0).then_some(())
    });
    assert!(!exists(&keys[0]) && !exists(&keys[1]));
    end(service);
    let service = installation.serve();
    wait_until("the updates", || {
        (service.metric("tollgate_profile_update_lag_records") == 0.0).then_some(())
    });
    let there: Vec<bool> = keys.iter().map(|key| exists(key)).collect();
    assert_eq!(there, [false, false, true, true], "after a restart");
}

#[test]
fn a_card_number_is_written_nowhere() {
    let (_rules, installation) = installation("");
    let service = installation.serve();
    let mut connection = service.connect();
    let places = [
        "/customer/id",
        "/card/fingerprint",
        "/device/user_agent",
        "/metadata/note",
        "/transaction_id",
        "/billing/postal_code",
    ];
    for place in places {
        for text in [PAN.to_owned(), format!("card 4242 4242 4242 4242 of {ALICE}")] {
            let mut body = payment(ALICE, 1);
            *body.pointer_mut(place).expect(place) = json!(text);
            let answer = connection.post("/v1/decisions", "", &body.to_string());
            assert_eq!(answer.status, 422, "{place}: {answer:?}");
            assert!(!answer.body.contains("4242"), "{place}: {answer:?}");
        }
    }
    let mut named = payment(ALICE, 1);
    named["metadata"][PAN] = json!(1);
    let keyed = format!("Idempotency-Key: {PAN}\r\n");
    let label = json!({"transaction_id": PAN, "label": "fraud", "kind": "chargeback", "occurred_at": "2025-10-20T13:00:00Z"});
    let coded = json!({"transaction_id": "pay_a_1", "label": "fraud", "kind": "chargeback", "reason_code": PAN, "occurred_at": "2025-10-20T13:00:00Z"});
    let erasure = json!({"customer": PAN, "note": "why"}).to_string();
    let noted = json!({"customer": "cus_1", "note": format!("card {PAN}")}).to_string();
    let mut admin = service.connect_admin();
    for (what, answer) in [
        ("a name in metadata", connection.post("/v1/decisions", "", &named.to_string())),
        ("the idempotency key", connection.post("/v1/decisions", &keyed, &payment(ALICE, 1).to_string())),
        ("a label", connection.post("/v1/labels", "", &label.to_string())),
        ("a reason code", connection.post("/v1/labels", "", &coded.to_string())),
        (
            "a value of a list",
            admin.request("PUT", &format!("/v1/lists/blocked_cards/{PAN}"), r#"{"note": "why"}"#),
        ),
        (
            "a note of a list",
            admin.request("PUT", "/v1/lists/blocked_cards/fp_1", &format!(r#"{{"note": "{PAN}"}}"#)),
        ),
        ("who is erased", admin.post("/v1/audit/erasures", "", &erasure)),
        ("the note of an erasure", admin.post("/v1/audit/erasures", "", &noted)),
        ("a field of an erasure", admin.post("/v1/audit/erasures", "", &format!(r#"{{"{PAN}": 1}}"#))),
    ] {
        assert_eq!(answer.status, 422, "{what}: {answer:?}");
        assert!(!answer.body.contains(PAN), "{what}: {answer:?}");
    }
    connection.decide(&payment(BOB, 1).to_string());
    end(service);
    let records = installation.records();
    let of_requests = records.iter().filter(|it| it["kind"] != "policy_change" && it["kind"] != "checkpoint");
    assert_eq!(of_requests.count(), 1, "only Bob's decision is recorded");
    for text in [PAN, "4242 4242"] {
        assert!(holding(&installation.data(), text).is_empty());
    }
    assert!(!installation.records().iter().any(|record| record.to_string().contains("4242424242")));
}
