//! Checkpoints and proofs of a running service: signed, recorded, served, and checked by somebody who has the public key and nothing else.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::tollgate_process::{Installation, PATIENT, root, run, wait_until};
use crate::traffic::transaction;

const ORIGIN: &str = "fraud.example.com/tollgate";

fn installation() -> Installation {
    let settings = format!("{PATIENT}[audit.checkpoints]\ninterval_s = 1\norigin = \"{ORIGIN}\"\n");
    Installation::with_settings(&settings)
}

fn audit(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    program.arg("audit").args(arguments).current_dir(root()).output().unwrap()
}

/// What a refused command says.
fn refused(arguments: &[&str]) -> String {
    let output = audit(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn size_of(note: &str) -> u64 {
    note.lines().nth(1).unwrap().parse().unwrap()
}

fn kinds(installation: &Installation) -> Vec<Value> {
    installation.records().into_iter().map(|record| record["kind"].clone()).collect()
}

#[test]
fn a_decision_is_proven_to_somebody_who_has_the_public_key_and_nothing_else() {
    let installation = installation();
    let service = installation.serve();
    let mut client = service.connect();
    let audits: Vec<Value> = (0..20)
        .map(|number| client.decide(&transaction(&format!("pay_{number}")).to_string())["audit"].take())
        .collect();
    let last = audits.last().unwrap()["sequence"].as_u64().unwrap();
    let first_note = wait_until("a checkpoint of all of them", || {
        let answer = service.admin("/v1/audit/checkpoint");
        (answer.status == 200 && size_of(&answer.body) >= last).then_some(answer.body)
    });
    assert!(first_note.starts_with(&format!("{ORIGIN}\n")), "{first_note}");

    let data = installation.data();
    let config = installation.path().join("tollgate.toml");
    let key = run("audit", ["checkpoint", "--public-key", "--data", text(&data), "--config", text(&config)]);
    let key = key.trim();
    assert!(key.starts_with(&format!("{ORIGIN}+")), "{key}");
    let kept = tempfile::tempdir().unwrap();
    let file = |name: &str| kept.path().join(name);
    fs::write(file("old.checkpoint"), &first_note).unwrap();
    for sequence in [1, last] {
        let path = format!("/v1/audit/{sequence}/proof");
        let (whole, bare) = (service.admin(&path), service.admin(&format!("{path}?record=none")));
        assert_eq!((whole.status, bare.status), (200, 200), "{whole:?}");
        fs::write(file("whole"), whole.body).unwrap();
        fs::write(file(&format!("bare-{sequence}")), bare.body).unwrap();
    }
    for (path, status) in [
        ("/v1/audit/0/proof".to_owned(), 404),
        (format!("/v1/audit/{}/proof", last + 1_000), 404),
        ("/v1/audit/consistency/1".to_owned(), 200),
        ("/v1/audit/consistency/1000000".to_owned(), 404),
        ("/v1/audit/tile/0/001".to_owned(), 404),
        ("/v1/audit/tile/0/000.p/1".to_owned(), 200),
        ("/v1/audit/tile/entries/000.p/1".to_owned(), 200),
    ] {
        assert_eq!(service.admin(&path).status, status, "{path}");
    }
    let tile = service.admin(&format!("/v1/audit/tile/0/000.p/{last}"));
    assert_eq!(tile.header("content-length"), Some((32 * last).to_string().as_str()));
    assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
    assert_eq!(tile.header("cache-control"), Some("max-age=31536000, immutable"));
    let moments = service.admin("/v1/audit/checkpoint");
    assert_eq!(moments.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(moments.header("cache-control"), Some("max-age=5"));
    assert!(service.metric("tollgate_checkpoint_covered_records") >= last as f64);

    // More payments, and the end: the last checkpoint covers them.
    for number in 20..30 {
        client.decide(&transaction(&format!("pay_{number}")).to_string());
    }
    service.terminate();
    service.wait_for_message("drained and closed");
    service.ended();
    let newest = run("audit", ["checkpoint", "--data", text(&data)]);
    assert!(size_of(&newest) >= size_of(&first_note) + 10, "{newest}");
    let verified = audit(&[
        "verify",
        "--json",
        "--data",
        text(&data),
        "--key",
        key,
        "--checkpoint",
        text(&file("old.checkpoint")),
    ]);
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(verified.status.success(), "{report:#}");
    let tree = &report["tree"];
    assert!(tree["checkpoints"].as_u64() >= Some(2), "{tree}");
    assert_eq!(
        (&tree["checkpoints_signed"], &tree["checkpoints_agreeing"]),
        (&tree["checkpoints"], &tree["checkpoints"])
    );
    assert_eq!(
        (tree["known_agreeing"].as_u64(), tree["covered"].as_u64()),
        (Some(2), Some(size_of(&newest)))
    );
    let since = run("audit", ["prove", "--since", text(&file("old.checkpoint")), "--data", text(&data)]);
    fs::write(file("since"), since).unwrap();
    let older =
        run("audit", ["prove", "3", "--checkpoint", text(&file("old.checkpoint")), "--data", text(&data)]);
    fs::write(file("older"), older).unwrap();

    // Somebody else: the data directory is gone.
    fs::rename(&data, installation.path().join("elsewhere")).unwrap();
    let proven = run("audit", ["check-proof", "--key", key, "--json", text(&file("whole"))]);
    let proven: Value = serde_json::from_str(&proven).unwrap();
    assert_eq!((&proven["sequence"], &proven["hash"]), (&audits[19]["sequence"], &audits[19]["hash"]));
    assert_eq!(proven["record"]["body"]["transaction_id"], "pay_19");
    let hash = audits[19]["hash"].as_str().unwrap();
    let bare = file(&format!("bare-{last}"));
    let said = run("audit", ["check-proof", "--key", key, text(&bare), "--hash", hash]);
    assert!(said.contains(&format!("proven: record {last} of {ORIGIN} is {hash}")), "{said}");
    run("audit", ["check-proof", "--key", key, text(&file("older"))]);
    let said = run(
        "audit",
        ["check-proof", "--key", key, text(&file("since")), "--checkpoint", text(&file("old.checkpoint"))],
    );
    assert!(said.contains("still begins with them"), "{said}");
    for (arguments, expected) in [
        (vec![text(&bare)], "does not hold the record: give its hash"),
        (vec![text(&bare), "--hash", audits[3]["hash"].as_str().unwrap()], "the proof does not hold"),
        (
            vec![text(&file("whole")), "--hash", audits[3]["hash"].as_str().unwrap()],
            "the proof is of another record",
        ),
        (vec![text(&file("since"))], "give the checkpoint that you have"),
        (vec![text(&file("old.checkpoint"))], "line 1 is neither"),
        (vec!["nowhere"], "nowhere: no proof"),
    ] {
        let said = refused(&[&["check-proof", "--key", key], arguments.as_slice()].concat());
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let other = "example.com/other+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let said = refused(&["check-proof", "--key", other, text(&bare)]);
    assert!(said.contains("a character is wrong"), "{said}");
}

#[test]
fn show_names_the_checkpoint_that_covers_a_record() {
    // One that comes with the end of the service alone.
    let settings = format!("{PATIENT}[audit.checkpoints]\ninterval_s = 3600\norigin = \"{ORIGIN}\"\n");
    let installation = Installation::with_settings(&settings);
    let data = installation.data();
    let show = |id: &str| {
        let json = run("audit", ["show", id, "--data", text(&data), "--json"]);
        let shown: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(shown["body"]["transaction_id"], id, "{shown:#}");
        (shown, run("audit", ["show", id, "--data", text(&data)]))
    };
    let service = installation.serve();
    service.connect().decide(&transaction("pay_old").to_string());
    let (shown, said) = show("pay_old");
    assert!(shown["checkpoint"].is_null(), "{shown:#}");
    assert!(said.contains("covered   by no checkpoint"), "{said}");
    service.terminate();
    service.ended();

    let service = installation.serve();
    service.connect().decide(&transaction("pay_new").to_string());
    let records = installation.records();
    let recorded = records.iter().find(|record| record["kind"] == "checkpoint").unwrap();
    let (shown, said) = show("pay_old");
    let checkpoint = &shown["checkpoint"];
    assert_eq!(checkpoint["origin"], ORIGIN, "{shown:#}");
    assert_eq!(checkpoint["recorded_at"], recorded["recorded_at"], "{shown:#}");
    assert_eq!(checkpoint["sequence"], recorded["sequence"]);
    assert_eq!(checkpoint["size"].as_u64(), recorded["sequence"].as_u64().map(|sequence| sequence - 1));
    let key = run("audit", ["checkpoint", "--public-key", "--data", text(&data)]);
    let signed_by = checkpoint["signed_by"][0].as_str().unwrap();
    assert!(key.starts_with(&format!("{signed_by}+")), "{key} {signed_by}");
    for part in [signed_by, recorded["recorded_at"].as_str().unwrap(), "tollgate audit prove"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (shown, said) = show("pay_new");
    assert!(shown["checkpoint"].is_null() && said.contains("by no checkpoint"), "{said}");
}

#[test]
fn a_checkpoint_is_signed_when_asked_for() {
    let settings = format!("{PATIENT}[audit.checkpoints]\ninterval_s = 3600\norigin = \"{ORIGIN}\"\n");
    let installation = Installation::with_settings(&settings);
    let data = installation.data();
    let service = installation.serve();
    let admin = service.admin.to_string();
    let sign = || run("audit", ["checkpoint", "--now", "--admin", &admin]);
    assert_eq!(service.admin("/v1/audit/checkpoint").status, 404);
    let mut last = 0;
    for round in 0..3 {
        let decided = service.connect().decide(&transaction(&format!("pay_{round}")).to_string());
        let sequence = decided["audit"]["sequence"].as_u64().unwrap();
        let note = sign();
        assert!(size_of(&note) >= sequence, "{note}");
        assert_eq!(service.admin("/v1/audit/checkpoint").body, note);
        assert_eq!(sign(), note, "nothing has come since");
        let proof = service.admin(&format!("/v1/audit/{sequence}/proof"));
        assert_eq!(proof.status, 200, "{}", proof.body);
        assert!(size_of(&note) > last);
        last = size_of(&note);
    }
    let said = refused(&["checkpoint", "--now", "--data", text(&data)]);
    assert!(said.contains("checkpoint --now --admin"), "{said}");
    assert_eq!(kinds(&installation).iter().filter(|kind| **kind == "checkpoint").count(), 3);
    service.kill();
    installation.verify();

    let without = Installation::with_settings(&format!("{PATIENT}[audit.checkpoints]\ninterval_s = 0\n"));
    let service = without.serve();
    let answer = service.connect_admin().post("/v1/audit/checkpoint", "", "");
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(answer.body.contains("audit.checkpoints.interval_s"), "{}", answer.body);
}

#[test]
fn checkpoints_go_on_after_a_kill_and_with_a_new_key() {
    let installation = installation();
    let (data, config) = (installation.data(), installation.path().join("tollgate.toml"));
    let about = ["--data", text(&data), "--config", text(&config)];
    let with = |arguments: &[&'static str]| {
        arguments.iter().copied().chain(about).map(str::to_owned).collect::<Vec<_>>()
    };
    let audit_of = |arguments: &[&'static str]| run("audit", with(arguments).iter().map(String::as_str));
    let mut sizes = Vec::new();
    for round in 0..3 {
        let service = installation.serve();
        let mut client = service.connect();
        for number in 0..10 {
            client.decide(&transaction(&format!("pay_{round}_{number}")).to_string());
        }
        let size = wait_until("a newer checkpoint", || {
            let answer = service.admin("/v1/audit/checkpoint");
            let size = if answer.status == 200 { size_of(&answer.body) } else { 0 };
            (size >= sizes.last().copied().unwrap_or(0) + 10).then_some(size)
        });
        sizes.push(size);
        service.kill();
        if round == 0 {
            // Tiles can go at any time.
            fs::remove_dir_all(data.join("proof/tile")).unwrap();
        }
        if round == 1 {
            audit_of(&["checkpoint", "--new-key"]);
        }
    }
    let keys = audit_of(&["checkpoint", "--public-key"]);
    let keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys.len(), 2);
    let newest = audit_of(&["checkpoint"]);
    assert_eq!(newest.matches('\u{2014}').count(), 2, "{newest}");
    // While a service runs, it alone signs.
    let service = installation.serve();
    let now: Vec<String> = with(&["checkpoint", "--now"]);
    let said = refused(&now.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("a running service signs by itself") && said.contains("is locked by"), "{said}");
    service.kill();
    let now = audit_of(&["checkpoint", "--now"]);
    assert!(size_of(&now) > sizes[2], "{now}");
    assert_eq!(kinds(&installation).last().unwrap(), "checkpoint");
    // The old key has signed all, the new one the later ones.
    let verify = |keys: &[&str]| {
        let mut arguments = vec!["verify", "--data", text(&data)];
        keys.iter().for_each(|key| arguments.extend(["--key", key]));
        audit(&arguments)
    };
    assert!(verify(&keys[..1]).status.success());
    assert!(verify(&keys).status.success());
    let said = String::from_utf8_lossy(&verify(&keys[1..]).stdout).into_owned();
    assert!(said.contains("by none of the given keys"), "{said}");
    installation.verify();
}

#[test]
fn a_log_that_contradicts_its_checkpoint_is_not_signed_and_payments_go_on() {
    let installation = installation();
    let service = installation.serve();
    let mut client = service.connect();
    for number in 0..10 {
        client.decide(&transaction(&format!("pay_{number}")).to_string());
    }
    wait_until("a checkpoint", || (service.admin("/v1/audit/checkpoint").status == 200).then_some(()));
    service.terminate();
    service.ended();
    // The last records are lost, as when an old copy of the log is put back, with the mark of that time.
    let log = installation.data().join("log");
    fs::remove_file(log.join("log.mark")).unwrap();
    let segment = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|it| it == "log")).max().unwrap();
    let bytes = fs::read(&segment).unwrap();
    let starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\xf5TG\x01")).collect();
    fs::write(&segment, &bytes[..starts[4]]).unwrap();
    fs::remove_dir_all(installation.data().join("state")).unwrap();
    let signed = fs::read(installation.data().join("proof/checkpoint")).unwrap();

    let service = installation.serve();
    let said = service.heard("no checkpoints are signed");
    assert!(
        said[0]["error"].as_str().unwrap().contains("records are missing; nothing is signed"),
        "{said:?}"
    );
    for number in 10..30 {
        service.connect().decide(&transaction(&format!("pay_{number}")).to_string());
    }
    assert_eq!(service.metric("tollgate_checkpoint_failures_total"), 1.0);
    service.terminate();
    service.ended();
    assert_eq!(fs::read(installation.data().join("proof/checkpoint")).unwrap(), signed);
    let data = installation.data();
    let said = String::from_utf8_lossy(&audit(&["verify", "--data", text(&data)]).stdout).into_owned();
    assert!(said.contains("are not those that were signed"), "{said}");
}
