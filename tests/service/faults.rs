//! What an ailing Redis may do to a running service, as a table: each fault, what is missing then, and that all is well again
//! within a second of its end. In every case every request is answered 200 inside its deadline, says honestly whether profiles
//! are missing, and no decision has another customer's profile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault_proxy::{Fault, FaultProxy};
use crate::http::Connection;
use crate::profiles::is_degraded;
use crate::redis_server::RedisServer;
use crate::tollgate_process::{Installation, Service};
use crate::traffic::{feature, transaction};

/// Longer than a healthy Redis takes on a busy machine, and far within the deadline.
const SETTINGS: &str = "[decision]\ndeadline_ms = 5000\nenrich_timeout_ms = 100\n";
const DEADLINE: Duration = Duration::from_millis(500);
/// All is well again that soon after the end of a fault.
const RECOVERY_MAX: Duration = Duration::from_secs(1);
/// So many answers in a row without anything missing are called well.
const WELL: usize = 5;
/// How long each fault lasts.
const FAULT: Duration = Duration::from_millis(400);
const CLIENTS: usize = 4;
const CUSTOMERS: usize = 16;
/// Values that make a loading server busy for a while.
const FILLERS: usize = 40;

/// What is missing while the fault lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// Nothing, for nearly all.
    Nothing,
    /// The profile, for all.
    Profile,
    /// The profile, for nearly all: what reaches the client whole before the fault strikes is an answer.
    Mostly,
}

/// A service behind a proxy to its Redis, with customers whose profiles name them.
struct Rig {
    redis: Mutex<RedisServer>,
    proxy: FaultProxy,
    installation: Installation,
    /// How the customers are called, before their number.
    prefix: &'static str,
}

impl Rig {
    fn new(redis: RedisServer, prefix: &'static str) -> Self {
        let proxy = FaultProxy::start(redis.port());
        let installation = Installation::with_settings(SETTINGS).redis(&proxy.url());
        Self { redis: Mutex::new(redis), proxy, installation, prefix }
    }

    fn command(&self, words: &[&str]) -> String {
        self.redis.lock().unwrap().command(words)
    }

    fn key(&self, customer: usize) -> String {
        format!("tollgate:profile:customer:{}{customer}", self.prefix)
    }

    /// Each customer has another number of orders.
    fn store(&self) {
        for customer in 0..CUSTOMERS {
            let key = self.key(customer);
            self.command(&["DEL", &key]);
            assert_eq!(self.command(&["HSET", &key, "lifetime_orders", &orders(customer).to_string()]), ":1");
        }
    }

    fn transaction(&self, id: &str, customer: usize) -> String {
        let mut transaction = transaction(id);
        transaction["customer"]["id"] = json!(format!("{}{customer}", self.prefix));
        transaction["device"] = json!({"id": "d_3"});
        transaction.to_string()
    }

    /// Decides, and says whether the profile was missing.
    fn decide(&self, connection: &mut Connection, id: &str, customer: usize) -> bool {
        let since = Instant::now();
        let headers = format!("X-Deadline-Ms: {}\r\n", DEADLINE.as_millis());
        let answer = connection.post("/v1/decisions", &headers, &self.transaction(id, customer)).good();
        let took = since.elapsed();
        assert!(took < DEADLINE, "{id}: answered after {took:?}");
        is_degraded(&answer)
    }

    /// Decides until all is well; answers how long that took.
    fn recovered(&self, service: &Service, prefix: &str) -> Duration {
        let (since, mut connection, mut in_a_row, mut well_since) =
            (Instant::now(), service.connect(), 0, None);
        for number in 0.. {
            let asked = since.elapsed();
            if self.decide(&mut connection, &format!("{prefix}_{number}"), number % CUSTOMERS) {
                (in_a_row, well_since) = (0, None);
            } else {
                in_a_row += 1;
                well_since.get_or_insert(asked);
            }
            if let Some(well_since) = well_since.filter(|_| in_a_row >= WELL) {
                return well_since;
            }
            assert!(asked < Duration::from_secs(20), "{prefix}: never well again");
            std::thread::sleep(Duration::from_millis(2));
        }
        unreachable!("the loop has no other end")
    }

    /// Goes through the table under traffic, then looks at every decision's record.
    fn run(&self, table: &[Fact<'_>]) {
        let service = self.installation.serve();
        self.recovered(&service, "begin");
        for Fact { fault, begin, end, missing } in table {
            let name = fault.replace(' ', "_");
            let began = Instant::now();
            begin(self);
            let asked = AtomicUsize::new(0);
            let degraded = AtomicUsize::new(0);
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for client in 0..CLIENTS {
                    let (asked, degraded, is_over, service) = (&asked, &degraded, &is_over, &service);
                    let name = &name;
                    scope.spawn(move || {
                        let mut connection = service.connect();
                        while !is_over.load(Ordering::SeqCst) {
                            let number = asked.fetch_add(1, Ordering::SeqCst);
                            let id = format!("{name}_{client}_{number}");
                            let is_degraded = self.decide(&mut connection, &id, number % CUSTOMERS);
                            degraded.fetch_add(usize::from(is_degraded), Ordering::SeqCst);
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    });
                }
                std::thread::sleep(FAULT);
                is_over.store(true, Ordering::SeqCst);
            });
            let lasted = began.elapsed();
            end(self);
            let recovery = self.recovered(&service, &format!("after_{name}"));
            let (asked, degraded) = (asked.into_inner(), degraded.into_inner());
            println!(
                "{fault:<28} {degraded:>5} of {asked:>5} degraded in {lasted:>8.1?}, well again after {recovery:.1?}"
            );
            match missing {
                Missing::Profile => assert_eq!(degraded, asked, "{fault}"),
                Missing::Mostly => {
                    assert!(asked - degraded <= CLIENTS + asked / 10, "{fault}: {degraded} of {asked}");
                }
                Missing::Nothing => assert!(degraded * 10 <= asked, "{fault}: {degraded} of {asked}"),
            }
            assert!(asked >= CLIENTS, "{fault}: not much of a test");
            assert!(recovery < RECOVERY_MAX, "{fault}: well again only after {recovery:?}");
        }
        let metrics = service.admin("/metrics").body;
        let opened = "tollgate_breaker_transitions_total{dependency=\"profiles\",to=\"open\"}";
        let opened = metrics.lines().find_map(|line| line.strip_prefix(opened)).expect("it is counted");
        assert!(opened.trim().parse::<u64>().unwrap() > 0, "the breaker has opened now and then");
        assert!(
            metrics.contains("tollgate_breaker_state{dependency=\"profiles\"} 0\n"),
            "and is closed again"
        );
        service.kill();
        self.check_records();
    }

    /// Every decision has its own customer's profile, or says that it is missing.
    fn check_records(&self) {
        let decisions = self.installation.decisions();
        assert!(!decisions.is_empty());
        for decision in &decisions {
            let customer = decision["transaction"]["customer"]["id"].as_str().unwrap();
            let customer: usize = customer.strip_prefix(self.prefix).unwrap().parse().unwrap();
            let expected = if is_degraded(decision) { Value::Null } else { json!(orders(customer) as f64) };
            assert_eq!(*feature(decision, "customer.profile.lifetime_orders"), expected, "{decision}");
        }
        self.installation.verify();
    }
}

fn orders(customer: usize) -> usize {
    1_000 + customer
}

struct Fact<'a> {
    fault: &'a str,
    begin: &'a dyn Fn(&Rig),
    end: &'a dyn Fn(&Rig),
    missing: Missing,
}

/// When all threads of the proxy have seen a fault: whoever is reading passes on what comes before its read is over.
const SETTLED: Duration = Duration::from_millis(50);

const fn fact<'a>(
    fault: &'a str,
    missing: Missing,
    begin: &'a dyn Fn(&Rig),
    end: &'a dyn Fn(&Rig),
) -> Fact<'a> {
    Fact { fault, begin, end, missing }
}

fn heal(rig: &Rig) {
    rig.proxy.set(Fault::None);
}

#[test]
fn faults_of_the_network() {
    let rig = Rig::new(RedisServer::start(), "c_");
    rig.store();
    let set = |fault: Fault| {
        move |rig: &Rig| {
            rig.proxy.set(fault);
            std::thread::sleep(SETTLED);
        }
    };
    let ms = Duration::from_millis;
    rig.run(&[
        fact("no fault at all", Missing::Nothing, &heal, &heal),
        fact("latency 3 ms", Missing::Nothing, &set(Fault::Latency(ms(3))), &heal),
        fact("latency 200 ms", Missing::Profile, &set(Fault::Latency(ms(200))), &heal),
        fact("latency 2 s", Missing::Profile, &set(Fault::Latency(ms(2_000))), &heal),
        fact("stall in mid-reply", Missing::Mostly, &set(Fault::StallMidReply), &heal),
        fact("reply cut short", Missing::Mostly, &set(Fault::CutShort), &heal),
        fact("drip, 150 ms a byte", Missing::Profile, &set(Fault::Drip(ms(150))), &heal),
        fact("garbage", Missing::Profile, &set(Fault::Garbage), &heal),
        fact("replies to other questions", Missing::Profile, &set(Fault::WrongReply), &heal),
        fact("reset", Missing::Mostly, &set(Fault::Reset), &heal),
        fact("connection refused", Missing::Profile, &set(Fault::Refuse), &heal),
        fact("black hole", Missing::Profile, &set(Fault::BlackHole), &heal),
    ]);
}

#[test]
fn faults_of_the_server() {
    let rig = Rig::new(RedisServer::start(), "c_");
    rig.store();
    let filler = "x".repeat(2_000);
    for number in 0..FILLERS {
        rig.command(&["SET", &format!("filler:{number}"), &format!("{filler}{number}")]);
    }
    let say = |words: &'static [&'static str]| {
        move |rig: &Rig| {
            let answer = rig.command(words);
            assert!(!answer.starts_with('-'), "{words:?}: {answer}");
        }
    };
    let server = |act: fn(&mut RedisServer)| move |rig: &Rig| act(&mut rig.redis.lock().unwrap());
    let spoil_keys = |rig: &Rig| {
        for customer in 0..CUSTOMERS {
            rig.command(&["SET", &rig.key(customer), "a string"]);
        }
    };
    let unreachable = |rig: &Rig| {
        rig.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        rig.command(&["REPLICAOF", "127.0.0.1", "1"]);
    };
    let loading = |rig: &Rig| {
        let mut redis = rig.redis.lock().unwrap();
        redis.command(&["SAVE"]);
        redis.options(&["--key-load-delay", "60000", "--loading-process-events-interval-bytes", "1024"]);
        redis.restart();
        assert!(redis.command(&["HGET", "a", "b"]).starts_with("-LOADING"), "it is loading");
    };
    let loaded = |rig: &Rig| {
        let is_loading = || rig.command(&["HGET", "a", "b"]).starts_with("-LOADING");
        while is_loading() {
            std::thread::sleep(Duration::from_millis(1));
        }
        rig.redis.lock().unwrap().options(&[]);
    };
    let kill = |redis: &mut RedisServer| {
        redis.command(&["SAVE"]);
        redis.kill();
    };
    rig.run(&[
        fact("keys of the wrong type", Missing::Profile, &spoil_keys, &Rig::store),
        fact("clients paused", Missing::Profile, &say(&["CLIENT", "PAUSE", "600", "ALL"]), &say(&["PING"])),
        fact("frozen", Missing::Profile, &server(|redis| redis.pause()), &server(|redis| redis.resume())),
        fact(
            "not permitted",
            Missing::Profile,
            &say(&["ACL", "SETUSER", "default", "-hmget"]),
            &say(&["ACL", "SETUSER", "default", "+hmget"]),
        ),
        fact(
            "read-only replica",
            Missing::Nothing,
            &say(&["REPLICAOF", "127.0.0.1", "1"]),
            &say(&["REPLICAOF", "NO", "ONE"]),
        ),
        fact("replica without its master", Missing::Profile, &unreachable, &say(&["REPLICAOF", "NO", "ONE"])),
        fact(
            "out of memory",
            Missing::Nothing,
            &say(&["CONFIG", "SET", "maxmemory", "1"]),
            &say(&["CONFIG", "SET", "maxmemory", "0"]),
        ),
        fact("loading its data", Missing::Profile, &loading, &loaded),
        fact("killed", Missing::Profile, &server(kill), &server(RedisServer::restart)),
    ]);
}

/// A client that asks one server of a cluster is sent elsewhere: no answer, and no following without end.
#[test]
fn answers_of_a_cluster_to_a_client_that_knows_of_none() {
    let (rig, other) = (
        Rig::new(RedisServer::start_with(&["--cluster-enabled", "yes"]), "{c}"),
        RedisServer::start_with(&["--cluster-enabled", "yes"]),
    );
    let say = |words: &[&str]| assert_eq!(rig.command(words), "+OK", "{words:?}");
    say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    say(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
    let (own_id, other_id) = (rig.command(&["CLUSTER", "MYID"]), other.command(&["CLUSTER", "MYID"]));
    // All customers are in one slot, by the tag in their ids.
    let slot = rig.command(&["CLUSTER", "KEYSLOT", &rig.key(0)]);
    let slot = slot.trim_start_matches(':').to_owned();
    let is_known = || rig.command(&["CLUSTER", "NODES"]).contains(&other_id);
    crate::tollgate_process::wait_until("the cluster", || {
        (is_known() && rig.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).then_some(())
    });
    rig.store();
    let set_slot = |words: Vec<String>| {
        let slot = slot.clone();
        move |rig: &Rig| {
            let mut command = vec!["CLUSTER", "SETSLOT", &slot];
            command.extend(words.iter().map(String::as_str));
            assert_eq!(rig.command(&command), "+OK", "{command:?}");
        }
    };
    let migrating = set_slot(vec!["MIGRATING".to_owned(), other_id.clone()]);
    let gone = |rig: &Rig| {
        migrating(rig);
        for customer in 0..CUSTOMERS {
            rig.command(&["DEL", &rig.key(customer)]);
        }
        assert!(rig.command(&["HGET", &rig.key(0), "x"]).starts_with("-ASK"));
    };
    let stable = set_slot(vec!["STABLE".to_owned()]);
    let back = |rig: &Rig| {
        stable(rig);
        rig.store();
    };
    let moved = set_slot(vec!["NODE".to_owned(), other_id.clone()]);
    let moved = |rig: &Rig| {
        for customer in 0..CUSTOMERS {
            rig.command(&["DEL", &rig.key(customer)]);
        }
        moved(rig);
        assert!(rig.command(&["HGET", &rig.key(0), "x"]).starts_with("-MOVED"));
    };
    let mine = set_slot(vec!["NODE".to_owned(), own_id]);
    let mine = |rig: &Rig| {
        mine(rig);
        rig.store();
    };
    let slots = |words: &'static [&'static str]| move |rig: &Rig| assert_eq!(rig.command(words), "+OK");
    let without = slots(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
    let with = |rig: &Rig| {
        assert_eq!(rig.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK");
        while !rig.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    rig.run(&[
        fact("ASK: the slot is on its way", Missing::Profile, &gone, &back),
        fact("MOVED: the slot is elsewhere", Missing::Profile, &moved, &mine),
        fact("CLUSTERDOWN: nobody has it", Missing::Profile, &without, &with),
    ]);
}
