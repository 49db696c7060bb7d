//! The Delta log, read as a reader of Delta does, says what the manifest says: after every task, and after every interruption.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::archive::archiver::{Archive, ArchiveSettings, Work};
use crate::archive::error::ArchiveError;
use crate::archive::tests::{DAY_MS, Log, START_MS, time, work_at};

fn open(log: &Log, delta: bool) -> Archive {
    Archive::open(log.data.path(), ArchiveSettings { delta, ..log.settings() }, time(START_MS)).unwrap()
}

/// The files of the table, and its version: from the last checkpoint and the commits after it, in which nothing may be missing.
fn table(url: &str) -> (BTreeSet<String>, u64) {
    let log = Path::new(url).join("records/_delta_log");
    let mut files = BTreeSet::new();
    let mut next = 0;
    if let Ok(note) = fs::read(log.join("_last_checkpoint")) {
        let note: Value = serde_json::from_slice(&note).unwrap();
        let version = note["version"].as_u64().unwrap();
        let checkpoint = File::open(log.join(format!("{version:020}.checkpoint.parquet"))).unwrap();
        files.extend(checkpoint_paths(checkpoint, note["size"].as_i64().unwrap()));
        next = version + 1;
    }
    while let Ok(commit) = fs::read_to_string(log.join(format!("{next:020}.json"))) {
        for line in commit.lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            let path = |name: &str| action[name]["path"].as_str().map(str::to_owned);
            if let Some(path) = path("remove") {
                assert!(files.remove(&path), "version {next} removes {path}, which is not there");
            }
            if let Some(path) = path("add") {
                assert!(files.insert(path.clone()), "version {next} adds {path} once more");
            }
        }
        next += 1;
    }
    (files, next - 1)
}

fn checkpoint_paths(file: File, rows: i64) -> Vec<String> {
    let file = SerializedFileReader::new(file).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), rows);
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let at = (0..schema.num_columns()).find(|at| schema.column(*at).path().string() == "add.path").unwrap();
    let group = file.get_row_group(0).unwrap();
    let ColumnReader::ByteArrayColumnReader(mut column) = group.get_column_reader(at).unwrap() else {
        panic!()
    };
    let (mut paths, mut levels): (Vec<ByteArray>, Vec<i16>) = (Vec::new(), Vec::new());
    column.read_records(usize::try_from(rows).unwrap(), Some(&mut levels), None, &mut paths).unwrap();
    assert_eq!((levels[..3].to_vec(), levels.len()), (vec![0, 0, 1], usize::try_from(rows).unwrap()));
    paths.iter().map(|path| path.as_utf8().unwrap().to_owned()).collect()
}

fn says_what_the_manifest_says(log: &Log) -> u64 {
    let reader = log.reader();
    let mut expected = BTreeSet::new();
    for name in reader.manifest().chapters().unwrap() {
        expected.extend(reader.manifest().load(name).unwrap().files.into_iter().map(|file| file.path));
    }
    let (files, version) = table(&log.url());
    let files: BTreeSet<_> = files.into_iter().map(|file| format!("records/{file}")).collect();
    assert_eq!(files, expected);
    for file in &files {
        assert!(Path::new(&log.url()).join(file).exists(), "{file}");
    }
    version
}

fn all(archive: &Archive, log: &Log, work: Work<'_>) -> Result<(), ArchiveError> {
    archive.archive_closed(&log.directory(), work)?;
    archive.compact(true, work)?;
    archive.retain(work)?;
    Ok(())
}

#[test]
fn the_table_is_the_manifest_over_many_versions_and_checkpoints() {
    let mut log = Log::new();
    let archive = open(&log, true);
    for day in 0..30 {
        log.days(day..day + 1, 3, 2);
        all(&archive, &log, work_at(START_MS + (day + 85) * DAY_MS)).unwrap();
        says_what_the_manifest_says(&log);
    }
    let version = says_what_the_manifest_says(&log);
    assert!(version > 110, "{version}");
    let commits = fs::read_dir(Path::new(&log.url()).join("records/_delta_log")).unwrap().count();
    assert!(commits < 110, "commits before the checkpoint before the last go: {commits}");
}

#[test]
fn stopped_anywhere_the_next_run_says_what_was_not_said() {
    for steps in 0..100_u32 {
        let mut log = Log::new();
        log.days(0..3, 2, 3);
        let left = std::cell::Cell::new(steps);
        let go_on = || {
            let more = left.get() > 0;
            left.set(left.get().saturating_sub(1));
            more
        };
        let now = time(START_MS + 101 * DAY_MS);
        let archive = open(&log, true);
        let stopped = all(&archive, &log, Work { now, go_on: &go_on, done: &|_| {} }).is_err();
        drop(archive);
        all(&open(&log, true), &log, work_at(now.unix_millis())).unwrap();
        says_what_the_manifest_says(&log);
        if !stopped {
            return;
        }
    }
    panic!("the tasks never came to their end");
}

/// The two instants that no stop hits: between the manifest and the commit, and between the commit and the note of it.
#[test]
fn a_commit_that_was_noted_is_made_once() {
    let mut log = Log::new();
    log.days(0..1, 2, 3);
    let archive = open(&log, true);
    archive.archive_closed(&log.directory(), work_at(START_MS)).unwrap();
    let path = |name: &str| Path::new(&log.url()).join(name);
    let commit = path("records/_delta_log/00000000000000000002.json");
    let note = fs::read_to_string(path("manifest/delta.json")).unwrap();
    let mut note: Value = serde_json::from_str(&note).unwrap();
    let added = log.reader().manifest().load(1).unwrap().files[1].clone();
    (note["next_version"], note["files"], note["last_sequence"]) = (2.into(), 1.into(), 3.into());
    note["added"] = serde_json::to_value([&added]).unwrap();
    drop(archive);
    for made in [true, false] {
        fs::write(path("manifest/delta.json"), note.to_string()).unwrap();
        if !made {
            fs::remove_file(&commit).unwrap();
        }
        drop(open(&log, true));
        assert_eq!(says_what_the_manifest_says(&log), 2, "{made}");
    }
    // What the manifest never came to hold is not said.
    let mut other = added;
    other.path.push('x');
    note["next_version"] = 3.into();
    (note["files"], note["last_sequence"]) = (2.into(), 6.into());
    note["added"] = serde_json::to_value([&other]).unwrap();
    fs::write(path("manifest/delta.json"), note.to_string()).unwrap();
    drop(open(&log, true));
    assert_eq!(says_what_the_manifest_says(&log), 2);
}

#[test]
fn a_table_that_was_left_behind_begins_anew() {
    let mut log = Log::new();
    log.days(0..1, 2, 3);
    all(&open(&log, true), &log, work_at(START_MS)).unwrap();
    log.days(1..2, 2, 3);
    all(&open(&log, false), &log, work_at(START_MS + DAY_MS)).unwrap();
    drop(open(&log, true));
    assert_eq!(says_what_the_manifest_says(&log), 0);
}
