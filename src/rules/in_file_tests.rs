//! The tests that stand beside a rule: values and lists in, `match` or `no_match` out.
//!
//! A test asks the condition alone: state, rollout and dates have no part in it. What `given` leaves out is missing. Lists
//! are empty but for what the test's own `lists` say, so that a change of a list file never breaks a test.

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::{Schema, Slot};
use crate::rules::document::Document;
use crate::rules::file::TestSource;
use crate::rules::problem::{Kind, Problem};
use crate::rules::raw;

/// A value that a test gives.
#[derive(Debug, PartialEq)]
enum Given {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Time(EventTime),
}

impl Given {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Int(number) => Value::Int(*number),
            Self::Double(number) => Value::Double(*number),
            Self::Text(text) => Value::Text(text),
            Self::Time(time) => Value::Time(*time),
        }
    }
}

#[derive(Debug, Default)]
struct GivenFacts {
    values: Vec<(Slot, Given)>,
    lists: Vec<(usize, Box<str>)>,
}

impl Facts for GivenFacts {
    fn value(&self, slot: Slot) -> Value<'_> {
        self.values
            .iter()
            .find(|(known, _)| *known == slot)
            .map_or(Value::Missing, |(_, given)| given.value())
    }

    fn in_list(&self, list: usize, value: Value<'_>) -> bool {
        let text = value.to_string();
        self.lists.iter().any(|(known, entry)| *known == list && **entry == *text)
    }
}

/// Runs a rule's tests; what fails or is wrong goes to `problems`.
pub(crate) fn run(
    document: Document<'_>,
    rule: &str,
    program: &Program,
    tests: &[TestSource],
    schema: &mut Schema,
    problems: &mut Vec<Problem>,
) {
    for test in tests {
        let Some(facts) = facts(document, rule, program, test, schema, problems) else { continue };
        let matched = program.matches(&facts);
        if matched != test.expect_match {
            problems.push(
                document.error(test.place, Some(rule), failure(test, program, &facts)).of(Kind::FailedTest),
            );
        }
    }
}

fn failure(test: &TestSource, program: &Program, facts: &GivenFacts) -> String {
    let name = test.name.as_ref().map_or(String::new(), |name| format!(" \"{name}\""));
    let read: Vec<String> =
        program.reads().iter().map(|read| format!("{} = {}", read.name, facts.value(read.slot))).collect();
    let came_to = match program.eval(facts) {
        Scalar::Bool(flag) => flag.to_string(),
        _ => "missing".to_owned(),
    };
    let (expected, got) = if test.expect_match { ("match", "no_match") } else { ("no_match", "match") };
    format!(
        "test{name} failed: expected {expected}, got {got}; the condition came to {came_to}, with {}",
        read.join(", ")
    )
}

fn facts(
    document: Document<'_>,
    rule: &str,
    program: &Program,
    test: &TestSource,
    schema: &mut Schema,
    problems: &mut Vec<Problem>,
) -> Option<GivenFacts> {
    let before = problems.len();
    let mut facts = GivenFacts::default();
    for (name, field) in &test.given {
        let Some(binding) = schema.resolve(&name.value) else {
            let suggestion = schema.nearest_name(&name.value);
            let message = format!("test gives the unknown name `{}`", name.value);
            problems.push(
                document
                    .error(document.place(name), Some(rule), message)
                    .of(Kind::InvalidTest)
                    .suggesting(suggestion),
            );
            continue;
        };
        if !program.reads().iter().any(|read| read.slot == binding.slot) {
            let message = format!("test gives `{}`, which the condition does not read", name.value);
            problems.push(
                document.error(document.place(name), Some(rule), message).of(Kind::UnreadTestValue).warning(),
            );
        }
        let Some(field) = field else { continue };
        match given(document, binding.value_type, field) {
            Some(given) => facts.values.push((binding.slot, given)),
            None => {
                let wanted = binding.value_type.map_or("text", ValueType::name);
                let message = format!("`{}` is of type {wanted}, and `{}` is not", name.value, field.value);
                problems
                    .push(document.error(document.place(field), Some(rule), message).of(Kind::InvalidTest));
            }
        }
    }
    for (name, entries) in &test.lists {
        match schema.list(&name.value) {
            Some(list) => facts.lists.extend(entries.iter().map(|entry| (list, entry.value.as_str().into()))),
            None => {
                let suggestion = schema.nearest_list(&name.value);
                let message = format!("there is no list `{}`", name.value);
                problems.push(
                    document
                        .error(document.place(name), Some(rule), message)
                        .of(Kind::InvalidTest)
                        .suggesting(suggestion),
                );
            }
        }
    }
    let failed =
        problems[before..].iter().any(|problem| problem.severity == crate::rules::problem::Severity::Error);
    (!failed).then_some(facts)
}

/// Reads a scalar by the type of its name. Metadata has no type of its own: what is quoted is a text, else what reads as a
/// bool or a number is one.
fn given(document: Document<'_>, value_type: Option<ValueType>, field: &raw::Scalar) -> Option<Given> {
    let text = field.value.as_str();
    let flag = || match text {
        "true" => Some(Given::Bool(true)),
        "false" => Some(Given::Bool(false)),
        _ => None,
    };
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Given::Double);
    match value_type {
        Some(ValueType::Bool) => flag(),
        Some(ValueType::Int) => text.parse().ok().map(Given::Int),
        Some(ValueType::Double) => number(),
        Some(ValueType::Text) => Some(Given::Text(text.into())),
        Some(ValueType::Time) => EventTime::parse_rfc3339(text).ok().map(Given::Time),
        Some(ValueType::Duration) => None,
        None => {
            let start = field.defined.span().byte_offset().and_then(|start| usize::try_from(start).ok());
            let quoted = start
                .and_then(|start| document.text.get(start..))
                .is_some_and(|rest| rest.starts_with(['"', '\'']));
            let as_text = Given::Text(text.into());
            Some(if quoted { as_text } else { flag().or_else(number).unwrap_or(as_text) })
        }
    }
}
