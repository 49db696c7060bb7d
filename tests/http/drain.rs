//! Shutting down: what is in flight is finished, what comes is told to go elsewhere, and it ends in time.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::steered::Running;
use crate::wire::{Client, get, post, transaction};

async fn in_flight(running: &Running, id: &str) -> Client {
    let begun = running.service.begun.load(SeqCst);
    let mut client = Client::connect(running.decision).await;
    client.send(post("/v1/decisions", "", transaction(id))).await;
    while running.service.begun.load(SeqCst) == begun {
        sleep(Duration::from_millis(5)).await;
    }
    client
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_what_comes_is_refused() {
    let mut running = Running::start().await;
    let mut held = in_flight(&running, "held").await;
    let mut open = Client::connect(running.decision).await;
    open.send("GET /v1/decisions/dec_01JD HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(open.answer().await.unwrap().status, 200);
    let mut idle = Client::connect(running.decision).await;
    sleep(Duration::from_millis(50)).await;

    running.shut_down();
    sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(running.decision).await.is_err(), "no more connections are taken");
    let ready = get(running.admin, "/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (503, Some(false)));

    open.send(post("/v1/decisions", "", transaction("a"))).await;
    let answer = open.answer().await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (503, "draining"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(open.is_closed().await);

    assert!(idle.is_closed().await, "after the notice, silent connections are closed");
    running.service.release.notify_one();
    let answer = held.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(running.ended().await.connections_cut_off, 0);
}

#[tokio::test]
async fn draining_ends_in_time() {
    let mut running = Running::start().await;
    let mut held = in_flight(&running, "held").await;
    let begun = Instant::now();
    running.shut_down();
    assert!(held.answer().await.is_none(), "it is cut off");
    assert_eq!(running.ended().await.connections_cut_off, 1);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_200) && took < Duration::from_millis(3_000), "{took:?}");
}

#[tokio::test]
async fn nothing_open_ends_at_once() {
    let mut running = Running::start().await;
    let begun = Instant::now();
    running.shut_down();
    running.ended().await;
    assert!(begun.elapsed() < Duration::from_millis(300));
}

#[tokio::test]
async fn a_batch_in_work_fails_its_last_lines_by_name() {
    let mut running = Running::start().await;
    let lines = [transaction("a"), transaction("held"), transaction("c")].join("\n");
    let mut client = Client::connect(running.decision).await;
    client.send(post("/v1/decisions/batch", "", lines)).await;
    while running.service.begun.load(SeqCst) < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    running.shut_down();
    sleep(Duration::from_millis(100)).await;
    running.service.release.notify_one();
    let answer = client.answer().await.unwrap();
    let lines: Vec<serde_json::Value> = answer
        .body
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["decision"], &lines[1]["decision"]), (&"BLOCK".into(), &"BLOCK".into()));
    assert_eq!((&lines[2]["type"], &lines[2]["line"]), (&"urn:tollgate:problem:draining".into(), &3.into()));
    assert_eq!(running.ended().await.connections_cut_off, 0);
}
