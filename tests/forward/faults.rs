//! Redis is killed, comes back without what it had, stalls, is full, or takes no writes: everything arrives, in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tollgate::domain::time::{Clock as _, SystemClock};

use crate::fault_proxy::{Fault, FaultProxy};
use crate::house::{House, check, entries, target, until};
use crate::redis_server::RedisServer;

/// Writes a few records again and again while `work` is done.
fn under_load(house: &House, work: impl FnOnce()) {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                house.decide(40);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        // Also when the work fails.
        let _over = Over(&is_over);
        work();
    });
}

#[test]
fn a_redis_that_is_killed_under_load_misses_nothing() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let house = House::new();
    let forwarding = house.forward(target(&redis.url()));
    under_load(&house, || {
        for _ in 0..6 {
            let done = forwarding.status.done();
            until("it goes on", || forwarding.status.done() > done + 200);
            redis.kill();
            std::thread::sleep(Duration::from_millis(60));
            assert!(forwarding.status.lag_ms(SystemClock.now()) > 0);
            redis.restart();
        }
    });
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&redis), 1), 0, "the server itself refuses repetitions");
    let counts = forwarding.status.counts();
    println!("{counts:?} of {}", house.settled());
    assert!(counts.retries >= 6 && counts.dead == 0, "{counts:?}");
    until("nothing waits", || forwarding.status.lag_ms(SystemClock.now()) == 0);
}

#[test]
fn what_a_redis_has_lost_is_sent_again() {
    let mut redis = RedisServer::start();
    let house = House::new();
    let mut settings = target(&redis.url());
    let forwarding = house.forward(settings.clone());
    house.decide(500);
    house.wait(&forwarding);
    redis.command(&["SAVE"]);
    house.decide(300);
    house.wait(&forwarding);
    // As a replica that was behind when it was made the master.
    redis.kill();
    redis.restart();
    house.decide(10);
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().resent, 300);
    assert_eq!(check(&house, &entries(&redis), 1), 0);
    forwarding.thread.close();

    // All of it, with a bound on how far back it goes, and after a restart.
    redis.command(&["FLUSHALL"]);
    settings.resend_records_max = 400;
    let forwarding = house.forward(settings);
    house.decide(10);
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().resent, 400);
    assert_eq!(check(&house, &entries(&redis), 411), 0);
}

#[test]
fn stalls_cuts_and_nonsense_on_the_way_lose_and_repeat_nothing() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.port());
    let house = House::new();
    let forwarding = house.forward(target(&proxy.url()));
    let drip = Fault::Drip(Duration::from_millis(1));
    under_load(&house, || {
        for fault in [
            Fault::CutShort,
            Fault::Reset,
            Fault::Garbage,
            Fault::WrongReply,
            Fault::Refuse,
            Fault::Latency(Duration::from_millis(100)),
            drip,
            Fault::StallMidReply,
            Fault::BlackHole,
        ] {
            let retries = forwarding.status.counts().retries;
            proxy.set(fault);
            match fault {
                Fault::Latency(_) | Fault::Drip(_) => std::thread::sleep(Duration::from_millis(500)),
                _ => until("a batch fails", || forwarding.status.counts().retries > retries),
            }
            proxy.set(Fault::None);
            let done = forwarding.status.done();
            until("it goes on", || forwarding.status.done() > done);
        }
    });
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&redis), 1), 0);
    let counts = forwarding.status.counts();
    assert_eq!((counts.dead, counts.resent), (0, 0), "{counts:?}");
}

#[test]
fn a_redis_that_takes_no_writes_is_waited_for_and_no_entry_is_missing_in_the_middle() {
    let redis = RedisServer::start();
    let house = House::new();
    let forwarding = house.forward(target(&redis.url()));
    let waits = |what: &str, begin: &[&[&str]], end: &[&[&str]]| {
        under_load(&house, || {
            begin.iter().for_each(|it| drop(redis.command(it)));
            until(what, || forwarding.status.trouble().is_some_and(|reason| reason.contains(what)));
            end.iter().for_each(|it| drop(redis.command(it)));
            until("it goes on", || forwarding.status.trouble().is_none());
        });
    };
    waits("OOM", &[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]]);
    waits("READONLY", &[&["REPLICAOF", "127.0.0.1", "1"]], &[&["REPLICAOF", "NO", "ONE"]]);
    waits(
        "NOREPLICAS",
        &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        &[&["CONFIG", "SET", "min-replicas-to-write", "0"]],
    );
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&redis), 1), 0);

    // Memory that runs out and is there again, from moment to moment.
    under_load(&house, || {
        for _ in 0..100 {
            redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
            redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        }
    });
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&redis), 1), 0);
    let counts = forwarding.status.counts();
    assert_eq!((counts.dead, counts.dropped, counts.resent), (0, 0, 0), "{counts:?}");
}
