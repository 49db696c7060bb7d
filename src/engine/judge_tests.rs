//! A decision is a function of its arguments, and what its record names of the lists is all that it took from them.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use crate::domain::enrichment::Enrichment;
use crate::domain::recorded_value::RecordedValue;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::engine::judge::{Judgement, Known, judge};
use crate::engine::policy::{Policy, PolicyFiles};
use crate::engine::settings::{Effort, MissingPolicy, OnMissing};
use crate::feature::vector::FeatureVector;
use crate::model::backend::Backend;
use crate::rules::run_time::{Action, ListChange, Listed, RunTimeLists};
use crate::wire::transaction::parse_slice;

const AT: &str = "2026-10-20T12:00:00Z";
const RULES: &str = r#"
default: {then: APPROVE, reason: no_rule_matched}
rules:
  - {id: blocked, when: 'in_list(customer.id, "a")', then: BLOCK, reason: r, owner: t, description: d}
  - {id: again, when: 'in_list(customer.id, "a") && in_list(card.fingerprint, "b")', then: REVIEW, reason: r, owner: t, description: d}
  - {id: lazy, when: 'amount > 50 && in_list(device.id, "a")', then: CHALLENGE, reason: r, owner: t, description: d}
  - {id: negated, when: '!in_list(merchant.id, "b")', then: REVIEW, reason: r, owner: t, description: d, state: shadow}
  - {id: number, when: 'in_list(items.count, "c") ? amount > 10 : in_list(currency, "c")', then: BLOCK, reason: r, owner: t, description: d}
"#;

fn policy(directory: &Path) -> Policy {
    let rules = directory.join("rules");
    std::fs::create_dir_all(rules.join("lists")).unwrap();
    std::fs::write(rules.join("default.yaml"), RULES).unwrap();
    for (list, text) in [("a", "v1\n"), ("b", "v2,2026-10-19\n"), ("c", "")] {
        std::fs::write(rules.join(format!("lists/{list}.txt")), text).unwrap();
    }
    let files = PolicyFiles {
        rules,
        model: None,
        challengers: Vec::new(),
        features: Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features.yaml"),
        backend: Backend::default(),
    };
    Policy::load(
        &files,
        MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Continue,
            overload: OnMissing::Continue,
        },
    )
    .unwrap()
}

fn decide(policy: &Policy, transaction: &Transaction, lists: &RunTimeLists) -> Judgement {
    let windows = FeatureVector::missing(policy.catalogue.features.len());
    let profiles = Enrichment::absent(policy.catalogue.profile.len());
    let known = Known { enrichment: &profiles, ip: None, lists, effort: Effort::Full };
    judge(policy, transaction, windows, known, &mut |_| {})
}

fn transaction(values: [u8; 4], amount: u32, items: u8) -> Transaction {
    let [customer, card, device, merchant] = values.map(|value| format!("v{value}"));
    let body = json!({
        "transaction_id": "pay_1", "occurred_at": AT, "amount": {"value": amount, "currency": "EUR"},
        "customer": {"id": customer}, "card": {"fingerprint": card}, "device": {"id": device},
        "merchant": {"id": merchant}, "items": {"count": items},
    });
    parse_slice(body.to_string().as_bytes()).unwrap().transaction
}

fn put(lists: &mut RunTimeLists, list: &str, value: &str, until: Option<EventTime>) {
    let action = Action::Add { until };
    let change =
        ListChange { list: list.into(), value: value.into(), action, note: "n".into(), by: "b".into() };
    lists.apply(&change, 1, EventTime::EPOCH);
}

/// A list, a value, and how many milliseconds after the transaction the entry ends.
type Drawn = (u8, u8, Option<i8>);

fn lists_of(drawn: &[Drawn]) -> RunTimeLists {
    let at = EventTime::parse_rfc3339(AT).unwrap().unix_millis();
    let mut lists = RunTimeLists::default();
    for (list, value, until) in drawn {
        let list = ["a", "b", "c", "unknown"][usize::from(*list)];
        let value = match value {
            6 => "EUR".to_owned(),
            7 => "3".to_owned(),
            value => format!("v{value}"),
        };
        let until = until.map(|ms| EventTime::from_unix_millis(at + i64::from(ms)).unwrap());
        put(&mut lists, list, &value, until);
    }
    lists
}

#[test]
fn what_was_found_decides_again_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(directory.path());
    let drawn = proptest::collection::vec((0_u8..4, 0_u8..8, proptest::option::of(-2_i8..3)), 0..12);
    let facts = (drawn, proptest::array::uniform4(0_u8..5), 0_u32..10_000, 0_u8..5);
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&facts, |(drawn, values, amount, items)| {
            let lists = lists_of(&drawn);
            let transaction = transaction(values, amount, items);
            let first = decide(&policy, &transaction, &lists);
            let again = decide(&policy, &transaction, &RunTimeLists::of(&first.listed));
            prop_assert_eq!(&again, &first);
            for Listed { list, value } in &first.listed {
                prop_assert!(lists.holds(list, value, transaction.occurred_at));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_stands_where_decides_what() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(directory.path());
    let names = |judgement: &Judgement| {
        judgement.hits.iter().map(|hit| hit.rule.to_string()).collect::<Vec<_>>().join(" ")
    };
    // Lists at run time, the values of customer, card, device and merchant, which rules match, and what is named.
    type Fact<'a> = (&'a [Drawn], [u8; 4], &'a str, &'a [(&'a str, &'a str)]);
    let facts: [Fact<'_>; 8] = [
        (&[], [0, 0, 0, 0], "negated", &[]),
        (&[], [1, 0, 0, 0], "blocked negated", &[]),
        (&[(0, 0, None)], [0, 0, 0, 0], "blocked lazy negated", &[("a", "v0")]),
        (&[(0, 1, None)], [1, 0, 0, 0], "blocked negated", &[("a", "v1")]), // in the file, too
        (&[(0, 0, Some(1)), (1, 0, Some(0))], [0, 0, 9, 0], "blocked negated", &[("a", "v0")]), // one is over
        (&[(0, 0, None), (1, 4, None)], [0, 4, 9, 4], "blocked again", &[("a", "v0"), ("b", "v4")]),
        (&[(2, 7, None)], [9, 9, 9, 9], "negated number", &[("c", "3")]),
        (&[(2, 6, None), (3, 0, None)], [9, 9, 9, 9], "negated number", &[("c", "EUR")]),
    ];
    for (drawn, values, rules, expected) in facts {
        let items = if drawn.iter().any(|(_, value, _)| *value == 7) { 3 } else { 2 };
        let judgement = decide(&policy, &transaction(values, 6_000, items), &lists_of(drawn));
        assert_eq!(names(&judgement), rules, "{drawn:?} {values:?}");
        let listed: Vec<_> = judgement.listed.iter().map(|it| (&*it.list, &*it.value)).collect();
        assert_eq!(listed, expected, "{drawn:?} {values:?}");
    }
}

#[test]
fn a_hit_names_what_its_condition_read() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(directory.path());
    let judgement = decide(&policy, &transaction([1, 2, 1, 2], 6_000, 2), &RunTimeLists::default());
    let hits: Vec<_> = judgement.hits.iter().map(|hit| (&*hit.rule, &hit.values[..])).collect();
    let text = |name: &str, value: &str| (name.into(), RecordedValue::Text(value.into()));
    let lazy = [("amount".into(), RecordedValue::Double(60.0)), text("device.id", "v1")];
    assert_eq!(
        hits,
        [
            ("blocked", &[text("customer.id", "v1")][..]),
            ("lazy", &lazy[..]),
            ("negated", &[text("merchant.id", "v2")][..]),
        ]
    );
}

#[test]
fn thousands_of_rules_that_match_and_say_much_fit_in_a_record() {
    use std::fmt::Write as _;

    let directory = tempfile::tempdir().unwrap();
    let mut rules = String::from("default: {then: APPROVE, reason: r}\nrules:\n");
    for number in 0..3_000 {
        let message = "{metadata.x} ".repeat(30);
        let priority = if number == 2_999 { 5 } else { 0 };
        let rule = format!("id: {number}-{}, when: amount > 0 || metadata.x == 'y'", "i".repeat(50));
        let _ = writeln!(
            rules,
            "  - {{{rule}, then: BLOCK, reason: r{number}, owner: t, description: d, priority: {priority}, message: '{message}'}}"
        );
    }
    let mut policy = policy(directory.path());
    std::fs::write(directory.path().join("rules/default.yaml"), rules).unwrap();
    policy.rules = crate::engine::policy::load_rules(&directory.path().join("rules"), &policy.catalogue)
        .unwrap_or_else(|problems| panic!("{}", problems[0]));
    policy.metadata_keys = policy.rules.metadata_keys().iter().map(|(key, _)| key.clone()).collect();
    let body = json!({
        "transaction_id": "pay_1", "occurred_at": AT, "amount": {"value": 100, "currency": "EUR"},
        "metadata": {"x": "\"".repeat(200)},
    });
    let transaction = parse_slice(body.to_string().as_bytes()).unwrap().transaction;
    let judgement = decide(&policy, &transaction, &RunTimeLists::default());
    assert_eq!((judgement.hits.len(), judgement.hits_left_out), (2_048, 952));
    assert_eq!(&*judgement.reason, "r2999");
    assert!(judgement.hits.iter().any(|hit| hit.rule.starts_with("2999-")), "the one that decided is named");
    assert!(judgement.reasons[0].message.as_ref().unwrap().ends_with('…'));
    assert_eq!(judgement.reasons.len(), 512);
    let written = serde_json::to_vec(&judgement.reasons).unwrap().len();
    let values: usize =
        judgement.hits.iter().map(|hit| 90 + serde_json::to_vec(&hit.values).unwrap().len()).sum();
    assert!(written + values < 700_000, "{written} + {values} bytes");
}
