//! The policies that records name: from the archive, or given by hand for a log that is older than the archive.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use serde::Serialize;

use crate::domain::decision::Versions;
use crate::engine::policy::Policy;
use crate::policy_archive::error::LoadError;
use crate::policy_archive::store::PolicyArchive;

/// Most policies that are held at once; the one that was used longest ago is loaded again when it is asked for.
pub const POLICIES_HELD_MAX: usize = 32;

/// Where a policy is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The archive.
    Archive,
    /// Given by hand, with the very hash.
    Given,
    /// Given by hand, with the same rules, model and features, and another hash: what config says of missing parts, the thresholds of
    /// the model's manifest, the challengers, the backend, or the version of the program that named it, are others.
    GivenByParts,
}

/// What is found of a policy.
#[derive(Debug)]
pub enum Found {
    /// The policy.
    Policy(Arc<Policy>, Origin),
    /// None, and why.
    Nothing(String),
}

/// Policies by hash, for any number of threads.
#[derive(Debug)]
pub struct Policies {
    archive: PolicyArchive,
    given: Vec<Arc<Policy>>,
    held: Mutex<LruCache<Box<str>, Arc<Found>>>,
}

impl Policies {
    /// Of an archive, and of what is given.
    pub fn new(archive: PolicyArchive, given: Vec<Arc<Policy>>) -> Self {
        let held_max = NonZeroUsize::new(POLICIES_HELD_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { archive, given, held: Mutex::new(LruCache::new(held_max)) }
    }

    /// The policy with that hash, which decided by those versions. Others wait while it is loaded: most likely for the same one.
    pub fn find(&self, hash: &str, versions: impl FnOnce() -> Option<Versions>) -> Arc<Found> {
        let mut held = self.held.lock();
        if let Some(found) = held.get(hash) {
            return Arc::clone(found);
        }
        let found = Arc::new(self.load(hash, versions));
        held.put(hash.into(), Arc::clone(&found));
        found
    }

    fn load(&self, hash: &str, versions: impl FnOnce() -> Option<Versions>) -> Found {
        let why = match self.archive.load(hash) {
            Ok(policy) => return Found::Policy(Arc::new(policy), Origin::Archive),
            Err(why) => why,
        };
        if let Some(policy) = self.given.iter().find(|policy| *policy.hash == *hash) {
            return Found::Policy(Arc::clone(policy), Origin::Given);
        }
        // What the archive has and cannot give is not to be had otherwise.
        if matches!(why, LoadError::NotArchived)
            && let Some(versions) = versions()
            && let Some(policy) = self.given.iter().find(|policy| policy.versions == versions)
        {
            return Found::Policy(Arc::clone(policy), Origin::GivenByParts);
        }
        Found::Nothing(why.to_string())
    }
}
