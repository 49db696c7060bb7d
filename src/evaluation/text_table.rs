//! Reports for people: aligned tables, thousands separated, money in major units.

use std::fmt;

use crate::domain::money::Currency;
use crate::evaluation::interval::Estimate;

/// How long a line of names becomes.
const LINE_CHARS: usize = 110;
/// What stands where there is no value.
pub const NO_VALUE: &str = "-";

/// A name and its value.
pub fn entry(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "  {name:<20} {value}")
}

/// A table whose first columns are aligned left and whose other columns are aligned right.
#[derive(Debug)]
pub struct Table<'a> {
    title: &'a str,
    left: usize,
    /// Whether the last two columns are texts as well, which need not be aligned right.
    is_ragged: bool,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    /// Nothing but the names of its columns; without a title it has none.
    pub fn new(title: &'a str, head: &[&str]) -> Self {
        Self {
            title,
            left: 1,
            is_ragged: false,
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// How many columns are aligned left.
    pub fn left(mut self, left: usize) -> Self {
        self.left = left;
        self
    }

    /// With texts in its last two columns.
    pub fn ragged(mut self) -> Self {
        self.is_ragged = true;
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes it; nothing when it has no rows.
    pub fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        if !self.title.is_empty() {
            writeln!(f, "\n{}", self.title)?;
        }
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let width = *width;
                line.push_str("  ");
                if column < self.left || (self.is_ragged && column + 2 >= self.head.len()) {
                    line.push_str(&format!("{cell:<width$}"));
                } else {
                    line.push_str(&format!("{cell:>width$}"));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `1504628` as `1,504,628`.
pub fn thousands(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut grouped = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}")
}

/// `0.008301` as `0.830 %`.
pub fn percent(share: Option<f64>, places: usize) -> String {
    share.map_or_else(|| NO_VALUE.to_owned(), |share| format!("{:.places$} %", share * 100.0))
}

/// Minor units as major ones, exactly.
pub fn major(minor: i128, currency: &str) -> String {
    let places = Currency::parse(currency).map_or(0, |currency| usize::from(currency.decimal_places()));
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let (sign, point) = (if minor < 0 { "-" } else { "" }, if places == 0 { "" } else { "." });
    format!("{sign}{}{point}{fraction}", thousands(whole))
}

/// `85.2 % (80.1-89.3)`: a share with its interval.
pub fn estimate(share: Option<Estimate>) -> String {
    share.map_or_else(
        || NO_VALUE.to_owned(),
        |it| format!("{:.1} % ({:.1}-{:.1})", it.value * 100.0, it.low * 100.0, it.high * 100.0),
    )
}

/// Names in lines of readable length.
pub fn wrapped(names: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        match lines.last_mut() {
            Some(line) if line.len() + name.len() + 2 <= LINE_CHARS => {
                line.push_str(", ");
                line.push_str(name);
            }
            _ => lines.push((*name).to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_504_628), "1,504,628");
        assert_eq!(thousands(-1_000), "-1,000");
        assert_eq!(percent(Some(0.008_301), 3), "0.830 %");
        assert_eq!(percent(None, 3), "-");
        assert_eq!(major(123_456_789, "EUR"), "1,234,567.89");
        assert_eq!(major(5, "EUR"), "0.05");
        assert_eq!(major(1_000, "JPY"), "1,000");
        assert_eq!(major(-1_005, "KWD"), "-1.005");
    }
}
