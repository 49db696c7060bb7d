//! Scores a table of rows: what `tollgate model score` does between two files.

use std::io::{Read, Write};

use thiserror::Error;

use crate::model::forest::{RowLengthError, probability};
use crate::model::manifest::Model;

/// Why rows cannot be scored.
#[derive(Debug, Error)]
pub enum ScoreError {
    /// Not CSV, or it cannot be read or written.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// It cannot be written.
    #[error("cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// The header is not the model's.
    #[error("the header lacks the model's features {}; it must name all of them, in any order", .0.join(", "))]
    MissingColumns(Vec<String>),
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
    /// Cannot happen after the header was checked.
    #[error(transparent)]
    RowLength(#[from] RowLengthError),
}

/// Reads rows, writes margin, probability and, on request, contributions. Gives the number of rows.
pub fn score_csv(
    model: &Model,
    input: impl Read,
    output: impl Write,
    with_contributions: bool,
) -> Result<u64, ScoreError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let header = reader.headers()?.clone();
    let mut columns = Vec::with_capacity(model.feature_names.len());
    let mut missing = Vec::new();
    for name in &model.feature_names {
        match header.iter().position(|column| column == &**name) {
            Some(column) => columns.push(column),
            None => missing.push(name.to_string()),
        }
    }
    if !missing.is_empty() {
        return Err(ScoreError::MissingColumns(missing));
    }
    let mut writer = csv::Writer::from_writer(output);
    let mut titles = vec!["margin".to_owned(), "probability".to_owned()];
    if with_contributions {
        titles.extend(model.feature_names.iter().map(ToString::to_string));
        titles.push("bias".to_owned());
    }
    writer.write_record(&titles)?;
    let mut rows = 0;
    let mut row = vec![f32::NAN; columns.len()];
    for record in reader.records() {
        let record = record?;
        rows += 1;
        for (value, (column, name)) in row.iter_mut().zip(columns.iter().zip(&model.feature_names)) {
            let text = record.get(*column).unwrap_or("");
            *value = parse(text).ok_or_else(|| ScoreError::NotANumber {
                row: rows,
                column: name.to_string(),
                text: text.chars().take(40).collect(),
            })?;
        }
        let margin = model.forest.margin(&row)?;
        let mut fields = vec![margin.to_string(), probability(margin).to_string()];
        if with_contributions {
            let contributions = model.attributor.contributions(&model.forest, &row)?;
            fields.extend(contributions.features.iter().map(ToString::to_string));
            fields.push(contributions.bias.to_string());
        }
        writer.write_record(&fields)?;
    }
    writer.flush()?;
    Ok(rows)
}

/// A field as f32, read at once in that precision; empty is missing.
fn parse(text: &str) -> Option<f32> {
    if text.is_empty() { Some(f32::NAN) } else { text.parse().ok() }
}
