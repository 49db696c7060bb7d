//! The published format: today's reader reads the checked-in log of every version, and today's writer writes the newest byte for byte.
//!
//! A golden file is never changed. A new format version gets a new file.

use std::path::PathBuf;

use super::{LOG_ID, PATIENCE, check, open, start};
use crate::audit::frame::Kind;
use crate::audit::lookup::LogLookup;
use crate::audit::reader::LogReader;
use crate::audit::segment::{SEGMENT_BYTES_MAX, segment_path};
use crate::audit::writer::WriterOptions;
use crate::domain::time::EventTime;

const HEAD_V1: &str = "9c9ee532da478820ea9d9cc6ae3fd748ebc391a93e7c940ebf677954ae0bc413";

fn golden_v1() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/audit/v1.log")
}

fn records_v1() -> Vec<(Kind, i64, &'static str)> {
    vec![
        (
            Kind::Decision,
            1_792_497_600_000,
            r#"{"transaction_id":"t-1","decision":"APPROVE","score":0.0125}"#,
        ),
        (Kind::Label, 1_792_497_601_500, r#"{"transaction_id":"t-1","label":"fraud"}"#),
        (Kind::ListChange, 1_792_497_602_000, r#"{"list":"blocked_cards","add":"card-9"}"#),
        (Kind::PolicyChange, 1_792_497_603_000, r#"{"policy":"sha256:00"}"#),
        (Kind::Review, 1_792_497_604_000, r#"{"case":"c-1","outcome":"release","note":"café"}"#),
        (Kind::Erasure, 1_792_497_605_000, r#"{"customer":"k-1"}"#),
        (Kind::Checkpoint, 0, ""),
        (Kind::Decision, 253_402_207_200_000, "null"),
    ]
}

#[test]
fn todays_writer_writes_version_1_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _) = start(open(directory.path(), SEGMENT_BYTES_MAX), WriterOptions::default());
    for (kind, recorded_at, body) in records_v1() {
        let recorded_at = EventTime::from_unix_millis(recorded_at).unwrap();
        handle.reserve().unwrap().commit(kind, recorded_at, body.into(), 0).wait_blocking().unwrap();
    }
    handle.close(PATIENCE).unwrap();
    let written = std::fs::read(segment_path(directory.path(), 1)).unwrap();
    assert!(written == std::fs::read(golden_v1()).unwrap());
}

#[test]
fn todays_reader_reads_version_1() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(golden_v1(), segment_path(directory.path(), 1)).unwrap();
    let mut reader = LogReader::from_sequence(directory.path(), 1).unwrap();
    assert_eq!(reader.log_id(), LOG_ID);
    let lookup = LogLookup::new(directory.path());
    for (index, (kind, recorded_at, body)) in records_v1().into_iter().enumerate() {
        let record = reader.next().unwrap().unwrap();
        assert_eq!(record.header.schema, 1);
        assert_eq!(record.header.kind, kind);
        assert_eq!(record.header.sequence, index as u64 + 1);
        assert_eq!(record.header.recorded_at.unix_millis(), recorded_at);
        assert_eq!(record.body, body.as_bytes());
        let mut buffer = Vec::new();
        assert_eq!(lookup.read_at(record.position, &mut buffer).unwrap(), record);
    }
    assert_eq!(reader.next().unwrap(), None);
    assert_eq!(reader.head().hash.to_string(), HEAD_V1);
    let report = check(directory.path());
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.records, report.by_kind["decision"], report.by_kind.len()), (8, 2, 7));
    let log = open(directory.path(), SEGMENT_BYTES_MAX);
    assert_eq!((log.log_id(), log.head().sequence, log.repairs.len()), (LOG_ID, 8, 0));
}
