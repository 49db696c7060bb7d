//! Searching the audit log of a service that runs.

use serde::Serialize;

use crate::audit::receipt::LogId;
use crate::pipeline::service::{DecideError, Service};
use crate::search::dossier::Dossier;
use crate::search::live::LAG_RECORDS_MAX;
use crate::search::query::Query;
use crate::search::run::{Hit, SearchError};

/// Most decisions of one page over HTTP.
pub const AUDIT_PAGE_MAX: usize = 200;
/// Most open decisions that are read for one page of the queue: with a filter that few pass, a page may be short and have a next one.
const QUEUE_READS_MAX: usize = 2_000;

/// Decisions of the log, the newest first.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AuditPage {
    /// The log.
    pub log: LogId,
    /// The decisions.
    pub decisions: Vec<Hit>,
    /// `before` of the next page; none when there is none.
    pub next: Option<u64>,
    /// The last record that was searched.
    pub through: u64,
}

/// Decisions that ask for a person and have no verdict, the oldest first.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReviewPage {
    /// The decisions.
    pub reviews: Vec<Hit>,
    /// How many are open in all, without any filter.
    pub open: usize,
    /// `after` of the next page; none when there is none.
    pub next: Option<u64>,
    /// The last record that was searched.
    pub through: u64,
}

impl From<SearchError> for DecideError {
    fn from(error: SearchError) -> Self {
        Self::Internal(format!("the log cannot be searched: {error}"))
    }
}

impl Service {
    /// The last record that is indexed; an error while there are too many behind it, as they would be left out.
    pub(super) fn indexed_through(&self) -> Result<u64, DecideError> {
        let status = self.search.status();
        let behind = self.log.status().head.sequence.saturating_sub(status.through);
        if !status.is_whole || behind > LAG_RECORDS_MAX {
            return Err(DecideError::NotReady("making its search index"));
        }
        Ok(status.through)
    }

    /// Decisions of the log. Reads from disk.
    pub fn search_audit(&self, query: &Query) -> Result<AuditPage, DecideError> {
        let through = self.indexed_through()?;
        let found = self.search.search(query)?;
        Ok(AuditPage { log: self.log_id, decisions: found.hits, next: found.next, through })
    }

    /// All that is known of one record; none where there is none yet. Reads from disk.
    pub fn audit_record(&self, sequence: u64) -> Result<Option<Dossier>, DecideError> {
        self.indexed_through()?;
        Ok(self.search.dossier(self.log_id, sequence)?)
    }

    /// Open reviews after the record `after` that the query takes. Reads from disk.
    pub fn review_queue(&self, query: &Query, after: u64) -> Result<ReviewPage, DecideError> {
        let through = self.indexed_through()?;
        let (sequences, open) = self.search.open_reviews(after, QUEUE_READS_MAX + 1);
        let mut page = ReviewPage { reviews: Vec::new(), open, next: None, through };
        let mut last = after;
        for (read, sequence) in sequences.into_iter().enumerate() {
            if page.reviews.len() == query.limit || read == QUEUE_READS_MAX {
                page.next = Some(last);
                break;
            }
            last = sequence;
            page.reviews.extend(self.search.decision(sequence, query)?);
        }
        Ok(page)
    }
}
