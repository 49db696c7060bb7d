//! A disk that fails: typed errors, contexts handed back, nothing half-written, and recovery.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{FaultyDisk, PATIENCE, body, check, now, open, options, read_bodies, start, write};
use crate::audit::failure::{Failure, FailureKind, LogError};
use crate::audit::frame::Kind;
use crate::audit::open::RepairKind;
use crate::audit::segment::{SEGMENT_BYTES_MAX, list_segments, segment_path};
use crate::audit::writer::{Ack, LogHandle, WriterOptions};

fn await_health(handle: &LogHandle<u64>, healthy: bool) {
    for _ in 0..2000 {
        if handle.status().healthy == healthy {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("still {:?}", handle.status());
}

fn failure_kind(error: &LogError) -> FailureKind {
    let LogError::Failed(failure) = error else { panic!("{error}") };
    failure.kind
}

/// Writes 1 to 5, breaks the disk, sees 6 fail, repairs the disk, writes 7 to 9; then checks what the log holds.
fn runs_into(
    ack: Ack,
    expected: FailureKind,
    segments: usize,
    break_disk: impl Fn(&FaultyDisk),
    repair_disk: impl Fn(&FaultyDisk),
) {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (handle, seen) = start(open(directory.path(), SEGMENT_BYTES_MAX), options(ack, &disk));
    write(&handle, 1..=5);
    break_disk(&disk);
    let outstanding = handle.reserve().unwrap();
    let sixth = outstanding.commit(Kind::Decision, now(), body(6), 6);
    assert_eq!(failure_kind(&sixth.wait_blocking().unwrap_err()), expected);
    assert_eq!(*seen.failed.lock(), [6]);
    let error = handle.reserve().unwrap_err();
    assert_eq!(failure_kind(&error), expected, "{error}");
    let status = handle.status();
    assert!(!status.healthy && status.last_error.is_some() && status.failures == 1, "{status:?}");
    assert_eq!((status.head.sequence, status.failed), (5, 1));
    repair_disk(&disk);
    await_health(&handle, true);
    let receipts = write(&handle, 7..=9);
    assert_eq!(receipts[0].sequence, 6, "no gap");
    let status = handle.status();
    assert_eq!((status.head.sequence, status.committed), (8, 8));
    handle.close(PATIENCE).unwrap();
    expect_log(directory.path(), segments, [1, 2, 3, 4, 5, 7, 8, 9]);
}

fn expect_log(directory: &Path, segments: usize, numbers: impl IntoIterator<Item = u64>) {
    let expected: Vec<_> = numbers.into_iter().map(body).collect();
    assert_eq!(read_bodies(directory), expected);
    assert_eq!(list_segments(directory).unwrap().len(), segments);
    let report = check(directory);
    assert!(report.is_good(), "{report:?}");
    assert!(open(directory, SEGMENT_BYTES_MAX).repairs.is_empty());
}

#[test]
fn a_full_disk() {
    for ack in [Ack::Process, Ack::Disk] {
        for room in [0, 1, 70, 90] {
            runs_into(
                ack,
                FailureKind::DiskFull,
                1,
                |disk| disk.room.store(room, Ordering::SeqCst),
                |disk| disk.room.store(i64::MAX, Ordering::SeqCst),
            );
        }
    }
}

#[test]
fn a_failed_sync_closes_the_segment() {
    runs_into(
        Ack::Disk,
        FailureKind::Sync,
        2,
        |disk| disk.fail_sync.store(true, Ordering::SeqCst),
        |disk| disk.fail_sync.store(false, Ordering::SeqCst),
    );
}

#[test]
fn a_write_that_cannot_be_taken_back_leaves_bytes_that_are_no_part_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (handle, _) = start(open(directory.path(), SEGMENT_BYTES_MAX), options(Ack::Process, &disk));
    write(&handle, 1..=3);
    disk.fail_set_len.store(true, Ordering::SeqCst);
    disk.room.store(50, Ordering::SeqCst);
    let fourth = handle.reserve().unwrap().commit(Kind::Decision, now(), body(4), 4);
    assert_eq!(failure_kind(&fourth.wait_blocking().unwrap_err()), FailureKind::DiskFull);
    disk.room.store(i64::MAX, Ordering::SeqCst);
    await_health(&handle, true);
    write(&handle, 5..=6);
    handle.close(PATIENCE).unwrap();
    assert_eq!(read_bodies(directory.path()), [1, 2, 3, 5, 6].map(body));
    let log = open(directory.path(), SEGMENT_BYTES_MAX);
    assert_eq!((log.repairs.len(), log.repairs[0].kind, log.repairs[0].bytes), (1, RepairKind::Overhang, 50));
    drop(log);
    expect_log(directory.path(), 2, [1, 2, 3, 5, 6]);
}

#[test]
fn a_failed_background_sync_closes_the_segment_and_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (handle, seen) = start(open(directory.path(), SEGMENT_BYTES_MAX), options(Ack::Process, &disk));
    disk.fail_sync.store(true, Ordering::SeqCst);
    write(&handle, 1..=1);
    let (mut number, mut taken) = (1, vec![1]);
    let error = loop {
        number += 1;
        std::thread::sleep(Duration::from_millis(2));
        let committed = handle
            .reserve()
            .and_then(|ticket| ticket.commit(Kind::Decision, now(), body(number), number).wait_blocking());
        match committed {
            Ok(_) => taken.push(number),
            Err(error) => break error,
        }
    };
    assert_eq!(failure_kind(&error), FailureKind::Sync);
    assert!(seen.failed.lock().iter().all(|failed| *failed == number));
    disk.fail_sync.store(false, Ordering::SeqCst);
    await_health(&handle, true);
    write(&handle, [1000]);
    handle.close(PATIENCE).unwrap();
    expect_log(directory.path(), 2, taken.into_iter().chain([1000]));
}

#[test]
fn a_segment_that_cannot_be_begun() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (handle, seen) = start(open(directory.path(), 400), options(Ack::Disk, &disk));
    write(&handle, 1..=2);
    disk.fail_sync_directory.store(true, Ordering::SeqCst);
    let mut number = 2;
    loop {
        number += 1;
        let pending = handle.reserve().unwrap().commit(Kind::Decision, now(), body(number), number);
        if pending.wait_blocking().is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(150));
    disk.fail_sync_directory.store(false, Ordering::SeqCst);
    await_health(&handle, true);
    write(&handle, [100, 101]);
    handle.close(PATIENCE).unwrap();
    assert_eq!(*seen.failed.lock(), [number]);
    let expected: Vec<_> = (1..number).chain([100, 101]).map(body).collect();
    assert_eq!(read_bodies(directory.path()), expected);
    assert!(check(directory.path()).is_good());
}

#[test]
fn tickets_that_were_out_when_the_disk_failed_are_settled_promptly() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (handle, seen) = start(open(directory.path(), SEGMENT_BYTES_MAX), options(Ack::Process, &disk));
    let tickets: Vec<_> = (1..=20).map(|number| (number, handle.reserve().unwrap())).collect();
    disk.room.store(0, Ordering::SeqCst);
    for (number, ticket) in tickets {
        if number % 4 == 0 {
            drop(ticket);
            continue;
        }
        let error = ticket.commit(Kind::Decision, now(), body(number), number).wait_blocking().unwrap_err();
        assert_eq!(failure_kind(&error), FailureKind::DiskFull);
    }
    let expected: Vec<u64> = (1..=20).filter(|number| number % 4 != 0).collect();
    assert_eq!(*seen.failed.lock(), expected);
    assert!(seen.committed.lock().is_empty());
    assert_eq!(handle.status().failures, 1);
    // A failed log can be closed.
    handle.close(PATIENCE).unwrap();
    assert!(read_bodies(directory.path()).is_empty());
}

#[test]
fn a_failed_last_sync_is_told_by_close() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let mut options = options(Ack::Process, &disk);
    options.sync_interval = None;
    let (handle, _) = start(open(directory.path(), SEGMENT_BYTES_MAX), options);
    write(&handle, [1]);
    disk.fail_sync.store(true, Ordering::SeqCst);
    assert_eq!(failure_kind(&handle.close(PATIENCE).unwrap_err()), FailureKind::Sync);
    assert_eq!(Arc::strong_count(&disk), 1, "the writer is gone");
}

#[test]
fn nothing_is_written_before_what_must_be_there_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (is_refused, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let before_group = {
        let (is_refused, asked) = (Arc::clone(&is_refused), Arc::clone(&asked));
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            if is_refused.load(Ordering::SeqCst) {
                return Err(Failure { kind: FailureKind::Write, message: "not yet".to_owned() });
            }
            Ok(())
        }
    };
    let options =
        WriterOptions { before_group: Some(Arc::new(before_group)), ..options(Ack::Process, &disk) };
    let (handle, seen) = start(open(directory.path(), SEGMENT_BYTES_MAX), options);
    write(&handle, 1..=3);
    let groups = usize::try_from(handle.status().groups).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), groups);
    is_refused.store(true, Ordering::SeqCst);
    let fourth = handle.reserve().unwrap().commit(Kind::Decision, now(), body(4), 4);
    assert_eq!(failure_kind(&fourth.wait_blocking().unwrap_err()), FailureKind::Write);
    assert_eq!((seen.failed.lock().clone(), handle.status().head.sequence), (vec![4], 3));
    is_refused.store(false, Ordering::SeqCst);
    await_health(&handle, true);
    write(&handle, 5..=6);
    handle.close(PATIENCE).unwrap();
    expect_log(directory.path(), 1, [1, 2, 3, 5, 6]);
}

#[test]
fn a_disk_that_makes_no_room_is_not_asked_again_and_keeps_no_part_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    disk.fail_preallocate.store(true, Ordering::SeqCst);
    let (handle, _) = start(open(directory.path(), SEGMENT_BYTES_MAX), options(Ack::Process, &disk));
    for number in 1..=20 {
        write(&handle, [number]);
    }
    let counted = || [&disk.preallocated, &disk.released].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counted(), [1, 1]);
    handle.close(PATIENCE).unwrap();
    assert_eq!(counted(), [1, 2], "and once more with the end of the log");
    expect_log(directory.path(), 1, 1..=20);
}

#[cfg(target_os = "linux")]
#[test]
fn room_is_made_ready_while_a_log_is_written_and_given_back_when_it_is_closed() {
    use std::os::unix::fs::MetadataExt;

    use crate::audit::append::ROOM_BYTES;
    use crate::audit::disk::{Disk, SystemDisk};

    let directory = tempfile::tempdir().unwrap();
    let file = SystemDisk.create(&directory.path().join("probe")).unwrap();
    if SystemDisk.preallocate(&file, 0, ROOM_BYTES).is_err() {
        // Not on this file system.
        return;
    }
    let log = directory.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let (handle, _) = start(open(&log, 3 * ROOM_BYTES / 2), WriterOptions::default());
    let held = |segment: u64| {
        let metadata = std::fs::metadata(segment_path(&log, segment)).unwrap();
        (metadata.blocks() * 512, metadata.len())
    };
    write(&handle, 1..=10);
    let (room, length) = held(1);
    assert!(room >= ROOM_BYTES && length < ROOM_BYTES / 8, "{room} for {length}");
    let mut number = 10;
    while handle.status().segment == 1 {
        write(&handle, number + 1..=number + 50);
        number += 50;
    }
    let (room, length) = held(1);
    assert!(room < length + ROOM_BYTES / 8, "{room} for {length}");
    let segment = handle.status().segment;
    handle.close(PATIENCE).unwrap();
    let (room, length) = held(segment);
    assert!(room < length + ROOM_BYTES / 8, "{room} for {length}");
    assert_eq!(read_bodies(&log).len() as u64, number);
}
