//! A whole log decided again from the policies that were archived beside it, and its windows counted anew: what a service did through
//! restarts, reloads, lists, labels and outages is found to the bit, and what somebody changed is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::audit::bodies::{Bodies, Opened};
use tollgate::audit::frame::Kind;
use tollgate::audit::open::{LogOptions, OpenedLog};
use tollgate::audit::reader::LogReader;
use tollgate::audit::writer::{LogHandle, LogWriter, WriterOptions};

use crate::challengers::model_of_trees;
use crate::reload::{Rules, copy, own_rule};
use crate::tollgate_process::{Installation, PATIENT, Service, root, run_to_end, wait_until};
use crate::traffic::{Event, Traffic, transaction};

/// Segments of 1 MiB, so that there are several.
const SEGMENTS: &str = "[audit]\nsegment_mib = 1\n";
const CONNECTIONS: usize = 4;

/// `audit redecide --json` with more flags: what it printed, and whether it found all the same.
fn redecide(data: &Path, more: &[&str]) -> (Value, Output) {
    let mut arguments = vec!["redecide", "--json", "--data", data.to_str().unwrap()];
    arguments.extend(more);
    let output = run_to_end("audit", arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (report, output)
}

/// The report of a log that is the same throughout.
fn same(data: &Path, more: &[&str]) -> Value {
    let (report, output) = redecide(data, more);
    assert!(output.status.success(), "{report:#}\n{}", String::from_utf8_lossy(&output.stderr));
    let decisions = &report["decisions"];
    assert_eq!(decisions["same"], decisions["seen"], "{report:#}");
    report
}

fn send_all(service: &Service, events: &[Event]) {
    let mut connection = service.connect();
    for event in events {
        event.send(&mut connection);
    }
}

/// Several clients at once; each takes the next event, so that decisions overtake each other.
fn send_together(service: &Service, events: &[Event]) {
    let next = Mutex::new(events.iter());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = service.connect();
                loop {
                    let Some(event) = next.lock().unwrap().next() else { return };
                    event.send(&mut connection);
                }
            });
        }
    });
}

fn count(records: &[Value], kind: &str) -> u64 {
    records.iter().filter(|record| record["kind"] == kind).count() as u64
}

/// A report without what differs between two runs.
fn lasting(mut report: Value) -> Value {
    for part in ["seconds", "threads"] {
        report.as_object_mut().unwrap().remove(part);
    }
    report
}

#[test]
fn a_day_with_reloads_lists_labels_challengers_and_restarts_is_decided_again_to_the_bit() {
    let rules = Rules::new();
    fs::write(rules.path().join("lists/blocked_cards.txt"), "fp_file\n").unwrap();
    let few = model_of_trees(40);
    let installation = Installation::with_settings(&format!("{PATIENT}{SEGMENTS}"))
        .rules(&rules.path())
        .challenger("few-trees", few.path());
    let events = Traffic::simulate(&installation, 41, 50, 20).events(700);
    let mut parts = events.chunks(events.len() / 5 + 1);
    let mut part = || parts.next().unwrap();

    let service = installation.serve();
    send_all(&service, part());
    let before = service.policy()["policy"].clone();
    rules.write(&own_rule("first"));
    wait_until("the new rules", || (service.policy()["policy"] != before).then_some(()));
    let note = r#"{"note": "a test"}"#;
    let put = |service: &Service, method: &str, card: &str| {
        let answer =
            service.connect_admin().request(method, &format!("/v1/lists/blocked_cards/{card}"), note);
        assert!(answer.status < 300, "{answer:?}");
    };
    put(&service, "PUT", "fp_a1");
    for (id, card) in [("by_list", "fp_a1"), ("by_file", "fp_file"), ("by_none", "fp_b")] {
        let mut body = transaction(id);
        body["card"]["fingerprint"] = json!(card);
        service.connect().decide(&body.to_string());
    }
    put(&service, "DELETE", "fp_a1");
    send_together(&service, part());
    service.kill();

    // A start reads all of the log; the list in the file grows meanwhile.
    fs::write(rules.path().join("lists/blocked_cards.txt"), "fp_file\nfp_more\n").unwrap();
    let service = installation.serve();
    send_together(&service, part());
    service.terminate();
    assert!(service.ended().success());

    // A start reads a snapshot. The first rules come back: they are archived once.
    fs::remove_file(rules.path().join("own.yaml")).unwrap();
    fs::write(rules.path().join("lists/blocked_cards.txt"), "fp_file\n").unwrap();
    let service = installation.serve();
    send_all(&service, part());
    assert_eq!(service.policy()["policy"], before);
    // A payment under a second idempotency key counts once.
    let again = transaction("by_none").to_string();
    service.connect().post("/v1/decisions", "Idempotency-Key: another\r\n", &again.replace("fp_a1", "fp_b"));
    send_together(&service, part());
    let archived = service.metric("tollgate_policy_archive_policies");
    assert!(service.metric("tollgate_policy_archive_bytes") > 100_000.0, "the model is in it");
    service.terminate();
    assert!(service.ended().success());

    let records = installation.records();
    let report = same(&installation.data(), &["--rebuild"]);
    assert_eq!(report["decisions"]["seen"], count(&records, "decision"), "{report:#}");
    assert_eq!(report["records"], records.len());
    assert_eq!(report["policies"].as_object().unwrap().len(), 3, "{report:#}");
    assert_eq!(archived, 3.0, "one of them twice");
    for (policy, of_policy) in report["policies"].as_object().unwrap() {
        assert_eq!(of_policy["from"], "archive", "{policy}: {of_policy}");
    }
    let scores = &report["challenger_scores"];
    let told = records.iter().filter(|record| record["kind"] == "challenger_scores");
    let told: usize = told.map(|record| record["body"]["decisions"].as_array().unwrap().len()).sum();
    assert_eq!((&scores["same"], &scores["seen"]), (&json!(told), &json!(told)), "{scores:#}");
    assert!(told > 600, "{told}");
    let rebuilt = &report["rebuilt"];
    assert_eq!(rebuilt["same"], report["decisions"]["seen"], "{rebuilt:#}");
    assert!(rebuilt["features"].as_u64().unwrap() > 700 * 100, "{rebuilt:#}");
    assert!(installation.verify()["segments"].as_u64().unwrap() > 3);

    // However many threads; and in parts.
    let one = same(&installation.data(), &["--rebuild", "--threads", "1"]);
    let three = same(&installation.data(), &["--rebuild", "--threads", "3"]);
    assert_eq!(lasting(one), lasting(three));
    let middle = (records.len() / 2).to_string();
    let after = (records.len() / 2 + 1).to_string();
    let seen = |flags: &[&str]| same(&installation.data(), flags)["decisions"]["seen"].as_u64().unwrap();
    let halves = seen(&["--to", &middle]) + seen(&["--from", &after]);
    assert_eq!(halves, count(&records, "decision"));
    let moment = records[records.len() / 2]["recorded_at"].as_str().unwrap();
    let halves = seen(&["--until", moment]) + seen(&["--since", moment, "--rebuild"]);
    assert_eq!(halves, count(&records, "decision"));

    // The archive alone is enough: nothing that the service was started with is there any more.
    drop((rules, few));
    same(&installation.data(), &["--rebuild"]);
}

#[test]
fn decisions_without_profiles_are_decided_again_as_they_were() {
    let settings =
        "[decision]\ndeadline_ms = 5000\nenrich_timeout_ms = 30\n[on_missing]\nenrich = \"REVIEW\"\n";
    let installation = Installation::with_settings(settings).redis("redis://127.0.0.1:1");
    let events = Traffic::simulate(&installation, 5, 20, 10).events(60);
    let service = installation.serve();
    send_all(&service, &events);
    service.kill();
    let degraded = installation.decisions().iter().filter(|decision| decision["degraded"] == true).count();
    assert_eq!(degraded, 60);
    same(&installation.data(), &["--rebuild"]);
}

/// A log of the same records in clear, but for what `change` makes of their bodies; every checksum and the chain are right.
fn forged(from: &Path, to: &Path, mut change: impl FnMut(Kind, u64, &mut Value)) {
    let mut reader = LogReader::from_sequence(&from.join("log"), 1).unwrap();
    fs::create_dir_all(to).unwrap();
    fs::copy(from.join("secret"), to.join("secret")).unwrap();
    copy(&from.join("policies"), &to.join("policies"));
    let bodies = Bodies::beside(&from.join("log")).unwrap();
    let mut handle: Option<LogHandle<()>> = None;
    while let Some(stored) = reader.next().unwrap() {
        let header = stored.header;
        let handle = handle.get_or_insert_with(|| {
            let log_id = LogReader::from_sequence(&from.join("log"), 1).unwrap().log_id();
            let opened =
                OpenedLog::open(&to.join("log"), log_id, header.recorded_at, LogOptions::default()).unwrap();
            LogWriter::start(
                opened,
                WriterOptions::default(),
                Box::new(|group| drop(group)),
                Box::new(|group| drop(group)),
            )
            .unwrap()
        });
        let plain = bodies.plain(&stored).and_then(Opened::whole).unwrap();
        let mut body: Value = serde_json::from_slice(&plain).unwrap();
        let before = body.clone();
        change(header.kind, header.sequence, &mut body);
        // What is not changed stays as it is written, with its order of fields.
        let bytes = if body == before { plain.to_vec() } else { ordered(&plain, &before, &body) };
        handle.reserve().unwrap().commit(header.kind, header.recorded_at, bytes, ()).wait_blocking().unwrap();
    }
    handle.unwrap().close(Duration::from_secs(20)).unwrap();
}

/// The body with the changed fields in their old places.
fn ordered(bytes: &[u8], before: &Value, after: &Value) -> Vec<u8> {
    let mut text = String::from_utf8(bytes.to_vec()).unwrap();
    for (name, old) in before.as_object().unwrap() {
        let new = &after[name];
        if new != old {
            // The versions have a text of the name of the vector.
            let bracket = if old.is_array() { "[" } else { "" };
            let at = text.find(&format!("\"{name}\":{bracket}")).unwrap() + name.len() + 3;
            let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
            let _ = values.next().unwrap().unwrap();
            let end = at + values.byte_offset();
            text.replace_range(at..end, &new.to_string());
        }
    }
    for (name, new) in after.as_object().unwrap() {
        if before.get(name).is_none() {
            text.truncate(text.len() - 1);
            text.push_str(&format!(",\"{name}\":{new}}}"));
        }
    }
    text.into_bytes()
}

#[test]
fn what_somebody_changed_is_named_though_every_checksum_is_right() {
    let rules = Rules::new();
    fs::write(rules.path().join("lists/blocked_cards.txt"), "fp_file\n").unwrap();
    let few = model_of_trees(10);
    let installation =
        Installation::with_settings(PATIENT).rules(&rules.path()).challenger("few", few.path());
    let events = Traffic::simulate(&installation, 9, 20, 10).events(80);
    let service = installation.serve();
    send_all(&service, &events);
    let put =
        service.connect_admin().request("PUT", "/v1/lists/blocked_cards/fp_a1", r#"{"note": "a test"}"#);
    assert_eq!(put.status, 201);
    service.connect().decide(&transaction("by_list").to_string());
    service.terminate();
    assert!(service.ended().success());
    let records = installation.records();
    let is_by_list =
        |record: &&Value| record["body"]["transaction_id"] == "by_list" && record["kind"] == "decision";
    let by_list = records.iter().find(is_by_list).unwrap();
    let names = installation.feature_names();
    let slot = names.iter().position(|name| name == "card.count_24h").unwrap();
    // What is changed, in which part of the report that is found, and as what.
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Value), &'a str, &'a str);
    let changes: [Change<'_>; 9] = [
        ("the outcome", &|body| body["decision"] = json!("APPROVE"), "decisions", "decision"),
        ("the score", &|body| body["score"] = json!(0.25), "decisions", "score"),
        ("a reason", &|body| body["reason"] = json!("nothing"), "decisions", "reason"),
        ("the hits", &|body| body["hits"] = json!([]), "decisions", "hits"),
        ("the list entry", &|body| body["listed"] = json!([]), "decisions", "decision"),
        ("the versions", &|body| body["versions"]["rules"] = json!("sha256:00"), "decisions", "versions"),
        ("who was meant", &|body| body["transaction_id"] = json!("another"), "decisions", "transaction id"),
        ("a window", &|body| body["features"][slot] = json!(77.0), "rebuilt", "features.card.count_24h"),
        ("the repetition", &|body| body["repeat"] = json!(true), "rebuilt", "repeat"),
    ];
    let sequence = by_list["sequence"].as_u64().unwrap();
    for (what, change, part, kind) in changes {
        let forgery = tempfile::tempdir().unwrap();
        let mut is_there = false;
        forged(&installation.data(), forgery.path(), |of, at, body| {
            if of == Kind::Decision && at == sequence {
                change(body);
                is_there = true;
            }
        });
        assert!(is_there);
        let (report, output) = redecide(forgery.path(), &["--rebuild"]);
        assert!(!output.status.success(), "{what}: {report:#}");
        let found = &report[part];
        let first = &found["first_difference"];
        assert_eq!(found["differences"][kind]["first_sequence"], sequence, "{what}: {report:#}");
        assert_eq!(found["different"], 1, "{what}: {report:#}");
        assert_eq!(first["sequence"], sequence, "{what}: {report:#}");
        assert_eq!(first["policy"], by_list["body"]["policy"], "{what}");
        assert!(!first["fields"].as_array().unwrap().is_empty(), "{what}: {report:#}");
    }

    // The score of a challenger.
    let forgery = tempfile::tempdir().unwrap();
    let mut changed = None;
    forged(&installation.data(), forgery.path(), |kind, sequence, body| {
        if kind == Kind::ChallengerScores && changed.is_none() {
            body["decisions"][0]["margins"][0] = json!(1.5);
            changed = Some(sequence);
        }
    });
    let (report, output) = redecide(forgery.path(), &[]);
    assert!(!output.status.success());
    assert_eq!(report["challenger_scores"]["first_difference"]["sequence"], changed.unwrap(), "{report:#}");
    assert_eq!(report["decisions"]["different"], 0);

    // A flipped byte is damage, and said to be.
    let segment = installation.data().join("log").join(first_segment(&installation));
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (report, output) = redecide(&installation.data(), &[]);
    assert!(!output.status.success());
    assert_eq!(report["damages"].as_array().unwrap().len(), 1, "{report:#}");
}

fn segments(installation: &Installation) -> Vec<String> {
    let entries = fs::read_dir(installation.data().join("log")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".log") && name.starts_with(|c: char| c.is_ascii_digit()));
    names.sort();
    names
}

fn first_segment(installation: &Installation) -> String {
    segments(installation).remove(0)
}

#[test]
fn a_log_that_is_older_than_the_archive_is_decided_by_what_is_given() {
    let installation = Installation::with_settings(PATIENT);
    let events = Traffic::simulate(&installation, 3, 20, 10).events(40);
    let service = installation.serve();
    send_all(&service, &events);
    service.kill();
    fs::remove_dir_all(installation.data().join("policies")).unwrap();
    let (report, output) = redecide(&installation.data(), &[]);
    assert!(!output.status.success(), "nothing was shown: {report:#}");
    let (why, count) = report["decisions"]["not_compared"].as_object().unwrap().iter().next().unwrap();
    assert!(why.contains("sha256:") && why.ends_with("it is not in the policy archive"), "{why}");
    assert_eq!(count["count"], 40);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not one of 40 decisions could be made again"), "{said}");

    let given = root().to_str().unwrap();
    let report = same(&installation.data(), &["--rebuild", "--policy", given]);
    let of_policy = report["policies"].as_object().unwrap().values().next().unwrap();
    assert_eq!(of_policy["from"], "given", "{report:#}");
    assert_eq!(report["rebuilt"]["same"], 40);

    // The same rules, model and features under other settings: by its parts, and said to be.
    let other = tempfile::tempdir().unwrap();
    copy(&root().join("rules"), &other.path().join("rules"));
    copy(&root().join("models"), &other.path().join("models"));
    fs::write(other.path().join("tollgate.toml"), "[on_missing]\nmodel = \"BLOCK\"\n").unwrap();
    let report = same(&installation.data(), &["--policy", other.path().to_str().unwrap()]);
    let of_policy = report["policies"].as_object().unwrap().values().next().unwrap();
    assert_eq!(of_policy["from"], "given_by_parts", "{report:#}");
}

#[test]
fn a_policy_that_cannot_be_archived_does_not_go_live() {
    let rules = Rules::new();
    let installation = Installation::with_settings(PATIENT).rules(&rules.path());
    let service = installation.serve();
    let before = service.policy()["policy"].clone();
    let (policies, aside) = (installation.data().join("policies"), installation.data().join("aside"));
    fs::rename(&policies, &aside).unwrap();
    fs::write(&policies, "in the way").unwrap();
    rules.write(&own_rule("first"));
    let refused =
        wait_until("the refusal", || Some(service.policy()["refused"]["errors"][0].as_str()?.to_owned()));
    assert!(refused.contains("the policy archive cannot be written"), "{refused}");
    assert!(refused.contains("does not go live"), "{refused}");
    assert_eq!(service.policy()["policy"], before);
    service.connect().decide(&transaction("decided_all_the_same").to_string());
    fs::remove_file(&policies).unwrap();
    fs::rename(&aside, &policies).unwrap();
    service.connect_admin().request("POST", "/v1/policy/reload", "");
    wait_until("the new rules", || (service.policy()["policy"] != before).then_some(()));
    service.connect().decide(&transaction("by_the_new_ones").to_string());
    service.terminate();
    assert!(service.ended().success());
    assert_eq!(same(&installation.data(), &["--rebuild"])["policies"].as_object().unwrap().len(), 2);

    // What the archive holds is not believed: each byte is checked.
    let blobs = policies.join("blobs");
    let list: Vec<PathBuf> = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
    for blob in list {
        let mut bytes = fs::read(&blob).unwrap();
        bytes.push(b' ');
        fs::write(blob, bytes).unwrap();
    }
    let (report, output) = redecide(&installation.data(), &[]);
    assert!(!output.status.success());
    let why = report["decisions"]["not_compared"].to_string();
    assert!(why.contains("that was stored; restore it from a backup"), "{why}");
    // The next start stores them again.
    let service = installation.serve();
    service.terminate();
    assert!(service.ended().success());
    let (report, _) = redecide(&installation.data(), &[]);
    let same = &report["decisions"]["same"];
    assert_eq!(same, 2, "the policy before has no file that the live one lacks: {report:#}");
}

#[test]
fn windows_are_counted_on_from_a_snapshot_where_the_oldest_segments_are_gone() {
    let settings = format!("{PATIENT}{SEGMENTS}[state]\nsnapshot_interval_s = 1\n");
    let installation = Installation::with_settings(&settings);
    let events = Traffic::simulate(&installation, 29, 60, 20).events(700);
    let (first, second) = events.split_at(events.len() / 2);
    let service = installation.serve();
    send_together(&service, first);
    let sequence = wait_until("a snapshot", || {
        let sequence = service.metric("tollgate_snapshot_sequence");
        (sequence > 300.0).then_some(sequence)
    });
    send_together(&service, second);
    // So that no later one takes its place: two are kept.
    service.kill();
    let snapshots = installation.snapshots();
    let oldest = snapshots.last().unwrap().file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let before: Vec<String> = segments(&installation);
    let first_of = |name: &String| name.split('.').next().unwrap().parse::<u64>().unwrap();
    let kept = before.iter().rposition(|name| first_of(name) <= oldest).unwrap();
    assert!(kept > 0, "{before:?} {oldest} {sequence}");
    for name in &before[..kept] {
        fs::remove_file(installation.data().join("log").join(name)).unwrap();
    }
    let report = same(&installation.data(), &["--rebuild"]);
    let rebuilt = &report["rebuilt"];
    assert_eq!(rebuilt["from_snapshot"], oldest, "{report:#}");
    assert_eq!(rebuilt["different"], 0, "{report:#}");
    let compared = rebuilt["same"].as_u64().unwrap();
    assert!(compared > 20, "{report:#}");

    // Without a snapshot nobody knows, and that is what is said.
    fs::remove_dir_all(installation.data().join("state")).unwrap();
    let (_, output) = redecide(&installation.data(), &["--rebuild"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("without a snapshot of the state"), "{said}");
}
