//! What arrives in a stream, and what a stream that is not as it should be comes to.

use std::collections::BTreeSet;

use tollgate::audit::follow::Place;
use tollgate::audit::frame::Kind;
use tollgate::audit::segment::{list_segments, segment_path};
use tollgate::forward::cursors::{lowest, place_file};
use tollgate::forward::settings::{Start, TargetName};

use crate::house::{House, LOG, STREAM, check, decision, entries, entries_of, stream_of, target, until};
use crate::redis_server::RedisServer;

#[test]
fn each_record_arrives_as_it_is_in_the_log_with_what_consumers_need() {
    let (redis, house) = (RedisServer::start(), House::new());
    house.decide(20);
    let forwarding = house.forward(target(&redis.url()));
    let label = br#"{"label":{"transaction_id":"t_3"},"transaction":{"customer":{"id":"c_3"}}}"#;
    house.write(Kind::Label, [label.to_vec()]);
    house.write(Kind::PolicyChange, [br#"{"cause":"caf\u00e9"}"#.to_vec()]);
    house.wait(&forwarding);

    let entries = entries(&redis);
    assert_eq!(check(&house, &entries, 1), 0);
    let keys: BTreeSet<&String> = entries.iter().map(|entry| &entry.fields["key"]).collect();
    assert_eq!(keys.len(), 8, "seven customers, and the policy");
    for (number, entry) in (1..).zip(&entries) {
        assert_eq!(entry.place, number, "a record is found by its sequence");
        let names: BTreeSet<&str> = entry.fields.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["body", "hash", "id", "key", "kind", "recorded_at", "schema"]));
        assert!(entry.id().starts_with(&format!("{LOG}-{number}-")), "{}", entry.id());
        assert!(entry.fields["hash"].starts_with(entry.id().rsplit('-').next().unwrap()));
        assert!(!entry.fields["key"].contains("c_"));
    }
    let (decision, label) = (&entries[3].fields, &entries[20].fields);
    assert_eq!((&*decision["kind"], &*decision["schema"], &*label["kind"]), ("decision", "1", "label"));
    assert_eq!(decision["key"], label["key"], "they are of one customer");
    assert_eq!(forwarding.status.counts().sent, 22);
}

#[test]
fn kinds_lengths_names_and_beginnings_are_chosen_by_target() {
    let (redis, house) = (RedisServer::start(), House::new());
    house.decide(3_000);
    let named = |name: &str, stream: &str| {
        let mut target = target(&redis.url());
        target.name = TargetName::parse(name).unwrap();
        stream.clone_into(&mut stream_of(&mut target).stream);
        target
    };
    let (mut short, mut labels) = (named("short", "short"), named("labels", "labels"));
    let mut late = named("late", "late-{log}");
    stream_of(&mut short).length_max = 500;
    labels.kinds = vec![Kind::Label, Kind::Review];
    late.start = Start::Newest;
    let started = house.forward_all(vec![short, labels, late]);
    house.write(Kind::Label, [b"{}".to_vec()]);
    house.decide(10);
    started.iter().for_each(|it| house.wait(it));

    let short = entries_of(redis.port(), "short");
    assert!((500..1_000).contains(&short.len()), "about so many: {}", short.len());
    assert_eq!(check(&house, &short, short[0].sequence()), 0);
    let labels = entries_of(redis.port(), "labels");
    assert_eq!(labels.iter().map(|it| it.sequence()).collect::<Vec<_>>(), [3_001]);
    assert_eq!(check(&house, &entries_of(redis.port(), &format!("late-{LOG}")), 3_001), 0);

    // What is noted is where the slowest is: all of them are at the end.
    started.iter().for_each(|it| it.thread.close());
    let names = ["short", "labels", "late", "other"].map(|name| TargetName::parse(name).unwrap());
    assert_eq!(lowest(house.data(), LOG, &names[..3]).unwrap(), Some(3_011));
    assert_eq!(
        lowest(house.data(), LOG, &names).unwrap(),
        Some(0),
        "one that has not begun needs everything"
    );
    let place = Place::read(&place_file(house.data(), &names[1])).unwrap().unwrap();
    assert_eq!((place.sequence, place.mark), (3_011, Some(3_001)));
}

#[test]
fn a_restart_goes_on_where_it_was_and_sends_nothing_twice() {
    let (redis, house) = (RedisServer::start(), House::new());
    for round in 1..=3 {
        let forwarding = house.forward(target(&redis.url()));
        house.decide(250);
        // Not waited for: the end of the service sends what is left.
        forwarding.thread.close();
        assert_eq!(forwarding.status.counts().sent, 250, "round {round}");
        assert_eq!(forwarding.status.counts().repeated, 0);
    }
    assert_eq!(check(&house, &entries(&redis), 1), 0);
}

/// As after a crash before the place was noted, with the stream whole, in part trimmed, or read and deleted by a consumer.
#[test]
fn what_was_sent_after_the_last_note_is_known_by_its_hash() {
    let (redis, house) = (RedisServer::start(), House::new());
    let forwarding = house.forward(target(&redis.url()));
    house.decide(300);
    house.wait(&forwarding);
    forwarding.thread.close();
    let place = Place { log: LOG.to_string(), sequence: 120, mark: Some(110) };
    let file = place_file(house.data(), forwarding.status.name());

    place.write(&file).unwrap();
    let forwarding = house.forward(target(&redis.url()));
    house.decide(20);
    house.wait(&forwarding);
    forwarding.thread.close();
    let counts = forwarding.status.counts();
    assert_eq!((counts.sent, counts.repeated, counts.resent), (20, 180, 0));
    assert_eq!(check(&house, &entries(&redis), 1), 0);

    // Nobody knows whether what is gone had been read: it comes again, behind the rest, with the ids that it had.
    redis.command(&["XTRIM", STREAM, "MAXLEN", "100"]);
    place.write(&file).unwrap();
    let forwarding = house.forward(target(&redis.url()));
    house.wait(&forwarding);
    let counts = forwarding.status.counts();
    assert_eq!((counts.sent, counts.repeated), (100, 100));
    let entries = entries(&redis);
    assert_eq!(entries.len(), 200);
    assert!(entries[100..].iter().all(|entry| entry.place == 320));
    assert_eq!(
        entries[100..].iter().map(|it| it.sequence()).collect::<Vec<_>>(),
        (121..=220).collect::<Vec<_>>()
    );
    // And the next records have their places again.
    house.decide(1);
    house.wait(&forwarding);
    assert_eq!(crate::house::entries(&redis).last().unwrap().place, 321);
}

/// A log that promises `process` may lose its end in a power failure, and give the same sequences to other records.
#[test]
fn records_that_came_in_the_place_of_lost_ones_are_sent_too() {
    let redis = RedisServer::start();
    let lost = House::new();
    let forwarding = lost.forward(target(&redis.url()));
    lost.decide(50);
    lost.wait(&forwarding);
    forwarding.thread.close();

    let house = House::new();
    house.write(Kind::Decision, (0..40).map(|number| decision(number, 90)));
    let name = forwarding.status.name();
    std::fs::create_dir(house.data().join("forward")).unwrap();
    std::fs::copy(place_file(lost.data(), name), place_file(house.data(), name)).unwrap();
    let forwarding = house.forward(target(&redis.url()));
    house.write(Kind::Decision, (40..60).map(|number| decision(number, 90)));
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().sent, 20);
    let entries = entries(&redis);
    assert_eq!(check(&house, &entries[50..], 41), 0);
    let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.id()).collect();
    assert_eq!(ids.len(), entries.len(), "they are no repetitions of those");
}

#[test]
fn a_stream_of_somebody_else_is_left_alone() {
    let (redis, house) = (RedisServer::start(), House::new());
    for (what, make, expected) in [
        ("by hand", &["XADD", STREAM, "*", "a", "b"][..], "is of another log, or others write to it"),
        ("of another log", &["XADD", STREAM, "7-99999999", "a", "b"], "is of another log"),
        ("no stream", &["SET", STREAM, "x"], "WRONGTYPE"),
    ] {
        redis.command(&["DEL", STREAM]);
        redis.command(make);
        let forwarding = house.forward(target(&redis.url()));
        house.decide(5);
        until(what, || forwarding.status.trouble().is_some_and(|reason| reason.contains(expected)));
        assert!(!forwarding.status.is_up());
        assert_eq!(forwarding.status.done(), 0);
        forwarding.thread.close();
    }
    redis.command(&["DEL", STREAM]);
    let forwarding = house.forward(target(&redis.url()));
    house.wait(&forwarding);
    assert_eq!(check(&house, &entries(&redis), 1), 0);
    assert!(forwarding.status.is_up() && forwarding.status.trouble().is_none());
}

#[test]
fn records_that_are_gone_with_their_segment_are_counted() {
    let (redis, house) = (RedisServer::start(), House::with_segments(20_000));
    let forwarding = house.forward(target(&redis.url()));
    house.decide(10);
    house.wait(&forwarding);
    forwarding.thread.close();
    house.decide(1_000);
    let segments = list_segments(&house.log_directory()).unwrap();
    assert!(segments.len() > 3, "{segments:?}");
    for segment in &segments[..2] {
        std::fs::remove_file(segment_path(&house.log_directory(), *segment)).unwrap();
    }
    let forwarding = house.forward(target(&redis.url()));
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().missed, segments[2] - 11);
    assert_eq!(check(&house, &entries(&redis)[10..], segments[2]), 0);

    // A target that has just begun has missed nothing.
    redis.command(&["DEL", STREAM]);
    std::fs::remove_dir_all(house.data().join("forward")).unwrap();
    let forwarding = house.forward(target(&redis.url()));
    house.wait(&forwarding);
    assert_eq!(forwarding.status.counts().missed, 0);
    assert_eq!(check(&house, &entries(&redis), segments[2]), 0);
}
