//! The archive of a living service: its log's oldest segments leave the disk, and nothing else is lost; and archiving that is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tollgate::audit::segment::{list_segments, segment_path};

use crate::reload::{Rules, own_rule};
use crate::search::indexed;
use crate::tollgate_process::{Installation, PATIENT, Service, root, run, run_to_end, wait_until};
use crate::traffic::{Event, Traffic, transaction};

/// Small segments, frequent snapshots and checkpoints, few remembered answers, so that segments may go soon.
const SETTINGS: &str =
    "[audit]\nsegment_mib = 1\n[audit.checkpoints]\ninterval_s = 1\n[state]\nsnapshot_interval_s = 1\n";

fn installation(archive: &str) -> Installation {
    let decision = "idempotency_keys_max = 1000\n";
    Installation::with_settings(&format!("{PATIENT}{decision}{SETTINGS}[archive]\n{archive}"))
}

fn log(installation: &Installation) -> PathBuf {
    installation.data().join("log")
}

fn oldest(installation: &Installation) -> u64 {
    list_segments(&log(installation)).unwrap()[0]
}

fn send(service: &Service, events: &[Event]) -> Vec<Value> {
    let mut connection = service.connect();
    events.iter().map(|event| event.send(&mut connection)).collect()
}

/// `tollgate archive …` with the installation's settings and data.
fn archive(installation: &Installation, command: &str, more: &[&str]) -> Value {
    let (config, data) = (installation.path().join("tollgate.toml"), installation.data());
    let own = ["--json", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    serde_json::from_str(&run("archive", [&[command], &own[..], more].concat())).unwrap()
}

/// The bytes of every segment but the last, whose end no other one says.
fn closed_segments(log: &Path) -> Vec<(u64, Vec<u8>)> {
    let segments = list_segments(log).unwrap();
    let closed = &segments[..segments.len().saturating_sub(1)];
    closed.iter().map(|it| (*it, std::fs::read(segment_path(log, *it)).unwrap())).collect()
}

#[test]
fn the_oldest_segments_leave_and_the_service_goes_on_and_starts_again_without_them() {
    let installation = installation("enabled = true\nkeep_local_days = 0\n");
    let events = Traffic::simulate(&installation, 23, 200, 40).events(2_500);
    let (first, second) = events.split_at(events.len() / 2);
    let service = installation.serve();
    send(&service, first);
    wait_until("two snapshots", || (installation.snapshots().len() == 2).then_some(()));
    let answers = send(&service, second);
    wait_until("a segment to leave", || (oldest(&installation) > 1).then_some(()));
    let pruned = || service.metric("tollgate_archive_pruned_segments_total");
    wait_until("it to be counted", || (pruned() >= 1.0).then_some(()));
    // Not killed: a record of retention may be on its way, and `verify` would name one that was cut off.
    service.terminate();
    assert!(service.ended().success());

    // What is in the archive proves itself, and with what is still here it is the whole log.
    let report = archive(&installation, "verify", &[]);
    assert_eq!(
        (&report["problems_total"], &report["base"]["sequence"]),
        (&0.into(), &0.into()),
        "{report:#}"
    );
    let url = installation.data().join("archive");
    run("audit", ["verify", "--archive", url.to_str().unwrap()]);
    let left = installation.verify()["first_sequence"].as_u64().unwrap();
    assert!(left > 1);

    // What is gone from here is said to be, with what brings it back.
    let data = installation.data();
    let shown = run_to_end("audit", ["show", "1", "--data", data.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(!shown.status.success() && said.contains(&format!("the records 1 to {}", left - 1)), "{said}");
    assert!(said.contains("tollgate archive restore"), "{said}");

    // The start needs a snapshot now, and has one.
    let service = installation.serve();
    let said = service.heard("the state is rebuilt");
    assert!(said[0]["snapshot"].as_u64().unwrap() >= oldest(&installation), "{said:?}");
    let again = send(&service, &second[second.len() - 20..]);
    let ids =
        |answers: &[Value]| -> Vec<Value> { answers.iter().map(|it| it["decision_id"].clone()).collect() };
    assert_eq!(ids(&again), ids(&answers[answers.len() - 20..]), "answered requests are still known");
    service.terminate();
    assert!(service.ended().success());

    // Without one it says what to do.
    std::fs::remove_dir_all(installation.data().join("state")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .current_dir(root())
        .arg("serve")
        .args(installation.policy())
        .arg("--data")
        .arg(installation.data());
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let refused = command.output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && errors.contains("tollgate archive restore"), "{errors}");
    let data = installation.data();
    let restored = archive(&installation, "restore", &["--to", data.to_str().unwrap()]);
    assert!(restored["segments"].as_u64().unwrap() >= 1, "{restored:#}");
    let report = installation.verify();
    assert_eq!(report["first_sequence"], 1);
    // What had left is in the log, from the beginning on and without a gap.
    let mut next = 1;
    for record in installation.records().iter().filter(|record| record["kind"] == "retention") {
        let body = &record["body"];
        assert_eq!((&body["place"], &body["rule"]), (&"log".into(), &"archive.keep_local_days".into()));
        assert!(body["first_sequence"].as_u64().unwrap() <= next, "{body:#}");
        next = body["last_sequence"].as_u64().unwrap() + 1;
        assert!(record["sequence"].as_u64().unwrap() >= next, "recorded after what it names: {record:#}");
    }
    assert!(next >= left, "records 1 to {left} had left");
    let service = installation.serve();
    let said = service.heard("the state is rebuilt");
    assert_eq!((&said[0]["snapshot"], &said[0]["records"]), (&Value::Null, &report["records"]), "{said:?}");
}

#[test]
fn an_open_review_holds_its_segment_until_there_is_a_verdict() {
    let rules = Rules::new();
    rules.write(&own_rule("look_at_it").replace("then: BLOCK", "then: REVIEW"));
    let installation = installation("enabled = true\nkeep_local_days = 0\nhold_open_reviews_days = 30\n")
        .rules(&rules.path());
    let events = Traffic::simulate(&installation, 31, 200, 40).events(2_600);
    let (first, second, third) = (&events[..900], &events[900..1_800], &events[1_800..]);
    let service = installation.serve();
    let mut payment = transaction("pay_open");
    payment["merchant"]["id"] = "m_own".into();
    let decided = service.connect().decide(&payment.to_string());
    assert_eq!(decided["decision"], "REVIEW", "{decided:#}");
    send(&service, first);
    wait_until("two snapshots", || (installation.snapshots().len() == 2).then_some(()));
    send(&service, second);
    loop {
        let said = service.wait_for_message("the oldest closed segment of the log");
        if said["reason"].as_str().unwrap().contains("the oldest open review") {
            break;
        }
    }
    service.kill();
    assert_eq!(oldest(&installation), 1);

    let service = installation.serve();
    indexed(&service);
    let queue = || service.admin("/v1/reviews?merchant=m_own").good()["reviews"].clone();
    assert_eq!(queue()[0]["transaction_id"], "pay_open", "{:#}", queue());
    let verdict = serde_json::json!({"verdict": "legitimate", "note": "ticket 1"}).to_string();
    let path = format!("/v1/reviews/{}", decided["decision_id"].as_str().unwrap());
    assert_eq!(service.connect_admin().post(&path, "", &verdict).status, 201);
    // The shipped rules ask for some, too.
    wait_until("an empty queue", || {
        let page = service.admin("/v1/reviews?limit=200").good();
        for open in page["reviews"].as_array().unwrap() {
            let path = format!("/v1/reviews/{}", open["decision_id"].as_str().unwrap());
            service.connect_admin().post(&path, "", &verdict);
        }
        indexed(&service);
        (page["open"] == 0).then_some(())
    });
    send(&service, third);
    wait_until("a segment to leave", || (oldest(&installation) > 1).then_some(()));
    assert_eq!(service.metric("tollgate_reviews_forgotten_total"), 0.0);
}

#[test]
fn killed_at_any_moment_archiving_loses_nothing_and_leaves_nothing_behind() {
    let installation = installation("compact_file_mib = 1\n");
    let events = Traffic::simulate(&installation, 29, 150, 40).events(1_500);
    let service = installation.serve();
    send(&service, &events);
    service.kill();
    let expected = closed_segments(&log(&installation));
    assert!(expected.len() >= 5, "{} segments", expected.len());

    let config = installation.path().join("tollgate.toml");
    let start = |command: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        program.current_dir(root()).args([
            "archive",
            command,
            "--config",
            config.to_str().unwrap(),
            "--data",
        ]);
        program.arg(installation.data()).stdout(Stdio::null()).spawn().unwrap()
    };
    // Each round gets a little further than the one before; rounds that come to their end begin the archive anew.
    let (mut kills, mut ends) = (0, 0);
    let archived = installation.data().join("archive");
    for round in 0..60_u64 {
        let mut child = start(if round % 5 == 4 { "compact" } else { "run" });
        std::thread::sleep(Duration::from_millis(15 + (round * 37) % 400));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            ends += 1;
            let _ = std::fs::remove_dir_all(archived.join("records"));
            let _ = std::fs::remove_dir_all(archived.join("manifest"));
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        // Whatever the manifest says is there is there, whole, at any time.
        if round % 6 == 0 && archived.join("manifest").exists() {
            assert_eq!(archive(&installation, "verify", &[])["problems_total"], 0);
        }
    }
    assert!(kills >= 10, "{kills} kills, {ends} ends");
    archive(&installation, "run", &[]);
    let status = archive(&installation, "status", &[]);
    assert_eq!(
        (&status["waiting_segments"], &status["pending"], &status["retired"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_eq!(archive(&installation, "verify", &[])["segments"], expected.len());
    let there = std::fs::read_dir(archived.join("records"))
        .unwrap()
        .flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap());
    assert_eq!(
        there.count() as u64,
        status["files"].as_u64().unwrap(),
        "nothing but what the manifest names"
    );
    assert_eq!(std::fs::read_dir(archived.join("scratch")).unwrap().count(), 0);
    let elsewhere = tempfile::tempdir().unwrap();
    archive(&installation, "restore", &["--to", elsewhere.path().to_str().unwrap()]);
    let restored: Vec<_> = list_segments(&elsewhere.path().join("log")).unwrap();
    let bytes = |it: &u64| (*it, std::fs::read(segment_path(&elsewhere.path().join("log"), *it)).unwrap());
    assert!(restored.iter().map(bytes).eq(expected), "byte for byte");
}
