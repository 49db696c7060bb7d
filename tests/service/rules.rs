//! Rules on the admin port: what became of each, and whether a candidate would be taken.

use std::fs;

use serde_json::{Value, json};

use crate::reload::{Rules, live, own_rule};
use crate::tollgate_process::{Installation, Service, root};
use crate::traffic::transaction;

fn rule(service: &Service, id: &str) -> Value {
    let rules = service.admin("/v1/rules").good();
    let rules = rules["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["id"] == id).unwrap_or_else(|| panic!("no rule {id}")).clone()
}

fn at_merchant(id: &str, merchant: &str) -> Value {
    let mut body = transaction(id);
    body["merchant"]["id"] = json!(merchant);
    body["customer"]["id"] = json!(format!("c_{id}"));
    body["card"]["fingerprint"] = json!(format!("fp_{id}"));
    body["device"] = json!({"id": format!("d_{id}")});
    body
}

#[test]
fn each_rule_says_what_it_is_and_what_became_of_it() {
    let rules = Rules::new();
    let shadow = own_rule("watched")
        .replace("own-rule", "own-shadow")
        .replace("owner: tests", "owner: tests\n    state: shadow");
    rules.write(&format!("{}{}", own_rule("own"), shadow.replacen("rules:\n", "", 1)));
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    let mut connection = service.connect();
    let mut send = |from: u32, to: u32, merchant: &str, mode: &str| {
        for number in from..to {
            let mut body = at_merchant(&format!("pay_{number}"), merchant);
            body["mode"] = json!(mode);
            connection.decide(&body.to_string());
        }
    };
    send(0, 5, "m_own", "live");
    send(0, 5, "m_own", "live"); // again: answered from their records
    send(5, 8, "m_other", "live");
    send(8, 9, "m_own", "dry_run");
    let counts = |id: &str| {
        let counts = rule(&service, id)["counts"].take();
        let number = |name: &str| counts[name].as_u64().unwrap();
        (
            number("evaluated"),
            number("hits"),
            number("decided"),
            number("shadow_hits"),
            counts["last_hit"].is_string(),
        )
    };
    assert_eq!(counts("own-rule"), (8, 5, 5, 0, true));
    assert_eq!(counts("own-shadow"), (8, 0, 0, 5, true));
    assert_eq!(counts("blocked-card"), (8, 0, 0, 0, false));
    let own = rule(&service, "own-rule");
    for (name, value) in [
        ("then", json!("BLOCK")),
        ("reason", json!("own")),
        ("when", json!("merchant.id == \"m_own\"")),
        ("state", json!("live")),
        ("owner", json!("tests")),
        ("tests", json!(2)),
        ("line", json!(2)),
        ("rollout", json!(null)),
        ("expires", json!(null)),
    ] {
        assert_eq!(own[name], value, "{name}");
    }
    assert!(own["file"].as_str().unwrap().ends_with("rules/own.yaml"));
    for (series, value) in [
        (r#"tollgate_rule_hits_total{rule="own-rule"}"#, 5.0),
        (r#"tollgate_rule_decided_total{rule="own-rule"}"#, 5.0),
        (r#"tollgate_rule_shadow_hits_total{rule="own-shadow"}"#, 5.0),
        ("tollgate_rules_without_series", 0.0),
    ] {
        assert_eq!(service.metric(series), value, "{series}");
    }

    // A reload that changes one of the two, and dates the other.
    let old = service.policy()["policy"].clone();
    let dated = shadow.replacen("rules:\n", "", 1).replace("state: shadow", "state: shadow\n    starts: 2020-01-01\n    expires: 2999-06-30\n    rollout: {percent: 50, by: customer.id}");
    rules.write(&format!("# moved down by a line\n{}{dated}", own_rule("own")));
    live(&service, std::time::Instant::now(), &old);
    send(20, 22, "m_own", "live");
    assert_eq!(counts("own-rule"), (10, 7, 7, 0, true), "it goes on");
    let shadow = rule(&service, "own-shadow");
    assert_eq!((&shadow["starts"], &shadow["expires"]), (&json!("2020-01-01"), &json!("2999-06-30")));
    assert_eq!(shadow["rollout"], json!({"percent": 50.0, "by": "customer.id"}));
    assert_eq!(shadow["counts"]["evaluated"], 2, "it begins anew");
    assert!(shadow["counts"]["since"].as_str() > own["counts"]["since"].as_str());
}

#[test]
fn a_candidate_is_checked_as_a_reload_would() {
    let rules = Rules::new();
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    let mut admin = service.connect_admin();
    let mut check = |body: Value| admin.request("POST", "/v1/rules/check", &body.to_string());
    let shipped = service.policy()["versions"]["rules"].clone();
    let good = own_rule("own");
    let wrong_test =
        good.replace("merchant.id: m_own}, expect: match", "merchant.id: m_own}, expect: no_match");
    let default = "default: {then: APPROVE, reason: no_rule_matched}\n";
    let listed = good
        .replace("merchant.id == \"m_own\"", "in_list(merchant.id, \"own_list\")")
        .replace("{merchant.id: m_own}, expect", "{merchant.id: m_own}, lists: {own_list: [m_own]}, expect");
    // The files, whether they are all, whether they are sound, and where in the answer stands what.
    type Fact<'a> = (Value, bool, bool, &'a [(&'a str, Value)]);
    let facts: [Fact<'_>; 9] = [
        (json!({}), false, true, &[("/hash", shipped.clone())]),
        (json!({"mine.yaml": good}), false, true, &[("/problems", json!([]))]),
        (
            json!({"mine.yaml": good.replace("merchant.id ==", "merchant.idd ==")}),
            false,
            false,
            &[
                ("/problems/0/file", json!("rules/mine.yaml")),
                ("/problems/0/line", json!(4)),
                ("/problems/0/column", json!(11)),
                ("/problems/0/rule", json!("own-rule")),
                ("/problems/0/suggestion", json!("merchant.id")),
                ("/problems/0/severity", json!("error")),
                ("/rules", json!(null)),
                ("/hash", json!(null)),
            ],
        ),
        (json!({"mine.yaml": wrong_test}), false, false, &[("/problems/0/line", json!(10))]),
        (json!({"mine.yaml": good}), true, false, &[("/problems/0/file", json!("rules/default.yaml"))]),
        (
            json!({"mine.yaml": good, "default.yaml": default}),
            true,
            true,
            &[("/rules", json!(1)), ("/tests", json!(2)), ("/files", json!(["default.yaml", "mine.yaml"]))],
        ),
        (json!({"default.yaml": null}), false, false, &[("/problems/0/file", json!("rules/default.yaml"))]),
        (json!({"mine.yaml": listed}), false, false, &[("/problems/0/rule", json!("own-rule"))]),
        (json!({"mine.yaml": listed, "lists/own_list.txt": ""}), false, true, &[("/problems", json!([]))]),
    ];
    for (files, complete, sound, parts) in facts {
        let answer = check(json!({"files": files, "complete": complete})).good();
        assert_eq!(answer["sound"], sound, "{files}: {answer:#}");
        for (pointer, value) in parts {
            assert_eq!(answer.pointer(pointer), Some(value), "{files}: {answer:#}");
        }
    }
    let outside = check(json!({"files": {"../x.yaml": "", "x.txt": ""}}));
    assert_eq!(
        (outside.status, outside.problem().1),
        (422, vec!["/files/..~1x.yaml".to_owned(), "/files/x.txt".to_owned()])
    );
    assert_eq!(service.policy()["versions"]["rules"], shipped, "nothing has changed");

    // What was checked is what goes live.
    let promised = check(json!({"files": {"own.yaml": good}})).good()["hash"].clone();
    let old = service.policy()["policy"].clone();
    rules.write(&good);
    live(&service, std::time::Instant::now(), &old);
    assert_eq!(service.policy()["versions"]["rules"], promised);

    // The shipped files at once, as a deployment would send them.
    let mut files = serde_json::Map::new();
    for directory in ["", "lists"] {
        for file in fs::read_dir(root().join("rules").join(directory)).unwrap().map(Result::unwrap) {
            let name = format!(
                "{directory}{}{}",
                if directory.is_empty() { "" } else { "/" },
                file.file_name().to_str().unwrap()
            );
            if name.ends_with(".yaml") || name.ends_with(".txt") {
                files.insert(name, json!(fs::read_to_string(file.path()).unwrap()));
            }
        }
    }
    let all = check(json!({"files": files, "complete": true})).good();
    assert_eq!((&all["sound"], &all["hash"]), (&json!(true), &shipped), "{all:#}");
}
