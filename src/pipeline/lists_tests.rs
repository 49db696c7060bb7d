//! Lists of a service in this process: what happens at the bound, at once, and long after the end of an entry.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::time::{Clock, EventTime, SystemClock};
use crate::pipeline::house_tests::{House, PATIENCE, Traffic, stop};
use crate::pipeline::lists::{LIST_CHANGES_IN_FLIGHT_MAX, ListError};
use crate::pipeline::service::DecideError;
use crate::pipeline::snapshot::LIST_SWEEP_AFTER;
use crate::rules::run_time::{Action, Entry, ListChange, RUN_TIME_ENTRIES_MAX, RunTimeLists};

const NOTE: &[u8] = br#"{"note": "a test"}"#;

fn entry() -> Entry {
    let (note, by) = ("a test".into(), "tests".into());
    Entry { until: None, note, by, added_at: EventTime::EPOCH, sequence: 1 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_bound_one_more_is_refused_and_another_note_is_not() {
    let house = House::new();
    let service = house.start();
    let mut lists = RunTimeLists::default();
    for number in 0..RUN_TIME_ENTRIES_MAX - 1 {
        lists.put("watched", format!("v_{number}").into(), entry());
    }
    service.state.lists.store(Arc::new(lists));
    let put = |value: &'static str| service.put_on_list("watched", value, NOTE, "tests");
    assert!(put("one_more").await.unwrap().before.is_none());
    assert!(matches!(put("two_more").await, Err(ListError::Full)));
    assert!(put("v_7").await.unwrap().before.is_some());
    service.take_off_list("watched", "v_7", NOTE, "tests").await.unwrap();
    put("two_more").await.unwrap();
    assert_eq!(service.state.lists.load().len(), RUN_TIME_ENTRIES_MAX);
    stop(&service);
    // What is not in the log is not on the list.
    let is_unavailable =
        |error: &ListError| matches!(error, ListError::Service(DecideError::AuditUnavailable(_)));
    let refused = service.put_on_list("watched", "v_9", br#"{"note": "late"}"#, "tests").await.unwrap_err();
    assert!(is_unavailable(&refused), "{refused}");
    assert_eq!(&*service.state.lists.load().entry("watched", "v_9").unwrap().note, "a test");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_come_at_once_one_is_the_first_and_the_last_stands() {
    let house = House::new();
    let service = house.start();
    let mut tasks = Vec::new();
    for number in 0..LIST_CHANGES_IN_FLIGHT_MAX {
        let service = Arc::clone(&service);
        tasks.push(tokio::spawn(async move {
            let by = format!("client_{number}");
            service.put_on_list("watched", "v", NOTE, &by).await.unwrap()
        }));
    }
    let mut changes = Vec::new();
    for task in tasks {
        changes.push(task.await.unwrap());
    }
    changes.sort_by_key(|change| change.audit.sequence);
    assert!(changes[0].before.is_none());
    for pair in changes.windows(2) {
        assert_eq!(pair[1].before, pair[0].entry, "each finds what the one before it in the log has left");
    }
    let standing = service.listed("watched", "v").unwrap().run_time;
    assert_eq!(standing, changes.last().unwrap().entry);
    stop(&service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_long_ago_goes_with_a_snapshot() {
    let (house, mut traffic) = (House::new(), Traffic::new(0..2));
    let service = house.start();
    traffic.send(&service, 10).await;
    let before = service.state.lists.load().len();
    let long_ago = SystemClock.now().minus(LIST_SWEEP_AFTER);
    let hour = Duration::from_secs(3_600);
    // When it ended, and whether it is still there.
    let facts = [
        ("for_ever", None, true),
        ("lately", Some(long_ago.plus(hour)), true),
        ("long_ago", Some(long_ago.minus(hour)), false),
    ];
    for (value, until, _) in facts {
        let (list, value) = ("watched".into(), value.into());
        let change =
            ListChange { list, value, action: Action::Add { until }, note: "n".into(), by: "b".into() };
        service.state.change_list(&change, 1, EventTime::EPOCH);
    }
    service.snapshots.take(PATIENCE);
    for (value, _, is_there) in facts {
        assert_eq!(service.state.lists.load().entry("watched", value).is_some(), is_there, "{value}");
    }
    assert_eq!(service.state.lists.load().len(), before + 2);
    stop(&service);
}
