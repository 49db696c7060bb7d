//! Mappings that are refused, with the place and the reason, and cells as the fields take them.

use serde_json::{Value, json};

use crate::domain::label::Verdict;
use crate::offline::binding::Binding;
use crate::offline::cell::Cell;
use crate::offline::mapping::Mapping;

const START: &str = "transaction_id: {column: id}\noccurred_at: {column: ts}\namount: {column: a, unit: major, currency: EUR}\n";

#[test]
fn the_contract_s_example_is_read() {
    let text = "
transaction_id: {column: tx_id}
occurred_at:    {column: ts, zone: UTC}
amount:         {column: amount, unit: major, currency: EUR}
customer.id:    {column: customer_id}
terminal.id:    {column: terminal_id}
metadata.category: {column: category}
label:          {column: is_fraud, fraud: [1], delay: 7d}
labels: {transaction_id: {column: tx_id}, occurred_at: {column: ts}, label: {column: label}}
";
    let mapping = Mapping::parse(text, "m.yaml").unwrap();
    assert_eq!(mapping.fields.len(), 6);
    assert_eq!(mapping.transaction_id_column(), Some("tx_id"));
    assert_eq!(mapping.label.unwrap().delay.as_secs(), 7 * 86_400);
    assert_eq!(mapping.labels.unwrap().fields.len(), 3);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cases = [
        (
            "customer.idd: {column: c}",
            "m.yaml:4:1: there is no field `customer.idd`; did you mean `customer.id`?",
        ),
        ("weather: {column: c}", "m.yaml:4:1: there is no field `weather`; there are transaction_id,"),
        ("amount.value: {column: c}", "m.yaml:4:1: there is no field `amount.value`; amounts are written"),
        ("customer.id: {colum: c}", "m.yaml:4:15: "),
        ("customer.id: [c]", "m.yaml:4:14: "),
        ("customer.id: {}", "m.yaml:4:14: needs either `column`"),
        ("customer.id: {column: c, value: v}", "m.yaml:4:14: needs either `column`"),
        ("customer.id: {column: c, zone: UTC}", "m.yaml:4:32: `zone` means nothing for `customer.id`"),
        ("customer.id: {column: c, currency: EUR}", "`currency` means nothing"),
        ("customer.id: {column: c, type: number}", "`type` means nothing"),
        ("metadata.x: {column: c, type: date}", "m.yaml:4:31: `type` is `string`, `number` or `bool`"),
        ("metadata.: {column: c}", "there is no field `metadata.`"),
        ("customer.account_created_at: {column: c, zone: Berlin}", "m.yaml:4:48: \"Berlin\" is no time zone"),
        ("customer.account_created_at: {column: c, unit: major}", "m.yaml:4:48: the `unit` of a time is"),
        ("label: {column: f, fraud: [1]}", "m.yaml:4:8: needs `delay`"),
        ("label: {column: f, fraud: [1], delay: soon}", "m.yaml:4:39: \"soon\" is not a length of time"),
        ("label: {column: f, legitimate: [0], delay: 7d}", "m.yaml:4:17: needs `fraud`"),
        ("label: {column: f, fraud: [1], delay: 7d, kind: rumour}", "m.yaml:4:49: `kind` is chargeback,"),
        ("labels: {transaction_id: {column: a}, occurred_at: {column: b}}", "label"),
        (
            "labels: {transaction_id: {column: a}, occurred_at: {column: b}, label: {column: c, delay: 7d}}",
            "m.yaml:4:91: a labels file says",
        ),
        ("customer.id: {column: c}\ncustomer.id: {column: d}", "duplicate"),
    ];
    for (line, expected) in cases {
        let error = Mapping::parse(&format!("{START}{line}\n"), "m.yaml").unwrap_err().to_string();
        assert!(error.contains(expected), "{line}\n  {error}\n  {expected}");
    }
    let amounts = [
        ("{column: a}", "needs `unit: major`"),
        ("{column: a, unit: major}", "needs `currency`"),
        ("{column: a, unit: s, currency: EUR}", "the `unit` of an amount"),
        ("{column: a, unit: major, currency: EURO}", "m.yaml:1:44: \"EURO\" is not an active"),
        ("{column: a, unit: major, currency: [EUR]}", "m.yaml:1:44: expected a currency code such as EUR"),
        ("{column: a, unit: major, currency: {colum: c}}", "m.yaml:1:44: must be a code such as EUR"),
    ];
    for (amount, expected) in amounts {
        let error = Mapping::parse(&format!("amount: {amount}\n"), "m.yaml").unwrap_err().to_string();
        assert!(error.contains(expected), "{amount}\n  {error}\n  {expected}");
    }
    assert!(
        Mapping::parse("amount: {column: a, unit: major, currency: EUR}", "m.yaml")
            .unwrap_err()
            .to_string()
            .contains("must say where `transaction_id` comes from")
    );
    for text in ["", "[]", "a: b", "- x", "\u{0}", "a: {column: &x [*x]}"] {
        assert!(Mapping::parse(text, "m.yaml").is_err(), "{text}");
    }
}

fn object(line: &str, cell: Cell) -> Result<Value, String> {
    let mapping = Mapping::parse(&format!("{START}{line}\n"), "m.yaml").unwrap();
    let binding = Binding::new(&mapping.fields[3..], None);
    binding.object(&[cell]).map_err(|problem| problem.reason)
}

#[test]
fn cells_become_fields() {
    let text = |text: &str| Cell::from_text(text);
    let cases = [
        ("customer.id: {column: c}", Cell::Int(596), json!({"customer": {"id": "596"}})),
        ("customer.id: {column: c}", Cell::Double(596.0), json!({"customer": {"id": "596"}})),
        ("customer.id: {column: c}", text("c 1"), json!({"customer": {"id": "c 1"}})),
        ("customer.id: {column: c}", Cell::Missing, json!({})),
        ("channel: {column: c}", text("pos"), json!({"channel": "pos"})),
        ("card.last4: {column: c}", Cell::Int(42), json!({"card": {"last4": "0042"}})),
        ("card.last4: {column: c}", text("42"), json!({"card": {"last4": "42"}})),
        ("card.bin: {column: c}", Cell::Int(60_404), json!({"card": {"bin": "060404"}})),
        ("merchant.mcc: {column: c}", Cell::Double(742.0), json!({"merchant": {"mcc": "0742"}})),
        ("card.exp_month: {column: c}", text(" 12 "), json!({"card": {"exp_month": 12}})),
        ("card.exp_month: {column: c}", Cell::Double(12.0), json!({"card": {"exp_month": 12}})),
        ("card.exp_month: {column: c}", text("12.5"), json!({"card": {"exp_month": "12.5"}})),
        ("location.latitude: {column: c}", text("52.52"), json!({"location": {"latitude": 52.52}})),
        ("location.latitude: {column: c}", Cell::Float(0.5), json!({"location": {"latitude": 0.5}})),
        ("metadata.a.b: {column: c}", text("x"), json!({"metadata": {"a.b": "x"}})),
        ("metadata.n: {column: c}", text("12"), json!({"metadata": {"n": "12"}})),
        ("metadata.n: {column: c, type: number}", text("12"), json!({"metadata": {"n": 12.0}})),
        ("metadata.n: {column: c}", Cell::Int(12), json!({"metadata": {"n": 12}})),
        ("metadata.n: {column: c, type: string}", Cell::Int(12), json!({"metadata": {"n": "12"}})),
        ("metadata.n: {column: c, type: bool}", text("True"), json!({"metadata": {"n": true}})),
        ("metadata.n: {column: c, type: bool}", Cell::Int(0), json!({"metadata": {"n": false}})),
        ("metadata.n: {column: c}", Cell::Instant(0), json!({"metadata": {"n": "1970-01-01T00:00:00.000Z"}})),
        (
            "customer.account_created_at: {column: c, unit: s}",
            Cell::Int(1),
            json!({"customer": {"account_created_at": "1970-01-01T00:00:01.000Z"}}),
        ),
    ];
    for (line, cell, expected) in cases {
        assert_eq!(object(line, cell.clone()), Ok(expected), "{line} {cell:?}");
    }
    let refused = [
        ("customer.id: {column: c}", Cell::Instant(0), "a timestamp is no text"),
        ("customer.id: {column: c}", Cell::Double(1e17), "a number\" is no text"),
        ("location.latitude: {column: c}", text("north"), "is no finite number"),
        ("location.latitude: {column: c}", text("inf"), "is no finite number"),
        ("metadata.n: {column: c, type: bool}", text("maybe"), "neither true nor false"),
    ];
    for (line, cell, expected) in refused {
        let error = object(line, cell.clone()).unwrap_err();
        assert!(error.contains(expected), "{line} {cell:?}: {error}");
    }
    let constant = Mapping::parse(&format!("{START}channel: {{value: pos}}\n"), "m.yaml").unwrap();
    let binding = Binding::new(&constant.fields[3..], None);
    assert_eq!(binding.object(&[]).unwrap(), json!({"channel": "pos"}));
}

#[test]
fn amounts_are_exact_or_refused() {
    let amount = |unit: &str, cell: Cell, currency: Cell| {
        let text = format!(
            "transaction_id: {{column: i}}\noccurred_at: {{column: t}}\namount: {{column: a, unit: {unit}, currency: {{column: c}}}}"
        );
        let mapping = Mapping::parse(&text, "m.yaml").unwrap();
        let object = Binding::new(&mapping.fields[2..], None).object(&[cell, currency]);
        object.map(|object| object["amount"]["value"].as_i64()).map_err(|problem| problem.reason)
    };
    let eur = || Cell::from_text("EUR");
    let cases = [
        ("major", Cell::from_text("57.16"), eur(), Ok(Some(5_716))),
        ("major", Cell::Double(57.16), eur(), Ok(Some(5_716))),
        ("major", Cell::Double(1.1), eur(), Ok(Some(110))),
        ("major", Cell::Double(100.0), eur(), Ok(Some(10_000))),
        ("major", Cell::Float(57.16), eur(), Ok(Some(5_716))),
        ("major", Cell::Number("57.160".into()), eur(), Ok(Some(5_716))),
        ("major", Cell::Int(57), eur(), Ok(Some(5_700))),
        ("major", Cell::Int(57), Cell::from_text("JPY"), Ok(Some(57))),
        ("major", Cell::Missing, eur(), Ok(None)),
        ("major", Cell::Double(0.1 + 0.2), eur(), Err("more decimal places")),
        ("major", Cell::from_text("1e3"), eur(), Err("not a decimal amount")),
        ("major", Cell::from_text("57,16"), eur(), Err("not a decimal amount")),
        ("major", Cell::from_text("4242424242424242x"), eur(), Err("is not a decimal amount")),
        ("major", Cell::from_text("-1"), eur(), Err("must not be negative")),
        ("major", Cell::from_text("1"), Cell::from_text("EURO"), Err("not an active ISO 4217")),
        ("major", Cell::from_text("1"), Cell::Missing, Err("has no currency")),
        ("minor", Cell::Int(5_716), eur(), Ok(Some(5_716))),
        ("minor", Cell::Double(5_716.0), eur(), Ok(Some(5_716))),
        ("minor", Cell::from_text("5716"), eur(), Ok(Some(5_716))),
        ("minor", Cell::from_text("57.16"), eur(), Err("no whole number of minor units")),
        ("minor", Cell::Bool(true), eur(), Err("is no amount")),
    ];
    for (unit, cell, currency, expected) in cases {
        match (amount(unit, cell.clone(), currency), expected) {
            (Err(actual), Err(expected)) => assert!(actual.contains(expected), "{unit} {cell:?}: {actual}"),
            (actual, expected) => assert_eq!(actual, expected.map_err(str::to_owned), "{unit} {cell:?}"),
        }
    }
}

#[test]
fn verdicts() {
    let verdict = |label: &str, cell: Cell| {
        let mapping =
            Mapping::parse(&format!("{START}label: {{column: f, delay: 7d, {label}}}\n"), "m.yaml").unwrap();
        Binding::new(&[], Some(&mapping.label.unwrap().verdict))
            .verdict(&[cell])
            .map_err(|problem| problem.reason)
    };
    let (fraud, legitimate) = (Ok(Some(Verdict::Fraud)), Ok(Some(Verdict::Legitimate)));
    let text = |text: &str| Cell::from_text(text);
    let cases = [
        ("fraud: [1]", Cell::Int(1), fraud.clone()),
        ("fraud: [1]", Cell::Int(0), legitimate.clone()),
        ("fraud: [1]", text("1.0"), fraud.clone()),
        ("fraud: [1]", Cell::Double(1.0), fraud.clone()),
        ("fraud: [1]", Cell::Missing, Ok(None)),
        ("fraud: [true]", text("True"), fraud.clone()),
        ("fraud: [true]", Cell::Bool(false), legitimate.clone()),
        ("fraud: [Y, suspected]", text("suspected"), fraud),
        ("fraud: [Y]", text("y"), legitimate.clone()),
        ("fraud: [1], legitimate: [0]", text("0"), legitimate),
        (
            "fraud: [1], legitimate: [0]",
            text("2"),
            Err("\"2\" means neither fraud (1) nor legitimate (0)".to_owned()),
        ),
    ];
    for (label, cell, expected) in cases {
        assert_eq!(verdict(label, cell.clone()), expected, "{label} {cell:?}");
    }
}
