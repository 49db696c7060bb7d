//! Tests of the log as a whole, on real files, and what they share.

mod crash;
mod failures;
mod follow;
mod golden;
mod order;
mod power;
mod repair;
mod rotation;
mod storage;
mod tail;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::audit::disk::{Disk, SystemDisk};
use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::reader::LogReader;
use crate::audit::receipt::{LogId, Receipt};
use crate::audit::verify::{VerifyOptions, VerifyReport, verify};
use crate::audit::writer::{Ack, LogHandle, LogWriter, WriterOptions};
use crate::domain::time::EventTime;

const LOG_ID: LogId = LogId([0x11; 16]);
const PATIENCE: Duration = Duration::from_secs(20);

fn now() -> EventTime {
    EventTime::from_unix_millis(1_792_497_600_000).unwrap()
}

fn open(directory: &Path, segment_bytes_max: u64) -> OpenedLog {
    let options = LogOptions { segment_bytes_max, ..LogOptions::default() };
    OpenedLog::open(directory, LOG_ID, now(), options).unwrap()
}

/// What the hooks saw, in their order.
#[derive(Default)]
struct Seen {
    committed: Mutex<Vec<(u64, u64)>>,
    failed: Mutex<Vec<u64>>,
}

fn start(log: OpenedLog, options: WriterOptions) -> (LogHandle<u64>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let (committed, failed) = (Arc::clone(&seen), Arc::clone(&seen));
    let handle = LogWriter::start(
        log,
        options,
        Box::new(move |group| {
            committed.committed.lock().extend(group.map(|record| (record.receipt.sequence, record.context)));
        }),
        Box::new(move |group| failed.failed.lock().extend(group.map(|record| record.context))),
    )
    .unwrap();
    (handle, seen)
}

fn body(number: u64) -> Vec<u8> {
    format!("{{\"number\":{number},\"padding\":\"{}\"}}", "x".repeat(usize::try_from(number % 37).unwrap()))
        .into_bytes()
}

fn write(handle: &LogHandle<u64>, numbers: impl IntoIterator<Item = u64>) -> Vec<Receipt> {
    let pending: Vec<_> = numbers
        .into_iter()
        .map(|number| handle.reserve().unwrap().commit(Kind::Decision, now(), body(number), number))
        .collect();
    pending.into_iter().map(|pending| pending.wait_blocking().unwrap()).collect()
}

/// A closed log with bodies 1 to `records`.
fn write_log(directory: &Path, segment_bytes_max: u64, records: u64) -> Vec<Receipt> {
    let (handle, _) = start(open(directory, segment_bytes_max), WriterOptions::default());
    let receipts = write(&handle, 1..=records);
    handle.close(PATIENCE).unwrap();
    receipts
}

fn read_bodies(directory: &Path) -> Vec<Vec<u8>> {
    let mut reader = LogReader::from_sequence(directory, 1).unwrap();
    let mut bodies = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        bodies.push(record.body.to_vec());
    }
    bodies
}

fn check(directory: &Path) -> VerifyReport {
    verify(directory, VerifyOptions { threads: 2, until: None }, &|_| {}).unwrap()
}

fn options(ack: Ack, disk: &Arc<FaultyDisk>) -> WriterOptions {
    let disk: Arc<dyn Disk> = Arc::<FaultyDisk>::clone(disk);
    WriterOptions {
        ack,
        disk,
        commit_interval: Duration::from_millis(1),
        sync_interval: Some(Duration::from_millis(5)),
        ..WriterOptions::default()
    }
}

/// A disk that fails on demand.
struct FaultyDisk {
    /// Bytes that still fit; a write that does not fit is done in part.
    room: AtomicI64,
    fail_sync: AtomicBool,
    fail_set_len: AtomicBool,
    fail_sync_directory: AtomicBool,
    fail_preallocate: AtomicBool,
    /// How often room was asked for, and given back.
    preallocated: AtomicUsize,
    released: AtomicUsize,
}

impl FaultyDisk {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            room: AtomicI64::new(i64::MAX),
            fail_sync: AtomicBool::new(false),
            fail_set_len: AtomicBool::new(false),
            fail_sync_directory: AtomicBool::new(false),
            fail_preallocate: AtomicBool::new(false),
            preallocated: AtomicUsize::new(0),
            released: AtomicUsize::new(0),
        })
    }

    fn refuse(flag: &AtomicBool) -> io::Result<()> {
        if flag.load(Ordering::SeqCst) {
            Err(io::Error::other("input/output error (injected)"))
        } else {
            Ok(())
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        SystemDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        SystemDisk.open(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let want = i64::try_from(bytes.len()).unwrap();
        let room = self.room.load(Ordering::SeqCst);
        let fits = want.min(room);
        if room != i64::MAX {
            self.room.fetch_sub(fits, Ordering::SeqCst);
        }
        file.write_all_at(&bytes[..usize::try_from(fits).unwrap()], offset)?;
        if fits < want { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        Self::refuse(&self.fail_sync)?;
        SystemDisk.sync(file)
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        Self::refuse(&self.fail_set_len)?;
        SystemDisk.set_len(file, bytes)
    }

    fn preallocate(&self, _file: &File, _offset: u64, _bytes: u64) -> io::Result<()> {
        self.preallocated.fetch_add(1, Ordering::SeqCst);
        Self::refuse(&self.fail_preallocate)
    }

    fn release(&self, _file: &File) -> io::Result<()> {
        self.released.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        Self::refuse(&self.fail_sync_directory)?;
        SystemDisk.sync_directory(directory)
    }
}
