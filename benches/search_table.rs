//! How long searches over a long audit log take, and what their index costs.
//!
//! `cargo bench --bench search_table -- 10000000` writes a log of so many decisions of some 1.1 KB into a directory under `TMPDIR`,
//! indexes it, searches, prints a table and removes it all. 10 million take 13 GB of disk and some minutes.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::audit::frame::Kind;
use tollgate::audit::open::{LogOptions, OpenedLog};
use tollgate::audit::receipt::LogId;
use tollgate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use tollgate::domain::time::{Clock as _, EventTime, SystemClock};
use tollgate::search::key::SearchKey;
use tollgate::search::log_search::LogSearch;
use tollgate::search::query::Query;

const RECORDS_DEFAULT: u64 = 1_000_000;
/// One customer in so many records.
const CUSTOMERS: u64 = 500_000;
const BEGIN_MS: i64 = 1_792_497_600_000;
const RUNS: usize = 21;

fn main() {
    let records =
        std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(RECORDS_DEFAULT);
    let directory = tempfile::tempdir().unwrap();
    let (log, parts) = (directory.path().join("log"), directory.path().join("search"));
    let took = write(&log, records);
    let size = bytes(&log);
    println!(
        "log       {records} decisions, {:.2} GB, written in {:.1} s",
        gigabytes(size),
        took.as_secs_f64()
    );

    let begun = Instant::now();
    let open = || LogSearch::open(&log, &parts, Some(SearchKey::new([5; 32]))).unwrap();
    let made = open().build(&parts, |_| ControlFlow::Continue(())).unwrap();
    let took = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (rate, share) = (records as f64 / took, 100.0 * bytes(&parts) as f64 / size as f64);
    println!(
        "index     {made} parts, {:.2} GB ({share:.1} % of the log, {} bytes a record), made in {took:.1} s: {rate:.0} records/s",
        gigabytes(bytes(&parts)),
        bytes(&parts) / records
    );

    println!("\nfirst page of 50, opening everything anew as the command line does, {RUNS} runs each");
    println!("{:<52} {:>6} {:>11} {:>11}", "search", "found", "median", "longest");
    let rare = format!("rare_{}", records / 100);
    for filters in [
        &[("customer", "c_4711")][..],
        &[("customer", &rare)],
        &[("customer", "nobody")],
        &[("customer", "c_4711"), ("until", "2026-10-20T12:30:00Z")],
        &[("card", "fp_17"), ("outcome", "BLOCK")],
        &[("merchant", "m_12"), ("outcome", "REVIEW"), ("score_min", "0.95")],
        &[("rule", "rule-7"), ("reason", "velocity_7")],
        &[("score_min", "0.9999")],
        &[("outcome", "CHALLENGE"), ("degraded", "true")],
        &[("transaction_id", "pay_77")],
        &[],
    ] {
        let mut query = Query::default();
        for (name, value) in filters {
            query.set(name, value, SystemClock.now()).unwrap();
        }
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..RUNS {
            let begun = Instant::now();
            let search = open();
            let page = search.searcher.search(&search.stretches, &query, |_| ControlFlow::Continue(()));
            found = page.unwrap().hits.len();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let what: Vec<String> = filters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("{:<52} {found:>6} {:>11.2?} {:>11.2?}", what.join(" "), times[RUNS / 2], times[RUNS - 1]);
    }
}

fn write(log: &Path, records: u64) -> Duration {
    let begun = Instant::now();
    let now = EventTime::from_unix_millis(BEGIN_MS).unwrap();
    let opened = OpenedLog::open(log, LogId([7; 16]), now, LogOptions::default()).unwrap();
    let handle: LogHandle<()> = LogWriter::start(
        opened,
        WriterOptions::default(),
        Box::new(|group| drop(group)),
        Box::new(|group| drop(group)),
    )
    .unwrap();
    for sequence in 1..=records {
        let at = EventTime::from_unix_millis(BEGIN_MS + i64::try_from(sequence).unwrap()).unwrap();
        let ticket = loop {
            match handle.reserve() {
                Ok(ticket) => break ticket,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        drop(ticket.commit(Kind::Decision, at, body(sequence, records), ()));
    }
    handle.close(Duration::from_secs(60)).unwrap();
    begun.elapsed()
}

/// A number without a pattern for each sequence.
const fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn body(sequence: u64, records: u64) -> Vec<u8> {
    let random = mixed(sequence);
    let customer = if sequence == records / 100 {
        format!("rare_{sequence}")
    } else {
        format!("c_{}", random % CUSTOMERS)
    };
    #[expect(clippy::cast_precision_loss, reason = "seven digits are enough")]
    let score = (mixed(random) % 10_000_000) as f64 / 10_000_000.0;
    let outcome = match random % 100 {
        0..=91 => "APPROVE",
        92..=95 => "REVIEW",
        96 => "CHALLENGE",
        _ => "BLOCK",
    };
    let (rule, merchant) = (random % 20, random % 5_000);
    let degraded = random % 1_000 == 396;
    let features: Vec<String> = (0..24).map(|slot| (random >> slot & 0xff).to_string()).collect();
    format!(
        r#"{{"decision_id":"dec_{random:026X}","transaction_id":"pay_{sequence}","decision":"{outcome}","reason":"velocity_{rule}","reasons":[{{"code":"velocity_{rule}","source":"rule","rule":"rule-{rule}","message":"several attempts on one card in 5 minutes"}},{{"code":"customer.amount_zscore_30d","source":"model","value":1.25,"contribution":0.31}}],"score":{score},"risk_level":"low","challenge":null,"degraded":{degraded},"missing":[],"versions":{{"rules":"sha256:01","model":"sha256:02","features":"sha256:03"}},"idempotency_key":"pay_{sequence}","fingerprint":"{random:032x}","received_at_ms":{BEGIN_MS},"state_sequence":0,"transaction":{{"transaction_id":"pay_{sequence}","occurred_at":"2026-10-20T12:00:00.000Z","amount":{{"value":12999,"currency":"EUR"}},"channel":"ecommerce","customer":{{"id":"{customer}"}},"card":{{"fingerprint":"fp_{}","bin":"42424242","last4":"4242"}},"merchant":{{"id":"m_{merchant}","mcc":"5732","country":"DE"}},"device":{{"id":"d_{}","ip":"203.0.113.7"}}}},"enrichment":[],"features":[{}],"margin":-2.5,"hits":[{{"rule":"rule-{rule}"}}],"policy":"sha256:04","latency_us":{{"total":212,"parse":4,"enrich":96,"windows":9,"model":12,"explain":31,"rules":3,"audit":0}}}}"#,
        random % 600_000,
        random % 700_000,
        features.join(",")
    )
    .into_bytes()
}

fn bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}
