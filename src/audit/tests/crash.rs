//! kill -9 at random instants: every acknowledged record is in the log.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{LOG_ID, PATIENCE, body, check, now, start};
use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenedLog, ScanDepth};
use crate::audit::reader::LogReader;
use crate::audit::writer::{Ack, WriterOptions};

const DIRECTORY: &str = "TOLLGATE_TEST_CRASH_DIRECTORY";
const ACK_DISK: &str = "TOLLGATE_TEST_CRASH_ACK_DISK";
const SEGMENT_BYTES: u64 = 40_000;
const OUTSTANDING: u64 = 64;

/// Not a test by itself: what the killed process does. Prints each sequence and body number after it is acknowledged.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let options = LogOptions { segment_bytes_max: SEGMENT_BYTES, ..LogOptions::default() };
    let log = OpenedLog::open(&PathBuf::from(directory), LOG_ID, now(), options).unwrap();
    let first = log.head().sequence + 1;
    let ack = if std::env::var(ACK_DISK).is_ok() { Ack::Disk } else { Ack::Process };
    let commit_interval = Duration::from_millis(1);
    let (handle, _) = start(log, WriterOptions { ack, commit_interval, ..WriterOptions::default() });
    let mut out = std::io::stdout().lock();
    for begin in (first..).step_by(usize::try_from(OUTSTANDING).unwrap()) {
        let pending: Vec<_> = (begin..begin + OUTSTANDING)
            .map(|number| handle.reserve().unwrap().commit(Kind::Decision, now(), body(number), number))
            .collect();
        for pending in pending {
            let receipt = pending.wait_blocking().unwrap();
            writeln!(out, "acknowledged {} {}", receipt.sequence, receipt.hash).unwrap();
        }
    }
}

fn kills(ack: Ack, rounds: u64) {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "audit::tests::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if ack == Ack::Disk {
            command.env(ACK_DISK, "1");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        // Lines are read until the process is gone, so that what it said while it was killed counts too.
        let (begun, writes) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            // Mostly while it writes; else wherever it is, perhaps still opening the log.
            if round % 4 > 0 {
                let _ = writes.recv_timeout(PATIENCE);
            }
            std::thread::sleep(Duration::from_micros(10_000 + (round * 7_919) % 60_000));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        while let Some(Ok(line)) = lines.next() {
            // The last line may be cut.
            if let Some((sequence, hash)) =
                line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' '))
                && hash.len() == 64
            {
                last = Some((sequence.parse::<u64>().unwrap(), hash.to_owned()));
                let _ = begun.send(());
            }
        }
        killer.join().unwrap();
        let options = LogOptions { scan: ScanDepth::All, ..LogOptions::default() };
        let log = OpenedLog::open(directory.path(), LOG_ID, now(), options).unwrap();
        let head = log.head();
        drop(log);
        let mut hash_of_last = None;
        let mut reader = LogReader::from_sequence(directory.path(), 1).unwrap();
        while let Some(record) = reader.next().unwrap() {
            assert_eq!(record.body, body(record.header.sequence));
            if last.as_ref().is_some_and(|(sequence, _)| *sequence == record.header.sequence) {
                hash_of_last = Some(record.hash.to_string());
            }
        }
        if let Some((sequence, hash)) = last {
            assert_eq!(hash_of_last, Some(hash), "acknowledged record {sequence} of round {round}");
            acknowledged = sequence;
        }
        assert!(head.sequence >= acknowledged, "round {round}: {} < {acknowledged}", head.sequence);
        assert_eq!(reader.head(), head);
        let report = check(directory.path());
        assert!(report.is_good(), "round {round}: {report:?}");
    }
    assert!(acknowledged > 0, "nothing was written in any round");
}

/// `TOLLGATE_TEST_KILLS=1000` for more than in a default run.
fn rounds(default: u64) -> u64 {
    std::env::var("TOLLGATE_TEST_KILLS").map_or(default, |kills| kills.parse().unwrap())
}

#[test]
fn every_acknowledged_record_survives_kill_9() {
    kills(Ack::Process, rounds(20));
}

#[test]
fn every_acknowledged_record_survives_kill_9_with_sync() {
    kills(Ack::Disk, rounds(5));
}
