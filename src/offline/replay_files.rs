//! Which files a replay reads, and how.

use std::path::Path;

use crate::offline::error::InputError;
use crate::offline::labels::LabelTable;
use crate::offline::mapping::Mapping;
use crate::offline::replay::{LabelSource, Replay};
use crate::offline::transactions::{ReadOptions, TransactionReader};

/// What to replay, and how to read it.
#[derive(Clone, Copy, Debug)]
pub struct ReplayFiles<'a> {
    /// Transactions.
    pub input: &'a Path,
    /// Labels.
    pub labels: Option<&'a Path>,
    /// Which column is which field.
    pub mapping: Option<&'a Mapping>,
    /// Whether to leave out wrong rows.
    pub skip_bad_rows: bool,
}

impl ReplayFiles<'_> {
    /// Opens the files and reads the labels.
    pub fn open(&self) -> Result<Replay<TransactionReader>, InputError> {
        let options = ReadOptions { mapping: self.mapping, skip_bad_rows: self.skip_bad_rows };
        let table = self.labels.map(|labels| LabelTable::load(labels, options)).transpose()?;
        let labels = LabelSource::choose(self.mapping, table)?;
        Ok(Replay::new(TransactionReader::open(self.input, options)?, labels))
    }
}
