//! `[ip]`: the local files that know of addresses.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::ip::files::{IpFiles, IpListFile};
use crate::pipeline::ip::{DATABASE_AGE_MAX_DEFAULT, IpSettings};

const SECONDS_PER_DAY: u64 = 86_400;

/// `[ip]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct IpConfig {
    pub databases: Vec<PathBuf>,
    pub lists: Vec<IpListFile>,
    pub database_age_max_d: u64,
}

impl Default for IpConfig {
    fn default() -> Self {
        let database_age_max_d = DATABASE_AGE_MAX_DEFAULT.as_secs() / SECONDS_PER_DAY;
        Self { databases: Vec::new(), lists: Vec::new(), database_age_max_d }
    }
}

impl IpConfig {
    /// As the service takes it.
    pub fn settings(&self) -> IpSettings {
        IpSettings {
            files: IpFiles { databases: self.databases.clone(), lists: self.lists.clone() },
            database_age_max: Duration::from_secs(self.database_age_max_d * SECONDS_PER_DAY),
        }
    }
}
