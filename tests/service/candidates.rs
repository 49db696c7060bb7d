//! Candidate rules of a running service: over its recorded traffic on request, and beside the live ones on live traffic. Both say what
//! `tollgate backtest` says of the same log.

use std::fs;

use serde_json::{Value, json};

use crate::backtest::{LARGE, NOTHING_DIFFERS, backtest, labelled, rules_with};
use crate::challengers::metric;
use crate::http::Connection;
use crate::tollgate_process::{Installation, Service, wait_until};
use crate::traffic::{Event, transaction};

/// What a report says that does not depend on who made it, and how long that took.
const LASTING: [&str; 7] = ["truth", "operation", "decisions", "rules", "money", "score_curve", "quality"];

fn same(report: &Value, expected: &Value) {
    for part in LASTING {
        assert_eq!(report[part], expected[part], "{part}");
    }
    for part in ["compared", "changed", "differing", "effect", "changes", "unchanged", "operation_before"] {
        assert_eq!(report["comparison"][part], expected["comparison"][part], "{part}");
    }
}

fn post(service: &Service, body: &Value) -> crate::http::Answer {
    Connection::open(service.admin).post("/v1/rules/backtest", "", &body.to_string())
}

/// The candidate's status, once it has decided that many and knows of that many truths.
fn candidate(service: &Service, decided: u64, labelled: u64) -> Value {
    wait_until("the candidate's decisions", || {
        let status = service.admin("/v1/rules/candidate").good();
        let truth = &status["report"]["truth"];
        let known = truth["fraud"].as_u64()? + truth["legitimate"].as_u64()?;
        (status["report"]["input"]["rows"] == decided && known == labelled).then_some(status)
    })
}

#[test]
fn a_candidate_is_run_over_the_recorded_traffic_on_request() {
    let with = Installation::new();
    let service = with.serve();
    let mut connection = service.connect();
    for event in labelled(&with, 53, 400) {
        event.send(&mut connection);
    }
    let rules = rules_with(with.path(), "candidate", LARGE);
    let data = with.data();
    let expected = backtest(&with, Some(&rules), &["--data", data.to_str().unwrap()]);
    assert!(expected["comparison"]["changed"].as_u64().unwrap() > 3);
    let report = post(&service, &json!({"files": {"mine.yaml": LARGE}})).good();
    same(&report, &expected);
    assert_eq!(report["input"]["windows"], "recorded");

    let report = post(&service, &json!({"files": {}, "last": 100, "samples": 0})).good();
    assert_eq!(report["comparison"]["compared"], 100);
    assert_eq!(report["comparison"]["differing"], serde_json::from_str::<Value>(NOTHING_DIFFERS).unwrap());
    let all: Vec<_> = report["comparison"]["rules"].as_array().unwrap().iter().collect();
    assert!(all.iter().all(|rule| rule["presence"] == "both"), "the live rules are known, also silent ones");

    let refused = post(&service, &json!({"files": {"mine.yaml": LARGE.replace("amount >", "amuont >")}}));
    assert_eq!(refused.status, 422, "{refused:?}");
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    let error = &problem["errors"][0];
    assert_eq!((&error["pointer"], &error["rules"]["line"]), (&json!("/files/mine.yaml"), &json!(4)));
    assert_eq!(error["rules"]["suggestion"], "amount");
    let without_default = post(&service, &json!({"files": {"default.yaml": "rules: []"}}));
    assert_eq!(without_default.status, 422, "{without_default:?}");
    assert_eq!(service.policy()["reloads"], 0);
    assert_eq!(service.admin("/v1/rules/candidate").status, 404, "there is none beside the live rules");
}

#[test]
fn a_candidate_decides_beside_the_live_rules_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let rules = rules_with(home.path(), "candidate", LARGE);
    let with = Installation::new().candidate(&rules);
    let alone = Installation::new();
    let events = labelled(&with, 59, 400);
    let labels = events.iter().filter(|event| matches!(event, Event::Label(_))).count() as u64;
    let (service, lonely) = (with.serve(), alone.serve());
    let (mut connection, mut other) = (service.connect(), lonely.connect());
    for event in &events {
        let (answer, expected) = (event.send(&mut connection), event.send(&mut other));
        for part in ["decision", "reason", "reasons", "score", "versions"] {
            assert_eq!(answer[part], expected[part], "no answer knows of the candidate");
        }
    }
    let status = candidate(&service, 400, labels);
    let report = &status["report"];
    let data = with.data();
    let expected = backtest(&with, Some(&rules), &["--data", data.to_str().unwrap()]);
    same(report, &expected);
    assert_eq!(report["input"]["origin"], "traffic");
    assert_eq!(status["refused"], Value::Null);
    let dropped = metric(&service, "tollgate_shadow_dropped_decisions_total{reason=\"queue_full\"}");
    assert_eq!(dropped, 0.0);
    for change in report["comparison"]["changes"].as_array().unwrap() {
        let (before, after) = (change["before"].as_str().unwrap(), change["after"].as_str().unwrap());
        let name = format!("tollgate_candidate_decisions_total{{before=\"{before}\",after=\"{after}\"}}");
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let count = change["count"].as_u64().unwrap() as f64;
        assert_eq!(metric(&service, &name), count, "{name}");
    }

    // A mistake is the candidate's own affair.
    let live = service.policy();
    let mine = rules.join("mine.yaml");
    fs::write(&mine, LARGE.replace("amount >", "amuont >")).unwrap();
    let refused = wait_until("the refusal", || {
        let status = service.admin("/v1/rules/candidate").good();
        (!status["refused"].is_null()).then_some(status)
    });
    assert!(refused["refused"]["errors"][0].as_str().unwrap().contains("mine.yaml:4:"), "{refused}");
    assert_eq!(refused["rules"], status["rules"], "the one before goes on");
    assert_eq!(service.policy(), live);

    // A sound change begins anew.
    fs::write(&mine, LARGE.replace("150", "15000000")).unwrap();
    let changed = wait_until("the new candidate", || {
        let now = service.admin("/v1/rules/candidate").good();
        (now["refused"].is_null() && now["rules"] != status["rules"]).then_some(now)
    });
    assert_eq!(changed["report"]["truth"], json!({"fraud": 0, "legitimate": 0, "unlabelled": 0}));
    let mut again = service.connect();
    again.decide(&crate::traffic::transaction("one-more").to_string());
    let status = candidate(&service, 1, 0);
    assert_eq!(status["report"]["comparison"]["changed"], 0);
}

/// Asks a list for what no shipped rule asks it for.
const LISTED: &str = "rules:
  - id: listed-merchant
    when: in_list(merchant.id, \"trusted_customers\")
    then: CHALLENGE
    reason: listed_merchant
";

#[test]
fn a_candidate_gets_the_lists_of_then_also_what_was_taken_off_since() {
    let with = Installation::new();
    let service = with.serve();
    let mut connection = service.connect();
    let change = |method: &str| {
        let path = "/v1/lists/trusted_customers/m_1";
        let answer = service.connect_admin().request(method, path, r#"{"note": "case 1"}"#);
        assert!(answer.status < 300, "{answer:?}");
    };
    let mut decide = |number: u32| connection.decide(&transaction(&format!("pay_{number}")).to_string());
    decide(0);
    change("PUT");
    (1..9).for_each(|number| drop(decide(number)));
    change("DELETE");
    decide(9);
    // Of so many decisions the newest; so many of them were made while the merchant stood on the list, which the live state no longer tells.
    for (last, hits) in [(1, 0), (2, 1), (3, 2), (10, 8)] {
        let report = post(&service, &json!({"files": {"mine.yaml": LISTED}, "last": last})).good();
        assert_eq!(report["comparison"]["compared"], last);
        let rules = report["rules"].as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["rule"] == "listed-merchant").unwrap();
        assert_eq!(rule["hits"], hits, "of the last {last}");
        assert_eq!(report["input"]["lists_note"], json!(null), "the whole log is there");
    }
}
