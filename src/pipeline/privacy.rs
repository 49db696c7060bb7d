//! The keys of subjects as the service uses them: asked for before a ticket is taken, since a new key may have to be synced first.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::audit::bodies::{Bodies, Sealing};
use crate::audit::failure::{Failure, FailureKind};
use crate::audit::receipt::LogId;
use crate::audit::writer::{Ack, BeforeGroup};
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::pipeline::secret::Secret;
use crate::pipeline::service::Service;
use crate::privacy::keeper::KeyKeeper;
use crate::privacy::key_store::{KeyCounts, KeyStore, KeyStoreError};
use crate::privacy::subject::{Subject, Tagger};

/// Most subjects whose keys are found in memory, unless config says otherwise.
pub const SUBJECTS_MAX_DEFAULT: usize = 10_000_000;

/// What the operator chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrivacySettings {
    /// Whether personal data of new records is sealed. What is sealed already is opened in any case.
    pub encrypt: bool,
    /// Most subjects whose keys are found in memory.
    pub subjects_max: usize,
}

impl Default for PrivacySettings {
    fn default() -> Self {
        Self { encrypt: true, subjects_max: SUBJECTS_MAX_DEFAULT }
    }
}

/// The keys of a data directory.
#[derive(Debug)]
pub(crate) struct Privacy {
    pub(crate) keys: Arc<KeyStore>,
    /// What reads records.
    pub(crate) bodies: Bodies,
    settings: PrivacySettings,
    log: LogId,
    ack: Ack,
    keeper: Option<KeyKeeper>,
}

/// What makes the tags of an installation.
pub(crate) fn tagger(secret: &Secret) -> Tagger {
    Tagger::new(secret.subject_key())
}

impl Privacy {
    /// Opens the keys in a data directory, or makes the file.
    pub(crate) fn open(
        data: &Path,
        secret: &Secret,
        log: LogId,
        ack: Ack,
        settings: PrivacySettings,
    ) -> Result<Self, KeyStoreError> {
        let keys = Arc::new(KeyStore::open(data, log.0, tagger(secret), settings.subjects_max)?);
        let bodies = Bodies::new(keys.keys().clone());
        Ok(Self { keys, bodies, settings, log, ack, keeper: None })
    }

    /// Starts the thread that syncs keys in the background.
    pub(crate) fn start_keeper(&mut self) -> io::Result<()> {
        self.keeper = Some(KeyKeeper::start(Arc::clone(&self.keys))?);
        Ok(())
    }

    /// What a record of this transaction is sealed with; none where config wants none. The key is as safe as the record is to be: a new
    /// one may wait for a sync.
    pub(crate) async fn of_transaction(
        &self,
        transaction: &Transaction,
        received_at: EventTime,
    ) -> Result<Option<Sealing>, KeyStoreError> {
        self.of(Subject::of(transaction, received_at)).await
    }

    /// Has the log's writer write new keys before the records that are sealed with them.
    pub(super) fn before_group(&self) -> BeforeGroup {
        let keys = Arc::clone(&self.keys);
        Arc::new(move || {
            keys.write_new().map_err(|error| match error {
                KeyStoreError::Io { path, error } => {
                    Failure::new(FailureKind::Write, "writing", &path, &error)
                }
                other => Failure { kind: FailureKind::Write, message: other.to_string() },
            })
        })
    }

    /// What a record of that subject's is sealed with.
    pub(crate) async fn of(&self, subject: Subject<'_>) -> Result<Option<Sealing>, KeyStoreError> {
        if !self.settings.encrypt {
            return Ok(None);
        }
        let key = self.keys.key_of(subject)?;
        if self.ack == Ack::Disk && !self.keys.is_synced(key.number) {
            let (keys, number) = (Arc::clone(&self.keys), key.number);
            let synced = tokio::task::spawn_blocking(move || keys.sync_through(number)).await;
            synced.unwrap_or_else(|error| {
                let (path, error) = (self.keys.keys().path().to_owned(), io::Error::other(error));
                Err(KeyStoreError::Io { path, error })
            })?;
        }
        Ok(Some(Sealing { key, log: self.log }))
    }
}

impl Service {
    /// Puts what Prometheus reads of keys into a text.
    pub(super) fn write_keys(&self, text: &mut String) -> std::fmt::Result {
        let KeyCounts { entries, known, made, made_beyond_bound, destroyed, doomed } =
            self.privacy.keys.counts();
        let help = "Keys of subjects, by what is there of them";
        writeln!(text, "# HELP tollgate_subject_keys {help}.\n# TYPE tollgate_subject_keys gauge")?;
        for (state, value) in [("in_file", entries), ("in_memory", known), ("to_be_destroyed", doomed)] {
            writeln!(text, "tollgate_subject_keys{{state=\"{state}\"}} {value}")?;
        }
        let help = "Keys made and destroyed since the start; made_beyond_bound where privacy.subjects_max was reached";
        writeln!(
            text,
            "# HELP tollgate_subject_key_events {help}.\n# TYPE tollgate_subject_key_events counter"
        )?;
        let events = [("made", made), ("made_beyond_bound", made_beyond_bound), ("destroyed", destroyed)];
        events.iter().try_for_each(|(event, value)| {
            writeln!(text, "tollgate_subject_key_events_total{{event=\"{event}\"}} {value}")
        })
    }
}
