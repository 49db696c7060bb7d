//! The same work in Redis: a server of its own on this machine, one `EVALSHA` over loopback TCP for each transaction.
//!
//! Where there was a choice, Redis got the better one: all six entities in one round trip, numbers packed as doubles both ways,
//! members in compact listpacks as long as they are few, no persistence, keys as short as can be.

use std::sync::Arc;

use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, Connection, IntoConnectionInfo, Pipeline, cmd};
use tollgate::window::event::Attempt;
use tollgate::window::layout::OutcomeStream;

use super::contestant::{Contestant, Worker};
use super::reads::{EntityReads, Reads};
use super::redis_script::{self, MEMBER_HEAD};
use super::redis_server::RedisServer;
use super::workload::{Event, Label};

/// Members of at most so many bytes and sets of at most so many lie in a listpack.
const LISTPACK: [&str; 4] = ["--zset-max-listpack-value", "128", "--zset-max-listpack-entries", "128"];
/// Commands sent at once while nothing is read.
const PIPELINED_MAX: usize = 256;
/// The letters that keys begin with.
const LETTERS: [&str; 6] = ["c", "k", "d", "i", "m", "t"];
/// Attributes are told apart by as many bits as a double holds exactly.
const EXACT_BITS: u64 = (1 << 52) - 1;

/// A server that does the work.
pub(crate) struct RedisPeer {
    reads: Arc<Reads>,
    client: Client,
    observe: Box<str>,
    add: Box<str>,
    record: Box<str>,
    /// Where each number of an answer goes.
    outputs: Vec<usize>,
    // Ends with this value, so it stands last.
    _server: RedisServer,
}

impl RedisPeer {
    pub(crate) const NAME: &'static str = "redis_sorted_sets_lua";

    /// Starts an empty server and loads the scripts.
    pub(crate) fn start(reads: &Arc<Reads>) -> Self {
        let server = RedisServer::start_with(&LISTPACK);
        let client = client(&server);
        let mut connection = client.get_connection().expect("redis-server answers");
        let mut load = |script: &str| -> Box<str> {
            let sha: String =
                cmd("SCRIPT").arg("LOAD").arg(script).query(&mut connection).expect("Redis takes the script");
            sha.into()
        };
        let (observe, outputs) = redis_script::observe(reads);
        Self {
            observe: load(&observe),
            add: load(&redis_script::add(reads)),
            record: load(&redis_script::record(reads)),
            reads: Arc::clone(reads),
            outputs,
            client,
            _server: server,
        }
    }

    fn connection(&self) -> Connection {
        self.client.get_connection().expect("redis-server answers")
    }
}

fn client(server: &RedisServer) -> Client {
    let info = server.url().into_connection_info().expect("a sound address");
    let settings = TcpSettings::default().set_nodelay(true);
    Client::open(info.set_tcp_settings(settings)).expect("a sound address")
}

impl Contestant for RedisPeer {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(RedisWorker { peer: self, connection: self.connection(), waiting: Pipeline::new() })
    }

    fn keys(&self) -> u64 {
        let keys = "return #redis.call('KEYS', '*:a')";
        cmd("EVAL").arg(keys).arg(0).query(&mut self.connection()).expect("Redis counts its keys")
    }

    fn remote_bytes(&self) -> Option<u64> {
        let info: String = cmd("INFO").arg("memory").query(&mut self.connection()).ok()?;
        info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok())
    }
}

struct RedisWorker<'a> {
    peer: &'a RedisPeer,
    connection: Connection,
    waiting: Pipeline,
}

impl RedisWorker<'_> {
    fn wait_with(&mut self, command: Cmd) {
        self.waiting.add_command(command).ignore();
        if self.waiting.len() >= PIPELINED_MAX {
            self.flush();
        }
    }

    fn with_members(&self, script: &str, event: &Event) -> Cmd {
        let mut command = call(script, &event.numbers);
        for reads in &self.peer.reads.entities {
            command.arg(member(reads, event.number, &event.attempt));
        }
        command
    }
}

impl Worker for RedisWorker<'_> {
    fn observe(&mut self, event: &Event, out: &mut [f64]) {
        let command = self.with_members(&self.peer.observe, event);
        let packed: Vec<u8> = command.query(&mut self.connection).expect("Redis answers");
        for (number, &output) in packed.as_chunks().0.iter().zip(&self.peer.outputs) {
            out[output] = f64::from_le_bytes(*number);
        }
    }

    fn add(&mut self, event: &Event) {
        let mut command = self.with_members(&self.peer.add, event);
        command.arg(event.attempt.at.unix_millis());
        self.wait_with(command);
    }

    fn record_outcome(&mut self, event: &Event, stream: OutcomeStream) {
        let ending = match stream {
            OutcomeStream::Approved => ":y",
            OutcomeStream::Declined => ":n",
        };
        let mut command = call(&self.peer.record, &event.numbers);
        command.arg(&event.number.to_le_bytes()).arg(event.attempt.at.unix_millis()).arg(ending);
        self.wait_with(command);
    }

    fn record_label(&mut self, label: &Label) {
        let mut command = call(&self.peer.record, &label.numbers);
        command.arg(&label.number.to_le_bytes()).arg(label.at.unix_millis()).arg(":l");
        if label.fraud {
            command.arg(":f");
        }
        self.wait_with(command);
    }

    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.waiting.exec(&mut self.connection).expect("Redis takes what is recorded");
            self.waiting.clear();
        }
    }
}

fn call(script: &str, numbers: &[u64; 6]) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(script).arg(6);
    for (letter, number) in LETTERS.iter().zip(numbers) {
        command.arg(format!("{letter}{number}"));
    }
    command
}

/// An attempt as a member of the sorted set of one entity.
fn member(reads: &EntityReads, number: u64, attempt: &Attempt) -> Vec<u8> {
    let mut packed = Vec::with_capacity(8 * (MEMBER_HEAD + reads.attributes.len()));
    packed.extend_from_slice(&(attempt.at.unix_millis() as f64).to_le_bytes());
    // Big end first, so that of equal times the one recorded later stands later. The scripts do not read it.
    packed.extend_from_slice(&number.to_be_bytes());
    let mut push = |value: f64| packed.extend_from_slice(&value.to_le_bytes());
    push(attempt.amount.minor() as f64);
    push(attempt.amount.currency().code().bytes().fold(0.0, |code, letter| code * 256.0 + f64::from(letter)));
    let location = attempt.location.filter(|_| reads.is_located);
    push(location.map_or(f64::NAN, |location| location.latitude));
    push(location.map_or(f64::NAN, |location| location.longitude));
    for attribute in &attempt.attributes[reads.attribute_offset..][..reads.attributes.len()] {
        push((attribute & EXACT_BITS) as f64);
    }
    packed
}

/// Nothing but a round trip: what any work in Redis costs at the least.
pub(crate) struct RedisPing {
    client: Client,
    _server: RedisServer,
}

impl RedisPing {
    pub(crate) const NAME: &'static str = "redis_ping";

    /// Starts a server to talk to.
    pub(crate) fn start() -> Self {
        let server = RedisServer::start();
        Self { client: client(&server), _server: server }
    }
}

impl Contestant for RedisPing {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn worker(&self) -> Box<dyn Worker + '_> {
        Box::new(PingWorker(self.client.get_connection().expect("redis-server answers")))
    }

    fn keys(&self) -> u64 {
        0
    }
}

struct PingWorker(Connection);

impl Worker for PingWorker {
    fn observe(&mut self, _: &Event, _: &mut [f64]) {
        cmd("PING").exec(&mut self.0).expect("Redis answers");
    }

    fn add(&mut self, _: &Event) {}

    fn record_outcome(&mut self, _: &Event, _: OutcomeStream) {}

    fn record_label(&mut self, _: &Label) {}
}
