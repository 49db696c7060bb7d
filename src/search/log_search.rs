//! A log and what there is of an index, opened to be searched: also while a service writes both, and also without an index.

use std::ops::ControlFlow;
use std::path::Path;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::reader::Record;
use crate::audit::receipt::LogId;
use crate::search::build::{BuildError, build};
use crate::search::key::SearchKey;
use crate::search::part::Part as _;
use crate::search::parts::{Parts, log_id};
use crate::search::run::{Searcher, Stretch};

/// A log to be searched, as it was when this was opened; what was recorded since is found as well.
#[derive(Debug)]
pub struct LogSearch {
    /// What searches.
    pub searcher: Searcher,
    /// The log, the newest first.
    pub stretches: Vec<Stretch>,
    /// The log's name; none while it is empty.
    pub log_id: Option<LogId>,
    /// Why parts are not used, in words.
    pub refused: Vec<String>,
    useless: Vec<u64>,
}

/// How much of a log is indexed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// Parts that are used.
    pub parts: usize,
    /// Records that they cover.
    pub records: u64,
    /// Whether something before the last part is not covered.
    pub has_holes: bool,
}

impl LogSearch {
    /// Opens the log in `log` with the index in `directory`. Without a key, there is no index.
    pub fn open(log: &Path, directory: &Path, key: Option<SearchKey>) -> Result<Self, ReadError> {
        let log_id = log_id(log)?;
        let has_key = key.is_some();
        // Nothing is hashed where nothing is indexed.
        let bodies = Bodies::beside(log).map_err(|source| ReadError::Io { path: log.to_owned(), source })?;
        let searcher = Searcher::new(log, key.unwrap_or(SearchKey::new([0; 32])), bodies);
        let parts = match log_id {
            Some(log_id) if has_key => {
                Parts::open(directory, log, log_id, searcher.key(), searcher.lookup())?
            }
            _ => Parts::without_files(log)?,
        };
        let stretches = parts.stretches();
        Ok(Self { searcher, stretches, log_id, refused: parts.refused, useless: parts.useless })
    }

    /// How much of it is indexed.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = Coverage { parts: 0, records: 0, has_holes: false };
        for stretch in &self.stretches {
            match stretch {
                Stretch::File(part) => {
                    coverage.parts += 1;
                    coverage.records += u64::from(part.rows());
                }
                Stretch::Gap(gap) if gap.last.is_some() => coverage.has_holes = true,
                Stretch::Gap(_) | Stretch::Memory(_) => {}
            }
        }
        coverage
    }

    /// Makes parts of all that none covers, the oldest first, into `directory`, and says how many. Nobody may write the log meanwhile.
    pub fn build(
        &self,
        directory: &Path,
        mut each: impl FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, BuildError> {
        let mut made = 0;
        let mut useless = Parts { useless: self.useless.clone(), ..Parts::default() };
        useless.remove_useless(directory);
        for stretch in self.stretches.iter().rev() {
            if let Stretch::Gap(gap) = stretch {
                build(&self.searcher, directory, *gap, &mut each, |_| made += 1)?;
            }
        }
        Ok(made)
    }
}
