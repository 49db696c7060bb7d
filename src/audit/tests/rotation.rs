//! Segments, and readers that follow a log while it is written.

use super::{PATIENCE, body, check, now, open, read_bodies, start, write, write_log};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::lookup::LogLookup;
use crate::audit::open::{LogOptions, OpenedLog, ScanDepth};
use crate::audit::reader::LogReader;
use crate::audit::receipt::Head;
use crate::audit::segment::{list_segments, segment_path};
use crate::audit::verify::{VerifyOptions, verify};
use crate::audit::writer::{Ack, WriterOptions};

#[test]
fn segments_stay_below_their_limit_and_every_record_is_found() {
    const LIMIT: u64 = 2000;
    for ack in [Ack::Process, Ack::Disk] {
        let directory = tempfile::tempdir().unwrap();
        let (handle, _) =
            start(open(directory.path(), LIMIT), WriterOptions { ack, ..WriterOptions::default() });
        let mut receipts = write(&handle, 1..=100);
        let long = vec![b'y'; 5000];
        let pending = handle.reserve().unwrap().commit(Kind::Review, now(), long.clone(), 0);
        receipts.push(pending.wait_blocking().unwrap());
        receipts.extend(write(&handle, 102..=120));
        let status = handle.status();
        handle.close(PATIENCE).unwrap();
        let segments = list_segments(directory.path()).unwrap();
        let lengths: Vec<u64> = segments
            .iter()
            .map(|segment| std::fs::metadata(segment_path(directory.path(), *segment)).unwrap().len())
            .collect();
        assert_eq!(
            lengths.iter().filter(|length| **length > LIMIT).count(),
            1,
            "only the long record: {lengths:?}"
        );
        assert_eq!((status.bytes, status.segment), (lengths.iter().sum(), *segments.last().unwrap()));
        let lookup = LogLookup::new(directory.path());
        let mut buffer = Vec::new();
        for receipt in &receipts {
            let record = lookup.read_at(receipt.position, &mut buffer).unwrap();
            assert_eq!((record.header.sequence, record.hash), (receipt.sequence, receipt.hash));
            let expected = if receipt.sequence == 101 { long.clone() } else { body(receipt.sequence) };
            assert_eq!(record.body, expected);
        }
        assert!(lookup.read_at(receipts[3].position, &mut buffer).is_ok());
        let mut inside = receipts[3].position;
        inside.offset += 1;
        assert!(matches!(lookup.read_at(inside, &mut buffer), Err(ReadError::Damaged { .. })));
        for from in [0, 1, 2, 50, 100, 101, 120, 121] {
            let mut reader = LogReader::from_sequence(directory.path(), from).unwrap();
            let mut count = 0;
            while let Some(record) = reader.next().unwrap() {
                assert_eq!(record.header.sequence, from.max(1) + count);
                count += 1;
            }
            assert_eq!(count, 121 - from.max(1), "from {from}");
        }
        for receipt in receipts.iter().step_by(7).chain(receipts.last()) {
            let mut reader = LogReader::after(directory.path(), receipt.position).unwrap();
            assert_eq!(reader.head(), Head { sequence: receipt.sequence, hash: receipt.hash });
            let mut last = receipt.sequence;
            while let Some(record) = reader.next().unwrap() {
                last += 1;
                assert_eq!(record.header.sequence, last);
            }
            assert_eq!(last, 120, "after {}", receipt.sequence);
        }
        assert!(matches!(LogReader::after(directory.path(), inside).unwrap_err(), ReadError::Damaged { .. }));
        inside.offset = u64::MAX;
        assert!(LogReader::after(directory.path(), inside).is_err());
        let options = LogOptions { scan: ScanDepth::All, ..LogOptions::default() };
        let log = OpenedLog::open(directory.path(), super::LOG_ID, now(), options).unwrap();
        assert_eq!((log.head().sequence, log.repairs.len()), (120, 0));
        let report = check(directory.path());
        assert!(report.is_good(), "{report:?}");
        assert_eq!((report.bytes, report.segments), (status.bytes, segments.len() as u64));
        assert_eq!(report.head_hash, Some(receipts.last().unwrap().hash));
        assert_eq!(report.by_kind.get("review"), Some(&1));
    }
}

#[test]
fn a_reader_follows_a_log_that_is_written() {
    const RECORDS: u64 = 3000;
    let directory = tempfile::tempdir().unwrap();
    let (handle, _) = start(open(directory.path(), 20_000), WriterOptions::default());
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut reader = LogReader::from_sequence(directory.path(), 1).unwrap();
            let mut expected = 1;
            while expected <= RECORDS {
                match reader.next().unwrap() {
                    Some(record) => {
                        assert_eq!((record.header.sequence, record.body), (expected, &body(expected)[..]));
                        expected += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
        for start in (1..=RECORDS).step_by(50) {
            write(&handle, start..start + 50);
            let until = Some(handle.status().head.sequence);
            if start % 500 == 1 {
                let report = verify(directory.path(), VerifyOptions { threads: 1, until }, &|_| {}).unwrap();
                assert!(report.is_good() && report.last_sequence == until, "{report:?}");
            }
        }
        follower.join().unwrap();
    });
    handle.close(PATIENCE).unwrap();
}

#[test]
fn a_reader_is_held_at_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 500, 10);
    let mut reader = LogReader::from_sequence(directory.path(), 1).unwrap();
    for limit in [4, 4, 9, 20] {
        reader.limit(limit);
        while reader.next().unwrap().is_some() {}
        assert_eq!(reader.head().sequence, limit.min(10));
    }
    let report = verify(directory.path(), VerifyOptions { threads: 1, until: Some(11) }, &|_| {}).unwrap();
    assert_eq!((report.problems_total, report.last_sequence), (1, Some(10)));
}

#[test]
fn old_segments_can_be_archived() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 500, 20);
    let segments = list_segments(directory.path()).unwrap();
    std::fs::remove_file(segment_path(directory.path(), 1)).unwrap();
    let error = LogReader::from_sequence(directory.path(), 1).unwrap_err();
    assert!(matches!(error, ReadError::NotThere { oldest, .. } if oldest == Some(segments[1])), "{error}");
    let report = check(directory.path());
    assert!(report.is_good() && report.first_sequence == Some(segments[1]), "{report:?}");
    let (handle, _) = start(open(directory.path(), 500), WriterOptions::default());
    assert_eq!(write(&handle, [21])[0].sequence, 21);
    handle.close(PATIENCE).unwrap();
}

#[test]
fn progress_reaches_the_end() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 500, 20);
    let last = parking_lot::Mutex::new(None);
    let report = verify(directory.path(), VerifyOptions { threads: 3, until: None }, &|progress| {
        *last.lock() = Some((progress.bytes_done, progress.bytes_total));
    })
    .unwrap();
    assert_eq!(*last.lock(), Some((report.bytes, report.bytes)));
    assert!(serde_json::to_string(&report).unwrap().contains("\"records\":20"));
    assert_eq!(read_bodies(directory.path()).len(), 20);
}
