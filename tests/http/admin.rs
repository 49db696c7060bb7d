//! The admin port.

use serde_json::json;
use tollgate::http::auth::ApiKeys;

use crate::steered::{Running, Steered};
use crate::wire::{ask, get, post, request};

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

#[tokio::test]
async fn lists_are_asked_for_and_changed_under_the_name_of_the_key() {
    let mut options = Running::options();
    options.keys = ApiKeys::new(&[], &["ops:operator-key-0123456789".to_owned()]).unwrap();
    let keyed = Running::start_with(options, Steered::default()).await;
    let open = Running::start().await;
    let key = "Authorization: Bearer operator-key-0123456789\r\n";
    let old = "/v1/lists/a/old";
    // Which port, the request, the answer's status, and where in it stands what.
    let facts = [
        (&keyed, request("PUT", old, "", "{}"), 401, "/status", json!(401)),
        (&keyed, request("PUT", old, key, "{}"), 200, "/entry/note", json!("ops: {}")),
        (&open, request("PUT", old, "", "{}"), 200, "/entry/note", json!("anybody: {}")),
        (&open, request("PUT", "/v1/lists/a/new", "", "{}"), 201, "/before", json!(null)),
        (&open, request("PUT", "/v1/lists/a/a%2Fb%20%C3%B6", "", "{}"), 201, "/value", json!("a/b ö")),
        (&open, request("PUT", old, "Content-Type: text/csv\r\n", "{}"), 415, "/status", json!(415)),
        (&open, request("PUT", old, "", "x".repeat(70_000)), 413, "/status", json!(413)),
        (&open, request("DELETE", old, "", "{}"), 200, "/before/note", json!("anybody: {}")),
        (
            &open,
            request("DELETE", "/v1/lists/a/old?note=found%20again", "", ""),
            200,
            "/before/note",
            json!("anybody: {\"note\":\"found again\"}"),
        ),
        (
            &open,
            request("DELETE", "/v1/lists/a/old?note=a&note=b", "", ""),
            422,
            "/errors/0/parameter",
            json!("note"),
        ),
        (&open, request("DELETE", "/v1/lists/a/file", "", ""), 409, "/title", json!("Listed in a file")),
        (&open, request("GET", "/v1/lists/a", "", ""), 200, "/next", json!("after None, 100")),
        (
            &open,
            request("GET", "/v1/lists/a?after=%C3%B6&limit=1000", "", ""),
            200,
            "/next",
            json!("after Some(\"ö\"), 1000"),
        ),
        (
            &open,
            request("GET", "/v1/lists/ab/x", "", ""),
            404,
            "/detail",
            json!("the live policy has no such list; did you mean `a`?"),
        ),
    ];
    for (running, request, status, pointer, value) in facts {
        let what = String::from_utf8_lossy(&request[..request.len().min(90)]).into_owned();
        let answer = ask(running.admin, request).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.json().pointer(pointer), Some(&value), "{what}: {answer:?}");
    }
    for (method, path, allow) in [
        ("POST", old, "GET, HEAD, PUT, DELETE"),
        ("PUT", "/v1/lists/a", "GET, HEAD"),
        ("DELETE", "/v1/lists", "GET, HEAD"),
        ("GET", "/v1/rules/check", "POST"),
    ] {
        let answer = ask(open.admin, request(method, path, "", "")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let metrics = String::from_utf8(get(open.admin, "/metrics").await.body).unwrap();
    let counted = "tollgate_http_answers_total{route=\"/v1/lists/{list}/{value}\",status=\"201\"} 2\n";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(!metrics.contains("a/b"), "values are no labels");
}
