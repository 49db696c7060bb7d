//! The start: the state is the fold of the log, record by record, through the same functions that serve.
//!
//! Attempts and consequences come in the very order in which they were counted ([`crate::engine::consequences`]): so eviction, what is
//! held of a key in which order, and what is forgotten first come out as they were; and a fold that begins in the middle, after a
//! snapshot, gives what a fold from the beginning gives.

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{self, LabelRecord, ListChangeRecord, RecordError};
use crate::audit::writer::GROUP_RECORDS_MAX;
use crate::engine::consequences::{Consequence, Consequences};
use crate::engine::state::State;
use crate::evaluation::record_view;
use crate::feature::catalogue::Catalogue;
use crate::pipeline::index::{DecisionIndex, Fingerprint, RequestKey};
use crate::pipeline::lane::Mark;
use crate::pipeline::secret::Secret;
use crate::rules::run_time::ListChange;

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
    /// Records folded.
    pub records: u64,
    /// Decisions among them.
    pub decisions: u64,
    /// Labels among them.
    pub labels: u64,
    /// Changes of lists among them.
    pub list_changes: u64,
    /// The last record; none when there was none to fold.
    pub last: Option<Mark>,
}

/// How many consequences may wait for an attempt that had seen them, when the log was written with a queue of `queue_max`
/// records: more are never on their way at once, so that every attempt after so many had seen the oldest. Bounds the fold's memory
/// where a long stretch of labels has no attempt in it.
pub const fn consequences_max(queue_max: usize) -> usize {
    queue_max.saturating_add(2 * GROUP_RECORDS_MAX)
}

/// What a log is folded into, and by what.
pub struct Fold<'a> {
    catalogue: &'a Catalogue,
    secret: &'a Secret,
    state: &'a State,
    index: &'a DecisionIndex,
    consequences: Consequences,
}

impl std::fmt::Debug for Fold<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fold").field("waiting", &self.consequences.len()).finish_non_exhaustive()
    }
}

impl<'a> Fold<'a> {
    /// A fold into a state and an index that are empty, or were restored from a snapshot. For `waiting_max` see
    /// `consequences_max`.
    pub const fn new(
        catalogue: &'a Catalogue,
        secret: &'a Secret,
        state: &'a State,
        index: &'a DecisionIndex,
        waiting_max: usize,
    ) -> Self {
        Self { catalogue, secret, state, index, consequences: Consequences::new(waiting_max) }
    }

    /// Folds all that the reader gives. `progress` is called with each sequence.
    pub fn run(
        mut self,
        mut reader: LogReader,
        mut progress: impl FnMut(u64),
    ) -> Result<Recovered, RecoverError> {
        let mut recovered = Recovered::default();
        while let Some(stored) = reader.next()? {
            let sequence = stored.header.sequence;
            let folded = match stored.header.kind {
                Kind::Decision => {
                    recovered.decisions += 1;
                    self.decision(&stored)
                }
                Kind::Label => {
                    recovered.labels += 1;
                    self.label(&stored)
                }
                Kind::ListChange => {
                    recovered.list_changes += 1;
                    self.list_change(&stored)
                }
                _ => Ok(()),
            };
            folded.map_err(|error| RecoverError::Body { sequence, error })?;
            recovered.records += 1;
            recovered.last = Some(Mark::from(&stored));
            progress(sequence);
        }
        self.consequences.apply_until(self.state, u64::MAX);
        Ok(recovered)
    }

    fn decision(&mut self, stored: &Record<'_>) -> Result<(), RecordError> {
        let decided = record_view::decode(stored.body)?;
        let counted = self.state.counted(self.catalogue, &decided.transaction()?);
        self.consequences.apply_until(self.state, decided.state_sequence);
        self.state.restore_attempt(&counted);
        self.consequences.push(
            self.state,
            stored.header.sequence,
            counted,
            Consequence::Outcome(decided.answer.decision),
        );
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

    fn label(&mut self, stored: &Record<'_>) -> Result<(), RecordError> {
        let labelled: LabelRecord = record::decode(stored.body)?;
        if let Some(transaction) = labelled.transaction()? {
            let counted = self.state.counted(self.catalogue, &transaction);
            let label = Consequence::Label(Box::new(labelled.label()?));
            self.consequences.push(self.state, stored.header.sequence, counted, label);
        }
        let canonical = labelled.label.get();
        let key = RequestKey::of_label(self.secret, canonical, labelled.transaction.is_some());
        self.index.insert(key, Fingerprint::of(canonical.as_bytes()), stored.position);
        Ok(())
    }

    /// At once: no decision is made again, so none asks what stood on a list at its time.
    fn list_change(&self, stored: &Record<'_>) -> Result<(), RecordError> {
        let recorded: ListChangeRecord = record::decode(stored.body)?;
        let change = ListChange::try_from(recorded)?;
        self.state.change_list(&change, stored.header.sequence, stored.header.recorded_at);
        Ok(())
    }
}
