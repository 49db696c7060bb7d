//! The whole room over logs that are made here, with real files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archive::archiver::{ARCHIVE_DIRECTORY, Archive, ArchiveSettings, Work};
use crate::archive::error::ArchiveError;
use crate::archive::manifest::Chapter;
use crate::archive::prune::Need;
use crate::archive::restore::Wanted;
use crate::archive::verify::ArchiveReader;
use crate::audit::chain::Chain;
use crate::audit::frame::{self, Header, Kind};
use crate::audit::open::{LogOptions, OpenError, OpenedLog};
use crate::audit::receipt::{Head, LogId, RecordHash};
use crate::audit::retention_record::{Place, RetentionRecord, Rule};
use crate::audit::segment::{SegmentHeader, list_segments, segment_path};
use crate::audit::verify::{VerifyOptions, verify};
use crate::domain::time::EventTime;

pub(super) const DAY_MS: i64 = 86_400_000;
/// 2026-10-20T00:00:00Z.
pub(super) const START_MS: i64 = 1_792_454_400_000;
const HOUR_MS: i64 = 3_600_000;

pub(super) fn time(ms: i64) -> EventTime {
    EventTime::from_unix_millis(ms).unwrap()
}

/// A log that takes whatever is to be recorded.
fn recorded(_: &RetentionRecord) -> Result<(), String> {
    Ok(())
}

/// A log that grows by whole segments.
pub(super) struct Log {
    pub(super) data: tempfile::TempDir,
    head: Head,
    previous_bytes: u64,
    log_id: LogId,
}

impl Log {
    pub(super) fn new() -> Self {
        let log_id = LogId([7; 16]);
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("log")).unwrap();
        let mut log = Self {
            data,
            head: Head { sequence: 0, hash: RecordHash::genesis(log_id) },
            previous_bytes: 0,
            log_id,
        };
        log.begin(START_MS);
        log
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.data.path().join("log")
    }

    fn begin(&mut self, now_ms: i64) {
        let header = SegmentHeader {
            log_id: self.log_id,
            first_sequence: self.head.sequence + 1,
            previous_hash: self.head.hash,
            previous_bytes: self.previous_bytes,
            created_at: time(now_ms),
        };
        fs::write(segment_path(&self.directory(), header.first_sequence), header.encode()).unwrap();
    }

    /// Adds records, recorded at these moments, to the open segment, and closes it.
    fn segment(&mut self, moments_ms: &[i64]) {
        let path = segment_path(&self.directory(), self.head.sequence + 1);
        let mut bytes = fs::read(&path).unwrap();
        for moment in moments_ms {
            let sequence = self.head.sequence + 1;
            let body = format!(
                r#"{{"decision_id":"dec_{sequence}","transaction_id":"pay_{sequence}","decision":"APPROVE","score":0.25,
                "transaction":{{"amount":{{"value":{sequence},"currency":"EUR"}},"customer":{{"id":"c{sequence}"}}}},"hits":[],"filler":"{}"}}"#,
                blake3::hash(&sequence.to_le_bytes())
            );
            let header = Header {
                schema: 1,
                kind: Kind::Decision,
                sequence,
                recorded_at: time(*moment),
                previous_hash: self.head.hash,
            };
            let hash = frame::encode(&mut bytes, &header, body.as_bytes()).unwrap();
            self.head = Head { sequence, hash };
        }
        fs::write(&path, &bytes).unwrap();
        self.previous_bytes = bytes.len() as u64;
        self.begin(*moments_ms.last().unwrap());
    }

    /// Segments of `records` records each, one a day.
    pub(super) fn days(&mut self, days: std::ops::Range<i64>, segments: i64, records: i64) {
        for day in days {
            for segment in 0..segments {
                let from = START_MS + day * DAY_MS + segment * HOUR_MS;
                self.segment(&(0..records).map(|at| from + at).collect::<Vec<_>>());
            }
        }
    }

    pub(super) fn url(&self) -> String {
        self.data.path().join(ARCHIVE_DIRECTORY).display().to_string()
    }

    pub(super) fn settings(&self) -> ArchiveSettings {
        ArchiveSettings {
            url: self.url(),
            keep_local: Duration::ZERO,
            hold_open_reviews_days: 0,
            retention_days: 100,
            legal_hold: false,
            compact_file_bytes: 1 << 20,
            delta: false,
        }
    }

    fn open(&self) -> Archive {
        Archive::open(self.data.path(), self.settings(), time(START_MS)).unwrap()
    }

    pub(super) fn reader(&self) -> ArchiveReader {
        ArchiveReader::open(&self.url()).unwrap()
    }

    /// The bytes of every segment, by name.
    fn bytes(&self) -> Vec<(u64, Vec<u8>)> {
        segments_of(&self.directory())
    }
}

fn segments_of(log: &Path) -> Vec<(u64, Vec<u8>)> {
    list_segments(log).unwrap().into_iter().map(|it| (it, fs::read(segment_path(log, it)).unwrap())).collect()
}

pub(super) fn work_at(ms: i64) -> Work<'static> {
    Work { now: time(ms), go_on: &|| true, done: &|_| {} }
}

const ALL: Wanted = Wanted { from: 0, until: u64::MAX };

fn parquet_files(url: &str) -> Vec<String> {
    let records = Path::new(url).join("records");
    let Ok(days) = fs::read_dir(records) else { return Vec::new() };
    let mut files = Vec::new();
    for day in days {
        let day = day.unwrap();
        for file in fs::read_dir(day.path()).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            files.push(format!(
                "{}/{}",
                day.file_name().into_string().unwrap(),
                file.trim_start_matches('0')
            ));
        }
    }
    files.sort();
    files
}

fn is_intact(log: &Log) -> (u64, u64) {
    let report = log.reader().verify(&|_| true).unwrap();
    assert!(report.is_good(), "{report:?}");
    (report.records, report.segments)
}

#[test]
fn closed_segments_are_archived_by_day_and_come_back_byte_for_byte() {
    let mut log = Log::new();
    // Over midnight, with a record that was recorded late; then a day later.
    log.segment(
        &[DAY_MS - 5, DAY_MS - 1, DAY_MS + 1, DAY_MS - 1, DAY_MS + 2, 2 * DAY_MS].map(|ms| START_MS + ms),
    );
    log.segment(&[2 * DAY_MS + 5, DAY_MS].map(|ms| START_MS + ms));
    let archive = log.open();
    let archived = archive.archive_closed(&log.directory(), work_at(START_MS + 3 * DAY_MS)).unwrap();
    assert_eq!((archived.segments, archived.records, archived.files), (2, 8, 4));
    let files = parquet_files(&log.url());
    let days: Vec<_> = files.iter().map(|file| &file[..15]).collect();
    assert_eq!(days, ["date=2026-10-20", "date=2026-10-21", "date=2026-10-22", "date=2026-10-22"]);
    assert_eq!(is_intact(&log), (8, 2));
    let again = archive.archive_closed(&log.directory(), work_at(START_MS + 3 * DAY_MS)).unwrap();
    assert_eq!(again.segments, 0);

    let elsewhere = tempfile::tempdir().unwrap();
    let restored = log.reader().restore(elsewhere.path(), ALL, &|_| true).unwrap();
    assert_eq!((restored.segments, restored.first_sequence, restored.last_sequence), (2, Some(1), Some(8)));
    let mut expected = log.bytes();
    expected.pop();
    assert_eq!(segments_of(elsewhere.path()), expected);
    let again = log.reader().restore(elsewhere.path(), Wanted { from: 7, until: 7 }, &|_| true).unwrap();
    assert_eq!((again.segments, again.already_there), (0, 1));

    fs::write(segment_path(elsewhere.path(), 1), "other").unwrap();
    let error = log.reader().restore(elsewhere.path(), ALL, &|_| true).unwrap_err();
    assert!(error.to_string().contains("is another file"), "{error}");
}

#[test]
fn small_files_of_a_day_become_one_with_the_same_records() {
    let mut log = Log::new();
    log.days(0..3, 4, 10);
    let archive = log.open();
    let now = work_at(START_MS + 4 * DAY_MS);
    archive.archive_closed(&log.directory(), now).unwrap();
    assert_eq!(parquet_files(&log.url()).len(), 12);
    let compacted = archive.compact(false, now).unwrap();
    assert_eq!((compacted.files_before, compacted.files_after), (8, 2));
    let files = parquet_files(&log.url());
    assert_eq!(files.len(), 6);
    assert_eq!(files[0], "date=2026-10-20/1-00000000000000000040.parquet");
    assert_eq!(is_intact(&log), (120, 12));
    assert_eq!(archive.compact(true, now).unwrap().files_after, 0);

    let elsewhere = tempfile::tempdir().unwrap();
    log.reader().restore(elsewhere.path(), ALL, &|_| true).unwrap();
    let mut expected = log.bytes();
    expected.pop();
    assert_eq!(segments_of(elsewhere.path()), expected);
}

#[test]
fn days_that_have_outlived_retention_go_and_the_chain_goes_on_from_the_joint() {
    let mut log = Log::new();
    log.days(0..2, 2, 10);
    // Half of this segment is of the next day.
    log.segment(&[START_MS + 2 * DAY_MS - 1, START_MS + 2 * DAY_MS]);
    log.days(3..4, 1, 10);
    let mut archive = log.open();
    archive.archive_closed(&log.directory(), work_at(START_MS + 4 * DAY_MS)).unwrap();
    let now = work_at(START_MS + 102 * DAY_MS);
    archive.settings.legal_hold = true;
    assert_eq!(archive.retain(now, &recorded).unwrap().files, 0);
    archive.settings.legal_hold = false;
    let removed = archive.retain(now, &recorded).unwrap();
    assert_eq!((removed.records, removed.files, removed.kept_from.as_deref()), (41, 5, Some("2026-10-22")));
    assert_eq!(archive.retain(now, &recorded).unwrap().files, 0);
    let report = log.reader().verify(&|_| true).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.records, report.segments, report.base.unwrap().sequence), (11, 1, 41));
    let status = log.reader().status(&log.directory()).unwrap();
    let removals: Vec<_> =
        status.removals.iter().map(|it| (it.date.as_str(), it.first_sequence, it.records)).collect();
    assert_eq!(removals, [("2026-10-20", 1, 20), ("2026-10-21", 21, 21)]);

    // What is left of the halved segment makes no file; what follows does, and proves itself.
    let elsewhere = tempfile::tempdir().unwrap();
    let restored = log.reader().restore(elsewhere.path(), ALL, &|_| true).unwrap();
    assert_eq!((restored.records_left_out, restored.first_sequence), (1, Some(43)));
    let report = verify(elsewhere.path(), VerifyOptions::default(), &|_| {}).unwrap();
    assert!(report.is_good() && report.records == 10, "{report:?}");

    // The segments of outlived days go here, too; the halved one stays until its other half has.
    let pruned = archive.prune(&log.directory(), &[], now, &recorded).unwrap();
    assert_eq!(pruned.segments, 4);
    assert!(pruned.kept.unwrap().contains("segment 41 stays: a part of it has outlived"));

    // Everything may go; the archive still knows where the log goes on.
    let late = work_at(START_MS + 1_000 * DAY_MS);
    archive.retain(late, &recorded).unwrap();
    assert_eq!(parquet_files(&log.url()), Vec::<String>::new());
    log.days(1_000..1_001, 1, 3);
    assert_eq!(archive.archive_closed(&log.directory(), late).unwrap().records, 3);
    assert_eq!(is_intact(&log), (3, 1));
}

#[test]
fn what_leaves_is_recorded_before_and_stays_where_that_fails() {
    let mut log = Log::new();
    log.days(0..2, 2, 10);
    let archive = log.open();
    let (directory, now) = (log.directory(), work_at(START_MS + 2 * DAY_MS));
    archive.archive_closed(&directory, now).unwrap();
    let there = || (list_segments(&directory).unwrap(), parquet_files(&log.url()));
    let whole = there();
    let refuses = |_: &RetentionRecord| Err("no room".to_owned());
    let told = std::cell::RefCell::new(Vec::new());
    let tells = |removed: &RetentionRecord| {
        told.borrow_mut().push((removed.clone(), there()));
        Ok(())
    };
    let refused = |error: ArchiveError| {
        assert!(matches!(error, ArchiveError::NotRecorded { first: 1, last: 40, .. }), "{error}");
        assert!(error.to_string().ends_with("no room"), "{error}");
    };
    refused(archive.prune(&directory, &[], now, &refuses).unwrap_err());
    assert_eq!(there(), whole);
    assert_eq!(archive.prune(&directory, &[], now, &tells).unwrap().segments, 4);
    let pruned = there();
    let late = work_at(START_MS + 102 * DAY_MS);
    refused(archive.retain(late, &refuses).unwrap_err());
    assert_eq!(there(), pruned);
    assert_eq!(is_intact(&log), (40, 4));
    assert_eq!(archive.retain(late, &tells).unwrap().records, 40);
    assert!(parquet_files(&log.url()).is_empty());
    let (first_sequence, last_sequence) = (1, 40);
    let of_log = RetentionRecord {
        place: Place::Log,
        rule: Rule::KeepLocal,
        days: 0,
        first_sequence,
        last_sequence,
        files: 4,
        kept_from: None,
    };
    let of_archive = RetentionRecord {
        place: Place::Archive,
        rule: Rule::Retention,
        days: 100,
        kept_from: Some("2026-10-22".into()),
        ..of_log
    };
    assert_eq!(told.into_inner(), [(of_log, whole), (of_archive, pruned)], "all was still there then");
}

#[test]
fn a_local_segment_goes_only_when_its_copy_is_proven_and_nobody_needs_it() {
    let mut log = Log::new();
    log.days(0..1, 5, 10);
    let mut archive = log.open();
    let now = work_at(START_MS + DAY_MS);
    let (directory, whole) = (log.directory(), log.bytes());
    let kept = |pruned: crate::archive::prune::Pruned| (pruned.segments, pruned.kept.unwrap_or_default());
    assert!(kept(archive.prune(&directory, &[], now, &recorded).unwrap()).1.contains("nothing is archived"));
    archive.archive_closed(&directory, now).unwrap();
    archive.settings.keep_local = Duration::from_hours(48);
    assert!(kept(archive.prune(&directory, &[], now, &recorded).unwrap()).1.contains("keep_local_days"));
    let later = work_at(START_MS + 4 * DAY_MS);
    let need = |from_sequence| [Need { who: "the snapshot".to_owned(), from_sequence }];
    let (segments, why) = kept(archive.prune(&directory, &need(25), later, &recorded).unwrap());
    assert_eq!((segments, why.contains("the snapshot needs the log from record 25 on")), (2, true), "{why}");
    assert_eq!(list_segments(&directory).unwrap(), [21, 31, 41, 51]);

    // One flipped bit in the archive, and what it is a copy of stays.
    let file =
        Path::new(&log.url()).join("records/date=2026-10-20").join(format!("{:020}-{:020}.parquet", 21, 30));
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&file, &bad).unwrap();
    let error = archive.prune(&directory, &[], later, &recorded).unwrap_err();
    assert!(matches!(&error, ArchiveError::Damaged { .. }), "{error}");
    assert_eq!(list_segments(&directory).unwrap(), [21, 31, 41, 51]);
    let report = log.reader().verify(&|_| true).unwrap();
    assert_eq!((report.problems_total, report.records, report.segments), (1, 40, 4), "{report:?}");
    fs::write(&file, &good).unwrap();

    // And so if the local file is not what was archived.
    let mut bytes = fs::read(segment_path(&directory, 21)).unwrap();
    bytes[300] ^= 1;
    fs::write(segment_path(&directory, 21), &bytes).unwrap();
    let error = archive.prune(&directory, &[], later, &recorded).unwrap_err();
    assert!(matches!(&error, ArchiveError::Diverged { segment: 21, .. }), "{error}");
    bytes[300] ^= 1;
    fs::write(segment_path(&directory, 21), &bytes).unwrap();

    // The open segment is never taken.
    assert_eq!(archive.prune(&directory, &[], later, &recorded).unwrap().segments, 3);
    assert_eq!(list_segments(&directory).unwrap(), [51]);
    log.reader().restore(&directory, ALL, &|_| true).unwrap();
    assert_eq!(log.bytes(), whole);
    let report = verify(&directory, VerifyOptions::default(), &|_| {}).unwrap();
    assert!(report.is_good() && report.records == 50, "{report:?}");
}

#[test]
fn a_log_opens_when_its_mark_is_archived_and_when_it_is_restored_and_not_when_more_is_lost() {
    let mut log = Log::new();
    let directory = log.directory();
    let head = |directory: &Path| {
        let opened = OpenedLog::open(directory, LogId([0; 16]), time(START_MS), LogOptions::default())?;
        assert_eq!(opened.repairs, []);
        Ok::<_, OpenError>(opened.head().sequence)
    };
    log.days(0..1, 2, 10);
    // From here on the mark stands behind record 20.
    assert_eq!(head(&directory).unwrap(), 20);
    log.days(1..2, 3, 10);
    let later = work_at(START_MS + 4 * DAY_MS);
    let archive = log.open();
    archive.archive_closed(&directory, later).unwrap();
    assert_eq!(archive.prune(&directory, &[], later, &recorded).unwrap().segments, 5);
    assert_eq!(list_segments(&directory).unwrap(), [51]);
    assert_eq!(head(&directory).unwrap(), 50, "and the mark stands there");
    log.reader().restore(&directory, ALL, &|_| true).unwrap();
    assert_eq!(head(&directory).unwrap(), 50);

    // A directory of its own has no mark to miss anything by.
    let elsewhere = tempfile::tempdir().unwrap();
    // What a restoration leaves that was killed is no segment, and no record that was lost.
    fs::write(segment_path(elsewhere.path(), 41).with_extension("restoring"), "half of it").unwrap();
    log.reader().restore(elsewhere.path(), Wanted { from: 1, until: 40 }, &|_| true).unwrap();
    assert_eq!(head(elsewhere.path()).unwrap(), 40);
    log.reader().restore(elsewhere.path(), ALL, &|_| true).unwrap();
    assert_eq!((head(elsewhere.path()).unwrap(), fs::read_dir(elsewhere.path()).unwrap().count()), (50, 7));

    // Here it has one: what the archive does not give back is missed.
    for lost in [41, 51] {
        fs::remove_file(segment_path(&directory, lost)).unwrap();
    }
    log.reader().restore(&directory, Wanted { from: 1, until: 40 }, &|_| true).unwrap();
    let error = head(&directory).unwrap_err();
    assert!(error.to_string().contains("records are missing"), "{error}");
}

#[test]
fn what_this_archive_never_held_stays_in_the_log() {
    let mut log = Log::new();
    log.days(0..1, 3, 10);
    let first = segment_path(&log.directory(), 1);
    let bytes = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    let archive = log.open();
    let now = work_at(START_MS + DAY_MS);
    archive.archive_closed(&log.directory(), now).unwrap();
    assert_eq!(is_intact(&log), (20, 2));
    // It comes back from somewhere else.
    fs::write(&first, bytes).unwrap();
    let pruned = archive.prune(&log.directory(), &[], now, &recorded).unwrap();
    assert_eq!(
        (pruned.segments, pruned.kept.unwrap().contains("segment 1 stays: it is not archived")),
        (0, true)
    );
}

#[test]
fn a_log_that_went_another_way_is_refused() {
    let mut log = Log::new();
    log.days(0..1, 2, 10);
    let archive = log.open();
    let now = work_at(START_MS + DAY_MS);
    archive.archive_closed(&log.directory(), now).unwrap();
    assert!(matches!(
        Archive::open(log.data.path(), log.settings(), time(START_MS)),
        Err(ArchiveError::Locked { .. })
    ));

    // The same length, another last record.
    fs::remove_file(segment_path(&log.directory(), 21)).unwrap();
    log.head.hash = RecordHash([1; 32]);
    log.begin(START_MS);
    log.days(1..2, 1, 2);
    let error = archive.archive_closed(&log.directory(), now).unwrap_err();
    assert!(matches!(&error, ArchiveError::Diverged { segment: 21, .. }), "{error}");
    drop(archive);

    let mut other = Log { log_id: LogId([8; 16]), ..Log::new() };
    fs::remove_file(segment_path(&other.directory(), 1)).unwrap();
    other.head = Head { sequence: 20, hash: RecordHash([1; 32]) };
    other.begin(START_MS);
    other.days(0..1, 1, 2);
    let settings = ArchiveSettings { url: log.url(), ..other.settings() };
    let archive = Archive::open(other.data.path(), settings, time(START_MS)).unwrap();
    let error = archive.archive_closed(&other.directory(), now).unwrap_err();
    assert!(matches!(&error, ArchiveError::OtherLog { .. }), "{error}");
}

#[test]
fn damaged_segments_are_not_archived() {
    let mut log = Log::new();
    log.days(0..1, 1, 10);
    let path = segment_path(&log.directory(), 1);
    let good = fs::read(&path).unwrap();
    let archive = log.open();
    let now = work_at(START_MS + DAY_MS);
    for at in [120, good.len() / 2, good.len() - 3] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let error = archive.archive_closed(&log.directory(), now).unwrap_err();
        assert!(matches!(&error, ArchiveError::Log(_)), "{error}");
    }
    fs::write(&path, &good[..good.len() - 3]).unwrap();
    archive.archive_closed(&log.directory(), now).unwrap_err();
    assert_eq!(parquet_files(&log.url()), Vec::<String>::new());
    // What a failed write left behind the end is no part of it.
    fs::write(&path, [&good[..], b"left over"].concat()).unwrap();
    assert_eq!(archive.archive_closed(&log.directory(), now).unwrap().records, 10);
    assert_eq!(is_intact(&log), (10, 1));
}

/// Runs every task, stops it after each of its steps in turn, and then lets another run finish: nothing is lost, nothing is there twice.
#[test]
fn stopped_anywhere_the_next_run_finishes() {
    let mut expected_files = None;
    for steps in 0..200_u32 {
        let mut log = Log::new();
        log.days(0..3, 3, 4);
        let left = std::cell::Cell::new(steps);
        let go_on = || {
            let more = left.get() > 0;
            left.set(left.get().saturating_sub(1));
            more
        };
        let now = time(START_MS + 101 * DAY_MS);
        let work = Work { now, go_on: &go_on, done: &|_| {} };
        let archive = log.open();
        let all = |work: Work<'_>| -> Result<(), ArchiveError> {
            archive.archive_closed(&log.directory(), work)?;
            archive.compact(true, work)?;
            archive.retain(work, &recorded)?;
            archive.prune(&log.directory(), &[], work, &recorded)?;
            Ok(())
        };
        let stopped = matches!(all(work), Err(ArchiveError::Stopped));
        drop(archive);
        let archive = log.open();
        let all_again = work_at(now.unix_millis());
        archive.archive_closed(&log.directory(), all_again).unwrap();
        archive.compact(true, all_again).unwrap();
        archive.retain(all_again, &recorded).unwrap();
        archive.prune(&log.directory(), &[], all_again, &recorded).unwrap();
        assert_eq!(is_intact(&log), (24, 6), "{steps}");
        let files = parquet_files(&log.url());
        let expected: &Vec<String> = expected_files.get_or_insert_with(|| files.clone());
        assert_eq!(&files, expected, "{steps}");
        if !stopped {
            assert!(steps > 10, "{steps}");
            return;
        }
    }
    panic!("the tasks never came to their end");
}

#[test]
fn a_chapter_reads_back_and_another_version_is_refused() {
    let log = Log::new();
    let archive = log.open();
    let chapter = Chapter::new(log.log_id, log.head);
    archive.manifest().save(1, &chapter).unwrap();
    assert_eq!(archive.manifest().load(1).unwrap(), chapter);
    archive.manifest().save(1, &Chapter { version: 2, ..chapter }).unwrap();
    let error = archive.manifest().load(1).unwrap_err().to_string();
    assert!(error.contains("version 2") && error.contains("use a newer one"), "{error}");
}

/// The chain of the tests' own logs is right: else the tests above would prove nothing.
#[test]
fn the_logs_of_these_tests_are_logs() {
    let mut log = Log::new();
    log.days(0..2, 2, 3);
    let report = verify(&log.directory(), VerifyOptions::default(), &|_| {}).unwrap();
    assert!(report.is_good() && report.records == 12, "{report:?}");
    assert_eq!(report.head_hash, Some(Chain::new(log.head).head().hash));
}
