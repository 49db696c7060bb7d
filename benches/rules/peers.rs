//! Other engines. Their contexts are made before the clock starts, their filters asked one after the other, as their users do.

use std::hint::black_box;

use cel::{Context, Value as CelValue};
use wirefilter::{ExecutionContext, Scheme, Type};
use zen_expression::variable::Variable;
use zen_expression::vm::VM;
use zen_expression::{Isolate, Scope};

use crate::contestants::Contestant;
use crate::workload::{CEL, Condition, Dialect, NUMBERS, Payment, TEXTS, spell};

/// As Wireshark spells conditions.
const WIREFILTER: Dialect = Dialect { and: " && ", list: ("{", " ", "}") };
/// As the GoRules engine spells them.
const ZEN: Dialect = Dialect { and: " and ", list: ("[", ", ", "]") };

/// The fields of the payments.
fn wirefilter_scheme() -> Scheme {
    let mut scheme = Scheme::new();
    for number in 0..NUMBERS {
        scheme.add_field(format!("n{number}"), Type::Int).unwrap();
    }
    for number in 0..TEXTS {
        scheme.add_field(format!("t{number}"), Type::Bytes).unwrap();
    }
    scheme
}

/// Cloudflare's wirefilter, as it is published: 0.6.1. Filters are compiled to closures.
pub(crate) fn wirefilter<'a>(rules: &[Vec<Condition>], payments: &'a [Payment]) -> Contestant<'a> {
    // The filters borrow it; a bench ends with its process.
    let scheme: &'static Scheme = Box::leak(Box::new(wirefilter_scheme()));
    let parse = |rule: &Vec<Condition>| {
        let text = spell(rule, WIREFILTER);
        scheme.parse(&text).unwrap_or_else(|error| panic!("{error}")).compile()
    };
    let filters: Vec<_> = rules.iter().map(parse).collect();
    let contexts: Vec<_> = payments
        .iter()
        .map(|payment| {
            let mut context = ExecutionContext::new(scheme);
            for (number, value) in payment.numbers.iter().enumerate() {
                context.set_field_value(&format!("n{number}"), *value).unwrap();
            }
            for (number, value) in payment.texts.iter().enumerate() {
                context.set_field_value(&format!("t{number}"), value.as_str()).unwrap();
            }
            context
        })
        .collect();
    let run = move |payment: usize, matching: &mut Vec<u32>| {
        let context = &contexts[payment];
        let hits = (0..).zip(&filters).filter(|(_, filter)| filter.execute(context).unwrap());
        matching.extend(hits.map(|(number, _)| number));
    };
    Contestant { name: "wirefilter", run: Box::new(run) }
}

/// GoRules' zen-expression: bytecode for a virtual machine, compiled once.
pub(crate) fn zen<'a>(rules: &[Vec<Condition>], payments: &'a [Payment]) -> Contestant<'a> {
    let mut isolate = Isolate::new();
    let compile = |rule: &Vec<Condition>| isolate.compile_standard(&spell(rule, ZEN)).unwrap();
    let expressions: Vec<_> = rules.iter().map(compile).collect();
    let scopes: Vec<Scope> = payments
        .iter()
        .map(|payment| {
            let numbers = (0..)
                .zip(&payment.numbers)
                .map(|(at, value): (usize, _)| (format!("n{at}"), (*value).into()));
            let texts = (0..)
                .zip(&payment.texts)
                .map(|(at, value): (usize, _)| (format!("t{at}"), value.as_str().into()));
            let object: serde_json::Map<String, serde_json::Value> = numbers.chain(texts).collect();
            Scope::new(Variable::from(serde_json::Value::Object(object)))
        })
        .collect();
    let mut machine = VM::new();
    let run = move |payment: usize, matching: &mut Vec<u32>| {
        let scope = &scopes[payment];
        for (number, expression) in (0..).zip(&expressions) {
            if matches!(expression.evaluate_with_scope(scope, &mut machine), Ok(Variable::Bool(true))) {
                matching.push(number);
            }
        }
    };
    Contestant { name: "zen-expression", run: Box::new(run) }
}

/// cel-rust: the interpreter of the crate whose parser Tollgate uses.
pub(crate) fn cel_rust<'a>(rules: &[Vec<Condition>], payments: &'a [Payment]) -> Contestant<'a> {
    let programs: Vec<_> =
        rules.iter().map(|rule| cel::Program::compile(&spell(rule, CEL)).unwrap()).collect();
    let contexts: Vec<Context<'_, '_>> = payments
        .iter()
        .map(|payment| {
            let mut context = Context::default();
            for (number, value) in payment.numbers.iter().enumerate() {
                context.add_variable_from_value(format!("n{number}"), i64::from(*value));
            }
            for (number, value) in payment.texts.iter().enumerate() {
                context.add_variable_from_value(format!("t{number}"), value.clone());
            }
            context
        })
        .collect();
    let run = move |payment: usize, matching: &mut Vec<u32>| {
        let context = &contexts[payment];
        for (number, program) in (0..).zip(&programs) {
            if matches!(program.execute(context), Ok(CelValue::Bool(true))) {
                matching.push(number);
            }
        }
    };
    Contestant { name: "cel-rust", run: Box::new(run) }
}

pub(crate) fn wirefilter_loader(rules: &[Vec<Condition>]) -> Contestant<'_> {
    let scheme = wirefilter_scheme();
    let load = move |_: usize, _: &mut Vec<u32>| {
        for rule in rules {
            let text = spell(rule, WIREFILTER);
            black_box(scheme.parse(&text).unwrap_or_else(|error| panic!("{error}")).compile());
        }
    };
    Contestant { name: "wirefilter", run: Box::new(load) }
}

pub(crate) fn zen_loader(rules: &[Vec<Condition>]) -> Contestant<'_> {
    let mut isolate = Isolate::new();
    let load = move |_: usize, _: &mut Vec<u32>| {
        for rule in rules {
            black_box(isolate.compile_standard(&spell(rule, ZEN)).unwrap());
        }
    };
    Contestant { name: "zen-expression", run: Box::new(load) }
}

pub(crate) fn cel_rust_loader(rules: &[Vec<Condition>]) -> Contestant<'_> {
    let load = move |_: usize, _: &mut Vec<u32>| {
        for rule in rules {
            black_box(cel::Program::compile(&spell(rule, CEL)).unwrap());
        }
    };
    Contestant { name: "cel-rust", run: Box::new(load) }
}
