//! Expressions whose results came from another implementation, Google's cel-cpp: see `testdata/make_cel_cpp.py`.

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::{Schema, Slot};
use crate::expr::temporal;

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

/// Where cel-cpp 0.1.3 refuses a `substring` that ends where the text ends, which the specification's strings extension allows.
const DIFFERENT: [(&str, &str); 2] = [
    ("'true'.substring(1, 4).indexOf('1.5'.upperAscii())", "int -1"),
    ("'1.5'.substring(1, 3).matches('^[a-c]_?[0-9]+$')", "bool false"),
];

#[test]
fn another_implementation_agrees() {
    let mut schema = Schema::new(Slot(1_000));
    for (slot, (name, value_type, _)) in (0..).zip(FIXED) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    let cases = include_str!("testdata/cel_cpp.tsv");
    let (mut count, mut missing, mut differences) = (0, 0, Vec::new());
    for case in cases.lines().filter(|line| !line.starts_with('#')) {
        let (source, expected) = case.split_once('\t').unwrap();
        let program =
            Program::compile(source, &mut schema).unwrap_or_else(|error| panic!("{}", error.render(source)));
        let actual = match program.eval(&Fixed) {
            Scalar::Missing => "missing".to_owned(),
            Scalar::Bool(flag) => format!("bool {flag}"),
            Scalar::Int(number) => format!("int {number}"),
            Scalar::Double(number) => {
                let same = |text: &str| {
                    let wanted: f64 = text.parse().unwrap();
                    wanted.to_bits() == number.to_bits() || (wanted.is_nan() && number.is_nan())
                };
                let same = expected.strip_prefix("double ").is_some_and(same);
                if same { expected.to_owned() } else { format!("double {number:?}") }
            }
            Scalar::Text(text) => format!("string {text}"),
            Scalar::Time(time) => format!("timestamp {}", temporal::time_text(time)),
            Scalar::Duration(duration) => format!("duration {}", temporal::duration_text(duration)),
        };
        let known = DIFFERENT.iter().find(|(different, _)| *different == source);
        let expected = known.map_or(expected, |(_, ours)| ours);
        if actual != expected {
            differences.push(format!("{source}: {actual}, not {expected}"));
        }
        count += 1;
        missing += usize::from(expected == "missing");
    }
    assert!(differences.is_empty(), "{} of {count}\n{}", differences.len(), differences.join("\n"));
    assert_eq!((count, missing), (3_000, 1_222));
}
