//! A transaction in JSON, as the HTTP contract documents it: read with every wrong field named, and written canonically.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use smallvec::SmallVec;

use crate::domain::ip::IpAddress;
use crate::domain::limits::{
    AMOUNT_MINOR_MAX, ITEMS_COUNT_MAX, METADATA_ENTRIES_MAX, METADATA_KEY_BYTES_MAX,
};
use crate::domain::money::{Currency, Money};
use crate::domain::text::{CountryCode, Id, Text, TransactionId, parse_digits};
use crate::domain::time::EventTime;
use crate::domain::transaction::{
    Address, Card, Customer, Device, Location, Merchant, Metadata, MetadataValue, Mode, Transaction,
};
use crate::wire::pan;
use crate::wire::reader::{ObjectReader, escape};
use crate::wire::recorded;
use crate::wire::rejection::{FieldErrors, Rejection};

/// What `POST /v1/decisions` takes.
#[derive(Clone, PartialEq, Debug)]
pub struct DecisionRequest {
    /// The transaction to decide.
    pub transaction: Transaction,
    /// Whether to count and record it.
    pub mode: Mode,
    /// How many fields were sent that the contract does not know. They are ignored.
    pub unknown_fields: usize,
}

/// Reads a request from the bytes of a body.
pub fn parse_slice(body: &[u8]) -> Result<DecisionRequest, Rejection> {
    match recorded::of_request(body) {
        Some(request) => Ok(request),
        None => parse_value(&json_from_slice(body)?),
    }
}

/// Reads JSON, and says where it stops being any.
pub fn json_from_slice(body: &[u8]) -> Result<Value, Rejection> {
    serde_json::from_slice(body).map_err(|error| Rejection::NotJson(error.to_string()))
}

/// Reads a request from JSON that is already parsed.
pub fn parse_value(body: &Value) -> Result<DecisionRequest, Rejection> {
    let mut errors = FieldErrors::default();
    pan::reject_card_numbers(body, &mut errors);
    let mut reader = ObjectReader::of_body(body, &mut errors);
    let read = read_request(&mut reader);
    match read {
        Some(request) if errors.is_empty() => Ok(request),
        _ => Err(errors.into_rejection()),
    }
}

fn read_request(body: &mut ObjectReader<'_, '_>) -> Option<DecisionRequest> {
    let mut unknown = 0;
    body.require(&["transaction_id", "occurred_at"]);
    let id = body.text("transaction_id", TransactionId::parse);
    let occurred_at = body.time("occurred_at");
    let amount = read_amount(body, &mut unknown);
    let channel = body.text("channel", Id::parse);
    let customer = read_customer(body.object("customer", "/customer"), &mut unknown);
    let card = read_card(body.object("card", "/card"), &mut unknown);
    let merchant = read_merchant(body.object("merchant", "/merchant"), &mut unknown);
    let terminal_id = only(body.object("terminal", "/terminal"), &mut unknown, |it| it.text("id", Id::parse));
    let device = read_device(body.object("device", "/device"), &mut unknown);
    let location = read_location(body, &mut unknown);
    let billing = read_address(body.object("billing", "/billing"), &mut unknown);
    let shipping = read_address(body.object("shipping", "/shipping"), &mut unknown);
    let items_count = only(body.object("items", "/items"), &mut unknown, |it| {
        it.integer("count", 0..=ITEMS_COUNT_MAX).and_then(|count| u32::try_from(count).ok())
    });
    let three_ds_eci = only(body.object("three_ds", "/three_ds"), &mut unknown, |it| {
        it.text("eci", |text| parse_digits(text, 1..=2, "one or two digits"))
    });
    let session_id = only(body.object("session", "/session"), &mut unknown, |it| it.text("id", Id::parse));
    let metadata = read_metadata(body);
    let mode = body.text("mode", |text| match text {
        "live" => Ok(Mode::Live),
        "dry_run" => Ok(Mode::DryRun),
        _ => Err("must be \"live\" or \"dry_run\""),
    });
    let transaction = Transaction {
        id: id?,
        occurred_at: occurred_at?,
        amount: amount?,
        channel,
        customer,
        card,
        merchant,
        terminal_id,
        device,
        location,
        billing,
        shipping,
        items_count,
        three_ds_eci,
        session_id,
        metadata,
    };
    let unknown_fields = unknown + body.unknown_fields();
    Some(DecisionRequest { transaction, mode: mode.unwrap_or(Mode::Live), unknown_fields })
}

fn only<T>(
    mut object: ObjectReader<'_, '_>,
    unknown: &mut usize,
    read: impl FnOnce(&mut ObjectReader<'_, '_>) -> T,
) -> T {
    let value = read(&mut object);
    *unknown += object.unknown_fields();
    value
}

fn read_amount(body: &mut ObjectReader<'_, '_>, unknown: &mut usize) -> Option<Money> {
    if !body.has("amount") {
        body.reject("amount", "is required");
        return None;
    }
    only(body.object("amount", "/amount"), unknown, |amount| {
        if !amount.is_there() {
            return None;
        }
        amount.require(&["value", "currency"]);
        let value = amount.integer("value", 0..=AMOUNT_MINOR_MAX);
        let currency = amount.text("currency", Currency::parse);
        Money::from_minor(value?, currency?).ok()
    })
}

fn read_customer(customer: ObjectReader<'_, '_>, unknown: &mut usize) -> Customer {
    only(customer, unknown, |it| Customer {
        id: it.text("id", Id::parse),
        email_hash: it.text("email_hash", Id::parse),
        account_created_at: it.time("account_created_at"),
    })
}

fn read_card(card: ObjectReader<'_, '_>, unknown: &mut usize) -> Card {
    only(card, unknown, |it| Card {
        fingerprint: it.text("fingerprint", Id::parse),
        bin: it.text("bin", |text| parse_digits(text, 6..=8, "six to eight digits")),
        last4: it.text("last4", |text| parse_digits(text, 4..=4, "four digits")),
        exp_month: it.integer("exp_month", 1..=12).and_then(|month| u8::try_from(month).ok()),
        exp_year: it.integer("exp_year", 2000..=2199).and_then(|year| u16::try_from(year).ok()),
        funding: it.text("funding", Id::parse),
        issuer_country: it.text("issuer_country", CountryCode::parse),
    })
}

fn read_merchant(merchant: ObjectReader<'_, '_>, unknown: &mut usize) -> Merchant {
    only(merchant, unknown, |it| Merchant {
        id: it.text("id", Id::parse),
        mcc: it.text("mcc", |text| parse_digits(text, 4..=4, "four digits")),
        country: it.text("country", CountryCode::parse),
    })
}

fn read_device(device: ObjectReader<'_, '_>, unknown: &mut usize) -> Device {
    only(device, unknown, |it| Device {
        id: it.text("id", Id::parse),
        ip: it.text("ip", |text| IpAddress::parse(text).ok_or("must be an IPv4 or IPv6 address")),
        user_agent: it.text("user_agent", Text::parse),
    })
}

fn read_location(body: &mut ObjectReader<'_, '_>, unknown: &mut usize) -> Option<Location> {
    let was_sent = body.has("location");
    only(body.object("location", "/location"), unknown, |it| {
        let latitude = it.number("latitude", -90.0..=90.0);
        let longitude = it.number("longitude", -180.0..=180.0);
        if was_sent && it.has("latitude") != it.has("longitude") {
            it.reject(
                if it.has("latitude") { "longitude" } else { "latitude" },
                "is required beside its pair",
            );
        }
        Some(Location { latitude: latitude?, longitude: longitude? })
    })
}

fn read_address(address: ObjectReader<'_, '_>, unknown: &mut usize) -> Address {
    only(address, unknown, |it| Address {
        country: it.text("country", CountryCode::parse),
        postal_code: it.text("postal_code", Id::parse),
    })
}

fn read_metadata(body: &mut ObjectReader<'_, '_>) -> Metadata {
    let fields = match body.raw("metadata") {
        None => return Metadata::default(),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            body.reject("metadata", "must be an object");
            return Metadata::default();
        }
    };
    if fields.len() > METADATA_ENTRIES_MAX {
        body.reject(
            "metadata",
            format!("must have at most {METADATA_ENTRIES_MAX} entries, has {}", fields.len()),
        );
        return Metadata::default();
    }
    let mut entries = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        match read_metadata_entry(key, value) {
            Ok(Some(value)) => entries.push((key.as_str().into(), value)),
            Ok(None) => {}
            Err(detail) => {
                let shown: String = key.chars().take(METADATA_KEY_BYTES_MAX).collect();
                body.reject_at(format!("/metadata/{}", escape(&shown)), detail);
            }
        }
    }
    Metadata::new(entries)
}

pub(super) fn read_metadata_entry(key: &str, value: &Value) -> Result<Option<MetadataValue>, String> {
    if key.is_empty() || key.len() > METADATA_KEY_BYTES_MAX || key.chars().any(char::is_control) {
        return Err(format!("has a key that is not 1 to {METADATA_KEY_BYTES_MAX} printable bytes long"));
    }
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(MetadataValue::Bool(*flag))),
        Value::Number(number) => match number.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(MetadataValue::Number(number))),
            _ => Err("must be a finite number".to_owned()),
        },
        Value::String(text) => {
            Text::parse(text).map(|text| Some(MetadataValue::Text(text))).map_err(|error| error.to_string())
        }
        Value::Array(_) | Value::Object(_) => Err("must be a string, a number or a boolean".to_owned()),
    }
}

/// Writes a transaction canonically: the same transaction always gives the same bytes, and reading them gives it back.
#[derive(Debug)]
pub struct TransactionJson<'a>(pub &'a Transaction);

impl Serialize for TransactionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let t = self.0;
        let amount = Section::new()
            .with("value", Some(Scalar::Integer(t.amount.minor())))
            .with("currency", Some(Scalar::Text(t.amount.currency().code())));
        let customer = Section::new()
            .with("id", t.customer.id.as_ref().map(Scalar::id))
            .with("email_hash", t.customer.email_hash.as_ref().map(Scalar::id))
            .with("account_created_at", t.customer.account_created_at.map(Scalar::Time));
        let card = Section::new()
            .with("fingerprint", t.card.fingerprint.as_ref().map(Scalar::id))
            .with("bin", t.card.bin.as_ref().map(Scalar::text))
            .with("last4", t.card.last4.as_ref().map(Scalar::text))
            .with("exp_month", t.card.exp_month.map(|month| Scalar::Integer(month.into())))
            .with("exp_year", t.card.exp_year.map(|year| Scalar::Integer(year.into())))
            .with("funding", t.card.funding.as_ref().map(Scalar::id))
            .with("issuer_country", t.card.issuer_country.as_ref().map(Scalar::country));
        let merchant = Section::new()
            .with("id", t.merchant.id.as_ref().map(Scalar::id))
            .with("mcc", t.merchant.mcc.as_ref().map(Scalar::text))
            .with("country", t.merchant.country.as_ref().map(Scalar::country));
        let terminal = Section::new().with("id", t.terminal_id.as_ref().map(Scalar::id));
        let device = Section::new()
            .with("id", t.device.id.as_ref().map(Scalar::id))
            .with("ip", t.device.ip.as_ref().map(|ip| Scalar::Text(ip.as_str())))
            .with("user_agent", t.device.user_agent.as_ref().map(Scalar::text));
        let location = Section::new()
            .with("latitude", t.location.map(|at| Scalar::Number(at.latitude)))
            .with("longitude", t.location.map(|at| Scalar::Number(at.longitude)));
        let items = Section::new().with("count", t.items_count.map(|count| Scalar::Integer(count.into())));
        let three_ds = Section::new().with("eci", t.three_ds_eci.as_ref().map(Scalar::text));
        let session = Section::new().with("id", t.session_id.as_ref().map(Scalar::id));
        let mut metadata = Section::new();
        for (key, value) in t.metadata.iter() {
            metadata = metadata.with(key, Some(Scalar::metadata(value)));
        }

        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("transaction_id", &t.id)?;
        body.serialize_entry("occurred_at", &Scalar::Time(t.occurred_at))?;
        body.serialize_entry("amount", &amount)?;
        if let Some(channel) = &t.channel {
            body.serialize_entry("channel", channel)?;
        }
        let sections = [
            ("customer", customer),
            ("card", card),
            ("merchant", merchant),
            ("terminal", terminal),
            ("device", device),
            ("location", location),
            ("billing", address_section(&t.billing)),
            ("shipping", address_section(&t.shipping)),
            ("items", items),
            ("three_ds", three_ds),
            ("session", session),
            ("metadata", metadata),
        ];
        for (name, section) in sections.iter().filter(|(_, section)| !section.0.is_empty()) {
            body.serialize_entry(name, section)?;
        }
        body.end()
    }
}

fn address_section(address: &Address) -> Section<'_> {
    Section::new()
        .with("country", address.country.as_ref().map(Scalar::country))
        .with("postal_code", address.postal_code.as_ref().map(Scalar::id))
}

/// The fields of one nested object that are there, in the order of the contract.
struct Section<'a>(SmallVec<[(&'a str, Scalar<'a>); 8]>);

impl<'a> Section<'a> {
    fn new() -> Self {
        Self(SmallVec::new())
    }

    fn with(mut self, name: &'a str, value: Option<Scalar<'a>>) -> Self {
        if let Some(value) = value {
            self.0.push((name, value));
        }
        self
    }
}

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// One written value.
enum Scalar<'a> {
    Text(&'a str),
    Integer(i64),
    Number(f64),
    Bool(bool),
    Time(EventTime),
}

impl<'a> Scalar<'a> {
    fn id(id: &'a Id) -> Self {
        Self::Text(id.as_str())
    }

    fn text(text: &'a Text) -> Self {
        Self::Text(text.as_str())
    }

    fn country(country: &'a CountryCode) -> Self {
        Self::Text(country.as_str())
    }

    fn metadata(value: &'a MetadataValue) -> Self {
        match value {
            MetadataValue::Text(text) => Self::text(text),
            MetadataValue::Number(number) => Self::Number(*number),
            MetadataValue::Bool(flag) => Self::Bool(*flag),
        }
    }
}

impl Serialize for Scalar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Time(time) => serializer.collect_str(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> Value {
        json!({
            "transaction_id": "pay_9_1",
            "occurred_at": "2026-10-20T12:00:00.123Z",
            "amount": {"value": 12999, "currency": "EUR"},
            "channel": "ecommerce",
            "customer": {"id": "c_7", "email_hash": "ab12", "account_created_at": "2024-01-02T00:00:00.000Z"},
            "card": {"fingerprint": "fp_a1", "bin": "42424242", "last4": "4242", "exp_month": 12, "exp_year": 2029,
                     "funding": "credit", "issuer_country": "US"},
            "merchant": {"id": "m_1", "mcc": "5732", "country": "DE"},
            "terminal": {"id": "t_44"},
            "device": {"id": "d_3", "ip": "203.0.113.7", "user_agent": "Mozilla/5.0"},
            "location": {"latitude": 52.52, "longitude": 13.40},
            "billing": {"country": "US", "postal_code": "94107"},
            "shipping": {"country": "MX", "postal_code": "06600"},
            "items": {"count": 3},
            "three_ds": {"eci": "05"},
            "session": {"id": "s_1"},
            "metadata": {"campaign": "spring", "gift": true, "loyalty_points": 120.0},
        })
    }

    #[test]
    fn what_is_read_is_written_and_read_again() {
        let request = parse_value(&full()).unwrap();
        let written = serde_json::to_value(TransactionJson(&request.transaction)).unwrap();
        assert_eq!(written, full());
        assert_eq!(parse_value(&written).unwrap(), request);
        assert_eq!(request.unknown_fields, 0);
    }

    #[test]
    fn three_fields_are_enough_and_null_is_not_sent() {
        let body = json!({"transaction_id": "a", "occurred_at": "2026-10-20T12:00:00Z",
            "amount": {"value": 0, "currency": "JPY"}, "customer": null, "card": {"bin": null}, "new": 1, "items": {"x": 1}});
        let request = parse_value(&body).unwrap();
        assert_eq!(request.transaction.customer.id, None);
        assert_eq!(request.unknown_fields, 2);
        assert_eq!(request.mode, Mode::Live);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let body = json!({
            "transaction_id": "has space", "occurred_at": "yesterday", "amount": {"value": -1, "currency": "EURO"},
            "channel": 7, "card": {"bin": "12", "exp_month": 13, "issuer_country": "us"}, "device": {"ip": "999.1.1.1"},
            "location": {"latitude": 91}, "items": {"count": 1.5}, "metadata": {"a": [1], "b/c": {}}, "mode": "test",
            "merchant": "m_1",
        });
        let Err(Rejection::Invalid(errors)) = parse_value(&body) else { panic!("must be refused") };
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        for pointer in [
            "/transaction_id",
            "/occurred_at",
            "/amount/value",
            "/amount/currency",
            "/channel",
            "/card/bin",
            "/card/exp_month",
            "/card/issuer_country",
            "/device/ip",
            "/location/latitude",
            "/location/longitude",
            "/items/count",
            "/metadata/a",
            "/metadata/b~1c",
            "/mode",
            "/merchant",
        ] {
            assert!(pointers.contains(&pointer), "{pointer} is not in {pointers:?}");
        }
    }

    #[test]
    fn required_fields_are_named() {
        for (body, expected) in [
            (json!({}), vec!["/transaction_id", "/occurred_at", "/amount"]),
            (json!([]), vec!["", "/transaction_id", "/occurred_at", "/amount"]),
            (
                json!({"transaction_id": "a", "occurred_at": "2026-10-20T12:00:00Z", "amount": {}}),
                vec!["/amount/value", "/amount/currency"],
            ),
            (
                json!({"transaction_id": "a", "occurred_at": "2026-10-20T12:00:00Z", "amount": 12}),
                vec!["/amount"],
            ),
        ] {
            let Err(Rejection::Invalid(errors)) = parse_value(&body) else { panic!("must be refused") };
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{body}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_told_apart() {
        let deep = "[".repeat(10_000);
        for text in ["", "{", "nonsense", "{\"a\":1}}", &deep] {
            assert!(matches!(parse_slice(text.as_bytes()), Err(Rejection::NotJson(_))), "{text:.20}");
        }
    }
}
