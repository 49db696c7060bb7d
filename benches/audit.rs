//! The writer of the audit log, by Criterion: the hand-off of a record, and groups of them to the disk.
//!
//! `cargo bench --bench audit`; `cargo bench --bench audit_table` prints the table of figures that stands in benches/README.md.

#![expect(clippy::expect_used, reason = "a benchmark may stop at what cannot be")]

use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tollgate::audit::frame::Kind;
use tollgate::audit::open::{LogOptions, OpenedLog};
use tollgate::audit::receipt::LogId;
use tollgate::audit::writer::{Ack, LogHandle, LogWriter, WriterOptions};
use tollgate::domain::time::EventTime;

/// Length of a body: that of the record which performance figures are told of.
const BODY_BYTES: usize = 1_100;
/// Records that are handed over before anybody waits.
const GROUP: usize = 1_000;

fn start(directory: &Path, ack: Ack) -> LogHandle<()> {
    let now = EventTime::EPOCH;
    let log = OpenedLog::open(directory, LogId([1; 16]), now, LogOptions::default()).expect("an empty log");
    let options =
        WriterOptions { ack, commit_interval: Duration::from_millis(10), ..WriterOptions::default() };
    LogWriter::start(log, options, Box::new(|group| drop(group)), Box::new(|group| drop(group)))
        .expect("a writer")
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit");
    group.throughput(Throughput::Elements(GROUP as u64));
    for (name, ack) in [("1,000 records, process", Ack::Process), ("1,000 records, disk", Ack::Disk)] {
        let directory = tempfile::tempdir().expect("a directory");
        let log = start(directory.path(), ack);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || vec![vec![b'x'; BODY_BYTES]; GROUP],
                |bodies| {
                    let mut last = None;
                    for body in bodies {
                        let ticket = log.reserve().expect("a place");
                        last = Some(ticket.commit(Kind::Decision, EventTime::EPOCH, body, ()));
                    }
                    last.expect("records").wait_blocking().expect("it is written")
                },
                BatchSize::LargeInput,
            );
        });
        log.close(Duration::from_secs(10)).expect("the log is closed");
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
