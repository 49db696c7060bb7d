//! Reads a transaction without a tree of JSON in between: as records hold it, written canonically by
//! [`TransactionJson`](crate::wire::transaction::TransactionJson) after every check at the door, and as most requests bring it. What is
//! not like that is left to the door, which finds everything that is wrong and names it.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::domain::ip::IpAddress;
use crate::domain::limits::{ITEMS_COUNT_MAX, METADATA_ENTRIES_MAX};
use crate::domain::money::{Currency, Money};
use crate::domain::text::{CountryCode, Id, Text, TransactionId, parse_digits};
use crate::domain::time::EventTime;
use crate::domain::transaction::{
    Address, Card, Customer, Device, Location, Merchant, Metadata, Mode, Transaction,
};
use crate::wire::pan::{contains_pan, is_pan_number};
use crate::wire::rejection::Rejection;
use crate::wire::transaction::{DecisionRequest, parse_slice, read_metadata_entry};

/// Reads a transaction of a record.
pub fn parse(body: &[u8]) -> Result<Transaction, Rejection> {
    let written: Option<TransactionText<'_>> = serde_json::from_slice(body).ok();
    match written.filter(|written| written.mode.is_none()).and_then(|written| written.read()) {
        Some(transaction) => Ok(transaction),
        None => Ok(parse_slice(body)?.transaction),
    }
}

/// Reads a request, if all of it is right, known and plain: without a field more, an escape, or anything that looks like a card number
/// wherever it may stand.
pub(super) fn of_request(body: &[u8]) -> Option<DecisionRequest> {
    let body = std::str::from_utf8(body).ok()?;
    if memchr(b'\\', body.as_bytes()).is_some() || contains_pan(body) {
        return None;
    }
    let text: TransactionText<'_> = serde_json::from_str(body).ok()?;
    let mode = match text.mode.as_ref().map(|mode| &*mode.0) {
        None | Some("live") => Mode::Live,
        Some("dry_run") => Mode::DryRun,
        Some(_) => return None,
    };
    let metadata = text.metadata.iter().flatten();
    let mut numbers = metadata.clone().filter_map(|(_, value)| value.as_f64());
    if metadata.count() > METADATA_ENTRIES_MAX || numbers.any(is_pan_number) {
        return None;
    }
    Some(DecisionRequest { transaction: text.read()?, mode, unknown_fields: 0 })
}

/// A text, borrowed where it has no escapes.
#[derive(Debug)]
struct Words<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Words<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Words<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Words(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Words(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(AnyText)
    }
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct TransactionText<'a> {
    #[serde(borrow)]
    transaction_id: Words<'a>,
    occurred_at: Words<'a>,
    amount: AmountText<'a>,
    channel: Option<Words<'a>>,
    #[serde(default)]
    customer: CustomerText<'a>,
    #[serde(default)]
    card: CardText<'a>,
    #[serde(default)]
    merchant: MerchantText<'a>,
    #[serde(default)]
    terminal: IdText<'a>,
    #[serde(default)]
    device: DeviceText<'a>,
    location: Option<LocationNumbers>,
    #[serde(default)]
    billing: AddressText<'a>,
    #[serde(default)]
    shipping: AddressText<'a>,
    #[serde(default)]
    items: Items,
    #[serde(default)]
    three_ds: ThreeDsText<'a>,
    #[serde(default)]
    session: IdText<'a>,
    metadata: Option<Map<String, Value>>,
    mode: Option<Words<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct AmountText<'a> {
    value: i64,
    #[serde(borrow)]
    currency: Words<'a>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct CustomerText<'a> {
    #[serde(borrow)]
    id: Option<Words<'a>>,
    email_hash: Option<Words<'a>>,
    account_created_at: Option<Words<'a>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct CardText<'a> {
    #[serde(borrow)]
    fingerprint: Option<Words<'a>>,
    bin: Option<Words<'a>>,
    last4: Option<Words<'a>>,
    exp_month: Option<u8>,
    exp_year: Option<u16>,
    funding: Option<Words<'a>>,
    issuer_country: Option<Words<'a>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct MerchantText<'a> {
    #[serde(borrow)]
    id: Option<Words<'a>>,
    mcc: Option<Words<'a>>,
    country: Option<Words<'a>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct DeviceText<'a> {
    #[serde(borrow)]
    id: Option<Words<'a>>,
    ip: Option<Words<'a>>,
    user_agent: Option<Words<'a>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct AddressText<'a> {
    #[serde(borrow)]
    country: Option<Words<'a>>,
    postal_code: Option<Words<'a>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct IdText<'a> {
    #[serde(borrow)]
    id: Option<Words<'a>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct ThreeDsText<'a> {
    #[serde(borrow)]
    eci: Option<Words<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct LocationNumbers {
    latitude: f64,
    longitude: f64,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct Items {
    count: Option<u32>,
}

/// A field that may be absent: `None` when it is there and not what it should be.
fn read<T, E>(text: Option<&Words<'_>>, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<Option<T>> {
    text.map(|words| parse(&words.0)).transpose().ok()
}

impl TransactionText<'_> {
    /// The transaction, if every field is as it was checked at the door.
    fn read(&self) -> Option<Transaction> {
        let Self { customer, card, merchant, device, billing, shipping, .. } = self;
        let id = |text: &Option<Words<'_>>| read(text.as_ref(), Id::parse);
        let country = |text: &Option<Words<'_>>| read(text.as_ref(), CountryCode::parse);
        let address = |text: &AddressText<'_>| {
            Some(Address { country: country(&text.country)?, postal_code: id(&text.postal_code)? })
        };
        let digits =
            |text: &Option<Words<'_>>, range| read(text.as_ref(), |text| parse_digits(text, range, "digits"));
        let in_range = |number: Option<u16>, min, max| number.is_none_or(|it| (min..=max).contains(&it));
        let has_items = self.items.count.is_none_or(|count| i64::from(count) <= ITEMS_COUNT_MAX);
        if !in_range(card.exp_month.map(u16::from), 1, 12)
            || !in_range(card.exp_year, 2000, 2199)
            || !has_items
        {
            return None;
        }
        let location =
            self.location.as_ref().map(|it| Location { latitude: it.latitude, longitude: it.longitude });
        if location.is_some_and(|it| it.latitude.abs() > 90.0 || it.longitude.abs() > 180.0) {
            return None;
        }
        let mut metadata = Vec::new();
        for (key, value) in self.metadata.iter().flatten() {
            metadata.push((key.as_str().into(), read_metadata_entry(key, value).ok()??));
        }
        Some(Transaction {
            id: TransactionId::parse(&self.transaction_id.0).ok()?,
            occurred_at: EventTime::parse_rfc3339(&self.occurred_at.0).ok()?,
            amount: Money::from_minor(self.amount.value, Currency::parse(&self.amount.currency.0).ok()?)
                .ok()?,
            channel: id(&self.channel)?,
            customer: Customer {
                id: id(&customer.id)?,
                email_hash: id(&customer.email_hash)?,
                account_created_at: read(customer.account_created_at.as_ref(), EventTime::parse_rfc3339)?,
            },
            card: Card {
                fingerprint: id(&card.fingerprint)?,
                bin: digits(&card.bin, 6..=8)?,
                last4: digits(&card.last4, 4..=4)?,
                exp_month: card.exp_month,
                exp_year: card.exp_year,
                funding: id(&card.funding)?,
                issuer_country: country(&card.issuer_country)?,
            },
            merchant: Merchant {
                id: id(&merchant.id)?,
                mcc: digits(&merchant.mcc, 4..=4)?,
                country: country(&merchant.country)?,
            },
            terminal_id: id(&self.terminal.id)?,
            device: Device {
                id: id(&device.id)?,
                ip: read(device.ip.as_ref(), |text| IpAddress::parse(text).ok_or(()))?,
                user_agent: read(device.user_agent.as_ref(), Text::parse)?,
            },
            location,
            billing: address(billing)?,
            shipping: address(shipping)?,
            items_count: self.items.count,
            three_ds_eci: digits(&self.three_ds.eci, 1..=2)?,
            session_id: id(&self.session.id)?,
            metadata: Metadata::new(metadata),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::transaction::TransactionJson;

    fn full() -> Value {
        json!({
            "transaction_id": "pay_1", "occurred_at": "2026-03-01T10:00:00.123Z",
            "amount": {"value": 12_999, "currency": "EUR"}, "channel": "ecommerce",
            "customer": {"id": "c \"7\"", "email_hash": "h", "account_created_at": "2020-01-01T00:00:00.000Z"},
            "card": {"fingerprint": "fp", "bin": "424242", "last4": "4242", "exp_month": 12, "exp_year": 2031, "funding": "credit",
                "issuer_country": "DE"},
            "merchant": {"id": "m", "mcc": "5732", "country": "NO"}, "terminal": {"id": "t"},
            "device": {"id": "d", "ip": "2001:db8::1", "user_agent": "A/1.0 (ö)"},
            "location": {"latitude": -33.5, "longitude": 151.25},
            "billing": {"country": "DE", "postal_code": "10117"}, "shipping": {"country": "SE", "postal_code": "1"},
            "items": {"count": 3}, "three_ds": {"eci": "05"}, "session": {"id": "s"},
            "metadata": {"a": "x", "b": 1.5, "c": true, "d": 7},
        })
    }

    #[test]
    fn a_record_gives_the_transaction_that_a_request_gives() {
        // All of it, and without each part that may be absent.
        let parts: Vec<String> = full().as_object().unwrap().keys().cloned().collect();
        let required = ["transaction_id", "occurred_at", "amount"];
        let absent = parts.iter().filter(|part| !required.contains(&part.as_str())).map(Some);
        for part in absent.chain([None]) {
            let mut body = full();
            if let Some(part) = part {
                body.as_object_mut().unwrap().remove(part);
            }
            let written = parse_slice(body.to_string().as_bytes()).unwrap().transaction;
            let canonical = serde_json::to_string(&TransactionJson(&written)).unwrap();
            let text: TransactionText<'_> = serde_json::from_str(&canonical).unwrap();
            assert_eq!(text.read(), Some(written), "without {part:?}, and without reading it a second time");
        }
    }

    /// What is read without the door is what the door would have read, and what the door refuses is left to it.
    #[test]
    fn a_request_that_is_read_at_once_is_the_one_of_the_door() {
        type Change = (&'static str, bool, fn(&mut Value));
        let changes: [Change; 20] = [
            ("nothing", false, |_| {}), // an escape in the customer's id
            ("no escape", true, |body| body["customer"]["id"] = json!("c 7")),
            ("live", true, |body| body["mode"] = json!("live")),
            ("dry run", true, |body| body["mode"] = json!("dry_run")),
            ("no mode", true, |body| body["mode"] = json!(null)),
            ("another mode", false, |body| body["mode"] = json!("test")),
            ("a mode that is none", false, |body| body["mode"] = json!(1)),
            ("a field more", false, |body| body["more"] = json!(1)),
            ("a field more inside", false, |body| body["card"]["more"] = json!(1)),
            ("a card number", false, |body| body["metadata"]["a"] = json!("4242 4242 4242 4242")),
            ("one as a number", false, |body| body["metadata"]["a"] = json!(4_242_424_242_424_242_u64)),
            ("one as a decimal", false, |body| body["metadata"]["a"] = json!(4.242_424_242_424_242e15)),
            ("one as a name", false, |body| body["metadata"]["5555555555554444"] = json!(1)),
            ("an amount like one", false, |body| {
                body["amount"]["value"] = json!(424_242_424_242_i64 * 10_000)
            }),
            ("a fraction", false, |body| body["amount"]["value"] = json!(1.5)),
            ("no amount", false, |body| body["amount"] = json!(null)),
            ("much metadata", false, |body| {
                for number in 0..=METADATA_ENTRIES_MAX {
                    body["metadata"][format!("k{number}")] = json!(number);
                }
            }),
            ("a list in metadata", false, |body| body["metadata"]["a"] = json!([])),
            ("a long text", false, |body| body["channel"] = json!("x".repeat(1_000))),
            ("no metadata", true, |body| body["metadata"] = json!(null)),
        ];
        for (what, is_read, change) in changes {
            let mut body = full();
            if what != "nothing" {
                body["customer"]["id"] = json!("c 7");
            }
            change(&mut body);
            let text = body.to_string();
            let read = of_request(text.as_bytes());
            assert_eq!(read.is_some(), is_read, "{what}");
            let door = crate::wire::transaction::parse_value(&body);
            if let Some(read) = read {
                assert_eq!(Ok(read), door.map_err(|error| error.to_string()), "{what}");
            }
        }
        let twice = full().to_string().replace("c \\\"7\\\"", "c").replacen('{', "{\"channel\":\"pos\",", 1);
        assert_eq!(of_request(twice.as_bytes()), None, "a field twice");
    }

    /// Where a record is not written as this program writes one, the answer is the one of the door.
    #[test]
    fn what_is_written_otherwise_is_read_as_a_request_is() {
        type Change = (&'static str, fn(&mut Value));
        let changes: [Change; 9] = [
            ("a field more", |body| body["more"] = json!(1)),
            ("a null", |body| body["channel"] = json!(null)),
            ("a null section", |body| body["card"] = json!(null)),
            ("a wrong month", |body| body["card"]["exp_month"] = json!(13)),
            ("a wrong place", |body| body["location"]["latitude"] = json!(91)),
            ("half a place", |body| body["location"] = json!({"latitude": 1})),
            ("no amount", |body| body["amount"] = json!(null)),
            ("a negative amount", |body| body["amount"]["value"] = json!(-1)),
            ("a null in metadata", |body| body["metadata"]["n"] = json!(null)),
        ];
        for (what, change) in changes {
            let mut body = full();
            change(&mut body);
            let text = body.to_string();
            let door = parse_slice(text.as_bytes()).map(|request| request.transaction);
            let recorded = parse(text.as_bytes());
            assert_eq!(format!("{recorded:?}"), format!("{door:?}"), "{what}");
        }
    }
}
