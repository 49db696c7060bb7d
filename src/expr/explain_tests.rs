//! Conditions taken apart, with what their parts came to.

use crate::domain::value::Value;
use crate::domain::value::ValueType;
use crate::expr::explain::{Explanation, Join, conjuncts, explain};
use crate::expr::program::{Facts, Program};
use crate::expr::schema::{Schema, Slot};

const NAMES: [(&str, ValueType, Value<'static>); 7] = [
    ("amount", ValueType::Double, Value::Double(120.5)),
    ("card.count_5m", ValueType::Int, Value::Int(5)),
    ("score", ValueType::Double, Value::Missing),
    ("customer.id", ValueType::Text, Value::Text("c_7")),
    ("tx.is_night", ValueType::Bool, Value::Bool(true)),
    ("other.flag", ValueType::Bool, Value::Bool(false)),
    ("card.mean", ValueType::Double, Value::Double(40.0)),
];

struct Known;
impl Facts for Known {
    fn value(&self, slot: Slot) -> Value<'_> {
        NAMES.get(slot.0 as usize).map_or(Value::Double(7.0), |(_, _, value)| *value)
    }
    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        true
    }
}

fn schema() -> Schema {
    let mut schema = Schema::new(Slot(100));
    for (slot, (name, value_type, _)) in (0..).zip(NAMES) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    schema.set_lists(["trusted"]);
    schema
}

fn of(source: &str) -> Explanation {
    explain(source, &mut schema(), &Known).unwrap_or_else(|error| panic!("{}", error.render(source)))
}

/// `&&[+amount > 3, ?score > 0.5]`
fn drawn(explanation: &Explanation) -> String {
    let mark = match explanation.held {
        Some(true) => '+',
        Some(false) => '-',
        None => '?',
    };
    let parts: Vec<String> = explanation.parts.iter().map(drawn).collect();
    match explanation.join {
        Join::Term => format!("{mark}{}", explanation.text),
        Join::All => format!("{mark}all[{}]", parts.join(", ")),
        Join::Any => format!("{mark}any[{}]", parts.join(", ")),
        Join::Not => format!("{mark}not[{}]", parts.join(", ")),
        Join::Choice => format!("{mark}if[{}]", parts.join(", ")),
    }
}

#[test]
fn conditions_are_taken_apart_as_they_are_written() {
    let cases = [
        ("amount > 3", "+amount > 3"),
        ("((amount > 3))", "+amount > 3"),
        ("amount > 3 && score > 0.5", "?all[+amount > 3, ?score > 0.5]"),
        ("other.flag && (amount>3 ||  score > 1)", "-all[-other.flag, +any[+amount>3, ?score > 1]]"),
        ("(other.flag) || (tx.is_night)", "+any[-other.flag, +tx.is_night]"),
        ("!tx.is_night", "-not[+tx.is_night]"),
        ("!!tx.is_night", "+not[-not[+tx.is_night]]"),
        (
            "!(amount > 3 && !in_list(customer.id, 'trusted'))",
            "+not[-all[+amount > 3, -not[+in_list(customer.id, 'trusted')]]]",
        ),
        ("!tx.is_night == other.flag", "+!tx.is_night == other.flag"),
        (
            "tx.is_night ? amount > 3 : other.flag ? false : true",
            "+if[+tx.is_night, +amount > 3, +if[-other.flag, -false, +true]]",
        ),
        (
            "customer.id in ['a', 'b && c'] || has(score)",
            "-any[-customer.id in ['a', 'b && c'], -has(score)]",
        ),
        (
            "customer.id.startsWith('c_') // why\n && amount > (3.0 + 4.0) * 2.0",
            "+all[+customer.id.startsWith('c_'), +amount > (3.0 + 4.0) * 2.0]",
        ),
        ("metadata.flag && metadata[\"a-b\"] > 6", "?all[?metadata.flag, +metadata[\"a-b\"] > 6]"),
    ];
    for (source, expected) in cases {
        assert_eq!(drawn(&of(source)), expected, "{source}");
    }
}

#[test]
fn conjuncts_are_found_within_brackets() {
    let cases: [(&str, &[&str]); 4] = [
        ("a", &["a"]),
        ("a && (b && (c || d)) && !(e && f)", &["a", "b", "c || d", "!(e && f)"]),
        ("(a) || b && c", &["(a) || b && c"]),
        ("a && b ? c : d", &["a && b ? c : d"]),
    ];
    for (source, expected) in cases {
        assert_eq!(conjuncts(source), expected, "{source}");
    }
}

#[test]
fn terms_show_values_and_thresholds() {
    type Case = (
        &'static str,
        &'static [(&'static str, Value<'static>)],
        Option<(&'static str, f64, &'static str, f64)>,
    );
    let cases: [Case; 10] = [
        ("card.count_5m >= 6", &[("card.count_5m", Value::Int(5))], Some(("card.count_5m", 5.0, ">=", 6.0))),
        ("6 <= card.count_5m", &[("card.count_5m", Value::Int(5))], Some(("card.count_5m", 5.0, ">=", 6.0))),
        (
            "amount > 3.0 * card.mean",
            &[("amount", Value::Double(120.5)), ("card.mean", Value::Double(40.0))],
            Some(("amount", 120.5, ">", 120.0)),
        ),
        (
            "amount / card.mean < 2.0",
            &[("amount", Value::Double(120.5)), ("card.mean", Value::Double(40.0))],
            Some(("amount / card.mean", 3.0125, "<", 2.0)),
        ),
        (
            "metadata.points > 9",
            &[("metadata.points", Value::Double(7.0))],
            Some(("metadata.points", 7.0, ">", 9.0)),
        ),
        ("score > 0.5", &[("score", Value::Missing)], None),
        ("customer.id == 'c_8'", &[("customer.id", Value::Text("c_7"))], None),
        ("customer.id > 'c'", &[("customer.id", Value::Text("c_7"))], None),
        ("amount == 3", &[("amount", Value::Double(120.5))], None),
        ("has(score)", &[("score", Value::Missing)], None),
    ];
    for (source, values, threshold) in cases {
        let found = of(source);
        let found_values: Vec<_> =
            found.values.iter().map(|(name, value)| (&**name, value.as_value())).collect();
        assert_eq!(found_values, values, "{source}");
        let found =
            found.threshold.as_ref().map(|found| (&*found.text, found.value, found.needs, found.bound));
        assert_eq!(found, threshold, "{source}");
    }
    let distance = |source| of(source).threshold.unwrap().distance();
    assert_eq!(distance("card.count_5m >= 10"), 0.5);
    assert_eq!(distance("card.count_5m <= 0"), 5.0);
}

#[test]
fn the_whole_and_its_parts_agree_with_the_compiled_condition() {
    use proptest::prelude::*;
    let leaf = prop::sample::select(vec![
        "amount > 3",
        "score > 1",
        "tx.is_night",
        "other.flag",
        "customer.id in ['x']",
    ])
    .prop_map(str::to_owned);
    let condition = leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || {b}")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(({a}) ? {b} : {c})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    });
    proptest!(|(source in condition)| {
        let whole = of(&source);
        let program = Program::compile_condition(&source, &mut schema()).unwrap();
        prop_assert_eq!(whole.held == Some(true), program.matches(&Known));
        prop_assert!(follows(&whole), "{:?}", whole);
    });
}

/// What a whole comes to follows from its parts.
fn follows(whole: &Explanation) -> bool {
    let held: Vec<_> = whole.parts.iter().map(|part| part.held).collect();
    let absorbed = |decisive: bool| {
        if held.contains(&Some(decisive)) {
            Some(decisive)
        } else if held.contains(&None) {
            None
        } else {
            Some(!decisive)
        }
    };
    let expected = match whole.join {
        Join::Term => whole.held,
        Join::All => absorbed(false),
        Join::Any => absorbed(true),
        Join::Not => held[0].map(|flag| !flag),
        Join::Choice => held[0].and_then(|flag| held[if flag { 1 } else { 2 }]),
    };
    expected == whole.held && whole.parts.iter().all(follows)
}
