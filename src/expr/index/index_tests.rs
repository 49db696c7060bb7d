//! An index says what each of its conditions says alone.

use proptest::prelude::*;

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::index::matcher::{ConditionIndex, IndexScratch};
use crate::expr::program::{Facts, Program};
use crate::expr::schema::{Schema, Slot};

const METADATA_SLOT: u32 = 100;
const NAMES: [(&str, ValueType); 8] = [
    ("i", ValueType::Int),
    ("j", ValueType::Int),
    ("d", ValueType::Double),
    ("e", ValueType::Double),
    ("s", ValueType::Text),
    ("t", ValueType::Text),
    ("b", ValueType::Bool),
    ("at", ValueType::Time),
];

fn schema() -> Schema {
    let mut schema = Schema::new(Slot(METADATA_SLOT));
    for (slot, (name, value_type)) in (0..).zip(NAMES) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    schema.set_lists(["odd", "none"]);
    schema
}

#[derive(Debug)]
struct Payment(Vec<Value<'static>>);

impl Facts for Payment {
    fn value(&self, slot: Slot) -> Value<'_> {
        let at = slot.0.checked_sub(METADATA_SLOT).map_or(slot.0, |key| key + 8);
        self.0.get(at as usize).copied().unwrap_or_default()
    }

    fn in_list(&self, list: usize, value: Value<'_>) -> bool {
        list == 0 && matches!(value, Value::Text("DE" | "a longer text") | Value::Int(1 | 3))
    }
}

fn payments() -> impl Strategy<Value = Payment> {
    let or_missing = |values: Vec<Value<'static>>| prop_oneof![1 => Just(Value::Missing), 4 => prop::sample::select(values)];
    let ints = [0, 1, 2, 3, 5, -1, i64::MIN, i64::MIN + 1, i64::MAX].map(Value::Int).to_vec();
    let doubles =
        [0.0, -0.0, 1.0, 2.5, 3.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324].map(Value::Double);
    let texts = ["DE", "US", "", "a longer text", "a longer one", "other"].map(Value::Text).to_vec();
    let times = ["2026-01-31T00:00:00Z", "2026-01-31T00:00:00.001Z", "2026-02-01T00:00:00Z"]
        .map(|time| Value::Time(EventTime::parse_rfc3339(time).unwrap()));
    let any = [ints.clone(), doubles.to_vec(), texts.clone(), vec![Value::Bool(true)]].concat();
    (
        (or_missing(ints.clone()), or_missing(ints)),
        (or_missing(doubles.to_vec()), or_missing(doubles.to_vec())),
        (or_missing(texts.clone()), or_missing(texts)),
        or_missing(vec![Value::Bool(true), Value::Bool(false)]),
        or_missing(times.to_vec()),
        or_missing(any),
    )
        .prop_map(|((i, j), (d, e), (s, t), b, at, m)| Payment(vec![i, j, d, e, s, t, b, at, m]))
}

fn leaves() -> impl Strategy<Value = String> {
    let comparison = || prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let whole = || {
        prop::sample::select(vec!["0", "1", "2", "3", "-1", "9223372036854775807", "-9223372036854775808"])
    };
    let number = || prop::sample::select(vec!["0.0", "1", "2.5", "3.0", "-1.0", "5e-324", "-0.0"]);
    let text = || prop::sample::select(vec!["'DE'", "'US'", "''", "'a longer text'", "'never'"]);
    let time = prop::sample::select(vec!["'2026-01-31T00:00:00.001Z'", "'2026-01-31T00:00:00.0005Z'"]);
    let fixed = [
        "b",
        "!b",
        "true",
        "false",
        "has(i)",
        "!has(d)",
        "has(metadata.m)",
        "metadata.m",
        "i == j",
        "d < e",
        "s == t",
        "s < 'US'",
        "in_list(s, 'odd')",
        "in_list(i, 'odd')",
        "in_list(t, 'none')",
        "s.startsWith('a')",
        "i + 1 > 2",
        "i / j == 1",
        "s.lowerAscii() == 'de'",
        "int(s) > 3",
        "b == true",
        "i > 1.5",
        "d in [1.0, 2.5]",
        "i in [1, 3]",
        "(b ? i : j) > 1",
        "(b ? s == 'DE' : d > 1.0)",
    ];
    prop_oneof![
        prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        (prop::sample::select(vec!["i", "j"]), comparison(), whole())
            .prop_map(|(x, c, k)| format!("{x} {c} {k}")),
        (prop::sample::select(vec!["i", "j"]), comparison(), whole())
            .prop_map(|(x, c, k)| format!("{k} {c} {x}")),
        (prop::sample::select(vec!["d", "e"]), comparison(), number())
            .prop_map(|(x, c, k)| format!("{x} {c} {k}")),
        (prop::sample::select(vec!["s", "t"]), text()).prop_map(|(x, k)| format!("{x} == {k}")),
        (prop::sample::select(vec!["s", "t"]), text()).prop_map(|(x, k)| format!("{x} != {k}")),
        (comparison(), time).prop_map(|(c, k)| format!("at {c} timestamp({k})")),
        (prop::sample::select(vec!["s", "t", "metadata.m"]), prop::collection::vec(text(), 1..4))
            .prop_map(|(x, texts)| format!("{x} in [{}]", texts.join(", "))),
        (comparison(), number()).prop_map(|(c, k)| format!("metadata.m {c} {k}")),
    ]
}

fn conditions() -> impl Strategy<Value = String> {
    leaves().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 2..5).prop_map(|parts| format!("({})", parts.join(" && "))),
            2 => prop::collection::vec(inner.clone(), 2..5).prop_map(|parts| format!("({})", parts.join(" || "))),
            1 => inner.clone().prop_map(|part| format!("!({part})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

proptest! {
    #[test]
    fn an_index_says_what_each_condition_says(
        sources in prop::collection::vec(conditions(), 1..24),
        payments in prop::collection::vec(payments(), 1..24),
    ) {
        let mut schema = schema();
        let compile = |source: &String| {
            Program::compile_condition(source, &mut schema).unwrap_or_else(|error| panic!("{}", error.render(source)))
        };
        let programs: Vec<Program> = sources.iter().map(compile).collect();
        let index = ConditionIndex::new(&programs);
        let mut scratch = IndexScratch::default();
        for payment in &payments {
            let alone: Vec<u32> =
                (0..).zip(&programs).filter(|(_, program)| program.matches(payment)).map(|(n, _)| n).collect();
            prop_assert_eq!(index.matching(payment, &mut scratch), alone, "{:?}", payment);
        }
    }
}

#[test]
fn choices_within_the_conditions_of_choices_are_soon_read() {
    let mut source = "i > 1".to_owned();
    for depth in 0..20 {
        source = format!("({source} ? j > {depth} : d > {depth}.5)");
    }
    let program =
        Program::compile_condition(&source, &mut schema()).unwrap_or_else(|error| panic!("{error}"));
    let programs = [program];
    let index = ConditionIndex::new(&programs);
    let payment = Payment(vec![Value::Int(5), Value::Int(19), Value::Double(3.0)]);
    let matching = index.matching(&payment, &mut IndexScratch::default()).len();
    assert_eq!(matching, usize::from(programs[0].matches(&payment)));
}

#[test]
fn an_index_of_nothing_matches_nothing() {
    let payment = Payment(Vec::new());
    assert!(ConditionIndex::new([]).matching(&payment, &mut IndexScratch::default()).is_empty());
}
