//! `[audit.checkpoints]`: how often the log's tree is signed, and by which keys.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::pipeline::checkpoints::{CheckpointSettings, INTERVAL_DEFAULT};

/// `[audit.checkpoints]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct CheckpointsConfig {
    pub interval_s: u64,
    pub key_file: PathBuf,
    pub origin: String,
}

impl Default for CheckpointsConfig {
    fn default() -> Self {
        Self { interval_s: INTERVAL_DEFAULT.as_secs(), key_file: PathBuf::new(), origin: String::new() }
    }
}

impl CheckpointsConfig {
    /// As the service takes it; none when there are to be no checkpoints.
    pub fn settings(&self) -> Option<CheckpointSettings> {
        (self.interval_s > 0).then(|| self.settings_always())
    }

    /// The same, also where the service makes none by itself.
    pub fn settings_always(&self) -> CheckpointSettings {
        CheckpointSettings {
            interval: Duration::from_secs(self.interval_s),
            key_file: Some(self.key_file.clone()).filter(|file| !file.as_os_str().is_empty()),
            origin: Some(self.origin.clone()).filter(|origin| !origin.is_empty()),
        }
    }
}
