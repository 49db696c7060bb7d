//! The columns of an archive's files: name, type, meaning, and where in a record the value stands. One table says all of it.
//!
//! Columns are only ever added, at the end before `frame`; a reader of several files unites them by name. No column but `frame` may hold
//! anything about a person: no customer, card, device, address, e-mail, and nothing made of them.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

use crate::archive::row::{Cell, Source};

/// The version of this table, noted in each file.
pub const SCHEMA_VERSION: u32 = 1;
/// Digits of the column `amount`, in all.
pub const AMOUNT_PRECISION: i32 = 18;
/// Digits after its point: as many as the currency with most of them has.
pub const AMOUNT_SCALE: i32 = 4;

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnType {
    /// A whole number of 64 bits.
    Long,
    /// A whole number of 32 bits.
    Integer,
    /// A moment in UTC, in microseconds.
    Timestamp,
    /// A decimal number with `AMOUNT_SCALE` places.
    Amount,
    /// A single-precision number.
    Float,
    /// True or false.
    Boolean,
    /// A text.
    Text,
    /// Several texts.
    Texts,
    /// Bytes.
    Bytes,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether every row has a value.
    pub required: bool,
    /// The value in a record.
    pub value: fn(&Source<'_>) -> Cell,
}

const fn required(name: &'static str, column_type: ColumnType, value: fn(&Source<'_>) -> Cell) -> Column {
    Column { name, column_type, required: true, value }
}

const fn optional(name: &'static str, column_type: ColumnType, value: fn(&Source<'_>) -> Cell) -> Column {
    Column { name, column_type, required: false, value }
}

/// All columns, in the order of the files.
pub const COLUMNS: [Column; 37] = [
    required("sequence", ColumnType::Long, |it| Cell::count(it.header.sequence)),
    required("recorded_at", ColumnType::Timestamp, |it| Cell::moment_ms(it.header.recorded_at.unix_millis())),
    required("kind", ColumnType::Text, |it| Cell::Text(it.header.kind.name().into())),
    required("schema", ColumnType::Integer, |it| Cell::Int(it.header.schema.into())),
    required("segment", ColumnType::Long, |it| Cell::count(it.segment)),
    optional("decision_id", ColumnType::Text, |it| Cell::text(it.body.decision_id.as_deref())),
    optional("transaction_id", ColumnType::Text, |it| Cell::text(it.transaction_id())),
    optional("occurred_at", ColumnType::Timestamp, |it| Cell::moment(it.occurred_at())),
    optional("received_at", ColumnType::Timestamp, |it| {
        it.body.received_at_ms.map_or(Cell::Null, Cell::moment_ms)
    }),
    optional("amount", ColumnType::Amount, |it| it.amount()),
    optional("amount_minor", ColumnType::Long, |it| Cell::int(it.transaction.amount.value)),
    optional("currency", ColumnType::Text, |it| Cell::text(it.transaction.amount.currency.as_deref())),
    optional("channel", ColumnType::Text, |it| Cell::text(it.transaction.channel.as_deref())),
    optional("merchant_id", ColumnType::Text, |it| Cell::text(it.transaction.merchant.id.as_deref())),
    optional("merchant_mcc", ColumnType::Text, |it| Cell::text(it.transaction.merchant.mcc.as_deref())),
    optional("merchant_country", ColumnType::Text, |it| {
        Cell::text(it.transaction.merchant.country.as_deref())
    }),
    optional("decision", ColumnType::Text, |it| Cell::text(it.body.decision.as_deref())),
    optional("reason", ColumnType::Text, |it| Cell::text(it.body.reason.as_deref())),
    optional("reasons", ColumnType::Texts, |it| {
        Cell::texts(it.body.reasons.as_deref(), |reason| &reason.code)
    }),
    optional("rules", ColumnType::Texts, |it| it.hits(false)),
    optional("shadow_rules", ColumnType::Texts, |it| it.hits(true)),
    optional("score", ColumnType::Float, |it| Cell::float(it.body.score)),
    optional("margin", ColumnType::Float, |it| Cell::float(it.body.margin)),
    optional("risk_level", ColumnType::Text, |it| Cell::text(it.body.risk_level.as_deref())),
    optional("degraded", ColumnType::Boolean, |it| it.body.degraded.map_or(Cell::Null, Cell::Bool)),
    optional("missing", ColumnType::Texts, |it| Cell::texts(it.body.missing.as_deref(), |name| name)),
    optional("repeat", ColumnType::Boolean, |it| it.repeat()),
    optional("policy", ColumnType::Text, |it| Cell::text(it.body.policy.as_deref())),
    optional("rules_version", ColumnType::Text, |it| Cell::text(it.body.versions.rules.as_deref())),
    optional("model_version", ColumnType::Text, |it| Cell::text(it.body.versions.model.as_deref())),
    optional("features_version", ColumnType::Text, |it| Cell::text(it.body.versions.features.as_deref())),
    optional("total_us", ColumnType::Long, |it| Cell::int(it.body.latency_us.total)),
    optional("enrich_us", ColumnType::Long, |it| Cell::int(it.body.latency_us.enrich)),
    optional("label", ColumnType::Text, |it| Cell::text(it.label.label.as_deref())),
    optional("label_kind", ColumnType::Text, |it| Cell::text(it.label.kind.as_deref())),
    optional("label_reason_code", ColumnType::Text, |it| Cell::text(it.label.reason_code.as_deref())),
    required("frame", ColumnType::Bytes, |it| Cell::Bytes(it.frame.to_vec())),
];

impl Column {
    /// The highest definition level: 0 for what is always there.
    pub const fn present(&self) -> i16 {
        match (self.required, self.column_type) {
            (true, _) => 0,
            (false, ColumnType::Texts) => 2,
            (false, _) => 1,
        }
    }

    fn parquet_type(&self) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self.column_type {
            ColumnType::Long => (PhysicalType::INT64, None),
            ColumnType::Integer => (PhysicalType::INT32, None),
            ColumnType::Timestamp => {
                (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
            }
            ColumnType::Amount => {
                (PhysicalType::INT64, Some(LogicalType::decimal(AMOUNT_SCALE, AMOUNT_PRECISION)))
            }
            ColumnType::Float => (PhysicalType::FLOAT, None),
            ColumnType::Boolean => (PhysicalType::BOOLEAN, None),
            ColumnType::Text | ColumnType::Texts => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Bytes => (PhysicalType::BYTE_ARRAY, None),
        };
        let primitive = |name, repetition| {
            let mut builder = Type::primitive_type_builder(name, physical)
                .with_repetition(repetition)
                .with_logical_type(logical.clone());
            if self.column_type == ColumnType::Amount {
                builder = builder.with_precision(AMOUNT_PRECISION).with_scale(AMOUNT_SCALE);
            }
            builder.build().map(Arc::new)
        };
        if self.column_type != ColumnType::Texts {
            let repetition = if self.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
            return primitive(self.name, repetition);
        }
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![primitive("element", Repetition::REQUIRED)?])
            .build()?;
        let column = Type::group_type_builder(self.name)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(list)])
            .build()?;
        Ok(Arc::new(column))
    }
}

/// The schema of a file.
pub fn parquet_schema() -> Result<TypePtr, ParquetError> {
    let fields = COLUMNS.iter().map(Column::parquet_type).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Type::group_type_builder("record").with_fields(fields).build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_every_column() {
        let readme = include_str!("README.md");
        for column in &COLUMNS {
            assert!(readme.contains(&format!("`{}`", column.name)), "{}", column.name);
        }
    }
}
