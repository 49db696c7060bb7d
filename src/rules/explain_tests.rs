//! Hits with their predicates, near misses by closeness, and rules that were off.

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};
use crate::rules::directory::SourceFile;
use crate::rules::explain::{Explained, NEAR_MISSES_MAX, Off, explained};
use crate::rules::set::RuleSet;

const NAMES: [(&str, ValueType, Value<'static>); 5] = [
    ("amount", ValueType::Double, Value::Double(450.0)),
    ("card.count_5m", ValueType::Int, Value::Int(5)),
    ("score", ValueType::Double, Value::Missing),
    ("customer.id", ValueType::Text, Value::Text("c_7")),
    ("tx.is_night", ValueType::Bool, Value::Bool(true)),
];

struct Known;
impl Facts for Known {
    fn value(&self, slot: Slot) -> Value<'_> {
        NAMES.get(slot.0 as usize).map_or(Value::Missing, |(_, _, value)| *value)
    }
    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        true
    }
}

fn load(rules: &str) -> RuleSet {
    let mut schema = Schema::new(Slot(100));
    for (slot, (name, value_type, _)) in (0..).zip(NAMES) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let files = [
        file("rules.yaml", rules),
        file("default.yaml", "default: {then: APPROVE, reason: no_rule_matched}\n"),
        file("lists/trusted.txt", ""),
    ];
    RuleSet::from_files(&files, &schema).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn rule(id: &str, when: &str, more: &str) -> String {
    format!("  - {{id: {id}, when: \"{when}\", then: BLOCK, reason: r{more}}}\n")
}

fn at(text: &str) -> EventTime {
    EventTime::parse_rfc3339(text).unwrap()
}

fn of(set: &RuleSet) -> Explained<'_> {
    explained(set, &Known, at("2026-07-01T12:00:00Z"))
}

#[test]
fn hits_come_most_decisive_first_and_shadows_last() {
    let set = load(&format!(
        "rules:\n{}{}{}{}",
        rule("watching", "amount > 1", ", state: shadow"),
        rule("plain", "amount > 400 && (tx.is_night || score > 0.5)", ""),
        rule("first", "in_list(customer.id, 'trusted')", ", priority: 5"),
        rule("paused", "amount > 1", ", state: paused"),
    ));
    let found = of(&set);
    let hits: Vec<_> =
        found.hits.iter().map(|hit| (&*hit.rule.id, hit.live, hit.condition.parts.len())).collect();
    assert_eq!(hits, [("first", true, 0), ("plain", true, 2), ("watching", false, 0)]);
    assert!(found.off.is_empty() && found.near_misses.is_empty());
}

#[test]
fn rules_that_matched_but_were_off_say_why() {
    let set = load(&format!(
        "rules:\n{}{}{}{}{}",
        rule("later", "amount > 1", ", starts: 2026-08-01"),
        rule("earlier", "amount > 1", ", expires: 2026-06-30"),
        rule("none", "amount > 1", ", rollout: {percent: 0, by: customer.id}"),
        rule("unknown", "amount > 1", ", rollout: {percent: 50, by: score}"),
        rule("off-and-false", "amount < 1 && tx.is_night", ", expires: 2026-06-30"),
    ));
    let found = of(&set);
    let off: Vec<_> = found.off.iter().map(|it| (&*it.rule.id, it.off.clone().unwrap())).collect();
    assert_eq!(
        off,
        [
            ("later", Off::NotYet(at("2026-08-01T00:00:00Z"))),
            ("earlier", Off::Expired(at("2026-07-01T00:00:00Z"))),
            ("none", Off::OutsideRollout),
            ("unknown", Off::RolloutMissing),
        ]
    );
    assert!(found.hits.is_empty() && found.near_misses.is_empty());
}

#[test]
fn near_misses_are_ranked_by_closeness() {
    let set = load(&format!(
        "rules:\n{}{}{}{}{}{}{}{}{}",
        rule("missing", "tx.is_night && score > 0.5", ""),
        rule("false", "tx.is_night && customer.id == 'c_8'", ""),
        rule("false-of-three", "tx.is_night && amount > 1 && customer.id == 'c_8'", ""),
        rule("two-failed", "customer.id == 'c_8' && amount > 500", ""),
        rule("far", "amount > 100000", ""),
        rule("alone", "customer.id == 'c_8'", ""),
        rule("near", "amount > 500", ""),
        rule("nearest", "(tx.is_night && amount > 1) && (card.count_5m >= 20 || amount > 460)", ""),
        rule("count", "card.count_5m >= 6 && tx.is_night", ""),
    ));
    let found = of(&set);
    let shown: Vec<_> = found
        .near_misses
        .iter()
        .map(|miss| {
            let threshold = miss.threshold.as_ref();
            let threshold =
                threshold.map(|it| format!("{} = {}, needs {} {}", it.text, it.value, it.needs, it.bound));
            (&*miss.rule.id, &*miss.failed.text, miss.conjuncts, threshold.unwrap_or_default())
        })
        .collect();
    let expected = [
        ("nearest", "card.count_5m >= 20 || amount > 460", 3, "amount = 450, needs > 460"),
        ("near", "amount > 500", 1, "amount = 450, needs > 500"),
        ("count", "card.count_5m >= 6", 2, "card.count_5m = 5, needs >= 6"),
        ("false-of-three", "customer.id == 'c_8'", 3, ""),
        ("false", "customer.id == 'c_8'", 2, ""),
        ("missing", "score > 0.5", 2, ""),
    ];
    assert_eq!(
        shown,
        expected.map(|(id, failed, parts, threshold)| (id, failed, parts, threshold.to_owned()))
    );
    assert_eq!(found.near_misses_total, 6);
}

#[test]
fn so_many_near_misses_are_shown_and_all_are_counted() {
    let rules: String = (0..30)
        .map(|number| rule(&format!("r{number}"), &format!("amount > {}", 500 + number), ""))
        .collect();
    let set = load(&format!("rules:\n{rules}"));
    let found = of(&set);
    assert_eq!((found.near_misses.len(), found.near_misses_total), (NEAR_MISSES_MAX, 30));
    assert_eq!(&*found.near_misses[0].rule.id, "r0");
}
