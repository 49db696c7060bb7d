//! The transaction's own fields by name, as rules, the feature catalogue and mappings spell them.

use crate::domain::transaction::{MetadataValue, Transaction};
use crate::domain::value::{Value, ValueType};

/// One named field of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Field {
    /// `transaction_id`
    TransactionId,
    /// `occurred_at`
    OccurredAt,
    /// `amount`: major units as a double
    Amount,
    /// `amount.value` of the request: minor units
    AmountMinor,
    /// `currency`
    Currency,
    /// `channel`
    Channel,
    /// `customer.id`
    CustomerId,
    /// `customer.email_hash`
    CustomerEmailHash,
    /// `customer.account_created_at`
    CustomerAccountCreatedAt,
    /// `card.fingerprint`
    CardFingerprint,
    /// `card.bin`
    CardBin,
    /// `card.last4`
    CardLast4,
    /// `card.exp_month`
    CardExpMonth,
    /// `card.exp_year`
    CardExpYear,
    /// `card.funding`
    CardFunding,
    /// `card.issuer_country`
    CardIssuerCountry,
    /// `merchant.id`
    MerchantId,
    /// `merchant.mcc`
    MerchantMcc,
    /// `merchant.country`
    MerchantCountry,
    /// `terminal.id`
    TerminalId,
    /// `device.id`
    DeviceId,
    /// `device.ip`
    DeviceIp,
    /// `device.user_agent`
    DeviceUserAgent,
    /// `location.latitude`
    LocationLatitude,
    /// `location.longitude`
    LocationLongitude,
    /// `billing.country`
    BillingCountry,
    /// `billing.postal_code`
    BillingPostalCode,
    /// `shipping.country`
    ShippingCountry,
    /// `shipping.postal_code`
    ShippingPostalCode,
    /// `items.count`
    ItemsCount,
    /// `three_ds.eci`
    ThreeDsEci,
    /// `session.id`
    SessionId,
}

/// Every field with its name and type.
pub const FIELDS: [(Field, &str, ValueType); 32] = [
    (Field::TransactionId, "transaction_id", ValueType::Text),
    (Field::OccurredAt, "occurred_at", ValueType::Time),
    (Field::Amount, "amount", ValueType::Double),
    (Field::AmountMinor, "amount_minor", ValueType::Int),
    (Field::Currency, "currency", ValueType::Text),
    (Field::Channel, "channel", ValueType::Text),
    (Field::CustomerId, "customer.id", ValueType::Text),
    (Field::CustomerEmailHash, "customer.email_hash", ValueType::Text),
    (Field::CustomerAccountCreatedAt, "customer.account_created_at", ValueType::Time),
    (Field::CardFingerprint, "card.fingerprint", ValueType::Text),
    (Field::CardBin, "card.bin", ValueType::Text),
    (Field::CardLast4, "card.last4", ValueType::Text),
    (Field::CardExpMonth, "card.exp_month", ValueType::Int),
    (Field::CardExpYear, "card.exp_year", ValueType::Int),
    (Field::CardFunding, "card.funding", ValueType::Text),
    (Field::CardIssuerCountry, "card.issuer_country", ValueType::Text),
    (Field::MerchantId, "merchant.id", ValueType::Text),
    (Field::MerchantMcc, "merchant.mcc", ValueType::Text),
    (Field::MerchantCountry, "merchant.country", ValueType::Text),
    (Field::TerminalId, "terminal.id", ValueType::Text),
    (Field::DeviceId, "device.id", ValueType::Text),
    (Field::DeviceIp, "device.ip", ValueType::Text),
    (Field::DeviceUserAgent, "device.user_agent", ValueType::Text),
    (Field::LocationLatitude, "location.latitude", ValueType::Double),
    (Field::LocationLongitude, "location.longitude", ValueType::Double),
    (Field::BillingCountry, "billing.country", ValueType::Text),
    (Field::BillingPostalCode, "billing.postal_code", ValueType::Text),
    (Field::ShippingCountry, "shipping.country", ValueType::Text),
    (Field::ShippingPostalCode, "shipping.postal_code", ValueType::Text),
    (Field::ItemsCount, "items.count", ValueType::Int),
    (Field::ThreeDsEci, "three_ds.eci", ValueType::Text),
    (Field::SessionId, "session.id", ValueType::Text),
];

impl Field {
    /// Looks a field up by its name.
    pub fn parse(name: &str) -> Option<(Self, ValueType)> {
        FIELDS.iter().find(|(_, known, _)| *known == name).map(|(field, _, value_type)| (*field, *value_type))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        FIELDS.iter().find(|(field, _, _)| *field == self).map_or("", |(_, name, _)| name)
    }

    /// Its value in `transaction`.
    pub fn of(self, transaction: &Transaction) -> Value<'_> {
        let t = transaction;
        match self {
            Self::TransactionId => Value::Text(t.id.as_str()),
            Self::OccurredAt => Value::Time(t.occurred_at),
            Self::Amount => Value::Double(t.amount.major()),
            Self::AmountMinor => Value::Int(t.amount.minor()),
            Self::Currency => Value::Text(t.amount.currency().code()),
            Self::Channel => Value::from_text(t.channel.as_ref().map(|id| id.as_str())),
            Self::CustomerId => Value::from_text(t.customer.id.as_ref().map(|id| id.as_str())),
            Self::CustomerEmailHash => Value::from_text(t.customer.email_hash.as_ref().map(|id| id.as_str())),
            Self::CustomerAccountCreatedAt => {
                t.customer.account_created_at.map_or(Value::Missing, Value::Time)
            }
            Self::CardFingerprint => Value::from_text(t.card.fingerprint.as_ref().map(|id| id.as_str())),
            Self::CardBin => Value::from_text(t.card.bin.as_ref().map(|text| text.as_str())),
            Self::CardLast4 => Value::from_text(t.card.last4.as_ref().map(|text| text.as_str())),
            Self::CardExpMonth => {
                t.card.exp_month.map_or(Value::Missing, |month| Value::Int(i64::from(month)))
            }
            Self::CardExpYear => t.card.exp_year.map_or(Value::Missing, |year| Value::Int(i64::from(year))),
            Self::CardFunding => Value::from_text(t.card.funding.as_ref().map(|id| id.as_str())),
            Self::CardIssuerCountry => {
                Value::from_text(t.card.issuer_country.as_ref().map(|code| code.as_str()))
            }
            Self::MerchantId => Value::from_text(t.merchant.id.as_ref().map(|id| id.as_str())),
            Self::MerchantMcc => Value::from_text(t.merchant.mcc.as_ref().map(|text| text.as_str())),
            Self::MerchantCountry => Value::from_text(t.merchant.country.as_ref().map(|code| code.as_str())),
            Self::TerminalId => Value::from_text(t.terminal_id.as_ref().map(|id| id.as_str())),
            Self::DeviceId => Value::from_text(t.device.id.as_ref().map(|id| id.as_str())),
            Self::DeviceIp => Value::from_text(t.device.ip.as_ref().map(|ip| ip.as_str())),
            Self::DeviceUserAgent => Value::from_text(t.device.user_agent.as_ref().map(|text| text.as_str())),
            Self::LocationLatitude => t.location.map_or(Value::Missing, |at| Value::Double(at.latitude)),
            Self::LocationLongitude => t.location.map_or(Value::Missing, |at| Value::Double(at.longitude)),
            Self::BillingCountry => Value::from_text(t.billing.country.as_ref().map(|code| code.as_str())),
            Self::BillingPostalCode => Value::from_text(t.billing.postal_code.as_ref().map(|id| id.as_str())),
            Self::ShippingCountry => Value::from_text(t.shipping.country.as_ref().map(|code| code.as_str())),
            Self::ShippingPostalCode => {
                Value::from_text(t.shipping.postal_code.as_ref().map(|id| id.as_str()))
            }
            Self::ItemsCount => t.items_count.map_or(Value::Missing, |count| Value::Int(i64::from(count))),
            Self::ThreeDsEci => Value::from_text(t.three_ds_eci.as_ref().map(|text| text.as_str())),
            Self::SessionId => Value::from_text(t.session_id.as_ref().map(|id| id.as_str())),
        }
    }
}

/// A metadata value as a rule sees it.
pub fn metadata_value<'a>(transaction: &'a Transaction, key: &str) -> Value<'a> {
    match transaction.metadata.get(key) {
        None => Value::Missing,
        Some(MetadataValue::Text(text)) => Value::Text(text.as_str()),
        Some(MetadataValue::Number(number)) => Value::from_f64(*number),
        Some(MetadataValue::Bool(flag)) => Value::Bool(*flag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name() {
        for (field, name, value_type) in FIELDS {
            assert_eq!(Field::parse(name), Some((field, value_type)));
            assert_eq!(field.name(), name);
        }
    }
}
