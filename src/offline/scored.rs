//! Scored transactions with what became of them and their amounts: of a replay, or of a file that anybody's model has scored.

use std::path::Path;

use crate::domain::label::Verdict;
use crate::domain::money::{Currency, Money};
use crate::evaluation::report::BadRow;
use crate::evaluation::truth::Unlabelled;
use crate::offline::cell::Cell;
use crate::offline::error::{BadRows, InputError, ReadError, RowProblem};
use crate::offline::input::{Progress, Rows};
use crate::offline::mapping::ColumnName;

/// Most rows of a report: 32 bytes each, 1.6 GB.
pub const REPORT_ROWS_MAX: usize = 50_000_000;
/// The columns of a scored file.
const COLUMNS: [&str; 4] = ["score", "label", "amount", "currency"];

/// One scored transaction, and what it was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoredAmount {
    /// The fraud probability, 0 to 1.
    pub score: f64,
    /// What it turned out to be.
    pub is_fraud: bool,
    /// What it was about.
    pub amount: Money,
}

/// The rows of a report.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ScoredRows {
    /// What to do about rows without a label.
    pub unlabelled_are: Unlabelled,
    /// Those that count, in any order.
    pub rows: Vec<ScoredAmount>,
    /// How many scored ones had no label.
    pub unlabelled: u64,
    /// How many had no score.
    pub unscored: u64,
    /// How many could not be read.
    pub skipped: u64,
    /// The first of these.
    pub first_skipped: Vec<BadRow>,
}

impl ScoredRows {
    /// No rows yet.
    pub fn new(unlabelled_are: Unlabelled) -> Self {
        Self { unlabelled_are, ..Self::default() }
    }

    /// Takes one row in. `None` for a score or a label that there is not; a refusal when there are too many.
    pub fn add(
        &mut self,
        path: &Path,
        score: Option<f64>,
        verdict: Option<Verdict>,
        amount: Money,
    ) -> Result<(), InputError> {
        let Some(score) = score else {
            self.unscored += 1;
            return Ok(());
        };
        self.unlabelled += u64::from(verdict.is_none());
        let verdict = match (verdict, self.unlabelled_are) {
            (Some(verdict), _) => verdict,
            (None, Unlabelled::Legitimate) => Verdict::Legitimate,
            (None, Unlabelled::LeftOut) => return Ok(()),
        };
        if self.rows.len() == REPORT_ROWS_MAX {
            return Err(InputError::TooMany {
                path: path.to_owned(),
                what: "scored transactions",
                max: REPORT_ROWS_MAX,
                next: "take a shorter stretch: --from, --limit, or a part of the file",
            });
        }
        self.rows.push(ScoredAmount { score, is_fraud: verdict == Verdict::Fraud, amount });
        Ok(())
    }

    /// Reads a file with the columns `score` (0 to 1), `label` (1/0, true/false, fraud/legitimate, or empty), `amount` (major
    /// units, decimal) and `currency` (ISO 4217). `each` sees how far it has come, and ends the reading with `false`.
    pub fn read(
        path: &Path,
        unlabelled_are: Unlabelled,
        skip_bad_rows: bool,
        mut each: impl FnMut(&Progress) -> bool,
    ) -> Result<Self, InputError> {
        let mut file = Rows::open(path)?;
        let columns = COLUMNS.map(|name| ColumnName { name: name.to_owned(), named_at: String::new() });
        file.select(&columns)?;
        let (name, mut bad_rows) = (file.name(), BadRows::new(skip_bad_rows));
        let (mut scored, mut cells) = (Self::new(unlabelled_are), Vec::new());
        loop {
            match read_row(&mut file, &mut cells) {
                Ok(None) => break,
                Ok(Some((score, verdict, amount))) => scored.add(path, score, verdict, amount)?,
                Err(ReadError::File(error)) => return Err(error),
                Err(ReadError::Row(problem)) => bad_rows.take(&name, file.row(), problem)?,
            }
            if !each(&file.progress()) {
                break;
            }
        }
        scored.skipped = bad_rows.count();
        scored.first_skipped = bad_rows.first().to_vec();
        Ok(scored)
    }
}

type Read = (Option<f64>, Option<Verdict>, Money);

fn read_row(file: &mut Rows, cells: &mut Vec<Cell>) -> Result<Option<Read>, ReadError> {
    if !file.next_cells(cells)? {
        return Ok(None);
    }
    let [score, label, amount, currency] = cells.as_slice() else {
        return Err(RowProblem::row("has too few fields").into());
    };
    let wrong = |column: &str, cell: &Cell, expected: &str| {
        RowProblem::column(column, format!("{} is not {expected}", cell.shown()))
    };
    let score = match score {
        Cell::Missing => None,
        cell => {
            let number = cell.decimal().and_then(|text| text.parse::<f64>().ok());
            let number = number.filter(|number| (0.0..=1.0).contains(number));
            Some(number.ok_or_else(|| wrong("score", cell, "a probability, 0 to 1"))?)
        }
    };
    let verdict = match label.word().map(|word| word.trim().to_ascii_lowercase()).as_deref() {
        None if label.is_missing() => None,
        Some("1" | "true" | "fraud") => Some(Verdict::Fraud),
        Some("0" | "false" | "legitimate") => Some(Verdict::Legitimate),
        _ => return Err(wrong("label", label, "1, 0, true, false, fraud or legitimate").into()),
    };
    let code = currency.word();
    let code = code.as_deref().and_then(|code| Currency::parse(code.trim()).ok());
    let code = code.ok_or_else(|| wrong("currency", currency, "a currency of ISO 4217, such as EUR"))?;
    let money = amount.decimal().and_then(|text| Money::from_major(&text, code).ok());
    let money = money.ok_or_else(|| wrong("amount", amount, "an amount in major units, such as 12.50"))?;
    Ok(Some((score, verdict, money)))
}
