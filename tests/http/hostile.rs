//! What comes from outside may be anything. Each gets its status, and the next request is served.

use std::time::Duration;

use crate::steered::Running;
use crate::wire::{Client, ask, get, post, transaction};

const JSON: &str = "Content-Type: application/json\r\n";

fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(8_000) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

#[tokio::test]
async fn every_wrong_request_has_its_status_and_problem() {
    let running = Running::start().await;
    let good = transaction("pay_9_1");
    let decide = |headers: &str, body: &str| post("/v1/decisions", headers, body);
    let raw = |text: &str| text.as_bytes().to_vec();
    let currency = good.replace("EUR", "XQQ");
    let padded = format!("{good}{}", " ".repeat(65_536 - good.len()));
    let oversize = " ".repeat(1_000_000);
    let nested = "[".repeat(10_000);
    let nested_metadata = good.replace("\"amount\"", &format!("\"metadata\":{nested},\"amount\""));
    let card_number = good.replace("\"amount\"", "\"metadata\":{\"note\":\"4242424242424242\"},\"amount\"");
    let long_key = format!("Idempotency-Key: {}\r\n", "k".repeat(129));
    let many_keys = "Idempotency-Key: a\r\nIdempotency-Key: b\r\n";
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("a good one", decide(JSON, &good), 200, ""),
        ("no content type", decide("", &good), 200, ""),
        ("the largest body", decide(JSON, &padded), 200, ""),
        ("no JSON", decide(JSON, "not json"), 400, "not-json"),
        ("no body", decide(JSON, ""), 400, "not-json"),
        ("half a body", decide(JSON, &good[..40]), 400, "not-json"),
        ("two bodies", decide(JSON, &format!("{good}{good}")), 400, "not-json"),
        ("no UTF-8", post("/v1/decisions", "", b"{\"transaction_id\":\"\xff\"}"), 400, "not-json"),
        ("10,000 arrays", decide(JSON, &nested), 400, "not-json"),
        ("10,000 arrays inside", decide(JSON, &nested_metadata), 400, "not-json"),
        ("an array", decide(JSON, "[]"), 422, "invalid-fields"),
        ("a number", decide(JSON, "1e400"), 400, "not-json"),
        ("wrong types", decide(JSON, &good.replace("12999", "\"12999\"")), 422, "invalid-fields"),
        ("a fraction of a cent", decide(JSON, &good.replace("12999", "129.99")), 422, "invalid-fields"),
        ("an unknown currency", decide(JSON, &currency), 422, "invalid-fields"),
        ("a card number", decide(JSON, &card_number), 422, "invalid-fields"),
        ("1 MB", decide(JSON, &oversize), 413, "too-large"),
        ("one byte too many", decide(JSON, &format!("{padded} ")), 413, "too-large"),
        ("1 MB in chunks", chunked("/v1/decisions", oversize.as_bytes()), 413, "too-large"),
        ("chunks", chunked("/v1/decisions", good.as_bytes()), 200, ""),
        (
            "a length that never comes",
            raw(
                "POST /v1/decisions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
            ),
            413,
            "too-large",
        ),
        (
            "a form",
            decide("Content-Type: application/x-www-form-urlencoded\r\n", &good),
            415,
            "unsupported-media-type",
        ),
        ("compressed", decide("Content-Encoding: gzip\r\n", &good), 415, "unsupported-media-type"),
        ("a long key", decide(&long_key, &good), 422, "invalid-fields"),
        ("two keys", decide(many_keys, &good), 422, "invalid-fields"),
        ("no deadline", decide("X-Deadline-Ms: 0\r\n", &good), 422, "invalid-fields"),
        ("a deadline that is none", decide("X-Deadline-Ms: soon\r\n", &good), 422, "invalid-fields"),
        (
            "another method",
            raw("DELETE /v1/decisions HTTP/1.1\r\nHost: x\r\n\r\n"),
            405,
            "method-not-allowed",
        ),
        ("another path", post("/v1/decision", "", &good), 404, "not-found"),
        ("no path", raw("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), 404, "not-found"),
        ("a path upwards", raw("GET /v1/decisions/../../etc HTTP/1.1\r\nHost: x\r\n\r\n"), 404, "not-found"),
        ("no host", raw("GET /v1/decisions/dec_01JD HTTP/1.1\r\n\r\n"), 400, "bad-request"),
        (
            "two hosts",
            raw("GET /v1/decisions/dec_01JD HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            400,
            "bad-request",
        ),
        ("HTTP/1.0", raw("GET /v1/decisions/dec_01JD HTTP/1.0\r\n\r\n"), 200, ""),
        ("a label without a kind", post("/v1/labels", "", "{}"), 422, "invalid-fields"),
        ("a panic", decide(JSON, &transaction("panic")), 500, "internal"),
        ("a reused key", decide(JSON, &transaction("reused")), 422, "idempotency-key-reused"),
        ("in flight", decide(JSON, &transaction("in-flight")), 409, "in-flight"),
        ("overload", decide(JSON, &transaction("overloaded")), 503, "overloaded"),
        ("starting", decide(JSON, &transaction("not-ready")), 503, "not-ready"),
        ("no log", decide(JSON, &transaction("audit")), 503, "audit-unavailable"),
        ("a fault", decide(JSON, &transaction("internal")), 500, "internal"),
        ("a batch as JSON", post("/v1/decisions/batch", JSON, &good), 415, "unsupported-media-type"),
        ("a batch of too many lines", post("/v1/decisions/batch", "", "1\n".repeat(1_001)), 413, "too-large"),
    ];
    for (name, request, status, problem) in cases {
        let answer = ask(running.decision, request).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        if status >= 400 {
            assert_eq!(answer.problem(), problem, "{name}");
        }
        assert_eq!(answer.header("retry-after").is_some(), matches!(status, 409 | 503), "{name}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("4242424242424242") && !text.contains("secret"), "{name}: {text}");
    }
    assert_eq!(get(running.decision, "/v1/decisions/dec_01JD").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_closed() {
    let running = Running::start().await;
    let long_head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: a\r\n".repeat(1_000));
    for (name, bytes, status) in [
        ("noise", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", Some(400)),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        ("a long head", &long_head, Some(431)),
        ("many headers", &many_headers, Some(431)),
        (
            "a length twice",
            "POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            Some(400),
        ),
        (
            "a negative length",
            "POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            Some(400),
        ),
    ] {
        let mut client = Client::connect(running.decision).await;
        client.try_send(bytes).await;
        let answer = client.answer().await;
        if let (Some(answer), Some(status)) = (&answer, status) {
            assert_eq!(answer.status, status, "{name}");
        }
        while let Some(answer) = client.answer().await {
            assert_eq!(answer.status, 400, "{name}");
        }
    }
    assert_eq!(get(running.decision, "/v1/decisions/dec_01JD").await.status, 200);
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let running = Running::start().await;

    // A head that comes byte by byte never ends, however lively it is.
    let mut client = Client::connect(running.decision).await;
    let begun = tokio::time::Instant::now();
    for byte in b"GET /v1/decisions/dec_01JD HTTP/1.1\r\nHost: x\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        client.try_send([*byte]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(client.is_closed().await);
    assert!(begun.elapsed() < Duration::from_secs(2));

    // A body that stops gets 408.
    let mut client = Client::connect(running.decision).await;
    client.send("POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (408, "body-too-slow"));
    assert!(client.is_closed().await);

    // Silence ends the connection, before the first request and after.
    let mut silent = Client::connect(running.decision).await;
    let mut served = Client::connect(running.decision).await;
    served.send("GET /v1/decisions/dec_01JD HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(served.answer().await.unwrap().status, 200);
    assert!(silent.is_closed().await);
    assert!(served.is_closed().await);

    // A decision may take longer than a head: it is not silence.
    let mut client = Client::connect(running.decision).await;
    for _ in 0..4 {
        client.send(post("/v1/decisions", "", transaction("slow"))).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = Running::start().await;
    let mut client = Client::connect(running.decision).await;
    // Those behind the first came with it: they have waited as long as it took.
    let patient = "X-Deadline-Ms: 10000\r\n";
    let mut requests = post("/v1/decisions", patient, transaction("slow"));
    for number in 1..50 {
        requests.extend(post("/v1/decisions", patient, transaction(&format!("p{number}"))));
    }
    requests.extend(post("/v1/decisions", patient, "no JSON"));
    client.send(requests).await;
    assert_eq!(client.answer().await.unwrap().json()["transaction_id"], "slow");
    for number in 1..50 {
        assert_eq!(client.answer().await.unwrap().json()["transaction_id"], format!("p{number}"));
    }
    assert_eq!(client.answer().await.unwrap().status, 400);
}

#[tokio::test]
async fn a_decision_is_finished_when_its_client_goes_away() {
    use std::sync::atomic::Ordering::SeqCst;
    let running = Running::start().await;
    let mut client = Client::connect(running.decision).await;
    client.send(post("/v1/decisions", "", transaction("slow"))).await;
    while running.service.begun.load(SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(running.service.finished.load(SeqCst), 1);

    // One that goes away in the middle of its body decides nothing.
    let mut client = Client::connect(running.decision).await;
    client.send("POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running.service.begun.load(SeqCst), 1);
}
