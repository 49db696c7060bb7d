//! The report of a handful of decisions, as data and as text.

use std::time::Duration;

use serde_json::json;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::offline::error::BadRow;
use crate::offline::report::{BacktestReport, InputSummary, PolicyVersions, RuleState};
use crate::offline::tally::{JudgedRow, RuleInfo, Tally};
use crate::wire::transaction::parse_value;

/// Amount in minor units, currency, truth, decision, score, rules that matched.
type Judged = (i64, &'static str, Option<Verdict>, Outcome, f64, &'static [&'static str]);

fn sample() -> BacktestReport {
    let rule = |id: &str, state, outcome| RuleInfo { id: id.to_owned(), state, outcome };
    let mut tally = Tally::new(vec![
        rule("model-high-risk", RuleState::Live, Outcome::Block),
        rule("geo", RuleState::Shadow, Outcome::Review),
        rule("never", RuleState::Live, Outcome::Challenge),
    ]);
    let (fraud, good) = (Some(Verdict::Fraud), Some(Verdict::Legitimate));
    let rows: &[Judged] = &[
        (12_999, "EUR", fraud, Outcome::Block, 0.97, &["model-high-risk", "geo"]),
        (1_000_000, "EUR", good, Outcome::Block, 0.95, &["model-high-risk"]),
        (500, "EUR", fraud, Outcome::Approve, 0.2, &[]),
        (2_500, "EUR", good, Outcome::Approve, 0.1, &["geo"]),
        (3_000, "JPY", good, Outcome::Approve, 0.05, &[]),
        (700, "EUR", None, Outcome::Review, 0.5, &[]),
    ];
    for (position, (minor, currency, truth, outcome, score, hits)) in rows.iter().enumerate() {
        let body = json!({"transaction_id": format!("t{position}"), "customer": {"id": format!("c{position}")},
            "occurred_at": format!("2026-10-2{position}T12:00:00Z"), "amount": {"value": minor, "currency": currency}});
        let transaction = parse_value(&body).unwrap().transaction;
        let decided_by = if *outcome == Outcome::Block { Some("model-high-risk") } else { None };
        tally.add(&JudgedRow {
            transaction: &transaction,
            truth: *truth,
            outcome: *outcome,
            reason: decided_by.map_or("default", |_| "model_high_risk"),
            decided_by,
            score: Some(*score),
            hits,
            missing: if position == 5 { &["enrich.profile"] } else { &[] },
            is_late: position == 4,
        });
        tally.compare(if position == 3 { Outcome::Review } else { *outcome }, *outcome, *truth);
    }
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
        ..InputSummary::default()
    };
    let versions = PolicyVersions { rules: "sha256:aa".into(), model: None, features: "sha256:bb".into() };
    tally.report(input, versions, Duration::from_millis(2_500), Some("rules-old".into()))
}

#[test]
fn as_data() {
    let report = serde_json::to_value(sample()).unwrap();
    let expected = [
        ("/input/first_event", json!("2026-10-20T12:00:00.000Z")),
        ("/input/last_event", json!("2026-10-25T12:00:00.000Z")),
        ("/truth", json!({"fraud": 2, "legitimate": 3, "unlabelled": 1})),
        ("/quality/scored", json!(5)),
        ("/quality/auc_roc", json!(5.0 / 6.0)),
        ("/quality/average_precision", json!(0.5 + 0.5 * 2.0 / 3.0)),
        ("/quality/recall_at_fpr_1_percent", json!(0.5)),
        ("/decisions/0/outcome", json!("BLOCK")),
        ("/decisions/0/precision", json!(0.5)),
        ("/decisions/0/recall", json!(0.5)),
        ("/decisions/1/precision", json!(null)),
        ("/decisions/3/recall_from_here", json!(1.0)),
        ("/decisions/3/precision_from_here", json!(0.4)),
        (
            "/reasons/0",
            json!({"reason": "default", "count": 4, "truth": {"fraud": 1, "legitimate": 2, "unlabelled": 1}}),
        ),
        ("/rules/0/value", json!([{"currency": "EUR", "fraud_minor": 12_999, "other_minor": 1_000_000}])),
        ("/rules/0/decided", json!(2)),
        ("/rules/1/state", json!("shadow")),
        ("/rules/2/hits", json!(0)),
        ("/money/0/fraud_stopped_minor", json!(12_999)),
        ("/money/0/legitimate_blocked_minor", json!(1_000_000)),
        ("/money/1/total_minor", json!(3_000)),
        ("/missing", json!([{"part": "enrich.profile", "count": 1}])),
        ("/late", json!(1)),
        ("/speed/transactions_per_s", json!(2.4)),
        ("/comparison/changed", json!(1)),
        ("/comparison/changes/0/before", json!("REVIEW")),
    ];
    for (pointer, value) in expected {
        assert_eq!(report.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn as_text() {
    let text = sample().to_string();
    let expected = include_str!("../../tests/data/offline/report.txt");
    assert_eq!(text, expected, "\n{text}");
}
