//! Real answers against the OpenAPI document that the server gives.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::steered::{Running, Steered};
use crate::wire::{Answer, ask, get, post, request, transaction};

/// The OpenAPI document, as something to check answers with.
pub(crate) struct Contract(pub(crate) Value);

impl Contract {
    pub(crate) async fn of(address: SocketAddr) -> Self {
        Self(get(address, "/openapi.json").await.json())
    }

    pub(crate) fn validator(&self, pointer: &str) -> jsonschema::Validator {
        // A schema of its own that points into the document, so that references inside it find their way.
        let mut schema = self.0.clone();
        let fields = schema.as_object_mut().unwrap();
        fields.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("$ref".to_owned(), json!(pointer));
        jsonschema::validator_for(&schema).unwrap()
    }

    /// Panics unless the document describes this answer to this request.
    pub(crate) fn check(&self, method: &str, path: &str, answer: &Answer) {
        let operation = &self.0["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        let mut response = &operation["responses"][answer.status.to_string()];
        if let Some(pointer) = response["$ref"].as_str() {
            response = self.0.pointer(pointer.trim_start_matches('#')).unwrap();
        }
        let media_type = answer.header("content-type").unwrap().split(';').next().unwrap();
        let schema = &response["content"][media_type]["schema"];
        assert!(schema.is_object(), "{method} {path} {} {media_type} is not described", answer.status);
        let Some(pointer) = schema["$ref"].as_str() else { return };
        self.check_value(pointer, &answer.json());
    }

    pub(crate) fn check_value(&self, pointer: &str, value: &Value) {
        let errors: Vec<_> = self
            .validator(pointer)
            .iter_errors(value)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{pointer}: {errors:?} in {value}");
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let running = Running::start().await;
    let contract = Contract::of(running.decision).await;
    let good = transaction("pay_9_1");
    let label = json!({"transaction_id": "pay_9_1", "label": "fraud", "kind": "chargeback",
        "occurred_at": "2026-10-27T12:00:00Z", "reason_code": "10.4"})
    .to_string();
    let decisions = "/v1/decisions";
    for (path, request) in [
        (decisions, post(decisions, "", &good)),
        (decisions, post(decisions, "", "{}")),
        (decisions, post(decisions, "", "{")),
        (decisions, post(decisions, "X-Deadline-Ms: 0\r\n", &good)),
        (decisions, post(decisions, "Content-Type: text/xml\r\n", &good)),
        (decisions, post(decisions, "", " ".repeat(100_000))),
        (decisions, post(decisions, "", transaction("in-flight"))),
        (decisions, post(decisions, "", transaction("overloaded"))),
        (decisions, post(decisions, "", transaction("erased"))),
        (decisions, post(decisions, "", transaction("internal"))),
        ("/v1/labels", post("/v1/labels", "", &label)),
        ("/v1/labels", post("/v1/labels", "", "{}")),
        ("/v1/decisions/batch", post("/v1/decisions/batch", "", &good)),
    ] {
        contract.check("post", path, &ask(running.decision, request).await);
    }
    for (path, described) in [
        ("/v1/decisions?transaction_id=pay%2F9", decisions),
        ("/v1/decisions?transaction_id=nobody", decisions),
        ("/v1/decisions", decisions),
        ("/v1/decisions/dec_01JD", "/v1/decisions/{decision_id}"),
        ("/v1/decisions/dec_02JD", "/v1/decisions/{decision_id}"),
        ("/openapi.json", "/openapi.json"),
    ] {
        contract.check("get", described, &get(running.decision, path).await);
    }
    let unwell = Steered { refuses_policy: true, ..Steered::default() };
    for running in [running, Running::start_with(Running::options(), unwell).await] {
        for path in ["/healthz", "/readyz", "/metrics", "/v1/policy", "/v1/rules"] {
            contract.check("get", path, &get(running.admin, path).await);
        }
        let reload = ask(running.admin, post("/v1/policy/reload", "", "")).await;
        contract.check("post", "/v1/policy/reload", &reload);
        contract.check("get", "/v1/rules/candidate", &get(running.admin, "/v1/rules/candidate").await);
        let wrong = get(running.admin, "/v1/rules/candidate?unlabelled=maybe").await;
        contract.check("get", "/v1/rules/candidate", &wrong);
        for (body, status) in [
            (json!({"files": {"mine.yaml": "rules: []"}, "last": 10}), 200),
            (json!({"files": {"busy.yaml": ""}}), 409),
            (json!({"files": {"wrong.yaml": ""}}), 422),
            (json!({"files": {"x.txt": ""}}), 422),
            (json!({"files": {"broken.yaml": ""}}), 500),
        ] {
            let path = "/v1/rules/backtest";
            let answer = ask(running.admin, post(path, "", body.to_string())).await;
            assert_eq!(answer.status, status, "{body}");
            contract.check("post", path, &answer);
        }
        for body in ["{}", "no JSON", &" ".repeat(9 << 20)] {
            let checked = ask(running.admin, post("/v1/rules/check", "", body)).await;
            contract.check("post", "/v1/rules/check", &checked);
        }
        for (body, status) in [("{}", 200), ("busy", 409), ("wrong", 422), ("audit", 503), ("keys", 503)] {
            let path = "/v1/audit/erasures";
            let answer = ask(running.admin, post(path, "", body)).await;
            assert_eq!(answer.status, status, "{body}");
            contract.check("post", path, &answer);
        }
        for (path, described, status) in [
            ("/v1/audit/7/proof", "/v1/audit/{sequence}/proof", 200),
            ("/v1/audit/7/proof?record=none", "/v1/audit/{sequence}/proof", 200),
            ("/v1/audit/7/proof?record=all", "/v1/audit/{sequence}/proof", 422),
            ("/v1/audit/9/proof", "/v1/audit/{sequence}/proof", 404),
            ("/v1/audit/8/proof", "/v1/audit/{sequence}/proof", 500),
            ("/v1/audit/consistency/7", "/v1/audit/consistency/{size}", 200),
            ("/v1/audit/consistency/8", "/v1/audit/consistency/{size}", 404),
            ("/v1/audit/tile/0/000.p/7", "/v1/audit/tile/{tile}", 200),
            ("/v1/audit/tile/entries/000.p/7", "/v1/audit/tile/{tile}", 200),
            ("/v1/audit/tile/0/001", "/v1/audit/tile/{tile}", 404),
            ("/v1/audit/tile/0/../../secret", "/v1/audit/tile/{tile}", 404),
        ] {
            let answer = get(running.admin, path).await;
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            contract.check("get", described, &answer);
        }
        contract.check("get", "/v1/audit/checkpoint", &get(running.admin, "/v1/audit/checkpoint").await);
        let signed = ask(running.admin, post("/v1/audit/checkpoint", "", "")).await;
        assert_eq!(signed.status, if running.service.is_ready { 200 } else { 503 }, "{signed:?}");
        contract.check("post", "/v1/audit/checkpoint", &signed);
        for (path, allowed) in [("checkpoint", "GET, HEAD, POST"), ("7/proof", "GET, HEAD")] {
            let request = crate::wire::request("PUT", &format!("/v1/audit/{path}"), "", "");
            let refused = ask(running.admin, request).await;
            assert_eq!((refused.status, refused.header("allow")), (405, Some(allowed)));
        }
        let (search, record) = ("/v1/audit", "/v1/audit/{sequence}");
        let (queue, review) = ("/v1/reviews", "/v1/reviews/{decision_id}");
        let ready = if running.service.is_ready { 200 } else { 503 };
        for (method, path, described, status) in [
            ("get", "/v1/audit?customer=c%2F7&outcome=BLOCK&from=7d&score_min=0.5&limit=1", search, ready),
            ("get", "/v1/audit?limit=201", search, 422),
            ("get", "/v1/audit?custommer=c_7", search, 422),
            ("get", "/v1/audit/7", record, 200),
            ("get", "/v1/audit/8", record, 404),
            ("get", "/v1/reviews?merchant=m_1", queue, 200),
            ("get", "/v1/reviews?after=7", queue, 200),
            ("get", "/v1/reviews?before=7", queue, 422),
            ("post", "/v1/reviews/new", review, 201),
            ("post", "/v1/reviews/again", review, 200),
            ("post", "/v1/reviews/nobody", review, 404),
            ("post", "/v1/reviews/reviewed", review, 409),
            ("post", "/v1/reviews/wrong", review, 422),
            ("post", "/v1/reviews/audit", review, 503),
        ] {
            let body = if method == "post" { "{}" } else { "" };
            let answer = ask(running.admin, request(method, path, "", body)).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            contract.check(method, described, &answer);
        }
        let (one, entry) = ("/v1/lists/{list}", "/v1/lists/{list}/{value}");
        for (method, path, described, status) in [
            ("get", "/v1/lists", "/v1/lists", 200),
            ("get", "/v1/lists/a?limit=5&after=x%2Fy", one, 200),
            ("get", "/v1/lists/a?limit=0", one, 422),
            ("get", "/v1/lists/b", one, 404),
            ("get", "/v1/lists/a/fp_1", entry, 200),
            ("get", "/v1/lists/b/fp_1", entry, 404),
            ("get", "/v1/lists/a/%zz", entry, 422),
            ("put", "/v1/lists/a/new", entry, 201),
            ("put", "/v1/lists/a/old", entry, 200),
            ("put", "/v1/lists/b/old", entry, 404),
            ("put", "/v1/lists/a/wrong", entry, 422),
            ("put", "/v1/lists/a/full", entry, 507),
            ("put", "/v1/lists/a/audit", entry, 503),
            ("delete", "/v1/lists/a/old?note=why", entry, 200),
            ("delete", "/v1/lists/b/old?note=why", entry, 404),
            ("delete", "/v1/lists/a/file?note=why", entry, 409),
        ] {
            let body = if method == "put" { "{}" } else { "" };
            let answer = ask(running.admin, request(method, path, "", body)).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            contract.check(method, described, &answer);
        }
    }
}

#[tokio::test]
async fn the_document_takes_what_the_server_takes() {
    let running = Running::start().await;
    let contract = Contract::of(running.decision).await;
    let validator = contract.validator("#/components/schemas/Transaction");
    let example = &contract.0["paths"]["/v1/decisions"]["post"]["requestBody"]["content"]["application/json"]
        ["example"];
    let mut wrong = Vec::new();
    for (pointer, value) in [
        ("/transaction_id", json!("has space")),
        ("/amount/value", json!(-1)),
        ("/amount/currency", json!("EURO")),
        ("/card/bin", json!("12")),
        ("/merchant/country", json!("de")),
        ("/metadata/campaign", json!([])),
    ] {
        let mut body = example.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        wrong.push((pointer, body));
    }
    assert_eq!(ask(running.decision, post("/v1/decisions", "", example.to_string())).await.status, 200);
    assert!(validator.is_valid(example));
    for (pointer, body) in wrong {
        let answer = ask(running.decision, post("/v1/decisions", "", body.to_string())).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
        assert!(!validator.is_valid(&body), "{body}");
    }
}

#[tokio::test]
async fn a_batch_answers_line_by_line() {
    let running = Running::start().await;
    let contract = Contract::of(running.decision).await;
    let long = format!("{{\"a\":\"{}\"}}", "a".repeat(70_000));
    let lines =
        [transaction("a").as_str(), "", "no JSON", "{}", &transaction("panic"), &long, &transaction("b")]
            .join("\r\n");
    let request = post("/v1/decisions/batch", "Content-Type: application/x-ndjson\r\n", lines);
    let answer = ask(running.decision, request).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = answers.iter().map(|it| it["status"].as_u64().unwrap_or(200)).collect();
    assert_eq!(statuses, [200, 400, 422, 500, 413, 200]);
    let numbers: Vec<_> = answers.iter().filter_map(|it| it["line"].as_u64()).collect();
    assert_eq!(numbers, [3, 4, 5, 6]);
    for answer in &answers {
        let schema = if answer["status"].is_null() { "Decision" } else { "Problem" };
        contract.check_value(&format!("#/components/schemas/{schema}"), answer);
    }

    // A thousand lines come back in order.
    let lines: Vec<_> = (0..1_000).map(|number| transaction(&format!("n{number}"))).collect();
    let answer = ask(running.decision, post("/v1/decisions/batch", "", lines.join("\n"))).await;
    let text = String::from_utf8(answer.body).unwrap();
    for (number, line) in text.lines().enumerate() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["transaction_id"], format!("n{number}"));
    }
    assert_eq!(text.lines().count(), 1_000);
}

#[tokio::test]
async fn headers_reach_the_service_and_head_has_no_body() {
    let running = Running::start().await;
    let request = post("/v1/decisions", "Idempotency-Key: k-1\r\nX-Deadline-Ms: 250\r\n", transaction("a"));
    let message = ask(running.decision, request).await.json()["reasons"][0]["message"].clone();
    assert_eq!(message, "key Some(\"k-1\"), budget Some(250ms)");
    let head = ask(running.decision, "HEAD /v1/decisions/dec_01JD HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let get = get(running.decision, "/v1/decisions/dec_01JD").await;
    assert_eq!((head.status, head.header("content-length")), (200, get.header("content-length")));
    assert_eq!(get.header("cache-control"), Some("no-store"));
}
