//! A start reads the newest snapshot of the state and the log from there on; what it decides then is what a service decides that
//! has read the whole log.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::http::Connection;
use crate::tollgate_process::{Installation, PATIENT, Service, wait_until};
use crate::traffic::{Event, Traffic, lasting, transaction};

const LOAD_CONNECTIONS: usize = 6;
/// What two records of one transaction must share when both services saw the same history.
const DECIDED: [&str; 7] =
    ["transaction_id", "decision", "reasons", "features", "feature_texts", "contributions", "repeat"];

/// Patient settings, with a snapshot every so many seconds.
fn with_interval(interval_s: u64) -> Installation {
    Installation::with_settings(&format!("{PATIENT}[state]\nsnapshot_interval_s = {interval_s}\n"))
}

/// An installation with the same log, keys and secret and without snapshots. Nobody may be writing.
fn without_snapshots(installation: &Installation) -> Installation {
    let copy = with_interval(0);
    let (from, to) = (installation.data(), copy.data());
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("secret"), to.join("secret")).unwrap();
    for directory in ["log", "keys"] {
        std::fs::create_dir_all(to.join(directory)).unwrap();
        for file in std::fs::read_dir(from.join(directory)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(directory).join(file.file_name())).unwrap();
        }
    }
    copy
}

/// What a service said of its start: the snapshot that it began with, and how many records it read.
fn rebuilt(service: &Service) -> (Option<u64>, u64) {
    let said = service.heard("the state is rebuilt");
    let [said] = &said[..] else { panic!("{said:?}") };
    (said["snapshot"].as_u64(), said["records"].as_u64().unwrap())
}

fn last_sequence(installation: &Installation) -> u64 {
    installation.verify()["records"].as_u64().unwrap()
}

#[test]
fn under_load_a_restart_from_a_snapshot_decides_as_one_from_the_whole_log() {
    let installation = with_interval(1);
    let events = Traffic::simulate(&installation, 17, 200, 30).events(4_000);
    let (load, after) = events.split_at(events.len() - 400);
    let next = AtomicUsize::new(0);
    let mut last = 0;
    // Each round goes on until a snapshot has been written under load, and some more; then it is killed.
    for _ in 0..2 {
        let service = installation.serve();
        assert_eq!(rebuilt(&service).0.unwrap_or(0), last, "it began with the newest one");
        let address = service.decision;
        let (is_over, answers) = (Mutex::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..LOAD_CONNECTIONS {
                scope.spawn(|| {
                    let Ok(mut connection) = Connection::try_open(address) else { return };
                    while !*is_over.lock().unwrap() {
                        let Some(event) = load.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                        let (path, body) = match event {
                            Event::Transaction(body) => ("/v1/decisions", body),
                            Event::Label(body) => ("/v1/labels", body),
                        };
                        let Ok(answer) = connection.try_post(path, "", body) else { return };
                        answer.good();
                        answers.fetch_add(1, Ordering::Relaxed);
                        // Slowly, so that several snapshots fall into it.
                        std::thread::sleep(std::time::Duration::from_millis(20));
                    }
                });
            }
            for _ in 0..2 {
                last = service.wait_for_message("a state snapshot is written")["sequence"].as_u64().unwrap();
            }
            let enough = answers.load(Ordering::Relaxed) + 30;
            wait_until("some more answers", || (answers.load(Ordering::Relaxed) >= enough).then_some(()));
            service.kill();
            *is_over.lock().unwrap() = true;
        });
        assert!(next.load(Ordering::Relaxed) < load.len(), "the kill came under load");
        // One more may have been written between the last that was heard of and the kill.
        let newest = installation.snapshots()[0].file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert!(newest >= last);
        last = newest;
    }

    let records = last_sequence(&installation);
    let whole = without_snapshots(&installation);
    let (resumed, full) = (installation.serve(), whole.serve());
    assert_eq!(rebuilt(&resumed), (Some(last), records - last), "no more than the tail");
    assert_eq!(rebuilt(&full), (None, records));
    assert!(records - last >= 1 && last > 100, "{last} of {records}");

    // Asked again, both answer what is in the log, byte for byte; and decide alike what they have not seen.
    let (mut resumed_connection, mut full_connection) = (resumed.connect(), full.connect());
    let decided: Vec<&String> = load[..next.load(Ordering::Relaxed) - 2 * LOAD_CONNECTIONS]
        .iter()
        .filter_map(|event| if let Event::Transaction(body) = event { Some(body) } else { None })
        .collect();
    let mut replayed = 0;
    for body in decided.iter().step_by(9) {
        let ask = |connection: &mut Connection| connection.post("/v1/decisions", "", body);
        let (ours, theirs) = (ask(&mut resumed_connection), ask(&mut full_connection));
        assert_eq!(ours.good()["replayed"], theirs.good()["replayed"]);
        if ours.good()["replayed"] == true {
            assert_eq!(lasting(&ours.body), lasting(&theirs.body));
            replayed += 1;
        }
    }
    assert!(replayed > 50, "{replayed}");
    for event in after {
        let answers = [event.send(&mut resumed_connection), event.send(&mut full_connection)];
        for field in ["decision", "score", "reason", "label", "transaction_known"] {
            assert_eq!(answers[0][field], answers[1][field], "{field}");
        }
    }
    resumed.kill();
    full.kill();
    let (ours, theirs) = (installation.decisions(), whole.decisions());
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for field in DECIDED {
            assert_eq!(ours[field], theirs[field], "{field} of {}", theirs["transaction_id"]);
        }
    }
}

/// Ends a service as an operator does.
fn end(service: Service) {
    service.terminate();
    service.wait_for_message("drained and closed");
    assert_eq!(service.ended().code(), Some(0));
}

fn decide(service: &Service, numbers: std::ops::Range<u32>) -> Vec<Value> {
    let mut connection = service.connect();
    numbers.map(|number| connection.decide(&transaction(&format!("pay_{number}")).to_string())).collect()
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_start_reads_as_much_of_the_log_as_was_written_after_the_snapshot() {
    let installation = with_interval(3_600);
    let first = installation.serve();
    assert_eq!(rebuilt(&first), (None, 0));
    decide(&first, 0..300);
    end(first);
    // A clean end leaves nothing to read.
    let records = last_sequence(&installation);
    let second = installation.serve();
    assert_eq!(rebuilt(&second), (Some(records), 0));
    assert_eq!(second.heard("a state snapshot is restored").len(), 1);
    let metrics = second.admin("/metrics").body;
    for line in [&*format!("tollgate_snapshot_sequence {records}"), "tollgate_snapshot_failures_total 0"] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
    decide(&second, 300..307);
    second.kill();
    // A kill leaves what came since: seven decisions, and the record of the policy at the start.
    let third = installation.serve();
    assert_eq!(rebuilt(&third), (Some(records), 8));
    assert!(decide(&third, 0..307).iter().all(|answer| answer["replayed"] == true));
    end(third);

    // Two are kept. When the newest is damaged, the one before it is used, and then the whole log.
    let files = installation.snapshots();
    assert_eq!(files.len(), 2);
    let records_after = last_sequence(&installation);
    damage(&files[0]);
    let fourth = installation.serve();
    assert_eq!(rebuilt(&fourth), (Some(records), records_after - records));
    let refused = fourth.heard("a state snapshot is not used");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0]["file"].as_str().unwrap().ends_with(files[0].file_name().unwrap().to_str().unwrap()));
    // A wrong byte is seen by its frame's checksum, or, where it is the frame's length, by what does not follow.
    let reason = refused[0]["reason"].as_str().unwrap();
    let reasons = ["checksum", "end of file", "too long"];
    assert!(reasons.iter().any(|known| reason.contains(known)), "{refused:?}");
    fourth.kill();
    damage(&files[1]);
    let fifth = installation.serve();
    assert_eq!(rebuilt(&fifth).0, None);
    assert_eq!(fifth.heard("a state snapshot is not used").len(), 2);
    assert!(decide(&fifth, 0..307).iter().all(|answer| answer["replayed"] == true));
    end(fifth);
    let sixth = installation.serve();
    assert_eq!(rebuilt(&sixth).1, 0);
}

#[test]
fn a_snapshot_of_another_installation_is_refused() {
    let (ours, theirs) = (with_interval(3_600), with_interval(3_600));
    for installation in [&ours, &theirs] {
        let service = installation.serve();
        decide(&service, 0..20);
        end(service);
    }
    let (our_file, their_file) = (&ours.snapshots()[0], &theirs.snapshots()[0]);
    std::fs::copy(their_file, our_file).unwrap();
    let records = last_sequence(&ours);
    let service = ours.serve();
    let refused = service.heard("a state snapshot is not used");
    assert!(refused[0]["reason"].as_str().unwrap().contains("another log"), "{refused:?}");
    assert_eq!(rebuilt(&service), (None, records));
}

#[test]
fn without_an_interval_none_is_written() {
    let installation = with_interval(0);
    let service = installation.serve();
    decide(&service, 0..10);
    end(service);
    assert!(installation.snapshots().is_empty() && !installation.data().join("state").exists());
    let records = last_sequence(&installation);
    assert_eq!(rebuilt(&installation.serve()), (None, records));
}
