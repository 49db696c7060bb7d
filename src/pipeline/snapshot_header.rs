//! What a state snapshot says of itself: where in which log it was taken, and what its keys mean. And why one is refused.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::audit::receipt::LogId;
use crate::feature::catalogue::{Catalogue, Entity};
use crate::pipeline::lane::Mark;
use crate::pipeline::secret::Secret;
use crate::window::frame::FrameError;
use crate::window::snapshot::SnapshotError;

/// The version that is written, and the only one that is read. For what it stands, see `snapshot_file`.
pub const VERSION: u32 = 2;

/// What must be the same when a snapshot is read as when it was written: else its keys mean something else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The log whose fold it is.
    pub log: LogId,
    /// The secret under which its keys were hashed, as `Secret::check_value`.
    pub secret: [u8; 16],
    /// How many decisions the ledger and the index remember.
    pub decisions_max: u64,
    /// The entities, in the order of the store. The layout does not know them: it says how much is remembered, not of what.
    pub entities: Vec<EntityIdentity>,
}

/// What an entity is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntityIdentity {
    /// Its name.
    pub name: String,
    /// The fields that make its key.
    pub key: Vec<String>,
    /// The fields whose different values are counted of it.
    pub attributes: Vec<String>,
}

impl From<&Entity> for EntityIdentity {
    fn from(entity: &Entity) -> Self {
        let names = |fields: &[crate::domain::field::Field]| {
            fields.iter().map(|field| field.name().to_owned()).collect()
        };
        Self { name: entity.name.to_string(), key: names(&entity.key), attributes: names(&entity.attributes) }
    }
}

impl Identity {
    /// Of what is there now.
    pub fn new(log: LogId, secret: &Secret, decisions_max: usize, catalogue: &Catalogue) -> Self {
        Self {
            log,
            secret: secret.check_value(),
            decisions_max: decisions_max as u64,
            entities: catalogue.entities.iter().map(EntityIdentity::from).collect(),
        }
    }

    /// Whether a snapshot that was taken `then` may be read now.
    pub fn check(&self, then: &Self) -> Result<(), SnapshotRefusal> {
        if then.log != self.log {
            return Err(SnapshotRefusal::OtherLog { found: then.log });
        }
        if then.secret != self.secret {
            return Err(SnapshotRefusal::OtherSecret);
        }
        if then.decisions_max != self.decisions_max {
            return Err(SnapshotRefusal::OtherBound { found: then.decisions_max, asked: self.decisions_max });
        }
        if then.entities != self.entities {
            let differs = then.entities.iter().zip(&self.entities).find(|(then, now)| then != now);
            let what = differs.map_or_else(
                || "the list of entities".to_owned(),
                |(then, _)| format!("the entity `{}` or what is counted of it by `distinct`", then.name),
            );
            return Err(SnapshotRefusal::OtherEntities(what));
        }
        Ok(())
    }
}

/// Where a snapshot was taken, and what of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// What its keys mean.
    pub identity: Identity,
    /// The last record whose consequences the windows held.
    pub applied: Mark,
    /// A record at or after the last one whose attempt the windows had counted. Without it in the log, there may be attempts in the
    /// snapshot that no record tells of.
    pub taken: Mark,
    /// When, in milliseconds since the Unix epoch.
    pub taken_at_ms: i64,
}

/// Why a snapshot is not used.
#[derive(Debug, Error)]
pub enum SnapshotRefusal {
    /// It ends too early, or the disk fails.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("it is no state snapshot")]
    NotASnapshot,
    /// Another version.
    #[error("it is of version {found}; this program reads version {VERSION}")]
    Version {
        /// Which.
        found: u32,
    },
    /// Bytes that were not written like that.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Its windows.
    #[error("its windows: {0}")]
    Windows(#[from] SnapshotError),
    /// Of another log.
    #[error("it is of another log, {found}")]
    OtherLog {
        /// Which.
        found: LogId,
    },
    /// Hashed under another secret.
    #[error("its keys were made under another secret")]
    OtherSecret,
    /// The ledger and the index are of another size.
    #[error("it was taken with decision.idempotency_keys_max = {found}, which is {asked} now")]
    OtherBound {
        /// What it was.
        found: u64,
        /// What it is.
        asked: u64,
    },
    /// Keys or counted fields mean something else.
    #[error("the catalogue has changed {0} since")]
    OtherEntities(String),
    /// The log has lost records.
    #[error("it has counted up to record {taken}, but the log ends with record {last}")]
    AheadOfLog {
        /// The last record that it may have counted.
        taken: u64,
        /// The last one that is there.
        last: u64,
    },
    /// The log has lost records, and others took their place.
    #[error("the log holds another record {sequence} than the one that it has counted")]
    OtherRecord {
        /// Which.
        sequence: u64,
    },
    /// The log cannot be read where it says.
    #[error("the log cannot be read on from it: {0}")]
    Log(#[from] ReadError),
}

impl From<FrameError> for SnapshotRefusal {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
            FrameError::Damaged(what) => Self::Damaged(what),
        }
    }
}
