//! What decisions add to profiles: the same in every store, each step once.

use tollgate::domain::text::Id;
use tollgate::enrich::plan::ProfileType::{Int, Text};
use tollgate::enrich::source::ProfileSource as _;
use tollgate::enrich::update::{Applied, ProfileUpdate, UpdateStep};

use crate::redis_server::RedisServer;
use crate::stores::{ask, connected, every_store, plan};

fn step(sequence: u64, add: &[(&str, i64)], set: &[(&str, &str)]) -> UpdateStep {
    UpdateStep {
        sequence,
        add: add.iter().map(|(name, more)| ((*name).into(), *more)).collect(),
        set: set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    }
}

fn update(log: &str, id: &str, steps: Vec<UpdateStep>) -> ProfileUpdate {
    ProfileUpdate { entity: "customer".into(), id: Id::parse(id).unwrap(), log: log.into(), steps }
}

const PLAN: [(&str, &str, tollgate::enrich::plan::ProfileType); 3] =
    [("customer", "orders", Int), ("customer", "sum", Int), ("customer", "device", Text)];

#[tokio::test]
async fn every_step_counts_once_in_every_store() {
    let one =
        |sequence| step(sequence, &[("orders", 1), ("sum", 100)], &[("device", &format!("d_{sequence}"))]);
    type Fact<'a> = (&'a str, Vec<ProfileUpdate>, [u64; 3], &'a str);
    let facts: [Fact<'_>; 9] = [
        ("nothing to do", vec![], [0, 0, 0], r#"["absent","absent","absent"]"#),
        (
            "the first",
            vec![update("a", "c", vec![one(3)])],
            [1, 0, 0],
            r#"[{"known":1},{"known":100},{"known":"d_3"}]"#,
        ),
        (
            "the same again",
            vec![update("a", "c", vec![one(3)])],
            [0, 1, 0],
            r#"[{"known":1},{"known":100},{"known":"d_3"}]"#,
        ),
        (
            "an earlier one",
            vec![update("a", "c", vec![one(2)])],
            [0, 1, 0],
            r#"[{"known":1},{"known":100},{"known":"d_3"}]"#,
        ),
        (
            "an old and two new",
            vec![update("a", "c", vec![one(3), one(5), one(9)])],
            [2, 1, 0],
            r#"[{"known":3},{"known":300},{"known":"d_9"}]"#,
        ),
        (
            "one twice in a batch",
            vec![update("a", "c", vec![one(10), one(10)])],
            [1, 1, 0],
            r#"[{"known":4},{"known":400},{"known":"d_10"}]"#,
        ),
        (
            "another log counts by itself",
            vec![update("b", "c", vec![one(1)])],
            [1, 0, 0],
            r#"[{"known":5},{"known":500},{"known":"d_1"}]"#,
        ),
        (
            "a refund, and a step that only sets",
            vec![update("a", "c", vec![step(11, &[("sum", -50)], &[]), step(12, &[], &[("device", "")])])],
            [2, 0, 0],
            r#"[{"known":5},{"known":450},{"known":""}]"#,
        ),
        (
            "profile by profile",
            vec![update("a", "x", vec![one(1)]), update("a", "c", vec![one(13)])],
            [2, 0, 0],
            r#"[{"known":6},{"known":550},{"known":"d_13"}]"#,
        ),
    ];
    let plan = plan(&PLAN);
    for (name, store, _alive) in every_store().await {
        for (fact, updates, [steps, repeated, refused], expected) in &facts {
            let applied = store.apply(updates.clone()).await.unwrap();
            let wanted = Applied { steps: *steps, repeated: *repeated, refused: *refused };
            assert_eq!(applied, wanted, "{name}: {fact}");
            assert_eq!(ask(&store, &plan, &[Some("c")]).await, *expected, "{name}: {fact}");
        }
    }
}

#[tokio::test]
async fn counts_go_on_from_what_others_wrote_and_leave_alone_what_is_none() {
    let facts = [
        ("42", r#"{"known":43}"#),
        ("-1", r#"{"known":0}"#),
        ("9223372036854775807", r#"{"known":9223372036854775807}"#),
        ("9223372036854775806", r#"{"known":9223372036854775807}"#),
        ("5.5", r#""absent""#),
        ("many", r#""absent""#),
        ("", r#""absent""#),
    ];
    let plan = plan(&PLAN);
    for (name, store, _alive) in every_store().await {
        for (number, (written, expected)) in facts.iter().enumerate() {
            let id = format!("c_{number}");
            store.put("customer", &id, &[("orders", written)]).await.unwrap();
            let more = step(1, &[("orders", 1), ("sum", 7)], &[]);
            store.apply(vec![update("a", &id, vec![more])]).await.unwrap();
            let answer = ask(&store, &plan, &[Some(&id)]).await;
            assert_eq!(answer, format!(r#"[{expected},{{"known":7}},"absent"]"#), "{name}: {written:?}");
        }
    }
}

/// Any way to cut the steps into batches, and to send some again, comes to the same.
#[tokio::test]
async fn batches_and_repetitions_change_nothing() {
    const STEPS: u64 = 60;
    let all: Vec<_> = (1..=STEPS)
        .map(|n| step(n, &[("orders", 1), ("sum", (n * n) as i64)], &[("device", &format!("d_{n}"))]))
        .collect();
    let sum: u64 = (1..=STEPS).map(|n| n * n).sum();
    let expected = format!(r#"[{{"known":{STEPS}}},{{"known":{sum}}},{{"known":"d_{STEPS}"}}]"#);
    let plan = plan(&PLAN);
    for (name, store, _alive) in every_store().await {
        let mut state = 11_u64;
        for round in 0..4 {
            let (id, mut done) = (format!("c_{round}"), 0_usize);
            while done < all.len() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Begins some steps back, as after a crash before the place was noted.
                let from = done.saturating_sub((state >> 40) as usize % 7);
                let to = (done + 1 + (state >> 50) as usize % 20).min(all.len());
                let applied = store.apply(vec![update("log", &id, all[from..to].to_vec())]).await.unwrap();
                assert_eq!(applied.steps as usize, to - done, "{name}");
                done = to;
            }
            assert_eq!(ask(&store, &plan, &[Some(&id)]).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_said_and_counts_nothing() {
    let server = RedisServer::start();
    server.command(&["SET", "tollgate:profile:customer:text", "a string"]);
    let redis = connected(&server.url()).await;
    let one = || step(1, &[("orders", 1)], &[]);
    let refused = redis.apply(vec![update("a", "text", vec![one()]), update("a", "c", vec![one()])]).await;
    assert_eq!(refused.unwrap(), Applied { steps: 1, repeated: 0, refused: 1 });
    let faults: [(&[&str], &[&str], &str); 2] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"], "OOM"),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"], "READONLY"),
    ];
    for (number, (begin, end, expected)) in (2..).zip(faults) {
        server.command(begin);
        let next = || vec![update("a", "c", vec![step(number, &[("orders", 1)], &[])])];
        let error = redis.apply(next()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        server.command(end);
        assert_eq!(redis.apply(next()).await.unwrap().steps, 1);
    }
    assert_eq!(ask(&redis, &plan(&PLAN[..1]), &[Some("c")]).await, r#"[{"known":3}]"#);
}
