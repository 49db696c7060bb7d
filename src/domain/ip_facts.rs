//! What is known of the address that a transaction came from, as it was looked up in local files at that moment.
//!
//! It is an argument of the decision and part of its record: the files may be gone when it is decided again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::ip_kind::IpKind;
use crate::domain::text::CountryCode;
use crate::domain::value::{Value, ValueType};

/// Longest name of an operator, in bytes; a longer one is cut.
pub const AS_ORG_BYTES_MAX: usize = 128;

/// What a list says of the addresses on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpCategory {
    /// Exits of Tor.
    Tor,
    /// Exits of virtual private networks.
    Vpn,
    /// Open or rented proxies.
    Proxy,
    /// Data centres: servers, not people.
    Hosting,
    /// Attacks, spam, hijacked networks.
    Abuse,
}

impl IpCategory {
    /// Its name, as config writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tor => "tor",
            Self::Vpn => "vpn",
            Self::Proxy => "proxy",
            Self::Hosting => "hosting",
            Self::Abuse => "abuse",
        }
    }
}

/// Of each category whether the address is on a list of it; `None` where there is no such list: nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the categories explain themselves")]
pub struct IpCategories {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tor: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpn: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosting: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abuse: Option<bool>,
}

impl IpCategories {
    /// The entry of a category.
    pub const fn entry(&mut self, category: IpCategory) -> &mut Option<bool> {
        match category {
            IpCategory::Tor => &mut self.tor,
            IpCategory::Vpn => &mut self.vpn,
            IpCategory::Proxy => &mut self.proxy,
            IpCategory::Hosting => &mut self.hosting,
            IpCategory::Abuse => &mut self.abuse,
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known of an address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IpFacts {
    /// What sort of address it is.
    pub kind: IpKind,
    /// The country that it is used in.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "country")]
    pub country: Option<CountryCode>,
    /// The autonomous system that announces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Who operates that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_org: Option<Box<str>>,
    /// The names of the lists that it is on, in order, with commas between them; empty when it is on none, `None` when there is no
    /// list at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<Arc<str>>,
    /// The largest weight of these lists, from 0 to 1; 0 when it is on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_weight: Option<f64>,
    /// Of each category whether it is on such a list.
    #[serde(default, rename = "is", skip_serializing_if = "IpCategories::is_unknown")]
    pub categories: IpCategories,
}

/// One name that rules and derived features may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names below explain them")]
pub enum IpField {
    Kind,
    IsReserved,
    Country,
    Asn,
    AsOrg,
    Lists,
    ListWeight,
    IsTor,
    IsVpn,
    IsProxy,
    IsHosting,
    IsAbuse,
}

/// Every name with its type.
pub const IP_FIELDS: [(IpField, &str, ValueType); 12] = [
    (IpField::Kind, "ip.kind", ValueType::Text),
    (IpField::IsReserved, "ip.is_reserved", ValueType::Bool),
    (IpField::Country, "ip.country", ValueType::Text),
    (IpField::Asn, "ip.asn", ValueType::Int),
    (IpField::AsOrg, "ip.as_org", ValueType::Text),
    (IpField::Lists, "ip.lists", ValueType::Text),
    (IpField::ListWeight, "ip.list_weight", ValueType::Double),
    (IpField::IsTor, "ip.is_tor", ValueType::Bool),
    (IpField::IsVpn, "ip.is_vpn", ValueType::Bool),
    (IpField::IsProxy, "ip.is_proxy", ValueType::Bool),
    (IpField::IsHosting, "ip.is_hosting", ValueType::Bool),
    (IpField::IsAbuse, "ip.is_abuse", ValueType::Bool),
];

impl IpField {
    /// Its value among the facts.
    pub fn of(self, facts: &IpFacts) -> Value<'_> {
        let flag = |flag: Option<bool>| flag.map_or(Value::Missing, Value::Bool);
        let on = &facts.categories;
        match self {
            Self::Kind => Value::Text(facts.kind.name()),
            Self::IsReserved => Value::Bool(facts.kind.is_reserved()),
            Self::Country => Value::from_text(facts.country.as_ref().map(CountryCode::as_str)),
            Self::Asn => facts.asn.map_or(Value::Missing, |asn| Value::Int(i64::from(asn))),
            Self::AsOrg => Value::from_text(facts.as_org.as_deref()),
            Self::Lists => Value::from_text(facts.lists.as_deref()),
            Self::ListWeight => facts.list_weight.map_or(Value::Missing, Value::from_f64),
            Self::IsTor => flag(on.tor),
            Self::IsVpn => flag(on.vpn),
            Self::IsProxy => flag(on.proxy),
            Self::IsHosting => flag(on.hosting),
            Self::IsAbuse => flag(on.abuse),
        }
    }
}

/// A country as its two letters.
mod country {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::text::CountryCode;

    pub(super) fn serialize<S: Serializer>(code: &Option<CountryCode>, to: S) -> Result<S::Ok, S::Error> {
        match code {
            Some(code) => to.serialize_str(code.as_str()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CountryCode>, D::Error> {
        let code = Option::<Box<str>>::deserialize(from)?;
        code.map(|code| CountryCode::parse(&code).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are in logs: never changed.
    const FACTS_V1: [&str; 3] = [
        r#"{"kind":"private"}"#,
        r#"{"kind":"public","country":"NO","asn":2119,"as_org":"Telenor Norge AS"}"#,
        r#"{"kind":"public","lists":"drop,exits","list_weight":0.9,"is":{"tor":true,"abuse":true}}"#,
    ];

    #[test]
    fn facts_are_read_and_written_byte_for_byte() {
        for text in FACTS_V1 {
            let facts: IpFacts = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&facts).unwrap(), text);
        }
        assert!(serde_json::from_str::<IpFacts>(r#"{"kind":"public","country":"no"}"#).is_err());
    }

    #[test]
    fn every_name_has_its_value_or_is_missing() {
        let [private, known, listed] = FACTS_V1.map(|text| serde_json::from_str::<IpFacts>(text).unwrap());
        let of = |name: &str, facts: &IpFacts| {
            let (field, _, _) = IP_FIELDS.iter().find(|(_, known, _)| *known == name).unwrap();
            field.of(facts).to_string()
        };
        let table = [
            ("ip.kind", "private", "public", "public"),
            ("ip.is_reserved", "true", "false", "false"),
            ("ip.country", "missing", "NO", "missing"),
            ("ip.asn", "missing", "2119", "missing"),
            ("ip.as_org", "missing", "Telenor Norge AS", "missing"),
            ("ip.lists", "missing", "missing", "drop,exits"),
            ("ip.list_weight", "missing", "missing", "0.9"),
            ("ip.is_tor", "missing", "missing", "true"),
            ("ip.is_vpn", "missing", "missing", "missing"),
            ("ip.is_abuse", "missing", "missing", "true"),
        ];
        for (name, of_private, of_known, of_listed) in table {
            assert_eq!(of(name, &private), of_private, "{name}");
            assert_eq!(of(name, &known), of_known, "{name}");
            assert_eq!(of(name, &listed), of_listed, "{name}");
        }
    }
}
