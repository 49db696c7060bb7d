//! Redis as it is deployed: several connections, users with few rights, Sentinel, Cluster.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use tollgate::domain::text::Id;
use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::enrich::counters::ProfileCounters;
use tollgate::enrich::plan::ProfileType::{Int, Text};
use tollgate::enrich::redis::{RedisOptions, RedisProfiles};
use tollgate::enrich::redis_target::RedisTarget;
use tollgate::enrich::redis_url::RedisAccess;
use tollgate::enrich::source::ProfileSource as _;
use tollgate::enrich::update::{ProfileUpdate, UpdateStep};

use crate::redis_server::RedisServer;
use crate::stores::{AMPLE, LONG, RAW, ask, connected, keys, plan, shown, started, started_with};

const ONE: [(&str, &str, tollgate::enrich::plan::ProfileType); 1] = [("customer", "orders", Int)];

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("waited too long for {what}");
}

#[tokio::test]
async fn several_connections_share_the_work_and_stand_in_for_one_another() {
    let server = RedisServer::start();
    server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "5"]);
    let redis = started_with(&server.url(), RedisOptions { connections: 4, ..RAW });
    until("four connections", || redis.counters().read().connections_up == 4).await;
    let plan = plan(&ONE);
    for _ in 0..40 {
        assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    }
    let clients = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    let asked = clients.lines().filter(|client| client.contains("cmd=hmget")).count();
    assert_eq!(asked, 4, "{clients}");
    // One is cut off: whoever asks while it is gone is answered by the others.
    let id = clients.lines().find(|client| client.contains("cmd=hmget")).unwrap();
    let id = id.split(' ').next().unwrap().trim_start_matches("id=");
    server.command(&["CLIENT", "KILL", "ID", id]);
    until("its loss", || redis.counters().read().disconnects == 1).await;
    for _ in 0..8 {
        assert_eq!(ask(&redis, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    }
    until("its return", || redis.counters().read().connections_up == 4).await;
}

#[tokio::test]
async fn users_with_the_least_rights_are_enough() {
    let server = RedisServer::start();
    let url = |rights: &str| {
        let mut command =
            vec!["ACL", "SETUSER", "tollgate", "reset", "on", ">s3cret", "~tollgate:profile:*", "-@all"];
        command.extend(rights.split(' '));
        assert_eq!(server.command(&command), "+OK");
        format!("redis://tollgate:s3cret@127.0.0.1:{}", server.port())
    };
    let plan = plan(&ONE);
    let importing = connected(&url("+ping +hset +hdel")).await;
    importing.put("customer", "c_7", &[("orders", "5")]).await.unwrap();
    let reading = connected(&url("+ping +hmget")).await;
    assert_eq!(ask(&reading, &plan, &[Some("c_7")]).await, r#"[{"known":5}]"#);
    let updating = connected(&url("+ping +hmget +eval +type +hget +hincrby +hset")).await;
    let steps = vec![UpdateStep { sequence: 1, add: vec![("orders".into(), 1)], set: Vec::new() }];
    let update =
        ProfileUpdate { entity: "customer".into(), id: Id::parse("c_7").unwrap(), log: "a".into(), steps };
    assert_eq!(updating.apply(vec![update]).await.unwrap().steps, 1);

    // Without the right to be told of changes, a cache goes by time; with it, by the server's word.
    for (rights, hears) in [("+ping +hmget", false), ("+ping +hmget +client|tracking", true)] {
        server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "6"]);
        let cached = started_with(&url(rights), RedisOptions { cache: LONG, ..RAW });
        assert!(cached.wait_until_up(AMPLE).await);
        assert_eq!(ask(&cached, &plan, &[Some("c_7")]).await, r#"[{"known":6}]"#);
        server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "7"]);
        sleep(Duration::from_millis(200)).await;
        let expected = if hears { r#"[{"known":7}]"# } else { r#"[{"known":6}]"# };
        assert_eq!(ask(&cached, &plan, &[Some("c_7")]).await, expected, "{rights}");
    }
    let wrong = started(&format!("redis://tollgate:wrong@127.0.0.1:{}", server.port()));
    assert!(!wrong.wait_until_up(Duration::from_millis(300)).await);
}

/// Asks until the answer is this one; how long that took.
async fn until_answered(redis: &RedisProfiles, expected: &str) -> Duration {
    let (plan, begin) = (plan(&ONE), SystemClock.instant());
    while begin.elapsed() < Duration::from_secs(20) {
        let answer = redis.fetch(&plan, &keys(&[Some("c_7")]), Duration::from_millis(50)).await;
        if shown(&answer) == expected {
            return begin.elapsed();
        }
        sleep(Duration::from_millis(2)).await;
    }
    panic!("never {expected}");
}

#[tokio::test]
async fn sentinels_name_the_master_also_after_a_failover() {
    let mut master = RedisServer::start();
    let replica = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    master.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "5"]);
    until("the replica", || orders(&replica) == "5").await;
    let sentinel = RedisServer::sentinel("shop", master.port());
    until("the sentinel knows the replica", || sentinel.command(&["INFO", "sentinel"]).contains("slaves=1"))
        .await;
    // The first named Sentinel is gone for good.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/shop", sentinel.port());
    let redis = connected(&url).await;
    assert_eq!(ask(&redis, &plan(&ONE), &[Some("c_7")]).await, r#"[{"known":5}]"#);
    redis.put("customer", "c_7", &[("orders", "6")]).await.unwrap();
    until("the replica", || orders(&replica) == "6").await;

    master.kill();
    let named = format!("address=127.0.0.1:{}", replica.port());
    until("the failover", || sentinel.command(&["INFO", "sentinel"]).contains(&named)).await;
    let took = until_answered(&redis, r#"[{"known":6}]"#).await;
    println!("answered by the new master {took:?} after the Sentinel named it");
    assert!(took < Duration::from_secs(1), "{took:?}");
    redis.put("customer", "c_7", &[("orders", "7")]).await.expect("it is a master, and takes writes");
    until("the write", || orders(&replica) == "7").await;

    // A master that lives on as a replica is left for the new one.
    master.restart();
    until("the old master is a replica", || !is_master(&master)).await;
    until("it has the data", || orders(&master) == "7").await;
    until("the Sentinel agrees", || sentinel.command(&["SENTINEL", "FAILOVER", "shop"]) == "+OK").await;
    until("the failover back", || is_master(&master) && !is_master(&replica)).await;
    let begin = SystemClock.instant();
    loop {
        let written = redis.put("customer", "c_7", &[("orders", "8")]).await;
        if written.is_ok() && orders(&master) == "8" {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "{written:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_sentinel_has_a_password_of_its_own() {
    let master = RedisServer::start_with(&["--requirepass", "master"]);
    let sentinel = RedisServer::sentinel_with("shop", master.port(), "requirepass guard");
    let url = format!("redis+sentinel://:master@127.0.0.1:{}/shop", sentinel.port());
    for (password, connects) in [(Some("guard"), true), (Some("master"), false), (None, false)] {
        let sentinel_password = password.map(str::to_owned);
        let access = RedisAccess { sentinel_password, ..RedisAccess::default() };
        let target = RedisTarget::parse(&url, access).unwrap();
        let (counters, clock) = (Arc::new(ProfileCounters::default()), Arc::new(SystemClock));
        let redis = RedisProfiles::start(&target, RAW, counters, clock, &[Handle::current()]);
        let wait = if connects { AMPLE } else { Duration::from_millis(400) };
        assert_eq!(redis.wait_until_up(wait).await, connects, "{password:?}");
    }
}

fn is_master(server: &RedisServer) -> bool {
    server.try_command(&["INFO", "replication"]).is_some_and(|info| info.contains("role:master"))
}

fn orders(server: &RedisServer) -> String {
    server.try_command(&["HGET", "tollgate:profile:customer:c_7", "orders"]).unwrap_or_default()
}

#[tokio::test]
async fn a_cluster_answers_from_all_its_nodes_and_through_a_move() {
    let mut nodes: Vec<_> = (0..3)
        .map(|_| {
            RedisServer::start_with(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-require-full-coverage",
                "no",
            ])
        })
        .collect();
    let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    for (node, (first, last)) in nodes.iter().zip(ranges) {
        assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "+OK");
        nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
    }
    until("the cluster", || {
        nodes.iter().all(|node| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384")
        })
    })
    .await;
    let redis = connected(&format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", nodes[0].port())).await;
    let entities = ["customer", "card", "device", "ip"];
    let fields: Vec<_> = entities.iter().map(|entity| (*entity, "me", Text)).collect();
    let plan_all = plan(&fields);
    for number in 0..50 {
        for entity in entities {
            redis
                .put(entity, &format!("x_{number}"), &[("me", &format!("{entity}_{number}"))])
                .await
                .unwrap();
        }
    }
    for number in 0..50 {
        let id = format!("x_{number}");
        let expected: Vec<_> =
            entities.iter().map(|entity| format!(r#"{{"known":"{entity}_{number}"}}"#)).collect();
        let answer = ask(&redis, &plan_all, &[Some(&*id); 4]).await;
        assert_eq!(answer, format!("[{}]", expected.join(",")));
    }
    for node in &nodes {
        assert!(node.command(&["INFO", "commandstats"]).contains("cmdstat_hmget"), "every node was asked");
    }

    // A slot moves, with its key, while the client believes it to be where it was.
    let key = "tollgate:profile:customer:c_7";
    redis.put("customer", "c_7", &[("orders", "5")]).await.unwrap();
    let slot = nodes[0].command(&["CLUSTER", "KEYSLOT", key]);
    let slot = slot.trim_start_matches(':');
    let owner =
        nodes.iter().position(|node| !node.command(&["HGET", key, "orders"]).starts_with('-')).unwrap();
    let other = (owner + 1) % 3;
    let id = |node: usize| nodes[node].command(&["CLUSTER", "MYID"]);
    nodes[other].command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(owner)]);
    nodes[owner].command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(other)]);
    let port = nodes[other].port().to_string();
    assert_eq!(nodes[owner].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]), "+OK");
    assert_eq!(ask(&redis, &plan(&ONE), &[Some("c_7")]).await, r#"[{"known":5}]"#, "ASK is followed");
    for node in [other, owner] {
        nodes[node].command(&["CLUSTER", "SETSLOT", slot, "NODE", &id(other)]);
    }
    assert_eq!(ask(&redis, &plan(&ONE), &[Some("c_7")]).await, r#"[{"known":5}]"#, "MOVED is followed");

    // A node dies: what it held is missing, the rest is there.
    nodes[other].kill();
    let begin = SystemClock.instant();
    let mut seen = [0_usize; 2];
    while begin.elapsed() < Duration::from_millis(600) {
        for number in 0..50 {
            let id = format!("x_{number}");
            let begin = SystemClock.instant();
            let answer = redis.fetch(&plan_all, &keys(&[Some(&*id); 4]), Duration::from_millis(50)).await;
            assert!(begin.elapsed() < Duration::from_millis(400), "{:?}", begin.elapsed());
            for (value, entity) in answer.0.iter().zip(entities) {
                let text = serde_json::to_string(value).unwrap();
                let is_known = text == format!(r#"{{"known":"{entity}_{number}"}}"#);
                assert!(is_known || text == r#""timed_out""#, "{text}");
                seen[usize::from(is_known)] += 1;
            }
        }
    }
    println!("with one node of three away: {} known, {} missing", seen[1], seen[0]);
    assert!(seen[1] > seen[0], "two nodes of three answer");
}
