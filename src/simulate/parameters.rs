//! Every number of the simulation, with its unit, default and bounds. `README.md` in this folder holds the same table; a test
//! keeps the two equal.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::time::{EventTime, EventTimeError};

/// Most customers of one world: 2 million take about 1 GiB.
pub const CUSTOMERS_MAX: u32 = 2_000_000;
/// Most merchants of one world.
pub const MERCHANTS_MAX: u32 = 200_000;
/// Most terminals of one world.
pub const TERMINALS_MAX: u32 = 1_000_000;
/// Longest simulated period, in days.
pub const DAYS_MAX: u32 = 3_660;
/// Largest YAML text of parameters, in bytes.
pub const YAML_BYTES_MAX: usize = 64 * 1024;

/// Why parameters are refused.
#[derive(Debug, Error)]
pub enum ParameterError {
    /// A number is outside its bounds.
    #[error("simulation parameter `{name}` is {value}, and must lie between {min} and {max}")]
    OutOfRange {
        /// Its path, such as `fraud.bulk_purchase.share`.
        name: &'static str,
        /// What was given.
        value: f64,
        /// The smallest that is allowed.
        min: f64,
        /// The largest that is allowed.
        max: f64,
    },
    /// `start` is no moment, or too close to the ends of the calendar.
    #[error("simulation parameter `start` is {value:?}: it {reason}")]
    Start {
        /// What was given.
        value: String,
        /// What it must be.
        reason: EventTimeError,
    },
    /// Shares of one whole that come to more than it.
    #[error("simulation parameters {names} come to {sum} together, and must not exceed {max}")]
    Sum {
        /// Which.
        names: &'static str,
        /// Their sum.
        sum: f64,
        /// The largest sum that is allowed.
        max: f64,
    },
    /// Not YAML, or not of this shape.
    #[error("simulation parameters cannot be read as YAML: {0}")]
    Malformed(String),
}

/// What is simulated. Every field has a default; unknown fields are refused.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// The seed; the same seed and parameters give the same output. Default 1.
    pub seed: u64,
    /// Event time of the first day, RFC 3339. Default 2026-01-05T00:00:00Z, a Monday.
    pub start: String,
    /// How many days. 1..=3660, default 60.
    pub days: u32,
    /// How many customers. 1..=2000000, default 5000.
    pub customers: u32,
    /// How many merchants. 1..=200000, default 1500.
    pub merchants: u32,
    /// How many terminals at merchants' counters. 0..=1000000, default 2500.
    pub terminals: u32,
    /// How people pay.
    pub behaviour: Behaviour,
    /// How fraudsters pay.
    pub fraud: Fraud,
    /// How the truth becomes known.
    pub labels: Labels,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            seed: 1,
            start: "2026-01-05T00:00:00Z".to_owned(),
            days: 60,
            customers: 5_000,
            merchants: 1_500,
            terminals: 2_500,
            behaviour: Behaviour::default(),
            fraud: Fraud::default(),
            labels: Labels::default(),
        }
    }
}

macro_rules! group {
    ($(#[$doc:meta])* $name:ident at $path:literal { $($(#[$field_doc:meta])* $field:ident: $default:literal in $min:literal..=$max:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* #[doc = concat!(" Between ", $min, " and ", $max, "; default ", $default, ".")] pub $field: f64,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            fn check(&self) -> Result<(), ParameterError> {
                $(in_range(concat!($path, ".", stringify!($field)), self.$field, $min, $max)?;)*
                Ok(())
            }
        }
    };
}

group! {
    /// How legitimate customers behave. Shares are probabilities.
    Behaviour at "behaviour" {
        /// Mean number of purchases per customer and day.
        purchases_per_day: 0.8 in 0.0..=100.0,
        /// Spread between customers: standard deviation of the logarithm of that rate. The tail is heavy.
        purchases_sigma: 0.9 in 0.0..=2.0,
        /// Share of purchases made online, over all customers; each customer has their own around it.
        online_share: 0.55 in 0.0..=1.0,
        /// Share of purchases by mail or telephone, through a merchant's agent.
        moto_share: 0.012 in 0.0..=1.0,
        /// Extra purchases by passers-by with a card, device and account never seen before, per purchase.
        passerby_share: 0.09 in 0.0..=1.0,
        /// Share of online purchases that known customers make as guests: no customer id.
        guest_share: 0.08 in 0.0..=1.0,
        /// Share of purchases at a counter in which the customer is known (a loyalty card).
        counter_customer_share: 0.45 in 0.0..=1.0,
        /// Share of purchases that are tried again, up to three times in a few minutes.
        retry_share: 0.035 in 0.0..=1.0,
        /// Share of purchases that begin a shopping spree of two to seven purchases within hours.
        spree_share: 0.03 in 0.0..=1.0,
        /// Share of customers who buy small things in games in quick series.
        gamer_share: 0.06 in 0.0..=1.0,
        /// Share of customers who buy in large quantities, for a business.
        trader_share: 0.015 in 0.0..=1.0,
        /// Share of purchases that are far above the customer's usual amount.
        large_share: 0.02 in 0.0..=1.0,
        /// Probability per customer and day that a journey of 2 to 15 days to another country begins.
        journey_per_day: 0.004 in 0.0..=1.0,
        /// Probability per online purchase that it is the first from a new device.
        new_device_share: 0.012 in 0.0..=1.0,
        /// Probability per purchase that a card has been replaced by a new one.
        new_card_share: 0.003 in 0.0..=1.0,
        /// Share of parcels that go to another address in the country.
        other_address_share: 0.06 in 0.0..=1.0,
        /// Share of parcels that go to another country.
        abroad_gift_share: 0.02 in 0.0..=1.0,
        /// Share of customers who live in the household of another and share the address, sometimes card and device.
        household_share: 0.35 in 0.0..=1.0,
        /// Share of customers with an office connection shared with colleagues.
        office_share: 0.3 in 0.0..=1.0,
        /// Share of online purchases through a privacy network (VPN), seen from a data centre, often in another country.
        vpn_share: 0.035 in 0.0..=1.0,
        /// Share of addresses at home that are IPv6.
        ipv6_share: 0.25 in 0.0..=1.0,
        /// Probability per day of a flash sale at a popular online merchant.
        flash_sale_per_day: 0.3 in 0.0..=1.0,
        /// Buyers of a flash sale, as a share of all customers.
        flash_sale_size: 0.006 in 0.0..=0.2,
        /// Share of merchants outside the euro area that charge in their own currency; the others charge euros.
        local_currency_share: 0.15 in 0.0..=1.0,
    }
}

group! {
    /// Many stolen cards tried with small amounts to learn which still work.
    CardTesting at "fraud.card_testing" {
        /// Frauds of it per legitimate transaction.
        share: 0.0017 in 0.0..=0.05,
        /// Mean number of tries in one campaign.
        size_mean: 22.0 in 2.0..=500.0,
        /// Share of campaigns that take hours or days between tries instead of seconds.
        slow_share: 0.4 in 0.0..=1.0,
        /// Share of campaigns that send each try from another device and address.
        rotating_share: 0.35 in 0.0..=1.0,
        /// Share of tried cards that are used for a large purchase hours to days later.
        cash_out_share: 0.12 in 0.0..=1.0,
    }
}

group! {
    /// One stolen card used at merchant after merchant.
    StolenCardSpree at "fraud.stolen_card_spree" {
        /// Frauds of it per legitimate transaction.
        share: 0.0013 in 0.0..=0.05,
        /// Mean number of purchases with one card.
        size_mean: 4.5 in 1.0..=100.0,
        /// Share of sprees at counters in the victim's own town, with amounts below the limit for contactless payment.
        counter_share: 0.3 in 0.0..=1.0,
        /// Share of sprees spread over days instead of hours.
        slow_share: 0.35 in 0.0..=1.0,
        /// Share of purchases in the categories that sell on best; the others are ordinary ones.
        resale_share: 0.55 in 0.0..=1.0,
    }
}

group! {
    /// A customer's account used by somebody else, with the cards kept in it.
    AccountTakeover at "fraud.account_takeover" {
        /// Frauds of it per legitimate transaction.
        share: 0.0012 in 0.0..=0.05,
        /// Mean number of purchases from one account.
        size_mean: 2.5 in 1.0..=50.0,
        /// Share that comes through the customer's own device and connection (malware).
        hijacked_device_share: 0.2 in 0.0..=1.0,
        /// Share of the others that comes from another country; the rest hides behind an address of the customer's country.
        foreign_share: 0.55 in 0.0..=1.0,
        /// Share of parcels sent to a new address.
        new_address_share: 0.7 in 0.0..=1.0,
        /// How much larger the baskets are: mean of the logarithm of the factor.
        basket_log_factor: 0.6 in -2.0..=4.0,
    }
}

group! {
    /// A terminal that copies cards, which are abused elsewhere later. The purchases at the terminal itself are legitimate.
    CompromisedTerminal at "fraud.compromised_terminal" {
        /// Frauds of it per legitimate transaction.
        share: 0.0012 in 0.0..=0.05,
        /// Mean number of abuses of one copied card.
        size_mean: 2.0 in 1.0..=50.0,
        /// Mean days for which a terminal copies cards.
        skimming_days_mean: 9.0 in 1.0..=90.0,
        /// Mean days from the copy to the first abuse.
        abuse_delay_days_mean: 7.0 in 0.0..=90.0,
        /// Share of abuses at counters with a cloned card, half of them at one terminal that plays along.
        counter_share: 0.45 in 0.0..=1.0,
    }
}

group! {
    /// Resellers who buy many pieces of one thing with stolen cards.
    BulkPurchase at "fraud.bulk_purchase" {
        /// Frauds of it per legitimate transaction.
        share: 0.0007 in 0.0..=0.05,
        /// Mean number of orders of one reseller.
        size_mean: 4.0 in 1.0..=100.0,
        /// Mean number of items of one order.
        items_mean: 22.0 in 2.0..=1000.0,
        /// Share of resellers who keep to ordinary quantities, one to five.
        modest_share: 0.25 in 0.0..=1.0,
    }
}

group! {
    /// A script that buys at one merchant at high rate from changing addresses.
    BotTraffic at "fraud.bot_traffic" {
        /// Frauds of it per legitimate transaction.
        share: 0.0013 in 0.0..=0.05,
        /// Mean number of attempts in one attack.
        size_mean: 40.0 in 2.0..=2000.0,
        /// Mean seconds between two attempts.
        gap_seconds_mean: 14.0 in 0.01..=3600.0,
        /// Share of attempts from addresses of homes and phones (hired proxies); the rest comes from data centres.
        proxy_share: 0.6 in 0.0..=1.0,
        /// Share of attacks whose scripts pose as ordinary browsers with a fresh device each time.
        disguised_share: 0.5 in 0.0..=1.0,
    }
}

group! {
    /// The customer's own purchase, disputed afterwards. At the time of purchase there is nothing to see.
    FriendlyFraud at "fraud.friendly" {
        /// Frauds of it per legitimate transaction.
        share: 0.0011 in 0.0..=0.05,
        /// Share of customers who do it again and again.
        serial_customer_share: 0.01 in 0.0..=1.0,
        /// How many times likelier their purchases are to be disputed.
        serial_factor: 25.0 in 1.0..=1000.0,
    }
}

/// How fraudsters behave, by scenario.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fraud {
    /// Card testing.
    pub card_testing: CardTesting,
    /// Stolen card sprees.
    pub stolen_card_spree: StolenCardSpree,
    /// Account takeover.
    pub account_takeover: AccountTakeover,
    /// Compromised terminals.
    pub compromised_terminal: CompromisedTerminal,
    /// Bulk purchases.
    pub bulk_purchase: BulkPurchase,
    /// Bot traffic.
    pub bot_traffic: BotTraffic,
    /// Friendly fraud.
    pub friendly: FriendlyFraud,
    /// What all thieves of cards have in common.
    pub common: Common,
}

group! {
    /// What the scenarios with stolen cards have in common.
    Common at "fraud.common" {
        /// Share of stolen cards that belong to customers of this world; the others have never been seen.
        known_card_share: 0.5 in 0.0..=1.0,
        /// Share of thieves who use an address of the cardholder's country.
        local_address_share: 0.45 in 0.0..=1.0,
        /// Share of thieves behind a data centre; the others use addresses of homes and phones.
        data_centre_share: 0.25 in 0.0..=1.0,
        /// Share of thieves who give no account (guests); the others open one, minutes to months before.
        guest_share: 0.4 in 0.0..=1.0,
    }
}

group! {
    /// How and when the truth becomes known.
    Labels at "labels" {
        /// Share of frauds that nobody ever reports: they have no label, and only the truth file knows.
        never_reported_share: 0.12 in 0.0..=1.0,
        /// Share of the reported frauds known first through the network's or issuer's early warning.
        early_warning_share: 0.35 in 0.0..=1.0,
        /// Share of the reported frauds known first through the customer; the rest are chargebacks.
        customer_report_share: 0.2 in 0.0..=1.0,
        /// Median days until an early warning.
        early_warning_days: 4.0 in 0.0..=120.0,
        /// Median days until the customer reports.
        customer_report_days: 2.0 in 0.0..=120.0,
        /// Median days until a chargeback.
        chargeback_days: 16.0 in 0.0..=120.0,
        /// Standard deviation of the logarithm of these delays.
        delay_sigma: 0.7 in 0.0..=2.0,
        /// Share of legitimate transactions that an analyst looks at, which gives them a label.
        reviewed_legitimate_share: 0.008 in 0.0..=1.0,
        /// Share of frauds that an analyst looks at before anybody reports them.
        reviewed_fraud_share: 0.06 in 0.0..=1.0,
        /// Share of an analyst's verdicts that are wrong.
        review_error_share: 0.04 in 0.0..=1.0,
        /// Share of legitimate transactions that are refunded, which labels them legitimate.
        refund_share: 0.015 in 0.0..=1.0,
    }
}

fn in_range(name: &'static str, value: f64, min: f64, max: f64) -> Result<(), ParameterError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ParameterError::OutOfRange { name, value, min, max })
    }
}

impl Parameters {
    /// Reads parameters from YAML text of at most 64 KiB, and checks them. What is left out keeps its default.
    pub fn from_yaml(text: &str) -> Result<Self, ParameterError> {
        if text.len() > YAML_BYTES_MAX {
            return Err(ParameterError::Malformed(format!("longer than {YAML_BYTES_MAX} bytes")));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parameters: Self =
            serde_saphyr::from_str(text).map_err(|error| ParameterError::Malformed(error.to_string()))?;
        parameters.checked_start()?;
        Ok(parameters)
    }

    /// Checks every bound, and returns the first moment of the simulation.
    pub fn checked_start(&self) -> Result<EventTime, ParameterError> {
        in_range("days", f64::from(self.days), 1.0, f64::from(DAYS_MAX))?;
        in_range("customers", f64::from(self.customers), 1.0, f64::from(CUSTOMERS_MAX))?;
        in_range("merchants", f64::from(self.merchants), 1.0, f64::from(MERCHANTS_MAX))?;
        in_range("terminals", f64::from(self.terminals), 0.0, f64::from(TERMINALS_MAX))?;
        self.behaviour.check()?;
        let fraud = &self.fraud;
        fraud.card_testing.check()?;
        fraud.stolen_card_spree.check()?;
        fraud.account_takeover.check()?;
        fraud.compromised_terminal.check()?;
        fraud.bulk_purchase.check()?;
        fraud.bot_traffic.check()?;
        fraud.friendly.check()?;
        fraud.common.check()?;
        self.labels.check()?;
        let labels = &self.labels;
        at_most_one(
            "`labels.early_warning_share` and `labels.customer_report_share`",
            labels.early_warning_share + labels.customer_report_share,
        )?;
        at_most_one(
            "`labels.reviewed_legitimate_share` and `labels.refund_share`",
            labels.reviewed_legitimate_share + labels.refund_share,
        )?;
        self.start()
    }

    /// `start` as a moment from 1990 to 2150: card expiry years and account ages need room on both sides.
    fn start(&self) -> Result<EventTime, ParameterError> {
        const YEAR_1990_MS: i64 = 631_152_000_000;
        const YEAR_2150_MS: i64 = 5_680_281_600_000;
        let wrong = |reason| ParameterError::Start { value: self.start.chars().take(64).collect(), reason };
        let start = EventTime::parse_rfc3339(&self.start).map_err(wrong)?;
        in_range(
            "start (year)",
            1970.0 + super::cast::double(start.unix_millis()) / (365.2425 * 86_400_000.0),
            1970.0 + super::cast::double(YEAR_1990_MS) / (365.2425 * 86_400_000.0),
            1970.0 + super::cast::double(YEAR_2150_MS) / (365.2425 * 86_400_000.0),
        )?;
        Ok(start)
    }
}

fn at_most_one(names: &'static str, sum: f64) -> Result<(), ParameterError> {
    if sum <= 1.0 { Ok(()) } else { Err(ParameterError::Sum { names, sum, max: 1.0 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_read_and_refused_with_the_reason() {
        let cases: [(&str, Result<u32, &str>); 9] = [
            ("", Ok(5_000)),
            ("customers: 7", Ok(7)),
            ("customers: 0", Err("`customers` is 0, and must lie between 1 and 2000000")),
            ("days: 99999", Err("`days`")),
            ("colour: red", Err("colour")),
            (
                "fraud: {bot_traffic: {share: 0.5}}",
                Err("`fraud.bot_traffic.share` is 0.5, and must lie between 0 and 0.05"),
            ),
            ("behaviour: {vpn_share: .nan}", Err("`behaviour.vpn_share` is NaN")),
            ("start: yesterday", Err("`start` is \"yesterday\": it must be an RFC 3339 timestamp")),
            ("labels: {early_warning_share: 0.9, customer_report_share: 0.9}", Err("come to 1.8 together")),
        ];
        for (yaml, expected) in cases {
            match (Parameters::from_yaml(yaml), expected) {
                (Ok(parameters), Ok(customers)) => assert_eq!(parameters.customers, customers, "{yaml}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{yaml}: {error}");
                }
                (actual, _) => panic!("{yaml}: {actual:?}"),
            }
        }
    }

    fn flatten(path: &str, value: &serde_json::Value, rows: &mut Vec<String>) {
        match value.as_object() {
            Some(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    flatten(&path, value, rows);
                }
            }
            None => rows.push(format!("| `{path}` | {} |", value.to_string().replace('"', ""))),
        }
    }

    #[test]
    fn the_readme_publishes_every_parameter_with_its_default() {
        let published = include_str!("README.md");
        let mut rows = Vec::new();
        flatten("", &serde_json::to_value(Parameters::default()).unwrap(), &mut rows);
        assert!(rows.len() > 60, "{rows:?}");
        let absent: Vec<_> = rows.iter().filter(|row| !published.contains(row.as_str())).collect();
        assert!(absent.is_empty(), "not in README.md: {absent:#?}");
    }
}
