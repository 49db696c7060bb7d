//! The admin port.

use crate::steered::{Running, Steered};
use crate::wire::{ask, get, post};

#[tokio::test]
async fn health_readiness_policy_rules_and_metrics() {
    let running = Running::start().await;
    let admin = running.admin;
    assert_eq!(get(admin, "/healthz").await.json()["status"], "ok");
    assert_eq!(get(admin, "/readyz").await.json()["ready"], true);
    assert_eq!(get(admin, "/v1/policy").await.json()["policy"], "sha256:00");
    assert_eq!(get(admin, "/v1/rules").await.json()["rules"][0]["line"], 12);
    assert_eq!(ask(admin, post("/v1/policy/reload", "", "")).await.json()["policy"], "sha256:00");
    let metrics = get(admin, "/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("tollgate_decisions_total 1\n") && text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("tollgate_http_answers_total{route=\"/healthz\",status=\"200\"} 1\n"), "{text}");
    for (request, status, allow) in [
        ("GET /v1/policy/reload", 405, Some("POST")),
        ("GET /v1/rules/backtest", 405, Some("POST")),
        ("POST /v1/rules/candidate", 405, Some("GET, HEAD")),
        ("POST /healthz", 405, Some("GET, HEAD")),
        ("GET /v1/decisions", 404, None),
        ("GET /", 404, None),
        ("HEAD /healthz", 200, None),
    ] {
        let answer = ask(admin, format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{request}");
    }
}

#[tokio::test]
async fn what_is_not_well_is_said() {
    let service = Steered { refuses_policy: true, ..Steered::default() };
    let running = Running::start_with(Running::options(), service).await;
    let ready = get(running.admin, "/readyz").await;
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("1")));
    assert_eq!(ready.json()["checks"][0]["detail"], "read-only file system");
    let refused = ask(running.admin, post("/v1/policy/reload", "", "")).await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "policy-refused"));
    assert_eq!(refused.json()["errors"][0]["detail"], "rules/velocity.yaml:12: unknown field \"amont\"");
    assert_eq!(refused.json()["policy"]["policy"], "sha256:00");
}

#[tokio::test]
async fn wrong_candidate_rules_are_pointed_at() {
    let running = Running::start().await;
    let body = r#"{"files": {"wrong.yaml": "rules: [{when: amont > 5}]"}}"#;
    let refused = ask(running.admin, post("/v1/rules/backtest", "", body)).await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "policy-refused"));
    let error = &refused.json()["errors"][0];
    assert_eq!(error["pointer"], "/files/wrong.yaml");
    assert_eq!(error["rules"]["suggestion"], "amount");
    let busy = ask(running.admin, post("/v1/rules/backtest", "", r#"{"files": {"busy.yaml": ""}}"#)).await;
    assert_eq!((busy.status, busy.header("retry-after")), (409, Some("5")));
    let failed =
        ask(running.admin, post("/v1/rules/backtest", "", r#"{"files": {"broken.yaml": ""}}"#)).await;
    assert!(failed.status == 500 && !failed.json().to_string().contains("secret"), "{failed:?}");
}
