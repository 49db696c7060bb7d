//! From a record to the values of its row. The only place of the room that reads a body.
//!
//! The record itself is in the row, whole. So a body that cannot be read, because it is sealed, erased or of a later version, leaves
//! columns empty and nothing else.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::archive::schema::{AMOUNT_PRECISION, AMOUNT_SCALE};
use crate::audit::frame::{Frame, Header, Kind};
use crate::domain::money::Currency;
use crate::domain::time::EventTime;

/// The value of one column.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// None.
    Null,
    /// A number, a decimal's digits, a moment.
    Int(i64),
    /// A single-precision number.
    Float(f32),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(Box<str>),
    /// Several texts.
    Texts(Vec<Box<str>>),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Cell {
    pub(crate) fn int(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }

    pub(crate) fn count(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(crate) fn float(value: Option<f32>) -> Self {
        value.map_or(Self::Null, Self::Float)
    }

    pub(crate) fn text(value: Option<&str>) -> Self {
        value.map_or(Self::Null, |text| Self::Text(text.into()))
    }

    pub(crate) fn texts<T>(values: Option<&[T]>, text: impl Fn(&T) -> &Box<str>) -> Self {
        values.map_or(Self::Null, |values| Self::Texts(values.iter().map(|it| text(it).clone()).collect()))
    }

    pub(crate) fn moment_ms(ms: i64) -> Self {
        ms.checked_mul(1_000).map_or(Self::Null, Self::Int)
    }

    pub(crate) fn moment(value: Option<&str>) -> Self {
        let moment = value.and_then(|text| EventTime::parse_rfc3339(text).ok());
        moment.map_or(Self::Null, |moment| Self::moment_ms(moment.unix_millis()))
    }
}

/// What the columns are taken from.
#[derive(Debug)]
pub struct Source<'a> {
    pub(crate) header: Header,
    pub(crate) segment: u64,
    pub(crate) frame: &'a [u8],
    pub(crate) body: Body,
    pub(crate) transaction: Transaction,
    pub(crate) label: Label,
}

/// The parts of a body that have columns, of whatever kind it is.
#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    pub(crate) decision_id: Option<Box<str>>,
    transaction_id: Option<Box<str>>,
    pub(crate) received_at_ms: Option<i64>,
    pub(crate) decision: Option<Box<str>>,
    pub(crate) reason: Option<Box<str>>,
    pub(crate) reasons: Option<Vec<Reason>>,
    hits: Option<Vec<Hit>>,
    pub(crate) score: Option<f32>,
    pub(crate) margin: Option<f32>,
    pub(crate) risk_level: Option<Box<str>>,
    pub(crate) degraded: Option<bool>,
    pub(crate) missing: Option<Vec<Box<str>>>,
    repeat: bool,
    pub(crate) policy: Option<Box<str>>,
    pub(crate) versions: Versions,
    pub(crate) latency_us: Latency,
    transaction: Option<Box<RawValue>>,
    label: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) code: Box<str>,
}

#[derive(Debug, Deserialize)]
struct Hit {
    rule: Box<str>,
    #[serde(default)]
    shadow: bool,
}

#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Versions {
    pub(crate) rules: Option<Box<str>>,
    pub(crate) model: Option<Box<str>>,
    pub(crate) features: Option<Box<str>>,
}

#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Latency {
    pub(crate) total: Option<i64>,
    pub(crate) enrich: Option<i64>,
}

/// What a transaction says of no person.
#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Transaction {
    occurred_at: Option<Box<str>>,
    pub(crate) amount: Amount,
    pub(crate) channel: Option<Box<str>>,
    pub(crate) merchant: Merchant,
}

#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Amount {
    pub(crate) value: Option<i64>,
    pub(crate) currency: Option<Box<str>>,
}

#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Merchant {
    pub(crate) id: Option<Box<str>>,
    pub(crate) mcc: Option<Box<str>>,
    pub(crate) country: Option<Box<str>>,
}

#[derive(Default, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Label {
    transaction_id: Option<Box<str>>,
    occurred_at: Option<Box<str>>,
    pub(crate) label: Option<Box<str>>,
    pub(crate) kind: Option<Box<str>>,
    pub(crate) reason_code: Option<Box<str>>,
}

fn part<T: Default + for<'de> Deserialize<'de>>(json: Option<&RawValue>) -> T {
    json.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default()
}

impl<'a> Source<'a> {
    /// Of a record whose bytes are `bytes`, in the segment that begins with that sequence.
    pub fn new(frame: &Frame<'_>, bytes: &'a [u8], segment: u64) -> Self {
        let has_columns = matches!(frame.header.kind, Kind::Decision | Kind::Label | Kind::PolicyChange);
        let body: Body = if has_columns {
            serde_json::from_slice(frame.body).unwrap_or_default()
        } else {
            Body::default()
        };
        // Of a label, the transaction is the one that it labels: its columns are those of the decision's row.
        let transaction = body.transaction.as_deref().filter(|_| frame.header.kind == Kind::Decision);
        Self {
            header: frame.header,
            segment,
            frame: bytes,
            transaction: part(transaction),
            label: part(body.label.as_deref()),
            body,
        }
    }

    pub(crate) fn transaction_id(&self) -> Option<&str> {
        self.body.transaction_id.as_deref().or(self.label.transaction_id.as_deref())
    }

    pub(crate) fn occurred_at(&self) -> Option<&str> {
        self.transaction.occurred_at.as_deref().or(self.label.occurred_at.as_deref())
    }

    pub(crate) fn amount(&self) -> Cell {
        let Amount { value: Some(minor), currency: Some(code) } = &self.transaction.amount else {
            return Cell::Null;
        };
        let Ok(currency) = Currency::parse(code) else { return Cell::Null };
        let per_minor = 10_i128.pow(AMOUNT_SCALE.unsigned_abs()) / i128::from(currency.minor_per_major());
        let digits = i128::from(*minor) * per_minor;
        let fits = digits.unsigned_abs() < 10_u128.pow(AMOUNT_PRECISION.unsigned_abs());
        i64::try_from(digits).ok().filter(|_| fits).map_or(Cell::Null, Cell::Int)
    }

    pub(crate) fn hits(&self, shadow: bool) -> Cell {
        let Some(hits) = &self.body.hits else { return Cell::Null };
        Cell::Texts(hits.iter().filter(|hit| hit.shadow == shadow).map(|hit| hit.rule.clone()).collect())
    }

    pub(crate) fn repeat(&self) -> Cell {
        if self.header.kind == Kind::Decision { Cell::Bool(self.body.repeat) } else { Cell::Null }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::schema::COLUMNS;
    use crate::audit::frame;
    use crate::audit::receipt::RecordHash;

    fn row(kind: Kind, body: &str) -> Vec<(&'static str, Cell)> {
        let header = Header {
            schema: 1,
            kind,
            sequence: 7,
            recorded_at: EventTime::from_unix_millis(1_792_497_600_123).unwrap(),
            previous_hash: RecordHash([9; 32]),
        };
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, &header, body.as_bytes()).unwrap();
        let frame = frame::decode(&bytes).unwrap();
        let source = Source::new(&frame, &bytes, 5);
        let cells = COLUMNS.iter().map(|column| (column.name, (column.value)(&source)));
        cells.filter(|(name, cell)| *cell != Cell::Null && *name != "frame").collect()
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    #[test]
    fn a_decision_gives_what_analysts_ask_for_and_nothing_about_a_person() {
        let body = r#"{"decision_id":"dec_1","transaction_id":"pay_1","decision":"BLOCK","reason":"velocity","reasons":[{"code":"velocity","source":"rule"}],
            "score":0.5,"risk_level":"high","challenge":null,"degraded":true,"missing":["profile"],"versions":{"rules":"r","model":null,"features":"f"},
            "received_at_ms":1792497600001,"hits":[{"rule":"a"},{"rule":"b","shadow":true}],"margin":-0.25,"policy":"p","latency_us":{"total":900,"enrich":3},
            "transaction":{"transaction_id":"pay_1","occurred_at":"2026-10-20T12:00:00.000Z","amount":{"value":1234,"currency":"EUR"},"channel":"pos",
            "customer":{"id":"SECRET","email_hash":"SECRET"},"card":{"fingerprint":"SECRET","bin":"SECRET","last4":"SECRET"},
            "merchant":{"id":"m1","mcc":"5411","country":"DE"},"device":{"id":"SECRET","ip":"SECRET"},"session":{"id":"SECRET"},"metadata":{"a":"SECRET"}}}"#;
        let row = row(Kind::Decision, body);
        assert!(!format!("{row:?}").contains("SECRET"), "{row:?}");
        let cell = |name| row.iter().find(|(it, _)| *it == name).map(|(_, cell)| cell.clone());
        for (name, expected) in [
            ("sequence", Cell::Int(7)),
            ("recorded_at", Cell::Int(1_792_497_600_123_000)),
            ("kind", text("decision")),
            ("segment", Cell::Int(5)),
            ("transaction_id", text("pay_1")),
            ("amount", Cell::Int(123_400)),
            ("amount_minor", Cell::Int(1_234)),
            ("reasons", Cell::Texts(vec!["velocity".into()])),
            ("rules", Cell::Texts(vec!["a".into()])),
            ("shadow_rules", Cell::Texts(vec!["b".into()])),
            ("score", Cell::Float(0.5)),
            ("repeat", Cell::Bool(false)),
            ("merchant_mcc", text("5411")),
            ("total_us", Cell::Int(900)),
        ] {
            assert_eq!(cell(name), Some(expected), "{name}");
        }
        assert_eq!(cell("model_version"), None);
    }

    #[test]
    fn a_label_gives_its_own_columns_and_not_those_of_what_it_labels() {
        let body = r#"{"label":{"transaction_id":"pay_1","label":"fraud","kind":"chargeback","occurred_at":"2026-10-27T12:00:00.000Z","reason_code":"10.4"},
            "transaction":{"amount":{"value":1,"currency":"EUR"}}}"#;
        let row = row(Kind::Label, body);
        let names: Vec<_> = row.iter().map(|(name, _)| *name).collect();
        let common =
            ["sequence", "recorded_at", "kind", "schema", "segment", "transaction_id", "occurred_at"];
        assert_eq!(names, [&common[..], &["label", "label_kind", "label_reason_code"]].concat());
    }

    #[test]
    fn a_body_that_cannot_be_read_leaves_columns_empty() {
        for (kind, body) in [
            (Kind::Decision, "sealed"),
            (Kind::Decision, r#"{"transaction":"sealed"}"#),
            (Kind::ListChange, r#"{"reason":"x","decision":"y"}"#),
        ] {
            let names: Vec<_> = row(kind, body).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names[..5], ["sequence", "recorded_at", "kind", "schema", "segment"]);
            assert!(names[5..].iter().all(|name| *name == "repeat"), "{names:?}");
        }
    }

    #[test]
    fn an_amount_that_no_decimal_holds_is_left_to_the_minor_units() {
        let of = |minor: i64, currency: &str| {
            let body =
                format!(r#"{{"transaction":{{"amount":{{"value":{minor},"currency":"{currency}"}}}}}}"#);
            row(Kind::Decision, &body).into_iter().find(|(name, _)| *name == "amount").map(|(_, cell)| cell)
        };
        assert_eq!(of(5, "JPY"), Some(Cell::Int(50_000)));
        assert_eq!(of(5, "CLF"), Some(Cell::Int(5)));
        assert_eq!(of(5, "BHD"), Some(Cell::Int(50)));
        assert_eq!(of(1_000_000_000_000_000, "EUR"), Some(Cell::Int(100_000_000_000_000_000)));
        assert_eq!(of(1_000_000_000_000_000, "JPY"), None);
        assert_eq!(of(5, "ZZZ"), None);
    }
}
