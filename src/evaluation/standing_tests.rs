//! A log of many small segments: what stood on lists at every record, also when its start is gone.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::json;

use crate::audit::frame::Kind;
use crate::audit::open::LogOptions;
use crate::audit::reader::LogReader;
use crate::audit::record::{DecisionRecord, decode};
use crate::audit::segment::{list_segments, segment_path};
use crate::domain::time::EventTime;
use crate::evaluation::again;
use crate::evaluation::recorded_tests::{RULES, decision, policy, put, write_with};
use crate::evaluation::standing::{StandingLists, lists_then};

/// Every record of these fills a segment.
const SMALL: u64 = 512;

/// Records 1 to 9: `a` is put on, taken off and put on again, `b` is put on once.
fn log(directory: &Path, catalogue: &str) {
    let off = |value: &str| {
        let mut change = put("stolen", value);
        change["change"] = json!("remove");
        (Kind::ListChange, change)
    };
    let on = |value: &str| (Kind::ListChange, put("stolen", value));
    let decided = |id: &str| (Kind::Decision, decision(id, 1, 1, "APPROVE", catalogue));
    let records = [
        on("a"),
        decided("t1"),
        on("b"),
        off("a"),
        decided("t2"),
        on("a"),
        decided("t1"),
        off("b"),
        decided("quo\"ted"),
    ];
    let options = LogOptions { segment_bytes_max: SMALL, ..LogOptions::default() };
    write_with(directory, &records, options);
}

fn standing(log: &Path, sequence: u64) -> (StandingLists, String) {
    let go_on = |_| ControlFlow::<Infallible>::Continue(());
    let ControlFlow::Continue(standing) = StandingLists::before(log, sequence, go_on).unwrap();
    let at = EventTime::from_unix_millis(1_772_000_000_000).unwrap();
    let record = serde_json::from_value(decision("t", 1, 1, "APPROVE", "c")).unwrap();
    let lists = standing.with_found(&record);
    let held = ["a", "b"].into_iter().filter(|value| lists.holds("stolen", value, at)).collect();
    (standing, held)
}

#[test]
fn lists_stand_as_the_changes_before_a_record_left_them() {
    let directory = tempfile::tempdir().unwrap();
    let log_directory = directory.path().join("log");
    log(&log_directory, "c");
    let segments = list_segments(&log_directory).unwrap();
    assert!(segments.len() > 4, "{segments:?}");
    let expected = ["", "", "a", "a", "ab", "b", "b", "ab", "ab", "a", "a"];
    for (sequence, expected) in expected.iter().enumerate() {
        let (standing, held) = standing(&log_directory, sequence as u64);
        assert_eq!((held.as_str(), standing.note()), (*expected, None), "before record {sequence}");
    }

    // The oldest segments are gone: what they said is missing, and the note says from where on the log is there.
    let gone = segments.iter().filter(|first| **first < 4);
    gone.for_each(|first| std::fs::remove_file(segment_path(&log_directory, *first)).unwrap());
    let oldest = list_segments(&log_directory).unwrap()[0];
    for (sequence, expected) in [(oldest, ""), (7, "a"), (10, "a")] {
        let (standing, held) = standing(&log_directory, sequence);
        let note = standing.note().unwrap();
        assert_eq!(held, expected, "before record {sequence}");
        assert!(note.starts_with(&format!("the log begins with record {oldest}: ")), "{note}");
    }

    let stopped = StandingLists::before(&log_directory, 10, |_| ControlFlow::Break("asked too early"));
    assert!(stopped.unwrap().is_continue(), "a short log is read without a question");
}

/// The decision of that transaction.
fn recorded(log: &Path, id: &str) -> (u64, DecisionRecord) {
    let mut reader = LogReader::from_sequence(log, 1).unwrap();
    while let Some(stored) = reader.next().unwrap() {
        if stored.header.kind == Kind::Decision {
            let record: DecisionRecord = decode(stored.body).unwrap();
            if &*record.answer.transaction_id == id {
                return (stored.header.sequence, record);
            }
        }
    }
    panic!("no decision of {id}")
}

#[test]
fn a_decision_gets_the_lists_of_then_and_says_in_what_it_differs() {
    let directory = tempfile::tempdir().unwrap();
    let rules = RULES.replace("card.count_1h >= 3", "'in_list(card.fingerprint, \"stolen\")'");
    std::fs::create_dir_all(directory.path().join("rules/lists")).unwrap();
    std::fs::write(directory.path().join("rules/lists/stolen.txt"), "").unwrap();
    let policy = policy(directory.path(), &rules);
    let catalogue = &*policy.catalogue.sha256;
    let of = |id: &str, versions: bool, listed: &[&str]| {
        let mut recorded = decision(id, 1, 1, "APPROVE", catalogue);
        recorded["reason"] = json!("nothing");
        if versions {
            recorded["versions"]["rules"] = json!(policy.versions.rules);
        }
        let listed = listed.iter().map(|value| json!({"list": "stolen", "value": value}));
        recorded["listed"] = listed.collect();
        (Kind::Decision, recorded)
    };
    let log_directory = directory.path().join("log");
    let records = [
        of("before", false, &[]),
        (Kind::ListChange, put("stolen", "fp_1")),
        of("after", false, &[]),
        of("raced", true, &[]),
        of("found", true, &["fp_1"]),
    ];
    write_with(&log_directory, &records, LogOptions::default());
    // Which record; what it comes to now; in what that is another decision.
    let facts: [(&str, &str, &[&str]); 4] = [
        ("before", "APPROVE", &[]),
        ("after", "BLOCK", &["decision", "reason", "reasons", "hits", "lists found"]),
        // These very rules decided it before the change took hold: they found nothing.
        ("raced", "APPROVE", &[]),
        ("found", "BLOCK", &["decision", "reason", "reasons", "hits"]),
    ];
    for (id, outcome, differing) in facts {
        let (sequence, record) = recorded(&log_directory, id);
        let go_on = |_| ControlFlow::Continue(());
        let lists = lists_then(&log_directory, &policy, sequence, &record, go_on).unwrap();
        let (lists, record) = (lists.continue_value().unwrap(), &record);
        let (transaction, vector) = (record.transaction().unwrap(), again::vector(&policy, record).unwrap());
        let judgement = again::decide(
            &policy,
            &transaction,
            &vector,
            &record.enrichment,
            record.ip.clone(),
            &lists.deciding,
            again::effort(record),
        );
        assert_eq!(judgement.outcome.name(), outcome, "{id}");
        assert_eq!(again::differing(record, &judgement), differing, "{id}");
        let explained = crate::engine::explain::explain(&policy, &transaction, &judgement, &lists.explaining);
        let hits: Vec<&str> = explained.hits.iter().map(|it| &*it.rule.id).collect();
        let decided: Vec<&str> = judgement.hits.iter().map(|it| &*it.rule).collect();
        assert_eq!(hits, decided, "{id}: what is explained is what was decided");
    }
}
