//! A planned transaction, small and without text, and its rendering into the domain's types.
//!
//! Every transaction, whoever plans it, is rendered here: nothing but its contents tells a fraudulent one from another.

use std::net::IpAddr;

use crate::domain::ip::IpAddress;
use crate::domain::money::{Currency, Money};
use crate::domain::text::{CountryCode, Id, Text, TransactionId, parse_digits};
use crate::domain::time::EventTime;
use crate::domain::transaction::{self, Location, Metadata, MetadataValue, Transaction};
use crate::simulate::cast;
use crate::simulate::catalogue::{CAMPAIGNS, CATEGORIES, COUNTRIES, USER_AGENTS};
use crate::simulate::draw::mix;
use crate::simulate::simulation::Scenario;
use crate::simulate::world::{Account, Card, Device, FUNDINGS, Place, Point, World};

/// How the card is presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    Ecommerce,
    Pos,
    Moto,
}

/// One transaction before it is rendered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Planned {
    pub(crate) at_ms: i64,
    /// Minor units of the merchant's currency, above 0.
    pub(crate) minor: i64,
    pub(crate) channel: Channel,
    /// Position in the world's customers of who it is or pretends to be, for `fraud` and `friendly`; never rendered.
    pub(crate) customer: Option<u32>,
    pub(crate) account: Option<Account>,
    pub(crate) card: Card,
    pub(crate) merchant: u32,
    pub(crate) terminal: Option<u32>,
    pub(crate) device: Option<Device>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) at: Option<Point>,
    pub(crate) billing: Option<Place>,
    pub(crate) shipping: Option<Place>,
    pub(crate) items: Option<u32>,
    pub(crate) eci: Option<&'static str>,
    pub(crate) session: Option<u64>,
    pub(crate) campaign: Option<u8>,
    pub(crate) gift: Option<bool>,
    pub(crate) truth: Option<Scenario>,
}

fn id(text: &str) -> Option<Id> {
    Id::parse(text).ok()
}

/// Twelve hexadecimal digits: too few to be taken for a card number even when they are all decimal.
fn token(prefix: &str, key: u64) -> Option<Id> {
    id(&format!("{prefix}{:012x}", mix(key) >> 16))
}

fn country(position: u8) -> Option<CountryCode> {
    CountryCode::parse(COUNTRIES[usize::from(position)].code).ok()
}

fn address(place: Option<Place>) -> transaction::Address {
    place.map_or_else(transaction::Address::default, |place| transaction::Address {
        country: country(place.country),
        postal_code: id(&place.postal.to_string()),
    })
}

/// A coordinate with the four decimal places that gateways send.
fn four_places(degrees: f64) -> f64 {
    (degrees * 10_000.0).round() / 10_000.0
}

impl Planned {
    /// The transaction, as the `number`-th of the simulation.
    #[expect(clippy::expect_used, reason = "the texts are built here and the tables are tested")]
    pub(crate) fn render(&self, number: u64, world: &World) -> Transaction {
        let merchant = &world.merchants[self.merchant as usize];
        let currency = COUNTRIES[usize::from(merchant.currency)].currency;
        let currency = Currency::parse(currency).expect("the table of countries names ISO 4217 currencies");
        let card = &self.card;
        Transaction {
            id: TransactionId::parse(&format!("sim_{number}")).expect("visible ASCII of 5 to 24 bytes"),
            occurred_at: EventTime::from_unix_millis(self.at_ms).expect("the period is checked at the start"),
            amount: Money::from_minor(self.minor.max(1), currency).expect("amounts are capped when planned"),
            channel: id(match self.channel {
                Channel::Ecommerce => "ecommerce",
                Channel::Pos => "pos",
                Channel::Moto => "moto",
            }),
            customer: self.account.map_or_else(transaction::Customer::default, |account| {
                transaction::Customer {
                    id: id(&format!("c_{}", account.number)),
                    email_hash: token("e_", account.number ^ 0x5eed_0e3a_11ad_d2e5),
                    account_created_at: EventTime::from_unix_millis(account.created_ms).ok(),
                }
            }),
            card: transaction::Card {
                fingerprint: token("fp_", card.key),
                bin: parse_digits(&card.bin.to_string(), 6..=8, "six to eight digits").ok(),
                last4: parse_digits(&format!("{:04}", card.last4), 4..=4, "four digits").ok(),
                exp_month: Some(card.exp_month),
                exp_year: Some(card.exp_year),
                funding: id(FUNDINGS[usize::from(card.funding)]),
                issuer_country: country(card.country),
            },
            merchant: transaction::Merchant {
                id: id(&format!("m_{}", self.merchant + 1)),
                mcc: parse_digits(CATEGORIES[usize::from(merchant.category)].mcc, 4..=4, "four digits").ok(),
                country: country(merchant.country),
            },
            terminal_id: self.terminal.and_then(|terminal| id(&format!("t_{}", terminal + 1))),
            device: transaction::Device {
                id: self.device.and_then(|device| token("d_", device.key)),
                ip: self.ip.and_then(|ip| IpAddress::parse(&ip.to_string())),
                user_agent: self
                    .device
                    .and_then(|device| Text::parse(USER_AGENTS[usize::from(device.agent)].0).ok()),
            },
            location: self.at.map(|at| Location {
                latitude: four_places(at.latitude.clamp(-90.0, 90.0)),
                longitude: four_places(at.longitude.clamp(-180.0, 180.0)),
            }),
            billing: address(self.billing),
            shipping: address(self.shipping),
            items_count: self.items,
            three_ds_eci: self.eci.and_then(|eci| parse_digits(eci, 2..=2, "two digits").ok()),
            session_id: self.session.and_then(|session| token("s_", session)),
            metadata: self.metadata(),
        }
    }

    /// The gateway's own fields. Loyalty points follow from the account alone, so that they tell nothing else.
    fn metadata(&self) -> Metadata {
        let mut entries = Vec::with_capacity(3);
        if let Some(campaign) = self.campaign.and_then(|campaign| CAMPAIGNS.get(usize::from(campaign)))
            && let Ok(text) = Text::parse(campaign)
        {
            entries.push(("campaign".into(), MetadataValue::Text(text)));
        }
        if let Some(gift) = self.gift {
            entries.push(("gift".into(), MetadataValue::Bool(gift)));
        }
        if let Some(account) = self.account
            && mix(account.number).is_multiple_of(3)
        {
            let age_days = ((self.at_ms - account.created_ms) / crate::simulate::world::DAY_MS).max(0);
            let points = age_days / 7 * 5 + age_days % 7;
            entries.push(("loyalty_points".into(), MetadataValue::Number(cast::double(points))));
        }
        Metadata::new(entries)
    }
}
