//! The archive as those see it who change it, and its first task: closed segments become Parquet.
//!
//! For each segment: its records are read, checked and written into one file for each day, on this machine; the manifest names the files as
//! pending; they are put into the store, read back and checked against the segment; and then the manifest holds the segment.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::archive::error::ArchiveError;
use crate::archive::file_writer::RecordsFile;
use crate::archive::location;
use crate::archive::manifest::{CHAPTER_SEGMENTS_MAX, Chapter, FileEntry, Manifest, SegmentEntry, day_of};
use crate::archive::segment_file::ClosedSegment;
use crate::archive::store::Store;
use crate::archive::walk::prove;
use crate::audit::damage::ReadError;
use crate::audit::receipt::LogId;
use crate::audit::segment::list_segments;
use crate::domain::time::EventTime;

/// The directory of the archive's own things inside the data directory; and of the archive itself, unless config says otherwise.
pub const ARCHIVE_DIRECTORY: &str = "archive";
/// How long archived segments stay in the log's directory, unless config says otherwise.
pub const KEEP_LOCAL_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
/// How long archived records are kept, unless config says otherwise: seven years.
pub const RETENTION_DAYS_DEFAULT: u64 = 2_557;
/// Files are merged into one of at most about this size, unless config says otherwise. In bytes.
pub const COMPACT_FILE_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;
/// Most files of one segment. With more changes of the day, which only a clock that jumps to and fro makes, the last one takes the rest.
const PIECES_MAX: usize = 1_000;
/// Room that the archive leaves on this machine's disk, in bytes: the last of it is the log's.
const DISK_FREE_BYTES_MIN: u64 = 128 << 20;
const LOCK_FILE: &str = "archive.lock";
const SCRATCH: &str = "scratch";

/// What the operator chose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveSettings {
    /// Where the archive is: see `location`.
    pub url: String,
    /// How long archived segments stay in the log's directory.
    pub keep_local: Duration,
    /// For how many days an open review holds its segment there; 0: it does not.
    pub hold_open_reviews_days: u64,
    /// How many days archived records are kept.
    pub retention_days: u64,
    /// Nothing is removed by age while this is set.
    pub legal_hold: bool,
    /// Files are merged into one of at most about that many bytes.
    pub compact_file_bytes: u64,
    /// Whether it is a Delta Lake table as well.
    pub delta: bool,
}

/// What work is asked on its way.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The time.
    pub now: EventTime,
    /// Asked after each piece of work of at most some tens of mebibytes: `false` stops it. The moment to rest, too.
    pub go_on: &'a dyn Fn() -> bool,
    /// Told how many bytes were worked on since.
    pub done: &'a dyn Fn(u64),
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Work<'_> {
    pub(crate) fn check(&self) -> Result<(), ArchiveError> {
        if (self.go_on)() { Ok(()) } else { Err(ArchiveError::Stopped) }
    }
}

/// What a run has archived.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Archived {
    /// Segments.
    pub segments: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Files that were made of them.
    pub files: u64,
    /// The bytes of these.
    pub file_bytes: u64,
}

/// The archive of one log, held by lock.
#[derive(Debug)]
pub struct Archive {
    pub(crate) store: Box<dyn Store>,
    pub(crate) scratch: PathBuf,
    pub(crate) settings: ArchiveSettings,
    _lock: File,
}

impl Archive {
    /// Opens the archive of the log under the data directory `data`, and finishes what an interrupted run has left.
    pub fn open(data: &Path, settings: ArchiveSettings, now: EventTime) -> Result<Self, ArchiveError> {
        let store = location::store(&settings.url)?;
        let own = data.join(ARCHIVE_DIRECTORY);
        let scratch = own.join(SCRATCH);
        fs::create_dir_all(&scratch).map_err(ArchiveError::local(&scratch, "make it"))?;
        let lock = take_lock(&own.join(LOCK_FILE))?;
        clear(&scratch)?;
        let archive = Self { store, scratch, settings, _lock: lock };
        archive.recover(Work { now, go_on: &|| true, done: &|_| {} })?;
        Ok(archive)
    }

    pub(crate) fn manifest(&self) -> Manifest<'_> {
        Manifest(&*self.store)
    }

    pub(crate) fn store_error<'a>(
        &'a self,
        doing: &'static str,
        path: &'a str,
    ) -> impl FnOnce(std::io::Error) -> ArchiveError + use<'a> {
        move |source| ArchiveError::Store { place: self.store.place(), doing, path: path.to_owned(), source }
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), ArchiveError> {
        self.store.remove(path).map_err(self.store_error("remove", path))
    }

    /// Removes what was being put when a run ended.
    fn recover(&self, work: Work<'_>) -> Result<(), ArchiveError> {
        let manifest = self.manifest();
        for name in manifest.chapters()? {
            let mut chapter = manifest.load(name)?;
            if !chapter.pending.is_empty() {
                for path in std::mem::take(&mut chapter.pending) {
                    if chapter.files.iter().all(|file| file.path != path) {
                        self.remove(&path)?;
                    }
                }
                manifest.save(name, &chapter)?;
            }
            self.purge(name, &mut chapter, work)?;
        }
        #[cfg(feature = "delta")]
        self.recover_delta(work)?;
        Ok(())
    }

    /// The newest chapter; none of an empty archive.
    pub(crate) fn newest(&self) -> Result<Option<(u64, Chapter)>, ArchiveError> {
        let manifest = self.manifest();
        match manifest.chapters()?.last() {
            Some(name) => Ok(Some((*name, manifest.load(*name)?))),
            None => Ok(None),
        }
    }

    /// Makes sure that this much may be written to this machine's disk.
    pub(crate) fn require_room(&self, bytes: u64) -> Result<(), ArchiveError> {
        let free_bytes =
            free_bytes(&self.scratch).map_err(ArchiveError::local(&self.scratch, "look at its disk"))?;
        let need_bytes = bytes.saturating_add(DISK_FREE_BYTES_MIN);
        if free_bytes >= need_bytes {
            return Ok(());
        }
        Err(ArchiveError::NoRoom { path: self.scratch.clone(), free_bytes, need_bytes })
    }

    /// Archives the closed segments of the log in `log` that are not in the archive yet.
    pub fn archive_closed(&self, log: &Path, work: Work<'_>) -> Result<Archived, ArchiveError> {
        let segments = list_segments(log).map_err(|source| ReadError::Io { path: log.to_owned(), source })?;
        let mut newest = self.newest()?;
        let mut archived = Archived::default();
        let from = match &newest {
            None => 0,
            Some((_, chapter)) => {
                let next = chapter.head().sequence + 1;
                let found = segments.binary_search(&next);
                found.map_err(|_| self.diverged(next, &segments))?
            }
        };
        for pair in segments[from..].windows(2) {
            work.check()?;
            let segment = ClosedSegment::open(log, pair[0], pair[1])?;
            segment.settle(log)?;
            let (name, mut chapter) = self.chapter_for(newest, &segment)?;
            archived.add(self.archive_segment(name, &mut chapter, &segment, work)?);
            newest = Some((name, chapter));
        }
        Ok(archived)
    }

    fn diverged(&self, next: u64, segments: &[u64]) -> ArchiveError {
        let what = format!(
            "the archive ends with record {}, and the log has no segment that goes on from there (it has {} segments, from {:?} to {:?})",
            next - 1,
            segments.len(),
            segments.first(),
            segments.last()
        );
        ArchiveError::Diverged { segment: next, what }
    }

    /// The chapter that the segment goes into: the newest, or another one if that is full.
    fn chapter_for(
        &self,
        newest: Option<(u64, Chapter)>,
        segment: &ClosedSegment,
    ) -> Result<(u64, Chapter), ArchiveError> {
        let header = &segment.header;
        let Some((name, chapter)) = newest else {
            return Ok((header.first_sequence, Chapter::new(header.log_id, header.previous())));
        };
        if chapter.log_id != header.log_id {
            return Err(self.other_log(chapter.log_id, header.log_id));
        }
        let previous_bytes = chapter.segments.last().map_or(header.previous_bytes, |last| last.bytes);
        if header.previous() != chapter.head() || header.previous_bytes != previous_bytes {
            let what = "it follows other records than the archive holds".to_owned();
            return Err(ArchiveError::Diverged { segment: header.first_sequence, what });
        }
        if chapter.segments.len() < CHAPTER_SEGMENTS_MAX {
            return Ok((name, chapter));
        }
        Ok((header.first_sequence, Chapter::new(header.log_id, header.previous())))
    }

    pub(crate) fn other_log(&self, archived: LogId, log: LogId) -> ArchiveError {
        ArchiveError::OtherLog { place: self.store.place(), archived, log }
    }

    fn archive_segment(
        &self,
        name: u64,
        chapter: &mut Chapter,
        segment: &ClosedSegment,
        work: Work<'_>,
    ) -> Result<Archived, ArchiveError> {
        self.require_room(segment.bytes)?;
        let mut pieces = Pieces::new(self, segment);
        let blake3 = segment.read(&mut |frame, bytes, hash| {
            (work.done)(bytes.len() as u64);
            let day = day_of(frame.header.recorded_at.unix_millis());
            if pieces.of(day)?.push(frame, bytes, hash, segment.header.first_sequence)? {
                work.check()?;
            }
            Ok(())
        })?;
        let files = pieces.finish()?;
        chapter.pending = files.iter().map(|(file, _)| file.path.clone()).collect();
        self.manifest().save(name, chapter)?;
        for (file, path) in &files {
            work.check()?;
            self.store.put_file(&file.path, path).map_err(self.store_error("write", &file.path))?;
        }
        let header = &segment.header;
        let entry = SegmentEntry {
            first_sequence: header.first_sequence,
            last: segment.head.into(),
            bytes: segment.bytes,
            blake3,
            previous_hash: header.previous_hash,
            previous_bytes: header.previous_bytes,
            created_at_ms: header.created_at.unix_millis(),
            verified_at_ms: work.now.unix_millis(),
        };
        let files: Vec<FileEntry> = files.into_iter().map(|(file, _)| file).collect();
        let copy = Chapter {
            segments: vec![entry.clone()],
            files: files.clone(),
            ..Chapter::new(header.log_id, header.previous())
        };
        prove(&*self.store, &self.scratch, &copy, work)?;
        let archived = Archived {
            segments: 1,
            records: files.iter().map(|file| file.rows).sum(),
            log_bytes: segment.bytes,
            files: files.len() as u64,
            file_bytes: files.iter().map(|file| file.bytes).sum(),
        };
        chapter.pending.clear();
        chapter.segments.push(entry);
        self.announce(&files, &[], work)?;
        chapter.files.extend(files);
        self.manifest().save(name, chapter)?;
        self.publish(work)?;
        clear(&self.scratch)?;
        Ok(archived)
    }

    /// Notes what readers of the Delta table will be told, before the manifest says it.
    pub(crate) fn announce(
        &self,
        added: &[FileEntry],
        removed: &[FileEntry],
        work: Work<'_>,
    ) -> Result<(), ArchiveError> {
        #[cfg(feature = "delta")]
        self.announce_delta(added, removed, work)?;
        let _ = (added, removed, work);
        Ok(())
    }

    /// Tells them.
    pub(crate) fn publish(&self, work: Work<'_>) -> Result<(), ArchiveError> {
        #[cfg(feature = "delta")]
        self.publish_delta(work)?;
        let _ = work;
        Ok(())
    }
}

impl Archived {
    fn add(&mut self, other: Self) {
        self.segments += other.segments;
        self.records += other.records;
        self.log_bytes += other.log_bytes;
        self.files += other.files;
        self.file_bytes += other.file_bytes;
    }
}

/// The files of one segment: one for each stretch of records of one day.
struct Pieces<'a> {
    archive: &'a Archive,
    segment: &'a ClosedSegment,
    open: Option<(i64, PathBuf, RecordsFile)>,
    finished: Vec<(FileEntry, PathBuf)>,
}

impl<'a> Pieces<'a> {
    const fn new(archive: &'a Archive, segment: &'a ClosedSegment) -> Self {
        Self { archive, segment, open: None, finished: Vec::new() }
    }

    /// The file for a record of that day. One of the day before goes into the same file: requests that were in flight over midnight are
    /// recorded in any order, and would make a file each.
    fn of(&mut self, day: i64) -> Result<&mut RecordsFile, ArchiveError> {
        let is_full = self.finished.len() + 1 >= PIECES_MAX;
        let stays = |open| day == open || day + 1 == open || is_full;
        let open = match self.open.take() {
            Some(open) if stays(open.0) => open,
            other => {
                let is_first = other.is_none();
                if let Some(other) = other {
                    self.close(other)?;
                }
                let path = self.archive.scratch.join(format!("{}.parquet", self.finished.len()));
                let header = &self.segment.header;
                let mut file = RecordsFile::create(path.clone(), header.log_id)?;
                if is_first {
                    file.note_segment(header.first_sequence, &header.encode());
                }
                (day, path, file)
            }
        };
        Ok(&mut self.open.insert(open).2)
    }

    fn close(&mut self, (day, path, file): (i64, PathBuf, RecordsFile)) -> Result<(), ArchiveError> {
        let summary = file.finish()?;
        self.finished.push((FileEntry::new(day, &summary), path));
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<(FileEntry, PathBuf)>, ArchiveError> {
        if let Some(open) = self.open.take() {
            self.close(open)?;
        }
        Ok(self.finished)
    }
}

fn take_lock(path: &Path) -> Result<File, ArchiveError> {
    let open = File::options().write(true).create(true).truncate(false).open(path);
    let file = open.map_err(ArchiveError::local(path, "open it"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(ArchiveError::local(path, "lock it")(error)),
    }
}

/// Removes the files in a directory of unfinished work.
pub(crate) fn clear(scratch: &Path) -> Result<(), ArchiveError> {
    let attempt = || {
        for entry in fs::read_dir(scratch)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    };
    attempt().map_err(ArchiveError::local(scratch, "empty it"))
}

#[cfg(target_os = "linux")]
fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(target_os = "linux"))]
fn free_bytes(_: &Path) -> std::io::Result<u64> {
    Ok(u64::MAX)
}
