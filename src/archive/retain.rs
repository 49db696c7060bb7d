//! Retention: days that are older than the log must be kept leave the archive, whole files at a time. What remains is the joint: the hash of
//! the last record that is gone, from which the chain goes on.

use serde::Serialize;

use crate::archive::archiver::{Archive, Work};
use crate::archive::compact::retire;
use crate::archive::error::ArchiveError;
use crate::archive::manifest::{FileEntry, Removal, date, day_of};
use crate::archive::prune::Recorder;
use crate::audit::retention_record::{Place, Rule};

/// What a run has removed.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Removed {
    /// Records.
    pub records: u64,
    /// The files that held them.
    pub files: u64,
    /// The first day that stays; none while `archive.legal_hold` is set.
    pub kept_from: Option<String>,
}

/// What is to be remembered of files that go: one removal for each stretch of a day.
fn removals(files: &[FileEntry], now_ms: i64) -> Vec<Removal> {
    let mut removals: Vec<Removal> = Vec::new();
    for file in files {
        let date = date(file.day);
        match removals.last_mut().filter(|removal| removal.date == date) {
            Some(removal) => {
                removal.last = file.last;
                removal.records += file.rows;
            }
            None => removals.push(Removal {
                date,
                first_sequence: file.first_sequence,
                last: file.last,
                records: file.rows,
                removed_at_ms: now_ms,
            }),
        }
    }
    removals
}

impl Archive {
    /// Removes what is older than the settings say, the oldest first. Only from the beginning of the log: a day that stands behind a
    /// later one, after a clock was set back, goes when that one goes. What goes is told to `record` before, and stays where that refuses.
    pub fn retain(&self, work: Work<'_>, record: Recorder<'_>) -> Result<Removed, ArchiveError> {
        let mut removed = Removed::default();
        if self.settings.legal_hold {
            return Ok(removed);
        }
        let now_ms = work.now.unix_millis();
        let days = i64::try_from(self.settings.retention_days).unwrap_or(i64::MAX);
        let first_kept = day_of(now_ms).saturating_sub(days);
        removed.kept_from = Some(date(first_kept));
        let manifest = self.manifest();
        let names = manifest.chapters()?;
        for name in &names {
            work.check()?;
            let mut chapter = manifest.load(*name)?;
            let count = chapter.files.iter().take_while(|file| file.day < first_kept).count();
            if count > 0 {
                let gone: Vec<FileEntry> = chapter.files.drain(..count).collect();
                let sequences = (gone[0].first_sequence, gone[count - 1].last.sequence);
                let rule = (Rule::Retention, self.settings.retention_days);
                let kept_from = removed.kept_from.as_deref();
                self.announce_removal(record, Place::Archive, rule, sequences, count as u64, kept_from)?;
                manifest.add_removals(&removals(&gone, now_ms))?;
                self.announce(&[], &gone, work)?;
                removed.files += gone.len() as u64;
                removed.records += gone.iter().map(|file| file.rows).sum::<u64>();
                if let Some(last) = gone.last() {
                    chapter.base = last.last;
                }
                let base = chapter.base.sequence;
                chapter.segments.retain(|segment| segment.last.sequence > base);
                retire(&mut chapter, &gone, work);
                manifest.save(*name, &chapter)?;
                self.publish(work)?;
            }
            self.purge(*name, &mut chapter, work)?;
            if !chapter.files.is_empty() {
                break;
            }
            // The newest one stays, since it says where the next segment begins.
            if chapter.retired.is_empty() && names.last() != Some(name) {
                manifest.remove(*name)?;
            }
        }
        Ok(removed)
    }
}
