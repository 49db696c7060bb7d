//! From a transaction to what the window store takes, and from what the store gives back to the whole vector.

use smallvec::SmallVec;

use crate::domain::enrichment::Enrichment;
use crate::domain::ip_facts::IpFacts;
use crate::domain::text::CountryCode;
use crate::domain::transaction::Transaction;
use crate::domain::value::Value;
use crate::expr::program::Scalar;
use crate::feature::catalogue::Catalogue;
use crate::feature::facts::TransactionFacts;
use crate::feature::vector::FeatureVector;
use crate::window::event::{Attempt, KeyHasher};

/// What the window store needs of a transaction: its moment, its amount, its place, and hashes of who took part.
pub fn attempt(catalogue: &Catalogue, hasher: &KeyHasher, transaction: &Transaction) -> Attempt {
    let mut keys = SmallVec::new();
    let mut attributes = SmallVec::new();
    for (number, entity) in (0..=u8::MAX).zip(&catalogue.entities) {
        let mut parts: SmallVec<[&str; 4]> = SmallVec::new();
        for field in &entity.key {
            if let Value::Text(text) = field.of(transaction) {
                parts.push(text);
            }
        }
        let is_whole = !parts.is_empty() && parts.len() == entity.key.len();
        keys.push(is_whole.then(|| hasher.key(number, &parts)));
        for field in &entity.attributes {
            attributes.push(attribute(hasher, field.of(transaction)));
        }
    }
    Attempt {
        at: transaction.occurred_at,
        amount: transaction.amount,
        location: transaction.location,
        keys,
        attributes,
    }
}

/// The hash of an attribute's value; 0 when it is missing. Values of one field are all of one type, so their texts tell them
/// apart.
fn attribute(hasher: &KeyHasher, value: Value<'_>) -> u64 {
    match value {
        Value::Missing => 0,
        Value::Text(text) => hasher.attribute([text]),
        other => hasher.attribute([other.to_string()]),
    }
}

/// What of a whole vector the window store gave: all but the profile and what is computed.
pub fn windows_of(catalogue: &Catalogue, features: &FeatureVector) -> FeatureVector {
    let mut windows = FeatureVector::missing(catalogue.features.len());
    windows.numbers_mut().copy_from_slice(features.numbers());
    let profile = catalogue.profile.iter().map(|feature| feature.slot);
    for slot in profile.chain(catalogue.derived.iter().map(|feature| feature.slot)) {
        windows.numbers_mut()[slot] = f64::NAN;
    }
    windows // windows are numbers: no text is one
}

/// The whole vector: windows as the store gave them, then the profile, then what is computed from all of it. The country of an
/// address comes from its profile, and where that holds none, from the local files.
pub fn vector(
    catalogue: &Catalogue,
    transaction: &Transaction,
    mut windows: FeatureVector,
    enrichment: &Enrichment,
    ip: Option<&IpFacts>,
) -> FeatureVector {
    let local_country = ip.and_then(|facts| facts.country.as_ref()).map(CountryCode::as_str);
    for (feature, lookup) in catalogue.profile.iter().zip(&enrichment.0) {
        match lookup.known() {
            Some(value) => windows.set(feature.slot, value.value()),
            None if feature.is_ip_country => windows.set(feature.slot, Value::from_text(local_country)),
            None => {}
        }
    }
    let mut features = windows;
    for derived in &catalogue.derived {
        let facts = TransactionFacts {
            transaction,
            ip,
            features: &features,
            feature_types: &catalogue.types,
            metadata_keys: &catalogue.metadata_keys,
        };
        match derived.program.eval(&facts) {
            Scalar::Text(text) => {
                let text = text.into_owned();
                features.set(derived.slot, Value::Text(&text));
            }
            number => {
                let number = number.as_value().as_f64();
                features.numbers_mut()[derived.slot] = number;
            }
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::enrichment::{Lookup, ProfileValue};
    use crate::wire::transaction::parse_slice;

    const CATALOGUE: &str = "version: 1
entities:
  ip: {key: device.ip}
  customer: {key: customer.id}
profile:
  - {name: device.ip_country, from: ip, field: country, type: string}
  - {name: customer.home, from: customer, field: country, type: string}
derived:
  - {name: address.is_tor, expr: \"ip.is_tor\"}
  - {name: address.is_foreign, expr: \"device.ip_country != 'NO'\"}
";

    /// What the profile says of the address, what local files say, and the features: the two countries, then the two derived ones.
    #[test]
    fn the_country_of_an_address_comes_from_its_profile_else_from_local_files() {
        let catalogue = Catalogue::compile(Path::new("features.yaml"), CATALOGUE).unwrap();
        let body = br#"{"transaction_id": "t", "occurred_at": "2026-01-01T00:00:00Z", "amount": {"value": 1, "currency": "EUR"}}"#;
        let transaction = parse_slice(body).unwrap().transaction;
        let known = |country: &str| Lookup::Known(ProfileValue::Text(country.into()));
        let local = r#"{"kind":"public","country":"SE","is":{"tor":true}}"#;
        let facts = [
            (known("NO"), Some(local), "NO missing true false"),
            (Lookup::Absent, Some(local), "SE missing true true"),
            (Lookup::TimedOut, Some(local), "SE missing true true"),
            (known("NO"), None, "NO missing missing false"),
            (Lookup::Absent, None, "missing missing missing missing"),
            (Lookup::Absent, Some(r#"{"kind":"private"}"#), "missing missing missing missing"),
        ];
        for (profile, ip, expected) in facts {
            let ip: Option<IpFacts> = ip.map(|ip| serde_json::from_str(ip).unwrap());
            let enrichment = Enrichment([profile, Lookup::Absent].into());
            let windows = FeatureVector::missing(catalogue.features.len());
            let features = vector(&catalogue, &transaction, windows, &enrichment, ip.as_ref());
            let shown: Vec<String> = catalogue
                .types
                .iter()
                .enumerate()
                .map(|(slot, value_type)| features.get(slot, *value_type).to_string())
                .collect();
            assert_eq!(shown.join(" "), expected, "{enrichment:?} {ip:?}");
        }
    }
}
