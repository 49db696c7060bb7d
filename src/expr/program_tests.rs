//! What expressions come to, as tables of facts; what is refused, and where; and that nothing panics.

use proptest::prelude::*;

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::error::ExprError;
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::{Schema, Slot};

const NAMES: [(&str, ValueType); 10] = [
    ("amount", ValueType::Double),
    ("score", ValueType::Double),
    ("card.count_5m", ValueType::Int),
    ("customer.id", ValueType::Text),
    ("device.ip_country", ValueType::Text),
    ("card.issuer_country", ValueType::Text),
    ("tx.is_night", ValueType::Bool),
    ("occurred_at", ValueType::Time),
    ("customer.account_created_at", ValueType::Time),
    ("zero", ValueType::Int),
];

fn schema() -> Schema {
    let mut schema = Schema::new(Slot(100));
    for (slot, (name, value_type)) in (0..).zip(NAMES) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    schema.set_lists(["trusted_customers", "blocked_amounts"]);
    schema
}

struct Known;

impl Facts for Known {
    fn value(&self, slot: Slot) -> Value<'_> {
        let time = |text| EventTime::parse_rfc3339(text).map_or(Value::Missing, Value::Time);
        match slot.0 {
            0 => Value::Double(120.5),
            2 => Value::Int(6),
            3 => Value::Text("c_7"),
            4 => Value::Text("MX"),
            6 => Value::Bool(true),
            7 => time("2026-07-01T23:30:00Z"),
            8 => time("2026-06-30T23:30:00Z"),
            9 => Value::Int(0),
            100 => Value::Text("spring"),
            101 => Value::Double(7.0),
            102 => Value::Bool(true),
            _ => Value::Missing,
        }
    }

    fn in_list(&self, list: usize, value: Value<'_>) -> bool {
        matches!((list, value), (0, Value::Text("c_7")) | (1, Value::Int(6)))
    }
}

/// `metadata.text`, `metadata.number` and `metadata.flag` get the slots 100, 101 and 102.
fn with_metadata() -> Schema {
    let mut schema = schema();
    for name in ["metadata.text", "metadata.number", "metadata.flag"] {
        schema.resolve(name).unwrap();
    }
    schema
}

fn eval(source: &str) -> Scalar<'static> {
    let program = Program::compile(source, &mut with_metadata()).unwrap_or_else(|error| {
        panic!("{source}: {}", error.render(source));
    });
    match program.eval(&Known) {
        Scalar::Text(text) => Scalar::Text(text.into_owned().into()),
        Scalar::Missing => Scalar::Missing,
        Scalar::Bool(flag) => Scalar::Bool(flag),
        Scalar::Int(number) => Scalar::Int(number),
        Scalar::Double(number) => Scalar::Double(number),
        Scalar::Time(time) => Scalar::Time(time),
        Scalar::Duration(duration) => Scalar::Duration(duration),
    }
}

#[test]
fn conditions() {
    let (yes, no, missing) = (Scalar::Bool(true), Scalar::Bool(false), Scalar::Missing);
    let cases = [
        // Values that are there.
        ("amount > 120", &yes),
        ("amount > 120.5", &no),
        ("120 < amount", &yes),
        ("card.count_5m >= 6", &yes),
        ("card.count_5m == 6.0", &yes),
        ("card.count_5m < 6.5", &yes),
        ("6.5 > card.count_5m", &yes),
        ("amount > card.count_5m", &yes),
        ("tx.is_night", &yes),
        ("!tx.is_night", &no),
        ("customer.id == 'c_7'", &yes),
        ("customer.id in ['a', 'c_7']", &yes),
        ("card.count_5m in [1, 2]", &no),
        ("amount in [120.5, 3]", &yes),
        ("in_list(customer.id, 'trusted_customers')", &yes),
        ("in_list(card.count_5m, 'blocked_amounts')", &yes),
        ("occurred_at > timestamp('2026-01-01T00:00:00Z')", &yes),
        ("occurred_at - customer.account_created_at == duration('24h')", &yes),
        ("occurred_at - customer.account_created_at < duration('1h')", &no),
        ("customer.id.startsWith('c_') && customer.id.endsWith('7') && customer.id.contains('_')", &yes),
        ("customer.id.matches('^c_[0-9]+$')", &yes),
        ("matches(customer.id, '^x')", &no),
        ("has(amount)", &yes),
        ("has(score)", &no),
        ("has ( device.ip_country )", &yes),
        // Missing is CEL's error.
        ("score > 0.5", &missing),
        ("!(score > 0.5)", &missing),
        ("score == score", &missing),
        ("score != 0.5", &missing),
        ("score > 0.5 && tx.is_night", &missing),
        ("tx.is_night && score > 0.5", &missing),
        ("score > 0.5 && !tx.is_night", &no),
        ("!tx.is_night && score > 0.5", &no),
        ("score > 0.5 || tx.is_night", &yes),
        ("tx.is_night || score > 0.5", &yes),
        ("score > 0.5 || !tx.is_night", &missing),
        ("!tx.is_night || false || score > 0.5", &missing),
        ("score > 0.5 ? true : true", &missing),
        ("has(score) ? score > 0.5 : true", &yes),
        ("has(score) && score > 0.5", &no),
        ("!has(card.issuer_country) || device.ip_country != card.issuer_country", &yes),
        ("card.issuer_country in ['US']", &missing),
        ("in_list(card.issuer_country, 'trusted_customers')", &missing),
        ("card.issuer_country.startsWith('U')", &missing),
        ("1 / zero == 1", &missing),
        ("card.count_5m % zero == 1", &missing),
        ("9223372036854775807 + card.count_5m > 0", &missing),
        ("-9223372036854775808 - card.count_5m < 0", &missing),
        ("int('x') == 1", &missing),
        ("amount / 0.0 > 1e300", &yes),
        // Metadata takes the type that its surroundings ask for.
        ("metadata.text == 'spring'", &yes),
        ("metadata['text'] == 'spring'", &yes),
        ("metadata.text == 1", &missing),
        ("metadata.number > 6", &yes),
        ("metadata.number == 7", &yes),
        ("metadata.number == '7'", &missing),
        ("metadata.number + 1.5 == 8.5", &yes),
        ("metadata.number > card.count_5m", &yes),
        ("metadata.flag && metadata.text in ['spring']", &yes),
        ("metadata.text && true", &missing),
        ("string(metadata.number) == '7'", &yes),
        ("double(metadata.text) == 1.0", &missing),
        ("int(metadata.number) % 2 == 1", &yes),
        ("has(metadata.text) && !has(metadata.nothing)", &yes),
        ("metadata.nothing == 'x'", &missing),
        ("metadata.text.startsWith('spr')", &yes),
    ];
    for (source, expected) in cases {
        assert_eq!(eval(source), *expected, "{source}");
        let condition = Program::compile_condition(source, &mut with_metadata()).unwrap();
        assert_eq!(condition.matches(&Known), *expected == yes, "{source}");
    }
}

#[test]
fn values_of_every_type() {
    let text = |text: &str| Scalar::Text(text.to_owned().into());
    let cases = [
        ("1 + 2 * 3", Scalar::Int(7)),
        ("-7 / 2", Scalar::Int(-3)),
        ("-7 % 3", Scalar::Int(-1)),
        ("amount * 2", Scalar::Double(241.0)),
        ("double(card.count_5m) * 1.5", Scalar::Double(9.0)),
        ("tx.is_night ? 1 : 2.5", Scalar::Double(1.0)),
        ("score > 0.5 ? 'a' : 'b'", Scalar::Missing),
        ("customer.id + '/' + device.ip_country", text("c_7/MX")),
        ("customer.id.upperAscii()", text("C_7")),
        ("size('äö') + 'x'.size()", Scalar::Int(3)),
        ("abs(-3) + math.abs(-4)", Scalar::Int(7)),
        ("math.round(2.5) + ceil(0.2) + floor(0.9)", Scalar::Double(4.0)),
        ("occurred_at.getHours()", Scalar::Int(23)),
        ("occurred_at.getHours('Europe/Berlin')", Scalar::Int(1)),
        ("occurred_at.getDate('+02:00')", Scalar::Int(2)),
        ("occurred_at.getMonth()", Scalar::Int(6)),
        ("occurred_at.getDayOfWeek()", Scalar::Int(3)),
        ("(occurred_at - customer.account_created_at).getHours()", Scalar::Int(24)),
        ("string(1.5) + string(2) + string(true) + string(duration('90m'))", text("1.52true5400s")),
        ("int(timestamp('1970-01-01T00:01:00Z'))", Scalar::Int(60)),
        ("int(2.9) + int('4')", Scalar::Int(6)),
    ];
    for (source, expected) in cases {
        assert_eq!(eval(source), expected, "{source}");
    }
}

#[test]
fn refusals_point_at_the_place_and_suggest() {
    let cases = [
        (
            "card.cuont_5m >= 6",
            "1:1: unknown name `card.cuont_5m`; did you mean `card.count_5m`?",
            "^^^^^^^^^^^^^",
        ),
        (
            "amount > 3\n  && custmer.id == 'x'",
            "2:6: unknown name `custmer.id`; did you mean `customer.id`?",
            "^^^^^^^^^^",
        ),
        ("amount > 'x'", "1:8: cannot compare double with string", "^"),
        (
            "card.count_5m * 1.5 > 3.0",
            "1:15: `*` does not mix int and double; write double(…) around the int",
            "^",
        ),
        ("amount && true", "1:8: `&&` needs a bool, not double", "^^"),
        ("card == 'x'", "1:1: `card` is a group of names, not a value", "^^^^"),
        ("amount = 3", "1:8: one `=` is no operator; write `==` to compare", "^"),
        ("amount > 3 and score > 1", "1:12: unknown name `and`; write `&&`", "^^^"),
        (
            "customer.id.startWith('c')",
            "1:13: function `startWith` is not part of the profile; did you mean `startsWith`?",
            "^^^^^^^^^",
        ),
        (
            "in_list(customer.id, 'trusted_customer')",
            "1:22: there is no list `trusted_customer`: add the file lists/trusted_customer.txt, which may be empty; did you mean `trusted_customers`?",
            "^^^^^^^^^^^^^^^^^^",
        ),
        ("customer.id.matches('(')", "1:21: is no usable regular expression: unclosed group", "^^^"),
        (
            "timestamp('yesterday') < occurred_at",
            "1:11: is no timestamp: write RFC 3339, such as 2026-01-31T12:00:00Z",
            "^^^^^^^^^^^",
        ),
        (
            "occurred_at.getHours('Mars')",
            "1:22: `Mars` is no time zone: write an IANA name, UTC, or an offset such as +02:00",
            "^^^^^^",
        ),
        (
            "[1, 2].exists(x, x > 1)",
            "1:14: macros such as exists() and map() are not part of the profile",
            "^",
        ),
        ("has(amount > 3)", "1:1: has() asks for a name, such as has(card.count_5m)", "^^^"),
        ("amount > null", "1:10: null is not part of the profile; ask with has()", "^^^^"),
        (
            "metadata.a == metadata.b",
            "1:12: two metadata values have no known type; say which with string() or double()",
            "^^",
        ),
        ("amount +", "1:9: ", "^"),
        ("(amount > 3", "1:12: ", "^"),
        ("amount > 3)", "1:11: ", "^"),
        ("'open", "1:1: unterminated string literal", "^"),
        ("", "1:1: is empty", "^"),
        ("amount > 5u", "1:10: unsigned literals", "^^"),
        ("true ? 1 : 'x'", "1:6: both results of `?:` must have one type; these are int and string", "^"),
    ];
    for (source, message, carets) in cases {
        let shown = match Program::compile(source, &mut schema()) {
            Ok(program) => panic!("{source} compiled to {program:?}"),
            Err(error) => error.render(source),
        };
        assert!(shown.starts_with(message), "{source}\n{shown}");
        assert!(shown.ends_with(carets), "{source}\n{shown}");
    }
    let not_bool = Program::compile_condition("amount + 1", &mut schema()).map(|_| ()).unwrap_err();
    assert_eq!(not_bool, ExprError::new(0..10, "must be bool, is double"));
}

#[test]
fn what_is_too_much_is_refused_and_nothing_overflows_the_stack() {
    let cases = [
        format!("{}true{}", "(".repeat(4_000), ")".repeat(4_000)),
        "(".repeat(8_000),
        format!("1{} > 0", " + 1".repeat(900)),
        format!("amount{} > 0", ".a".repeat(900)),
        format!("{}true", "!-".repeat(900)),
        format!("{}true", "true ? true : ".repeat(500)),
        format!("{}true", "true ? ".repeat(500)),
        format!("{}amount{}", "abs(".repeat(500), ")".repeat(500)),
        format!("amount{}", "[1".repeat(900)),
        format!("amount == {}", "x".repeat(9_000)),
        format!("amount in [{}1]", "1,".repeat(300)),
        "{".repeat(4_000),
        "[".repeat(4_000),
        "a.b(".repeat(400),
        "`a".repeat(100),
    ];
    for source in cases {
        let start: String = source.chars().take(24).collect();
        assert!(Program::compile(&source, &mut schema()).is_err(), "{start}…");
    }
    let wide = vec!["amount > 1"; 200].join(" && ");
    assert!(Program::compile_condition(&wide, &mut schema()).unwrap().matches(&Known));
}

#[test]
fn a_program_knows_what_it_reads_and_what_it_negates() {
    let source = "amount > 3 && !(score > 0.5 || amount > 9) && !has(customer.id) && has(device.ip_country) \
                  && !(device.ip_country == 'US')";
    let program = Program::compile(source, &mut schema()).unwrap();
    let reads: Vec<&str> = program.reads().iter().map(|read| &*read.name).collect();
    assert_eq!(reads, ["amount", "score", "customer.id", "device.ip_country"]);
    assert_eq!(program.unguarded_negations().collect::<Vec<_>>(), ["score", "amount"]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in "\\PC{0,60}") {
        let _ = Program::compile(&source, &mut schema()).map_err(|error| error.render(&source));
    }

    #[test]
    fn no_sequence_of_tokens_makes_it_panic(tokens in prop::collection::vec(prop::sample::select(vec![
        "amount", "score", "card.count_5m", "customer.id", "tx.is_night", "occurred_at", "metadata.x", "has(", "in_list(",
        "size(", "int(", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":", "&&", "||", "!", "-", "+", "*", "/", "%", "==",
        "!=", "<", ">=", "in", "1", "0", "2.5", "'a'", "'trusted_customers'", "true", "null", "ä", ".startsWith(",
        ".getHours()", "timestamp(", "duration(", "'1h'", "matches(", "\n", "//", "h__", "has",
    ]), 0..16)) {
        let source = tokens.join(" ");
        match Program::compile(&source, &mut schema()) {
            Ok(program) => {
                let _ = program.eval(&Known);
            }
            Err(error) => {
                prop_assert!(error.start <= source.len());
                let _ = error.render(&source);
            }
        }
    }

    /// Two-valued conditions agree with Rust's own operators, and missing absorbs as CEL's table says.
    #[test]
    fn logic_agrees_with_the_table(terms in prop::collection::vec(prop::sample::select(vec![Some(true), Some(false), None]), 1..6)) {
        let written: Vec<&str> = terms.iter().map(|term| match term {
            Some(true) => "tx.is_night",
            Some(false) => "!tx.is_night",
            None => "score > 1.0",
        }).collect();
        let table = |decisive: bool| if terms.contains(&Some(decisive)) {
            Scalar::Bool(decisive)
        } else if terms.contains(&None) {
            Scalar::Missing
        } else {
            Scalar::Bool(!decisive)
        };
        prop_assert_eq!(eval(&written.join(" && ")), table(false));
        prop_assert_eq!(eval(&written.join(" || ")), table(true));
    }
}
