//! What a crash can leave behind, and what it cannot.

use std::path::Path;

use super::{LOG_ID, PATIENCE, body, check, now, open, read_bodies, start, write, write_log};
use crate::audit::damage::ReadError;
use crate::audit::open::{DamagedTail, LogOptions, OpenError, OpenedLog, RepairKind, ScanDepth};
use crate::audit::reader::LogReader;
use crate::audit::segment::{FIRST_RECORD_OFFSET, LockError, SEGMENT_BYTES_MAX, list_segments, segment_path};
use crate::audit::writer::WriterOptions;

fn torn_bytes(directory: &Path) -> Vec<u8> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "torn"))
        .collect();
    files.sort();
    files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

/// Lays a log of one segment with `bytes` into a new directory.
fn lay(bytes: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(segment_path(directory.path(), 1), bytes).unwrap();
    directory
}

fn example(records: u64) -> (Vec<u8>, Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let receipts = write_log(directory.path(), SEGMENT_BYTES_MAX, records);
    let bytes = std::fs::read(segment_path(directory.path(), 1)).unwrap();
    let ends = receipts[1..]
        .iter()
        .map(|receipt| usize::try_from(receipt.position.offset).unwrap())
        .chain([bytes.len()])
        .collect();
    (bytes, ends)
}

#[test]
fn a_log_cut_at_any_byte_keeps_exactly_its_complete_records() {
    let (bytes, ends) = example(4);
    for length in 0..=bytes.len() {
        let directory = lay(&bytes[..length]);
        let complete = ends.iter().filter(|end| **end <= length).count();
        let log = open(directory.path(), SEGMENT_BYTES_MAX);
        assert_eq!(log.head().sequence, complete as u64, "{length}");
        let on_boundary = ends.contains(&length) || length == usize::try_from(FIRST_RECORD_OFFSET).unwrap();
        assert_eq!(log.repairs.len(), usize::from(!on_boundary), "{length}");
        if let Some(repair) = log.repairs.first() {
            let begin = usize::try_from(repair.offset).unwrap();
            assert_eq!(torn_bytes(directory.path()), bytes[begin..length], "{length}");
            assert_eq!(repair.bytes, (length - begin) as u64);
            assert_eq!(repair.last_sequence, complete as u64);
        }
        let (handle, _) = start(log, WriterOptions::default());
        write(&handle, [99]);
        handle.close(PATIENCE).unwrap();
        let expected: Vec<_> = (1..=complete as u64).chain([99]).map(body).collect();
        assert_eq!(read_bodies(directory.path()), expected, "{length}");
        assert!(check(directory.path()).is_good(), "{length}");
    }
}

#[test]
fn a_cut_log_reads_up_to_its_last_complete_record_before_repair_too() {
    let (bytes, ends) = example(4);
    for length in 96..=bytes.len() {
        let directory = lay(&bytes[..length]);
        let complete = ends.iter().filter(|end| **end <= length).count() as u64;
        assert_eq!(read_bodies(directory.path()), (1..=complete).map(body).collect::<Vec<_>>(), "{length}");
        let report = check(directory.path());
        assert_eq!(report.records, complete, "{length}");
        assert_eq!(report.is_good(), ends.contains(&length) || length == 96, "{length}: {report:?}");
    }
}

#[test]
fn every_flipped_byte_is_found_and_none_is_repaired_away() {
    let (good, _) = example(3);
    for (index, mask) in (0..good.len()).flat_map(|index| [(index, 1), (index, 0x80), (index, 0xff)]) {
        let mut bad = good.clone();
        bad[index] ^= mask;
        let directory = lay(&bad);
        let report = check(directory.path());
        assert!(!report.is_good(), "byte {index} ^ {mask:#x}");
        let error = OpenedLog::open(directory.path(), LOG_ID, now(), LogOptions::default()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "byte {index}: {error}");
        assert_eq!(std::fs::read(segment_path(directory.path(), 1)).unwrap(), bad, "nothing was changed");
    }
}

#[test]
fn a_tail_of_sectors_that_never_reached_the_disk_is_torn() {
    let (good, ends) = example(40);
    let sector = 512 * 3;
    let complete = ends.iter().filter(|end| **end <= sector).count() as u64;
    let begin = ends[usize::try_from(complete).unwrap() - 1];
    let end = ends[usize::try_from(complete).unwrap()];
    for (name, length, zeros) in [
        ("the record's own", end, sector),
        ("with more after it", good.len(), sector),
        ("all", end + 9000, begin),
    ] {
        let mut bytes = good.clone();
        bytes.resize(length, 0);
        bytes[zeros..].fill(0);
        let directory = lay(&bytes);
        let log = open(directory.path(), SEGMENT_BYTES_MAX);
        assert_eq!((log.head().sequence, log.repairs[0].kind), (complete, RepairKind::TornRecord), "{name}");
        assert_eq!(torn_bytes(directory.path()), bytes[begin..], "{name}");
    }
}

#[test]
fn a_damaged_tail_is_set_aside_only_when_asked() {
    let (mut bad, ends) = example(5);
    bad[ends[1] + 80] ^= 1;
    let directory = lay(&bad);
    let refused = OpenedLog::open(directory.path(), LOG_ID, now(), LogOptions::default()).unwrap_err();
    let OpenError::Damaged { offset, readable_from, .. } = &refused else { panic!("{refused}") };
    assert_eq!((*offset, *readable_from), (ends[1] as u64, Some(ends[2] as u64)));
    let mut reader = LogReader::from_sequence(directory.path(), 1).unwrap();
    assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_some());
    for _ in 0..2 {
        let error = reader.next().unwrap_err();
        assert!(matches!(error, ReadError::Damaged { offset, .. } if offset == ends[1] as u64), "{error}");
    }
    let options = LogOptions { damaged_tail: DamagedTail::SetAside, ..LogOptions::default() };
    let log = OpenedLog::open(directory.path(), LOG_ID, now(), options).unwrap();
    assert_eq!((log.head().sequence, log.repairs[0].kind), (2, RepairKind::DamagedTail));
    assert_eq!(torn_bytes(directory.path()), bad[ends[1]..]);
}

#[test]
fn a_log_of_several_segments_cut_in_the_last_one() {
    let source = tempfile::tempdir().unwrap();
    let receipts = write_log(source.path(), 600, 12);
    let segments = list_segments(source.path()).unwrap();
    assert!(segments.len() >= 3, "{segments:?}");
    let last = *segments.last().unwrap();
    let tail = std::fs::read(segment_path(source.path(), last)).unwrap();
    for length in 0..=tail.len() {
        let directory = tempfile::tempdir().unwrap();
        for segment in &segments {
            std::fs::copy(segment_path(source.path(), *segment), segment_path(directory.path(), *segment))
                .unwrap();
        }
        std::fs::write(segment_path(directory.path(), last), &tail[..length]).unwrap();
        let complete = receipts
            .iter()
            .enumerate()
            .filter(|(index, receipt)| {
                let end = receipts.get(index + 1).map_or(tail.len() as u64, |next| next.position.offset);
                receipt.position.segment < last || end <= length as u64
            })
            .count() as u64;
        let log = open(directory.path(), 600);
        assert_eq!(log.head().sequence, complete, "{length}");
        let (handle, _) = start(log, WriterOptions::default());
        write(&handle, [99]);
        handle.close(PATIENCE).unwrap();
        let report = check(directory.path());
        assert!(report.is_good() && report.records == complete + 1, "{length}: {report:?}");
    }
}

#[test]
fn a_segment_that_lost_its_end_or_its_place_is_an_error() {
    let source = tempfile::tempdir().unwrap();
    write_log(source.path(), 600, 12);
    let segments = list_segments(source.path()).unwrap();
    let second = segment_path(source.path(), segments[1]);
    let bytes = std::fs::read(&second).unwrap();

    std::fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    let error = OpenedLog::open(source.path(), LOG_ID, now(), LogOptions::default()).unwrap_err();
    assert!(error.to_string().contains("records are missing"), "{error}");
    assert!(!check(source.path()).is_good());
    let mut reader = LogReader::from_sequence(source.path(), 1).unwrap();
    let error = std::iter::from_fn(|| reader.next().map(|record| record.map(|_| ())).transpose())
        .find_map(Result::err)
        .expect("the reader does not stop silently");
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");

    std::fs::remove_file(&second).unwrap();
    assert!(!check(source.path()).is_good());
    let options = LogOptions { scan: ScanDepth::All, ..LogOptions::default() };
    assert!(OpenedLog::open(source.path(), LOG_ID, now(), options).is_err());
    assert!(OpenedLog::open(source.path(), LOG_ID, now(), LogOptions::default()).is_err());

    // Damage in an earlier segment is found by a full scan and by verify.
    let mut bad = bytes.clone();
    bad[200] ^= 1;
    std::fs::write(&second, &bad).unwrap();
    assert!(OpenedLog::open(source.path(), LOG_ID, now(), options).is_err());
    assert!(OpenedLog::open(source.path(), LOG_ID, now(), LogOptions::default()).is_ok());
    assert_eq!(check(source.path()).problems[0].path, second);

    // Bytes after the end that the next segment gives are set aside.
    std::fs::write(&second, [&bytes[..], b"left over"].concat()).unwrap();
    assert_eq!(check(source.path()).problems_total, 1);
    let log = OpenedLog::open(source.path(), LOG_ID, now(), options).unwrap();
    assert_eq!((log.repairs.len(), log.repairs[0].kind), (1, RepairKind::Overhang));
    assert_eq!(torn_bytes(source.path()), b"left over");
    assert!(check(source.path()).is_good());
}

#[test]
fn one_log_has_one_writer() {
    let directory = tempfile::tempdir().unwrap();
    let held = open(directory.path(), SEGMENT_BYTES_MAX);
    let error = OpenedLog::open(directory.path(), LOG_ID, now(), LogOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Lock(LockError::Held { .. })), "{error}");
    drop(held);
    open(directory.path(), SEGMENT_BYTES_MAX);
}
