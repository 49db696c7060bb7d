//! Erasing somebody's personal data: a record first, then their keys are destroyed, then what lies outside the log goes.
//!
//! In this order: new records of theirs get new keys; the erasure is recorded, and in the log's order its keys are doomed and what stands
//! on lists is taken off; the record is synced; the keys are overwritten and synced; profiles are removed; state snapshots that hold
//! their values on lists go; parts of the search index that hold hashes of their ids are made anew (`search::erased`). What a crash cuts short after the record, the next start finishes, or the thread that keeps the keys.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::audit::bodies::open_body;
use crate::audit::frame::Kind;
use crate::audit::receipt::{LogId, Receipt};
use crate::audit::record::{ERASED_KEYS_MAX, ErasedSubject, ErasureRecord};
use crate::audit::segment::segment_path;
use crate::domain::limits::ID_BYTES_MAX;
use crate::enrich::profiles::Profiles;
use crate::enrich::source::ProfileSource as _;
use crate::pipeline::erasure_traces::{self, Touched};
use crate::pipeline::fold::{Consequence, ErasureConsequence};
use crate::pipeline::service::Service;
use crate::privacy::subject::{Subject, Tag, Tagger};
use crate::rules::run_time::NOTE_BYTES_MAX;
use crate::search::key::{Field, SearchKey};
use crate::wire::pan::contains_pan;
use crate::wire::rejection::{FieldErrors, Rejection};

/// How long an erasure may take to be in the log.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long records are counted whose data is gone; then the answer says that they are not all.
const COUNT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a new state snapshot may take, where old ones hold what is erased.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);
/// How long profiles may be behind the erasure, where decisions update them.
const UPDATES_PATIENCE: Duration = Duration::from_secs(5);
const UPDATES_PAUSE: Duration = Duration::from_millis(20);

/// Whose data is to be erased, and why.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ErasureRequest {
    /// A customer.
    pub customer: Option<String>,
    /// A card, by fingerprint: of records that name no customer.
    pub card: Option<String>,
    /// A device: of records that name neither customer nor card.
    pub device: Option<String>,
    /// Why: who asked, under which number. It names nobody.
    pub note: String,
}

impl ErasureRequest {
    /// Reads the JSON of a request.
    pub fn read(body: &[u8]) -> Result<Self, Rejection> {
        let body: Value =
            serde_json::from_slice(body).map_err(|error| Rejection::NotJson(error.to_string()))?;
        let Value::Object(fields) = body else { return Err(Rejection::field("", "must be an object")) };
        let mut errors = FieldErrors::default();
        let mut text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                errors.push(format!("/{name}"), "must be a text");
                None
            }
        };
        let (customer, card, device) = (text("customer"), text("card"), text("device"));
        let note = text("note").unwrap_or_default();
        for name in
            fields.keys().filter(|name| !["customer", "card", "device", "note"].contains(&name.as_str()))
        {
            // A wrong name must not erase less than was meant.
            let shown = if contains_pan(name) { "…" } else { name };
            errors.push(
                "",
                format!("`{shown}` is no field of an erasure: customer, card, device and note are"),
            );
        }
        if !errors.is_empty() {
            return Err(errors.into_rejection());
        }
        let request = Self { customer, card, device, note: note.trim().to_owned() };
        request.check()?;
        Ok(request)
    }

    /// Says all that is wrong with it. A wrong value is not repeated: it may be a card number.
    pub fn check(&self) -> Result<(), Rejection> {
        let mut errors = FieldErrors::default();
        for (name, value) in self.named() {
            if !(1..=ID_BYTES_MAX).contains(&value.len()) {
                errors.push(format!("/{name}"), format!("must have 1 to {ID_BYTES_MAX} bytes"));
            } else if contains_pan(value) {
                errors.push(format!("/{name}"), "holds a card number; nothing is recorded under one");
            } else if self.note.contains(value) {
                errors.push(
                    "/note",
                    format!("holds the {name} that is to be erased; the note stays in the log"),
                );
            }
        }
        if self.named().next().is_none() {
            errors.push("", "names nobody: give customer, card or device");
        }
        if self.note.trim().is_empty() || self.note.len() > NOTE_BYTES_MAX {
            errors.push(
                "/note",
                format!("must have 1 to {NOTE_BYTES_MAX} bytes: say why, for whoever reads it later"),
            );
        } else if self.note.chars().any(char::is_control) {
            errors.push("/note", "must not hold control characters");
        } else if contains_pan(&self.note) {
            errors.push("/note", "holds a card number; leave it out");
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.into_rejection()) }
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [("customer", &self.customer), ("card", &self.card), ("device", &self.device)];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// The values: what may stand on a list, and in records in clear.
    pub fn values(&self) -> Vec<Box<str>> {
        self.named().map(|(_, value)| value.into()).collect()
    }

    /// The profiles that go: kind of entity and id.
    pub fn profiles(&self) -> Vec<(Box<str>, Box<str>)> {
        self.named().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// What the search index finds their decisions by.
    pub(crate) fn search_hashes(&self, key: &SearchKey) -> Vec<u64> {
        let field = |name| match name {
            "customer" => Field::Customer,
            "card" => Field::Card,
            _ => Field::Device,
        };
        self.named().map(|(name, value)| key.hash(field(name), value)).collect()
    }

    /// The subjects, each also as a value on a list.
    pub(crate) fn subjects(&self, tagger: &Tagger) -> Vec<ErasedSubject> {
        let mut subjects = Vec::new();
        for (name, value) in self.named() {
            let subject = match name {
                "customer" => Subject::Customer(value),
                "card" => Subject::Card(value),
                _ => Subject::Device(value),
            };
            for subject in [subject, Subject::Listed(value)] {
                subjects.push(ErasedSubject { kind: subject.kind().into(), tag: tagger.tag(subject) });
            }
        }
        subjects
    }

    /// The records of the erasure of these keys: one, or several where there are more keys than one names.
    pub(crate) fn records(&self, tagger: &Tagger, keys: &[u64], by: &str) -> Vec<ErasureRecord> {
        let subjects = self.subjects(tagger);
        let record = |keys: &[u64]| ErasureRecord {
            subjects: subjects.clone(),
            keys: keys.to_vec(),
            note: self.note.as_str().into(),
            by: by.into(),
        };
        if keys.is_empty() {
            return vec![record(&[])];
        }
        keys.chunks(ERASED_KEYS_MAX).map(record).collect()
    }
}

/// The tags of subjects.
pub(crate) fn tags(subjects: &[ErasedSubject]) -> Vec<Tag> {
    subjects.iter().map(|subject| subject.tag).collect()
}

/// What an erasure came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ErasureDone {
    /// The log.
    pub log: LogId,
    /// The sequences of its records: one, or several for very many keys.
    pub sequences: Vec<u64>,
    /// Keys destroyed. A customer has one from the first record on, and another after each erasure.
    pub keys_destroyed: u64,
    /// Records that cannot be read any more.
    pub records: Touched,
    /// Entries of lists that were taken off; none when the service was stopped, since its next start takes them off.
    pub list_entries: u64,
    /// Profiles removed.
    pub profiles_removed: u64,
    /// State snapshots removed, since they held values of lists.
    pub snapshots_removed: u64,
    /// What is left to be done by hand, or is done later.
    pub notes: Vec<String>,
}

/// Why nothing is erased, or not all.
#[derive(Debug, Error)]
pub enum ErasureError {
    /// Another one is running.
    #[error("another erasure is running")]
    Busy,
    /// The request is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It cannot be recorded, or keys cannot be read: nothing is erased.
    #[error("the erasure cannot be recorded, and nothing is erased: {0}")]
    NotRecorded(String),
    /// It is recorded, and the keys are not destroyed yet.
    #[error(
        "the erasure is recorded, and its keys are not destroyed yet: {0}; that is tried again every second and at each start"
    )]
    NotDestroyed(String),
}

impl Service {
    /// Erases, and answers when the keys are destroyed. `body` is the JSON of the request, `by` whose API key it came with.
    pub async fn erase(self: &Arc<Self>, body: &[u8], by: &str) -> Result<ErasureDone, ErasureError> {
        let request = ErasureRequest::read(body)?;
        let Ok(_alone) = Arc::clone(&self.erasures).try_acquire_owned() else {
            return Err(ErasureError::Busy);
        };
        let not_recorded = |error: &dyn std::fmt::Display| ErasureError::NotRecorded(error.to_string());
        let keys = Arc::clone(&self.privacy.keys);
        let tagger = keys.tagger().clone();
        let erased = tags(&request.subjects(&tagger));
        let numbers = blocking(move || {
            keys.forget(&erased);
            keys.numbers_of(&erased).map_err(|error| error.to_string())
        });
        let numbers = numbers.await.map_err(|error| not_recorded(&error))?;
        let records = self.count_touched(&request, &numbers).await;

        let hashes = request.search_hashes(self.search.searcher().key());
        let (search, noted) = (Arc::clone(&self.search), hashes.clone());
        blocking(move || search.erased().note(&noted).map_err(|error| error.to_string()))
            .await
            .map_err(|error| not_recorded(&format!("the search index cannot note it: {error}")))?;
        let (mut sequences, mut list_entries, mut last) = (Vec::new(), 0, None);
        for record in request.records(&tagger, &numbers, by) {
            let (receipt, entries) = self.record_erasure(record, &request).await?;
            sequences.push(receipt.sequence);
            list_entries += entries;
            last = Some(receipt);
        }
        self.destroy(last.as_ref()).await?;
        let sequence = last.map_or(0, |receipt| receipt.sequence);
        self.search.erased().are_due(&hashes, sequence);
        let mut done = ErasureDone {
            log: self.log_id,
            sequences,
            keys_destroyed: numbers.len() as u64,
            records,
            list_entries,
            profiles_removed: 0,
            snapshots_removed: 0,
            notes: Vec::new(),
        };
        self.remove_profiles(&request, sequence, &mut done).await;
        self.remove_snapshots(&request, sequence, &mut done).await;
        done.notes.extend(done.records.note());
        info!(by, sequence, keys = done.keys_destroyed, "personal data is erased");
        Ok(done)
    }

    async fn count_touched(self: &Arc<Self>, request: &ErasureRequest, numbers: &[u64]) -> Touched {
        let (service, values, numbers) = (Arc::clone(self), request.values(), numbers.to_vec());
        let counted = tokio::task::spawn_blocking(move || {
            let started = service.clock.instant();
            let settled = service.log_status().head.sequence;
            let go_on = |_| service.clock.instant().saturating_duration_since(started) < COUNT_TIME_MAX;
            erasure_traces::count(&service.log_directory, settled, &numbers, &values, go_on)
        });
        match counted.await {
            Ok(Ok(touched)) => touched,
            Ok(Err(error)) => {
                warn!(%error, "the records of an erasure cannot be counted");
                Touched::default()
            }
            Err(error) => {
                warn!(%error, "the records of an erasure cannot be counted");
                Touched::default()
            }
        }
    }

    async fn record_erasure(
        &self,
        record: ErasureRecord,
        request: &ErasureRequest,
    ) -> Result<(Receipt, u64), ErasureError> {
        let not_recorded = |error: &dyn std::fmt::Display| ErasureError::NotRecorded(error.to_string());
        let body = open_body(&record).map_err(|error| not_recorded(&error))?;
        let (told, mut entries) = oneshot::channel();
        let consequence = ErasureConsequence { keys: record.keys, values: request.values(), entries: told };
        let ticket = self.log.reserve().map_err(|error| not_recorded(&error))?;
        let consequence = Consequence::Erasure(Box::new(consequence));
        let pending = ticket.commit_body(Kind::Erasure, self.clock.now(), body, consequence);
        let receipt = tokio::time::timeout(RECORD_WAIT_MAX, pending)
            .await
            .map_err(|_| not_recorded(&"it was not written in time; look whether it is in the log"))?
            .map_err(|error| not_recorded(&error))?;
        // The log's writer has told before it woke us.
        Ok((receipt, entries.try_recv().unwrap_or(0)))
    }

    /// The record is on stable storage before the answer, whatever the level of acknowledgement: a key that is gone says nothing.
    async fn destroy(&self, receipt: Option<&Receipt>) -> Result<(), ErasureError> {
        let segment = receipt.map(|receipt| segment_path(&self.log_directory, receipt.position.segment));
        let keys = Arc::clone(&self.privacy.keys);
        let destroyed = blocking(move || {
            if let Some(segment) = segment {
                sync(&segment).map_err(|error| format!("{}: {error}", segment.display()))?;
            }
            keys.destroy_doomed().map_err(|error| error.to_string())
        });
        destroyed.await.map_err(ErasureError::NotDestroyed)
    }

    async fn remove_profiles(&self, request: &ErasureRequest, sequence: u64, done: &mut ErasureDone) {
        // What was read of a decision before its key was gone may still be on its way to the store.
        let started = self.clock.instant();
        while self.metrics.profiles.updates_done().is_some_and(|done| done < sequence) {
            if self.clock.instant().saturating_duration_since(started) > UPDATES_PATIENCE {
                let note = "updates of profiles are behind: erase again when tollgate_profile_update_lag_records is 0";
                done.notes.push(note.to_owned());
                break;
            }
            tokio::time::sleep(UPDATES_PAUSE).await;
        }
        match self.profiles.remove(request.profiles()).await {
            Ok(removed) => {
                done.profiles_removed = removed;
                if removed > 0 && matches!(self.profiles, Profiles::Embedded(_)) {
                    let note = "the embedded profile store writes its file anew at the next start; until then free pages of it may \
                                hold what was removed";
                    done.notes.push(note.to_owned());
                }
            }
            Err(error) => done.notes.push(format!("profiles are not removed: {error}; erase again later")),
        }
    }

    /// Snapshots hold what stood on lists in clear.
    async fn remove_snapshots(
        self: &Arc<Self>,
        request: &ErasureRequest,
        sequence: u64,
        done: &mut ErasureDone,
    ) {
        let (service, values) = (Arc::clone(self), request.values());
        let removed = blocking(move || {
            let held = erasure_traces::snapshots_with(&service.data, &values)?;
            if held.iter().any(|held| *held < sequence) {
                // The next start has one to begin with; the ones before it are not needed.
                service.snapshots.take(SNAPSHOT_PATIENCE);
            }
            erasure_traces::remove_snapshots(&service.data, &values)
        });
        match removed.await {
            Ok(removed) => done.snapshots_removed = removed,
            Err(error) => {
                done.notes.push(format!("state snapshots are not removed: {error}; remove them by hand"));
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Syncs a file that another descriptor writes.
pub(crate) fn sync(file: &Path) -> io::Result<()> {
    std::fs::File::open(file)?.sync_data()
}
