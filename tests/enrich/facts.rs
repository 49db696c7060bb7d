//! What every store answers, as a table.

use std::time::Duration;

use tollgate::enrich::plan::ProfileType::{self, Bool, Int, Number, Text};
use tollgate::enrich::redis::RedisProfiles;
use tollgate::enrich::source::{ProfileError, ProfileSource};

use crate::proxy::CountingProxy;
use crate::redis_server::RedisServer;
use crate::stores::{AMPLE, ask, connected, every_store, keys, plan, shown};

type Stored<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

const STORED: &[Stored<'_>] = &[
    ("customer", "c_7", &[("orders", "5"), ("country", "DE"), ("vip", "true"), ("mean", "12.5")]),
    ("customer", "c_zero", &[("orders", "0"), ("country", ""), ("vip", "false"), ("mean", "0")]),
    ("customer", "c_bad", &[("orders", "5.5"), ("country", "DE"), ("vip", "maybe"), ("mean", "NaN")]),
    ("customer", "Zoë 🦀 ключ", &[("orders", "1"), ("country", "Łódź")]),
    ("customer", "a:b:c", &[("orders", "2")]),
    ("customer", "2001:db8::1", &[("orders", "3")]),
    ("ip", "203.0.113.7", &[("score", "0.75")]),
    ("ip", "c_7", &[("score", "0.5")]),
];

const CUSTOMER: &[(&str, &str, ProfileType)] = &[
    ("customer", "orders", Int),
    ("customer", "country", Text),
    ("customer", "vip", Bool),
    ("customer", "mean", Number),
];

#[tokio::test]
async fn every_store_answers_the_same() {
    let mixed = &[("customer", "orders", Int), ("ip", "score", Number), ("customer", "country", Text)][..];
    let twice = &[("customer", "orders", Int), ("customer", "orders", Text)][..];
    let unknown = &[("customer", "no_such_field", Int), ("customer", "orders", Int)][..];
    type Fact<'a> = (&'a str, &'a [(&'a str, &'a str, ProfileType)], &'a [Option<&'a str>], &'a str);
    let facts: &[Fact<'_>] = &[
        ("known", CUSTOMER, &[Some("c_7")], r#"[{"known":5},{"known":"DE"},{"known":true},{"known":12.5}]"#),
        (
            "zero is known",
            CUSTOMER,
            &[Some("c_zero")],
            r#"[{"known":0},{"known":""},{"known":false},{"known":0.0}]"#,
        ),
        ("wrong types", CUSTOMER, &[Some("c_bad")], r#"["absent",{"known":"DE"},"absent","absent"]"#),
        ("no such id", CUSTOMER, &[Some("c_8")], r#"["absent","absent","absent","absent"]"#),
        ("id is case sensitive", CUSTOMER, &[Some("C_7")], r#"["absent","absent","absent","absent"]"#),
        ("id as a prefix", CUSTOMER, &[Some("c_")], r#"["absent","absent","absent","absent"]"#),
        ("no id", CUSTOMER, &[None], r#"["absent","absent","absent","absent"]"#),
        ("no ids at all", CUSTOMER, &[], r#"["absent","absent","absent","absent"]"#),
        (
            "unicode id",
            CUSTOMER,
            &[Some("Zoë 🦀 ключ")],
            r#"[{"known":1},{"known":"Łódź"},"absent","absent"]"#,
        ),
        ("colons in the id", CUSTOMER, &[Some("a:b:c")], r#"[{"known":2},"absent","absent","absent"]"#),
        ("IPv6 as an id", CUSTOMER, &[Some("2001:db8::1")], r#"[{"known":3},"absent","absent","absent"]"#),
        (
            "two entities",
            mixed,
            &[Some("c_7"), Some("203.0.113.7")],
            r#"[{"known":5},{"known":0.75},{"known":"DE"}]"#,
        ),
        (
            "same id, other entity",
            mixed,
            &[Some("c_7"), Some("c_7")],
            r#"[{"known":5},{"known":0.5},{"known":"DE"}]"#,
        ),
        ("second without id", mixed, &[Some("c_7"), None], r#"[{"known":5},"absent",{"known":"DE"}]"#),
        ("first without id", mixed, &[None, Some("203.0.113.7")], r#"["absent",{"known":0.75},"absent"]"#),
        ("one field, two types", twice, &[Some("c_7")], r#"[{"known":5},{"known":"5"}]"#),
        ("no such field", unknown, &[Some("c_7")], r#"["absent",{"known":5}]"#),
        ("empty plan", &[], &[Some("c_7")], "[]"),
    ];
    for (name, store, _alive) in every_store().await {
        for (entity, id, fields) in STORED {
            store.put(entity, id, fields).await.unwrap();
        }
        for (fact, fields, ids, expected) in facts {
            assert_eq!(ask(&store, &plan(fields), ids).await, *expected, "{name}: {fact}");
        }
        let counts = store.counters().read();
        assert_eq!(counts.malformed_values, 3, "{name}: the values of c_bad are counted");
        assert_eq!((counts.errors, counts.timeouts, counts.unavailable), (0, 0, 0), "{name}");
        // Three facts have nothing to ask: no id, no ids at all, empty plan.
        assert_eq!(counts.fetches, facts.len() as u64 - 3, "{name}");
        assert!(store.is_up());
    }
}

#[tokio::test]
async fn writes_merge_by_field_and_wrong_profiles_are_refused() {
    for (name, store, _alive) in every_store().await {
        let plan = plan(CUSTOMER);
        store.put("customer", "c_1", &[("orders", "1"), ("country", "DE")]).await.unwrap();
        store.put("customer", "c_1", &[("orders", "2"), ("vip", "1")]).await.unwrap();
        let answer = ask(&store, &plan, &[Some("c_1")]).await;
        assert_eq!(answer, r#"[{"known":2},{"known":"DE"},{"known":true},"absent"]"#, "{name}");

        for (entity, id) in [("cus:tomer", "c_1"), ("customer", ""), ("customer", "a\nb")] {
            let refused = store.put(entity, id, &[("orders", "1")]).await;
            assert!(matches!(refused, Err(ProfileError::Record(_))), "{name}: {refused:?}");
        }
        assert!(store.put_many(Vec::new()).await.is_ok());
    }
}

#[tokio::test]
async fn without_time_nobody_is_asked() {
    for (name, store, _alive) in every_store().await {
        store.put("customer", "c_7", &[("orders", "5")]).await.unwrap();
        let plan = plan(&[("ip", "score", Number), ("customer", "orders", Int)]);
        let answer = store.fetch(&plan, &keys(&[None, Some("c_7")]), Duration::ZERO).await;
        assert_eq!(shown(&answer), r#"["absent","timed_out"]"#, "{name}");
        assert_eq!(store.counters().read().timeouts, 1, "{name}");
    }
}

#[tokio::test]
async fn redis_reads_what_a_plain_hset_wrote() {
    let server = RedisServer::start();
    server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "5", "country", "DE"]);
    let expected = r#"[{"known":5},{"known":"DE"},"absent","absent"]"#;
    let by_tcp = connected(&server.url()).await;
    assert_eq!(ask(&by_tcp, &plan(CUSTOMER), &[Some("c_7")]).await, expected);
    let by_socket = connected(&format!("redis+unix://{}", server.socket().display())).await;
    assert_eq!(ask(&by_socket, &plan(CUSTOMER), &[Some("c_7")]).await, expected);
}

#[tokio::test]
async fn redis_takes_credentials_and_database_from_the_url() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret/@"]);
    let port = server.port();
    let admitted = connected(&format!("redis://:s3cret%2F%40@127.0.0.1:{port}/2")).await;
    admitted.put("customer", "c_7", &[("orders", "5")]).await.unwrap();
    let one = plan(&[("customer", "orders", Int)]);
    assert_eq!(ask(&admitted, &one, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    let other_database = connected(&format!("redis://:s3cret%2F%40@127.0.0.1:{port}/3")).await;
    assert_eq!(ask(&other_database, &one, &[Some("c_7")]).await, r#"["absent"]"#);

    for wrong in [format!("redis://127.0.0.1:{port}"), format!("redis://:wrong@127.0.0.1:{port}")] {
        let refused: RedisProfiles = crate::stores::started(&wrong);
        assert!(!refused.wait_until_up(Duration::from_millis(300)).await);
        assert_eq!(ask(&refused, &one, &[Some("c_7")]).await, r#"["timed_out"]"#);
        let error = refused.put("customer", "c_7", &[("orders", "6")]).await.unwrap_err();
        assert!(matches!(error, ProfileError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_hash_affects_its_own_entity_only() {
    let server = RedisServer::start();
    server.command(&["SET", "tollgate:profile:customer:c_7", "a string"]);
    let redis = connected(&server.url()).await;
    redis.put("ip", "192.0.2.1", &[("score", "0.5")]).await.unwrap();
    let plan = plan(&[("customer", "orders", Int), ("ip", "score", Number), ("customer", "vip", Bool)]);
    for _ in 0..3 {
        let answer = ask(&redis, &plan, &[Some("c_7"), Some("192.0.2.1")]).await;
        assert_eq!(answer, r#"["timed_out",{"known":0.5},"timed_out"]"#);
    }
    let error = redis.put("customer", "c_7", &[("orders", "1")]).await.unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    let counts = redis.counters().read();
    assert_eq!((counts.errors, counts.disconnects), (3, 0), "an error reply does not cost the connection");
}

#[tokio::test]
async fn a_transaction_is_one_round_trip() {
    let server = RedisServer::start();
    let proxy = CountingProxy::start(server.port());
    let redis = connected(&proxy.url()).await;
    let entities = ["customer", "card", "ip", "device"];
    for entity in entities {
        redis.put(entity, "x", &[("a", "1"), ("b", "2")]).await.unwrap();
    }
    let fields: Vec<_> =
        entities.iter().flat_map(|entity| [(*entity, "a", Int), (*entity, "b", Int)]).collect();
    let plan = plan(&fields);
    server.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..50 {
        let answer = redis.fetch(&plan, &keys(&[Some("x"); 4]), AMPLE).await;
        assert!(!answer.is_incomplete());
        assert_eq!(answer.0.len(), 8);
    }
    // Each transaction's four questions left together, before any of their answers.
    assert_eq!(proxy.bursts_with("HMGET"), vec![4; 50]);
    let stats = server.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_hmget:calls=200,"), "{stats}");
}
