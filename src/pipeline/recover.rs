//! The start: the state is the fold of the log, record by record, through the same functions that serve.
//!
//! Attempts and consequences come in the very order in which they were counted ([`crate::engine::consequences`]): so eviction, what is
//! held of a key in which order, and what is forgotten first come out as they were; and a fold that begins in the middle, after a
//! snapshot, gives what a fold from the beginning gives.

use thiserror::Error;

use crate::audit::bodies::{self, Bodies};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{RecordError, Unreadable};
use crate::audit::writer::GROUP_RECORDS_MAX;
use crate::engine::consequences::{Consequence, Consequences};
use crate::engine::state::State;
use crate::feature::catalogue::Catalogue;
use crate::pipeline::index::{DecisionIndex, Fingerprint, RequestKey};
use crate::pipeline::lane::Mark;
use crate::pipeline::secret::Secret;
use crate::privacy::key_store::KeyStore;
use crate::privacy::subject::{Subject, Tag};
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
    /// Erasures among them.
    pub erasures: u64,
    /// Decisions of which only the clear part could be folded: their merchants are counted, and nobody else.
    pub unreadable: u64,
    /// Those of them whose key is not there, although nobody erased it.
    pub keys_lost: u64,
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
    keys: &'a KeyStore,
    bodies: Bodies,
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
    pub fn new(
        catalogue: &'a Catalogue,
        secret: &'a Secret,
        state: &'a State,
        index: &'a DecisionIndex,
        keys: &'a KeyStore,
        waiting_max: usize,
    ) -> Self {
        let bodies = Bodies::new(keys.keys().clone());
        let consequences = Consequences::new(waiting_max);
        Self { catalogue, secret, state, index, keys, bodies, consequences }
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
                    let folded = self.decision(&stored);
                    folded.map(|unreadable| {
                        recovered.unreadable += u64::from(unreadable.is_some());
                        recovered.keys_lost += u64::from(unreadable == Some(Unreadable::KeyLost));
                    })
                }
                Kind::Label => {
                    recovered.labels += 1;
                    self.label(&stored)
                }
                Kind::ListChange => {
                    recovered.list_changes += 1;
                    self.list_change(&stored)
                }
                Kind::Erasure => {
                    recovered.erasures += 1;
                    self.erasure(&stored)
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

    /// Why not all of it could be read, if not. Of an erased one, what is kept of its transaction is counted.
    fn decision(&mut self, stored: &Record<'_>) -> Result<Option<Unreadable>, RecordError> {
        let (decided, unreadable) = self.bodies.decision(stored)?.or_left();
        self.note_lost(stored, unreadable);
        let counted = self.state.counted(self.catalogue, &decided.transaction()?);
        self.consequences.apply_until(self.state, decided.state_sequence);
        self.state.restore_attempt(&counted);
        self.consequences.push(
            self.state,
            stored.header.sequence,
            counted,
            Consequence::Outcome(decided.answer.decision),
        );
        let id = &decided.answer.transaction_id;
        let (key, fingerprint) = if unreadable.is_some() {
            let key = RequestKey::of_decision_id(&decided.answer.decision_id);
            (key.ok_or(RecordError::Malformed("decision_id"))?, Fingerprint::ERASED)
        } else {
            let fingerprint = Fingerprint::parse(&decided.fingerprint);
            let key = RequestKey::of_request(self.secret, &decided.idempotency_key);
            (key, fingerprint.ok_or(RecordError::Malformed("fingerprint"))?)
        };
        let by_request = RequestKey::of_request(self.secret, id);
        // As while serving: of several decisions of one transaction, the first is the one that its id finds.
        let by_id = RequestKey::of_transaction(self.secret, id);
        let is_found = self.index.position(by_id).is_some()
            || self.index.fingerprint(by_request).is_some_and(|known| known.agrees(fingerprint));
        if key != by_request && !is_found {
            self.index.insert(by_id, fingerprint, stored.position);
        }
        self.index.insert(key, fingerprint, stored.position);
        Ok(unreadable)
    }

    /// The number of a key that is not there is not given again: a record names it.
    fn note_lost(&self, stored: &Record<'_>, unreadable: Option<Unreadable>) {
        if unreadable == Some(Unreadable::KeyLost)
            && let Some(number) = bodies::sealed_with(stored)
        {
            self.keys.skip_through(number);
        }
    }

    fn label(&mut self, stored: &Record<'_>) -> Result<(), RecordError> {
        let (labelled, unreadable) = self.bodies.label(stored)?.or_left();
        self.note_lost(stored, unreadable);
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
        let (recorded, unreadable) = self.bodies.list_change(stored)?.or_left();
        if unreadable.is_some() {
            // The erasure took the value off.
            self.note_lost(stored, unreadable);
            return Ok(());
        }
        let change = ListChange::try_from(recorded)?;
        self.state.change_list(&change, stored.header.sequence, stored.header.recorded_at);
        Ok(())
    }

    /// Dooms the keys of an erasure, in case it was cut short, and takes off lists what a snapshot or a record in clear had put there.
    fn erasure(&self, stored: &Record<'_>) -> Result<(), RecordError> {
        let erasure = bodies::erasure(stored)?;
        self.keys.doom(&erasure.keys);
        let erased: Vec<Tag> = erasure.subjects.iter().map(|subject| subject.tag).collect();
        let tagger = self.keys.tagger();
        self.state.erase_listed(|value| erased.contains(&tagger.tag(Subject::Listed(value))));
        Ok(())
    }
}
