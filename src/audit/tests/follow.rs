//! Followers of a log that is written: order, batches, the note of how far they have come.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{LOG_ID, PATIENCE, open, start, write};
use crate::audit::damage::ReadError;
use crate::audit::follow::{Ending, FollowThread, Follower, Place, Work};
use crate::audit::receipt::LogId;
use crate::audit::writer::WriterOptions;
use crate::domain::time::{Clock, SystemClock};

/// Notes the sequences that it reads, a few a round; every third round it says that it could not use what it read.
struct Noting {
    seen: Arc<Mutex<Vec<u64>>>,
    rounds: u64,
}

impl Work for Noting {
    fn round(&mut self, follower: &mut Follower, settled: u64, _ending: &Ending) -> Result<(), ReadError> {
        let mut read = Vec::new();
        let last = follower.read(settled, 7, |record| {
            read.push(record.header.sequence);
            true
        })?;
        self.rounds += 1;
        if self.rounds.is_multiple_of(3) {
            follower.again();
        } else {
            self.seen.lock().extend(read);
            follower.is_done(last);
        }
        Ok(())
    }
}

fn follower(directory: &Path, log: LogId, place: &Path, settled: u64, otherwise: u64) -> Follower {
    Follower::open(directory, log, place.to_owned(), settled, otherwise, Arc::new(SystemClock)).unwrap()
}

#[test]
fn each_record_is_seen_once_and_in_order_over_a_restart() {
    let (log, side) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = side.path().join("place.json");
    let (handle, _) = start(open(log.path(), 2000), WriterOptions::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    for records in [1..=50_u64, 51..=120] {
        let last = *records.end();
        let settled = handle.status().head.sequence;
        let noting = Noting { seen: Arc::clone(&seen), rounds: 0 };
        let follower = follower(log.path(), LOG_ID, &place, settled, 0);
        let status = handle.clone();
        let thread =
            FollowThread::start("test", follower, move || status.status().head.sequence, noting).unwrap();
        write(&handle, records);
        let begun = SystemClock.instant();
        while seen.lock().last() != Some(&last) {
            assert!(SystemClock.instant() - begun < PATIENCE, "seen: {:?}", seen.lock());
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.close();
        assert_eq!(Place::read(&place).unwrap().unwrap().sequence, last);
    }
    assert_eq!(*seen.lock(), (1..=120).collect::<Vec<_>>());
    handle.close(PATIENCE).unwrap();
}

#[test]
fn it_begins_where_the_note_of_this_log_says() {
    let side = tempfile::tempdir().unwrap();
    let place = side.path().join("place.json");
    let begin = |log, settled, otherwise| follower(side.path(), log, &place, settled, otherwise).done();
    assert_eq!(begin(LOG_ID, 10, 0), 0, "no note: the whole log");
    assert_eq!(begin(LOG_ID, 10, 10), 10, "no note: what is new");
    Place { log: LOG_ID.to_string(), sequence: 7, mark: None }.write(&place).unwrap();
    assert_eq!(begin(LOG_ID, 10, 0), 7);
    assert_eq!(begin(LOG_ID, 5, 0), 5, "after a power loss the log may be shorter than the note says");
    assert_eq!(begin(LogId([0x22; 16]), 10, 0), 0, "the note of another log");
    std::fs::write(&place, "{").unwrap();
    let error = Follower::open(side.path(), LOG_ID, place.clone(), 10, 0, Arc::new(SystemClock)).unwrap_err();
    assert!(error.to_string().contains("place.json: cannot be read"), "{error}");
}

#[test]
fn what_comes_before_a_record_that_is_skipped_is_not_read() {
    let log = tempfile::tempdir().unwrap();
    let (handle, _) = start(open(log.path(), 1 << 20), WriterOptions::default());
    write(&handle, 1..=30);
    let mut follower = Follower::after(log.path(), LOG_ID, 0, Arc::new(SystemClock));
    let mut positions = Vec::new();
    follower
        .read(30, 30, |record| {
            positions.push(record.position);
            true
        })
        .unwrap();

    // What lies before the record that is skipped to is damaged: whoever reads the segment from its start finds that.
    let file =
        std::fs::OpenOptions::new().write(true).open(log.path().join("00000000000000000001.log")).unwrap();
    file.write_all_at(b"damage", positions[4].offset + 70).unwrap();
    let mut seen = Vec::new();
    let mut read_on = |follower: &mut Follower| {
        follower.read(30, 5, |record| {
            seen.push(record.header.sequence);
            true
        })
    };
    follower.skip_to(20);
    read_on(&mut follower).unwrap_err();
    follower.skip_past(20, positions[19]);
    let last = read_on(&mut follower).unwrap();
    // Nor when what was read and done with is forgotten.
    follower.is_done(last);
    follower.again();
    read_on(&mut follower).unwrap();
    assert_eq!(seen, (21..=30).collect::<Vec<_>>());
    handle.close(PATIENCE).unwrap();
}
