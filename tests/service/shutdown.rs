//! SIGTERM: what is on its way is answered, the log is closed whole, and the program ends well. And what the admin port says.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::http::Connection;
use crate::tollgate_process::{Installation, wait_until};
use crate::traffic::transaction;

const CLIENTS: usize = 8;
const ANSWERS_BEFORE_SIGTERM: usize = 200;

#[test]
fn sigterm_drains() {
    let installation = Installation::new();
    let service = installation.serve();
    let address = service.decision;
    let answered: Mutex<BTreeSet<String>> = Mutex::default();
    let count = || answered.lock().unwrap().len();
    let mut idle = service.connect();
    std::thread::scope(|scope| {
        let client = |client: usize| {
            let answered = &answered;
            move || {
                let Ok(mut connection) = Connection::try_open(address) else { return };
                // Until the service says that it takes no more, or takes no more.
                for number in 0.. {
                    let id = format!("pay_{client}_{number}");
                    let body = transaction(&id).to_string();
                    match connection.try_post("/v1/decisions", "", &body) {
                        Ok(answer) if answer.status == 200 => answered.lock().unwrap().insert(id),
                        Ok(answer) => {
                            let problem = answer.problem().0;
                            assert!(["draining", "not-ready"].contains(&problem.as_str()), "{answer:?}");
                            assert!(answer.header("retry-after").is_some(), "{answer:?}");
                            return;
                        }
                        Err(_) => return,
                    };
                }
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(client(number))).collect();
        wait_until("answers under load", || (count() >= ANSWERS_BEFORE_SIGTERM).then_some(()));
        service.terminate();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let late = idle.try_post("/v1/decisions", "", &transaction("late").to_string());
    assert!(late.as_ref().map_or(true, |answer| answer.status == 503), "nothing new is taken on: {late:?}");
    service.wait_for_message("drained and closed");
    assert_eq!(service.ended().code(), Some(0));

    // Whatever was decided was answered, and whatever was answered is in the log.
    let recorded: BTreeSet<String> = installation
        .decisions()
        .iter()
        .map(|decision| decision["transaction_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(recorded, answered.into_inner().unwrap());
    assert_eq!(installation.verify()["by_kind"]["decision"].as_u64(), Some(recorded.len() as u64));
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
                    assert!(["counter", "gauge", "histogram", "info", "summary"].contains(&kind), "{line}");
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
    let slowest = "tollgate_stage_quantile_seconds{stage=\"total\",quantile=\"0.999\"} ";
    let slowest = metrics.lines().find_map(|line| line.strip_prefix(slowest)).expect(&metrics);
    assert!((1e-6..10.0).contains(&slowest.parse::<f64>().unwrap()), "{slowest}");
    let decided: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("tollgate_decisions_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(decided, 3.0, "{metrics}");
}
