//! What decisions add to profiles: each once, through kills of the service and outages of Redis, and the same in both stores.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::plan::{ProfilePlan, ProfileType};
use tollgate::enrich::source::ProfileSource as _;

use crate::http::Connection;
use crate::redis_server::RedisServer;
use crate::tollgate_process::{Installation, wait_until};
use crate::traffic::{feature, transaction};

const SETTINGS: &str =
    "[decision]\ndeadline_ms = 10000\nenrich_timeout_ms = 1000\n[profiles.updates]\nenabled = true\n";
const KEY: &str = "tollgate:profile:customer:c_7";
const FIELDS: [&str; 6] = [
    "lifetime_attempts",
    "lifetime_orders",
    "lifetime_amount_EUR",
    "last_device",
    "last_country",
    "last_seen_ms",
];

/// What the log says the profile must hold, in the order of `FIELDS`.
fn expected(installation: &Installation) -> Vec<String> {
    let decisions = installation.decisions();
    let counted: Vec<&Value> = decisions.iter().filter(|it| it["repeat"] != true).collect();
    let approved: Vec<_> = counted.iter().filter(|it| it["decision"] == "APPROVE").collect();
    let amounts = approved.iter().map(|it| it["transaction"]["amount"]["value"].as_i64().unwrap());
    let last = counted.last().unwrap();
    vec![
        counted.len().to_string(),
        approved.len().to_string(),
        amounts.sum::<i64>().to_string(),
        last["transaction"]["device"]["id"].as_str().unwrap().to_owned(),
        "DE".to_owned(),
        "1760961600000".to_owned(),
    ]
}

fn in_redis(redis: &RedisServer) -> Vec<String> {
    FIELDS.iter().map(|field| redis.command(&["HGET", KEY, field])).collect()
}

fn send(connection: &mut Connection, prefix: &str, count: usize) {
    for number in 0..count {
        let mut transaction = transaction(&format!("{prefix}_{number}"));
        // Small, with many devices: most are approved.
        transaction["amount"]["value"] = json!(100 + number);
        transaction["device"]["id"] = json!(format!("d_{prefix}_{number}"));
        // Under two keys: decided twice, counted once.
        connection.decide(&transaction.to_string());
        if number % 5 == 0 {
            let again = format!("Idempotency-Key: again_{prefix}_{number}\r\n");
            connection.post("/v1/decisions", &again, &transaction.to_string()).good();
        }
    }
}

#[test]
fn each_decision_counts_once_through_kills_and_outages() {
    let mut redis = RedisServer::start();
    let installation = Installation::with_settings(SETTINGS).redis(&redis.url());
    // Another system has counted before, and its count goes on.
    redis.command(&["HSET", KEY, "lifetime_orders", "0"]);
    for round in 0..3 {
        let service = installation.serve();
        send(&mut service.connect(), &format!("round{round}"), 40);
        service.kill();
    }
    let service = installation.serve();
    let wanted = expected(&installation);
    wait_until("the profile is as the log says", || (in_redis(&redis) == wanted).then_some(()));

    // Redis goes away in the middle, keeps what it had, and comes back.
    redis.command(&["SAVE"]);
    redis.kill();
    send(&mut service.connect(), "outage", 30);
    redis.restart();
    let back = Instant::now();
    let wanted = expected(&installation);
    wait_until("the profile has caught up", || (in_redis(&redis) == wanted).then_some(()));
    println!("caught up {:?} after the return of Redis", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(5));
    let metrics = service.admin("/metrics").body;
    let metric = |line: &str| metrics.lines().any(|it| it.starts_with(line));
    assert!(metric("tollgate_profile_updates_total{event=\"failed\"}"), "{metrics}");
    assert!(!metric("tollgate_profile_updates_total{event=\"skipped\"}"), "{metrics}");
    wait_until("no lag", || {
        service.admin("/metrics").body.contains("\ntollgate_profile_updates_lag_records 0\n").then_some(())
    });

    // What is counted is what the next decision sees.
    let orders: f64 = wanted[1].parse().unwrap();
    service.connect().decide(&transaction("last").to_string());
    service.terminate();
    assert!(service.ended().success());
    let decisions = installation.decisions();
    assert_eq!(*feature(decisions.last().unwrap(), "customer.profile.lifetime_orders"), json!(orders));
    assert_eq!(in_redis(&redis)[0], expected(&installation)[0], "the end of the service waits for the last");
}

#[test]
fn the_embedded_store_counts_the_same() {
    let installation = Installation::with_settings(SETTINGS);
    for round in 0..2 {
        let service = installation.serve();
        send(&mut service.connect(), &format!("round{round}"), 40);
        service.kill();
    }
    let service = installation.serve();
    send(&mut service.connect(), "last", 5);
    service.terminate();
    assert!(service.ended().success());
    assert_eq!(in_embedded(&installation.data()), expected(&installation));
}

fn in_embedded(data: &Path) -> Vec<String> {
    let mut builder = ProfilePlan::builder();
    for field in FIELDS {
        builder.field("customer", field, ProfileType::Text).unwrap();
    }
    let store = EmbeddedProfiles::open(data).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let keys = [Some("c_7")].into_iter().collect();
    let answer = runtime.block_on(store.fetch(&builder.build(), &keys, Duration::from_secs(5)));
    let values = serde_json::to_value(&answer).unwrap();
    values.as_array().unwrap().iter().map(|value| value["known"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn too_far_behind_it_leaves_out_and_says_so() {
    let settings = format!("{SETTINGS}catch_up_records_max = 20\n");
    let mut redis = RedisServer::start();
    let installation = Installation::with_settings(&settings).redis(&redis.url());
    let service = installation.serve();
    redis.kill();
    send(&mut service.connect(), "outage", 100);
    redis.restart();
    wait_until("no lag", || {
        service.admin("/metrics").body.contains("\ntollgate_profile_updates_lag_records 0\n").then_some(())
    });
    let counted: usize = in_redis(&redis)[0].parse().unwrap();
    assert!((1..=60).contains(&counted), "the last ones, and a batch that was on its way: {counted}");
    assert!(service.admin("/metrics").body.contains("tollgate_profile_updates_total{event=\"skipped\"}"));
}
