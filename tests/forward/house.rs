//! A log that is written, its targets, and what stands in a stream.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate::audit::frame::Kind;
use tollgate::audit::open::{LogOptions, OpenedLog};
use tollgate::audit::reader::LogReader;
use tollgate::audit::receipt::{LogId, Receipt};
use tollgate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::enrich::redis_target::RedisTarget;
use tollgate::enrich::redis_url::RedisAccess;
use tollgate::forward::entity::EntityHasher;
use tollgate::forward::forwarding::{self, ForwardedLog, Forwarding};
use tollgate::forward::settings::{
    Destination, RedisStreamSettings, Start, TargetName, TargetSettings, WhenFull,
};

use crate::redis_server::RedisServer;

pub const LOG: LogId = LogId([0x5a; 16]);
/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const STREAM: &str = "audit";
/// How many customers there are.
const CUSTOMERS: u64 = 7;

/// A data directory with a log that is open for writing.
pub struct House {
    directory: TempDir,
    handle: LogHandle<()>,
}

impl House {
    pub fn new() -> Self {
        Self::with_segments(LogOptions::default().segment_bytes_max)
    }

    pub fn with_segments(segment_bytes_max: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions { segment_bytes_max, ..LogOptions::default() };
        let log = directory.path().join("log");
        let opened = OpenedLog::open(&log, LOG, SystemClock.now(), options).unwrap();
        let handle =
            LogWriter::start(opened, WriterOptions::default(), Box::new(|_| {}), Box::new(|_| {})).unwrap();
        Self { directory, handle }
    }

    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    pub fn log_directory(&self) -> PathBuf {
        self.data().join("log")
    }

    pub fn settled(&self) -> u64 {
        self.handle.status().head.sequence
    }

    pub fn write(&self, kind: Kind, bodies: impl IntoIterator<Item = Vec<u8>>) -> Vec<Receipt> {
        let now = SystemClock.now();
        let ticket = |body| self.handle.reserve().unwrap().commit(kind, now, body, ());
        let mut receipts = Vec::new();
        let bodies: Vec<_> = bodies.into_iter().collect();
        for bodies in bodies.chunks(1_000) {
            let pending: Vec<_> = bodies.iter().cloned().map(ticket).collect();
            receipts.extend(pending.into_iter().map(|it| it.wait_blocking().unwrap()));
        }
        receipts
    }

    /// That many decisions, of some customers in turn.
    pub fn decide(&self, count: u64) -> Vec<Receipt> {
        let from = self.settled();
        self.write(Kind::Decision, (from..from + count).map(|number| decision(number, 40)))
    }

    pub fn forward(&self, target: TargetSettings) -> Forwarding {
        let mut started = self.forward_all(vec![target]);
        started.pop().unwrap()
    }

    pub fn forward_all(&self, targets: Vec<TargetSettings>) -> Vec<Forwarding> {
        let handle = self.handle.clone();
        let log = ForwardedLog {
            data: self.data().to_owned(),
            directory: self.log_directory(),
            log: LOG,
            hasher: EntityHasher::new([3; 32]),
            settled: Arc::new(move || handle.status().head.sequence),
            clock: Arc::new(SystemClock),
        };
        forwarding::start(targets, &log).unwrap()
    }

    /// Hash and body of each record, by sequence.
    pub fn records(&self) -> BTreeMap<u64, (String, String)> {
        let mut reader = LogReader::from_sequence_or_oldest(&self.log_directory(), 1).unwrap();
        let mut records = BTreeMap::new();
        while let Some(record) = reader.next().unwrap() {
            let body = String::from_utf8(record.body.to_vec()).unwrap();
            records.insert(record.header.sequence, (record.hash.to_string(), body));
        }
        records
    }

    /// Waits until the target is done with all that the log has.
    pub fn wait(&self, forwarding: &Forwarding) {
        let status = &forwarding.status;
        let begun = Instant::now();
        while status.done() < self.settled() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {}: {:?}",
                status.done(),
                self.settled(),
                status.trouble()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub fn decision(number: u64, padding: usize) -> Vec<u8> {
    let (customer, padding) = (number % CUSTOMERS, "x".repeat(padding));
    format!(
        r#"{{"decision":"APPROVE","padding":"{padding}","transaction":{{"transaction_id":"t_{number}","customer":{{"id":"c_{customer}"}}}}}}"#
    )
    .into_bytes()
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn target(url: &str) -> TargetSettings {
    target_with(url, RedisAccess::default())
}

pub fn target_with(url: &str, access: RedisAccess) -> TargetSettings {
    let redis = RedisTarget::parse(url, access).unwrap();
    TargetSettings {
        name: TargetName::parse("risk").unwrap(),
        destination: Destination::RedisStreams(RedisStreamSettings {
            redis,
            stream: STREAM.to_owned(),
            length_max: 0,
            replicas_min: 0,
        }),
        kinds: Vec::new(),
        start: Start::Oldest,
        batch_records_max: 100,
        message_bytes_max: 1_000_000,
        dead_letters_bytes_max: 1 << 20,
        on_dead_letters_full: WhenFull::Stop,
        resend_records_max: 1_000_000,
    }
}

/// The settings of its stream.
pub fn stream_of(target: &mut TargetSettings) -> &mut RedisStreamSettings {
    match &mut target.destination {
        Destination::RedisStreams(stream) => stream,
        #[cfg(feature = "kafka")]
        Destination::Kafka(_) => panic!("a Kafka has no stream"),
    }
}

/// An entry of a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The first half of its id.
    pub place: u64,
    pub fields: HashMap<String, String>,
}

impl Entry {
    pub fn id(&self) -> &str {
        &self.fields["id"]
    }

    /// The sequence that the id names.
    pub fn sequence(&self) -> u64 {
        self.id().split('-').nth(1).unwrap().parse().unwrap()
    }
}

pub fn entries(redis: &RedisServer) -> Vec<Entry> {
    entries_of(redis.port(), STREAM)
}

pub fn entries_of(port: u16, stream: &str) -> Vec<Entry> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut command = redis::cmd("XRANGE");
    command.arg(stream).arg("-").arg("+");
    let read: Vec<(String, HashMap<String, String>)> = command.query(&mut connection).unwrap();
    read.into_iter()
        .map(|(id, fields)| Entry { place: id.split('-').next().unwrap().parse().unwrap(), fields })
        .collect()
}

/// Everything that the log has of the sequences from `first` on stands in the stream, as it is in the log; what comes twice has the same
/// id; and of each entity the first entries of all records are in the log's order. Answers how many entries were repetitions.
pub fn check(house: &House, entries: &[Entry], first: u64) -> usize {
    let records = house.records();
    let mut seen: HashMap<&str, u64> = HashMap::new();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut repeated = 0;
    for entry in entries {
        let sequence = entry.sequence();
        let (hash, body) = &records[&sequence];
        assert_eq!((&entry.fields["hash"], &entry.fields["body"]), (hash, body), "{}", entry.id());
        if seen.insert(entry.id(), sequence).is_some() {
            repeated += 1;
            continue;
        }
        let before = newest.insert(&entry.fields["key"], sequence).unwrap_or(0);
        assert!(before < sequence, "record {sequence} came after record {before} of the same entity");
    }
    let mut there: Vec<u64> = seen.into_values().filter(|sequence| *sequence >= first).collect();
    there.sort_unstable();
    let wanted: Vec<u64> = records.range(first..).map(|(sequence, _)| *sequence).collect();
    assert_eq!(there, wanted);
    repeated
}
