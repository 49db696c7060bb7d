//! The transaction, as `POST /v1/decisions` documents it. What is `None` was not sent: missing, never zero.

use crate::domain::ip::IpAddress;
use crate::domain::money::Money;
use crate::domain::text::{CountryCode, Id, Text, TransactionId};
use crate::domain::time::EventTime;

/// One payment attempt.
#[derive(Clone, PartialEq, Debug)]
pub struct Transaction {
    /// The gateway's id of it.
    pub id: TransactionId,
    /// When it happened.
    pub occurred_at: EventTime,
    /// How much.
    pub amount: Money,
    /// `ecommerce`, `pos`, `moto`, …
    pub channel: Option<Id>,
    /// Who pays.
    pub customer: Customer,
    /// With what.
    pub card: Card,
    /// To whom.
    pub merchant: Merchant,
    /// At which terminal.
    pub terminal_id: Option<Id>,
    /// From which device.
    pub device: Device,
    /// Where on earth.
    pub location: Option<Location>,
    /// Billed to.
    pub billing: Address,
    /// Shipped to.
    pub shipping: Address,
    /// How many items are bought.
    pub items_count: Option<u32>,
    /// The Electronic Commerce Indicator of 3-D Secure: two digits.
    pub three_ds_eci: Option<Text>,
    /// The shop's session.
    pub session_id: Option<Id>,
    /// The gateway's own fields, for rules.
    pub metadata: Metadata,
}

/// The paying customer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Customer {
    /// The merchant's or gateway's customer id.
    pub id: Option<Id>,
    /// A hash of the e-mail address.
    pub email_hash: Option<Id>,
    /// When the account was opened.
    pub account_created_at: Option<EventTime>,
}

/// The card: never its number.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Card {
    /// A stable token of the card.
    pub fingerprint: Option<Id>,
    /// The Bank Identification Number: the first six to eight digits.
    pub bin: Option<Text>,
    /// The last four digits.
    pub last4: Option<Text>,
    /// 1..=12.
    pub exp_month: Option<u8>,
    /// 2000..=2199.
    pub exp_year: Option<u16>,
    /// `credit`, `debit`, `prepaid`, …
    pub funding: Option<Id>,
    /// Where it was issued.
    pub issuer_country: Option<CountryCode>,
}

/// The merchant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Merchant {
    /// The gateway's merchant id.
    pub id: Option<Id>,
    /// ISO 18245 merchant category code: four digits.
    pub mcc: Option<Text>,
    /// Where the merchant is.
    pub country: Option<CountryCode>,
}

/// The device and its connection.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Device {
    /// A device fingerprint.
    pub id: Option<Id>,
    /// The address that it came from.
    pub ip: Option<IpAddress>,
    /// The browser's User-Agent.
    pub user_agent: Option<Text>,
}

/// A point on earth (WGS 84).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Location {
    /// Degrees, -90..=90.
    pub latitude: f64,
    /// Degrees, -180..=180.
    pub longitude: f64,
}

impl Location {
    /// The mean radius of the earth in kilometres (IUGG).
    const EARTH_RADIUS_KM: f64 = 6_371.008_8;

    /// The great-circle distance in kilometres (haversine formula), at least 0.
    pub fn distance_km(self, other: Self) -> f64 {
        let half_latitude = (other.latitude - self.latitude).to_radians() / 2.0;
        let half_longitude = (other.longitude - self.longitude).to_radians() / 2.0;
        let haversine = half_latitude.sin().powi(2)
            + self.latitude.to_radians().cos()
                * other.latitude.to_radians().cos()
                * half_longitude.sin().powi(2);
        2.0 * Self::EARTH_RADIUS_KM * haversine.min(1.0).sqrt().asin()
    }
}

/// A billing or shipping address, as far as risk needs it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Address {
    /// The country.
    pub country: Option<CountryCode>,
    /// The postal code.
    pub postal_code: Option<Id>,
}

/// The gateway's own fields, sorted by key, at most 64.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metadata(Vec<(Box<str>, MetadataValue)>);

/// One metadata value.
#[derive(Clone, PartialEq, Debug)]
pub enum MetadataValue {
    /// A text.
    Text(Text),
    /// A finite number.
    Number(f64),
    /// True or false.
    Bool(bool),
}

impl Metadata {
    /// Takes entries in any order; of two with one key the later stays.
    pub fn new(mut entries: Vec<(Box<str>, MetadataValue)>) -> Self {
        entries.reverse();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(entries)
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok().map(|position| &self.0[position].1)
    }

    /// All entries, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetadataValue)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a request changes state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Decides, counts and records.
    Live,
    /// Decides and explains only.
    DryRun,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_sorted_and_the_later_of_two_wins() {
        let entry = |key: &str, number| (key.into(), MetadataValue::Number(number));
        let metadata = Metadata::new(vec![entry("b", 1.0), entry("a", 2.0), entry("b", 3.0)]);
        assert_eq!(metadata.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(metadata.get("b"), Some(&MetadataValue::Number(3.0)));
        assert_eq!(metadata.get("c"), None);
    }

    #[test]
    fn berlin_to_new_york() {
        let berlin = Location { latitude: 52.52, longitude: 13.405 };
        let new_york = Location { latitude: 40.7128, longitude: -74.006 };
        assert!((berlin.distance_km(new_york) - 6_385.0).abs() < 5.0);
        assert!(berlin.distance_km(berlin).abs() < f64::EPSILON);
    }
}
