//! One of two connections is late and the server is not: what a second question over the other one gives, and what it leaves behind.

use std::time::Duration;

use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::enrich::breaker::{BreakerSettings, BreakerState};
use tollgate::enrich::hedge::HedgeSettings;
use tollgate::enrich::plan::ProfileType::Int;
use tollgate::enrich::redis::{RedisOptions, RedisProfiles};
use tollgate::enrich::source::ProfileSource;

use crate::fault_proxy::{Fault, FaultProxy};
use crate::redis_server::RedisServer;
use crate::stores::{AMPLE, RAW, keys, plan, shown, started_with};

/// Longer than any timeout here, shorter than what makes the keeper give the connection up.
const LATE: Duration = Duration::from_millis(60);
const CUSTOMERS: usize = 50;

/// A store of two connections that both stand, with customers `c_<n>` that have `n` orders.
async fn store(proxy: &FaultProxy, server: &RedisServer, hedge: HedgeSettings) -> RedisProfiles {
    let redis = started_with(&proxy.url(), RedisOptions { connections: 2, hedge, ..RAW });
    let begin = SystemClock.instant();
    while redis.counters().read().connections_up < 2 {
        assert!(begin.elapsed() < AMPLE, "two connections");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for number in 0..CUSTOMERS {
        let key = format!("tollgate:profile:customer:c_{number}");
        server.command(&["HSET", &key, "orders", &number.to_string()]);
    }
    redis
}

/// Fetches one customer after the other; how many answers were missing, and how long each took, in order of time.
async fn fetch_all(redis: &RedisProfiles, rounds: usize, timeout: Duration) -> (usize, Vec<Duration>) {
    let plan = plan(&[("customer", "orders", Int)]);
    let (mut missing, mut times) = (0, Vec::new());
    for number in (0..CUSTOMERS).cycle().take(rounds) {
        let begin = SystemClock.instant();
        let answer = redis.fetch(&plan, &keys(&[Some(&format!("c_{number}"))]), timeout).await;
        times.push(begin.elapsed());
        match shown(&answer).as_str() {
            r#"["timed_out"]"# => missing += 1,
            known => assert_eq!(known, format!(r#"[{{"known":{number}}}]"#), "another's profile"),
        }
    }
    times.sort();
    (missing, times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_connection_stalls_the_other_answers() {
    const TIMEOUT: Duration = Duration::from_millis(30);
    const ROUNDS: usize = 60;
    for share_percent in [0, 100] {
        let server = RedisServer::start();
        let proxy = FaultProxy::start(server.port());
        let hedge = HedgeSettings { delay: Duration::from_millis(3), share_percent };
        let redis = store(&proxy, &server, hedge).await;
        assert_eq!(fetch_all(&redis, CUSTOMERS, AMPLE).await.0, 0);
        let before = redis.counters().read();

        proxy.set_for(0, Fault::Latency(LATE));
        let (missing, times) = fetch_all(&redis, ROUNDS, TIMEOUT).await;
        let counts = redis.counters().read();
        let (p50, p99) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
        println!(
            "at most {share_percent} % ask twice: {missing} of {ROUNDS} missing, p50 {p50:?}, p99 {p99:?}, {} asked twice, {} won",
            counts.hedges, counts.hedges_won
        );
        // Each reply of the late connection is late by itself, so that what was asked there keeps it late for what comes next.
        if share_percent == 0 {
            assert!(missing >= ROUNDS / 3, "{missing}: half of the fetches go over the late connection");
            assert_eq!(counts.hedges, 0);
        } else {
            assert!(missing <= ROUNDS / 10, "{missing}");
            assert!(counts.hedges_won - before.hedges_won >= 10, "{counts:?}");
            assert!(counts.hedges_won <= counts.hedges, "{counts:?}");
        }
        // Late replies, of which there were many, are dropped: nobody is given another's profile, asserted in `fetch_all`.
        proxy.set(Fault::None);
        tokio::time::sleep(LATE * 3).await;
        assert_eq!(fetch_all(&redis, CUSTOMERS * 2, AMPLE).await.0, 0);
    }
}

#[tokio::test]
async fn a_server_that_is_late_is_asked_twice_for_a_share_and_the_breaker_opens() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let hedge = HedgeSettings { delay: Duration::from_millis(2), share_percent: 5 };
    let breaker = BreakerSettings { requests_min: 20, window: AMPLE, ..BreakerSettings::DEFAULT };
    let options = RedisOptions { connections: 2, hedge, breaker, ..RAW };
    let redis = started_with(&proxy.url(), options);
    assert!(redis.wait_until_up(AMPLE).await);
    proxy.set(Fault::Latency(LATE));
    let (missing, _) = fetch_all(&redis, 20, Duration::from_millis(10)).await;
    assert_eq!(missing, 20);
    assert_eq!(redis.breaker().state, BreakerState::Open, "each fetch failed once, however often it asked");
    let counts = redis.counters().read();
    assert!(counts.hedges <= 11 && counts.timeouts == 20, "ten at once and a twentieth: {counts:?}");
}
