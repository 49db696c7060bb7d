//! The generator against services whose latencies are known.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::domain::time::{Clock, SystemClock};

use crate::load::options::LoadOptions;
use crate::load::report::{Bottleneck, LoadReport};
use crate::load::run::run;

/// A service that answers every request after what `delay` says, given the time since its first client came.
fn service(status: &'static str, delay: impl Fn(Duration) -> Duration + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let delay = Arc::new(delay);
    std::thread::spawn(move || {
        let mut first_came = None;
        for stream in listener.incoming() {
            let started = *first_came.get_or_insert_with(|| SystemClock.instant());
            let delay = Arc::clone(&delay);
            std::thread::spawn(move || answer(stream.unwrap(), status, started, &*delay));
        }
    });
    address
}

fn answer(mut stream: TcpStream, status: &str, started: Instant, delay: &dyn Fn(Duration) -> Duration) {
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

async fn load(address: SocketAddr, change: impl FnOnce(&mut LoadOptions)) -> LoadReport {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut options = LoadOptions {
        target: format!("http://{address}").parse().unwrap(),
        rate: 500.0,
        duration: Duration::from_secs(2),
        warm_up: Duration::from_millis(200),
        connections: 16,
        input: None,
        seed: 1,
        deadline_ms: None,
        key: None,
        timeout: Duration::from_secs(2),
        json: true,
    };
    change(&mut options);
    run(options).await.unwrap()
}

#[tokio::test]
async fn every_request_is_sent_and_counted() {
    let report = load(service("200 OK", |_| Duration::from_millis(2)), |_| {}).await;
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
    let report =
        load(service("200 OK", delay), |options| options.duration = Duration::from_millis(2_500)).await;
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
    let report = load(service("200 OK", |_| Duration::from_millis(100)), |options| {
        options.connections = 4;
        options.timeout = Duration::from_millis(500);
        options.deadline_ms = Some(200);
    })
    .await;
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
    let refusing = load(service("503 Service Unavailable", |_| Duration::ZERO), |_| {}).await;
    assert_eq!((refusing.ok, refusing.errors_by_kind["status_503"]), (0, 1_000));

    // Few connections and a long limit: a machine that is busy with other things must not fail to connect in time.
    let silent = load(service("200 OK", |_| Duration::from_secs(5)), |options| {
        options.rate = 50.0;
        options.timeout = Duration::from_millis(800);
        options.duration = Duration::from_millis(400);
        options.connections = 40;
    })
    .await;
    assert_eq!((silent.ok, silent.errors_by_kind["timeout"]), (0, 20), "{silent}");
    assert!(silent.p50_us >= 800_000, "{silent}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = load(closed, |_| {}).await;
    assert_eq!(nobody.errors_by_kind["connect"], 1_000);
}
