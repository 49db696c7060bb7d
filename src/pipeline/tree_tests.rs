//! The tree of a real log on a real disk: signed, continued, contradicted; and every way of changing a log, found and named.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::audit::checkpoint::CheckpointRecord;
use crate::audit::frame::{self, Kind};
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::reader::LogReader;
use crate::audit::receipt::LogId;
use crate::audit::record;
use crate::audit::segment::{FIRST_RECORD_OFFSET, list_segments, segment_path};
use crate::audit::verify::{Verified, VerifyOptions, verify_with_tree};
use crate::audit::verify_tree::{KnownCheckpoint, TreeCheck};
use crate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use crate::domain::time::EventTime;
use crate::pipeline::prove::{self, ProveError};
use crate::pipeline::tree::{CHECKPOINT_FILE, LogTree, Signed, TreeError};
use crate::proof::hash::TreeHash;
use crate::proof::key::{SignerKey, Signers};
use crate::proof::path;
use crate::proof::range::Range;
use crate::proof::tiles::TileReader;

const ORIGIN: &str = "example.com/log";
/// Small, so that a log of some hundred records has many.
const SEGMENT_BYTES: u64 = 6_000;

/// One moment for all, so that a log that is written anew has the same hashes.
fn now() -> EventTime {
    EventTime::from_unix_millis(1_792_497_600_000).unwrap()
}

fn signers(seed: u8) -> Signers {
    Signers::new(vec![SignerKey::from_seed(ORIGIN, &[seed; 32]).unwrap()]).unwrap()
}

/// One record before it is written.
#[derive(Clone)]
struct Plain {
    kind: Kind,
    body: Vec<u8>,
}

fn decision(number: usize) -> Plain {
    Plain {
        kind: Kind::Decision,
        body: format!(r#"{{"number":{number},"more":"{}"}}"#, "x".repeat(number % 90)).into_bytes(),
    }
}

struct House {
    directory: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A log with these records.
    fn of(records: &[Plain]) -> Self {
        let house = Self::new();
        house.append(records);
        house
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn tree(&self) -> PathBuf {
        self.directory.path().join("proof")
    }

    fn append(&self, records: &[Plain]) {
        let options = LogOptions { segment_bytes_max: SEGMENT_BYTES, ..LogOptions::default() };
        let opened = OpenedLog::open(&self.log(), LogId([7; 16]), now(), options).unwrap();
        let log: LogHandle<()> =
            LogWriter::start(opened, WriterOptions::default(), Box::new(|_| {}), Box::new(|_| {})).unwrap();
        let mut pending = Vec::new();
        for record in records {
            let ticket = log.reserve().unwrap();
            pending.push(ticket.commit(record.kind, now(), record.body.clone(), ()));
        }
        pending.into_iter().for_each(|pending| assert!(pending.wait_blocking().is_ok()));
        log.close(std::time::Duration::from_secs(10)).unwrap();
    }

    fn settled(&self) -> u64 {
        let mut reader = LogReader::from_sequence(&self.log(), 1).unwrap();
        while reader.next().unwrap().is_some() {}
        reader.head().sequence
    }

    fn open(&self, seed: u8) -> Result<LogTree, TreeError> {
        LogTree::open(&self.log(), &self.tree(), signers(seed), self.settled())
    }

    /// Adds all records that the tree does not have.
    fn follow(&self, tree: &mut LogTree) -> Result<(), TreeError> {
        let mut reader = LogReader::from_sequence(&self.log(), tree.size() + 1).unwrap();
        while let Some(record) = reader.next().unwrap() {
            tree.push(&record)?;
        }
        Ok(())
    }

    /// Signs, and records that.
    fn checkpoint(&self) -> Signed {
        let mut tree = self.open(1).unwrap();
        self.follow(&mut tree).unwrap();
        let signed = tree.sign().unwrap().clone();
        let body = record::encode(&CheckpointRecord { note: signed.note.clone() }).unwrap();
        self.append(&[Plain { kind: Kind::Checkpoint, body }]);
        signed
    }

    fn records(&self) -> Vec<Plain> {
        let mut reader = LogReader::from_sequence(&self.log(), 1).unwrap();
        let mut records = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            records.push(Plain { kind: record.header.kind, body: record.body.to_vec() });
        }
        records
    }

    fn verify(&self, known: &[&Signed]) -> Verified {
        let known = known.iter().map(|signed| KnownCheckpoint {
            file: "kept.checkpoint".into(),
            checkpoint: signed.checkpoint.clone(),
        });
        let check = TreeCheck { keys: signers(1).public(), known: known.collect(), before: None };
        let go_on = |_| ControlFlow::Continue(());
        verify_with_tree(&self.log(), VerifyOptions { threads: 3, until: None }, &check, &go_on).unwrap()
    }

    /// A copy whose files may be changed.
    fn copy(&self) -> Self {
        let copy = Self::new();
        fs::create_dir(copy.log()).unwrap();
        for segment in list_segments(&self.log()).unwrap() {
            fs::copy(segment_path(&self.log(), segment), segment_path(&copy.log(), segment)).unwrap();
        }
        copy
    }
}

/// 600 records in many segments, with checkpoints after 100, 250, 251 (nothing but a checkpoint in between), 400; and all of them.
fn house() -> (House, Vec<Signed>) {
    let house = House::new();
    let mut signed = Vec::new();
    for numbers in [0..100, 100..248, 248..248, 248..396, 396..596] {
        let records: Vec<Plain> = numbers.map(decision).collect();
        house.append(&records);
        if house.settled() < 590 {
            signed.push(house.checkpoint());
        }
    }
    (house, signed)
}

fn naive_root(house: &House, size: u64) -> TreeHash {
    let mut reader = LogReader::from_sequence(&house.log(), 1).unwrap();
    let mut range = Range::new(0);
    while range.end() < size {
        range.push_leaf(TreeHash::leaf(&reader.next().unwrap().unwrap().hash.0));
    }
    range.root().unwrap()
}

#[test]
fn a_log_and_its_checkpoints_are_verified_and_proven() {
    let (house, signed) = house();
    assert!(list_segments(&house.log()).unwrap().len() > 10);
    assert_eq!(signed.iter().map(|signed| signed.checkpoint.size).collect::<Vec<_>>(), [100, 249, 250, 399]);
    let all: Vec<&Signed> = signed.iter().collect();
    let Verified { log, tree, .. } = house.verify(&all);
    assert!(log.is_good(), "{:#?}", log.problems);
    assert_eq!((log.records, tree.size, tree.root), (600, 600, Some(naive_root(&house, 600))));
    assert_eq!((tree.checkpoints, tree.checkpoints_agreeing, tree.checkpoints_signed), (4, 4, 4));
    assert_eq!((tree.covered, tree.known_agreeing), (399, 4));
    let newest = &signed[3];
    for sequence in [1, 2, 100, 101, 256, 257, 398, 399] {
        let proof = prove::inclusion(&house.log(), &house.tree(), newest, sequence, false).unwrap();
        let record = frame::decode(proof.extra.as_ref().unwrap()).unwrap();
        assert_eq!(record.header.sequence, sequence);
        proof.check(&record.hash().0, &signers(1).public()).unwrap();
        assert!(proof.check(&[0; 32], &signers(1).public()).is_err());
    }
    for sequence in [0, 400, u64::MAX] {
        let refused = prove::inclusion(&house.log(), &house.tree(), newest, sequence, true);
        assert!(matches!(refused, Err(ProveError::NotCovered { .. })), "{sequence}: {refused:?}");
    }
    for old in &signed {
        let proof = prove::consistency(&house.tree(), newest, old.checkpoint.size).unwrap();
        proof.check(&old.checkpoint, &signers(1).public()).unwrap();
    }
    // Another's key, and no key.
    let check = TreeCheck { keys: signers(2).public(), ..TreeCheck::default() };
    let go_on = |_| ControlFlow::Continue(());
    let found = verify_with_tree(&house.log(), VerifyOptions::default(), &check, &go_on).unwrap();
    assert_eq!((found.log.problems_total, found.tree.checkpoints_signed), (4, 0));
    assert!(
        found.log.problems[0].problem.contains("by none of the given keys"),
        "{:?}",
        found.log.problems[0]
    );
    let found =
        verify_with_tree(&house.log(), VerifyOptions::default(), &TreeCheck::default(), &go_on).unwrap();
    assert_eq!((found.log.is_good(), found.tree.checkpoints_agreeing), (true, 4));
    let stop = |_| ControlFlow::Break(());
    assert!(
        verify_with_tree(&house.log(), VerifyOptions::default(), &TreeCheck::default(), &stop)
            .unwrap()
            .interrupted
    );
}

#[test]
fn a_log_whose_beginning_is_archived_is_held_to_its_checkpoints_with_the_tiles() {
    let (house, signed) = house();
    let segments = list_segments(&house.log()).unwrap();
    let gone = segments.iter().position(|first| *first > 150).unwrap();
    for segment in &segments[..gone] {
        fs::remove_file(segment_path(&house.log(), *segment)).unwrap();
    }
    let size = segments[gone] - 1;
    let before = path::range(&mut TileReader::new(&house.tree(), size), size).unwrap();
    let known = vec![KnownCheckpoint { file: "kept".into(), checkpoint: signed[1].checkpoint.clone() }];
    let check = TreeCheck { keys: signers(1).public(), known, before: Some(before) };
    let go_on = |_| ControlFlow::Continue(());
    let Verified { log, tree, .. } =
        verify_with_tree(&house.log(), VerifyOptions::default(), &check, &go_on).unwrap();
    assert!(log.is_good(), "{:#?}", log.problems);
    assert_eq!((tree.size, tree.checkpoints_agreeing, tree.covered, tree.known_agreeing), (600, 3, 399, 1));
    let without = TreeCheck { before: None, ..check };
    let found = verify_with_tree(&house.log(), VerifyOptions::default(), &without, &go_on).unwrap();
    assert!(found.log.problems[0].problem.contains("cannot be checked"), "{:?}", found.log.problems);
}

/// Where each record lies: its segment, offset and length.
fn places(log: &Path) -> Vec<(u64, usize, usize)> {
    let mut places = Vec::new();
    for segment in list_segments(log).unwrap() {
        let bytes = fs::read(segment_path(log, segment)).unwrap();
        let mut offset = usize::try_from(FIRST_RECORD_OFFSET).unwrap();
        while let Ok(frame) = frame::decode(&bytes[offset..]) {
            places.push((segment, offset, frame.bytes()));
            offset += frame.bytes();
        }
    }
    places
}

#[test]
fn bytes_that_were_changed_dropped_inserted_moved_or_cut_off_are_found_and_named() {
    let (house, signed) = house();
    let places = places(&house.log());
    assert_eq!(places.len(), 600);
    type Change = fn(&mut Vec<u8>, usize, usize);
    let changes: [(&str, Change, &str); 4] = [
        ("flip", |bytes, offset, length| bytes[offset + length - 3] ^= 1, "checksum of the record"),
        ("drop", |bytes, offset, length| drop(bytes.drain(offset..offset + length)), "stands where record"),
        (
            "insert",
            |bytes, offset, length| {
                let record = bytes[offset..offset + length].to_vec();
                drop(bytes.splice(offset..offset, record));
            },
            "stands where record",
        ),
        ("reorder", |bytes, offset, length| bytes[..offset + length + 200][offset..].rotate_left(length), ""),
    ];
    for number in [120, 300, 560] {
        let (segment, offset, length) = places[number];
        // In the middle of its segment, so that it is followed by another.
        let next = places[number + 1];
        assert_eq!(next.0, segment, "choose another record");
        for (name, change, expected) in &changes {
            let changed = house.copy();
            let file = segment_path(&changed.log(), segment);
            let mut bytes = fs::read(&file).unwrap();
            if *name == "reorder" {
                bytes[offset..next.1 + next.2].rotate_left(length);
            } else {
                change(&mut bytes, offset, length);
            }
            fs::write(&file, bytes).unwrap();
            let found = changed.verify(&[&signed[0], &signed[3]]);
            let first = &found.log.problems[0];
            assert!(first.problem.contains(expected), "{name}: {first}");
            assert_eq!(first.path, file, "{name}");
            assert!(first.after_sequence.abs_diff(number as u64) <= 1, "{name} {number}: {first}");
            // What came before is still proven, and no more.
            let covered = signed
                .iter()
                .map(|signed| signed.checkpoint.size)
                .filter(|size| *size <= number as u64)
                .max();
            assert_eq!(Some(found.tree.covered), covered, "{name} {number}");
        }
    }
    // The end cut off: the log is sound in itself, and the checkpoint that was kept says what is missing.
    let cut = house.copy();
    for (segment, offset, _) in &places[380..] {
        let file = segment_path(&cut.log(), *segment);
        let Ok(there) = fs::metadata(&file) else { continue };
        if *offset == usize::try_from(FIRST_RECORD_OFFSET).unwrap() {
            fs::remove_file(file).unwrap();
        } else if there.len() > *offset as u64 {
            fs::write(&file, &fs::read(&file).unwrap()[..*offset]).unwrap();
        }
    }
    assert!(cut.verify(&[]).log.is_good());
    let found = cut.verify(&[&signed[3], &signed[1]]);
    assert_eq!((found.log.problems_total, found.tree.known_agreeing), (1, 1));
    let problem = &found.log.problems[0].problem;
    assert!(problem.contains("the log ends with record 380, and 399 records were signed"), "{problem}");
    let refused = LogTree::open(&cut.log(), &house.tree(), signers(1), cut.settled());
    assert!(matches!(refused, Err(TreeError::Lost { signed: 399, there: 380 })), "{refused:?}");
}

#[test]
fn a_log_that_was_written_anew_with_right_hashes_is_found_by_its_checkpoints() {
    let (house, signed) = house();
    let records = house.records();
    let rewritten = |change: &dyn Fn(&mut Vec<Plain>)| {
        let mut records = records.clone();
        change(&mut records);
        House::of(&records)
    };
    assert!(rewritten(&|_| {}).verify(&signed.iter().collect::<Vec<_>>()).log.is_good());
    type Change<'a> = &'a dyn Fn(&mut Vec<Plain>);
    let changes: [(&str, Change<'_>); 4] = [
        ("another body", &|records| records[299].body = decision(9).body),
        ("one less", &|records| drop(records.remove(299))),
        ("one more", &|records| records.insert(299, decision(9))),
        ("another order", &|records| records.swap(299, 300)),
    ];
    for (name, change) in changes {
        let changed = rewritten(change);
        let found = changed.verify(&[&signed[0], &signed[3]]);
        assert_eq!((found.tree.checkpoints_agreeing, found.tree.known_agreeing), (3, 1), "{name}");
        assert_eq!(found.log.problems_total, 2, "{name}: {:#?}", found.log.problems);
        for problem in &found.log.problems {
            let said = &problem.problem;
            if name == "one less" && problem.path != Path::new("kept.checkpoint") {
                let expected = "record 399 covers 399 records, and 398 come before it: records are missing";
                assert!(said.contains(expected), "{said}");
                continue;
            }
            assert!(said.contains("records 1 to 399 are not those that were signed"), "{name}: {said}");
            assert!(said.contains("what differs lies after record 250"), "{name}: {said}");
        }
        assert_eq!(found.log.problems[1].path, Path::new("kept.checkpoint"));
        // The service, with its tiles, does not sign it.
        let refused =
            LogTree::open(&changed.log(), &house.tree(), signers(1), changed.settled()).unwrap_err();
        assert!(matches!(refused, TreeError::Changed { sequence: 399 }), "{name}: {refused}");
        assert!(refused.to_string().contains("tollgate audit verify --key KEY"), "{refused}");
        // Without tiles it makes them again, and comes to the same.
        fs::create_dir(changed.tree()).unwrap();
        fs::copy(house.tree().join(CHECKPOINT_FILE), changed.tree().join(CHECKPOINT_FILE)).unwrap();
        let mut tree = changed.open(1).unwrap();
        let refused = changed.follow(&mut tree).unwrap_err();
        let is_named = matches!(refused, TreeError::Contradiction { size: 399, .. })
            || name == "one less" && matches!(refused, TreeError::Lost { signed: 399, there: 398 });
        assert!(is_named, "{name}: {refused}");
        // Without anything but the log, the log's own checkpoints say it.
        fs::remove_dir_all(changed.tree()).unwrap();
        let mut tree = changed.open(1).unwrap();
        let refused = changed.follow(&mut tree).unwrap_err();
        let is_named = matches!(refused, TreeError::Contradiction { size: 399, .. })
            || name == "one less" && matches!(refused, TreeError::Lost { signed: 399, there: 398 });
        assert!(is_named, "{name}: {refused}");
    }
    // Where the checkpoints were taken out as well, only one that was kept elsewhere finds it.
    let changed = rewritten(&|records| {
        records[299].body = decision(9).body;
        records.retain(|record| record.kind != Kind::Checkpoint);
    });
    assert!(changed.verify(&[]).log.is_good());
    assert_eq!(changed.verify(&[&signed[1]]).log.problems_total, 1);
    // One that was signed by another key, in place of the real one.
    let forged = rewritten(&|records| {
        for record in records.iter_mut().filter(|record| record.kind == Kind::Checkpoint) {
            let note = CheckpointRecord::decode(&record.body).unwrap().note;
            let checkpoint = crate::proof::checkpoint::Checkpoint::read_unverified(&note).unwrap();
            record.body = record::encode(&CheckpointRecord { note: checkpoint.sign(&signers(2)) }).unwrap();
        }
    });
    let found = forged.verify(&[]);
    assert_eq!((found.log.problems_total, found.tree.checkpoints_signed), (4, 0));
}

#[test]
fn a_tree_goes_on_after_a_crash_at_any_place() {
    let (house, signed) = house();
    let newest = &signed[3].checkpoint;
    // Stopped between tiles and checkpoint: tiles of a larger tree are there.
    let mut tree = house.open(1).unwrap();
    assert_eq!((tree.size(), tree.last().map(|last| &last.checkpoint)), (399, Some(newest)));
    house.follow(&mut tree).unwrap();
    drop(tree);
    // Between checkpoint and its record: it is signed, and the log does not say so.
    let mut tree = house.open(1).unwrap();
    assert_eq!(tree.size(), 399);
    house.follow(&mut tree).unwrap();
    let unrecorded = tree.sign().unwrap().clone();
    assert_eq!(unrecorded.checkpoint.root, naive_root(&house, 600));
    assert!(!tree.is_news());
    assert_eq!(tree.sign().unwrap(), &unrecorded, "the same size has the same checkpoint");
    drop(tree);
    let tree = house.open(1).unwrap();
    assert_eq!((tree.size(), tree.is_news()), (600, false));
    drop(tree);
    // Tiles gone, cut short, or changed: made again, and the same.
    let first = house.tree().join("tile/0/000");
    let partial = house.tree().join("tile/0/002.p/88");
    let damages: [&dyn Fn(); 4] = [
        &|| fs::remove_dir_all(house.tree().join("tile")).unwrap(),
        &|| fs::write(&partial, "").unwrap(),
        &|| {
            let mut bytes = fs::read(&partial).unwrap();
            bytes[40] ^= 1;
            fs::write(&partial, bytes).unwrap();
        },
        &|| fs::remove_file(house.tree().join("tile/1/000.p/2")).unwrap(),
    ];
    for damage in damages {
        damage();
        let mut tree = house.open(1).unwrap();
        assert_eq!(tree.size(), 0);
        house.follow(&mut tree).unwrap();
        assert_eq!(tree.sign().unwrap(), &unrecorded);
    }
    // An old tile that is damaged does not become a wrong proof.
    fs::write(&first, vec![0; 8192]).unwrap();
    let refused = prove::inclusion(&house.log(), &house.tree(), &unrecorded, 5, true).unwrap_err();
    assert!(matches!(refused, ProveError::Wrong(_)), "{refused}");
    // Another key alone does not take over; both together do.
    let refused = house.open(2).unwrap_err();
    assert!(matches!(refused, TreeError::Signed { .. }), "{refused}");
    let both =
        Signers::new([1, 2].map(|seed| SignerKey::from_seed(ORIGIN, &[seed; 32]).unwrap()).into()).unwrap();
    let mut tree = LogTree::open(&house.log(), &house.tree(), both, 600).unwrap();
    assert_eq!(tree.sign().unwrap().note.lines().count(), 6);
    assert_eq!(house.open(2).unwrap().size(), 600);
}
