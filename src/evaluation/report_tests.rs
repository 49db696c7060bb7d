//! The report of a handful of decisions, as data and as text. Every number can be counted by hand.

use std::time::Duration;

use serde_json::json;

use crate::domain::decision::Outcome::{self, Approve, Block, Challenge, Review};
use crate::domain::label::Verdict;
use crate::evaluation::interval::Estimate;
use crate::evaluation::report::{BacktestReport, BadRow, InputSummary, PolicyVersions, RuleState};
use crate::evaluation::rule_tally::RuleInfo;
use crate::evaluation::said::{Before, Differences, Said, Subject};
use crate::evaluation::tally::{Against, JudgedRow, Tally};
use crate::evaluation::truth::Unlabelled;
use crate::wire::transaction::parse_value;

/// Amount in minor units, currency, truth, score.
type Paid = (i64, &'static str, Option<Verdict>, f64);
/// An outcome and the rules that matched, the one that decided first.
type Decided = (Outcome, &'static [&'static str]);

const FRAUD: Option<Verdict> = Some(Verdict::Fraud);
const GOOD: Option<Verdict> = Some(Verdict::Legitimate);

/// Each transaction with what was decided before and what is decided now.
const ROWS: &[(Paid, Decided, Decided)] = &[
    ((12_999, "EUR", FRAUD, 0.97), (Block, &["old"]), (Block, &["model-high-risk", "geo"])),
    ((1_000_000, "EUR", GOOD, 0.95), (Block, &["old"]), (Block, &["model-high-risk", "velocity"])),
    ((500, "EUR", FRAUD, 0.2), (Approve, &[]), (Review, &["velocity"])),
    ((2_500, "EUR", GOOD, 0.1), (Review, &["velocity"]), (Approve, &["geo"])),
    ((3_000, "JPY", GOOD, 0.05), (Approve, &[]), (Approve, &[])),
    ((700, "EUR", None, 0.5), (Approve, &["velocity"]), (Review, &["velocity"])),
    ((900, "EUR", GOOD, 0.3), (Review, &["velocity"]), (Approve, &["trusted", "velocity"])),
];

fn sample() -> BacktestReport {
    let rule = |id: &str, state, outcome, priority| RuleInfo { id: id.to_owned(), state, outcome, priority };
    let rules = vec![
        rule("model-high-risk", RuleState::Live, Block, 0),
        rule("velocity", RuleState::Live, Review, 0),
        rule("trusted", RuleState::Live, Approve, 900),
        rule("geo", RuleState::Shadow, Challenge, 0),
        rule("never", RuleState::Live, Challenge, 0),
    ];
    let against = Against { name: "rules-old".into(), rules: Vec::new(), samples_max: 1 };
    let mut tally = Tally::new(rules, Approve, Some(against));
    for (position, ((minor, currency, truth, score), before, after)) in ROWS.iter().enumerate() {
        let body = json!({"transaction_id": format!("t{position}"), "customer": {"id": format!("c{position}")},
            "occurred_at": format!("2026-10-2{position}T12:00:00Z"), "amount": {"value": minor, "currency": currency}});
        let transaction = parse_value(&body).unwrap().transaction;
        let said = |(outcome, hits): &Decided| Said {
            outcome: *outcome,
            reason: hits.first().copied().unwrap_or("default"),
            rule: hits.first().copied().filter(|_| *outcome != Approve || hits.contains(&"trusted")),
            hits: hits.iter().copied().collect(),
        };
        let differences = Differences { hits: before.1 != after.1, ..Differences::default() };
        tally.add(&JudgedRow {
            subject: Subject::of(&transaction, *truth),
            said: said(after),
            score: Some(*score),
            missing: if position == 5 {
                ["enrich.profile"].into_iter().collect()
            } else {
                [].into_iter().collect()
            },
            before: Some(Before { said: said(before), differences }),
        });
    }
    tally.set_late(1);
    let input = InputSummary {
        file: "pay.csv".into(),
        labels_file: Some("labels.ndjson".into()),
        rows: 1_007,
        rows_skipped: 1,
        first_skipped: vec![BadRow {
            file: "pay.csv".into(),
            row: 4,
            column: Some("amount".into()),
            reason: "must not be negative".into(),
        }],
        unlabelled: Unlabelled::LeftOut,
        ..InputSummary::default()
    };
    let versions = PolicyVersions { rules: "sha256:aa".into(), model: None, features: "sha256:bb".into() };
    tally.report(input, versions, Duration::from_millis(2_800))
}

#[test]
fn as_data() {
    let report = serde_json::to_value(sample()).unwrap();
    let truth = |fraud: u64, legitimate: u64, unlabelled: u64| json!({"fraud": fraud, "legitimate": legitimate, "unlabelled": unlabelled});
    let euro = |fraud: i64, legitimate: i64, unlabelled: i64| json!([{"currency": "EUR", "fraud_minor": fraud, "legitimate_minor": legitimate, "unlabelled_minor": unlabelled}]);
    let share = |part, whole| serde_json::to_value(Estimate::share(part, whole).unwrap()).unwrap();
    let nothing = json!({"count": 0, "truth": truth(0, 0, 0), "value": []});
    let expected = [
        ("/input/first_event", json!("2026-10-20T12:00:00.000Z")),
        ("/input/last_event", json!("2026-10-26T12:00:00.000Z")),
        ("/truth", truth(2, 4, 1)),
        ("/quality/scored", json!(6)),
        ("/quality/auc_roc", json!((4.0 + 2.0) / 8.0)),
        ("/score_curve/0", json!({"threshold": 0.97, "recall": 0.5, "precision": 1.0})),
        ("/decisions/0/outcome", json!("BLOCK")),
        ("/decisions/0/precision", json!(0.5)),
        ("/decisions/0/recall", json!(0.5)),
        ("/decisions/1/precision", json!(null)),
        ("/decisions/3/recall_from_here", json!(1.0)),
        ("/operation/stopped/truth", truth(2, 1, 1)),
        ("/operation/stopped/precision", share(2, 3)),
        ("/operation/stopped/false_positive_rate", share(1, 4)),
        ("/operation/blocked/recall", share(1, 2)),
        ("/rules/0/value", euro(12_999, 1_000_000, 0)),
        ("/rules/0/decided", json!(2)),
        ("/rules/0/precision", share(1, 2)),
        // Only the first hit is its own: the second is velocity's as well.
        ("/rules/0/alone", json!({"count": 1, "truth": truth(1, 0, 0), "value": euro(12_999, 0, 0)})),
        // Without it the first would be approved, the second reviewed.
        ("/rules/0/without_it/milder/count", json!(2)),
        ("/rules/0/without_it/more_severe", nothing),
        ("/rules/1/hits", json!(4)),
        ("/rules/1/decided", json!(2)),
        // t2, t5 and t6, of which the last was approved by `trusted` all the same.
        ("/rules/1/alone", json!({"count": 3, "truth": truth(1, 1, 1), "value": euro(500, 900, 700)})),
        (
            "/rules/1/without_it/milder",
            json!({"count": 2, "truth": truth(1, 0, 1), "value": euro(500, 0, 700)}),
        ),
        // Without the trust, velocity would review.
        ("/rules/2/without_it/more_severe/truth", truth(0, 1, 0)),
        ("/rules/2/alone", json!(null)),
        ("/rules/3/state", json!("shadow")),
        ("/rules/3/hits", json!(2)),
        // It would challenge t3; t0 is blocked already.
        (
            "/rules/3/if_live/more_severe",
            json!({"count": 1, "truth": truth(0, 1, 0), "value": euro(0, 2_500, 0)}),
        ),
        ("/rules/3/without_it", json!(null)),
        ("/rules/4/hits", json!(0)),
        ("/rules/4/precision", json!(null)),
        ("/money/0/fraud_stopped_minor", json!(13_499)),
        ("/money/0/legitimate_blocked_minor", json!(1_000_000)),
        ("/money/1/total_minor", json!(3_000)),
        ("/missing", json!([{"part": "enrich.profile", "count": 1}])),
        ("/late", json!(1)),
        ("/speed/transactions_per_s", json!(2.5)),
        ("/comparison/compared", json!(7)),
        ("/comparison/changed", json!(4)),
        ("/comparison/differing", json!({"outcome": 4, "reason": 0, "reasons": 0, "score": 0, "hits": 5})),
        ("/comparison/effect/more_severe/truth", truth(1, 0, 1)),
        ("/comparison/effect/milder/value", euro(0, 3_400, 0)),
        ("/comparison/changes/0/before", json!("APPROVE")),
        ("/comparison/changes/0/after", json!("REVIEW")),
        ("/comparison/changes/0/count", json!(2)),
        ("/comparison/changes/1/truth", truth(0, 2, 0)),
        ("/comparison/unchanged/0/before", json!("BLOCK")),
        ("/comparison/operation_before/stopped/truth", truth(1, 3, 0)),
        (
            "/comparison/rules/0",
            json!({"rule": "velocity", "state": "live", "presence": "both", "hits_before": 3, "hits_after": 4,
                "hits_both": 2, "decided_before": 2, "decided_after": 2}),
        ),
        (
            "/comparison/rules/2",
            json!({"rule": "model-high-risk", "state": "live", "presence": "after", "hits_before": 0, "hits_after": 2,
                "hits_both": 0, "decided_before": 0, "decided_after": 2}),
        ),
        ("/comparison/rules/3/presence", json!("before")),
    ];
    for (pointer, value) in expected {
        let found = report.pointer(pointer).unwrap_or(&serde_json::Value::Null);
        assert_eq!(found, &value, "{pointer}");
    }
    let samples = report.pointer("/comparison/changes/0/samples").unwrap().as_array().unwrap();
    assert_eq!(samples.len(), 1, "no more than asked for");
    assert_eq!(sample().comparison, sample().comparison, "the same ones again");
}

#[test]
fn as_text() {
    let text = sample().to_string();
    let expected = include_str!("../../tests/data/offline/report.txt");
    assert_eq!(text, expected, "\n{text}");
}
