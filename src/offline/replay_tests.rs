//! The order of a replay, as tables.

use std::time::Duration;

use serde_json::json;

use crate::domain::label::{LabelKind, Verdict};
use crate::domain::time::EventTime;
use crate::evaluation::report::ReplayCounts;
use crate::evaluation::truth::IdHash;
use crate::offline::error::{BadRows, InputError};
use crate::offline::labels::{LabelTable, TimedLabel};
use crate::offline::replay::{LabelSource, Replay, ReplayEvent};
use crate::offline::transactions::TransactionRow;
use crate::wire::transaction::parse_value;

fn at(second: i64) -> EventTime {
    EventTime::from_unix_millis(second * 1_000).unwrap()
}

fn rows(rows: &[(&str, i64, Option<Verdict>)]) -> Vec<Result<TransactionRow, InputError>> {
    let row = |(position, (id, second, verdict)): (usize, &(&str, i64, Option<Verdict>))| {
        let mode = if id.starts_with("dry") { "dry_run" } else { "live" };
        let body = json!({"transaction_id": id, "occurred_at": at(*second).to_string(), "mode": mode,
            "amount": {"value": 1, "currency": "EUR"}});
        Ok(TransactionRow {
            row: position as u64 + 1,
            request: parse_value(&body).unwrap(),
            verdict: *verdict,
            decision: None,
        })
    };
    rows.iter().enumerate().map(row).collect()
}

fn label(id: &str, second: i64, verdict: Verdict) -> TimedLabel {
    TimedLabel {
        transaction: IdHash::of(id),
        occurred_at: at(second),
        verdict,
        kind: LabelKind::Chargeback,
        reason_code: None,
    }
}

/// `a` for an attempt, `a!` for an attempt that became fraud, `label a@3` for a label.
fn story(
    source: Vec<Result<TransactionRow, InputError>>,
    labels: LabelSource,
) -> (Vec<String>, ReplayCounts) {
    let mut replay = Replay::new(source.into_iter(), labels);
    let mut story = Vec::new();
    while let Some(event) = replay.next_event().unwrap() {
        story.push(match event {
            ReplayEvent::Attempt { transaction, truth, .. } => {
                let mark = match truth {
                    Some(Verdict::Fraud) => "!",
                    Some(Verdict::Legitimate) => "",
                    None => "?",
                };
                format!("{}{mark}", transaction.id)
            }
            ReplayEvent::Label { label, transaction } => {
                assert_eq!(label.transaction_id, transaction.id);
                format!("label {}@{}", label.transaction_id, label.occurred_at.unix_millis() / 1_000)
            }
        });
    }
    (story, replay.counts())
}

const FRAUD: Option<Verdict> = Some(Verdict::Fraud);
const LEGITIMATE: Option<Verdict> = Some(Verdict::Legitimate);

#[test]
fn labels_of_the_same_file_come_when_their_time_has_come() {
    let source = rows(&[
        ("a", 0, FRAUD),
        ("b", 1, LEGITIMATE),
        ("dry", 5, FRAUD),
        ("late", 0, FRAUD),
        ("c", 10, None),
        ("d", 11, LEGITIMATE),
        ("e", 12, LEGITIMATE),
    ]);
    let labels = LabelSource::SameFile { delay: Duration::from_secs(10), kind: LabelKind::Chargeback };
    let (story, counts) = story(source, labels);
    assert_eq!(story, ["a!", "b", "late!", "label a@10", "label late@10", "c?", "label b@11", "d", "e"]);
    let expected = ReplayCounts {
        attempts: 6,
        dry_runs: 1,
        labels_delivered: 3,
        labels_unmatched: 0,
        labels_pending: 2,
    };
    assert_eq!(counts, expected);
}

#[test]
fn labels_of_their_own_file_are_joined() {
    let source = rows(&[("a", 0, None), ("b", 1, None), ("a", 2, None), ("early", 5, None), ("z", 9, None)]);
    let table = LabelTable::new(
        vec![
            label("b", 9, Verdict::Legitimate),
            label("a", 4, Verdict::Legitimate),
            label("a", 6, Verdict::Fraud),
            label("early", 3, Verdict::Fraud),
            label("nobody", 4, Verdict::Fraud),
            label("z", 99, Verdict::Fraud),
        ],
        BadRows::default(),
    );
    let (story, counts) = story(source, LabelSource::File(table));
    // What is said last is the truth, from the first row on. A label that was there before its transaction is not delivered.
    assert_eq!(story, ["a!", "b", "a!", "label a@4", "early!", "label a@6", "label b@9", "z!"]);
    let expected = ReplayCounts {
        attempts: 5,
        dry_runs: 0,
        labels_delivered: 3,
        labels_unmatched: 2,
        labels_pending: 1,
    };
    assert_eq!(counts, expected);
}

#[test]
fn without_labels_there_are_attempts_only() {
    let (story, _) = story(rows(&[("a", 3, FRAUD), ("b", 1, None)]), LabelSource::None);
    assert_eq!(story, ["a?", "b?"]);
}

#[test]
fn an_error_of_the_file_ends_it() {
    let mut source = rows(&[("a", 0, None)]);
    source.push(Err(InputError::UnknownFormat("x".into())));
    let mut replay = Replay::new(source.into_iter(), LabelSource::None);
    assert!(replay.next_event().unwrap().is_some());
    assert!(replay.next_event().is_err());
    assert!(replay.next_event().unwrap().is_none());
}
