//! Local segments go: the oldest first, when they have been archived for long enough, nothing needs them, and the archive has been found to
//! give them byte for byte, once more, now.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::archive::archiver::{Archive, Work};
use crate::archive::error::ArchiveError;
use crate::archive::file_writer::hash_reader;
use crate::archive::manifest::{Chapter, SegmentEntry};
use crate::archive::walk::prove;
use crate::audit::damage::ReadError;
use crate::audit::retention_record::{Place, RetentionRecord, Rule};
use crate::audit::segment::{list_segments, segment_path};

/// Most segments that are looked at together.
const BATCH_MAX: usize = 16;
const SECONDS_PER_DAY: u64 = 86_400;

/// Records what is about to be deleted, and returns when that is on stable storage.
pub type Recorder<'a> = &'a dyn Fn(&RetentionRecord) -> Result<(), String>;

/// Somebody who still needs the log from some record on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Need {
    /// Who, in words: `the state snapshot`.
    pub who: String,
    /// The first record that must stay.
    pub from_sequence: u64,
}

/// What has gone, and what kept the first one that has not.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Pruned {
    /// Segments that were removed.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why the oldest that is left is there.
    pub kept: Option<String>,
}

/// What is to become of one segment.
enum Fate {
    /// Nothing of it is in the archive any more: retention has taken all of it.
    Outlived,
    /// The archive has it.
    Archived(SegmentEntry),
    /// It stays.
    Stays(String),
}

impl Archive {
    /// Removes segments from the log in `log`, whose open segment is never one of them. What goes is told to `record` before, and stays where that
    /// refuses.
    pub fn prune(
        &self,
        log: &Path,
        needs: &[Need],
        work: Work<'_>,
        record: Recorder<'_>,
    ) -> Result<Pruned, ArchiveError> {
        let segments = list_segments(log).map_err(|source| ReadError::Io { path: log.to_owned(), source })?;
        let names = self.manifest().chapters()?;
        // What an archive never held, it has not removed either: one that was begun in the middle of a log.
        let removed_from =
            self.manifest().removals()?.first().map_or(u64::MAX, |oldest| oldest.first_sequence);
        let mut pruned = Pruned::default();
        let mut chapter: Option<(u64, Chapter)> = None;
        let mut batch: Vec<SegmentEntry> = Vec::new();
        for pair in segments.windows(2) {
            work.check()?;
            let (first, last) = (pair[0], pair[1] - 1);
            let name = names[..names.partition_point(|name| *name <= first)].last().or(names.first());
            let Some(name) = name.copied() else {
                pruned.kept = Some("nothing is archived yet".to_owned());
                break;
            };
            if chapter.as_ref().is_none_or(|(loaded, _)| *loaded != name) {
                self.remove_local(log, chapter.as_ref(), &mut batch, &mut pruned, work, record)?;
                chapter = Some((name, self.manifest().load(name)?));
            }
            let Some((_, chapter)) = &chapter else { break };
            match self.fate(chapter, (first, last), removed_from, needs, work) {
                Fate::Stays(why) => {
                    pruned.kept = Some(format!("segment {first} stays: {why}"));
                    break;
                }
                Fate::Outlived => {
                    let days = self.settings.retention_days;
                    self.announce_removal(
                        record,
                        Place::Log,
                        (Rule::Retention, days),
                        (first, last),
                        1,
                        None,
                    )?;
                    remove(log, first, &mut pruned)?;
                }
                Fate::Archived(entry) => batch.push(entry),
            }
            if batch.len() == BATCH_MAX {
                self.remove_local(
                    log,
                    Some(&(name, chapter.clone())),
                    &mut batch,
                    &mut pruned,
                    work,
                    record,
                )?;
            }
        }
        self.remove_local(log, chapter.as_ref(), &mut batch, &mut pruned, work, record)?;
        Ok(pruned)
    }

    fn fate(
        &self,
        chapter: &Chapter,
        (first, last): (u64, u64),
        removed_from: u64,
        needs: &[Need],
        work: Work<'_>,
    ) -> Fate {
        if let Some(need) =
            needs.iter().filter(|need| need.from_sequence <= last).min_by_key(|it| it.from_sequence)
        {
            return Fate::Stays(format!("{} needs the log from record {} on", need.who, need.from_sequence));
        }
        if removed_from <= first && last <= chapter.base.sequence {
            return Fate::Outlived;
        }
        let Some(entry) = chapter.segments.iter().find(|entry| entry.first_sequence == first) else {
            return Fate::Stays("it is not archived yet".to_owned());
        };
        if entry.first_sequence <= chapter.base.sequence {
            return Fate::Stays(
                "a part of it has outlived its retention in the archive, and the rest has not".to_owned(),
            );
        }
        let archived_ms = u64::try_from(work.now.unix_millis() - entry.verified_at_ms).unwrap_or(0);
        let keep_ms = u64::try_from(self.settings.keep_local.as_millis()).unwrap_or(u64::MAX);
        if archived_ms < keep_ms {
            return Fate::Stays("it has not been in the archive for archive.keep_local_days yet".to_owned());
        }
        Fate::Archived(entry.clone())
    }

    /// Checks a batch against the archive, and removes it.
    fn remove_local(
        &self,
        log: &Path,
        chapter: Option<&(u64, Chapter)>,
        batch: &mut Vec<SegmentEntry>,
        pruned: &mut Pruned,
        work: Work<'_>,
        record: Recorder<'_>,
    ) -> Result<(), ArchiveError> {
        let (Some((_, chapter)), Some(first), Some(last)) = (chapter, batch.first(), batch.last()) else {
            return Ok(());
        };
        let part = chapter.part(first.first_sequence, last.last.sequence);
        prove(&*self.store, &self.scratch, &part, work)?;
        for entry in batch.iter() {
            // The walk has met every segment that the part names, each byte for byte.
            let was_met = part.segments.contains(entry);
            let path = segment_path(log, entry.first_sequence);
            let file = File::open(&path).map_err(ArchiveError::local(&path, "open it"))?;
            let hashed =
                hash_reader(file.take(entry.bytes)).map_err(ArchiveError::local(&path, "read it"))?;
            if !was_met || hashed != (entry.blake3, entry.bytes) {
                let what = "the file is not what was archived under its name".to_owned();
                return Err(ArchiveError::Diverged { segment: entry.first_sequence, what });
            }
        }
        let days = self.settings.keep_local.as_secs() / SECONDS_PER_DAY;
        let sequences = (first.first_sequence, last.last.sequence);
        let files = batch.len() as u64;
        self.announce_removal(record, Place::Log, (Rule::KeepLocal, days), sequences, files, None)?;
        for entry in batch.drain(..) {
            remove(log, entry.first_sequence, pruned)?;
        }
        Ok(())
    }

    /// Has it recorded that something is about to go.
    pub(crate) fn announce_removal(
        &self,
        record: Recorder<'_>,
        place: Place,
        (rule, days): (Rule, u64),
        (first, last): (u64, u64),
        files: u64,
        kept_from: Option<&str>,
    ) -> Result<(), ArchiveError> {
        let body = RetentionRecord {
            place,
            rule,
            days,
            first_sequence: first,
            last_sequence: last,
            files,
            kept_from: kept_from.map(Box::from),
        };
        let rule = match rule {
            Rule::KeepLocal => "archive.keep_local_days",
            Rule::Retention => "archive.retention_days",
        };
        record(&body).map_err(|why| ArchiveError::NotRecorded { first, last, rule, why })
    }
}

/// One at a time, each on stable storage before the next: a log never has a hole.
fn remove(log: &Path, segment: u64, pruned: &mut Pruned) -> Result<(), ArchiveError> {
    let path = segment_path(log, segment);
    let attempt = || {
        let bytes = fs::metadata(&path)?.len();
        fs::remove_file(&path)?;
        File::open(log)?.sync_all()?;
        Ok(bytes)
    };
    pruned.bytes += attempt().map_err(ArchiveError::local(&path, "remove it"))?;
    pruned.segments += 1;
    Ok(())
}
