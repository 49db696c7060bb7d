//! The log, forwarded by the real service: killed under load, ended, asked by metrics and by the command line.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::http::Connection;
use crate::redis_server::RedisServer;
use crate::tollgate_process::{Installation, PATIENT, Service, run, wait_until};
use crate::traffic::transaction;

const STREAM: &str = "audit";
/// How many more decisions each round waits for before it kills.
const DECISIONS_BEFORE_KILL: [usize; 5] = [1, 120, 37, 200, 90];

fn installation(redis: &RedisServer, further: &str) -> Installation {
    let target = format!(
        "[[forward]]\nname = \"risk\"\nkinds = [\"decision\"]\n{further}\nredis = {{url = \"{}\", stream = \"{STREAM}\"}}\n",
        redis.url()
    );
    Installation::with_settings(&format!("{PATIENT}{target}"))
}

/// The fields of each entry.
fn entries(redis: &RedisServer) -> Vec<HashMap<String, String>> {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut command = redis::cmd("XRANGE");
    command.arg(STREAM).arg("-").arg("+");
    let entries: Vec<(String, HashMap<String, String>)> = command.query(&mut connection).unwrap();
    entries.into_iter().map(|(_, fields)| fields).collect()
}

fn decide(connection: &mut Connection, number: usize) -> std::io::Result<()> {
    let mut transaction = transaction(&format!("t_{number}"));
    transaction["customer"]["id"] = json!(format!("c_{}", number % 5));
    connection.try_post("/v1/decisions", "", &transaction.to_string()).map(drop)
}

fn lag(service: &Service) -> f64 {
    service.metric("tollgate_forward_lag_records{target=\"risk\"}")
}

fn audit(installation: &Installation, flags: &[&str]) -> Value {
    let (config, data) = (installation.path().join("tollgate.toml"), installation.data());
    let mut all = vec!["forward", "--json", "--config", config.to_str().unwrap()];
    all.extend(["--data", data.to_str().unwrap()]);
    all.extend(flags);
    serde_json::from_str(&run("audit", all)).unwrap()
}

/// The stream holds each decision of the log once, those of one customer in the log's order.
fn check(installation: &Installation, redis: &RedisServer) {
    let records = installation.records();
    let decisions = records.iter().filter(|record| record["kind"] == "decision");
    let logged: BTreeMap<&str, &Value> =
        decisions.map(|record| (record["hash"].as_str().unwrap(), record)).collect();
    let mut of_customers: HashMap<String, (u64, String)> = HashMap::new();
    let entries = entries(redis);
    assert_eq!(entries.len(), logged.len());
    for entry in &entries {
        let record = logged[&*format!("blake3:{}", entry["hash"])];
        let body: Value = serde_json::from_str(&entry["body"]).unwrap();
        // It is sent as it lies in the log: what is in clear there is in clear here, and the rest is sealed.
        assert_eq!(body["decision_id"], record["body"]["decision_id"]);
        assert!(body["sealed"]["key"].is_u64() && body.get("features").is_none(), "{body}");
        assert!(!entry["key"].contains("c_"));
        let (sequence, customer) =
            (record["sequence"].as_u64().unwrap(), &record["body"]["transaction"]["customer"]["id"]);
        let last = of_customers.entry(customer.to_string()).or_insert((0, entry["key"].clone()));
        assert!(last.0 < sequence && last.1 == entry["key"], "{customer}");
        last.0 = sequence;
    }
}

#[test]
fn every_decision_arrives_once_however_often_the_service_is_killed() {
    let redis = RedisServer::start();
    let installation = installation(&redis, "");
    let (next, sent) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    for decisions in DECISIONS_BEFORE_KILL {
        let service = installation.serve();
        let enough = sent.load(Ordering::Relaxed) + decisions;
        next.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let Ok(mut connection) = Connection::try_open(service.decision) else { return };
                    while !next.load(Ordering::Relaxed) {
                        let number = sent.fetch_add(1, Ordering::Relaxed);
                        if decide(&mut connection, number).is_err() {
                            return;
                        }
                    }
                });
            }
            wait_until("enough decisions", || (sent.load(Ordering::Relaxed) > enough).then_some(()));
            // The load goes on until there is nobody who answers.
            service.kill_now();
            next.store(true, Ordering::Relaxed);
        });
    }
    let service = installation.serve();
    wait_until("nothing is left", || (lag(&service) == 0.0).then_some(()));
    let series = |name: &str| service.metric(&format!("tollgate_forward_{name}{{target=\"risk\"}}"));
    assert_eq!((series("up"), series("lag_seconds"), series("dead_records_total")), (1.0, 0.0, 0.0));

    // An end in order sends what there is.
    let mut connection = service.connect();
    (0..50).for_each(|number| decide(&mut connection, 1_000_000 + number).unwrap());
    service.terminate();
    assert!(service.ended().success());
    check(&installation, &redis);
    let status = audit(&installation, &[]);
    assert_eq!(
        (&status["targets"][0]["lag_records"], &status["targets"][0]["name"]),
        (&json!(0), &json!("risk"))
    );
}

#[test]
fn a_redis_that_is_away_touches_no_decision_and_is_caught_up_with() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes"]);
    let installation = installation(&redis, "");
    let service = installation.serve();
    let mut connection = service.connect();
    (0..30).for_each(|number| decide(&mut connection, number).unwrap());
    wait_until("nothing is left", || (lag(&service) == 0.0).then_some(()));
    redis.kill();
    (30..90).for_each(|number| decide(&mut connection, number).unwrap());
    assert_eq!(service.admin("/readyz").status, 200);
    wait_until("the lag shows", || {
        let seconds = service.metric("tollgate_forward_lag_seconds{target=\"risk\"}");
        (lag(&service) >= 60.0 && seconds > 0.3).then_some(())
    });
    assert_eq!(service.metric("tollgate_forward_up{target=\"risk\"}"), 0.0);
    redis.restart();
    wait_until("nothing is left", || (lag(&service) == 0.0).then_some(()));
    assert!(service.metric("tollgate_forward_retries_total{target=\"risk\"}") >= 1.0);
    service.kill();
    check(&installation, &redis);
}

#[test]
fn dead_letters_and_places_are_in_the_operators_hands() {
    let redis = RedisServer::start();
    // No decision of the shipped catalogue is that short.
    let tight = installation(&redis, "message_bytes_max = 2048");
    let service = tight.serve();
    let mut connection = service.connect();
    (0..10).for_each(|number| decide(&mut connection, number).unwrap());
    wait_until("nothing is left", || (lag(&service) == 0.0).then_some(()));
    assert_eq!(service.metric("tollgate_forward_dead_records_total{target=\"risk\"}"), 10.0);
    assert_eq!(audit(&tight, &["--status"])["targets"][0]["dead_letters"], 10);
    assert_eq!(audit(&tight, &["--replay-dead", "risk"])["left"], 10);

    // Changed in the settings; the service need not know for a replay.
    let file = tight.path().join("tollgate.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("message_bytes_max = 2048", "");
    std::fs::write(&file, text).unwrap();
    assert_eq!(audit(&tight, &["--replay-dead", "risk"])["sent"], 10);
    assert_eq!(audit(&tight, &[])["targets"][0]["dead_letters"], 0);
    check(&tight, &redis);

    service.terminate();
    assert!(service.ended().success());
    // A consumer wants the end once more, and takes a stream of its own for it.
    redis.command(&["DEL", STREAM]);
    let place = audit(&tight, &["--target", "risk", "--from", "8"]);
    assert_eq!(place["sequence"], 7);
    let service = tight.serve();
    wait_until("nothing is left", || (lag(&service) == 0.0).then_some(()));
    let first: Value = serde_json::from_str(&entries(&redis)[0]["body"]).unwrap();
    let records = tight.records();
    let eighth = records[7..].iter().find(|record| record["kind"] == "decision").unwrap();
    assert_eq!(first["decision_id"], eighth["body"]["decision_id"]);
}
