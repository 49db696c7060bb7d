//! The picture of a handful of rules: what is in it, and what is said below it.

use std::time::Duration;

use serde_json::json;

use crate::domain::decision::Outcome::{self, Approve, Block, Review};
use crate::domain::label::Verdict;
use crate::evaluation::report::{InputSummary, PolicyVersions, RuleState};
use crate::evaluation::rule_tally::RuleInfo;
use crate::evaluation::said::{Before, Differences, Said, Subject};
use crate::evaluation::tally::{Against, JudgedRow, Tally};
use crate::offline::tradeoff::picture;
use crate::wire::transaction::parse_value;

#[test]
fn rules_decisions_and_the_score_stand_in_it() {
    let rule = |id: &str, state, outcome| RuleInfo { id: id.to_owned(), state, outcome, priority: 0 };
    let rules = vec![
        rule("catches-much", RuleState::Live, Block),
        rule("watches", RuleState::Shadow, Review),
        rule("catches-nothing", RuleState::Live, Review),
        rule("never", RuleState::Live, Review),
    ];
    let mut tally = Tally::new(rules, Approve, Some(Against::recorded()));
    // Fraud or not, score, before, after, hits.
    type Row = (bool, f64, Outcome, Outcome, &'static [&'static str]);
    let rows: [Row; 5] = [
        (true, 0.9, Approve, Block, &["catches-much", "watches"]),
        (true, 0.8, Block, Block, &["catches-much"]),
        (false, 0.7, Block, Block, &["catches-much"]),
        (false, 0.2, Approve, Review, &["catches-nothing"]),
        (false, 0.1, Approve, Approve, &[]),
    ];
    for (number, (is_fraud, score, before, after, hits)) in rows.into_iter().enumerate() {
        let body = json!({"transaction_id": format!("t{number}"), "occurred_at": "2026-10-20T12:00:00Z",
            "amount": {"value": 100, "currency": "EUR"}});
        let transaction = parse_value(&body).unwrap().transaction;
        let truth = Some(if is_fraud { Verdict::Fraud } else { Verdict::Legitimate });
        tally.add(&JudgedRow {
            subject: Subject::of(&transaction, truth),
            said: Said { hits: hits.iter().copied().collect(), ..Said::outcome(after) },
            score: Some(score),
            missing: [].into_iter().collect(),
            before: Some(Before { said: Said::outcome(before), differences: Differences::default() }),
        });
    }
    let report = tally.report(InputSummary::default(), PolicyVersions::default(), Duration::from_secs(1));
    let svg = picture(&report).unwrap();
    for expected in [
        "catches-much",
        "watches",
        "BLOCK, before",
        "BLOCK, candidate",
        "not APPROVE, candidate",
        "the score alone, at every threshold",
        "hollow: in shadow",
        "5 transactions, 2 of them fraud. 2 rules drawn, the larger the more hits; 1 matched no fraud; 1 never matched",
    ] {
        assert!(svg.contains(expected), "{expected}");
    }
    assert!(!svg.contains("catches-nothing") && !svg.contains("NaN"), "{svg}");
}
