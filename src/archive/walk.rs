//! Reading archived records back, with everything checked: the files' hashes, the records' checksums, their chain, and that they give each
//! segment byte for byte.

use std::io::{Seek, SeekFrom};
use std::path::Path;

use crate::archive::archiver::Work;
use crate::archive::error::ArchiveError;
use crate::archive::file_reader::each_frame;
use crate::archive::file_writer::hash_reader;
use crate::archive::manifest::{Chapter, FileEntry, SegmentEntry};
use crate::archive::store::Store;
use crate::audit::chain::Chain;
use crate::audit::frame::{self, Frame};
use crate::audit::receipt::RecordHash;
use crate::audit::segment::SEGMENT_HEADER_BYTES;

/// After so many bytes of records, it is asked whether to go on.
pub(crate) const ASK_BYTES: u64 = 4 * 1024 * 1024;

/// What is met on the way, in order.
#[derive(Debug)]
pub enum Met<'a> {
    /// A segment that is whole in the archive begins.
    SegmentBegins(&'a SegmentEntry, &'a [u8; SEGMENT_HEADER_BYTES]),
    /// A record with its bytes and hash.
    Record(&'a Frame<'a>, &'a [u8], RecordHash),
    /// The segment has been met whole, and is what it was.
    SegmentEnds(&'a SegmentEntry),
    /// A file has been read to its end.
    FileEnds(&'a FileEntry),
}

/// Walks the files of a chapter, or of a part of one. Records before or after whole segments are met, too.
pub fn walk(
    store: &dyn Store,
    scratch: &Path,
    chapter: &Chapter,
    see: &mut dyn FnMut(Met<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut chain = Chain::new(chapter.base.into());
    let mut segments =
        chapter.segments.iter().filter(|it| it.first_sequence > chapter.base.sequence).peekable();
    let mut inside: Option<Inside<'_>> = None;
    for file in &chapter.files {
        let path = file.path.as_str();
        if file.first_sequence != chain.head().sequence + 1 {
            let what =
                format!("it begins with record {}, not {}", file.first_sequence, chain.head().sequence + 1);
            return Err(ArchiveError::damaged(path, what));
        }
        let opened = open(store, scratch, file)?;
        let mut frame_bytes = 0;
        let rows = each_frame(opened, path, file.first_sequence, &mut |bytes| {
            let damaged = |error: &dyn std::fmt::Display| ArchiveError::damaged(path, error.to_string());
            let frame = frame::decode(bytes).map_err(|error| damaged(&error))?;
            if frame.bytes() != bytes.len() {
                return Err(damaged(&"a row holds more than its record"));
            }
            let before = chain.head();
            let hash = chain.step(&frame).map_err(|error| damaged(&error))?;
            frame_bytes += bytes.len() as u64;
            let sequence = frame.header.sequence;
            if let Some(entry) = segments.next_if(|it| it.first_sequence == sequence) {
                if entry.previous_hash != before.hash {
                    return Err(damaged(&format!("segment {sequence} does not follow the record before it")));
                }
                let header = entry.header(chapter.log_id).ok_or_else(|| damaged(&"time of a segment"))?;
                see(Met::SegmentBegins(entry, &header))?;
                inside = Some(Inside::new(entry, &header));
            }
            see(Met::Record(&frame, bytes, hash))?;
            if let Some(mut segment) = inside.take() {
                segment.add(bytes);
                if sequence < segment.entry.last.sequence {
                    inside = Some(segment);
                } else {
                    segment.check(hash).map_err(|what| damaged(&what))?;
                    see(Met::SegmentEnds(segment.entry))?;
                }
            }
            Ok(())
        })?;
        if chain.head() != file.last.into() || rows != file.rows || frame_bytes != file.frame_bytes {
            return Err(ArchiveError::damaged(path, "it holds other records than the manifest says"));
        }
        see(Met::FileEnds(file))?;
    }
    if let Some(Inside { entry, .. }) = inside {
        return Err(missing(chapter, entry.first_sequence));
    }
    match segments.next() {
        Some(entry) => Err(missing(chapter, entry.first_sequence)),
        None => Ok(()),
    }
}

/// Walks them for the proof alone.
pub(crate) fn prove(
    store: &dyn Store,
    scratch: &Path,
    chapter: &Chapter,
    work: Work<'_>,
) -> Result<(), ArchiveError> {
    let mut unasked = 0;
    walk(store, scratch, chapter, &mut |met| {
        let Met::Record(_, bytes, _) = met else { return Ok(()) };
        unasked += bytes.len() as u64;
        if unasked < ASK_BYTES {
            return Ok(());
        }
        unasked = 0;
        work.check()
    })
}

fn missing(chapter: &Chapter, segment: u64) -> ArchiveError {
    let path = chapter.files.last().map_or("manifest", |file| file.path.as_str());
    ArchiveError::damaged(path, format!("records of segment {segment} are missing after it"))
}

/// A segment that is being met.
struct Inside<'a> {
    entry: &'a SegmentEntry,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> Inside<'a> {
    fn new(entry: &'a SegmentEntry, header: &[u8]) -> Self {
        let mut segment = Self { entry, hasher: blake3::Hasher::new(), bytes: 0 };
        segment.add(header);
        segment
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn check(&self, last: RecordHash) -> Result<(), String> {
        let entry = self.entry;
        let found = RecordHash(*self.hasher.finalize().as_bytes());
        if (found, self.bytes, last) == (entry.blake3, entry.bytes, entry.last.hash) {
            return Ok(());
        }
        Err(format!("its records do not give segment {} as it was", entry.first_sequence))
    }
}

/// Opens a file whose bytes are those that were written.
fn open(store: &dyn Store, scratch: &Path, file: &FileEntry) -> Result<std::fs::File, ArchiveError> {
    let path = file.path.as_str();
    let failed = |doing| {
        move |source| ArchiveError::Store { place: store.place(), doing, path: path.to_owned(), source }
    };
    let mut opened = store.open(path, scratch).map_err(failed("open"))?;
    let (blake3, bytes) = hash_reader(&opened).map_err(failed("read"))?;
    if (blake3, bytes) != (file.blake3, file.bytes) {
        let what = format!(
            "it has {bytes} bytes with hash {blake3}; written were {} with {}",
            file.bytes, file.blake3
        );
        return Err(ArchiveError::damaged(path, what));
    }
    opened.seek(SeekFrom::Start(0)).map_err(failed("read"))?;
    Ok(opened)
}
