//! What was recorded: a text file with a line for each operation.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The file, from the root of the project.
pub(crate) const FILE: &str = "benches/instructions.txt";
const HEAD: &str = "# Instructions an operation. `benches/instructions.sh --accept` writes this file.";
const MADE_WITH: &str = "# Counted with ";

/// Counts, and what they depend on beside the code.
#[derive(Default)]
pub(crate) struct Baseline {
    /// The compiler and valgrind.
    pub(crate) made_with: String,
    /// By operation.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Baseline {
    /// Reads the file; where there is none, nothing is recorded.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| format!("{FILE}: cannot be read: {error}"))?,
        };
        let mut baseline = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(made_with) = line.strip_prefix(MADE_WITH) {
                made_with.clone_into(&mut baseline.made_with);
            } else if !line.starts_with('#') {
                let wrong = || format!("{FILE}, line {number}: must be a count and an operation: {line:?}");
                let (count, name) = line.trim_start().split_once(' ').ok_or_else(wrong)?;
                baseline.counts.insert(name.to_owned(), count.parse().map_err(|_| wrong())?);
            }
        }
        Ok(baseline)
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut text = format!("{HEAD}\n{MADE_WITH}{}\n", self.made_with);
        for (name, count) in &self.counts {
            writeln!(text, "{count:>8} {name}")?;
        }
        fs::write(path, text).map_err(|error| format!("{FILE}: cannot be written: {error}").into())
    }
}
