//! What is printed: sections of rows, as a table for people or as JSON for programs. Columns have one name in both.

use serde_json::{Map, Value, json};

/// One field of a row.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    Count(u64),
    /// Printed with three significant digits, missing when it is NaN.
    Number(f64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u32> for Cell {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => grouped(&count.to_string()),
            Self::Number(number) if number.is_nan() => "-".to_owned(),
            Self::Number(0.0) => "0".to_owned(),
            Self::Number(number) => {
                let before_point = number.abs().max(1e-9).log10().floor() as i32 + 1;
                let decimals = usize::try_from((3 - before_point).clamp(0, 4)).unwrap_or(0);
                grouped(&format!("{number:.decimals$}"))
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Number(number) => json!(number),
        }
    }
}

/// Thousands apart, in a number without exponent.
fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let digits = whole.chars().enumerate().fold(String::new(), |mut out, (position, digit)| {
        if position > 0 && (whole.len() - position) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
        out
    });
    format!("{sign}{digits}{rest}")
}

/// One part of the table.
#[derive(Debug)]
pub(crate) struct Section {
    name: &'static str,
    /// What is shown, in a sentence.
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

impl Section {
    pub(crate) fn new(name: &'static str, title: String, columns: &'static [&'static str]) -> Self {
        Self { name, title, columns, rows: vec![], notes: vec![] }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row<const CELLS: usize>(&mut self, cells: [Cell; CELLS]) {
        assert_eq!(CELLS, self.columns.len(), "a cell for each column of {}", self.name);
        self.rows.push(cells.into());
    }

    /// Adds a remark below the rows.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Takes over the rows and remarks of a section of the same kind.
    pub(crate) fn append(&mut self, other: Self) {
        assert_eq!((self.name, self.columns), (other.name, other.columns), "sections of one kind");
        self.rows.extend(other.rows);
        self.notes.extend(other.notes);
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let heads = self.columns.iter().map(|&column| column.to_owned()).collect();
        let lines: Vec<Vec<String>> = std::iter::once(heads)
            .chain(self.rows.iter().map(|row| row.iter().map(Cell::text).collect()))
            .collect();
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let is_text = |column: usize| self.rows.iter().all(|row| matches!(row[column], Cell::Text(_)));
        let mut text = format!("## {}: {}\n\n", self.name, self.title);
        for line in &lines {
            let cells =
                line.iter().enumerate().map(|(column, cell)| match (is_text(column), width(column)) {
                    (true, width) => format!("{cell:<width$}"),
                    (false, width) => format!("{cell:>width$}"),
                });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        text
    }

    /// For a page.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let is_text = |column: usize| self.rows.iter().all(|row| matches!(row[column], Cell::Text(_)));
        let rule = |column: usize| if is_text(column) { "---" } else { "---:" };
        let mut text = format!("**{}**: {}\n\n", self.name, self.title);
        text.push_str(&line(self.columns.iter().map(|&column| column.to_owned()).collect()));
        text.push_str(&line((0..self.columns.len()).map(|column| rule(column).to_owned()).collect()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(Cell::text).collect()));
        }
        for note in &self.notes {
            text.push('\n');
            text.push_str(note);
            text.push('\n');
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let object = |row: &Vec<Cell>| -> Map<String, Value> {
            self.columns.iter().zip(row).map(|(&column, cell)| (column.to_owned(), cell.json())).collect()
        };
        let rows: Vec<_> = self.rows.iter().map(object).collect();
        json!({ "section": self.name, "title": self.title, "rows": rows, "notes": self.notes })
    }
}
