//! A mapping: where each field of a transaction comes from in a foreign file (`--map`).
//!
//! Every name, unit, zone and currency in it is checked when it is read, with the place of what is wrong. Whether the columns
//! exist is checked against the file, in [`crate::offline::binding`].

use std::path::Path;
use std::time::Duration;

use crate::domain::decision::Outcome;
use crate::domain::field::{FIELDS, Field};
use crate::domain::label::LabelKind;
use crate::domain::value::ValueType;
use crate::offline::cell::Cell;
use crate::offline::error::{InputError, MappingError};
use crate::offline::mapping_yaml::{MAPPING_BYTES_MAX, MappingYaml};
use crate::offline::moment::MomentReading;

/// A checked mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Where the fields of a transaction come from.
    pub fields: Vec<MappedField>,
    /// A label in the same file.
    pub label: Option<SameFileLabel>,
    /// How to read a labels file.
    pub labels: Option<LabelsMapping>,
    /// What was decided.
    pub decision: Option<DecisionReading>,
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

/// Which values of a column say what was decided.
#[derive(Clone, Debug)]
pub struct DecisionReading {
    /// The column.
    pub column: ColumnName,
    /// The values of each outcome.
    pub words: Vec<(Outcome, Vec<Box<str>>)>,
    /// Whether any other value is wrong; else it says nothing.
    pub is_strict: bool,
}

impl DecisionReading {
    /// A column that holds the outcomes' own names.
    pub fn by_name(column: ColumnName, is_strict: bool) -> Self {
        let words = Outcome::ALL.map(|outcome| (outcome, vec![outcome.name().into()]));
        Self { column, words: words.into(), is_strict }
    }
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
        crate::offline::mapping_check::check(yaml, file)
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
