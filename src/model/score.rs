//! Scores a table of rows: what `tollgate model score` does between two files.

use std::io::{Read, Write};

use thiserror::Error;

use crate::model::attribution::AttributionScratch;
use crate::model::forest::{RowLengthError, probability};
use crate::model::manifest::Model;
use crate::model::row_reader::{RowError, RowReader};

/// Why rows cannot be scored.
#[derive(Debug, Error)]
pub enum ScoreError {
    /// They cannot be read.
    #[error(transparent)]
    Rows(#[from] RowError),
    /// The result cannot be written as CSV.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// It cannot be written.
    #[error("cannot be written: {0}")]
    Write(#[from] std::io::Error),
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
    let mut reader = RowReader::new(model, input)?;
    let mut writer = csv::Writer::from_writer(output);
    let mut titles = vec!["margin".to_owned(), "probability".to_owned()];
    if with_contributions {
        titles.extend(model.feature_names.iter().map(ToString::to_string));
        titles.push("bias".to_owned());
    }
    writer.write_record(&titles)?;
    let features = model.feature_names.len();
    let (mut row, mut contributions) = (vec![f32::NAN; features], vec![0.0_f32; features]);
    let mut scratch = AttributionScratch::default();
    while reader.next_into(&mut row)? {
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
    Ok(reader.rows())
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
