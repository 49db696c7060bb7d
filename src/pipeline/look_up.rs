//! Decisions that were recorded: found by the index, read from the log, answered as the first time.

use bytes::Bytes;
use tracing::error;

use crate::audit::bodies::{Bodies, Opened};
use crate::audit::reader::Record;
use crate::audit::receipt::{Position, Receipt};
use crate::audit::record::{DecisionRecord, RecordError, StageTimes, Unreadable};
use crate::domain::text::TransactionId;
use crate::pipeline::answer::{answer_json, record_json};
use crate::pipeline::index::RequestKey;
use crate::pipeline::service::{DecideError, Service};
use crate::search::find::Found;

impl Service {
    /// The first answer again, from its record.
    pub(super) fn answer_again(&self, position: Position, times: StageTimes) -> Result<Bytes, DecideError> {
        let (record, receipt) = self.read_body(position, Bodies::decision)?;
        let record = whole(record)?;
        self.metrics.count_replayed();
        answer_json(&record.answer, true, times, Some((self.log_id, &receipt)))
            .map_err(|error| DecideError::Internal(error.to_string()))
    }

    /// The body of the record at a position, and what the log says of it.
    pub(super) fn read_body<T>(
        &self,
        position: Position,
        read: impl FnOnce(&Bodies, &Record<'_>) -> Result<Opened<T>, RecordError>,
    ) -> Result<(Opened<T>, Receipt), DecideError> {
        let mut buffer = Vec::new();
        let unreadable = |detail: String| {
            error!(?position, detail, "an indexed record cannot be read");
            DecideError::Internal(format!("the record cannot be read: {detail}"))
        };
        let stored =
            self.lookup.read_at(position, &mut buffer).map_err(|error| unreadable(error.to_string()))?;
        let body = read(&self.privacy.bodies, &stored).map_err(|error| unreadable(error.to_string()))?;
        let receipt = Receipt {
            sequence: stored.header.sequence,
            hash: stored.hash,
            position,
            recorded_at: stored.header.recorded_at,
        };
        Ok((body, receipt))
    }

    /// A decision as it was recorded, by its id.
    pub fn decision_by_id(&self, decision_id: &str) -> Result<Option<Bytes>, DecideError> {
        let Some(key) = RequestKey::of_decision_id(decision_id) else { return Ok(None) };
        let remembered = self.find(key, |record| &*record.answer.decision_id == decision_id)?;
        let found = match remembered {
            None => {
                self.find_in_log(decision_id)?.filter(|(it, _)| &*it.get().answer.decision_id == decision_id)
            }
            found => found,
        };
        self.render(found)
    }

    /// The decision of a transaction, by the transaction's id.
    pub fn decision_by_transaction(&self, transaction_id: &str) -> Result<Option<Bytes>, DecideError> {
        let remembered = self.find_transaction(transaction_id)?;
        let found = match remembered {
            None => self
                .find_in_log(transaction_id)?
                .filter(|(it, _)| &*it.get().answer.transaction_id == transaction_id),
            found => found,
        };
        self.render(found)
    }

    /// The record of a transaction's decision, while it is remembered.
    pub(crate) fn find_transaction(
        &self,
        transaction_id: &str,
    ) -> Result<Option<(Opened<DecisionRecord>, Receipt)>, DecideError> {
        if TransactionId::parse(transaction_id).is_err() {
            return Ok(None);
        }
        let is_it = |record: &DecisionRecord| &*record.answer.transaction_id == transaction_id;
        match self.find(RequestKey::of_transaction(&self.secret, transaction_id), is_it)? {
            Some(found) => Ok(Some(found)),
            None => self.find(RequestKey::of_request(&self.secret, transaction_id), is_it),
        }
    }

    /// The newest decision with that id, or of that transaction, by the search index: also what is no longer remembered. Reads from
    /// disk, more of it the longer the log is.
    pub(super) fn find_in_log(
        &self,
        id: &str,
    ) -> Result<Option<(Opened<DecisionRecord>, Receipt)>, DecideError> {
        let found = self.search.find(id).map_err(|error| DecideError::Internal(error.to_string()))?;
        Ok(found.map(|found| {
            let Found { sequence, recorded_at, hash, position, record, unreadable, .. } = found;
            (Opened::of(record, unreadable), Receipt { sequence, hash, position, recorded_at })
        }))
    }

    pub(super) fn find(
        &self,
        key: RequestKey,
        is_it: impl Fn(&DecisionRecord) -> bool,
    ) -> Result<Option<(Opened<DecisionRecord>, Receipt)>, DecideError> {
        let Some(position) = self.index.position(key) else { return Ok(None) };
        let found = self.read_body(position, Bodies::decision)?;
        Ok(is_it(found.0.get()).then_some(found))
    }

    fn render(&self, found: Option<(Opened<DecisionRecord>, Receipt)>) -> Result<Option<Bytes>, DecideError> {
        let Some((record, receipt)) = found else { return Ok(None) };
        record_json(&whole(record)?, (self.log_id, &receipt))
            .map(Some)
            .map_err(|error| DecideError::Internal(error.to_string()))
    }
}

/// The whole record. What was erased is no answer any more; a key that is lost is a fault of the installation.
fn whole<T>(opened: Opened<T>) -> Result<T, DecideError> {
    match opened {
        Opened::Whole(record) => Ok(record),
        Opened::Left(_, Unreadable::Erased) => Err(DecideError::Erased),
        Opened::Left(_, why @ Unreadable::KeyLost) => Err(DecideError::Internal(why.to_string())),
    }
}
