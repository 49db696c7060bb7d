//! The text of a mapping: which keys there are, and where they stand. What they mean is checked in
//! [`crate::offline::mapping`].

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

/// Most bytes of a mapping.
pub const MAPPING_BYTES_MAX: usize = 256 * 1024;

/// A mapping as it is written, in the order of the file.
#[derive(Debug, Default)]
pub struct MappingYaml {
    /// `<field>: {…}`
    pub fields: Vec<(Spanned<String>, Spanned<FieldYaml>)>,
    /// `label: {…}`
    pub label: Option<Spanned<LabelYaml>>,
    /// `labels: {…}`
    pub labels: Option<Spanned<LabelsYaml>>,
    /// `decision: {…}`
    pub decision: Option<Spanned<DecisionYaml>>,
}

/// What was decided about the transaction.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionYaml {
    /// The column that says it.
    pub column: Spanned<String>,
    /// Its values for APPROVE; when no outcome has any, the outcomes' own names.
    #[serde(rename = "APPROVE")]
    pub approve: Option<Vec<String>>,
    /// Its values for REVIEW.
    #[serde(rename = "REVIEW")]
    pub review: Option<Vec<String>>,
    /// Its values for CHALLENGE.
    #[serde(rename = "CHALLENGE")]
    pub challenge: Option<Vec<String>>,
    /// Its values for BLOCK.
    #[serde(rename = "BLOCK")]
    pub block: Option<Vec<String>>,
}

/// Where one field comes from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldYaml {
    /// The column that holds it.
    pub column: Option<Spanned<String>>,
    /// Or one value for every row.
    pub value: Option<Spanned<ScalarYaml>>,
    /// For moments: where local times are local.
    pub zone: Option<Spanned<String>>,
    /// For moments and amounts: what numbers count.
    pub unit: Option<Spanned<String>>,
    /// For amounts: a code, or a column of codes.
    pub currency: Option<Spanned<CurrencyYaml>>,
    /// For metadata: `string`, `number` or `bool`.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<String>>,
}

/// `EUR`, or `{column: currency}`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a currency code such as EUR, or {column: NAME}")]
pub enum CurrencyYaml {
    /// One currency for every row.
    Code(String),
    /// `column` and a column of codes.
    Column(BTreeMap<String, String>),
}

/// A label in the same file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelYaml {
    /// The column that says whether it was fraud.
    pub column: Spanned<String>,
    /// Its values for fraud, as they are written: `1`, `true`, `Y`.
    pub fraud: Option<Vec<String>>,
    /// Its values for no fraud; every other one when not said.
    pub legitimate: Option<Vec<String>>,
    /// How long after the transaction the label becomes known.
    pub delay: Option<Spanned<String>>,
    /// How it became known.
    pub kind: Option<Spanned<String>>,
}

/// How to read a labels file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelsYaml {
    /// Of which transaction.
    pub transaction_id: FieldYaml,
    /// When it became known.
    pub occurred_at: FieldYaml,
    /// Whether it was fraud.
    pub label: LabelYaml,
    /// How it became known.
    pub kind: Option<FieldYaml>,
    /// The reason code.
    pub reason_code: Option<FieldYaml>,
}

/// One scalar.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, a number, true or false")]
pub enum ScalarYaml {
    /// `true`
    Bool(bool),
    /// `1`
    Int(i64),
    /// `1.5`
    Double(f64),
    /// `EUR`
    Text(String),
}

impl MappingYaml {
    /// Reads a mapping's text. Only `true` and `false` are booleans: `NO` is a country.
    pub fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true })
    }
}

impl<'de> Deserialize<'de> for MappingYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = MappingYaml;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields and where each comes from, such as `transaction_id: {column: tx_id}`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MappingYaml, A::Error> {
                let mut mapping = MappingYaml::default();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    match key.value.as_str() {
                        "label" => mapping.label = Some(map.next_value()?),
                        "labels" => mapping.labels = Some(map.next_value()?),
                        "decision" => mapping.decision = Some(map.next_value()?),
                        _ => mapping.fields.push((key, map.next_value()?)),
                    }
                }
                Ok(mapping)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_places() {
        let text = "transaction_id: {column: tx_id}\namount:\n  column: amount\n  unit: major\n  currency: {column: ccy}\nlabel: {column: f, fraud: [1, yes, 'x', true, 007, 1.0], delay: 7d}\n";
        let mapping = MappingYaml::parse(text).unwrap();
        let (key, field) = &mapping.fields[1];
        assert_eq!((key.value.as_str(), key.referenced.line(), key.referenced.column()), ("amount", 2, 1));
        let unit = field.value.unit.as_ref().unwrap();
        assert_eq!((unit.value.as_str(), unit.referenced.line(), unit.referenced.column()), ("major", 4, 9));
        assert!(matches!(field.value.currency.as_ref().unwrap().value, CurrencyYaml::Column(_)));
        assert_eq!(mapping.label.unwrap().value.fraud.unwrap(), ["1", "yes", "x", "true", "007", "1.0"]);
    }

    #[test]
    fn duplicate_and_unknown_keys_are_refused() {
        for text in ["a: {column: x}\na: {column: y}\n", "a: {colum: x}\n", "[]", "a", "a: {column: {}}"] {
            assert!(MappingYaml::parse(text).is_err(), "{text}");
        }
    }
}
