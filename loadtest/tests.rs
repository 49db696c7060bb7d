//! The generator against services whose latencies are known.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{CommandFactory, FromArgMatches, Parser};
use parking_lot::Mutex;
use tollgate::domain::time::{Clock, SystemClock};

use crate::load::main::run;
use crate::load::options::LoadOptions;
use crate::load::picture;
use crate::load::report::Bottleneck;
use crate::load::run::Ran;

/// A service that answers every request after what `delay` says, given the time since its first client came. As the real one does, it refuses a
/// `transaction_id` that it knows with another body.
fn service(status: &'static str, delay: impl Fn(Duration) -> Duration + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (delay, known) = (Arc::new(delay), Arc::new(Mutex::new(HashMap::new())));
    std::thread::spawn(move || {
        let mut first_came = None;
        for stream in listener.incoming() {
            let started = *first_came.get_or_insert_with(|| SystemClock.instant());
            let (delay, known) = (Arc::clone(&delay), Arc::clone(&known));
            std::thread::spawn(move || answer(stream.unwrap(), status, started, &*delay, &known));
        }
    });
    address
}

/// The bodies by their first field.
type Known = Mutex<HashMap<String, String>>;

fn answer(
    mut stream: TcpStream,
    status: &str,
    started: Instant,
    delay: &dyn Fn(Duration) -> Duration,
    known: &Known,
) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        let text = String::from_utf8_lossy(&buffer[..filled]).into_owned();
        let end = text.find("\r\n\r\n").and_then(|end| {
            let length: usize = text.split("Content-Length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
            Some(end + 4 + length)
        });
        match end {
            Some(end) if filled >= end => {
                std::thread::sleep(delay(SystemClock.instant() - started));
                let sent = text.split("\r\n\r\n").nth(1).unwrap_or_default();
                let id = sent.split(',').next().unwrap_or_default();
                let first = known.lock().entry(id.to_owned()).or_insert_with(|| sent.to_owned()).clone();
                let status = if first == sent { status } else { "409 Conflict" };
                let body = r#"{"decision":"APPROVE","degraded":true}"#;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                filled = 0;
            }
            _ => match stream.read(&mut buffer[filled..]) {
                Ok(count) if count > 0 => filled += count,
                _ => return,
            },
        }
    }
}

/// Measurements do not measure each other.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: LoadOptions,
}

/// A run with these arguments beside those that all have.
async fn load(address: SocketAddr, arguments: &str) -> Ran {
    let _alone = ONE_AT_A_TIME.lock().await;
    let all =
        format!("load --target http://{address} --warm-up 200ms --connections 16 --timeout 2s {arguments}");
    // Of an argument that is given twice, the later one counts.
    let parsed = Arguments::command().args_override_self(true).try_get_matches_from(all.split_whitespace());
    run(Arguments::from_arg_matches(&parsed.unwrap()).unwrap().options).await.unwrap()
}

/// 500 a second for two seconds.
const USUAL: &str = "--rate 500 --duration 2s";

#[tokio::test]
async fn every_request_is_sent_and_counted() {
    let report = load(service("200 OK", |_| Duration::from_millis(2)), USUAL).await.report;
    assert_eq!((report.sent, report.ok, report.degraded, report.errors), (1_000, 1_000, 1_000, 0));
    assert!((450.0..505.0).contains(&report.rate_achieved), "{report}");
    assert!((2_000..20_000).contains(&report.p50_us), "{report}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    for field in [
        "rate_target",
        "rate_achieved",
        "sent",
        "ok",
        "errors",
        "degraded",
        "p50_us",
        "p99_us",
        "p999_us",
        "max_us",
        "generator_lag_p99_us",
    ] {
        assert!(json[field].is_number(), "{field}");
    }
}

#[tokio::test]
async fn a_stall_is_seen_by_every_request_that_was_due_in_it() {
    // Half a second in two and a half, once: a closed loop on 16 connections would see 16 slow requests in a thousand.
    let stall = Duration::from_millis(1_500)..Duration::from_millis(2_000);
    let delay =
        move |since: Duration| if stall.contains(&since) { stall.end - since } else { Duration::ZERO };
    let report = load(service("200 OK", delay), "--rate 500 --duration 2500ms").await.report;
    assert_eq!(report.sent, 1_250);
    // 20 % of the requests were due while it stalled: their latencies are spread evenly from 0 to 500 ms.
    assert!(report.p50_us < 50_000, "{report}");
    assert!((150_000..400_000).contains(&report.p90_us), "{report}");
    assert!((400_000..700_000).contains(&report.p99_us), "{report}");
    assert!(report.max_us >= 450_000, "{report}");
    assert!(report.exchange_p50_us < 50_000, "{report}");
    assert_eq!(report.bottleneck, Bottleneck::Service);
}

#[tokio::test]
async fn a_service_that_is_too_slow_is_named_and_nothing_is_left_out() {
    let report = load(
        service("200 OK", |_| Duration::from_millis(100)),
        &format!("{USUAL} --connections 4 --timeout 500ms --deadline-ms 200"),
    )
    .await
    .report;
    // 4 connections at 10 requests a second each.
    assert!(report.rate_achieved < 60.0, "{report}");
    assert_eq!(report.sent + report.errors_by_kind["not_sent"], 1_000, "{report}");
    assert_eq!(report.ok + report.errors, 1_000, "{report}");
    assert!(report.p50_us > 500_000 && report.exchange_p50_us < 200_000, "{report}");
    assert!(report.goodput < 60.0, "{report}");
    assert_eq!(report.bottleneck, Bottleneck::Service);
}

#[tokio::test]
async fn errors_are_counted_by_kind() {
    let refusing = load(service("503 Service Unavailable", |_| Duration::ZERO), USUAL).await.report;
    assert_eq!((refusing.ok, refusing.errors_by_kind["status_503"]), (0, 1_000));

    // Few connections and a long limit: a machine that is busy with other things must not fail to connect in time.
    let few = "--rate 50 --timeout 800ms --duration 400ms --connections 40";
    let silent = load(service("200 OK", |_| Duration::from_secs(5)), few).await.report;
    assert_eq!((silent.ok, silent.errors_by_kind["timeout"]), (0, 20), "{silent}");
    assert!(silent.p50_us >= 800_000, "{silent}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = load(closed, USUAL).await.report;
    assert_eq!(nobody.errors_by_kind["connect"], 1_000);
}

#[tokio::test]
async fn random_arrivals_with_duplicates_and_bursts() {
    let mixed = "--rate 500 --duration 2s --arrivals poisson --duplicates 10 --bursts 20";
    let report = load(service("200 OK", |_| Duration::ZERO), mixed).await.report;
    assert!((850..1_150).contains(&report.sent) && report.sent == report.ok, "{report}");
    assert!((50..160).contains(&report.duplicates) && report.bursts >= 40, "{report}");
}

#[tokio::test]
async fn a_file_is_sent_as_it_was_but_faster() {
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    writeln!(file, "transaction_id,occurred_at,amount.value,amount.currency").unwrap();
    for minute in 0..60 {
        writeln!(file, "t_{minute},2026-10-20T12:{minute:02}:00Z,500,EUR").unwrap();
    }
    let arguments = format!("--warm-up 0s --input {} --speed 3600", file.path().display());
    let started = SystemClock.instant();
    let report = load(service("200 OK", |_| Duration::ZERO), &arguments).await.report;
    let took = SystemClock.instant() - started;
    assert_eq!((report.sent, report.ok, report.rate_target), (60, 60, None), "{report}");
    // 59 minutes at 3,600 times real time.
    assert!((Duration::from_millis(980)..Duration::from_secs(3)).contains(&took), "{took:?}");

    writeln!(file, "t_60,yesterday,500,EUR").unwrap();
    let all = format!("load --target http://{} {arguments}", service("200 OK", |_| Duration::ZERO));
    let wrong = run(Arguments::parse_from(all.split_whitespace()).options).await.unwrap_err();
    assert!(format!("{wrong:#}").contains("row 61"), "{wrong:#}");
}

#[tokio::test]
async fn the_highest_rate_that_is_sustained_is_found() {
    // 8 connections, each at most one request every 10 ms and a little: somewhat below 800 a second.
    let slow = service("200 OK", |_| Duration::from_millis(10));
    let report = load(slow, "--rate max --duration 600ms --warm-up 100ms --connections 8").await.report;
    assert!(report.steps.iter().any(|step| step.sustained && step.rate > 500.0), "{report}");
    let rate = report.rate_target.unwrap();
    assert!((300.0..=800.0).contains(&rate), "{report}");
    assert!(
        report.steps.iter().any(|step| step.sustained) && report.steps.iter().any(|step| !step.sustained)
    );
    assert!(report.steps.iter().all(|step| !step.sustained || step.rate <= rate), "{report}");
}

#[tokio::test]
async fn pictures_and_logs_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let (page, log) = (directory.path().join("load.html"), directory.path().join("load.hlog"));
    let arguments = format!("--rate 200 --duration 500ms --histogram-log {}", log.display());
    let ran = load(service("200 OK", |_| Duration::from_millis(1)), &arguments).await;
    picture::write(&page, &ran).unwrap();
    let text = std::fs::read_to_string(page).unwrap();
    for part in ["<svg", "90 %", "from when it was due", "p99"] {
        assert!(text.contains(part), "{part} is not in the page");
    }
    assert!(std::fs::read_to_string(log).unwrap().contains("Tag=lag,"));
}
