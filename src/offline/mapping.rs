//! A mapping: where each field of a transaction comes from in a foreign file (`--map`).
//!
//! Every name, unit, zone and currency in it is checked when it is read, with the place of what is wrong. Whether the columns
//! exist is checked against the file, in [`crate::offline::binding`].

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::domain::field::{FIELDS, Field};
use crate::domain::label::LabelKind;
use crate::domain::money::Currency;
use crate::domain::value::{ValueType, parse_duration};
use crate::expr::suggest::nearest;
use crate::offline::cell::Cell;
use crate::offline::error::{InputError, MappingError};
use crate::offline::mapping_yaml::{
    CurrencyYaml, FieldYaml, LabelYaml, LabelsYaml, MAPPING_BYTES_MAX, MappingYaml, ScalarYaml,
};
use crate::offline::moment::{EpochUnit, MomentReading};

/// What a label is said to be when the mapping does not say.
const LABEL_KIND_DEFAULT: LabelKind = LabelKind::Chargeback;

/// A checked mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Where the fields of a transaction come from.
    pub fields: Vec<MappedField>,
    /// A label in the same file.
    pub label: Option<SameFileLabel>,
    /// How to read a labels file.
    pub labels: Option<LabelsMapping>,
}

/// One field and where it comes from.
#[derive(Clone, Debug)]
pub struct MappedField {
    /// Its path in the API's object, such as `customer.id`.
    pub path: Box<str>,
    /// Where it comes from.
    pub source: Source,
    /// How it is read.
    pub reading: Reading,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A column.
    Column(ColumnName),
    /// The same for every row.
    Constant(Cell),
}

/// A column by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnName {
    /// Its name.
    pub name: String,
    /// Where the mapping names it, as `file:line:column`; empty without a mapping.
    pub named_at: String,
}

/// How a value becomes the field's.
#[derive(Clone, Debug)]
pub enum Reading {
    /// A text. A whole number is written with at least that many digits, because files that hold it as a number have
    /// lost its zeros.
    Text {
        /// 0 for a text that is no number by nature.
        digits_min: usize,
    },
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// A moment.
    Moment(MomentReading),
    /// An amount of money.
    Amount {
        /// What numbers count.
        unit: AmountUnit,
        /// In which currency.
        currency: Source,
    },
    /// A metadata value: what the file holds, or what the mapping says.
    Metadata(Option<MetadataType>),
}

/// What the numbers of an amount count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountUnit {
    /// Euros, with decimals.
    Major,
    /// Cents, whole.
    Minor,
}

/// The type of a metadata value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataType {
    /// `string`
    Text,
    /// `number`
    Number,
    /// `bool`
    Bool,
}

/// Which values of a column say fraud.
#[derive(Clone, Debug)]
pub struct VerdictReading {
    /// The column.
    pub column: ColumnName,
    /// What says fraud.
    pub fraud: Vec<Box<str>>,
    /// What says legitimate; everything else when empty.
    pub legitimate: Vec<Box<str>>,
}

/// A label in the same file.
#[derive(Clone, Debug)]
pub struct SameFileLabel {
    /// Fraud or not.
    pub verdict: VerdictReading,
    /// How long after the transaction it becomes known.
    pub delay: Duration,
    /// How it became known.
    pub kind: LabelKind,
}

/// How to read a labels file.
#[derive(Clone, Debug)]
pub struct LabelsMapping {
    /// Of which transaction, when, how, and why.
    pub fields: Vec<MappedField>,
    /// Fraud or not.
    pub verdict: VerdictReading,
}

impl Mapping {
    /// Reads a mapping's file.
    pub fn load(path: &Path) -> Result<Self, InputError> {
        let io = |source| InputError::Io { path: path.to_owned(), action: "read", source };
        let length = std::fs::metadata(path).map_err(io)?.len();
        if length > MAPPING_BYTES_MAX as u64 {
            let detail = format!("is {length} bytes long; a mapping has at most {MAPPING_BYTES_MAX}");
            return Err(InputError::Malformed { path: path.to_owned(), detail });
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }

    /// Reads a mapping's text; `file` is what errors call it.
    pub fn parse(text: &str, file: &str) -> Result<Self, MappingError> {
        let yaml = MappingYaml::parse(text).map_err(|error| {
            let at = error.location();
            let detail = first_line(&error.without_snippet().to_string());
            let place = at.map(|at| format!(" at line {}, column {}", at.line(), at.column()));
            let detail =
                place.and_then(|place| detail.strip_suffix(&place).map(str::to_owned)).unwrap_or(detail);
            MappingError {
                file: file.to_owned(),
                line: at.map_or(0, |at| at.line()),
                column: at.map_or(0, |at| at.column()),
                detail,
            }
        })?;
        Checker { file }.mapping(yaml)
    }

    /// The column that holds the transaction id, if it is a column.
    pub fn transaction_id_column(&self) -> Option<&str> {
        self.fields.iter().find(|field| &*field.path == "transaction_id").and_then(|field| {
            match &field.source {
                Source::Column(column) => Some(column.name.as_str()),
                Source::Constant(_) => None,
            }
        })
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// How the API's field of that name is read, if there is one that a file can hold. An amount is none: it has two parts.
pub fn reading_of(path: &str) -> Option<Reading> {
    if path.strip_prefix("metadata.").is_some_and(|name| !name.is_empty()) {
        return Some(Reading::Metadata(None));
    }
    let (field, value_type) = Field::parse(path)?;
    Some(match (field, value_type) {
        (Field::Amount | Field::AmountMinor | Field::Currency, _) => return None,
        (Field::CardLast4 | Field::MerchantMcc, _) => Reading::Text { digits_min: 4 },
        (Field::CardBin, _) => Reading::Text { digits_min: 6 },
        (Field::ThreeDsEci, _) => Reading::Text { digits_min: 2 },
        (_, ValueType::Int) => Reading::Int,
        (_, ValueType::Double) => Reading::Double,
        (_, ValueType::Time) => Reading::Moment(MomentReading::default()),
        (_, ValueType::Text | ValueType::Bool | ValueType::Duration) => Reading::Text { digits_min: 0 },
    })
}

/// The names that a mapping can use, apart from `metadata.<name>`.
pub fn mappable_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(_, name, _)| *name).filter(|name| !matches!(*name, "amount_minor" | "currency"))
}

struct Checker<'a> {
    file: &'a str,
}

impl Checker<'_> {
    fn error(&self, at: Location, detail: impl Into<String>) -> MappingError {
        MappingError {
            file: self.file.to_owned(),
            line: at.line(),
            column: at.column(),
            detail: detail.into(),
        }
    }

    fn mapping(&self, yaml: MappingYaml) -> Result<Mapping, MappingError> {
        let mut fields = Vec::with_capacity(yaml.fields.len());
        for (key, field) in yaml.fields {
            fields.push(self.field(&key, &field)?);
        }
        for required in ["transaction_id", "occurred_at", "amount"] {
            if !fields.iter().any(|field: &MappedField| &*field.path == required) {
                let detail = format!("must say where `{required}` comes from");
                return Err(MappingError { file: self.file.to_owned(), line: 0, column: 0, detail });
            }
        }
        let label = yaml.label.map(|label| self.same_file_label(&label)).transpose()?;
        let labels = yaml.labels.map(|labels| self.labels(&labels)).transpose()?;
        Ok(Mapping { fields, label, labels })
    }

    fn field(&self, key: &Spanned<String>, field: &Spanned<FieldYaml>) -> Result<MappedField, MappingError> {
        let (path, yaml, at) = (key.value.as_str(), &field.value, field.referenced);
        let reading = if path == "amount" {
            self.amount(yaml, at)?
        } else {
            match reading_of(path).ok_or_else(|| self.unknown_field(key))? {
                Reading::Moment(_) => Reading::Moment(self.moment(yaml)?),
                other => other,
            }
        };
        self.refuse_misplaced(path, yaml, &reading)?;
        let reading = match (reading, &yaml.kind) {
            (Reading::Metadata(_), Some(kind)) => Reading::Metadata(Some(match kind.value.as_str() {
                "string" => MetadataType::Text,
                "number" => MetadataType::Number,
                "bool" => MetadataType::Bool,
                _ => return Err(self.error(kind.referenced, "`type` is `string`, `number` or `bool`")),
            })),
            (reading, _) => reading,
        };
        Ok(MappedField { path: path.into(), source: self.source(yaml, at)?, reading })
    }

    fn unknown_field(&self, key: &Spanned<String>) -> MappingError {
        let name = key.value.as_str();
        let mut detail = format!("there is no field `{name}`");
        if matches!(name, "amount.value" | "amount.currency" | "amount_minor" | "currency") {
            detail.push_str("; amounts are written `amount: {column: NAME, unit: minor, currency: EUR}`");
        } else if let Some(suggestion) = nearest(name, mappable_names().chain(["label", "labels"])) {
            detail = format!("{detail}; did you mean `{suggestion}`?");
        } else {
            let names: Vec<_> = mappable_names().collect();
            detail = format!("{detail}; there are {}, metadata.<name>, label and labels", names.join(", "));
        }
        self.error(key.referenced, detail)
    }

    fn refuse_misplaced(&self, path: &str, yaml: &FieldYaml, reading: &Reading) -> Result<(), MappingError> {
        let is_moment = matches!(reading, Reading::Moment(_));
        let is_amount = matches!(reading, Reading::Amount { .. });
        let misplaced = [
            ("zone", yaml.zone.as_ref().map(|it| it.referenced), is_moment),
            ("unit", yaml.unit.as_ref().map(|it| it.referenced), is_moment || is_amount),
            ("currency", yaml.currency.as_ref().map(|it| it.referenced), is_amount),
            ("type", yaml.kind.as_ref().map(|it| it.referenced), matches!(reading, Reading::Metadata(_))),
        ];
        for (key, at, belongs) in misplaced {
            if let (Some(at), false) = (at, belongs) {
                return Err(self.error(at, format!("`{key}` means nothing for `{path}`")));
            }
        }
        Ok(())
    }

    fn source(&self, yaml: &FieldYaml, at: Location) -> Result<Source, MappingError> {
        match (&yaml.column, &yaml.value) {
            (Some(column), None) => Ok(Source::Column(self.column(&column.value, column.referenced))),
            (None, Some(value)) => Ok(Source::Constant(constant(&value.value))),
            _ => Err(self.error(
                at,
                "needs either `column`, the column that holds it, or `value`, one value for every row",
            )),
        }
    }

    fn column(&self, name: &str, at: Location) -> ColumnName {
        ColumnName { name: name.to_owned(), named_at: format!("{}:{}:{}", self.file, at.line(), at.column()) }
    }

    fn moment(&self, yaml: &FieldYaml) -> Result<MomentReading, MappingError> {
        let zone = match &yaml.zone {
            None => None,
            Some(zone) => Some(TimeZone::get(&zone.value).map_err(|_| {
                let detail = format!(
                    "{:?} is no time zone of the IANA database, such as UTC or Europe/Berlin",
                    zone.value
                );
                self.error(zone.referenced, detail)
            })?),
        };
        let unit = match &yaml.unit {
            None => None,
            Some(unit) => Some(
                EpochUnit::parse(&unit.value)
                    .ok_or_else(|| self.error(unit.referenced, "the `unit` of a time is s, ms, us or ns"))?,
            ),
        };
        Ok(MomentReading { zone, unit })
    }

    fn amount(&self, yaml: &FieldYaml, at: Location) -> Result<Reading, MappingError> {
        let unit = yaml.unit.as_ref().ok_or_else(|| {
            self.error(at, "needs `unit: major` (12.99) or `unit: minor` (1299): the difference is a factor of a hundred")
        })?;
        let unit = match unit.value.as_str() {
            "major" => AmountUnit::Major,
            "minor" => AmountUnit::Minor,
            _ => return Err(self.error(unit.referenced, "the `unit` of an amount is `major` or `minor`")),
        };
        let currency = yaml
            .currency
            .as_ref()
            .ok_or_else(|| self.error(at, "needs `currency`: a code such as EUR, or {column: NAME}"))?;
        let currency = match &currency.value {
            CurrencyYaml::Code(code) => {
                Currency::parse(code).map_err(|error| self.error(currency.referenced, error.to_string()))?;
                Source::Constant(Cell::from_text(code))
            }
            CurrencyYaml::Column(keys) => match (keys.get("column"), keys.len()) {
                (Some(column), 1) => Source::Column(self.column(column, currency.referenced)),
                _ => {
                    return Err(
                        self.error(currency.referenced, "must be a code such as EUR, or {column: NAME}")
                    );
                }
            },
        };
        Ok(Reading::Amount { unit, currency })
    }

    fn same_file_label(&self, label: &Spanned<LabelYaml>) -> Result<SameFileLabel, MappingError> {
        let delay = label.value.delay.as_ref().ok_or_else(|| {
            let detail = "needs `delay`: how long after the transaction the label becomes known, such as 7d";
            self.error(label.referenced, detail)
        })?;
        let delay =
            parse_duration(&delay.value).map_err(|error| self.error(delay.referenced, error.to_string()))?;
        Ok(SameFileLabel {
            verdict: self.verdict(&label.value)?,
            delay,
            kind: self.label_kind(&label.value)?,
        })
    }

    fn label_kind(&self, yaml: &LabelYaml) -> Result<LabelKind, MappingError> {
        let Some(kind) = &yaml.kind else { return Ok(LABEL_KIND_DEFAULT) };
        LabelKind::deserialize(serde_json::Value::from(kind.value.as_str())).map_err(|_| {
            let detail = "`kind` is chargeback, early_fraud_warning, refund, review or customer_report";
            self.error(kind.referenced, detail)
        })
    }

    fn verdict(&self, yaml: &LabelYaml) -> Result<VerdictReading, MappingError> {
        let words =
            |words: &Option<Vec<String>>| words.iter().flatten().map(|word| word.as_str().into()).collect();
        let (mut fraud, mut legitimate): (Vec<Box<str>>, Vec<Box<str>>) =
            (words(&yaml.fraud), words(&yaml.legitimate));
        if fraud.is_empty() {
            if yaml.fraud.is_some() || yaml.legitimate.is_some() {
                return Err(self.error(
                    yaml.column.referenced,
                    "needs `fraud`: the values that mean fraud, such as [1]",
                ));
            }
            (fraud, legitimate) = (vec!["fraud".into()], vec!["legitimate".into()]);
        }
        Ok(VerdictReading {
            column: self.column(&yaml.column.value, yaml.column.referenced),
            fraud,
            legitimate,
        })
    }

    fn labels(&self, labels: &Spanned<LabelsYaml>) -> Result<LabelsMapping, MappingError> {
        let (yaml, at) = (&labels.value, labels.referenced);
        if let Some(delay) = &yaml.label.delay {
            let detail = "a labels file says when each label became known; `delay` belongs to `label` of the same file";
            return Err(self.error(delay.referenced, detail));
        }
        let text = Reading::Text { digits_min: 0 };
        let field = |path: &str, field: &FieldYaml, reading: Reading| -> Result<MappedField, MappingError> {
            self.refuse_misplaced(path, field, &reading)?;
            Ok(MappedField { path: path.into(), source: self.source(field, at)?, reading })
        };
        let mut fields = vec![
            field("transaction_id", &yaml.transaction_id, text.clone())?,
            field("occurred_at", &yaml.occurred_at, Reading::Moment(self.moment(&yaml.occurred_at)?))?,
        ];
        match &yaml.kind {
            Some(kind) => fields.push(field("kind", kind, text.clone())?),
            None => {
                let kind = serde_json::to_value(self.label_kind(&yaml.label)?).unwrap_or_default();
                let source = Source::Constant(Cell::from_text(kind.as_str().unwrap_or_default()));
                fields.push(MappedField { path: "kind".into(), source, reading: text.clone() });
            }
        }
        if let Some(reason_code) = &yaml.reason_code {
            fields.push(field("reason_code", reason_code, text)?);
        }
        Ok(LabelsMapping { fields, verdict: self.verdict(&yaml.label)? })
    }
}

fn constant(scalar: &ScalarYaml) -> Cell {
    match scalar {
        ScalarYaml::Bool(flag) => Cell::Bool(*flag),
        ScalarYaml::Int(number) => Cell::Int(*number),
        ScalarYaml::Double(number) => Cell::from_double(*number),
        ScalarYaml::Text(text) => Cell::from_text(text),
    }
}
