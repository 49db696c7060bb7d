//! Scores a table of rows: what `tollgate model score` does between two files.

use std::io::{Read, Write};

use thiserror::Error;

use crate::model::attribution::AttributionScratch;
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
    let twice =
        columns.iter().find(|column| header.iter().filter(|name| *name == &header[**column]).count() > 1);
    if let Some(column) = twice {
        return Err(ScoreError::DoubleColumn(header[*column].to_owned()));
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
    let mut scratch = AttributionScratch::default();
    let mut contributions = vec![0.0_f32; columns.len()];
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
            model.attributor.contributions_into(&model.forest, &row, &mut scratch, &mut contributions)?;
            fields.extend(contributions.iter().map(ToString::to_string));
            fields.push(model.attributor.bias().to_string());
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn score(input: &str, with_contributions: bool) -> Result<String, String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity");
        let model = Model::load_file(&directory.join("depth1.json")).unwrap();
        let mut output = Vec::new();
        score_csv(&model, input.as_bytes(), &mut output, with_contributions)
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_numbers() {
        let input = "f7,f6,id,f5,f4,f3,f2,f1,f0\n0.1,inf,a,-inf,1e-40, 3 ,,5,6\n,,b,,,,,,\n";
        let output = score(input, true).unwrap();
        let mut reader = csv::Reader::from_reader(output.as_bytes());
        assert_eq!(
            reader.headers().unwrap(),
            vec!["margin", "probability", "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "bias"]
        );
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity");
        let model = Model::load_file(&directory.join("depth1.json")).unwrap();
        let rows = [[6.0, 5.0, f32::NAN, 3.0, 1e-40, f32::NEG_INFINITY, f32::INFINITY, 0.1], [f32::NAN; 8]];
        for (row, record) in rows.iter().zip(reader.records()) {
            let found: Vec<f32> = record.unwrap().iter().map(|field| field.parse().unwrap()).collect();
            let margin = model.forest.margin(row).unwrap();
            let parts = model.attributor.contributions(&model.forest, row).unwrap();
            assert_eq!(found[..2], [margin, probability(margin)]);
            assert_eq!((&found[2..10], found[10]), (&parts.features[..], parts.bias));
        }
        assert!(score(input, false).unwrap().starts_with("margin,probability\n"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let header = "f0,f1,f2,f3,f4,f5,f6,f7\n";
        let facts = [
            (format!("{header},,,,,,,\n,,1x,,,,,\n"), "row 2, column f2: \"1x\" is no number"),
            (format!("{header}1,2\n"), "found record with 2 fields"),
            ("f0,f1,f2,f3,f4,f5\n".to_owned(), "lacks the model's features f6, f7"),
            ("f0,f1,f2,f3,f4,f5,f6,f7,f3\n".to_owned(), "names f3 twice"),
            (String::new(), "lacks the model's features f0"),
        ];
        for (input, expected) in facts {
            let error = score(&input, false).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
