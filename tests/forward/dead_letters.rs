//! Records that a target refuses for good: kept, bounded, sent again.

use std::time::Duration;

use tollgate::audit::frame::Kind;
use tollgate::forward::dead_letters::DeadLetters;
use tollgate::forward::forwarding::sink;
use tollgate::forward::replay::{Replayed, replay};
use tollgate::forward::settings::{TargetSettings, WhenFull};

use crate::house::{House, LOG, check, decision, entries, target, until};
use crate::redis_server::RedisServer;

/// Longer than `message_bytes_max` of `tight`.
const LONG: usize = 5_000;

fn tight(redis: &RedisServer) -> TargetSettings {
    TargetSettings { message_bytes_max: 4_096, ..target(&redis.url()) }
}

/// Every tenth is too long.
fn write(house: &House, count: u64) {
    let from = house.settled();
    let length = |number: u64| if number % 10 == 4 { LONG } else { 20 };
    house.write(Kind::Decision, (from..from + count).map(|number| decision(number, length(number))));
}

fn send_again(house: &House, settings: &TargetSettings) -> Replayed {
    let letters = DeadLetters::of(house.data(), &settings.name);
    let mut sink = sink(settings, LOG).unwrap();
    replay(&letters, &mut *sink, || true).unwrap()
}

#[test]
fn what_is_too_long_waits_and_is_sent_when_it_may_be() {
    let (redis, house) = (RedisServer::start(), House::new());
    let settings = tight(&redis);
    let forwarding = house.forward(settings.clone());
    write(&house, 100);
    house.wait(&forwarding);
    let counts = forwarding.status.counts();
    assert_eq!((counts.sent, counts.dead, counts.retries), (90, 10, 0));
    assert!(forwarding.status.is_up(), "a record at fault is no outage");
    assert_eq!(entries(&redis).len(), 90);
    let letters = DeadLetters::of(house.data(), &settings.name);
    let text = std::fs::read_to_string(letters.file()).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["sequence"], 5);
    assert!(first["reason"].as_str().unwrap().contains("message_bytes_max is 4096"), "{first}");
    assert_eq!(first["body"].as_str().unwrap().as_bytes(), decision(4, LONG));

    // Still too long: kept. Then not, while the service goes on.
    let again = send_again(&house, &settings);
    assert_eq!((again.sent, again.left), (0, 10));
    let wide = target(&redis.url());
    let replayed = std::thread::scope(|scope| {
        let replayed = scope.spawn(|| send_again(&house, &wide));
        for _ in 0..20 {
            write(&house, 7);
            std::thread::sleep(Duration::from_millis(1));
        }
        replayed.join().unwrap()
    });
    house.wait(&forwarding);
    assert!(replayed.sent >= 10 && replayed.left == 0, "{replayed:?}");
    send_again(&house, &wide);
    assert_eq!(letters.count().unwrap().letters, 0);
    // They stand behind what came before them, so the order of their entities is not that of the log.
    let mut entries = entries(&redis);
    entries.sort_by_key(|entry| entry.sequence());
    assert_eq!(check(&house, &entries, 1), 0);
}

#[test]
fn a_full_file_stops_the_target_or_loses_records_by_count() {
    let (redis, house) = (RedisServer::start(), House::new());
    // Room for three.
    let settings = TargetSettings { dead_letters_bytes_max: 17_000, ..tight(&redis) };
    let forwarding = house.forward(settings.clone());
    write(&house, 100);
    let full = "record 35 is refused";
    until(full, || {
        forwarding.status.trouble().is_some_and(|it| it.contains(full) && it.contains("--replay-dead risk"))
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(forwarding.status.counts().dead, 3);
    assert!(forwarding.status.done() < 35, "it waits at that record");

    // There is room again.
    assert_eq!(send_again(&house, &target(&redis.url())).sent, 3);
    until("it goes on", || forwarding.status.counts().dead == 6);
    forwarding.thread.close();
    assert!(forwarding.status.done() < 65);
    assert_eq!(send_again(&house, &target(&redis.url())).sent, 3);

    let forwarding = house.forward(TargetSettings { on_dead_letters_full: WhenFull::Drop, ..settings });
    house.wait(&forwarding);
    let counts = forwarding.status.counts();
    assert_eq!((counts.dead, counts.dropped), (3, 1), "{counts:?}");
    assert_eq!(entries(&redis).len(), 96);
}

/// A crash between the records behind a refused one and the note of the place.
#[test]
fn a_refused_record_is_no_repetition_because_later_ones_were_taken() {
    let (redis, house) = (RedisServer::start(), House::new());
    let settings = tight(&redis);
    let forwarding = house.forward(settings.clone());
    write(&house, 50);
    house.wait(&forwarding);
    forwarding.thread.close();
    std::fs::remove_dir_all(house.data().join("forward")).unwrap();
    let forwarding = house.forward(settings.clone());
    house.wait(&forwarding);
    let counts = forwarding.status.counts();
    assert_eq!((counts.sent, counts.repeated, counts.dead), (0, 45, 5));
    assert_eq!(DeadLetters::of(house.data(), &settings.name).count().unwrap().letters, 5);
}
