//! The end of the log on disk: appending, taking back what failed, beginning new segments.
//!
//! `head` and `bytes` move only when a write has succeeded (and, if `durable`, its sync). After any failure the file is cut back to `bytes`; where that
//! is not possible, or where a sync has failed so that nobody knows what the disk holds, the next record begins a new segment, whose header says
//! where the old one ends. What was acknowledged before a sync that failed is written once more before that (`rewrite`): no failed sync
//! is asked again.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::disk::Disk;
use crate::audit::failure::{Failure, FailureKind};
use crate::audit::frame::{self, BODY_BYTES_MAX, BodyTooLong, HEADER_BYTES, Header, Kind};
use crate::audit::mark::{Mark, Marker};
use crate::audit::open::{OpenedLog, PROBE_FILE};
use crate::audit::receipt::{Head, LogId, Position, Receipt};
use crate::audit::rewrite::rewrite;
use crate::audit::segment::{FIRST_RECORD_OFFSET, LogLock, SegmentHeader, create_segment, segment_path};
use crate::domain::time::EventTime;

/// How much room must be there before a log that failed is written again, in bytes: enough not to fail again at once.
const PROBE_BYTES: usize = if cfg!(test) { 16 * 1024 } else { 1024 * 1024 };

/// So much room is made ready behind what is written, in steps of this, in bytes: what a busy log writes in a second, and what an idle one holds
/// for nothing. Without it, each write looks for room of its own, and waits for that while a sync holds the map of the file: some 50 ms once a second.
pub(crate) const ROOM_BYTES: u64 = if cfg!(test) { 64 * 1024 } else { 32 * 1024 * 1024 };

pub(crate) struct Appender {
    disk: Arc<dyn Disk>,
    durable: bool,
    directory: PathBuf,
    log_id: LogId,
    segment: u64,
    file: Arc<File>,
    /// Where the next record goes.
    bytes: u64,
    /// How far there is room ready in the segment, or as if: where the disk makes none, it is not asked again.
    room_end: u64,
    previous_bytes: u64,
    closed_bytes: u64,
    segment_bytes_max: u64,
    head: Head,
    /// Records that are encoded and not yet written, and the head that they lead to.
    buffer: Vec<u8>,
    next_head: Head,
    /// No record may follow in this segment.
    spoiled: bool,
    /// A sync has failed: what lies after the mark may not be on stable storage, whatever later syncs say.
    unstable: bool,
    /// Bytes were cut off, and the disk may not know yet. Others in their place must not mix with them.
    taken_back: bool,
    marker: Marker,
    _lock: LogLock,
}

impl Appender {
    pub(crate) fn new(log: OpenedLog, disk: Arc<dyn Disk>, durable: bool) -> Self {
        Self {
            disk,
            durable,
            directory: log.directory,
            log_id: log.log_id,
            segment: log.segment,
            file: Arc::new(log.file),
            bytes: log.segment_bytes,
            room_end: log.segment_bytes,
            previous_bytes: log.previous_bytes,
            closed_bytes: log.closed_bytes,
            segment_bytes_max: log.segment_bytes_max,
            head: log.head,
            buffer: Vec::new(),
            next_head: log.head,
            spoiled: false,
            unstable: false,
            taken_back: false,
            marker: log.marker,
            _lock: log.lock,
        }
    }

    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    pub(crate) const fn segment(&self) -> u64 {
        self.segment
    }

    /// Of the whole log.
    pub(crate) const fn log_bytes(&self) -> u64 {
        self.closed_bytes + self.bytes
    }

    pub(crate) const fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(crate) const fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The end of what is written.
    pub(crate) const fn end(&self) -> Mark {
        Mark { position: Position { segment: self.segment, offset: self.bytes }, head: self.head }
    }

    /// What is encoded and not yet written.
    pub(crate) const fn encoded_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a record with that body belongs into this segment.
    pub(crate) const fn has_room(&self, body_bytes: usize) -> bool {
        let end = self.bytes + (self.buffer.len() + HEADER_BYTES + body_bytes) as u64;
        let first = self.bytes == FIRST_RECORD_OFFSET && self.buffer.is_empty();
        !self.spoiled && (first || end <= self.segment_bytes_max || body_bytes > BODY_BYTES_MAX)
    }

    /// Encodes a record behind those that are already encoded, and says what its receipt will be.
    pub(crate) fn encode(
        &mut self,
        kind: Kind,
        schema: u16,
        recorded_at: EventTime,
        body: &[u8],
    ) -> Result<Receipt, BodyTooLong> {
        let sequence = self.next_head.sequence + 1;
        let previous_hash = self.next_head.hash;
        let offset = self.bytes + self.buffer.len() as u64;
        let header = Header { schema, kind, sequence, recorded_at, previous_hash };
        let hash = frame::encode(&mut self.buffer, &header, body)?;
        self.next_head = Head { sequence, hash };
        Ok(Receipt { sequence, hash, position: Position { segment: self.segment, offset }, recorded_at })
    }

    /// Forgets what is encoded and not written.
    fn clear(&mut self) {
        self.buffer.clear();
        self.next_head = self.head;
    }

    /// Writes what is encoded. After an error, nothing of it is in the log.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        let written = self
            .disk
            .write_all_at(&self.file, &self.buffer, self.bytes)
            .map_err(|error| self.failure(FailureKind::Write, "writing", &error))
            .and_then(|()| if self.durable { self.sync_file() } else { Ok(()) });
        if let Err(failure) = written {
            let cut = self.disk.set_len(&self.file, self.bytes);
            self.spoiled |= cut.is_err();
            self.taken_back = true;
            // What was cut off took the room behind it along.
            self.room_end = self.bytes;
            self.clear();
            return Err(failure);
        }
        self.bytes += self.buffer.len() as u64;
        self.head = self.next_head;
        self.buffer.clear();
        if self.durable {
            self.marker.advance(self.end());
        }
        Ok(())
    }

    /// Has room ready for what is written next. Where that fails, the next write finds room by itself, or says that there is none.
    pub(crate) fn make_room(&mut self) {
        let end = self.room_end.saturating_add(ROOM_BYTES).min(self.segment_bytes_max);
        if self.bytes + ROOM_BYTES / 2 <= self.room_end || end <= self.room_end {
            return;
        }
        if self.disk.preallocate(&self.file, self.room_end, end - self.room_end).is_ok() {
            self.room_end = end;
        } else {
            // A disk that is nearly full may have given a part of it: the last of its room is not for the log alone.
            self.release_room();
            self.room_end = u64::MAX;
        }
    }

    /// Gives room back that is ready and not needed any more.
    pub(crate) fn release_room(&mut self) {
        // What is kept does no harm.
        let _ = self.disk.release(&self.file);
        self.room_end = self.bytes;
    }

    fn sync_file(&mut self) -> Result<(), Failure> {
        let synced = self.disk.sync(&self.file);
        synced.map_err(|error| self.sync_failed(&error))
    }

    /// Brings everything that is written to stable storage. The segments before this one are there already, or a sync of them has failed.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.unstable {
            self.write_once_more()?;
        } else {
            self.sync_file()?;
            if !self.durable {
                // Its name may be new.
                let named = self.disk.sync_directory(&self.directory);
                named.map_err(|error| self.sync_failed(&error))?;
            }
            self.marker.advance(self.end());
        }
        self.marker.sync();
        Ok(())
    }

    /// A sync has failed: the next record begins a new segment, and before that what was acknowledged is written once more.
    pub(crate) fn sync_failed(&mut self, error: &std::io::Error) -> Failure {
        (self.spoiled, self.unstable) = (true, true);
        self.failure(FailureKind::Sync, "syncing", error)
    }

    /// Whether a sync has failed, and what it was to bring to stable storage has not been written once more.
    pub(crate) const fn is_unstable(&self) -> bool {
        self.unstable
    }

    fn write_once_more(&mut self) -> Result<(), Failure> {
        let (from, to) = (self.marker.mark(), self.end());
        if from != to {
            rewrite(&*self.disk, &self.directory, &from, &to)
                .map_err(|error| self.failure(FailureKind::Sync, "writing once more", &error))?;
            self.marker.advance(to);
        }
        self.unstable = false;
        Ok(())
    }

    /// Begins a new segment behind the last record that was written.
    pub(crate) fn rotate(&mut self, now: EventTime) -> Result<(), Failure> {
        self.clear();
        // If this fails half-way, the new file may be there, and nothing may be written before it any more.
        self.spoiled = true;
        let empty = self.bytes == FIRST_RECORD_OFFSET;
        // A segment without records is replaced: the new one has its name.
        let previous_bytes = if empty { self.previous_bytes } else { self.bytes };
        let header = SegmentHeader {
            log_id: self.log_id,
            first_sequence: self.head.sequence + 1,
            previous_hash: self.head.hash,
            previous_bytes,
            created_at: now,
        };
        // The mark may stand behind the header that is replaced.
        let durable = self.durable || empty;
        let file = create_segment(&*self.disk, &self.directory, &header, durable).map_err(|error| {
            let path = segment_path(&self.directory, header.first_sequence);
            Failure::new(FailureKind::Write, "beginning", &path, &error)
        })?;
        if !empty {
            self.closed_bytes += self.bytes;
            self.release_room();
        }
        self.file = Arc::new(file);
        self.segment = header.first_sequence;
        (self.bytes, self.room_end) = (FIRST_RECORD_OFFSET, FIRST_RECORD_OFFSET);
        self.previous_bytes = previous_bytes;
        self.spoiled = false;
        if self.durable {
            self.marker.advance(self.end());
            self.marker.sync();
        }
        Ok(())
    }

    /// Tries whether the disk works again, and makes ready to go on.
    pub(crate) fn recover(&mut self, now: EventTime) -> Result<(), Failure> {
        let path = self.directory.join(PROBE_FILE);
        let probe = self.disk.create(&path).and_then(|file| {
            self.disk.write_all_at(&file, &vec![0; PROBE_BYTES], 0)?;
            self.disk.sync(&file)
        });
        let removed = self.disk.remove(&path);
        probe.and(removed).map_err(|error| Failure::new(FailureKind::Write, "probing", &path, &error))?;
        if self.unstable {
            self.write_once_more()?;
        }
        if self.taken_back && !self.spoiled {
            self.sync_file()?;
        }
        self.taken_back = false;
        if self.spoiled { self.rotate(now) } else { Ok(()) }
    }

    pub(crate) fn failure(&self, kind: FailureKind, doing: &str, error: &std::io::Error) -> Failure {
        Failure::new(kind, doing, &segment_path(&self.directory, self.segment), error)
    }
}
