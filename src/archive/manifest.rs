//! The manifest: what the archive holds, in chapters of at most `CHAPTER_SEGMENTS_MAX` segments, `manifest/<first sequence, 20 digits>.json`.
//!
//! A chapter is replaced whole. It names the objects that are being put (`pending`) before they are there, and those that it no longer holds
//! (`retired`) until they are gone, so that an interrupted run leaves nothing that the next one does not know of.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::archive::error::ArchiveError;
use crate::archive::file_writer::Summary;
use crate::archive::store::Store;
use crate::audit::receipt::{Head, LogId, RecordHash};
use crate::audit::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// The version that is written, and the only one that there is.
pub const VERSION: u32 = 1;
/// A chapter with so many segments is closed, and another begun.
pub const CHAPTER_SEGMENTS_MAX: usize = 1_024;
/// The directory of the chapters.
pub const MANIFEST: &str = "manifest";
/// The directory of the Parquet files.
pub const RECORDS: &str = "records";
/// Most removals that are remembered; the oldest are forgotten.
pub const REMOVALS_MAX: usize = 10_000;
const REMOVALS: &str = "manifest/removals.json";

/// A record, by place and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Joint {
    /// Its sequence.
    pub sequence: u64,
    /// Its hash.
    pub hash: RecordHash,
}

impl From<Head> for Joint {
    fn from(head: Head) -> Self {
        Self { sequence: head.sequence, hash: head.hash }
    }
}

impl From<Joint> for Head {
    fn from(joint: Joint) -> Self {
        Self { sequence: joint.sequence, hash: joint.hash }
    }
}

/// A segment of the log that is archived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Its first record.
    pub first_sequence: u64,
    /// Its last record.
    pub last: Joint,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: RecordHash,
    /// Hash of the record before it.
    pub previous_hash: RecordHash,
    /// Length of the segment before it.
    pub previous_bytes: u64,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// When its copy was found to be right.
    pub verified_at_ms: i64,
}

impl SegmentEntry {
    /// The header of its file.
    pub fn header(&self, log_id: LogId) -> Option<[u8; SEGMENT_HEADER_BYTES]> {
        let created_at = crate::domain::time::EventTime::from_unix_millis(self.created_at_ms).ok()?;
        let header = SegmentHeader {
            log_id,
            first_sequence: self.first_sequence,
            previous_hash: self.previous_hash,
            previous_bytes: self.previous_bytes,
            created_at,
        };
        Some(header.encode())
    }
}

/// A Parquet file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path in the archive.
    pub path: String,
    /// Its day, in days since 1970-01-01 (UTC).
    pub day: i64,
    /// Its first record.
    pub first_sequence: u64,
    /// Its last record.
    pub last: Joint,
    /// How many there are.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: RecordHash,
    /// Bytes of the records in it.
    pub frame_bytes: u64,
    /// The earliest `recorded_at`, in milliseconds.
    pub recorded_min_ms: i64,
    /// The latest.
    pub recorded_max_ms: i64,
}

impl FileEntry {
    /// Of a file that was just written.
    pub fn new(day: i64, summary: &Summary) -> Self {
        let Summary { first_sequence, last_sequence, .. } = *summary;
        Self {
            path: format!("{RECORDS}/date={}/{first_sequence:020}-{last_sequence:020}.parquet", date(day)),
            day,
            first_sequence,
            last: Joint { sequence: last_sequence, hash: summary.last_hash },
            rows: summary.rows,
            bytes: summary.bytes,
            blake3: summary.blake3,
            frame_bytes: summary.frame_bytes,
            recorded_min_ms: summary.recorded_min_ms,
            recorded_max_ms: summary.recorded_max_ms,
        }
    }
}

/// An object that no reader needs any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retired {
    /// Its path.
    pub path: String,
    /// Since when, in milliseconds.
    pub at_ms: i64,
}

/// A stretch of the archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chapter {
    /// `VERSION`.
    pub version: u32,
    /// The log.
    pub log_id: LogId,
    /// The record before the first that is still here: the chain goes on from it.
    pub base: Joint,
    /// The segments, in order. The first may have lost records to retention.
    pub segments: Vec<SegmentEntry>,
    /// The files, in order, without gaps.
    pub files: Vec<FileEntry>,
    /// Objects that are being put there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// Objects that are to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
}

impl Chapter {
    /// One that begins after that record.
    pub const fn new(log_id: LogId, base: Head) -> Self {
        Self {
            version: VERSION,
            log_id,
            base: Joint { sequence: base.sequence, hash: base.hash },
            segments: Vec::new(),
            files: Vec::new(),
            pending: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// The last record.
    pub fn head(&self) -> Head {
        self.files.last().map_or(self.base, |file| file.last).into()
    }

    /// The record before the file at `index`.
    pub fn before(&self, index: usize) -> Head {
        index.checked_sub(1).and_then(|before| self.files.get(before)).map_or(self.base, |it| it.last).into()
    }

    /// The part of it that holds the records from `first` to `last`: whole files, and the segments that lie in them whole.
    pub fn part(&self, first: u64, last: u64) -> Self {
        let from = self.files.partition_point(|file| file.last.sequence < first);
        let to = self.files.partition_point(|file| file.first_sequence <= last).max(from);
        let files = self.files[from..to].to_vec();
        let base = self.before(from);
        let end = files.last().map_or(base.sequence, |file| file.last.sequence);
        let inside = |it: &&SegmentEntry| it.first_sequence > base.sequence && it.last.sequence <= end;
        let segments = self.segments.iter().filter(inside).cloned().collect();
        Self { segments, files, ..Self::new(self.log_id, base) }
    }
}

/// Records that retention has removed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removal {
    /// The day that they belonged to.
    pub date: String,
    /// The first of them.
    pub first_sequence: u64,
    /// The last of them, whose hash the chain goes on from.
    pub last: Joint,
    /// How many.
    pub records: u64,
    /// When, in milliseconds.
    pub removed_at_ms: i64,
}

/// A day as `2026-11-25`.
pub fn date(day: i64) -> String {
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    let days = jiff::Span::new().try_days(day);
    days.and_then(|days| epoch.checked_add(days)).unwrap_or(jiff::civil::Date::MAX).to_string()
}

/// The day of a moment.
pub const fn day_of(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(86_400_000)
}

/// The manifest in a store.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a>(pub &'a dyn Store);

impl Manifest<'_> {
    fn path(name: u64) -> String {
        format!("{MANIFEST}/{name:020}.json")
    }

    fn failed(&self, doing: &'static str, path: &str, source: std::io::Error) -> ArchiveError {
        ArchiveError::Store { place: self.0.place(), doing, path: path.to_owned(), source }
    }

    /// The names of the chapters, in order: the sequence that each began with.
    pub fn chapters(&self) -> Result<Vec<u64>, ArchiveError> {
        let names = self.0.list(MANIFEST).map_err(|error| self.failed("list", MANIFEST, error))?;
        let number = |name: &String| {
            name.strip_suffix(".json").filter(|stem| stem.len() == 20).and_then(|stem| stem.parse().ok())
        };
        let mut chapters: Vec<u64> = names.iter().filter_map(number).collect();
        chapters.sort_unstable();
        Ok(chapters)
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ArchiveError> {
        let bytes = self.0.read(path).map_err(|error| self.failed("read", path, error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| ArchiveError::damaged(path, error.to_string()))
    }

    fn put<T: Serialize>(&self, path: &str, value: &T) -> Result<(), ArchiveError> {
        let bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| ArchiveError::damaged(path, error.to_string()))?;
        self.0.put(path, &bytes).map_err(|error| self.failed("write", path, error))
    }

    /// A chapter that is there.
    pub fn load(&self, name: u64) -> Result<Chapter, ArchiveError> {
        let path = Self::path(name);
        let chapter: Option<Chapter> = self.json(&path)?;
        match chapter {
            Some(chapter) if chapter.version == VERSION => Ok(chapter),
            Some(Chapter { version, .. }) => {
                let what =
                    format!("it is of version {version}; this program reads {VERSION}: use a newer one");
                Err(ArchiveError::damaged(&path, what))
            }
            None => Err(ArchiveError::damaged(&path, "it is gone")),
        }
    }

    /// Replaces a chapter.
    pub fn save(&self, name: u64, chapter: &Chapter) -> Result<(), ArchiveError> {
        self.put(&Self::path(name), chapter)
    }

    /// Removes a chapter.
    pub fn remove(&self, name: u64) -> Result<(), ArchiveError> {
        let path = Self::path(name);
        self.0.remove(&path).map_err(|error| self.failed("remove", &path, error))
    }

    /// What retention has removed, the oldest first.
    pub fn removals(&self) -> Result<Vec<Removal>, ArchiveError> {
        Ok(self.json(REMOVALS)?.unwrap_or_default())
    }

    /// Remembers removals, each once.
    pub fn add_removals(&self, removals: &[Removal]) -> Result<(), ArchiveError> {
        let mut known: BTreeMap<u64, Removal> =
            self.removals()?.into_iter().map(|it| (it.first_sequence, it)).collect();
        for removal in removals {
            known.entry(removal.first_sequence).or_insert_with(|| removal.clone());
        }
        while known.len() > REMOVALS_MAX {
            known.pop_first();
        }
        self.put(REMOVALS, &known.into_values().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01"),
            (1_792_497_600_123, "2026-10-20"),
            (1_792_540_799_999, "2026-10-20"),
            (1_792_540_800_000, "2026-10-21"),
            (951_782_400_000, "2000-02-29"),
        ] {
            assert_eq!(date(day_of(ms)), expected, "{ms}");
        }
    }

    #[test]
    fn a_part_is_whole_files_and_the_segments_inside_them() {
        let hash = |byte| RecordHash([byte; 32]);
        let joint = |sequence| Joint { sequence, hash: hash(u8::try_from(sequence).unwrap()) };
        let segment = |first_sequence, last| SegmentEntry {
            first_sequence,
            last: joint(last),
            bytes: 0,
            blake3: hash(0),
            previous_hash: hash(0),
            previous_bytes: 0,
            created_at_ms: 0,
            verified_at_ms: 0,
        };
        let file = |first_sequence, last| FileEntry {
            path: format!("{first_sequence}-{last}"),
            day: 0,
            first_sequence,
            last: joint(last),
            rows: 0,
            bytes: 0,
            blake3: hash(0),
            frame_bytes: 0,
            recorded_min_ms: 0,
            recorded_max_ms: 0,
        };
        let mut chapter = Chapter::new(LogId([1; 16]), Head { sequence: 4, hash: hash(4) });
        // Retention has taken records 1 to 4 of the first segment.
        chapter.segments = vec![segment(1, 6), segment(7, 9), segment(10, 20)];
        chapter.files = vec![file(5, 9), file(10, 15), file(16, 20)];
        let names = |part: &Chapter| {
            let files: Vec<_> = part.files.iter().map(|file| file.path.clone()).collect();
            let segments: Vec<_> = part.segments.iter().map(|it| it.first_sequence).collect();
            (part.base.sequence, files.join(" "), segments)
        };
        let part = |first, last| names(&chapter.part(first, last));
        assert_eq!(part(7, 9), (4, "5-9".to_owned(), vec![7]));
        assert_eq!(part(10, 20), (9, "10-15 16-20".to_owned(), vec![10]));
        assert_eq!(part(16, 16), (15, "16-20".to_owned(), vec![]));
        assert_eq!(part(1, 99), (4, "5-9 10-15 16-20".to_owned(), vec![7, 10]));
        assert_eq!(part(21, 30), (20, String::new(), vec![]));
        assert_eq!(chapter.head().sequence, 20);
    }
}
