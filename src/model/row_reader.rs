//! Rows for a model from a CSV file: the header names its features, an empty field is missing.

use std::io::Read;

use thiserror::Error;

use crate::model::manifest::Model;

/// Why rows cannot be read.
#[derive(Debug, Error)]
pub enum RowError {
    /// Not CSV, or it cannot be read.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// The header is not the model's.
    #[error("the header lacks the model's features {}; it must name all of them, in any order", .0.join(", "))]
    MissingColumns(Vec<String>),
    /// The header names a feature twice.
    #[error("the header names {0} twice")]
    DoubleColumn(String),
    /// A value is no number.
    #[error("row {row}, column {column}: {text:?} is no number; an empty field is missing")]
    NotANumber {
        /// From 1, without the header.
        row: u64,
        /// The feature.
        column: String,
        /// What stands there.
        text: String,
    },
}

/// Reads rows in the order of a model's features.
#[derive(Debug)]
pub struct RowReader<'a, R> {
    model: &'a Model,
    reader: csv::Reader<R>,
    record: csv::StringRecord,
    /// By feature: its column.
    columns: Vec<usize>,
    rows: u64,
}

impl<'a, R: Read> RowReader<'a, R> {
    /// Reads the header.
    pub fn new(model: &'a Model, input: R) -> Result<Self, RowError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
        let header = reader.headers()?;
        let mut columns = Vec::with_capacity(model.feature_names.len());
        let mut missing = Vec::new();
        for name in &model.feature_names {
            match header.iter().position(|column| column == &**name) {
                Some(column) => columns.push(column),
                None => missing.push(name.to_string()),
            }
        }
        let twice =
            columns.iter().find(|column| header.iter().filter(|name| *name == &header[**column]).count() > 1);
        if let Some(column) = twice {
            return Err(RowError::DoubleColumn(header[*column].to_owned()));
        }
        if !missing.is_empty() {
            return Err(RowError::MissingColumns(missing));
        }
        Ok(Self { model, reader, record: csv::StringRecord::new(), columns, rows: 0 })
    }

    /// Reads the next row; `false` when there is none. `row` is as long as the model has features.
    pub fn next_into(&mut self, row: &mut [f32]) -> Result<bool, RowError> {
        if !self.reader.read_record(&mut self.record)? {
            return Ok(false);
        }
        self.rows += 1;
        for (value, (column, name)) in row.iter_mut().zip(self.columns.iter().zip(&self.model.feature_names))
        {
            let text = self.record.get(*column).unwrap_or("");
            *value = parse(text).ok_or_else(|| RowError::NotANumber {
                row: self.rows,
                column: name.to_string(),
                text: text.chars().take(40).collect(),
            })?;
        }
        Ok(true)
    }

    /// How many rows have been read.
    pub const fn rows(&self) -> u64 {
        self.rows
    }
}

/// A field as f32, read at once in that precision; empty is missing.
fn parse(text: &str) -> Option<f32> {
    if text.is_empty() { Some(f32::NAN) } else { text.parse().ok() }
}
