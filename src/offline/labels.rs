//! Reads a file of labels into a table that a replay can ask: in time order, and by transaction.
//!
//! The whole table is in memory: some 120 bytes per label and at most [`LABELS_MAX`] of them. Transaction ids are held as
//! 128-bit hashes; that two of fifty million ids meet has a chance of one in 10^23.

use std::collections::HashMap;
use std::path::Path;

use crate::domain::label::{Label, LabelKind, Verdict};
use crate::domain::text::Id;
use crate::domain::time::EventTime;
use crate::evaluation::truth::IdHash;
use crate::offline::binding::{Binding, label_fields_by_name};
use crate::offline::cell::Cell;
use crate::offline::error::{BadRows, InputError, ReadError, RowProblem};
use crate::offline::input::Rows;
use crate::offline::transactions::ReadOptions;
use crate::wire::label::parse_value;

/// Most labels of a file.
pub const LABELS_MAX: usize = 50_000_000;

/// A label without its transaction's id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimedLabel {
    /// Whose it is.
    pub transaction: IdHash,
    /// When it became known.
    pub occurred_at: EventTime,
    /// Fraud or not.
    pub verdict: Verdict,
    /// How it became known.
    pub kind: LabelKind,
    /// The reason code.
    pub reason_code: Option<Id>,
}

/// What is said of one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LabelledTransaction {
    /// What is said last, whenever that is.
    pub final_verdict: Verdict,
    /// Where its last label stands among [`LabelTable::labels`].
    pub last_label: usize,
}

/// The labels of a file.
#[derive(Debug)]
pub struct LabelTable {
    /// In the order of their times; of the same time in file order.
    labels: Vec<TimedLabel>,
    /// What is said of each transaction.
    transactions: HashMap<IdHash, LabelledTransaction>,
    bad_rows: BadRows,
}

impl LabelTable {
    /// Reads a file of labels.
    pub fn load(path: &Path, options: ReadOptions<'_>) -> Result<Self, InputError> {
        let mut rows = Rows::open(path)?;
        let name = rows.name();
        let binding = match (options.mapping, rows.columns()) {
            (Some(mapping), _) => {
                let labels =
                    mapping.labels.as_ref().ok_or_else(|| InputError::NoLabelsMapping(name.clone()))?;
                Some(Binding::new(&labels.fields, Some(&labels.verdict)))
            }
            (None, Some(columns)) => Some(Binding::new(&label_fields_by_name(columns), None)),
            (None, None) => None,
        };
        if let Some(binding) = &binding {
            rows.select(binding.columns())?;
        }
        let mut bad_rows = BadRows::new(options.skip_bad_rows);
        let (mut labels, mut cells) = (Vec::new(), Vec::new());
        loop {
            match read(&mut rows, binding.as_ref(), &mut cells) {
                Ok(None) => break,
                Ok(Some(_)) if labels.len() == LABELS_MAX => {
                    let next = "split the file by time";
                    return Err(InputError::TooMany {
                        path: path.to_owned(),
                        what: "labels",
                        max: LABELS_MAX,
                        next,
                    });
                }
                Ok(Some(label)) => labels.push(label),
                Err(ReadError::File(error)) => return Err(error),
                Err(ReadError::Row(problem)) => bad_rows.take(&name, rows.row(), problem)?,
            }
        }
        Ok(Self::new(labels, bad_rows))
    }

    /// A table of labels in any order.
    pub fn new(mut labels: Vec<TimedLabel>, bad_rows: BadRows) -> Self {
        labels.sort_by_key(|label| label.occurred_at);
        let mut transactions: HashMap<IdHash, LabelledTransaction> = HashMap::with_capacity(labels.len());
        for (position, label) in labels.iter().enumerate() {
            let said = LabelledTransaction { final_verdict: label.verdict, last_label: position };
            transactions.insert(label.transaction, said);
        }
        Self { labels, transactions, bad_rows }
    }

    /// All of them in the order of their times.
    pub fn labels(&self) -> &[TimedLabel] {
        &self.labels
    }

    /// What is said of a transaction; `None` when nothing is.
    pub fn transaction(&self, transaction: IdHash) -> Option<LabelledTransaction> {
        self.transactions.get(&transaction).copied()
    }

    /// The rows that could not be read.
    pub const fn bad_rows(&self) -> &BadRows {
        &self.bad_rows
    }
}

fn read(
    rows: &mut Rows,
    binding: Option<&Binding>,
    cells: &mut Vec<Cell>,
) -> Result<Option<TimedLabel>, ReadError> {
    let label = match binding {
        None => {
            let Some(object) = rows.next_object()? else { return Ok(None) };
            parse_value(&object).map_err(|rejection| RowProblem::row(rejection.to_string()))?
        }
        Some(binding) => {
            if !rows.next_cells(cells)? {
                return Ok(None);
            }
            let mut object = binding.object(cells)?;
            if let (Some(verdict), Some(fields)) = (binding.verdict(cells)?, object.as_object_mut()) {
                let name = if verdict == Verdict::Fraud { "fraud" } else { "legitimate" };
                fields.insert("label".to_owned(), name.into());
            }
            parse_value(&object).map_err(|rejection| binding.explain(&rejection))?
        }
    };
    let Label { transaction_id, verdict, kind, occurred_at, reason_code } = label;
    Ok(Some(TimedLabel {
        transaction: IdHash::of(transaction_id.as_str()),
        occurred_at,
        verdict,
        kind,
        reason_code,
    }))
}
