//! Reads transactions, one after the other, from any file: with a mapping, or in the API's own names.

use std::path::Path;

use serde::Deserialize;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::offline::binding::{Binding, DECISION, decision_by_name, transaction_fields_by_name};
use crate::offline::cell::Cell;
use crate::offline::error::{BadRows, InputError, ReadError, RowProblem};
use crate::offline::input::{Progress, Rows};
use crate::offline::mapping::Mapping;
use crate::wire::transaction::{DecisionRequest, parse_value};

/// How to read a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions<'a> {
    /// Where the fields come from; by their own names without one.
    pub mapping: Option<&'a Mapping>,
    /// Count bad rows and go on, instead of stopping at the first.
    pub skip_bad_rows: bool,
}

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionRow {
    /// Its number, from 1; a header is none.
    pub row: u64,
    /// The transaction.
    pub request: DecisionRequest,
    /// What the row itself says about fraud, if the mapping has `label`.
    pub verdict: Option<Verdict>,
    /// What was decided, if the mapping has `decision`, or a file in the API's own names has it.
    pub decision: Option<Outcome>,
}

/// A file of transactions, being read.
#[derive(Debug)]
pub struct TransactionReader {
    rows: Rows,
    name: String,
    binding: Option<Binding>,
    cells: Vec<Cell>,
    bad_rows: BadRows,
    id_column: String,
    id_is_integer: bool,
}

impl TransactionReader {
    /// Opens a file; `-` is NDJSON on the standard input.
    pub fn open(path: &Path, options: ReadOptions<'_>) -> Result<Self, InputError> {
        let mut rows = Rows::open(path)?;
        let binding = match (options.mapping, rows.columns()) {
            (Some(mapping), _) => {
                let verdict = mapping.label.as_ref().map(|label| &label.verdict);
                Some(Binding::new(&mapping.fields, verdict).with_decision(mapping.decision.as_ref()))
            }
            (None, Some(columns)) => {
                let binding = Binding::new(&transaction_fields_by_name(columns), None);
                Some(binding.with_decision(decision_by_name(columns).as_ref()))
            }
            (None, None) => None,
        };
        if let Some(binding) = &binding {
            rows.select(binding.columns())?;
        }
        let id_column = options.mapping.and_then(Mapping::transaction_id_column).unwrap_or("transaction_id");
        let id_is_integer = rows.is_integer_column(id_column);
        Ok(Self {
            name: rows.name(),
            id_column: id_column.to_owned(),
            id_is_integer,
            rows,
            binding,
            cells: Vec::new(),
            bad_rows: BadRows::new(options.skip_bad_rows),
        })
    }

    /// The next transaction; `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<TransactionRow>, InputError> {
        loop {
            match self.read() {
                Ok(row) => return Ok(row),
                Err(ReadError::File(error)) => return Err(error),
                Err(ReadError::Row(problem)) => self.bad_rows.take(&self.name, self.rows.row(), problem)?,
            }
        }
    }

    fn read(&mut self) -> Result<Option<TransactionRow>, ReadError> {
        let (request, verdict, decision) = match &self.binding {
            None => {
                let Some(object) = self.rows.next_object()? else { return Ok(None) };
                let said = object.get(DECISION).and_then(|said| Outcome::deserialize(said).ok());
                let request =
                    parse_value(&object).map_err(|rejection| RowProblem::row(rejection.to_string()))?;
                (request, None, said)
            }
            Some(binding) => {
                if !self.rows.next_cells(&mut self.cells)? {
                    return Ok(None);
                }
                let object = binding.object(&self.cells)?;
                let request = parse_value(&object).map_err(|rejection| binding.explain(&rejection))?;
                (request, binding.verdict(&self.cells)?, binding.decision(&self.cells)?)
            }
        };
        Ok(Some(TransactionRow { row: self.rows.row(), request, verdict, decision }))
    }

    /// The name under which the file holds the transaction id.
    pub fn id_column(&self) -> &str {
        &self.id_column
    }

    /// Whether the file holds the transaction id as a whole number.
    pub const fn id_is_integer(&self) -> bool {
        self.id_is_integer
    }

    /// The rows that could not be read.
    pub const fn bad_rows(&self) -> &BadRows {
        &self.bad_rows
    }

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        self.rows.progress()
    }
}

impl Iterator for TransactionReader {
    type Item = Result<TransactionRow, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}
