//! The cache before a real Redis: what it saves, what it notices, and what it still knows when Redis is gone.

use std::time::Duration;

use tokio::time::sleep;
use tollgate::enrich::cache::CacheSettings;
use tollgate::enrich::plan::ProfileType::{Int, Number};
use tollgate::enrich::redis::{RedisOptions, RedisProfiles};
use tollgate::enrich::source::ProfileSource as _;

use crate::redis_server::RedisServer;
use crate::stores::{AMPLE, LONG, RAW, ask, plan, started_with};

const KEY: &str = "tollgate:profile:customer:c_7";

async fn cached(server: &RedisServer, cache: CacheSettings, connections: usize) -> RedisProfiles {
    let redis = started_with(&server.url(), RedisOptions { cache, connections, ..RAW });
    assert!(redis.wait_until_up(AMPLE).await);
    // All of them, so that no connection that comes later empties the cache.
    while redis.counters().read().connections_up < connections as u64 {
        sleep(Duration::from_millis(1)).await;
    }
    redis
}

/// Asks until the answer is this one; a word from the server is on its way for a moment.
async fn settles_at(redis: &RedisProfiles, expected: &str) {
    let plan = plan(&[("customer", "orders", Int)]);
    for _ in 0..1_000 {
        if ask(redis, &plan, &[Some("c_7")]).await == expected {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never {expected}, with a time to live of minutes");
}

#[tokio::test]
async fn what_is_kept_is_not_asked_again() {
    let server = RedisServer::start();
    server.command(&["HSET", KEY, "orders", "5"]);
    let redis = cached(&server, LONG, 1).await;
    let plan = plan(&[("customer", "orders", Int), ("ip", "score", Number)]);
    server.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        let answer = ask(&redis, &plan, &[Some("c_7"), Some("192.0.2.1")]).await;
        assert_eq!(answer, r#"[{"known":5},"absent"]"#);
    }
    let stats = server.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_hmget:calls=2,"), "one for each of the two: {stats}");
    let view = redis.cache().unwrap();
    assert_eq!((view.entries, view.hits, view.misses), (2, 198, 2));
    assert_eq!(redis.counters().read().fetches, 1, "only what asks Redis is a fetch");

    // A new one is asked for by itself, the other stays kept.
    assert_eq!(ask(&redis, &plan, &[Some("c_7"), Some("192.0.2.2")]).await, r#"[{"known":5},"absent"]"#);
    assert!(server.command(&["INFO", "commandstats"]).contains("cmdstat_hmget:calls=3,"));
}

#[tokio::test]
async fn a_write_by_anybody_ends_what_is_kept() {
    let server = RedisServer::start();
    let redis = cached(&server, LONG, 3).await;
    let steps: [(&[&str], &str); 5] = [
        (&["PING"], r#"["absent"]"#),
        (&["HSET", KEY, "orders", "5"], r#"[{"known":5}]"#),
        (&["HSET", KEY, "orders", "6"], r#"[{"known":6}]"#),
        (&["DEL", KEY], r#"["absent"]"#),
        (&["HSET", KEY, "orders", "7"], r#"[{"known":7}]"#),
    ];
    for (command, expected) in steps {
        server.command(command);
        settles_at(&redis, expected).await;
    }
    redis.put("customer", "c_7", &[("orders", "8")]).await.unwrap();
    settles_at(&redis, r#"[{"known":8}]"#).await;
    server.command(&["FLUSHALL"]);
    settles_at(&redis, r#"["absent"]"#).await;
    assert!(redis.cache().unwrap().invalidations > 0);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_believed_until_the_time_is_over() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    server.command(&["HSET", KEY, "orders", "5"]);
    let ttl = Duration::from_millis(300);
    let redis = cached(&server, CacheSettings { ttl, ..LONG }, 1).await;
    let plan = plan(&[("customer", "orders", Int)]);
    assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    server.command(&["HSET", KEY, "orders", "6"]);
    assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#, "kept");
    sleep(ttl).await;
    assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":6}]"#);
}

#[tokio::test]
async fn what_is_kept_outlives_redis_but_not_its_return() {
    let mut server = RedisServer::start();
    server.command(&["HSET", KEY, "orders", "5"]);
    let redis = cached(&server, LONG, 2).await;
    let plan = plan(&[("customer", "orders", Int)]);
    assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    server.kill();
    while redis.is_up() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    assert_eq!(ask(&redis, &plan, &[Some("c_8")]).await, r#"["timed_out"]"#);
    // It comes back empty, and nobody said so.
    server.restart();
    settles_at(&redis, r#"["absent"]"#).await;
    assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"["absent"]"#);
}
