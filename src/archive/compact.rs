//! Compaction: neighbouring small files of a day become one. The new file is read back and checked like any other before it takes the
//! place of the old ones.

use std::ops::Range;

use serde::Serialize;

use crate::archive::archiver::{Archive, Work, clear};
use crate::archive::error::ArchiveError;
use crate::archive::file_writer::RecordsFile;
use crate::archive::manifest::{Chapter, FileEntry, Retired};
use crate::archive::walk::{Met, prove, walk};

/// How long a file that readers of the Delta table may have begun to read stays, in milliseconds.
const DELTA_GRACE_MS: i64 = 24 * 3_600 * 1_000;
/// How many chapters are looked at, the newest, where not all are: older ones were when they were new.
const NEWEST_CHAPTERS: usize = 2;

/// What a run has merged.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Compacted {
    /// Files that are gone, or will be.
    pub files_before: u64,
    /// Files in their place.
    pub files_after: u64,
    /// Bytes of these.
    pub bytes_after: u64,
}

/// Neighbours that belong into one file: of one day, together at most `bytes_max`. Those of the last day only when nothing more fits in, since
/// more may come: so no file is merged over and over.
fn groups(files: &[FileEntry], last_day: i64, bytes_max: u64) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < files.len() {
        let day = files[start].day;
        let mut end = start + 1;
        let mut bytes = files[start].bytes;
        while let Some(next) =
            files.get(end).filter(|next| next.day == day && bytes + next.bytes <= bytes_max)
        {
            bytes += next.bytes;
            end += 1;
        }
        let may_grow = day == last_day && end == files.len();
        if end - start > 1 && !may_grow {
            groups.push(start..end);
        }
        start = end;
    }
    groups
}

impl Archive {
    /// Merges small files: in the whole archive, or in what has come lately.
    pub fn compact(&self, everywhere: bool, work: Work<'_>) -> Result<Compacted, ArchiveError> {
        let manifest = self.manifest();
        let mut names = manifest.chapters()?;
        if !everywhere {
            names.drain(..names.len().saturating_sub(NEWEST_CHAPTERS));
        }
        let mut compacted = Compacted::default();
        let newest = names.last().copied();
        let Some((_, last)) = self.newest()? else { return Ok(compacted) };
        let last_day = last.files.last().map_or(i64::MAX, |file| file.day);
        for name in names {
            let mut chapter = manifest.load(name)?;
            // In a chapter that is closed nothing more comes, whatever the day.
            let open_day = if Some(name) == newest { last_day } else { i64::MAX };
            // From the last one on, so that the places of those before it stay.
            for group in groups(&chapter.files, open_day, self.settings.compact_file_bytes).into_iter().rev()
            {
                work.check()?;
                compacted.files_before += group.len() as u64;
                compacted.files_after += 1;
                compacted.bytes_after += self.merge(name, &mut chapter, group, work)?;
            }
            self.purge(name, &mut chapter, work)?;
        }
        Ok(compacted)
    }

    fn merge(
        &self,
        name: u64,
        chapter: &mut Chapter,
        group: Range<usize>,
        work: Work<'_>,
    ) -> Result<u64, ArchiveError> {
        let old: Vec<FileEntry> = chapter.files[group.clone()].to_vec();
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(0) };
        // What is written here, and once more where the archive is on this machine.
        self.require_room(2 * old.iter().map(|file| file.bytes).sum::<u64>())?;
        let part = chapter.part(first.first_sequence, last.last.sequence);
        let scratch_file = self.scratch.join("merged.parquet");
        let mut file = RecordsFile::create(scratch_file.clone(), chapter.log_id)?;
        for entry in &chapter.segments {
            let begins_here = (first.first_sequence..=last.last.sequence).contains(&entry.first_sequence);
            if let Some(header) = entry.header(chapter.log_id).filter(|_| begins_here) {
                file.note_segment(entry.first_sequence, &header);
            }
        }
        walk(&*self.store, &self.scratch, &part, &mut |met| {
            let Met::Record(frame, bytes, hash) = met else { return Ok(()) };
            (work.done)(bytes.len() as u64);
            let sequence = frame.header.sequence;
            let after = chapter.segments.partition_point(|entry| entry.first_sequence <= sequence);
            let segment = after.checked_sub(1).map_or(0, |at| chapter.segments[at].first_sequence);
            if file.push(frame, bytes, hash, segment)? { work.check() } else { Ok(()) }
        })?;
        let merged = FileEntry::new(first.day, &file.finish()?);
        chapter.pending = vec![merged.path.clone()];
        self.manifest().save(name, chapter)?;
        self.store.put_file(&merged.path, &scratch_file).map_err(self.store_error("write", &merged.path))?;
        let copy = Chapter { files: vec![merged.clone()], ..part };
        prove(&*self.store, &self.scratch, &copy, work)?;
        let bytes = merged.bytes;
        self.announce(std::slice::from_ref(&merged), &old, work)?;
        chapter.pending.clear();
        chapter.files.splice(group, [merged]);
        retire(chapter, &old, work);
        self.manifest().save(name, chapter)?;
        self.publish(work)?;
        clear(&self.scratch)?;
        self.purge(name, chapter, work)?;
        Ok(bytes)
    }

    /// Removes what nobody reads any more.
    pub(crate) fn purge(&self, name: u64, chapter: &mut Chapter, work: Work<'_>) -> Result<(), ArchiveError> {
        let grace_ms = if self.settings.delta { DELTA_GRACE_MS } else { 0 };
        let is_over = |it: &Retired| work.now.unix_millis() - it.at_ms >= grace_ms;
        if !chapter.retired.iter().any(is_over) {
            return Ok(());
        }
        for retired in chapter.retired.iter().filter(|it| is_over(it)) {
            self.remove(&retired.path)?;
        }
        chapter.retired.retain(|it| !is_over(it));
        self.manifest().save(name, chapter)
    }
}

/// From here on, these files are no part of the archive.
pub(crate) fn retire(chapter: &mut Chapter, files: &[FileEntry], work: Work<'_>) {
    let at_ms = work.now.unix_millis();
    chapter.retired.extend(files.iter().map(|file| Retired { path: file.path.clone(), at_ms }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::Joint;
    use crate::audit::receipt::RecordHash;

    #[test]
    fn neighbours_of_a_day_are_merged_and_the_last_day_waits() {
        let file = |day, bytes| FileEntry {
            path: String::new(),
            day,
            first_sequence: 0,
            last: Joint { sequence: 0, hash: RecordHash([0; 32]) },
            rows: 0,
            bytes,
            blake3: RecordHash([0; 32]),
            frame_bytes: 0,
            recorded_min_ms: 0,
            recorded_max_ms: 0,
        };
        let of = |files: &[(i64, u64)], last_day| {
            let files: Vec<_> = files.iter().map(|(day, bytes)| file(*day, *bytes)).collect();
            let groups = groups(&files, last_day, 100);
            groups.into_iter().map(|group| (group.start, group.end)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[(1, 10), (1, 20), (1, 30), (2, 10), (2, 10)], 2), [(0, 3)]);
        assert_eq!(of(&[(1, 10), (1, 20), (1, 30), (2, 10), (2, 10)], i64::MAX), [(0, 3), (3, 5)]);
        assert_eq!(of(&[(1, 60), (1, 60), (1, 30), (1, 20)], i64::MAX), [(1, 3)]);
        assert_eq!(of(&[(2, 60), (2, 30), (2, 60), (2, 30)], 2), [(0, 2)]);
        assert_eq!(of(&[(1, 200), (2, 1), (1, 1)], i64::MAX), []);
        assert_eq!(of(&[], 2), []);
    }
}
