//! Redis as it is deployed: users with few rights, Sentinel, Cluster, replicas that must have it.

use std::time::Duration;

use crate::house::{House, STREAM, check, entries, entries_of, stream_of, target, until};
use crate::redis_server::RedisServer;

#[test]
fn a_user_with_the_least_rights_is_enough() {
    let (redis, house) = (RedisServer::start(), House::new());
    let rights = "reset on >s3cret ~audit -@all +xadd +xrange +xinfo|stream +multi +exec +wait";
    let mut command = vec!["ACL", "SETUSER", "tollgate"];
    command.extend(rights.split(' '));
    assert_eq!(redis.command(&command), "+OK");
    let forwarding = house.forward(target(&format!("redis://tollgate:s3cret@127.0.0.1:{}", redis.port())));
    house.decide(200);
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().retries, 0, "{:?}", forwarding.status.trouble());
    // Without one of them nothing is lost: it says which, and waits.
    redis.command(&["ACL", "SETUSER", "tollgate", "-xadd"]);
    house.decide(10);
    until("it says so", || forwarding.status.trouble().is_some_and(|it| it.contains("xadd")));
    redis.command(&["ACL", "SETUSER", "tollgate", "+xadd"]);
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&redis), 1), 0);
}

#[test]
fn a_batch_counts_when_enough_replicas_have_it() {
    let (master, replica) =
        (RedisServer::start(), RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]));
    let house = House::new();
    let mut settings = target(&master.url());
    stream_of(&mut settings).replicas_min = 1;
    let forwarding = house.forward(settings);
    house.decide(50);
    until("it waits", || {
        forwarding.status.trouble().is_some_and(|it| it == "0 replicas have it, and replicas_min is 1")
    });
    assert_eq!(forwarding.status.done(), 0);
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&replica), 1), 0, "it has them already");
}

#[test]
fn the_new_master_gets_what_it_had_not_been_told() {
    let mut master = RedisServer::start();
    let replica = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    let sentinel = RedisServer::sentinel("shop", master.port());
    until("the sentinel knows the replica", || sentinel.command(&["INFO", "sentinel"]).contains("slaves=1"));
    let house = House::new();
    let forwarding = house.forward(target(&format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port())));
    house.decide(100);
    house.wait(&forwarding);
    until("the replica has them", || replica.command(&["XLEN", STREAM]) == ":100");
    // From here on the replica hears nothing, until it is the master.
    replica.pause();
    house.decide(300);
    house.wait(&forwarding);
    master.kill();
    replica.resume();
    house.decide(20);
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&replica), 1), 0);
    println!("{:?}", forwarding.status.counts());
}

#[test]
fn a_cluster_gets_it_at_the_node_that_has_the_stream_also_when_it_moves() {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
    let nodes: Vec<_> = (0..3).map(|_| RedisServer::start_with(&options)).collect();
    for (node, (first, last)) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
        assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "+OK");
        nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
    }
    until("the cluster", || {
        nodes.iter().all(|node| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384")
        })
    });
    let house = House::new();
    let mut settings = target(&format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", nodes[0].port()));
    stream_of(&mut settings).replicas_min = 0;
    let forwarding = house.forward(settings);
    house.decide(400);
    house.wait(&forwarding);
    let slot = nodes[0].command(&["CLUSTER", "KEYSLOT", STREAM]);
    let slot = slot.trim_start_matches(':');
    let has = |node: &RedisServer| node.command(&["XLEN", STREAM]).starts_with(':');
    let owner = nodes.iter().position(has).unwrap();
    assert_eq!(check(&house, &entries(&nodes[owner]), 1), 0);

    let other = (owner + 1) % 3;
    let id = |node: usize| nodes[node].command(&["CLUSTER", "MYID"]);
    nodes[other].command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(owner)]);
    nodes[owner].command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(other)]);
    let port = nodes[other].port().to_string();
    assert_eq!(nodes[owner].command(&["MIGRATE", "127.0.0.1", &port, STREAM, "0", "5000"]), "+OK");
    house.decide(50);
    std::thread::sleep(Duration::from_millis(100));
    for node in &nodes {
        node.command(&["CLUSTER", "SETSLOT", slot, "NODE", &id(other)]);
    }
    house.decide(50);
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries_of(nodes[other].port(), STREAM), 1), 0);
}
