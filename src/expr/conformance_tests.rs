//! The cases of the CEL specification that fall inside the profile (those that compile): every one of them must pass. And
//! expressions whose results came from another implementation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::{Schema, Slot};
use crate::expr::temporal;

struct Bound(Vec<Json>);

impl Facts for Bound {
    fn value(&self, slot: Slot) -> Value<'_> {
        let Some(value) = self.0.get(slot.0 as usize) else { return Value::Missing };
        match (value["t"].as_str(), &value["v"]) {
            (Some("bool"), Json::Bool(flag)) => Value::Bool(*flag),
            (Some("int"), Json::String(number)) => number.parse().map_or(Value::Missing, Value::Int),
            (Some("double"), Json::String(number)) => number.parse().map_or(Value::Missing, Value::Double),
            (Some("string"), Json::String(text)) => Value::Text(text),
            _ => Value::Missing,
        }
    }

    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        false
    }
}

/// Why a case says nothing about the profile.
fn outside(case: &Json) -> bool {
    case["check_only"] == true
        || case["container"].as_str().is_some_and(|container| !container.is_empty())
        || case["bind"].as_object().is_some_and(|bind| {
            bind.values()
                .any(|value| !matches!(value["t"].as_str(), Some("bool" | "int" | "double" | "string")))
        })
}

fn passes(expected: &Json, actual: &Scalar<'_>) -> bool {
    let text = expected["v"].as_str().unwrap_or("");
    match (expected["t"].as_str(), actual) {
        (Some("bool"), Scalar::Bool(flag)) => expected["v"] == *flag,
        (Some("int"), Scalar::Int(number)) => text.parse() == Ok(*number),
        (Some("double"), Scalar::Double(number)) => {
            text.parse::<f64>().is_ok_and(|wanted| wanted == *number || (wanted.is_nan() && number.is_nan()))
        }
        (Some("string"), Scalar::Text(actual)) => text == actual,
        (Some("timestamp"), Scalar::Time(time)) => text.parse::<jiff::Timestamp>().ok() == Some(*time),
        (Some("duration"), Scalar::Duration(duration)) => temporal::parse_duration(text) == Some(*duration),
        _ => false,
    }
}

#[test]
fn cases_of_the_specification() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cel/conformance.ndjson");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {}", path.display());
        return;
    };
    let (mut total, mut values, mut errors, mut refused_errors) = (0, 0, 0, 0);
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for line in text.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        total += 1;
        if outside(&case) {
            *refusals.entry("(not about scalar expressions)".to_owned()).or_default() += 1;
            continue;
        }
        let mut schema = Schema::new(Slot(1_000));
        let mut facts = Bound(Vec::new());
        for (name, value) in case["bind"].as_object().into_iter().flatten() {
            let value_type = match value["t"].as_str() {
                Some("bool") => ValueType::Bool,
                Some("int") => ValueType::Int,
                Some("double") => ValueType::Double,
                _ => ValueType::Text,
            };
            let slot = Slot(u32::try_from(facts.0.len()).unwrap());
            if schema.add(name, value_type, slot, true).is_ok() {
                facts.0.push(value.clone());
            }
        }
        let source = case["expr"].as_str().unwrap_or("");
        let wants_error = case["matcher"] == "eval_error";
        match Program::compile(source, &mut schema) {
            Err(error) => {
                refused_errors += usize::from(wants_error);
                *refusals.entry(error.message).or_default() += 1;
            }
            Ok(program) => {
                let actual = program.eval(&facts);
                let passed =
                    if wants_error { actual == Scalar::Missing } else { passes(&case["value"], &actual) };
                if passed {
                    values += usize::from(!wants_error);
                    errors += usize::from(wants_error);
                } else {
                    failures.push(format!(
                        "{}/{}: {source}: {actual:?}, not {}",
                        case["file"], case["name"], case["value"]
                    ));
                }
            }
        }
    }
    let inside = values + errors + failures.len();
    println!(
        "{inside} of {total} cases are in the profile ({values} give a value, {errors} an error, that is missing); \
         {} are refused at load, {refused_errors} of which the specification calls an error too",
        total - inside
    );
    if std::env::var_os("TOLLGATE_SHOW_REFUSALS").is_some() {
        for (message, count) in refusals {
            println!("{count:5} {message}");
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(inside >= 400, "only {inside} cases are in the profile");
}

struct Fixed;

const FIXED: [(&str, ValueType, Option<&str>); 15] = [
    ("i1", ValueType::Int, Some("6")),
    ("i0", ValueType::Int, Some("0")),
    ("imax", ValueType::Int, Some("9223372036854775807")),
    ("mi", ValueType::Int, None),
    ("d1", ValueType::Double, Some("120.5")),
    ("d0", ValueType::Double, Some("0.0")),
    ("md", ValueType::Double, None),
    ("s1", ValueType::Text, Some("c_7")),
    ("s0", ValueType::Text, Some("")),
    ("ms", ValueType::Text, None),
    ("b1", ValueType::Bool, Some("true")),
    ("b0", ValueType::Bool, Some("false")),
    ("mb", ValueType::Bool, None),
    ("t1", ValueType::Time, Some("2026-07-01T23:30:00.250Z")),
    ("mt", ValueType::Time, None),
];

impl Facts for Fixed {
    fn value(&self, slot: Slot) -> Value<'_> {
        let Some((_, value_type, Some(text))) = FIXED.get(slot.0 as usize) else { return Value::Missing };
        match value_type {
            ValueType::Int => Value::Int(text.parse().unwrap()),
            ValueType::Double => Value::Double(text.parse().unwrap()),
            ValueType::Bool => Value::Bool(text.parse().unwrap()),
            ValueType::Time => Value::Time(EventTime::parse_rfc3339(text).unwrap()),
            ValueType::Text | ValueType::Duration => Value::Text(text),
        }
    }

    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        false
    }
}

#[test]
fn another_implementation_agrees() {
    let mut schema = Schema::new(Slot(1_000));
    for (slot, (name, value_type, _)) in (0..).zip(FIXED) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    let cases = include_str!("testdata/cel_cpp.tsv");
    let mut count = 0;
    for case in cases.lines().filter(|line| !line.starts_with('#')) {
        let (source, expected) = case.split_once('\t').unwrap();
        let program =
            Program::compile(source, &mut schema).unwrap_or_else(|error| panic!("{}", error.render(source)));
        let actual = match program.eval(&Fixed) {
            Scalar::Missing => "missing".to_owned(),
            Scalar::Bool(flag) => format!("bool {flag}"),
            Scalar::Int(number) => format!("int {number}"),
            Scalar::Double(number) => {
                let same =
                    expected.strip_prefix("double ").and_then(|text| text.parse().ok()) == Some(number);
                if same { expected.to_owned() } else { format!("double {number:?}") }
            }
            Scalar::Text(text) => format!("string {text}"),
            Scalar::Time(time) => format!("timestamp {}", temporal::time_text(time)),
            Scalar::Duration(duration) => format!("duration {}", temporal::duration_text(duration)),
        };
        assert_eq!(actual, expected, "{source}");
        count += 1;
    }
    assert_eq!(count, 700);
}
