//! The log on a disk that fails, loses power and forgets, driven by seeds.
//!
//! One seed is one history: a few lives of a writer on a `PowerDisk`, each of them ended cleanly, by a kill or by a power loss, at any call. After each the
//! log must open, and hold every acknowledged record that its level promises to survive that end; verify finds nothing wrong; and it goes on.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::power::{Faults, PowerDisk};
use super::{LOG_ID, check, now};
use crate::audit::disk::Disk;
use crate::audit::failure::LogError;
use crate::audit::frame::Kind;
use crate::audit::mark::Mark;
use crate::audit::open::{LogOptions, OpenError, OpenedLog, ScanDepth};
use crate::audit::queue::Pending;
use crate::audit::reader::LogReader;
use crate::audit::receipt::{Receipt, RecordHash};
use crate::audit::writer::{Ack, PROBE_WAIT_MAX, Writer, WriterOptions};
use crate::domain::time::{Clock, EventTime, SystemClock};

/// Histories of a default run; `TOLLGATE_TEST_STORAGE_SEEDS=1000000` for more, `TOLLGATE_TEST_STORAGE_SEED=17` for that one alone.
const SEEDS: u64 = 2_000;
const FIRST_SEED: u64 = 1;

/// Time passes when the history says so.
struct StepClock {
    start: Instant,
    passed_us: AtomicU64,
}

impl Clock for StepClock {
    fn now(&self) -> EventTime {
        now()
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.passed_us.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Clean,
    Kill,
    PowerLoss,
}

/// One history.
struct History {
    seed: u64,
    random: ChaCha8Rng,
    ack: Ack,
    segment_bytes_max: u64,
    directory: TempDir,
    disk: Arc<PowerDisk>,
    clock: Arc<StepClock>,
    next_number: u64,
    /// What the log must hold: sequence, hash and body.
    held: BTreeMap<u64, (RecordHash, u64)>,
    /// Bodies that were refused, and after whose refusal the log went on: it never holds them.
    refused: HashSet<u64>,
    /// What was marked as stable when the power was lost, if it was since the last check.
    stable: Option<u64>,
    lives: u32,
    repairs: u64,
}

fn body_of(number: u64) -> Vec<u8> {
    let filler = usize::try_from(number * 7_919 % 1_500).unwrap();
    let filler = if number.is_multiple_of(41) { filler * 6 } else { filler };
    format!("{{\"number\":{number},\"filler\":\"{}\"}}", "abcdefg".repeat(filler / 7)).into_bytes()
}

fn number_of(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    let number = text.strip_prefix("{\"number\":").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(body, body_of(number));
    number
}

/// On a file system in memory where there is one: only what `PowerDisk` says is lost matters.
fn new_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let directory = new_directory();
        let disk = PowerDisk::new(directory.path(), ChaCha8Rng::seed_from_u64(!seed));
        Self {
            seed,
            ack: if random.random_range(0..2) == 0 { Ack::Process } else { Ack::Disk },
            segment_bytes_max: [700, 3_000, 12_000, 60_000][random.random_range(0..4)],
            random,
            directory,
            disk,
            clock: Arc::new(StepClock { start: SystemClock.instant(), passed_us: AtomicU64::new(0) }),
            next_number: 1,
            held: BTreeMap::new(),
            refused: HashSet::new(),
            stable: None,
            lives: 0,
            repairs: 0,
        }
    }

    fn percent(&mut self, of: &[u32]) -> u32 {
        of[self.random.random_range(0..of.len())]
    }

    fn faults(&mut self) -> Faults {
        if self.random.random_range(0..3) == 0 {
            return Faults::default();
        }
        Faults {
            write: self.percent(&[0, 0, 0, 10]),
            sync: self.percent(&[0, 0, 10, 40]),
            sync_directory: self.percent(&[0, 0, 0, 30]),
            set_len: self.percent(&[0, 0, 0, 50]),
            rename: self.percent(&[0, 0, 0, 30]),
            writeback: self.percent(&[0, 0, 20]),
        }
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            segment_bytes_max: self.segment_bytes_max,
            scan: if self.seed.is_multiple_of(2) { ScanDepth::All } else { ScanDepth::LastSegment },
            ..LogOptions::default()
        }
    }

    fn lose_power(&mut self) {
        let rest = new_directory();
        self.disk.lay_rest(rest.path());
        self.stable = Some(Mark::read(rest.path()).unwrap().map_or(0, |(_, mark)| mark.head.sequence));
        let seed = self.random.random_range(0..u64::MAX);
        self.disk = PowerDisk::new(rest.path(), ChaCha8Rng::seed_from_u64(seed));
        self.directory = rest;
    }

    /// Opens the log, also when that is interrupted a few times or the disk refuses.
    fn open(&mut self) -> OpenedLog {
        for attempt in 0.. {
            if attempt < 3 && self.random.random_range(0..4) == 0 {
                let faults = self.faults();
                self.disk.set_faults(faults);
                self.disk.end_after(Some(self.random.random_range(0..30)));
            } else {
                self.disk.set_faults(Faults::default());
                self.disk.end_after(None);
            }
            self.disk.set_room(None);
            let disk: Arc<dyn Disk> = Arc::<PowerDisk>::clone(&self.disk);
            match OpenedLog::open_on(&disk, self.directory.path(), LOG_ID, now(), self.options()) {
                Ok(log) => {
                    self.disk.end_after(None);
                    self.repairs += log.repairs.len() as u64;
                    return log;
                }
                Err(OpenError::Io { .. }) if attempt < 3 => {}
                Err(error) => {
                    let files = std::fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap);
                    let files: BTreeMap<_, _> =
                        files.map(|file| (file.file_name(), file.metadata().unwrap().len())).collect();
                    let mark = Mark::read(self.directory.path());
                    panic!("cannot be opened: {error:?}; {mark:?}, {files:?}");
                }
            }
            if self.random.random_range(0..2) == 0 {
                self.lose_power();
            } else {
                self.disk.go_on();
            }
        }
        unreachable!()
    }

    /// What is there must be what was acknowledged, and after that nothing but what may be.
    fn check(&mut self, last: u64, end: End) {
        let report = check(self.directory.path());
        assert!(report.is_good(), "{report:#?}");
        assert_eq!(report.last_sequence.unwrap_or(0), last);
        if let Some(stable) = self.stable.take()
            && self.ack == Ack::Process
        {
            self.held.split_off(&(stable + 1));
            self.refused.clear();
        }
        let mut reader = LogReader::from_sequence(self.directory.path(), 1).unwrap();
        let mut there = BTreeMap::new();
        while let Some(record) = reader.next().unwrap() {
            there.insert(record.header.sequence, (record.hash, number_of(record.body)));
        }
        for (sequence, held) in &self.held {
            assert_eq!(there.get(sequence), Some(held), "acknowledged record {sequence} after {end:?}");
        }
        let numbers: HashSet<u64> = there.values().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), there.len(), "a record is there twice");
        assert!(numbers.is_disjoint(&self.refused), "a refused record is there after {end:?}");
        self.held = there;
    }

    fn live(&mut self) -> End {
        let log = self.open();
        let faults = self.faults();
        self.disk.set_faults(faults);
        let ends_in_a_call = self.random.random_range(0..2) == 0;
        self.disk.end_after(ends_in_a_call.then(|| self.random.random_range(0..60)));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let failures = Arc::clone(&failed);
        let options = WriterOptions {
            ack: self.ack,
            commit_interval: Duration::ZERO,
            clock: Arc::<StepClock>::clone(&self.clock),
            disk: Arc::<PowerDisk>::clone(&self.disk),
            ..WriterOptions::default()
        };
        let mut writer = Writer::new(
            log,
            options,
            Box::new(|group| drop(group)),
            Box::new(move |group| failures.lock().extend(group.map(|record| record.context))),
        );
        for _ in 0..self.random.random_range(1..30) {
            match self.random.random_range(0..10) {
                0..6 => self.write(&mut writer, &failed),
                6 => self.disk.write_back(),
                7 => {
                    if let Some(syncs) = &writer.syncs {
                        syncs.sync_all();
                    }
                }
                8 => {
                    let is_full = self.random.random_range(0..2) == 0;
                    self.disk.set_room(is_full.then(|| self.random.random_range(0..8_000)));
                }
                _ => self.let_time_pass(&mut writer),
            }
            if self.disk.is_off() {
                break;
            }
        }
        let end = match self.random.random_range(0..5) {
            0 if !self.disk.is_off() => End::Clean,
            0 | 1 => End::Kill,
            _ => End::PowerLoss,
        };
        if end == End::Clean {
            let _ = writer.finish();
        }
        drop(writer);
        match end {
            End::PowerLoss => self.lose_power(),
            End::Clean | End::Kill => self.disk.go_on(),
        }
        end
    }

    fn let_time_pass(&self, writer: &mut Writer<u64>) {
        let wait = PROBE_WAIT_MAX + Duration::from_secs(1);
        self.clock.passed_us.fetch_add(u64::try_from(wait.as_micros()).unwrap(), Ordering::Relaxed);
        if !writer.status.lock().healthy {
            writer.turn();
        }
    }

    /// Hands a few records over, lets the writer do its work, and notes what became of them.
    fn write(&mut self, writer: &mut Writer<u64>, failed: &Mutex<Vec<u64>>) {
        let mut pending: Vec<(u64, Pending)> = Vec::new();
        for _ in 0..self.random.random_range(1..9) {
            match writer.queue.reserve() {
                Ok(ticket) => {
                    let number = self.next_number;
                    self.next_number += 1;
                    pending.push((number, ticket.commit(Kind::Decision, now(), body_of(number), number)));
                }
                Err(LogError::Failed(_)) => return self.let_time_pass(writer),
                Err(error) => panic!("{error}"),
            }
        }
        let before = failed.lock().len();
        let mut went_on = false;
        let mut context = Context::from_waker(Waker::noop());
        for (number, mut pending) in pending {
            let answer: Result<Receipt, LogError> = loop {
                match Pin::new(&mut pending).poll(&mut context) {
                    Poll::Ready(answer) => break answer,
                    Poll::Pending => assert!(writer.turn()),
                }
            };
            match answer {
                Ok(receipt) => {
                    went_on = true;
                    self.held.insert(receipt.sequence, (receipt.hash, number));
                }
                Err(LogError::Failed(_)) => assert!(failed.lock().contains(&number)),
                Err(error) => panic!("{error}"),
            }
        }
        if went_on {
            // What was refused before that is gone for good.
            self.refused.extend(failed.lock().drain(..before));
        }
    }

    fn run(&mut self) {
        for _ in 0..self.random.random_range(1..5) {
            let end = self.live();
            let log = self.open();
            let last = log.head().sequence;
            drop(log);
            self.check(last, end);
            self.lives += 1;
        }
    }
}

use std::future::Future as _;

#[test]
fn nothing_acknowledged_is_lost_on_a_disk_that_fails_and_loses_power() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    let (first, seeds) = match number("TOLLGATE_TEST_STORAGE_SEED") {
        Some(seed) => (seed, 1),
        None => (FIRST_SEED, number("TOLLGATE_TEST_STORAGE_SEEDS").unwrap_or(SEEDS)),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let next = AtomicU64::new(first);
    let (lives, repairs, records) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(seeds) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let mut history = History::new(seed);
                    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.run()));
                    assert!(
                        run.is_ok(),
                        "seed {seed}, {:?}, segments of {} bytes, after {} lives; again: TOLLGATE_TEST_STORAGE_SEED={seed}",
                        history.ack,
                        history.segment_bytes_max,
                        history.lives
                    );
                    lives.fetch_add(history.lives.into(), Ordering::Relaxed);
                    repairs.fetch_add(history.repairs, Ordering::Relaxed);
                    records.fetch_add(history.next_number, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{seeds} seeds: {lives:?} lives, {records:?} records handed over, {repairs:?} repairs");
    assert!(seeds < 100 || repairs.into_inner() > seeds / 100, "power losses leave something to repair");
}
