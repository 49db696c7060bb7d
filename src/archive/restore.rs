//! From the archive back to segment files, byte for byte what they were.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::archive::error::ArchiveError;
use crate::archive::file_writer::hash_reader;
use crate::archive::manifest::{Chapter, SegmentEntry};
use crate::archive::verify::ArchiveReader;
use crate::archive::walk::{ASK_BYTES, Met, walk};
use crate::audit::segment::{LogLock, segment_path};

/// A segment that is being restored. Not the name that the log's writer uses: what lies under that one after a kill is taken for records that
/// were lost. One that a kill has left is replaced by the next restoration.
const UNFINISHED: &str = "restoring";

/// What has been restored.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Restored {
    /// Segments that were written.
    pub segments: u64,
    /// Segments that were there already, and are the same.
    pub already_there: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// The first record of them.
    pub first_sequence: Option<u64>,
    /// The last record of them.
    pub last_sequence: Option<u64>,
    /// Records in the archive that belong to a segment of which retention has taken a part: they can be read there, but make no file.
    pub records_left_out: u64,
}

/// Which records are wanted: the segments that hold any of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// From this one on.
    pub from: u64,
    /// To this one.
    pub until: u64,
}

impl ArchiveReader {
    /// Writes the wanted segments into the log's directory `log`, which no service may be using. What is there already stays, and must be
    /// the same. `go_on` is told how many bytes were written since it was asked last, and `false` ends it.
    pub fn restore(
        &self,
        log: &Path,
        wanted: Wanted,
        go_on: &dyn Fn(u64) -> bool,
    ) -> Result<Restored, ArchiveError> {
        fs::create_dir_all(log).map_err(ArchiveError::local(log, "make it"))?;
        let _lock = LogLock::take(log)?;
        let manifest = self.manifest();
        let mut restored = Restored::default();
        let mut oldest = None;
        for name in manifest.chapters()? {
            let chapter = manifest.load(name)?;
            oldest = oldest.or(Some(chapter.base.sequence + 1));
            let is_wanted =
                |it: &&SegmentEntry| it.last.sequence >= wanted.from && it.first_sequence <= wanted.until;
            let mut entries = Vec::new();
            for entry in chapter.segments.iter().filter(is_wanted) {
                if entry.first_sequence <= chapter.base.sequence {
                    restored.records_left_out += entry.last.sequence - chapter.base.sequence;
                } else {
                    entries.push(entry.clone());
                }
            }
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { continue };
            let part = Chapter {
                segments: entries.clone(),
                ..chapter.part(first.first_sequence, last.last.sequence)
            };
            let mut writer = SegmentWriter { log, open: None, unasked: 0 };
            walk(&*self.store, &self.scratch, &part, &mut |met| writer.take(&met, &mut restored, go_on))?;
        }
        if restored.first_sequence.is_none() {
            let what = match oldest {
                Some(oldest) => format!("no whole segment of these records; its first record is {oldest}"),
                None => "nothing yet".to_owned(),
            };
            return Err(ArchiveError::NotThere { place: self.place(), what });
        }
        Ok(restored)
    }
}

struct SegmentWriter<'a> {
    log: &'a Path,
    open: Option<(BufWriter<File>, PathBuf)>,
    unasked: u64,
}

impl SegmentWriter<'_> {
    fn take(
        &mut self,
        met: &Met<'_>,
        restored: &mut Restored,
        go_on: &dyn Fn(u64) -> bool,
    ) -> Result<(), ArchiveError> {
        match met {
            Met::SegmentBegins(entry, header) => {
                let path = segment_path(self.log, entry.first_sequence);
                if path.exists() {
                    is_the_same(&path, entry)?;
                    restored.already_there += 1;
                } else {
                    let unfinished = path.with_extension(UNFINISHED);
                    let file =
                        File::create(&unfinished).map_err(ArchiveError::local(&unfinished, "make it"))?;
                    self.open = Some((BufWriter::with_capacity(1 << 20, file), unfinished));
                    self.write(&header[..])?;
                    restored.segments += 1;
                }
                restored.bytes += entry.bytes;
                restored.first_sequence = restored.first_sequence.or(Some(entry.first_sequence));
                restored.last_sequence = Some(entry.last.sequence);
                Ok(())
            }
            Met::Record(_, bytes, _) => {
                self.unasked += bytes.len() as u64;
                if self.unasked >= ASK_BYTES && !go_on(std::mem::take(&mut self.unasked)) {
                    return Err(ArchiveError::Stopped);
                }
                self.write(bytes)
            }
            Met::SegmentEnds(entry) => self.finish(entry),
            Met::FileEnds(_) => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        match &mut self.open {
            Some((file, path)) => file.write_all(bytes).map_err(ArchiveError::local(path, "write it")),
            None => Ok(()),
        }
    }

    fn finish(&mut self, entry: &SegmentEntry) -> Result<(), ArchiveError> {
        let Some((file, unfinished)) = self.open.take() else { return Ok(()) };
        let path = segment_path(self.log, entry.first_sequence);
        let attempt = || {
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(self.log)?.sync_all()
        };
        attempt().map_err(ArchiveError::local(&path, "write it"))
    }
}

impl Drop for SegmentWriter<'_> {
    fn drop(&mut self) {
        if let Some((_, unfinished)) = self.open.take() {
            // One that stays is replaced by the next restoration.
            let _ = fs::remove_file(unfinished);
        }
    }
}

fn is_the_same(path: &Path, entry: &SegmentEntry) -> Result<(), ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::local(path, "open it"))?;
    let found = hash_reader(file.take(entry.bytes)).map_err(ArchiveError::local(path, "read it"))?;
    if found == (entry.blake3, entry.bytes) {
        return Ok(());
    }
    let what = format!("{} is there, and is another file", path.display());
    Err(ArchiveError::Diverged { segment: entry.first_sequence, what })
}
