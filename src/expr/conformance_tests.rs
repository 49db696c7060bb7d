//! The cases of the CEL specification that fall inside the profile: those that compile. Every one of them must pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::domain::value::{Value, ValueType};
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::{Schema, Slot};

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
        (Some("duration"), Scalar::Duration(duration)) => {
            crate::expr::temporal::parse_duration(text) == Some(*duration)
        }
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
