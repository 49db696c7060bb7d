//! Who is measured: each has read all rules and all payments before the clock starts, and says which rules match a payment.

use std::hint::black_box;

use crate::workload::{self, CEL, Condition, NUMBERS, Payment, TEXTS, spell};
use tollgate::domain::value::{Value, ValueType};
use tollgate::expr::index::matcher::{ConditionIndex, IndexScratch};
use tollgate::expr::program::{Facts, Program};
use tollgate::expr::schema::{Schema, Slot};
use tollgate::rules::directory::SourceFile;
use tollgate::rules::set::RuleSet;

/// Writes the numbers of the rules that match the payment of that number, in order.
type Run<'a> = Box<dyn FnMut(usize, &mut Vec<u32>) + 'a>;

/// One contestant.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Run<'a>,
}

/// A payment as Tollgate sees it: nothing is made ready for it but where its values are.
struct TollgateFacts<'a>(&'a Payment);

impl Facts for TollgateFacts<'_> {
    fn value(&self, slot: Slot) -> Value<'_> {
        let slot = slot.0 as usize;
        match self.0.numbers.get(slot) {
            Some(number) => Value::Int(i64::from(*number)),
            None => self.0.texts.get(slot - NUMBERS).map_or(Value::Missing, |text| Value::Text(text)),
        }
    }

    fn in_list(&self, _list: usize, _value: Value<'_>) -> bool {
        false
    }
}

/// The names that the rules read.
fn schema() -> Schema {
    let mut schema = Schema::new(Slot(100_000));
    for (slot, number) in (0..).zip(0..NUMBERS) {
        schema.add(&format!("n{number}"), ValueType::Int, Slot(slot), true).unwrap();
    }
    for (slot, number) in (NUMBERS as u32..).zip(0..TEXTS) {
        schema.add(&format!("t{number}"), ValueType::Text, Slot(slot), true).unwrap();
    }
    schema
}

fn programs(rules: &[Vec<Condition>]) -> Vec<Program> {
    let mut schema = schema();
    let compile = |rule: &Vec<Condition>| Program::compile_condition(&spell(rule, CEL), &mut schema).unwrap();
    rules.iter().map(compile).collect()
}

/// What an analyst waits for: who reads, checks and compiles the rules, whatever the item. Tollgate reads YAML, runs a test of each rule and
/// builds the index.
pub(crate) fn loaders<'a>(rules: &'a [Vec<Condition>]) -> Vec<Contestant<'a>> {
    let all = vec![
        tollgate_loader(rules),
        #[cfg(feature = "peers")]
        crate::peers::wirefilter_loader(rules),
        #[cfg(feature = "peers")]
        crate::peers::zen_loader(rules),
        #[cfg(feature = "peers")]
        crate::peers::cel_rust_loader(rules),
    ];
    all
}

fn tollgate_loader(rules: &[Vec<Condition>]) -> Contestant<'static> {
    let schema = schema();
    let file = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let default = "default: {then: APPROVE, reason: no_rule_matched}\n".to_owned();
    let files = [file("rules.yaml", workload::file(rules)), file("default.yaml", default)];
    let load = move |_: usize, _: &mut Vec<u32>| {
        black_box(RuleSet::from_files(&files, &schema).unwrap());
    };
    Contestant { name: "tollgate", run: Box::new(load) }
}

/// Everybody that this build knows, Tollgate first.
pub(crate) fn contestants<'a>(rules: &[Vec<Condition>], payments: &'a [Payment]) -> Vec<Contestant<'a>> {
    let all = vec![
        index(rules, payments),
        one_by_one(rules, payments),
        #[cfg(feature = "peers")]
        crate::peers::wirefilter(rules, payments),
        #[cfg(feature = "peers")]
        crate::peers::zen(rules, payments),
        #[cfg(feature = "peers")]
        crate::peers::cel_rust(rules, payments),
    ];
    all
}

fn index<'a>(rules: &[Vec<Condition>], payments: &'a [Payment]) -> Contestant<'a> {
    let index = ConditionIndex::new(&programs(rules));
    let mut scratch = IndexScratch::default();
    let run = move |payment: usize, matching: &mut Vec<u32>| {
        matching.extend_from_slice(index.matching(&TollgateFacts(&payments[payment]), &mut scratch));
    };
    Contestant { name: "tollgate", run: Box::new(run) }
}

/// The same compiled conditions, asked one after the other.
fn one_by_one<'a>(rules: &[Vec<Condition>], payments: &'a [Payment]) -> Contestant<'a> {
    let programs = programs(rules);
    let run = move |payment: usize, matching: &mut Vec<u32>| {
        let facts = TollgateFacts(&payments[payment]);
        matching
            .extend((0..).zip(&programs).filter(|(_, rule)| rule.matches(&facts)).map(|(number, _)| number));
    };
    Contestant { name: "tollgate one by one", run: Box::new(run) }
}
