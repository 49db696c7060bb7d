//! How fast the log is forwarded. Alone, and in a release build:
//! `cargo test --release --test forward throughput -- --ignored --nocapture`

use std::time::Instant;

use tollgate::audit::frame::Kind;

use crate::house::{House, check, decision, entries, stream_of, target};
use crate::redis_server::RedisServer;

const RECORDS: u64 = 60_000;
const ROUNDS: usize = 7;

/// Forwards a log that is there already; records per second, from the start of the thread until the target is done.
fn measure(house: &House, redis: &RedisServer) -> f64 {
    redis.command(&["FLUSHALL"]);
    let _ = std::fs::remove_dir_all(house.data().join("forward"));
    let mut settings = target(&redis.url());
    settings.batch_records_max = 512;
    stream_of(&mut settings).length_max = 100_000;
    let begun = Instant::now();
    let forwarding = house.forward(settings);
    house.wait(&forwarding);
    let took = begun.elapsed();
    // So that it notes no place in the next round.
    forwarding.thread.close();
    RECORDS as f64 / took.as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn records_a_second() {
    let servers = [
        ("without AOF", RedisServer::start()),
        ("AOF everysec", RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"])),
    ];
    for (bytes, count) in [(1_100, RECORDS), (6_400, RECORDS)] {
        let house = House::new();
        house.write(Kind::Decision, (0..count).map(|number| decision(number, bytes - 110)));
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for ((_, redis), rates) in servers.iter().zip(&mut rates) {
                rates.push(measure(&house, redis));
            }
        }
        for ((name, redis), mut rates) in servers.iter().zip(rates) {
            assert_eq!(check(&house, &entries(redis), 1), 0);
            rates.sort_by(f64::total_cmp);
            let (least, median, most) = (rates[0], rates[ROUNDS / 2], rates[ROUNDS - 1]);
            println!(
                "{bytes} bytes, {name}: {median:.0} records/s ({least:.0} to {most:.0} in {ROUNDS} rounds)"
            );
        }
    }
}
