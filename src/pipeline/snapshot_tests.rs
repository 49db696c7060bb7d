//! A service that is restored from a snapshot and the end of its log is the one that never stopped; and so is one that folds the
//! whole log.

use std::fs::{self, File};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::mark::MARK_FILE;
use crate::audit::segment::segment_path;
use crate::pipeline::house_tests::{Facts, House, PATIENCE, Traffic, metric, snapshot_of, stop};
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_file::read_header;
use crate::pipeline::snapshot_header::Header;

const CLIENTS: usize = 12;

fn sequences(house: &House) -> Vec<u64> {
    StateDirectory::new(&house.data()).sequences().unwrap()
}

fn header(house: &House, sequence: u64) -> Header {
    read_header(&mut File::open(StateDirectory::new(&house.data()).file(sequence)).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_and_the_tail_are_the_state_that_never_stopped() {
    let (house, mut traffic) = (House::new(), Traffic::new(0..CLIENTS));
    let mut service = house.start();
    traffic.send(&service, 40).await;
    for round in 0..4 {
        // Snapshots one after the other while requests are decided; and after the last of them some more requests.
        let is_over = Arc::new(AtomicBool::new(false));
        let taking = std::thread::spawn({
            let (service, is_over) = (Arc::clone(&service), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    service.snapshots.take(PATIENCE);
                }
            }
        });
        traffic.send(&service, 60).await;
        is_over.store(true, Ordering::Relaxed);
        taking.join().unwrap();
        traffic.send(&service, 5).await;
        stop(&service);
        let (taken, head) = (snapshot_of(&service), service.log_status().head.sequence);
        assert!(taken > 0 && taken < head, "{taken} of {head}");
        assert_eq!(metric(&service, "tollgate_snapshot_failures_total"), 0);
        assert_eq!(sequences(&house)[0], taken);
        assert_eq!(sequences(&house).len(), 2);

        let probes = traffic.probes();
        let live = Facts::of(&service, &traffic, &probes);
        drop(service);
        let full = house.copy(false).start();
        assert_eq!(snapshot_of(&full), 0);
        Facts::of(&full, &traffic, &probes).must_be(&live, &format!("round {round}, the whole log"));
        service = house.start();
        assert_eq!(snapshot_of(&service), taken, "it began with the newest one");
        Facts::of(&service, &traffic, &probes).must_be(&live, &format!("round {round}, snapshot and tail"));
        if round == 3 {
            assert!(live.evicted() > 100, "{}", live.evicted());
            assert!(live.forgotten().0 > 100 && live.forgotten().1 > 100, "{:?}", live.forgotten());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_end_leaves_no_tail_and_no_interval_leaves_nothing() {
    let (house, mut traffic) = (House::new(), Traffic::new(0..2));
    let service = house.start_with(None);
    traffic.send(&service, 20).await;
    service.snapshots.take(PATIENCE);
    service.close(PATIENCE).unwrap();
    assert!(sequences(&house).is_empty());
    drop(service);

    let service = house.start();
    service.close(PATIENCE).unwrap();
    let head = service.log_status().head.sequence;
    assert_eq!(sequences(&house), [head]);
    assert_eq!(header(&house, head).taken.sequence, head);
    let probes = traffic.probes();
    let before = Facts::of(&service, &traffic, &probes);
    drop(service);
    let written = fs::metadata(StateDirectory::new(&house.data()).file(head)).unwrap().modified().unwrap();

    // One that is there is read, also without an interval; and nothing has come since.
    for interval in [None, Some(PATIENCE)] {
        let service = house.start_with(interval);
        assert_eq!(snapshot_of(&service), head);
        Facts::of(&service, &traffic, &probes).must_be(&before, "after a clean end");
        service.snapshots.take(PATIENCE);
        service.close(PATIENCE).unwrap();
        let file = fs::metadata(StateDirectory::new(&house.data()).file(head)).unwrap();
        assert_eq!(file.modified().unwrap(), written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_has_lost_is_not_in_the_state() {
    let (house, mut traffic) = (House::new(), Traffic::new(0..4));
    let service = house.start();
    for _ in 0..3 {
        traffic.send(&service, 30).await;
        service.snapshots.take(PATIENCE);
    }
    traffic.send(&service, 10).await;
    stop(&service);
    drop(service);
    let newest_first = sequences(&house);
    let newest = header(&house, newest_first[0]);

    // The power fails: the disk holds the snapshot, and the log only up to the record before the last that it has counted.
    let position = newest.taken.position;
    for later in fs::read_dir(house.data().join("log")).unwrap() {
        let later = later.unwrap();
        let segment = later.path().file_stem().unwrap().to_str().unwrap().parse::<u64>();
        if segment.is_ok_and(|segment| segment > position.segment) {
            fs::remove_file(later.path()).unwrap();
        }
    }
    let path = segment_path(&house.data().join("log"), position.segment);
    File::options().write(true).open(path).unwrap().set_len(position.offset).unwrap();
    fs::remove_file(house.data().join("log").join(MARK_FILE)).unwrap();

    let probes = traffic.probes();
    let full = house.copy(false).start();
    let service = house.start_with(None);
    assert_eq!(snapshot_of(&service), newest_first[1], "the older one");
    Facts::of(&service, &traffic, &probes).must_be(&Facts::of(&full, &traffic, &probes), "a shorter log");

    // Others take the place of the lost records. The snapshot is still none of this log.
    let mut others = Traffic::new(4..5);
    while service.log_status().head.sequence <= newest.taken.sequence {
        others.send(&service, 1).await;
    }
    stop(&service);
    drop(service);
    let full = house.copy(false).start();
    let service = house.start();
    assert_eq!(snapshot_of(&service), newest_first[1], "the older one");
    Facts::of(&service, &traffic, &probes).must_be(&Facts::of(&full, &traffic, &probes), "another log");
    // And the next one that is written takes its place.
    others.send(&service, 1).await;
    service.snapshots.take(PATIENCE);
    assert_eq!(sequences(&house), [service.log_status().head.sequence, newest_first[1]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_fails_is_counted_and_disturbs_nothing() {
    let (house, mut traffic) = (House::new(), Traffic::new(0..2));
    fs::create_dir_all(house.data()).unwrap();
    fs::write(house.data().join("state"), "no directory").unwrap();
    let service = house.start();
    for failures in 1..=2 {
        traffic.send(&service, 10).await;
        service.snapshots.take(PATIENCE);
        assert_eq!(metric(&service, "tollgate_snapshot_failures_total"), failures);
    }
    assert_eq!(snapshot_of(&service), 0);
    // As soon as it can be written, it is.
    fs::remove_file(house.data().join("state")).unwrap();
    service.snapshots.take(PATIENCE);
    assert_eq!(sequences(&house), [service.log_status().head.sequence]);
    assert_eq!(metric(&service, "tollgate_snapshot_failures_total"), 2);
    assert!(metric(&service, "tollgate_snapshot_keys") > 0);
    assert_eq!(
        metric(&service, "tollgate_snapshot_bytes"),
        fs::metadata(StateDirectory::new(&house.data()).file(snapshot_of(&service))).unwrap().len()
    );
}
