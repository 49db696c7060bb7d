//! `[privacy]`: how personal data is recorded.

use serde::Deserialize;

use crate::pipeline::privacy::{PrivacySettings, SUBJECTS_MAX_DEFAULT};

/// `[privacy]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct PrivacyConfig {
    pub encrypt: bool,
    pub subjects_max: usize,
}

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self { encrypt: true, subjects_max: SUBJECTS_MAX_DEFAULT }
    }
}

impl PrivacyConfig {
    /// As the service takes it.
    pub const fn settings(self) -> PrivacySettings {
        PrivacySettings { encrypt: self.encrypt, subjects_max: self.subjects_max }
    }
}
