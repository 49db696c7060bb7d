//! The bound on connections, and the threads that serve them.

use std::time::Duration;

use tollgate::http::auth::ApiKeys;
use tollgate::http::options::ServerOptions;

use crate::steered::{Running, Steered};
use crate::wire::{Client, ask, get, post, transaction};

#[tokio::test]
async fn one_connection_too_many_is_told_and_closed() {
    let options = ServerOptions { connections_max: 3, ..Running::options() };
    let running = Running::start_with(options, Steered::default()).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(running.decision).await;
        client.send(post("/v1/decisions", "", transaction("a"))).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        taken.push(client);
    }
    let mut refused = Client::connect(running.decision).await;
    refused.try_send(post("/v1/decisions", "", transaction("a"))).await;
    let answer = refused.answer().await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(refused.is_closed().await);

    let metrics = String::from_utf8(get(running.admin, "/metrics").await.body).unwrap();
    assert!(metrics.contains("tollgate_http_connections{port=\"decision\"} 3\n"), "{metrics}");
    assert!(metrics.contains("tollgate_http_connections_refused_total{port=\"decision\"} 1\n"), "{metrics}");

    drop(taken.pop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(running.decision, post("/v1/decisions", "", transaction("a"))).await.status, 200);
}

#[tokio::test]
async fn worker_threads_serve_as_well() {
    let mut running = Running::serve_on(2, Running::<Steered>::options(), Arc::default()).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(running.decision).await);
    }
    for client in &mut clients {
        client.send(post("/v1/decisions", "", transaction("slow"))).await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    let batch = format!("{}\n{}\n", transaction("a"), transaction("b"));
    assert_eq!(ask(running.decision, post("/v1/decisions/batch", "", batch)).await.status, 200);
    drop(clients);
    running.shut_down();
    assert_eq!(running.ended().await.connections_cut_off, 0);
}

#[tokio::test]
async fn keys_guard_both_ports() {
    let key = |name: &str| [format!("{name}:{name}-0123456789abcdef")];
    let keys = ApiKeys::new(&key("gateway"), &key("operator")).unwrap();
    let running = Running::start_with(ServerOptions { keys, ..Running::options() }, Steered::default()).await;
    let (decision, admin) = (running.decision, running.admin);
    for (address, path, key, status) in [
        (decision, "/v1/decisions/dec_01JD", "", 401),
        (decision, "/v1/decisions/dec_01JD", "Authorization: Bearer nonsense\r\n", 401),
        (decision, "/v1/decisions/dec_01JD", "Authorization: Bearer operator-0123456789abcdef\r\n", 403),
        (decision, "/v1/decisions/dec_01JD", "Authorization: Bearer gateway-0123456789abcdef\r\n", 200),
        (decision, "/openapi.json", "", 200),
        (admin, "/v1/policy", "", 401),
        (admin, "/v1/policy", "Authorization: Bearer gateway-0123456789abcdef\r\n", 403),
        (admin, "/v1/policy", "Authorization: Bearer operator-0123456789abcdef\r\n", 200),
        (admin, "/metrics", "", 401),
        (admin, "/healthz", "", 200),
        (admin, "/readyz", "", 503),
    ] {
        let answer = ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n{key}\r\n")).await;
        assert_eq!(answer.status, status, "{path} {key}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
}
