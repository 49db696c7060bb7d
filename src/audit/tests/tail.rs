//! What of a damaged end is shown, and that it is set aside only when asked.

use std::path::Path;

use super::{LOG_ID, check, now, open, read_bodies, write_log};
use crate::audit::open::{LogOptions, OpenError, OpenedLog, RepairKind};
use crate::audit::segment::{LockError, SEGMENT_BYTES_MAX, list_segments, segment_path};
use crate::audit::tail::{Readable, TailError, look, set_aside};

/// All files of a directory but the lock, with their contents.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name != "log.lock")
        .collect();
    files.sort();
    files
}

fn refused(directory: &Path) -> String {
    let error = OpenedLog::open(directory, LOG_ID, now(), LogOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    error.to_string()
}

/// A log of so many records in one segment, and where each record begins.
fn one_segment(records: u64) -> (tempfile::TempDir, Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let receipts = write_log(directory.path(), SEGMENT_BYTES_MAX, records);
    let begins = receipts.iter().map(|it| usize::try_from(it.position.offset).unwrap()).collect();
    (directory, begins)
}

#[test]
fn good_records_after_a_flipped_byte_are_counted_and_kept() {
    let (directory, begins) = one_segment(40);
    let path = segment_path(directory.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[begins[24] + 70] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let error = refused(directory.path());
    assert!(error.contains("`tollgate audit repair`"), "{error}");

    let before = files(directory.path());
    let shown = look(directory.path()).unwrap();
    assert_eq!(files(directory.path()), before, "looking changes nothing");
    let expected = Readable { records: 15, decisions: 15, first_sequence: Some(26), last_sequence: Some(40) };
    assert_eq!((shown.last_sequence, shown.given_up()), (24, Some((25, 40))));
    let [piece] = &shown.pieces[..] else { panic!("{shown:?}") };
    assert_eq!((piece.repair.kind, piece.readable), (RepairKind::DamagedTail, expected));
    assert_eq!(piece.repair.offset, begins[24] as u64);
    assert_eq!(piece.repair.bytes, (bytes.len() - begins[24]) as u64);
    assert_eq!((&piece.repair.kept, shown.refused.as_deref()), (&None, Some(error.as_str())));

    let done = set_aside(directory.path(), now()).unwrap();
    let kept = done.pieces[0].repair.kept.as_ref().unwrap();
    assert_eq!(std::fs::read(kept).unwrap(), bytes[begins[24]..]);
    assert_eq!(std::fs::read(&path).unwrap(), bytes[..begins[24]]);
    assert!(check(directory.path()).is_good());
    assert_eq!(open(directory.path(), SEGMENT_BYTES_MAX).head().sequence, 24);
    let again = look(directory.path()).unwrap();
    assert!(again.is_sound() && again.last_sequence == 24, "{again:?}");
}

#[test]
fn damage_of_the_last_record_is_followed_by_nothing() {
    let (directory, begins) = one_segment(5);
    let path = segment_path(directory.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[begins[4] + 75] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let done = set_aside(directory.path(), now()).unwrap();
    assert_eq!((done.last_sequence, done.given_up()), (4, Some((5, 5))));
    assert_eq!(done.pieces[0].readable, Readable::default());
}

#[test]
fn a_segment_cut_off_before_its_mark_is_given_up_from_there_on() {
    // Cut inside a record, and between two: then nothing is set aside, and records are missing all the same.
    for (inside, pieces) in [(9, 1), (0, 0)] {
        let (directory, begins) = one_segment(12);
        let path = segment_path(directory.path(), 1);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..begins[7] + inside]).unwrap();
        refused(directory.path());
        let shown = look(directory.path()).unwrap();
        assert_eq!((shown.last_sequence, shown.given_up(), shown.pieces.len()), (7, Some((8, 12)), pieces));
        assert!(!shown.is_sound());
        set_aside(directory.path(), now()).unwrap();
        assert_eq!(read_bodies(directory.path()).len(), 7);
        assert!(look(directory.path()).unwrap().is_sound());
    }
}

#[test]
fn what_a_crash_leaves_is_shown_as_such() {
    let (directory, begins) = one_segment(6);
    std::fs::remove_file(directory.path().join("log.mark")).unwrap();
    let path = segment_path(directory.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..begins[5] + 30]).unwrap();
    let shown = look(directory.path()).unwrap();
    assert_eq!((shown.refused, shown.pieces[0].repair.kind), (None, RepairKind::TornRecord));
    assert_eq!(shown.last_sequence, 5);
}

#[test]
fn a_torn_segment_leaves_the_ones_before_it() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 600, 12);
    std::fs::remove_file(directory.path().join("log.mark")).unwrap();
    let last = *list_segments(directory.path()).unwrap().last().unwrap();
    std::fs::write(segment_path(directory.path(), last), [0; 40]).unwrap();
    let shown = look(directory.path()).unwrap();
    assert_eq!((shown.last_sequence, shown.pieces[0].repair.kind), (last - 1, RepairKind::TornSegment));
    assert_eq!(shown.pieces[0].readable, Readable::default());

    // The only one there is: nothing would be left, and nothing is done.
    let (single, _) = one_segment(3);
    std::fs::remove_file(single.path().join("log.mark")).unwrap();
    std::fs::write(segment_path(single.path(), 1), [0; 40]).unwrap();
    let before = files(single.path());
    assert!(matches!(set_aside(single.path(), now()), Err(TailError::NothingLeft)));
    assert_eq!(files(single.path()), before);
}

#[test]
fn damage_before_the_last_segment_is_not_given_up() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 600, 12);
    let segments = list_segments(directory.path()).unwrap();
    let second = segment_path(directory.path(), segments[1]);
    let bytes = std::fs::read(&second).unwrap();
    std::fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    let before = files(directory.path());
    for result in [look(directory.path()), set_aside(directory.path(), now())] {
        let error = result.unwrap_err();
        assert!(matches!(error, TailError::Elsewhere(_)), "{error}");
        assert!(error.to_string().contains("records are missing"), "{error}");
    }
    assert_eq!(files(directory.path()), before);
}

#[test]
fn a_log_that_is_written_is_not_looked_at() {
    let (directory, _) = one_segment(3);
    let held = open(directory.path(), SEGMENT_BYTES_MAX);
    let error = look(directory.path()).unwrap_err();
    assert!(matches!(error, TailError::Open(OpenError::Lock(LockError::Held { .. }))), "{error}");
    drop(held);
    assert!(look(directory.path()).unwrap().is_sound());
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(look(empty.path()), Err(TailError::NoLog(_))));
    assert_eq!(files(empty.path()), []);
}
