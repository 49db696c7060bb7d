//! What the linter proves is true: random rules over small domains are asked about everything that can be.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};
use crate::rules::directory::SourceFile;
use crate::rules::lint::run::{Background, lint_with};
use crate::rules::problem::Kind;
use crate::rules::set::RuleSet;

const METADATA_SLOT: u32 = 100;

/// Names with their types, whether they can be missing, and every value that they have here.
fn names() -> Vec<(&'static str, Option<ValueType>, bool, Vec<Value<'static>>)> {
    let ints = [-1, 0, 1, 2, 3].map(Value::Int).to_vec();
    let doubles = [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0].map(Value::Double).to_vec();
    let texts = ["a", "b", "z"].map(Value::Text).to_vec();
    let flags = [true, false].map(Value::Bool).to_vec();
    let any = vec![
        Value::Double(1.0),
        Value::Double(2.5),
        Value::Text("a"),
        Value::Text("z"),
        Value::Bool(true),
        Value::Bool(false),
    ];
    vec![
        ("i", Some(ValueType::Int), true, ints.clone()),
        ("j", Some(ValueType::Int), false, ints),
        ("d", Some(ValueType::Double), true, doubles),
        ("s", Some(ValueType::Text), true, texts),
        ("b", Some(ValueType::Bool), true, flags),
        ("metadata.m", None, true, any),
    ]
}

/// How many sets of rules are tried.
const SETS: usize = 300;
/// The domain of `d`, told to the linter.
const RANGES: (f64, f64) = (-0.5, 2.0);

fn schema() -> Schema {
    let mut schema = Schema::new(Slot(METADATA_SLOT));
    for (slot, (name, value_type, nullable, _)) in (0..).zip(names()) {
        if let Some(value_type) = value_type {
            schema.add(name, value_type, Slot(slot), nullable).unwrap();
        }
    }
    schema.set_lists(["some"]);
    schema
}

struct Payment(Vec<Value<'static>>);

impl Facts for Payment {
    fn value(&self, slot: Slot) -> Value<'_> {
        let at = if slot.0 >= METADATA_SLOT { 5 } else { slot.0 as usize };
        self.0[at]
    }
    fn in_list(&self, _: usize, value: Value<'_>) -> bool {
        matches!(value, Value::Text("a") | Value::Int(1))
    }
}

/// Every payment that there can be.
fn payments() -> Vec<Payment> {
    let mut payments = vec![Vec::new()];
    for (_, _, nullable, values) in names() {
        let values = values.into_iter().chain(nullable.then_some(Value::Missing));
        let values: Vec<_> = values.collect();
        payments = payments
            .into_iter()
            .flat_map(|payment: Vec<Value<'static>>| {
                values
                    .iter()
                    .map(move |value| payment.iter().copied().chain([*value]).collect())
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    payments.into_iter().map(Payment).collect()
}

fn condition() -> impl Strategy<Value = String> {
    let comparison = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (comparison(), prop::sample::select(vec!["0", "1", "2", "-1", "0.5", "1.5"]))
            .prop_map(|(is, number)| format!("i {is} {number}")),
        (prop::sample::select(vec!["0", "1", "2"]), comparison())
            .prop_map(|(number, is)| format!("{number} {is} i")),
        (comparison(), prop::sample::select(vec!["-1", "0", "2", "3", "4"]))
            .prop_map(|(is, number)| format!("j {is} {number}")),
        (comparison(), prop::sample::select(vec!["0.5", "1", "-0.5", "2.5"]))
            .prop_map(|(is, number)| format!("d {is} {number}")),
        (prop::sample::select(vec!["==", "!="]), prop::sample::select(vec!["a", "b"]))
            .prop_map(|(is, text)| format!("s {is} '{text}'")),
        prop::sample::select(vec![
            "b",
            "b == false",
            "s in ['a', 'b']",
            "s in ['b']",
            "i in [1, 2]",
            "d in [0.5, 1]",
            "has(i)",
            "has(d)",
            "has(s)",
            "has(b)",
            "has(j)",
            "true",
            "false",
            "1 > 2",
            "in_list(s, 'some')",
            "in_list(i, 'some')",
            "i > j",
            "j < i",
            "i <= j",
            "d > 2.0 * d",
            "s > 'a'",
            "d / d > 0.5",
            "0.5 < d / d",
            "metadata.m > 1",
            "metadata.m == 'a'",
            "metadata.m",
            "has(metadata.m)",
            "metadata.m <= 1",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
            2 => inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn set(rules: &[(String, &str, i32)]) -> RuleSet {
    let mut text = "rules:\n".to_owned();
    for (number, (when, then, priority)) in rules.iter().enumerate() {
        text += &format!(
            "  - {{id: r{number}, when: \"{when}\", then: {then}, reason: r, priority: {priority}}}\n"
        );
    }
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let files = [
        file("rules.yaml", &text),
        file("default.yaml", "default: {then: APPROVE, reason: no_rule_matched}\n"),
        file("lists/some.txt", ""),
    ];
    RuleSet::from_files(&files, &schema()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Holds every warning to all payments; gives the kinds of the warnings.
fn check(rules: &[(String, &str, i32)], payments: &[Payment]) -> Vec<Kind> {
    let at = EventTime::parse_rfc3339("2026-07-01T12:00:00Z").unwrap();
    let set = set(rules);
    let ranges = [("d".into(), RANGES.0, RANGES.1)];
    let problems = lint_with(&set, Background { at, ranges: &ranges, traffic: None });
    let position = |id: &str| set.rules().iter().position(|rule| &*rule.id == id).unwrap();
    let matches = |rule: usize, payment: &Payment| set.rules()[rule].program().matches(payment);
    for problem in &problems {
        let rule = position(problem.rule.as_deref().unwrap());
        let other = problem.message.split('`').nth(1).filter(|other| other.starts_with('r')).map(position);
        let is_true = |payment: &Payment| match problem.kind {
            Kind::NeverHits => !matches(rule, payment),
            Kind::AlwaysHits => matches(rule, payment),
            Kind::Duplicate | Kind::ConflictingDuplicate => {
                matches(rule, payment) == matches(other.unwrap(), payment)
            }
            Kind::NeverDecides => {
                let decisive = set.decide(&set.evaluate(payment, at)).rule.map(|rule| rule.id.clone());
                decisive != Some(set.rules()[rule].id.clone())
            }
            _ => true,
        };
        if let Some(payment) = payments.iter().find(|payment| !is_true(payment)) {
            panic!("{problem}\nis wrong for {:?} with\n{rules:#?}", payment.0);
        }
    }
    problems.into_iter().map(|problem| problem.kind).collect()
}

fn written(conditions: &[(String, &'static str, i32)]) -> Vec<Kind> {
    check(conditions, &payments())
}

#[test]
fn what_is_claimed_of_random_rules_is_true() {
    let payments = payments();
    let rule = (condition(), prop::sample::select(vec!["BLOCK", "REVIEW"]), 0..2_i32);
    let mut found = std::collections::BTreeMap::<String, u32>::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rules = prop::collection::vec(rule, 2..5);
    for _ in 0..SETS {
        let rules = rules.new_tree(&mut runner).unwrap().current();
        for kind in check(&rules, &payments) {
            *found.entry(format!("{kind:?}")).or_default() += 1;
        }
    }
    // It does not hold its tongue.
    for kind in ["NeverHits", "AlwaysHits", "NeverDecides"] {
        assert!(found.get(kind).is_some_and(|count| *count >= 5), "{kind}: {found:?}");
    }
}

#[test]
fn what_is_found() {
    let block = |when: &str| (when.to_owned(), "BLOCK", 0);
    let alone: [(&str, Option<Kind>); 30] = [
        ("i > 5 && i < 3", Some(Kind::NeverHits)),
        ("i > 5 && i < 7 && i != 6", Some(Kind::NeverHits)),
        ("i > 5 && i < 7", None),
        ("d > 0.5 && d < 0.6", None),
        ("s == 'a' && s == 'b'", Some(Kind::NeverHits)),
        ("s == 'a' && s in ['b', 'c']", Some(Kind::NeverHits)),
        ("s in ['a'] && s != 'a'", Some(Kind::NeverHits)),
        ("!has(s) && s == 'a'", Some(Kind::NeverHits)),
        ("!has(j)", Some(Kind::NeverHits)),
        ("b && !b", Some(Kind::NeverHits)),
        ("i > j && !(i > j)", Some(Kind::NeverHits)),
        ("i > j && i <= j", Some(Kind::NeverHits)),
        ("i > j && j >= i", Some(Kind::NeverHits)),
        ("in_list(s, 'some') && !in_list(s, 'some')", Some(Kind::NeverHits)),
        ("false", Some(Kind::NeverHits)),
        ("1 > 2", Some(Kind::NeverHits)),
        ("d > 2", Some(Kind::NeverHits)),
        ("(i > 5 || d > 2) && i < 3", Some(Kind::NeverHits)),
        ("!(i > 1 || i <= 1)", Some(Kind::NeverHits)),
        ("i > 1.5 && i < 1.7", Some(Kind::NeverHits)),
        ("i == 1.5", Some(Kind::NeverHits)),
        ("metadata.m == 'a' && metadata.m == 'b'", Some(Kind::NeverHits)),
        ("metadata.m == 'a' && metadata.m > 1", None),
        ("true", Some(Kind::AlwaysHits)),
        ("has(j)", Some(Kind::AlwaysHits)),
        ("j > 1 || j <= 1", Some(Kind::AlwaysHits)),
        ("i > 1 || i <= 1", None),
        ("!has(i) || i > 1 || i <= 1", Some(Kind::AlwaysHits)),
        ("!has(metadata.m) || metadata.m || !metadata.m", None),
        ("!has(d) || d >= -0.5", Some(Kind::AlwaysHits)),
    ];
    for (when, expected) in alone {
        let found = written(&[block(when)]);
        let found = found.into_iter().find(|kind| matches!(kind, Kind::NeverHits | Kind::AlwaysHits));
        assert_eq!(found, expected, "{when}");
    }

    let pairs: [(&str, &str, Option<Kind>); 16] = [
        ("i > 1", "i > 2", Some(Kind::NeverDecides)),
        ("i > 2", "i > 1", None),
        ("s in ['a', 'b']", "s == 'b' && j > 0", Some(Kind::NeverDecides)),
        ("s != 'a'", "s == 'b'", Some(Kind::NeverDecides)),
        ("has(s)", "s == 'b'", Some(Kind::NeverDecides)),
        ("i > 1 || d > 1", "d > 1.5 || i > 2", Some(Kind::NeverDecides)),
        ("i > 1 || d > 1", "d > 1.5 || i > 0", None),
        ("!(i <= 1)", "i > 2", Some(Kind::NeverDecides)),
        ("i > j", "s == 'a' && j < i", Some(Kind::NeverDecides)),
        ("in_list(s, 'some')", "in_list(s, 'some') && b", Some(Kind::NeverDecides)),
        ("j >= 0 || j < 0", "b", Some(Kind::NeverDecides)),
        ("i > 1 && b", "b && i > 1", Some(Kind::Duplicate)),
        ("i>1 && (b)", "1 < i && b == true", Some(Kind::Duplicate)),
        ("i >= 2", "i > 1", Some(Kind::Duplicate)),
        ("i > 1", "d > 1", None),
        ("metadata.m > 1", "metadata.m > 2", Some(Kind::NeverDecides)),
    ];
    for (first, second, expected) in pairs {
        let found = written(&[block(first), block(second)]);
        let wanted = [Kind::Duplicate, Kind::NeverDecides];
        let found: Vec<_> = found.into_iter().filter(|kind| wanted.contains(kind)).collect();
        assert_eq!(
            found.contains(&expected.unwrap_or(Kind::More)),
            expected.is_some(),
            "{first} / {second}: {found:?}"
        );
        assert!(expected.is_some() || found.is_empty(), "{first} / {second}: {found:?}");
    }
    let higher = written(&[block("i > 2"), ("i > 1".to_owned(), "REVIEW", 1)]);
    assert!(higher.contains(&Kind::NeverDecides));
    let conflict = written(&[block("i > 2"), ("i > 2".to_owned(), "REVIEW", 0)]);
    assert!(conflict.contains(&Kind::ConflictingDuplicate));
}
