//! A Redis that answers, and too late, is left alone: what a fetch costs then, and that it is found again.

use std::time::Duration;

use tokio::time::sleep;
use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::enrich::breaker::{BreakerSettings, BreakerState};
use tollgate::enrich::plan::ProfileType::Int;
use tollgate::enrich::redis::RedisOptions;
use tollgate::enrich::source::ProfileSource;

use crate::fault_proxy::{Fault, FaultProxy};
use crate::redis_server::RedisServer;
use crate::stores::{AMPLE, RAW, keys, plan, shown, started_with};

const TIMEOUT: Duration = Duration::from_millis(20);
/// What a fetch may cost while the breaker is open; a build without optimisation on a busy machine.
const OPEN_FETCH_MAX: Duration = Duration::from_micros(50);

#[tokio::test]
async fn an_open_breaker_costs_microseconds_and_closes_again() {
    let server = RedisServer::start();
    server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "5"]);
    let proxy = FaultProxy::start(server.port());
    // Open for long, so that the probes do not come between while the cost is measured.
    let open = Duration::from_secs(2);
    let breaker = BreakerSettings { open, requests_min: 10, ..BreakerSettings::DEFAULT };
    let redis = started_with(&proxy.url(), RedisOptions { breaker, ..RAW });
    assert!(redis.wait_until_up(AMPLE).await);
    let plan = plan(&[("customer", "orders", Int)]);
    let fetch = async || {
        let begin = SystemClock.instant();
        let answer = redis.fetch(&plan, &keys(&[Some("c_7")]), TIMEOUT).await;
        (shown(&answer), begin.elapsed())
    };
    assert_eq!(fetch().await.0, r#"[{"known":5}]"#);

    // Late for every fetch, and in time for the link's probe: the connection stands all the while.
    proxy.set(Fault::Latency(Duration::from_millis(60)));
    let mut asked = 0;
    while redis.breaker().state == BreakerState::Closed {
        assert_eq!(fetch().await.0, r#"["timed_out"]"#);
        asked += 1;
        assert!(asked <= 40, "it should have opened");
    }
    assert!(redis.is_up());
    let mut costs = Vec::new();
    for _ in 0..2_000 {
        let (answer, cost) = fetch().await;
        assert_eq!(answer, r#"["timed_out"]"#);
        costs.push(cost);
    }
    costs.sort();
    let (median, p99) = (costs[costs.len() / 2], costs[costs.len() * 99 / 100]);
    println!(
        "opened after {asked} fetches; while open a fetch costs {median:?}, p99 {p99:?}, of a timeout of {TIMEOUT:?}"
    );
    assert!(p99 < OPEN_FETCH_MAX, "{p99:?}");
    assert!(redis.breaker().refused >= 2_000);
    assert_eq!(redis.breaker().state, BreakerState::Open);

    proxy.set(Fault::None);
    sleep(open).await;
    while redis.breaker().state != BreakerState::Closed {
        assert_eq!(fetch().await.0, r#"[{"known":5}]"#, "a probe is answered");
    }
}

#[tokio::test]
async fn clients_in_a_hurry_do_not_open_it() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let redis = started_with(&proxy.url(), RedisOptions { connections: 1, ..RedisOptions::default() });
    assert!(redis.wait_until_up(AMPLE).await);
    proxy.set(Fault::Latency(Duration::from_millis(15)));
    let plan = plan(&[("customer", "orders", Int)]);
    for _ in 0..100 {
        redis.fetch(&plan, &keys(&[Some("c_7")]), Duration::from_millis(1)).await;
    }
    assert_eq!(redis.breaker().state, BreakerState::Closed);
}

#[tokio::test]
async fn a_few_keys_of_the_wrong_type_do_not_open_it() {
    let server = RedisServer::start();
    server.command(&["SET", "tollgate:profile:customer:c_7", "a string"]);
    let redis = started_with(&server.url(), RedisOptions::default());
    assert!(redis.wait_until_up(AMPLE).await);
    let plan = plan(&[("customer", "orders", Int)]);
    for _ in 0..200 {
        redis.fetch(&plan, &keys(&[Some("c_7")]), AMPLE).await;
    }
    assert_eq!(redis.breaker().state, BreakerState::Closed);
    assert_eq!(redis.counters().read().errors, 200);
}
