//! Which layout in Redis: a hash per profile, or one packed value. Prints the ratios that `src/enrich/redis.rs` cites:
//!
//! ```text
//! cargo test --release --locked --test enrich layout:: -- --ignored --nocapture
//! ```

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tollgate::domain::time::{Clock as _, SystemClock};

use crate::redis_server::RedisServer;

const ROUNDS: usize = 9;
const CUSTOMERS: usize = 20_000;
/// Transactions of one round, and how many are on their way at once.
const TRANSACTIONS: usize = 20_000;
const AT_ONCE: usize = 32;
/// As the shipped catalogue asks: entity, and the fields that are asked of it.
const ENTITIES: [(&str, &[&str]); 5] = [
    ("customer", &["lifetime_orders", "chargebacks", "last_country"]),
    ("card", &["chargebacks"]),
    ("device", &["risk_score"]),
    ("merchant", &["chargeback_rate"]),
    ("ip", &["score", "country"]),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// One `HMGET` per profile, pipelined.
    Hashes,
    /// One `MGET` of packed values.
    Packed,
}

fn questions(layout: Layout, number: usize) -> Pipeline {
    let mut pipeline = Pipeline::new();
    let key = |entity: &str| format!("{layout:?}:{entity}:x_{number}");
    match layout {
        Layout::Hashes => {
            for (entity, fields) in ENTITIES {
                pipeline.cmd("HMGET").arg(key(entity)).arg(fields);
            }
        }
        Layout::Packed => {
            pipeline.cmd("MGET").arg(ENTITIES.map(|(entity, _)| key(entity)).as_slice());
        }
    }
    pipeline
}

async fn fill(connection: &mut MultiplexedConnection) {
    for number in 0..CUSTOMERS {
        let mut pipeline = Pipeline::new();
        for (entity, fields) in ENTITIES {
            let values: Vec<(&str, String)> =
                fields.iter().map(|field| (*field, format!("{}", number % 977))).collect();
            pipeline.cmd("HSET").arg(format!("Hashes:{entity}:x_{number}")).arg(&values);
            // As the embedded store packs a row: lengths, names, values.
            let packed: Vec<u8> = values
                .iter()
                .flat_map(|(name, value)| {
                    let mut field = vec![name.len() as u8];
                    field.extend_from_slice(name.as_bytes());
                    field.extend_from_slice(&(value.len() as u16).to_le_bytes());
                    field.extend_from_slice(value.as_bytes());
                    field
                })
                .collect();
            pipeline.cmd("SET").arg(format!("Packed:{entity}:x_{number}")).arg(packed);
        }
        pipeline.exec_async(connection).await.unwrap();
    }
}

/// CPU that the server has used, in seconds.
fn server_cpu_s(server: &RedisServer) -> f64 {
    let info = server.command(&["INFO", "cpu"]);
    let value = |name: &str| -> f64 {
        info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    value("used_cpu_sys_main_thread:") + value("used_cpu_user_main_thread:")
}

async fn round(connection: &MultiplexedConnection, layout: Layout, seed: usize) -> Duration {
    let begin = SystemClock.instant();
    let workers = (0..AT_ONCE).map(|worker| {
        let mut connection = connection.clone();
        tokio::spawn(async move {
            for step in 0..TRANSACTIONS / AT_ONCE {
                let number = (seed + worker * 7_919 + step * 104_729) % CUSTOMERS;
                let pipeline = questions(layout, number);
                let replies = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await.unwrap();
                assert!(matches!(&replies[0], Value::Array(values) if !values.is_empty()));
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    begin.elapsed()
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

#[tokio::test]
#[ignore = "a measurement: see the top of the file"]
async fn hashes_against_packed_values() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    fill(&mut connection).await;
    let (mut time_ratios, mut cpu_ratios, mut us) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for number in 0..ROUNDS {
        // In turns, and each first every other time.
        let order =
            if number % 2 == 0 { [Layout::Hashes, Layout::Packed] } else { [Layout::Packed, Layout::Hashes] };
        let mut seen = [(0.0, 0.0); 2];
        for layout in order {
            let cpu_before = server_cpu_s(&server);
            let took = round(&connection, layout, number * 31).await;
            let cpu_us = (server_cpu_s(&server) - cpu_before) * 1e6 / TRANSACTIONS as f64;
            let place = usize::from(layout == Layout::Packed);
            seen[place] = (took.as_secs_f64(), cpu_us);
            us[place].push(cpu_us);
        }
        time_ratios.push(seen[0].0 / seen[1].0);
        cpu_ratios.push(seen[0].1 / seen[1].1);
    }
    let memory = |layout: Layout| -> u64 {
        ENTITIES
            .iter()
            .map(|(entity, _)| {
                let answer = server.command(&["MEMORY", "USAGE", &format!("{layout:?}:{entity}:x_7")]);
                answer.trim_start_matches(':').parse::<u64>().unwrap()
            })
            .sum()
    };
    let (time, cpu) = (median(time_ratios), median(cpu_ratios));
    println!("hashes : packed, medians of {ROUNDS} rounds in turns (least, most)");
    println!(
        "time of {TRANSACTIONS} transactions, {AT_ONCE} at once: {:.2} ({:.2}..{:.2})",
        time.0, time.1, time.2
    );
    println!("CPU of the server per transaction: {:.2} ({:.2}..{:.2})", cpu.0, cpu.1, cpu.2);
    println!(
        "CPU of the server per transaction: hashes {:.1} us, packed {:.1} us",
        median(us[0].clone()).0,
        median(us[1].clone()).0
    );
    println!(
        "memory of one customer's five profiles: hashes {} B, packed {} B",
        memory(Layout::Hashes),
        memory(Layout::Packed)
    );
}
