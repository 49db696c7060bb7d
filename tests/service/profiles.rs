//! Profiles from a real Redis reach the features; without Redis answers are degraded, in time, and none is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::Connection;
use crate::redis_server::RedisServer;
use crate::tollgate_process::{Installation, run, wait_until};
use crate::traffic::{feature, transaction};

/// Longer than a healthy Redis takes on a busy machine, and far within the deadline.
const SETTINGS: &str = "[decision]\ndeadline_ms = 5000\nenrich_timeout_ms = 1000\n";
const DEADLINE: Duration = Duration::from_secs(5);
const CLIENTS: usize = 4;
/// Answers that the traffic waits for in each phase.
const PHASE: usize = 60;

fn import(installation: &Installation, redis: &RedisServer) {
    let file = installation.path().join("profiles.ndjson");
    let profiles = [
        json!({"entity": "customer", "id": "c_7", "lifetime_orders": 42, "last_country": "DE"}),
        json!({"entity": "ip", "id": "203.0.113.7", "score": 0.25, "country": "FR"}),
    ];
    std::fs::write(&file, profiles.map(|line| line.to_string()).join("\n")).unwrap();
    run("profiles", ["import", file.to_str().unwrap(), "--redis", &redis.url()]);
}

/// Decides until the answer is whole again; answers how long that took.
fn recovered(connection: &mut Connection, prefix: &str) -> Duration {
    let since = Instant::now();
    let mut number = 0;
    wait_until("an answer that is not degraded", || {
        number += 1;
        let answer = connection.decide(&transaction(&format!("{prefix}_{number}")).to_string());
        (answer["degraded"] == false).then(|| since.elapsed())
    })
}

/// Whether the profile was missing, and nothing else.
pub fn is_degraded(answer: &Value) -> bool {
    let missing = json!(["enrich.profile"]);
    assert_eq!(answer["degraded"] == true, answer["missing"] == missing, "{answer}");
    assert!(answer["missing"] == json!([]) || answer["missing"] == missing, "{answer}");
    answer["degraded"] == true
}

#[test]
fn redis_dies_in_mid_traffic_and_comes_back() {
    let mut redis = RedisServer::start();
    let installation = Installation::with_settings(SETTINGS).redis(&redis.url());
    import(&installation, &redis);
    let service = installation.serve();
    recovered(&mut service.connect(), "warm");

    let (asked, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (gone, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let phase = |what| {
        let enough = answered.load(Ordering::SeqCst) + PHASE;
        wait_until(what, || (answered.load(Ordering::SeqCst) >= enough).then_some(()));
    };
    std::thread::scope(|scope| {
        let client = || {
            let mut connection = service.connect();
            while !done.load(Ordering::SeqCst) {
                let was_gone = gone.load(Ordering::SeqCst);
                let number = asked.fetch_add(1, Ordering::SeqCst);
                let since = Instant::now();
                let answer = connection.decide(&transaction(&format!("traffic_{number}")).to_string());
                let took = since.elapsed();
                assert!(took < DEADLINE, "answered after {took:?}");
                assert!(is_degraded(&answer) || !was_gone, "there is no Redis: {answer}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        phase("traffic with Redis");
        redis.kill();
        gone.store(true, Ordering::SeqCst);
        phase("traffic without Redis");
        gone.store(false, Ordering::SeqCst);
        redis.restart();
        import(&installation, &redis);
        let took = recovered(&mut service.connect(), "back");
        assert!(took < Duration::from_secs(10), "whole again only after {took:?}");
        phase("traffic with Redis again");
        done.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    service.connect().decide(&transaction("last").to_string());
    service.kill();

    let decisions = installation.decisions();
    let traffic =
        decisions.iter().filter(|it| it["transaction_id"].as_str().unwrap().starts_with("traffic_"));
    assert_eq!(traffic.count(), asked.into_inner(), "none is lost");
    for decision in &decisions {
        let (orders, country) =
            if is_degraded(decision) { (Value::Null, None) } else { (json!(42.0), Some("FR")) };
        if decision["transaction_id"] == "last" || is_degraded(decision) {
            assert_eq!(*feature(decision, "customer.profile.lifetime_orders"), orders, "{decision}");
            assert_eq!(text(decision, "device.ip_country"), country, "{decision}");
        }
    }
    assert!(!is_degraded(decisions.last().unwrap()));
    installation.verify();
}

/// The value of a feature that is a text.
fn text<'a>(decision: &'a Value, name: &str) -> Option<&'a str> {
    let slot = crate::traffic::names().iter().position(|it| it == name).unwrap();
    let texts = decision["feature_texts"].as_array()?;
    texts.iter().find(|it| it[0] == json!(slot)).and_then(|it| it[1].as_str())
}

#[test]
fn the_service_starts_without_redis_and_finds_it_later() {
    let mut redis = RedisServer::start();
    redis.stop();
    let installation = Installation::with_settings(SETTINGS).redis(&redis.url());
    let service = installation.serve();
    let mut connection = service.connect();
    for number in 0..5 {
        assert!(is_degraded(&connection.decide(&transaction(&format!("without_{number}")).to_string())));
    }
    redis.restart();
    let took = recovered(&mut connection, "with");
    assert!(took < Duration::from_secs(10), "found only after {took:?}");
}

#[test]
fn a_stalled_redis_costs_no_more_than_the_deadline() {
    let redis = RedisServer::start();
    let installation = Installation::with_settings(SETTINGS).redis(&redis.url());
    let service = installation.serve();
    let mut connection = service.connect();
    recovered(&mut connection, "warm");
    redis.pause();
    let mut took = Vec::new();
    for number in 0..20 {
        let body = transaction(&format!("stalled_{number}")).to_string();
        let since = Instant::now();
        let answer = connection.post("/v1/decisions", "X-Deadline-Ms: 50\r\n", &body);
        took.push(since.elapsed());
        assert!(is_degraded(&answer.good()), "{answer:?}");
    }
    redis.resume();
    // Another program may hold up some of them: half must be in time, and all in a small multiple of it.
    took.sort_unstable();
    assert!(took[took.len() / 2] < Duration::from_millis(60), "{took:?}");
    assert!(took[took.len() - 1] < Duration::from_millis(500), "{took:?}");
    let took = recovered(&mut connection, "back");
    assert!(took < Duration::from_secs(10), "whole again only after {took:?}");
}

/// A Parquet file as a tool would bring it: here, a feature table of this program.
#[cfg(feature = "parquet")]
#[test]
fn rows_of_a_parquet_file_become_profiles() {
    let redis = RedisServer::start();
    let installation = Installation::with_settings(SETTINGS);
    let traffic = crate::traffic::Traffic::simulate(&installation, 1, 20, 1);
    let table = installation.path().join("table.parquet");
    let (input, table) = (traffic.transactions.to_str().unwrap(), table.to_str().unwrap());
    run("features", ["--input", input, "--output", table]);
    run(
        "profiles",
        ["import", table, "--entity", "order", "--id", "transaction_id", "--redis", &redis.url()],
    );
    let first = std::fs::read_to_string(&traffic.transactions).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let key = format!("tollgate:profile:order:{}", first["transaction_id"].as_str().unwrap());
    let stored: f64 = redis.command(&["HGET", &key, "tx.amount"]).parse().unwrap();
    assert_eq!((stored * 100.0).round(), first["amount"]["value"].as_f64().unwrap());
    let rows = std::fs::read_to_string(&traffic.transactions).unwrap().lines().count();
    assert_eq!(redis.command(&["DBSIZE"]), format!(":{rows}"));
}
