//! What Redis's failures may cost: at most the timeout each, almost nothing while it is down, and never a wrong answer.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tollgate::domain::enrichment::{Lookup, ProfileValue};
use tollgate::domain::time::{Clock, SystemClock};
use tollgate::enrich::counters::ProfileCounters;
use tollgate::enrich::plan::ProfileType::{Int, Text};
use tollgate::enrich::redis::RedisProfiles;
use tollgate::enrich::redis_target::RedisTarget;
use tollgate::enrich::redis_url::RedisAccess;
use tollgate::enrich::source::ProfileSource;

use crate::fault_proxy::{Fault, FaultProxy};
use crate::redis_server::RedisServer;
use crate::stores::{AMPLE, RAW, ask, connected, keys, plan, shown, started};

/// What a busy two-core machine may add to a timer; short of every other wait there is (a probe, a connect).
const SLACK: Duration = Duration::from_millis(150);
const TIMEOUT: Duration = Duration::from_millis(50);

async fn timed(redis: &RedisProfiles, timeout: Duration) -> (String, Duration) {
    let plan = plan(&[("customer", "orders", Int)]);
    let start = SystemClock.instant();
    let answer = redis.fetch(&plan, &keys(&[Some("c_7")]), timeout).await;
    (shown(&answer), start.elapsed())
}

/// Polls until the store answers with a value or its absence; how long that took.
async fn until_answered(redis: &RedisProfiles) -> Duration {
    let start = SystemClock.instant();
    while start.elapsed() < AMPLE {
        if timed(redis, TIMEOUT).await.0 != r#"["timed_out"]"# {
            return start.elapsed();
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("no answer within {AMPLE:?}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_killed_server_costs_little_and_comes_back_within_a_second() {
    let mut server = RedisServer::start();
    let redis = Arc::new(connected(&server.url()).await);
    redis.put("customer", "c_7", &[("orders", "5")]).await.unwrap();

    let slowest_us = Arc::new(AtomicU64::new(0));
    let traffic: Vec<_> = (0..8)
        .map(|_| {
            let (redis, slowest_us) = (Arc::clone(&redis), Arc::clone(&slowest_us));
            tokio::spawn(async move {
                let mut seen = [0_u64; 2];
                for _ in 0..400 {
                    let (answer, took) = timed(&redis, TIMEOUT).await;
                    slowest_us.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
                    match &*answer {
                        r#"[{"known":5}]"# => seen[0] += 1,
                        r#"["timed_out"]"# => seen[1] += 1,
                        wrong => panic!("{wrong}"),
                    }
                    sleep(Duration::from_millis(1)).await;
                }
                seen
            })
        })
        .collect();
    sleep(Duration::from_millis(150)).await;
    server.kill();
    for task in traffic {
        let [known, timed_out] = task.await.unwrap();
        assert!(known > 0 && timed_out > 0, "{known} {timed_out}");
    }
    let slowest = Duration::from_micros(slowest_us.load(Ordering::Relaxed));
    assert!(slowest <= TIMEOUT + SLACK, "{slowest:?}");

    assert!(!redis.is_up());
    assert_eq!(redis.counters().read().connections_up, 0);
    let mut times = Vec::new();
    for _ in 0..201 {
        let (answer, took) = timed(&redis, Duration::from_secs(1)).await;
        assert_eq!(answer, r#"["timed_out"]"#);
        times.push(took);
    }
    let while_down = median(times.clone());
    assert!(while_down < Duration::from_millis(1), "{times:?}");

    server.restart();
    let recovery = until_answered(&redis).await;
    println!("slowest in the fall {slowest:?}, median while down {while_down:?}, back after {recovery:?}");
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
    let counts = redis.counters().read();
    assert_eq!((counts.connects, counts.disconnects, counts.connections_up), (2, 1, 1));
    assert!(counts.unavailable >= 201, "{counts:?}");
}

#[tokio::test]
async fn the_service_may_start_before_redis() {
    let mut server = RedisServer::start();
    server.stop();
    let redis = started(&server.url());
    let (answer, took) = timed(&redis, Duration::from_secs(1)).await;
    assert_eq!(answer, r#"["timed_out"]"#);
    assert!(took < SLACK, "{took:?}");
    sleep(Duration::from_millis(400)).await;
    server.restart();
    assert!(until_answered(&redis).await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_frozen_server_costs_the_timeout_until_it_is_given_up() {
    let server = RedisServer::start();
    let redis = connected(&server.url()).await;
    redis.put("customer", "c_7", &[("orders", "5")]).await.unwrap();
    server.pause();
    let (answer, took) = timed(&redis, TIMEOUT).await;
    assert_eq!(answer, r#"["timed_out"]"#);
    assert!(took >= TIMEOUT && took <= TIMEOUT + SLACK, "{took:?}");

    let start = SystemClock.instant();
    while redis.is_up() {
        assert!(start.elapsed() < Duration::from_secs(1), "a frozen connection is still held");
        let (answer, took) = timed(&redis, TIMEOUT).await;
        assert_eq!(answer, r#"["timed_out"]"#);
        assert!(took <= TIMEOUT + SLACK, "{took:?}");
    }
    let mut times = Vec::new();
    for _ in 0..51 {
        times.push(timed(&redis, TIMEOUT).await.1);
    }
    assert!(median(times.clone()) < Duration::from_millis(1), "{times:?}");

    server.resume();
    let recovery = until_answered(&redis).await;
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
    assert_eq!(timed(&redis, TIMEOUT).await.0, r#"[{"known":5}]"#);
}

#[tokio::test]
async fn a_vanished_idle_connection_is_noticed_without_traffic() {
    let server = RedisServer::start();
    let redis = connected(&server.url()).await;
    server.pause();
    sleep(Duration::from_millis(900)).await;
    assert!(!redis.is_up());
    server.resume();
}

/// Every id has a value of its own; while the server freezes and thaws at random, no one may ever see another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_reply_is_never_taken_for_another_transactions() {
    const IDS: usize = 64;
    const SEED: u64 = 0x7011_6a7e;
    let server = RedisServer::start();
    let redis = Arc::new(connected(&server.url()).await);
    let names: Vec<String> = (0..IDS).map(|index| format!("c_{index}")).collect();
    for name in &names {
        redis.put("customer", name, &[("me", name)]).await.unwrap();
        redis.put("card", name, &[("me", &format!("card of {name}"))]).await.unwrap();
    }
    let traffic: Vec<_> = names
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let redis = Arc::clone(&redis);
            tokio::spawn(async move {
                let plan = plan(&[("customer", "me", Text), ("card", "me", Text)]);
                let own = [name.clone(), format!("card of {name}")];
                let (mut known, mut timed_out) = (0_u64, 0_u64);
                for round in 0..600_usize {
                    // Some transactions lack the card, so that replies differ in number as well.
                    let with_card = (index + round) % 3 != 0;
                    let ids = [Some(&*name), with_card.then_some(&*name)];
                    let timeout = Duration::from_millis(1 + (round % 7) as u64);
                    let answer = redis.fetch(&plan, &keys(&ids), timeout).await;
                    for (output, own) in own.iter().enumerate() {
                        match &answer.0[output] {
                            Lookup::Known(ProfileValue::Text(text)) => {
                                assert_eq!(**text, **own, "another transaction's value");
                                known += 1;
                            }
                            Lookup::TimedOut => timed_out += 1,
                            Lookup::Absent => assert!(output == 1 && !with_card, "a stored value is absent"),
                            Lookup::Known(other) => panic!("{other:?}"),
                        }
                    }
                    sleep(Duration::from_millis(2)).await;
                }
                (known, timed_out)
            })
        })
        .collect();
    let mut state = SEED;
    while !traffic.iter().all(tokio::task::JoinHandle::is_finished) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (frozen_ms, running_ms) = ((state >> 33) % 30, (state >> 43) % 60);
        // Now and then longer than the probe allows, so that connections are given up and remade as well.
        let frozen_ms = if state >> 60 == 0 { 600 } else { frozen_ms };
        server.pause();
        sleep(Duration::from_millis(frozen_ms)).await;
        server.resume();
        sleep(Duration::from_millis(running_ms)).await;
    }
    let (mut known, mut timed_out) = (0, 0);
    for task in traffic {
        let counts = task.await.unwrap();
        known += counts.0;
        timed_out += counts.1;
    }
    let lost = redis.counters().read().disconnects;
    println!("{known} known, {timed_out} timed out, {lost} connections given up");
    assert!(known > 1_000 && timed_out > 1_000 && lost > 0, "not much of a test");
    until_answered(&redis).await;
}

/// Something on the way loses replies and puts others in their place: those after them come to whoever did not ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_out_of_order_are_not_believed() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let redis = Arc::new(connected(&proxy.url()).await);
    for task in 0..8 {
        let own = format!("c_{task}");
        server.command(&["HSET", &format!("tollgate:profile:customer:{own}"), "me", &own]);
    }
    let traffic: Vec<_> = (0..8)
        .map(|task| {
            let redis = Arc::clone(&redis);
            tokio::spawn(async move {
                let (own, plan) = (format!("c_{task}"), plan(&[("customer", "me", Text)]));
                let (expected, mut known) = (format!(r#"[{{"known":"{own}"}}]"#), 0);
                for _ in 0..1_500 {
                    let answer = shown(&redis.fetch(&plan, &keys(&[Some(&*own)]), TIMEOUT).await);
                    assert!(
                        answer == expected || answer == r#"["timed_out"]"#,
                        "{own} was answered {answer}"
                    );
                    known += u32::from(answer == expected);
                    sleep(Duration::from_millis(1)).await;
                }
                known
            })
        })
        .collect();
    let mut switches = 0;
    while !traffic.iter().all(tokio::task::JoinHandle::is_finished) {
        proxy.set(Fault::WrongReply);
        sleep(Duration::from_millis(3)).await;
        proxy.set(Fault::None);
        sleep(Duration::from_millis(120)).await;
        switches += 1;
    }
    let mut known = 0;
    for task in traffic {
        known += task.await.unwrap();
    }
    let lost = redis.counters().read().disconnects;
    println!("{known} known; replies were exchanged {switches} times, {lost} connections given up");
    assert!(known > 500 && lost > 3, "not much of a test");
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_made_again() {
    let server = RedisServer::start();
    let redis = connected(&server.url()).await;
    redis.put("customer", "c_7", &[("orders", "5")]).await.unwrap();
    for round in 1..=5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let recovery = until_answered(&redis).await;
        assert!(recovery < Duration::from_secs(1), "{recovery:?}");
        assert_eq!(timed(&redis, TIMEOUT).await.0, r#"[{"known":5}]"#);
        assert_eq!(redis.counters().read().disconnects, round);
    }
}

/// Servers that speak nonsense, hang up, or say nothing at all.
#[tokio::test]
async fn a_hostile_peer_costs_at_most_the_timeout() {
    let speeches: [Option<&[u8]>; 6] = [
        Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Some(b"$5\r\nab"),
        Some(b"*-7\r\n"),
        Some(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n*1\r\n$1\r\n9\r\n*1\r\n$1\r\n9\r\n"),
        Some(b""),
        None,
    ];
    for speech in speeches {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().take(64) {
                let Ok(mut stream) = stream else { return };
                match speech {
                    Some(b"") => drop(stream),
                    Some(speech) => {
                        let _ = stream.write_all(speech);
                        held.push(stream);
                    }
                    None => held.push(stream),
                }
            }
        });
        let redis = started(&url);
        for _ in 0..5 {
            sleep(Duration::from_millis(30)).await;
            let (answer, took) = timed(&redis, TIMEOUT).await;
            assert_eq!(answer, r#"["timed_out"]"#, "{speech:?}");
            assert!(took <= TIMEOUT + SLACK, "{speech:?} {took:?}");
        }
    }
}

#[tokio::test]
async fn a_fetch_that_is_dropped_halfway_disturbs_nobody() {
    let server = RedisServer::start();
    let redis = connected(&server.url()).await;
    for id in ["c_1", "c_2"] {
        redis.put("customer", id, &[("me", id)]).await.unwrap();
    }
    let plan = plan(&[("customer", "me", Text)]);
    for _ in 0..500 {
        let first = keys(&[Some("c_1")]);
        // Polled once, so that the request is on its way; then dropped.
        tokio::select! {
            biased;
            _ = redis.fetch(&plan, &first, AMPLE) => {}
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(ask(&redis, &plan, &[Some("c_2")]).await, r#"[{"known":"c_2"}]"#);
    }
}

#[tokio::test]
async fn dropping_the_store_closes_its_connection() {
    let server = RedisServer::start();
    let redis = connected(&server.url()).await;
    // The connection that asks is one of them; those of earlier commands may take a moment to go.
    let settles_at = async |count: u32| {
        let wanted = format!("connected_clients:{count}\r");
        for _ in 0..200 {
            if server.command(&["INFO", "clients"]).contains(&wanted) {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    };
    assert!(settles_at(2).await, "the store has one connection");
    drop(redis);
    assert!(settles_at(1).await, "the connection outlives the store");
}

/// As a server with one single-threaded runtime per core does it.
#[test]
fn each_runtime_takes_its_own_connection_and_another_s_only_while_that_is_away() {
    let server = RedisServer::start();
    server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "5"]);
    let counters = Arc::new(ProfileCounters::default());
    let [one, two] = [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
    let target = RedisTarget::parse(&server.url(), RedisAccess::default()).unwrap();
    let runtimes = [one.handle().clone(), two.handle().clone()];
    let clock = Arc::new(SystemClock);
    let redis = Arc::new(RedisProfiles::start(&target, RAW, Arc::clone(&counters), clock, &runtimes));
    // A connection's bytes move only while its runtime runs: an answer in time comes over the asker's own.
    let asked_by = |runtime: &Runtime, up| {
        runtime.block_on(async {
            let its_own = async {
                while counters.read().connections_up < up {
                    sleep(Duration::from_millis(2)).await;
                }
            };
            timeout(AMPLE, its_own).await.expect("no connection of its own");
            timed(&redis, AMPLE).await.0
        })
    };
    let known = r#"[{"known":5}]"#;
    assert_eq!(asked_by(&one, 1), known);
    assert_eq!(asked_by(&two, 2), known);
    // Without its runtime, a connection cannot live on; nobody may wait for it.
    drop(one);
    assert_eq!(counters.read().connections_up, 1);
    let stranger = Builder::new_current_thread().enable_all().build().unwrap();
    let two = std::thread::spawn(move || {
        two.block_on(async { sleep(AMPLE / 2).await });
        two
    });
    assert_eq!(stranger.block_on(timed(&redis, AMPLE)).0, known, "another's connection is better than none");
    drop(two.join().unwrap());
    assert!(!redis.is_up());
    assert_eq!((counters.read().fetches, counters.read().connections_up), (3, 0));
}
