//! What the writer of the audit log costs and gives, in one table: `cargo bench --bench audit_table`.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::audit::frame::Kind;
use tollgate::audit::open::{LogOptions, OpenedLog};
use tollgate::audit::receipt::LogId;
use tollgate::audit::writer::{Ack, LogHandle, LogWriter, WriterOptions};
use tollgate::domain::time::EventTime;

const BODY_BYTES: usize = 1_100;
const RATE: u32 = 10_000;
const PACED_RECORDS: u32 = 60_000;
const SUSTAINED_RECORDS: usize = 600_000;
/// Records on their way at once when nothing paces them.
const OUTSTANDING: usize = 8_000;

fn start(directory: &Path, ack: Ack, commit_ms: u64, linger_us: u64) -> LogHandle<()> {
    let log = OpenedLog::open(directory, LogId([1; 16]), EventTime::EPOCH, LogOptions::default());
    let options = WriterOptions {
        ack,
        queue_max: 2 * OUTSTANDING,
        commit_interval: Duration::from_millis(commit_ms),
        linger: Duration::from_micros(linger_us),
        ..WriterOptions::default()
    };
    LogWriter::start(
        log.expect("a log"),
        options,
        Box::new(|group| drop(group)),
        Box::new(|group| drop(group)),
    )
    .expect("a writer")
}

fn percentiles(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("| {what} | {:?} | {:?} | {:?} |", at(0.5), at(0.99), at(0.999));
}

/// At a steady rate: what the hand-off takes of the caller's time, and how long until the record is acknowledged.
fn paced(ack: Ack, commit_ms: u64, linger_us: u64) {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let log = start(directory.path(), ack, commit_ms, linger_us);
    let (sender, receiver) = std::sync::mpsc::sync_channel(OUTSTANDING);
    let answers = std::thread::spawn(move || {
        let mut times = Vec::with_capacity(PACED_RECORDS as usize);
        while let Ok((before, pending)) = receiver.recv() {
            let pending: tollgate::audit::queue::Pending = pending;
            let before: Instant = before;
            pending.wait_blocking().expect("it is written");
            times.push(before.elapsed());
        }
        times
    });
    let mut hand_off = Vec::with_capacity(PACED_RECORDS as usize);
    let begin = Instant::now();
    for number in 0..PACED_RECORDS {
        let due = begin + Duration::from_secs(1) / RATE * number;
        // Sleeps, and so leaves the core to the writer; what is late is caught up in a burst.
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let body = vec![b'x'; BODY_BYTES];
        let before = Instant::now();
        let pending = log.reserve().expect("a place").commit(Kind::Decision, EventTime::EPOCH, body, ());
        hand_off.push(before.elapsed());
        sender.send((before, pending)).expect("the other thread is there");
    }
    drop(sender);
    let mut answers = answers.join().expect("the answers");
    log.close(Duration::from_secs(10)).expect("the log is closed");
    let name = match ack {
        Ack::Process => format!("process, linger {linger_us} us"),
        Ack::Disk => format!("disk, commit every {commit_ms} ms"),
    };
    percentiles(&format!("{name}: hand-off at {RATE}/s"), &mut hand_off);
    percentiles(&format!("{name}: acknowledged after"), &mut answers);
}

/// As fast as it goes.
fn sustained(ack: Ack, commit_ms: u64) {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let log = start(directory.path(), ack, commit_ms, 0);
    let mut outstanding = VecDeque::with_capacity(OUTSTANDING);
    let begin = Instant::now();
    for _ in 0..SUSTAINED_RECORDS {
        if outstanding.len() == OUTSTANDING {
            // Half of them at a time, so that the two threads do not wake each other for each.
            for pending in outstanding.drain(..OUTSTANDING / 2) {
                let pending: tollgate::audit::queue::Pending = pending;
                pending.wait_blocking().expect("it is written");
            }
        }
        let ticket = log.reserve().expect("a place");
        outstanding.push_back(ticket.commit(Kind::Decision, EventTime::EPOCH, vec![b'x'; BODY_BYTES], ()));
    }
    for pending in outstanding {
        pending.wait_blocking().expect("it is written");
    }
    let (took, groups) = (begin.elapsed(), log.status().groups);
    log.close(Duration::from_secs(60)).expect("the log is closed");
    let rate = SUSTAINED_RECORDS as f64 / took.as_secs_f64();
    let name =
        if ack == Ack::Disk { format!("disk, commit every {commit_ms} ms") } else { "process".to_owned() };
    println!("{name}: {rate:.0} records/s, {:.0} MB/s, {groups} groups", rate * BODY_BYTES as f64 / 1e6);
}

/// Whether a file that has its length before it is written is synced faster: groups of 100 records, a sync after each.
fn preallocation(is_laid: bool) {
    const GROUPS: u64 = 200;
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let file = File::create_new(directory.path().join("file")).expect("a file");
    let group = vec![b'x'; 100 * BODY_BYTES];
    if is_laid {
        for number in 0..GROUPS {
            file.write_all_at(&vec![0; group.len()], number * group.len() as u64).expect("zeros");
        }
        file.sync_all().expect("a sync");
    }
    let mut times = Vec::new();
    for number in 0..GROUPS {
        let before = Instant::now();
        file.write_all_at(&group, number * group.len() as u64).expect("a group");
        file.sync_data().expect("a sync");
        times.push(before.elapsed());
    }
    let name = if is_laid { "laid out with zeros before" } else { "growing" };
    percentiles(&format!("write and sync of 110 KB, file {name}"), &mut times);
}

fn main() {
    println!("| {BODY_BYTES} bytes a record | p50 | p99 | p99.9 |\n|---|---|---|---|");
    paced(Ack::Process, 0, 0);
    paced(Ack::Process, 0, 50);
    paced(Ack::Disk, 5, 0);
    paced(Ack::Disk, 10, 0);
    preallocation(false);
    preallocation(true);
    println!();
    sustained(Ack::Process, 0);
    sustained(Ack::Disk, 10);
}
