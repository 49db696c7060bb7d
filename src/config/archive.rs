//! `[archive]`: what becomes of closed segments of the audit log.

use serde::Deserialize;

/// `[archive]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ArchiveConfig {
    pub enabled: bool,
    pub url: String,
    pub delta: bool,
    pub keep_local_days: u64,
    pub hold_open_reviews_days: u64,
    pub retention_days: u64,
    pub legal_hold: bool,
    pub compact_file_mib: u64,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            url: String::new(),
            delta: false,
            keep_local_days: 7,
            hold_open_reviews_days: 0,
            retention_days: 2_557,
            legal_hold: false,
            compact_file_mib: 128,
        }
    }
}

impl ArchiveConfig {
    /// Names, values, least and most.
    pub(crate) fn bounds(&self) -> [(&'static str, u64, u64, u64); 4] {
        [
            // Local segments never outlive what the archive keeps.
            ("archive.keep_local_days", self.keep_local_days, 0, self.retention_days.saturating_sub(1)),
            ("archive.hold_open_reviews_days", self.hold_open_reviews_days, 0, 3_650),
            ("archive.retention_days", self.retention_days, 1, 36_500),
            ("archive.compact_file_mib", self.compact_file_mib, 1, 4_096),
        ]
    }
}

#[cfg(feature = "parquet")]
impl ArchiveConfig {
    /// Where the archive is: beside the log, unless something else is said.
    pub fn url(&self, data: &std::path::Path) -> String {
        if self.url.is_empty() {
            return data.join(crate::archive::archiver::ARCHIVE_DIRECTORY).display().to_string();
        }
        self.url.clone()
    }

    /// As the room takes it.
    pub fn settings(
        &self,
        data: &std::path::Path,
    ) -> anyhow::Result<crate::archive::archiver::ArchiveSettings> {
        anyhow::ensure!(
            !self.delta || cfg!(feature = "delta"),
            "archive.delta: this tollgate was built without Delta Lake: build it with the cargo feature `delta`"
        );
        Ok(crate::archive::archiver::ArchiveSettings {
            url: self.url(data),
            keep_local: std::time::Duration::from_secs(self.keep_local_days * 86_400),
            hold_open_reviews_days: self.hold_open_reviews_days,
            retention_days: self.retention_days,
            legal_hold: self.legal_hold,
            compact_file_bytes: self.compact_file_mib << 20,
            delta: self.delta,
        })
    }
}
