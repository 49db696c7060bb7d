//! The ordered hand-off.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{PATIENCE, Seen, body, check, now, open, read_bodies, start, write};
use crate::audit::failure::LogError;
use crate::audit::frame::{BODY_BYTES_MAX, Kind};
use crate::audit::segment::SEGMENT_BYTES_MAX;
use crate::audit::writer::{Ack, LogHandle, LogWriter, WriterOptions};
use crate::domain::time::{Clock, SystemClock};

fn started(options: WriterOptions) -> (tempfile::TempDir, LogHandle<u64>, Arc<Seen>) {
    let directory = tempfile::tempdir().unwrap();
    let (handle, seen) = start(open(directory.path(), SEGMENT_BYTES_MAX), options);
    (directory, handle, seen)
}

#[test]
fn tickets_committed_in_any_order_by_many_threads_come_out_in_ticket_order() {
    const THREADS: u64 = 8;
    const RECORDS: u64 = 500;
    for (ack, linger_us) in [(Ack::Process, 0), (Ack::Process, 50), (Ack::Disk, 0)] {
        let options = WriterOptions {
            ack,
            commit_interval: Duration::from_millis(1),
            linger: Duration::from_micros(linger_us),
            ..WriterOptions::default()
        };
        let (directory, handle, seen) = started(options);
        // The lane: a number is drawn and a ticket reserved as one step.
        let lane = Mutex::new(0_u64);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (lane, handle) = (&lane, &handle);
                scope.spawn(move || {
                    let mut tickets = Vec::new();
                    let mut pending = Vec::new();
                    for round in 0..RECORDS {
                        let drawn = {
                            let mut number = lane.lock();
                            *number += 1;
                            (*number, handle.reserve().unwrap())
                        };
                        tickets.push(drawn);
                        if (round * 7 + thread) % 5 == 0 {
                            // Newest first, so that most tickets are committed out of order.
                            for (number, ticket) in tickets.drain(..).rev() {
                                pending.push((
                                    number,
                                    ticket.commit(Kind::Decision, now(), body(number), number),
                                ));
                            }
                        }
                    }
                    for (number, ticket) in tickets {
                        pending.push((number, ticket.commit(Kind::Decision, now(), body(number), number)));
                    }
                    for (number, pending) in pending {
                        assert_eq!(pending.wait_blocking().unwrap().sequence, number);
                    }
                });
            }
        });
        let expected: Vec<(u64, u64)> = (1..=THREADS * RECORDS).map(|number| (number, number)).collect();
        assert_eq!(*seen.committed.lock(), expected);
        handle.close(PATIENCE).unwrap();
        let bodies: Vec<_> = (1..=THREADS * RECORDS).map(body).collect();
        assert!(read_bodies(directory.path()) == bodies);
        assert!(check(directory.path()).is_good());
    }
}

#[test]
fn a_dropped_ticket_gives_its_place_up() {
    let (directory, handle, seen) = started(WriterOptions::default());
    let first = handle.reserve().unwrap();
    let second = handle.reserve().unwrap();
    let third = handle.reserve().unwrap();
    let fourth = handle.reserve().unwrap();
    drop(third);
    let fourth = fourth.commit(Kind::Decision, now(), body(4), 4);
    let second = second.commit(Kind::Decision, now(), body(2), 2);
    assert_eq!(handle.status().head.sequence, 0);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = first;
        std::panic::resume_unwind(Box::new("a panic with a ticket in hand"));
    }));
    assert!(panicked.is_err());
    assert_eq!(second.wait_blocking().unwrap().sequence, 1);
    assert_eq!(fourth.wait_blocking().unwrap().sequence, 2);
    assert_eq!(*seen.committed.lock(), [(1, 2), (2, 4)]);
    handle.close(PATIENCE).unwrap();
    assert_eq!(read_bodies(directory.path()), [body(2), body(4)]);
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again() {
    let (_directory, handle, _) = started(WriterOptions { queue_max: 3, ..WriterOptions::default() });
    let spare = handle.reserve_spare().unwrap();
    // Of three places one is taken, and the half that is to stay free begins with the second.
    assert_eq!(handle.reserve_spare().unwrap_err(), LogError::Full { limit: 1 });
    let held: Vec<_> = [spare].into_iter().chain((0..2).map(|_| handle.reserve().unwrap())).collect();
    assert_eq!(handle.reserve().unwrap_err(), LogError::Full { limit: 3 });
    assert_eq!(handle.status().queue_depth, 3);
    drop(held);
    while handle.status().queue_depth > 0 {
        // Dropped places are freed when the writer comes by.
        std::thread::yield_now();
    }
    assert_eq!(write(&handle, [1])[0].sequence, 1);
    handle.close(PATIENCE).unwrap();
}

#[test]
fn a_long_body_is_refused_and_nothing_else_is_held_up() {
    let (directory, handle, seen) = started(WriterOptions::default());
    let before = handle.reserve().unwrap();
    let long = handle.reserve().unwrap().commit(Kind::Decision, now(), vec![b' '; BODY_BYTES_MAX + 1], 2);
    let after = handle.reserve().unwrap().commit(Kind::Decision, now(), vec![b' '; BODY_BYTES_MAX], 3);
    let before = before.commit(Kind::Decision, now(), body(1), 1);
    assert_eq!(before.wait_blocking().unwrap().sequence, 1);
    assert!(matches!(long.wait_blocking(), Err(LogError::BodyTooLong(_))));
    assert_eq!(after.wait_blocking().unwrap().sequence, 2);
    assert_eq!((seen.committed.lock().clone(), seen.failed.lock().clone()), (vec![(1, 1), (2, 3)], vec![2]));
    handle.close(PATIENCE).unwrap();
    assert!(check(directory.path()).is_good());
}

#[test]
fn a_ticket_is_settled_when_it_and_all_before_it_are_committed_refused_or_dropped() {
    let (_directory, handle, seen) = started(WriterOptions::default());
    assert!(handle.is_settled(handle.next_ticket()), "there is none");
    let until = |number| {
        while !handle.is_settled(number) {
            std::thread::yield_now();
        }
    };
    let (first, second, third) = (handle.reserve(), handle.reserve(), handle.reserve());
    let fourth = handle.next_ticket();
    assert!(!handle.is_settled(fourth));
    let second = second.unwrap().commit(Kind::Decision, now(), vec![b' '; BODY_BYTES_MAX + 1], 2);
    let third = third.unwrap().commit(Kind::Decision, now(), body(3), 3);
    std::thread::sleep(Duration::from_millis(20));
    assert!(!handle.is_settled(1), "the first is still out");
    drop(first);
    until(fourth);
    assert_eq!((seen.committed.lock().clone(), seen.failed.lock().clone()), (vec![(1, 3)], vec![2]));
    assert!(second.wait_blocking().is_err() && third.wait_blocking().is_ok());
    let left = handle.reserve().unwrap();
    drop(left);
    until(handle.next_ticket());
    let leaked = handle.reserve().unwrap();
    handle.close(Duration::from_millis(20)).unwrap();
    assert!(handle.is_settled(handle.next_ticket()), "nothing comes of what is open when the log is closed");
    drop(leaked);
}

#[test]
fn close_waits_for_tickets_and_then_refuses() {
    let (directory, handle, _) = started(WriterOptions::default());
    let ticket = handle.reserve().unwrap();
    let closing = std::thread::spawn({
        let handle = handle.clone();
        move || handle.close(PATIENCE)
    });
    while handle.reserve().is_ok() {
        std::thread::yield_now();
    }
    let pending = ticket.commit(Kind::Decision, now(), body(1), 1);
    closing.join().unwrap().unwrap();
    let receipts = pending.wait_blocking();
    assert!(receipts.is_ok(), "{receipts:?}");
    assert_eq!(handle.reserve().unwrap_err(), LogError::Closed);
    assert!(!handle.status().healthy);
    assert!(read_bodies(directory.path()).contains(&body(1)));
    // The lock is free again.
    open(directory.path(), SEGMENT_BYTES_MAX);
}

#[test]
fn close_does_not_wait_for_ever() {
    let (_directory, handle, _) = started(WriterOptions::default());
    let leaked = handle.reserve().unwrap();
    let behind = handle.reserve().unwrap().commit(Kind::Decision, now(), body(1), 1);
    handle.close(Duration::from_millis(20)).unwrap();
    assert_eq!(behind.wait_blocking().unwrap_err(), LogError::Closed);
    let late = leaked.commit(Kind::Decision, now(), body(2), 2);
    assert_eq!(late.wait_blocking().unwrap_err(), LogError::Closed);
}

#[test]
fn the_last_handle_dropped_drains() {
    let (directory, handle, _) = started(WriterOptions::default());
    let pending = handle.reserve().unwrap().commit(Kind::Decision, now(), body(1), 1);
    drop(handle);
    assert!(pending.wait_blocking().is_ok());
    assert_eq!(read_bodies(directory.path()), [body(1)]);
}

#[tokio::test]
async fn a_pending_is_a_future() {
    let (_directory, handle, _) = started(WriterOptions::default());
    let receipt = handle.reserve().unwrap().commit(Kind::Label, now(), body(1), 1).await.unwrap();
    assert_eq!((receipt.sequence, receipt.recorded_at), (1, now()));
    handle.close(PATIENCE).unwrap();
}

#[test]
fn the_fold_is_seen_before_the_answer() {
    let (_directory, handle, seen) = started(WriterOptions::default());
    for number in 1..=200 {
        write(&handle, [number]);
        assert_eq!(seen.committed.lock().len() as u64, number);
    }
    handle.close(PATIENCE).unwrap();
}

#[test]
fn a_panic_in_a_hook_stops_the_writer_and_nobody_waits_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let handle: LogHandle<u64> = LogWriter::start(
        open(directory.path(), SEGMENT_BYTES_MAX),
        WriterOptions::default(),
        Box::new(|_| std::panic::resume_unwind(Box::new("injected"))),
        Box::new(|group| drop(group)),
    )
    .unwrap();
    let pending = handle.reserve().unwrap().commit(Kind::Decision, now(), body(1), 1);
    assert_eq!(pending.wait_blocking().unwrap_err(), LogError::Closed);
    assert!(matches!(handle.close(PATIENCE), Err(LogError::Failed(_))));
    assert!(handle.status().last_error.unwrap().contains("panicked"));
    // It was written, so the next start folds it.
    assert_eq!(read_bodies(directory.path()), [body(1)]);
}

/// Prints what the hand-off costs at 10,000 records of 1.1 kB a second. `cargo test --release --lib audit::tests::order::cost -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn cost_of_the_hand_off() {
    for (ack, linger_us) in [(Ack::Process, 0), (Ack::Process, 50), (Ack::Disk, 0)] {
        let linger = Duration::from_micros(linger_us);
        let (_directory, handle, _) = started(WriterOptions { ack, linger, ..WriterOptions::default() });
        let (mut hand_off, mut answers) = (Vec::new(), Vec::new());
        let start = SystemClock.instant();
        for number in 0..50_000_u32 {
            let due = start + Duration::from_micros(100) * number;
            while SystemClock.instant() < due {
                std::thread::yield_now();
            }
            let bytes = vec![b'x'; 1100];
            let before = SystemClock.instant();
            let pending = handle.reserve().unwrap().commit(Kind::Decision, now(), bytes, 0);
            hand_off.push(before.elapsed());
            if number % 100 == 0 {
                pending.wait_blocking().unwrap();
                answers.push(before.elapsed());
            }
        }
        handle.close(PATIENCE).unwrap();
        for (name, times) in [("hand-off", &mut hand_off), ("answer", &mut answers)] {
            times.sort_unstable();
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            println!(
                "{ack:?}, linger {linger_us} us, {name}: p50 {:?}, p99 {:?}, p99.9 {:?}",
                at(0.5),
                at(0.99),
                at(0.999)
            );
        }
    }
}
