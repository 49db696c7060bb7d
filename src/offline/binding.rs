//! From the cells of a row to an object shaped like the API's.
//!
//! A binding knows which columns it needs, and in which order it gets them; it builds the object field by field. What it
//! cannot read is a problem of one column. What it can read is not yet right: [`crate::wire`] validates it.

use serde_json::{Map, Number, Value};

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::money::{Currency, Money, MoneyError};
use crate::offline::cell::Cell;
use crate::offline::error::RowProblem;
use crate::offline::mapping::{
    AmountUnit, ColumnName, DecisionReading, MappedField, MetadataType, Reading, Source, VerdictReading,
    mappable_names, reading_of,
};
use crate::offline::moment::MomentReading;
use crate::wire::pan::contains_pan;
use crate::wire::reader::escape;
use crate::wire::rejection::Rejection;

/// What an answer of the API calls its outcome.
pub const DECISION: &str = "decision";

/// Fields bound to columns.
#[derive(Clone, Debug)]
pub struct Binding {
    columns: Vec<ColumnName>,
    fields: Vec<BoundField>,
    verdict: Option<BoundVerdict>,
    decision: Option<BoundDecision>,
}

#[derive(Clone, Debug)]
struct BoundField {
    group: Option<Box<str>>,
    leaf: Box<str>,
    slot: Slot,
    reading: BoundReading,
}

#[derive(Clone, Debug)]
enum BoundReading {
    Plain(Reading),
    Amount { unit: AmountUnit, currency: Slot },
}

#[derive(Clone, Debug)]
enum Slot {
    Column(usize),
    Constant(Cell),
}

#[derive(Clone, Debug)]
struct BoundVerdict {
    column: usize,
    fraud: Vec<Box<str>>,
    legitimate: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
struct BoundDecision {
    column: usize,
    words: Vec<(Outcome, Vec<Box<str>>)>,
    is_strict: bool,
}

impl Binding {
    /// Binds the fields, and a verdict if there is one.
    pub fn new(fields: &[MappedField], verdict: Option<&VerdictReading>) -> Self {
        let mut binding = Self {
            columns: Vec::new(),
            fields: Vec::with_capacity(fields.len()),
            verdict: None,
            decision: None,
        };
        for field in fields {
            let slot = binding.slot(&field.source);
            let reading = match &field.reading {
                Reading::Amount { unit, currency } => {
                    BoundReading::Amount { unit: *unit, currency: binding.slot(currency) }
                }
                other => BoundReading::Plain(other.clone()),
            };
            let (group, leaf) = match field.path.split_once('.') {
                Some((group, leaf)) => (Some(group.into()), leaf.into()),
                None => (None, field.path.clone()),
            };
            binding.fields.push(BoundField { group, leaf, slot, reading });
        }
        if let Some(verdict) = verdict {
            let column = binding.column(&verdict.column);
            let (fraud, legitimate) = (verdict.fraud.clone(), verdict.legitimate.clone());
            binding.verdict = Some(BoundVerdict { column, fraud, legitimate });
        }
        binding
    }

    /// With what was decided, if the file says so.
    #[must_use]
    pub fn with_decision(mut self, decision: Option<&DecisionReading>) -> Self {
        self.decision = decision.map(|reading| BoundDecision {
            column: self.column(&reading.column),
            words: reading.words.clone(),
            is_strict: reading.is_strict,
        });
        self
    }

    fn slot(&mut self, source: &Source) -> Slot {
        match source {
            Source::Column(column) => Slot::Column(self.column(column)),
            Source::Constant(cell) => Slot::Constant(cell.clone()),
        }
    }

    fn column(&mut self, column: &ColumnName) -> usize {
        if let Some(position) = self.columns.iter().position(|known| known.name == column.name) {
            return position;
        }
        self.columns.push(column.clone());
        self.columns.len() - 1
    }

    /// The columns that it needs, in the order in which it takes their cells.
    pub fn columns(&self) -> &[ColumnName] {
        &self.columns
    }

    /// The object that a row stands for.
    pub fn object(&self, cells: &[Cell]) -> Result<Value, RowProblem> {
        let mut body = Map::new();
        for field in &self.fields {
            let cell = self.cell(&field.slot, cells);
            if cell.is_missing() {
                continue;
            }
            let value = match &field.reading {
                BoundReading::Plain(reading) => read_plain(cell, reading),
                BoundReading::Amount { unit, currency } => {
                    read_amount(cell, *unit, self.cell(currency, cells))
                }
            };
            let value = value.map_err(|reason| self.problem(&field.slot, reason))?;
            let object = match &field.group {
                None => &mut body,
                Some(group) => {
                    if !body.contains_key(&**group) {
                        body.insert(group.to_string(), Value::Object(Map::new()));
                    }
                    match body.get_mut(&**group) {
                        Some(Value::Object(object)) => object,
                        _ => continue,
                    }
                }
            };
            object.insert(field.leaf.to_string(), value);
        }
        Ok(Value::Object(body))
    }

    /// What the row says about fraud; `None` when it says nothing, or when no verdict is bound.
    pub fn verdict(&self, cells: &[Cell]) -> Result<Option<Verdict>, RowProblem> {
        let Some(bound) = &self.verdict else { return Ok(None) };
        let cell = &cells[bound.column];
        if cell.is_missing() {
            return Ok(None);
        }
        let word = cell.word();
        let is_among = |words: &[Box<str>]| {
            word.as_deref().is_some_and(|word| words.iter().any(|known| same_word(word, known)))
        };
        if is_among(&bound.fraud) {
            Ok(Some(Verdict::Fraud))
        } else if bound.legitimate.is_empty() || is_among(&bound.legitimate) {
            Ok(Some(Verdict::Legitimate))
        } else {
            let reason = format!(
                "{} means neither fraud ({}) nor legitimate ({})",
                cell.shown(),
                bound.fraud.join(", "),
                bound.legitimate.join(", ")
            );
            Err(RowProblem::column(self.columns[bound.column].name.clone(), reason))
        }
    }

    /// What the row says was decided; `None` when it says nothing.
    pub fn decision(&self, cells: &[Cell]) -> Result<Option<Outcome>, RowProblem> {
        let Some(bound) = &self.decision else { return Ok(None) };
        let cell = &cells[bound.column];
        let Some(word) = cell.word() else { return Ok(None) };
        let said = bound.words.iter().find(|(_, words)| words.iter().any(|known| same_word(&word, known)));
        match said {
            Some((outcome, _)) => Ok(Some(*outcome)),
            None if !bound.is_strict => Ok(None),
            None => {
                let known = bound
                    .words
                    .iter()
                    .flat_map(|(outcome, words)| words.iter().map(move |word| format!("{word} ({outcome})")));
                let known: Vec<String> = known.collect();
                let reason = format!("{} is no decision: not {}", cell.shown(), known.join(", "));
                Err(RowProblem::column(self.columns[bound.column].name.clone(), reason))
            }
        }
    }

    /// A rejection, with the column where it names one field that comes from a column.
    pub fn explain(&self, rejection: &Rejection) -> RowProblem {
        let column = match rejection {
            Rejection::Invalid(errors) if errors.len() == 1 => self.column_at(&errors[0].pointer),
            _ => None,
        };
        RowProblem { column, reason: rejection.to_string() }
    }

    fn column_at(&self, pointer: &str) -> Option<String> {
        let field = self.fields.iter().find(|field| {
            let leaf = escape(&field.leaf);
            match &field.group {
                Some(group) => pointer == format!("/{group}/{leaf}"),
                None => pointer == format!("/{leaf}") || pointer.starts_with(&format!("/{leaf}/")),
            }
        })?;
        match field.slot {
            Slot::Column(column) => Some(self.columns[column].name.clone()),
            Slot::Constant(_) => None,
        }
    }

    fn cell<'a>(&'a self, slot: &'a Slot, cells: &'a [Cell]) -> &'a Cell {
        match slot {
            Slot::Column(column) => &cells[*column],
            Slot::Constant(cell) => cell,
        }
    }

    fn problem(&self, slot: &Slot, reason: String) -> RowProblem {
        match slot {
            Slot::Column(column) => RowProblem::column(self.columns[*column].name.clone(), reason),
            Slot::Constant(_) => RowProblem::row(reason),
        }
    }
}

/// The fields of a transaction that a file without a mapping has: its columns are called as the API's fields are, in dots.
/// The three required ones are always among them, so that a file without them is refused by their name.
pub fn transaction_fields_by_name(columns: &[String]) -> Vec<MappedField> {
    let mut fields = Vec::new();
    for name in ["transaction_id", "occurred_at"] {
        fields.extend(reading_of(name).map(|reading| by_name(name, reading)));
    }
    let currency = Source::Column(unmapped("amount.currency"));
    fields.push(MappedField {
        path: "amount".into(),
        source: Source::Column(unmapped("amount.value")),
        reading: Reading::Amount { unit: AmountUnit::Minor, currency },
    });
    let is_known = |name: &str| mappable_names().any(|known| known == name) || name.starts_with("metadata.");
    let optional = columns.iter().filter(|name| !matches!(name.as_str(), "transaction_id" | "occurred_at"));
    for name in optional.filter(|name| is_known(name)) {
        fields.extend(reading_of(name).map(|reading| by_name(name, reading)));
    }
    fields
}

/// The fields of a label in a file without a mapping, see [`transaction_fields_by_name`].
pub fn label_fields_by_name(columns: &[String]) -> Vec<MappedField> {
    let text = Reading::Text { digits_min: 0 };
    let mut fields = vec![
        by_name("transaction_id", text.clone()),
        by_name("occurred_at", Reading::Moment(MomentReading::default())),
        by_name("label", text.clone()),
        by_name("kind", text.clone()),
    ];
    if columns.iter().any(|name| name == "reason_code") {
        fields.push(by_name("reason_code", text));
    }
    fields
}

/// What was decided in a file without a mapping, see [`transaction_fields_by_name`]: as an answer of the API names it.
pub fn decision_by_name(columns: &[String]) -> Option<DecisionReading> {
    let is_there = columns.iter().any(|name| name == DECISION);
    is_there.then(|| DecisionReading::by_name(unmapped(DECISION), false))
}

fn by_name(name: &str, reading: Reading) -> MappedField {
    MappedField { path: name.into(), source: Source::Column(unmapped(name)), reading }
}

fn unmapped(name: &str) -> ColumnName {
    ColumnName { name: name.to_owned(), named_at: "without a mapping".to_owned() }
}

fn same_word(word: &str, known: &str) -> bool {
    word == known
        || (matches!(known, "true" | "false") && word.eq_ignore_ascii_case(known))
        || matches!((word.trim().parse::<f64>(), known.parse::<f64>()), (Ok(a), Ok(b)) if a.to_bits() == b.to_bits())
}

fn read_plain(cell: &Cell, reading: &Reading) -> Result<Value, String> {
    match reading {
        Reading::Text { digits_min } => text(cell, *digits_min),
        Reading::Int => Ok(integer(cell)),
        Reading::Double => number(cell),
        Reading::Moment(reading) => reading.read(cell).map(|moment| moment.to_string().into()),
        Reading::Metadata(kind) => metadata(cell, *kind),
        Reading::Amount { .. } => Err("is no amount".to_owned()),
    }
}

fn text(cell: &Cell, digits_min: usize) -> Result<Value, String> {
    let word = cell.word().ok_or_else(|| format!("{} is no text", cell.shown()))?;
    if digits_min > 0 && !matches!(cell, Cell::Text(_)) {
        return Ok(format!("{word:0>digits_min$}").into());
    }
    Ok(word.into_owned().into())
}

/// A whole number; anything else is passed on as it is, for the validation to refuse.
fn integer(cell: &Cell) -> Value {
    let whole = cell.decimal().and_then(|text| whole_number(&text));
    whole.map_or_else(|| cell.word().unwrap_or_default().into_owned().into(), Value::from)
}

/// `12`, `12.0` or `-3`, but not `12.5`.
fn whole_number(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|byte| byte == b'0') { whole.parse().ok() } else { None }
}

fn number(cell: &Cell) -> Result<Value, String> {
    let number = match cell {
        Cell::Int(number) => return Ok((*number).into()),
        Cell::Double(number) => Some(*number),
        Cell::Float(number) => Some(f64::from(*number)),
        Cell::Number(text) => text.parse().ok(),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.and_then(Number::from_f64).map(Value::Number);
    number.ok_or_else(|| format!("{} is no finite number", cell.shown()))
}

fn metadata(cell: &Cell, kind: Option<MetadataType>) -> Result<Value, String> {
    match (kind, cell) {
        (Some(MetadataType::Text), _) => text(cell, 0),
        (Some(MetadataType::Number), _) => number(cell),
        (Some(MetadataType::Bool), _) | (None, Cell::Bool(_)) => {
            let word = cell.word().unwrap_or_default();
            match word.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(true.into()),
                "false" | "0" => Ok(false.into()),
                _ => Err(format!("{} is neither true nor false", cell.shown())),
            }
        }
        (None, Cell::Int(_) | Cell::Float(_) | Cell::Double(_) | Cell::Number(_)) => number(cell),
        (None, Cell::Instant(_)) => {
            MomentReading::default().read(cell).map(|moment| moment.to_string().into())
        }
        (None, _) => text(cell, 0),
    }
}

fn read_amount(cell: &Cell, unit: AmountUnit, currency: &Cell) -> Result<Value, String> {
    let code = currency.word().ok_or_else(|| "has no currency in this row".to_owned())?;
    let code = code.trim();
    let text = cell.decimal().ok_or_else(|| format!("{} is no amount", cell.shown()))?;
    let money = Currency::parse(code).and_then(|currency| match unit {
        AmountUnit::Major => Money::from_major(&text, currency),
        AmountUnit::Minor => whole_number(&text)
            .ok_or_else(|| MoneyError::Malformed(text.chars().take(32).collect()))
            .and_then(|minor| Money::from_minor(minor, currency)),
    });
    let money = money.map_err(|error| match (error, unit) {
        (MoneyError::Malformed(_), AmountUnit::Minor) => {
            format!("{} is no whole number of minor units", cell.shown())
        }
        (MoneyError::Malformed(_) | MoneyError::TooPrecise { .. }, _) if contains_pan(&text) => {
            format!("{} is no amount", cell.shown())
        }
        (error, _) => error.to_string(),
    })?;
    let mut amount = Map::new();
    amount.insert("value".to_owned(), money.minor().into());
    amount.insert("currency".to_owned(), money.currency().code().into());
    Ok(Value::Object(amount))
}
