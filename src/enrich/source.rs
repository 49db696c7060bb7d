//! The trait of a profile store, the ids of one transaction, and the errors of a write.

use std::io;
use std::time::Duration;

use smallvec::SmallVec;
use thiserror::Error;

use crate::domain::enrichment::Enrichment;
use crate::enrich::plan::ProfilePlan;
use crate::enrich::record::{ProfileRecord, ProfileRecordError};
use crate::enrich::update::{Applied, ProfileUpdate};

/// The ids of one transaction, one per entity of the plan and in the plan's order: `None` when the transaction has no
/// such entity; then its outputs are `Absent` without asking. Ids that are not there at the end count as `None`.
#[derive(Clone, Debug, Default)]
pub struct ProfileKeys<'a>(SmallVec<[Option<&'a str>; 8]>);

impl<'a> ProfileKeys<'a> {
    /// The id of the plan's entity number `index`.
    pub fn get(&self, index: usize) -> Option<&'a str> {
        self.0.get(index).copied().flatten()
    }
}

impl<'a> FromIterator<Option<&'a str>> for ProfileKeys<'a> {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

/// Why a profile was not written.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The profile itself is wrong.
    #[error("profile refused: {0}")]
    Record(#[from] ProfileRecordError),
    /// No connection stands.
    #[error("{store} is not connected; profiles can be written once it is back")]
    Unavailable {
        /// Which store, without credentials.
        store: String,
    },
    /// The store did not confirm the write in time: it may or may not have happened, and may be repeated.
    #[error("{store} did not confirm the write within {timeout_ms} ms; it is safe to write again")]
    TimedOut {
        /// Which store, without credentials.
        store: String,
        /// How long was waited, in milliseconds.
        timeout_ms: u128,
    },
    /// The store answered with an error, or the connection broke.
    #[error("{store} refused the write: {detail}")]
    Refused {
        /// Which store, without credentials.
        store: String,
        /// What it said.
        detail: String,
    },
    /// The embedded store could not write.
    #[error("embedded profile store: {0}")]
    Storage(#[source] Box<redb::Error>),
    /// The embedded store holds a row that cannot be read, so that it cannot be added to.
    #[error(
        "embedded profile store: the stored profile of {entity} cannot be read; write it anew from its source"
    )]
    Corrupt {
        /// Whose profile; the id is personal data and stays out of messages.
        entity: String,
    },
    /// The write was cut short.
    #[error("embedded profile store: the write was cut short: {0}")]
    Interrupted(#[source] io::Error),
}

/// A store of profiles.
pub trait ProfileSource: Send + Sync + 'static {
    /// Everything of one transaction in at most one round trip. Never fails: what did not arrive within `timeout` is
    /// `TimedOut`. A `timeout` of zero asks nobody. The answer has `plan.len()` values.
    fn fetch(
        &self,
        plan: &ProfilePlan,
        keys: &ProfileKeys<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Enrichment> + Send;

    /// Writes profiles: each named field is replaced or removed, other fields stay. All of them are stored when this
    /// returns `Ok`; after an error some may be. Writing again is always safe.
    fn put_many(&self, records: Vec<ProfileRecord>) -> impl Future<Output = Result<(), ProfileError>> + Send;

    /// Removes whole profiles, each by its kind of entity and its id; says how many there were.
    fn remove(
        &self,
        profiles: Vec<(Box<str>, Box<str>)>,
    ) -> impl Future<Output = Result<u64, ProfileError>> + Send;

    /// Does to each profile what decisions add to it: each step once, however often it is sent. After an error some may have been
    /// done; sending all of them again is right.
    fn apply(
        &self,
        updates: Vec<ProfileUpdate>,
    ) -> impl Future<Output = Result<Applied, ProfileError>> + Send;

    /// Writes fields of one profile.
    fn put(
        &self,
        entity: &str,
        id: &str,
        fields: &[(&str, &str)],
    ) -> impl Future<Output = Result<(), ProfileError>> + Send {
        async move {
            let fields = fields.iter().map(|&(name, value)| (name, Some(value)));
            self.put_many(vec![ProfileRecord::new(entity, id, fields)?]).await
        }
    }
}
