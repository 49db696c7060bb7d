//! SIGTERM: what is on its way is answered, the log is closed whole, and the program ends well. And what the admin port says.

use crate::redis_server::RedisServer;
use crate::tollgate_process::{Installation, wait_until};
use crate::traffic::transaction;

const ON_THEIR_WAY: usize = 8;

/// The value of a gauge or counter without labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[test]
fn sigterm_drains() {
    let redis = RedisServer::start();
    let settings = "[decision]\ndeadline_ms = 10000\nenrich_timeout_ms = 10000\n";
    let installation = Installation::with_settings(settings).redis(&redis.url());
    let service = installation.serve();
    wait_until("a decision with Redis", || {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = service.connect().decide(&transaction(&format!("first_{number}")).to_string());
        (answer["degraded"] == false).then_some(())
    });
    let mut idle = service.connect();
    idle.decide(&transaction("idle").to_string());

    // A frozen Redis holds requests on their way for as long as the test needs.
    redis.pause();
    let answers = std::thread::scope(|scope| {
        let service_address = service.decision;
        let waiting: Vec<_> = (0..ON_THEIR_WAY)
            .map(|number| {
                scope.spawn(move || {
                    let body = transaction(&format!("on_its_way_{number}")).to_string();
                    crate::http::Connection::open(service_address).post("/v1/decisions", "", &body)
                })
            })
            .collect();
        wait_until("requests on their way", || {
            let metrics = service.admin("/metrics").body;
            (metric(&metrics, "tollgate_in_flight") == Some(ON_THEIR_WAY as f64)).then_some(())
        });
        service.terminate();
        service.wait_for_message("SIGTERM: draining");
        redis.resume();
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in answers {
        assert_eq!(answer.good()["decision"].as_str().map(str::is_empty), Some(false));
    }
    let late = idle.try_post("/v1/decisions", "", &transaction("late").to_string());
    assert!(late.as_ref().map_or(true, |answer| answer.status == 503), "nothing new is taken on: {late:?}");
    assert_eq!(service.ended().code(), Some(0));

    let report = installation.verify();
    let recorded = installation.decisions();
    let on_their_way =
        recorded.iter().filter(|it| it["transaction_id"].as_str().unwrap().starts_with("on_its_way_"));
    assert_eq!(on_their_way.count(), ON_THEIR_WAY);
    assert_eq!(report["by_kind"]["decision"].as_u64(), Some(recorded.len() as u64));
    assert!(recorded.iter().all(|it| it["transaction_id"] != "late"));
}

#[test]
fn the_admin_port_says_how_it_is() {
    let installation = Installation::new();
    let service = installation.serve();
    assert_eq!(service.admin("/healthz").status, 200);
    let ready = service.admin("/readyz").good();
    assert_eq!(ready["ready"], true, "{ready}");
    assert!(ready["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true), "{ready}");
    let mut connection = service.connect();
    for number in 0..3 {
        connection.decide(&transaction(&format!("pay_{number}")).to_string());
    }
    connection.post("/v1/decisions", "", "not json");

    let metrics = service.admin("/metrics").body;
    let mut types = std::collections::HashMap::new();
    let mut samples = 0;
    for line in metrics.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            match words[..] {
                ["EOF"] => assert!(metrics.ends_with("# EOF\n"), "the end stands at the end"),
                ["TYPE", name, kind] => {
                    assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
                    assert_eq!(types.insert(name, kind), None, "{name} is declared once");
                }
                ["HELP" | "UNIT", name, text] => {
                    assert!(name.starts_with("tollgate_") && !text.is_empty(), "{line}");
                }
                _ => panic!("{line:?} is no comment of the format"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} has no value"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(labels.ends_with('}'), "{line}");
        assert!(name.starts_with("tollgate_"), "{line}");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{line}"
        );
        let declared = ["", "_total", "_bucket", "_sum", "_count", "_info"];
        let family = declared.iter().find_map(|end| types.get(name.strip_suffix(end)?));
        assert!(family.is_some(), "{line}: no # TYPE before it");
        samples += 1;
    }
    assert!(samples > 30, "{metrics}");
    assert!(types.contains_key("tollgate_stage_seconds"), "{metrics}");
    let decided: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("tollgate_decisions_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(decided, 3.0, "{metrics}");
}
