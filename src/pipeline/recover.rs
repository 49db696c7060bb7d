//! The start: the state is the fold of the log, record by record, through the same functions that serve.

use std::path::Path;
use std::sync::Arc;

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
    index: &Arc<DecisionIndex>,
    mut progress: impl FnMut(u64),
) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered::default();
    let mut reader = LogReader::from_sequence(directory, 1)?;
    while let Some(stored) = reader.next()? {
        let sequence = stored.header.sequence;
        let folded = match stored.header.kind {
            Kind::Decision => {
                recovered.decisions += 1;
                fold_decision(&stored, catalogue, secret, state, index)
            }
            Kind::Label => {
                recovered.labels += 1;
                fold_label(&stored, catalogue, secret, state, index)
            }
            _ => Ok(()),
        };
        folded.map_err(|error| RecoverError::Body { sequence, error })?;
        recovered.sequence = sequence;
        progress(sequence);
    }
    Ok(recovered)
}

fn fold_decision(
    stored: &Record<'_>,
    catalogue: &Catalogue,
    secret: &Secret,
    state: &State,
    index: &Arc<DecisionIndex>,
) -> Result<(), RecordError> {
    let decided: DecisionRecord = record::decode(stored.body)?;
    let counted = state.counted(catalogue, &decided.transaction()?);
    state.restore_attempt(&counted);
    state.record_outcome(&counted, decided.answer.decision);
    let fingerprint = Fingerprint::parse(&decided.fingerprint).unwrap_or(Fingerprint(0));
    index.insert(RequestKey::of_request(secret, &decided.idempotency_key), fingerprint, stored.position);
    if decided.idempotency_key != decided.answer.transaction_id {
        let alias = RequestKey::of_transaction(secret, &decided.answer.transaction_id);
        index.insert(alias, fingerprint, stored.position);
    }
    Ok(())
}

fn fold_label(
    stored: &Record<'_>,
    catalogue: &Catalogue,
    secret: &Secret,
    state: &State,
    index: &Arc<DecisionIndex>,
) -> Result<(), RecordError> {
    let labelled: LabelRecord = record::decode(stored.body)?;
    if let Some(transaction) = labelled.transaction()? {
        state.record_label(&state.counted(catalogue, &transaction), &labelled.label()?);
    }
    let canonical = labelled.label.get();
    let key = RequestKey::of_label(secret, canonical, labelled.transaction.is_some());
    index.insert(key, Fingerprint::of(canonical.as_bytes()), stored.position);
    Ok(())
}
