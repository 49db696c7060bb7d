//! A log that is damaged: the service refuses it and names the command that shows what would have to be given up, and does it when asked.

use std::path::PathBuf;

use serde_json::Value;

use crate::tollgate_process::{Installation, run, run_to_end};
use crate::traffic::transaction;

const DECISIONS: usize = 12;

/// Runs `tollgate audit repair`, and says how it ended and what it printed.
fn repair(installation: &Installation, flags: &[&str]) -> (bool, String, String) {
    let data = installation.data();
    let arguments = ["repair", "--data", data.to_str().unwrap()].into_iter().chain(flags.iter().copied());
    let output = run_to_end("audit", arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Why the service does not start.
fn refused(installation: &Installation) -> String {
    let (policy, data) = (installation.policy(), installation.data());
    let flags = policy.iter().map(String::as_str);
    let flags = flags.chain(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"]);
    let output = run_to_end("serve", flags.chain([data.to_str().unwrap()]));
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where the record of the decision with that number lies: what is looked for is the middle of it, in clear.
fn flip_a_byte_near(segment: &PathBuf, text: &str) {
    let mut bytes = std::fs::read(segment).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("it is in clear");
    bytes[at] ^= 0x20;
    std::fs::write(segment, bytes).unwrap();
}

#[test]
fn a_damaged_tail_is_shown_and_set_aside_only_when_asked() {
    let installation = Installation::new();
    let service = installation.serve();
    let mut connection = service.connect();
    for number in 0..DECISIONS {
        connection.decide(&transaction(&format!("pay_repair_{number:02}")).to_string());
    }
    let (is_good, _, why) = repair(&installation, &[]);
    assert!(!is_good && why.contains("process"), "a running service holds the log: {why}");
    service.kill();
    let (is_good, said, _) = repair(&installation, &[]);
    assert!(is_good && said.starts_with("nothing to repair"), "{said}");
    let records = installation.records();
    let damaged = records.iter().find(|it| it["body"]["transaction_id"] == "pay_repair_05").unwrap();
    let damaged = damaged["sequence"].as_u64().unwrap();
    let last = records.last().unwrap()["sequence"].as_u64().unwrap();

    let segment = installation.data().join(format!("log/{:020}.log", 1));
    flip_a_byte_near(&segment, "pay_repair_05");
    let bytes = std::fs::read(&segment).unwrap();
    let why = refused(&installation);
    assert!(why.contains("tollgate audit repair"), "{why}");

    let (is_good, said, _) = repair(&installation, &["--json"]);
    assert!(!is_good, "there is something to do");
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (shown["applied"].as_bool(), shown["last_sequence"].as_u64()),
        (Some(false), Some(damaged - 1))
    );
    let piece = &shown["pieces"][0];
    assert_eq!(piece["kind"], "damaged_tail", "{shown:#}");
    assert_eq!(piece["readable"]["last_sequence"], last, "{shown:#}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "it was only shown");
    let (_, said, _) = repair(&installation, &[]);
    assert!(said.contains("would be set aside") && said.contains("good records follow the damage"), "{said}");

    let (is_good, said, why) = repair(&installation, &["--apply"]);
    assert!(is_good, "{said}{why}");
    assert!(said.contains(".torn") && said.contains("next: tollgate audit verify"), "{said}");
    assert_eq!(installation.verify()["records"], damaged - 1);

    // It goes on from there, and what was given up is decided anew when it is sent again.
    let service = installation.serve();
    let answer = service.connect().decide(&transaction("pay_repair_05").to_string());
    assert!(answer["decision_id"].is_string(), "{answer:#}");
    let again = service.connect().decide(&transaction("pay_repair_04").to_string());
    assert!(records.iter().any(|it| it["body"]["decision_id"] == again["decision_id"]), "{again:#}");
    service.kill();
    installation.verify();
    run("audit", ["repair", "--data", installation.data().to_str().unwrap()]);
}
