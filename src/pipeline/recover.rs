//! The start: the state is the fold of the log, record by record, through the same functions that serve.

use std::path::Path;

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{self, DecisionRecord, LabelRecord, RecordError};
use crate::engine::state::State;
use crate::feature::catalogue::Catalogue;
use crate::pipeline::index::{DecisionIndex, Fingerprint, RequestKey};
use crate::pipeline::secret::Secret;

/// Why the state cannot be rebuilt.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is intact, and yet does not say what it should.
    #[error("record {sequence} of the log: {error}")]
    Body {
        /// Which.
        sequence: u64,
        /// What is wrong with it.
        error: RecordError,
    },
}

/// What was rebuilt.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Decisions folded.
    pub decisions: u64,
    /// Labels folded.
    pub labels: u64,
    /// The last sequence.
    pub sequence: u64,
}

/// Folds a log into an empty state and index. `progress` is called with each sequence.
pub fn recover(
    directory: &Path,
    catalogue: &Catalogue,
    secret: &Secret,
    state: &State,
    index: &DecisionIndex,
    mut progress: impl FnMut(u64),
) -> Result<Recovered, RecoverError> {
    let fold = Fold { catalogue, secret, state, index };
    let mut recovered = Recovered::default();
    let mut reader = LogReader::from_sequence(directory, 1)?;
    while let Some(stored) = reader.next()? {
        let sequence = stored.header.sequence;
        let folded = match stored.header.kind {
            Kind::Decision => {
                recovered.decisions += 1;
                fold.decision(&stored)
            }
            Kind::Label => {
                recovered.labels += 1;
                fold.label(&stored)
            }
            _ => Ok(()),
        };
        folded.map_err(|error| RecoverError::Body { sequence, error })?;
        recovered.sequence = sequence;
        progress(sequence);
    }
    Ok(recovered)
}

/// What a log is folded into, and by what.
struct Fold<'a> {
    catalogue: &'a Catalogue,
    secret: &'a Secret,
    state: &'a State,
    index: &'a DecisionIndex,
}

impl Fold<'_> {
    fn decision(&self, stored: &Record<'_>) -> Result<(), RecordError> {
        let decided: DecisionRecord = record::decode(stored.body)?;
        let counted = self.state.counted(self.catalogue, &decided.transaction()?);
        self.state.restore_attempt(&counted);
        self.state.record_outcome(&counted, decided.answer.decision);
        let fingerprint =
            Fingerprint::parse(&decided.fingerprint).ok_or(RecordError::Malformed("fingerprint"))?;
        let id = &decided.answer.transaction_id;
        // As while serving: of several decisions of one transaction, the first is the one that its id finds.
        let by_id = RequestKey::of_transaction(self.secret, id);
        let is_found = self.index.position(by_id).is_some()
            || self.index.fingerprint(RequestKey::of_request(self.secret, id)) == Some(fingerprint);
        if decided.idempotency_key != *id && !is_found {
            self.index.insert(by_id, fingerprint, stored.position);
        }
        let key = RequestKey::of_request(self.secret, &decided.idempotency_key);
        self.index.insert(key, fingerprint, stored.position);
        Ok(())
    }

    fn label(&self, stored: &Record<'_>) -> Result<(), RecordError> {
        let labelled: LabelRecord = record::decode(stored.body)?;
        if let Some(transaction) = labelled.transaction()? {
            self.state.record_label(&self.state.counted(self.catalogue, &transaction), &labelled.label()?);
        }
        let canonical = labelled.label.get();
        let key = RequestKey::of_label(self.secret, canonical, labelled.transaction.is_some());
        self.index.insert(key, Fingerprint::of(canonical.as_bytes()), stored.position);
        Ok(())
    }
}
