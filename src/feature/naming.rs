//! The names of window features: `<entity>.<aggregate>[_<field>]_<window>`.

use crate::domain::field::Field;
use crate::window::layout::Stream;

/// `card.count_5m`, `card.amount_sum_24h`, `customer.ip_distinct_7d`, `customer.approved_count_24h`, `terminal.fraud_rate_7d`.
pub fn window_feature(
    entity: &str,
    stream: Stream,
    fraud_only: bool,
    of: Option<Field>,
    aggregate: &str,
    window: &str,
) -> String {
    let stream = match stream {
        Stream::Attempts => "",
        Stream::Approved => "approved_",
        Stream::Declined => "declined_",
        Stream::Labels if fraud_only => "fraud_",
        Stream::Labels => "labels_",
    };
    let of = of.map_or_else(String::new, |field| format!("{}_", field_word(field)));
    format!("{entity}.{stream}{of}{aggregate}_{window}")
}

/// The word for a field inside a feature name: `device.ip` is `ip`, `merchant.id` is `merchant`, `card.fingerprint` is
/// `card`, `shipping.country` is `shipping_country`.
fn field_word(field: Field) -> String {
    match field {
        Field::DeviceIp => "ip".to_owned(),
        Field::CardFingerprint => "card".to_owned(),
        _ => {
            let name = field.name();
            name.strip_suffix(".id").unwrap_or(name).replace('.', "_")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract() {
        let cases = [
            (("card", Stream::Attempts, false, None, "count", "5m"), "card.count_5m"),
            (("card", Stream::Attempts, false, Some(Field::Amount), "sum", "24h"), "card.amount_sum_24h"),
            (
                ("customer", Stream::Attempts, false, Some(Field::DeviceIp), "distinct", "7d"),
                "customer.ip_distinct_7d",
            ),
            (
                ("ip", Stream::Attempts, false, Some(Field::CardFingerprint), "distinct", "1h"),
                "ip.card_distinct_1h",
            ),
            (
                ("customer", Stream::Attempts, false, Some(Field::ShippingCountry), "distinct", "7d"),
                "customer.shipping_country_distinct_7d",
            ),
            (("customer", Stream::Approved, false, None, "count", "24h"), "customer.approved_count_24h"),
            (("terminal", Stream::Labels, true, None, "rate", "7d"), "terminal.fraud_rate_7d"),
            (("terminal", Stream::Labels, false, None, "count", "7d"), "terminal.labels_count_7d"),
        ];
        for ((entity, stream, fraud_only, of, aggregate, window), expected) in cases {
            assert_eq!(window_feature(entity, stream, fraud_only, of, aggregate, window), expected);
        }
    }
}
