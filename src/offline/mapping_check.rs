//! Checks the text of a mapping: every name, unit, zone and currency, with the place of what is wrong.

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::domain::decision::Outcome;
use crate::domain::label::LabelKind;
use crate::domain::money::Currency;
use crate::domain::value::parse_duration;
use crate::expr::suggest::nearest;
use crate::offline::cell::Cell;
use crate::offline::error::MappingError;
use crate::offline::mapping::{
    AmountUnit, ColumnName, DecisionReading, LabelsMapping, MappedField, Mapping, MetadataType, Reading,
    SameFileLabel, Source, VerdictReading, mappable_names, reading_of,
};
use crate::offline::mapping_yaml::{
    CurrencyYaml, DecisionYaml, FieldYaml, LabelYaml, LabelsYaml, MappingYaml, ScalarYaml,
};
use crate::offline::moment::{EpochUnit, MomentReading};

/// What a label is said to be when the mapping does not say.
const LABEL_KIND_DEFAULT: LabelKind = LabelKind::Chargeback;

/// Checks a mapping; `file` is what errors call it.
pub fn check(yaml: MappingYaml, file: &str) -> Result<Mapping, MappingError> {
    Checker { file }.mapping(yaml)
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
        let decision = yaml.decision.map(|decision| self.decision(&decision.value));
        Ok(Mapping { fields, label, labels, decision })
    }

    fn decision(&self, yaml: &DecisionYaml) -> DecisionReading {
        let column = self.column(&yaml.column.value, yaml.column.referenced);
        let said = [&yaml.approve, &yaml.review, &yaml.challenge, &yaml.block];
        if said.iter().all(|words| words.is_none()) {
            return DecisionReading::by_name(column, true);
        }
        let words = Outcome::ALL.into_iter().zip(said).map(|(outcome, words)| {
            (outcome, words.iter().flatten().map(|word| word.as_str().into()).collect())
        });
        DecisionReading { column, words: words.collect(), is_strict: true }
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
        } else if let Some(suggestion) =
            nearest(name, mappable_names().chain(["label", "labels", "decision"]))
        {
            detail = format!("{detail}; did you mean `{suggestion}`?");
        } else {
            let names: Vec<_> = mappable_names().collect();
            detail = format!(
                "{detail}; there are {}, metadata.<name>, label, labels and decision",
                names.join(", ")
            );
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
