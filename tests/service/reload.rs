//! Rule files that change while the service serves: a mistake changes nothing but a refusal that says where; mended, it is live
//! in under a second.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::Connection;
use crate::tollgate_process::{Installation, Service, root, wait_until};
use crate::traffic::transaction;

/// What a change may take until it is seen. Another program may hold up one or two of the rounds, not all.
const PROMISED: Duration = Duration::from_secs(1);
const ROUNDS: usize = 4;

/// A copy of the shipped rules, with one file more.
pub struct Rules {
    directory: tempfile::TempDir,
}

impl Rules {
    pub fn new() -> Self {
        let rules = Self { directory: tempfile::tempdir().unwrap() };
        copy(&root().join("rules"), &rules.path());
        rules
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("rules")
    }

    /// Writes the file of its own: transactions of one test merchant are decided so.
    pub fn write(&self, text: &str) {
        fs::write(self.path().join("own.yaml"), text).unwrap();
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A good file: everything at the test's merchant is blocked for that reason.
pub fn own_rule(reason: &str) -> String {
    format!(
        "rules:\n  - id: own-rule\n    description: Everything at the merchant of this test.\n    when: merchant.id == \"m_own\"\n    then: BLOCK\n    reason: {reason}\n    message: \"Seen\"\n    owner: tests\n    tests:\n      - {{given: {{merchant.id: m_own}}, expect: match}}\n      - {{given: {{}}, expect: no_match}}\n"
    )
}

fn reason(connection: &mut Connection, number: &mut u32) -> String {
    *number += 1;
    let mut body = transaction(&format!("pay_{number}"));
    body["merchant"]["id"] = json!("m_own");
    body["card"]["fingerprint"] = json!(format!("fp_{number}"));
    body["customer"]["id"] = json!(format!("c_{number}"));
    body["device"] = json!({"id": format!("d_{number}")});
    connection.decide(&body.to_string())["reason"].as_str().unwrap().to_owned()
}

/// Waits until the refusal is as wanted; answers how long that took, and the mistakes.
pub fn refused(service: &Service, since: Instant, is_it: impl Fn(&str) -> bool) -> (Duration, String) {
    wait_until("a refusal", || {
        let policy = service.policy();
        let errors = policy["refused"]["errors"].as_array()?;
        let errors: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
        let errors = errors.join("\n");
        is_it(&errors).then(|| (since.elapsed(), errors))
    })
}

/// Waits until another policy than `old` is live; answers how long that took.
pub fn live(service: &Service, since: Instant, old: &Value) -> Duration {
    wait_until("a new policy", || {
        let policy = service.policy();
        (policy["policy"] != *old && policy["refused"].is_null()).then(|| since.elapsed())
    })
}

#[test]
fn a_mistake_is_refused_with_its_place_and_mended_it_is_live() {
    let rules = Rules::new();
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    let mut connection = service.connect();
    let mut number = 0;
    assert_ne!(reason(&mut connection, &mut number), "round_0");

    let (mut refusals, mut mendings) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let before = service.policy();
        let reason_before = reason(&mut connection, &mut number);
        let since = Instant::now();
        rules.write(&own_rule("broken").replace("merchant.id ==", "merchant.idd >"));
        let (took, errors) = refused(&service, since, |errors| errors.contains("merchant.idd"));
        assert!(errors.contains("own.yaml:4"), "the file and the line: {errors}");
        refusals.push(took);
        let after = service.policy();
        assert_eq!(after["policy"], before["policy"]);
        assert_eq!(reason(&mut connection, &mut number), reason_before, "decisions go on");

        let since = Instant::now();
        rules.write(&own_rule(&format!("round_{round}")));
        mendings.push(live(&service, since, &after["policy"]));
        assert_eq!(reason(&mut connection, &mut number), format!("round_{round}"));
    }
    for (what, times) in [("refused", refusals), ("live", mendings)] {
        assert!(times.iter().min() < Some(&PROMISED), "{what} after {times:?}");
    }
    service.kill();
    let changes = installation.records().into_iter().filter(|record| record["kind"] == "policy_change");
    let (sound, wrong): (Vec<_>, Vec<_>) = changes.partition(|record| record["body"]["refused"].is_null());
    assert_eq!(sound.len(), 1 + ROUNDS, "the start and each mending are recorded");
    assert!(wrong.len() >= ROUNDS, "so is each refusal");
}

#[test]
fn half_a_file_and_no_directory_change_nothing_until_all_is_there() {
    let rules = Rules::new();
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    let mut connection = service.connect();
    let mut number = 0;
    let shipped = service.policy()["policy"].clone();

    // Half a file, then the rest.
    let text = own_rule("whole");
    let half = text.find("then:").unwrap();
    rules.write(&text[..half]);
    refused(&service, Instant::now(), |errors| errors.contains("own.yaml"));
    assert_eq!(service.policy()["policy"], shipped);
    rules.write(&text);
    live(&service, Instant::now(), &shipped);
    assert_eq!(reason(&mut connection, &mut number), "whole");

    // As editors and deployments do it: a new file moved over the old one.
    let old = service.policy()["policy"].clone();
    let beside = rules.path().join(".own.yaml.swp");
    fs::write(&beside, own_rule("moved")).unwrap();
    fs::rename(&beside, rules.path().join("own.yaml")).unwrap();
    live(&service, Instant::now(), &old);
    assert_eq!(reason(&mut connection, &mut number), "moved");

    // The directory goes away, and comes back.
    for round in 0..2 {
        let old = service.policy()["policy"].clone();
        fs::remove_dir_all(rules.path()).unwrap();
        refused(&service, Instant::now(), |errors| !errors.is_empty());
        let decided = reason(&mut connection, &mut number);
        assert!(decided == "moved" || decided.starts_with("back_"), "decisions go on: {decided}");
        copy(&root().join("rules"), &rules.path());
        rules.write(&own_rule(&format!("back_{round}")));
        live(&service, Instant::now(), &old);
        assert_eq!(reason(&mut connection, &mut number), format!("back_{round}"));
    }
}

#[test]
fn a_link_to_another_release_of_the_rules_goes_live() {
    let (first, second) = (Rules::new(), Rules::new());
    first.write(&own_rule("first_release"));
    second.write(&own_rule("second_release"));
    let directory = tempfile::tempdir().unwrap();
    let (current, next) = (directory.path().join("rules"), directory.path().join("next"));
    symlink(first.path(), &current).unwrap();
    let installation = Installation::new().rules(&current);
    let service = installation.serve();
    let mut connection = service.connect();
    let mut number = 0;
    assert_eq!(reason(&mut connection, &mut number), "first_release");

    let old = service.policy()["policy"].clone();
    symlink(second.path(), &next).unwrap();
    fs::rename(&next, &current).unwrap();
    live(&service, Instant::now(), &old);
    assert_eq!(reason(&mut connection, &mut number), "second_release");

    // What is linked to now is what is watched now.
    let old = service.policy()["policy"].clone();
    second.write(&own_rule("second_release_mended"));
    live(&service, Instant::now(), &old);
    assert_eq!(reason(&mut connection, &mut number), "second_release_mended");
}
