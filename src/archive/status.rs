//! What an archive holds, as its manifest says, and what of the log is still here.

use std::path::Path;

use serde::Serialize;

use crate::archive::error::ArchiveError;
use crate::archive::manifest::{Removal, date};
use crate::archive::verify::ArchiveReader;
use crate::audit::damage::ReadError;
use crate::audit::receipt::LogId;
use crate::audit::segment::list_segments;

/// The state of an archive.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct ArchiveStatus {
    /// Where it is.
    pub place: String,
    /// The log; none of an empty archive.
    pub log_id: Option<LogId>,
    /// The first record in it.
    pub first_sequence: Option<u64>,
    /// The last record in it.
    pub last_sequence: Option<u64>,
    /// The first day.
    pub first_date: Option<String>,
    /// The last day.
    pub last_date: Option<String>,
    /// Records.
    pub records: u64,
    /// Bytes of the records.
    pub record_bytes: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Files that an interrupted run was putting there.
    pub pending: u64,
    /// Files that are to be removed.
    pub retired: u64,
    /// The last days that retention has removed.
    pub removals: Vec<Removal>,
    /// Segments of the log on this machine, the open one included.
    pub local_segments: u64,
    /// Closed ones that are not in the archive yet.
    pub waiting_segments: u64,
}

/// Most removals that a status shows.
const REMOVALS_SHOWN: usize = 10;

impl ArchiveReader {
    /// Looks at the manifest and at the log in `log`, if there is one.
    pub fn status(&self, log: &Path) -> Result<ArchiveStatus, ArchiveError> {
        let manifest = self.manifest();
        let mut status = ArchiveStatus { place: self.place(), ..ArchiveStatus::default() };
        for name in manifest.chapters()? {
            let chapter = manifest.load(name)?;
            status.log_id = Some(chapter.log_id);
            status.pending += chapter.pending.len() as u64;
            status.retired += chapter.retired.len() as u64;
            for file in &chapter.files {
                status.first_sequence = status.first_sequence.or(Some(file.first_sequence));
                status.last_sequence = Some(file.last.sequence);
                status.first_date = status.first_date.take().or_else(|| Some(date(file.day)));
                status.last_date = Some(date(file.day));
                status.records += file.rows;
                status.record_bytes += file.frame_bytes;
                status.files += 1;
                status.file_bytes += file.bytes;
            }
        }
        let mut removals = manifest.removals()?;
        status.removals = removals.split_off(removals.len().saturating_sub(REMOVALS_SHOWN));
        if log.is_dir() {
            let segments =
                list_segments(log).map_err(|source| ReadError::Io { path: log.to_owned(), source })?;
            let archived = status.last_sequence.unwrap_or(0);
            status.local_segments = segments.len() as u64;
            status.waiting_segments =
                segments.windows(2).filter(|pair| pair[1] - 1 > archived).count() as u64;
        }
        Ok(status)
    }
}
