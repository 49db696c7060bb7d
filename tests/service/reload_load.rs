//! Rule files that change while payments are being decided: each decision is by one whole policy, none waits for a reload, and what
//! cannot be read whole does not go live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::reload::{Rules, live, own_rule, refused};
use crate::tollgate_process::{Installation, Service, wait_until};
use crate::traffic::transaction;

const CONNECTIONS: usize = 2;
/// Between two payments of a connection: load that leaves the machine room for the reload itself.
const PACE: Duration = Duration::from_millis(2);
const LIST_LINES: usize = 1_000_000;
/// How long is measured before.
const QUIET: Duration = Duration::from_secs(1);
/// What nine of ten decisions may take, or five times what they took before, while a million lines are read, checked, swapped in and dropped. Another program may hold up
/// some; a reload that held up the decisions would hold up all of them, for hundreds of milliseconds.
const LATENCY_P90_MAX: Duration = Duration::from_millis(50);

/// Payments at the test's merchant from several connections, until the scope's work is done; how long each took.
fn under_load(service: &Service, name: &str, work: impl FnOnce()) -> Vec<Duration> {
    let (is_over, number, times) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = service.connect();
                while !is_over.load(Ordering::Relaxed) {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let mut body = transaction(&format!("{name}_{number}"));
                    body["merchant"]["id"] = json!("m_own");
                    body["card"]["fingerprint"] = json!(format!("fp_{number}"));
                    body["customer"]["id"] = json!(format!("c_{number}"));
                    body["device"] = json!({"id": format!("d_{number}")});
                    let body = body.to_string();
                    let started = Instant::now();
                    connection.decide(&body);
                    times.lock().unwrap().push(started.elapsed());
                    std::thread::sleep(PACE);
                }
            });
        }
        // Some payments are decided before the work, and some are begun after it.
        let some_more = || {
            let so_far = times.lock().unwrap().len();
            wait_until("more payments", || {
                (times.lock().unwrap().len() >= so_far + 2 * CONNECTIONS).then_some(())
            });
        };
        some_more();
        work();
        some_more();
        is_over.store(true, Ordering::Relaxed);
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    times
}

/// Ends a service. What is live is in its log.
fn ended(service: Service, installation: &Installation) -> Vec<Value> {
    let policy = service.policy()["policy"].clone();
    service.kill();
    let records = installation.records();
    assert!(records.iter().any(|it| it["kind"] == "policy_change" && it["body"]["policy"] == policy));
    records
}

/// Of each decision in the log: it names the policy that was live, and that policy alone made it.
fn each_is_of_one_policy(records: &[Value], reasons: impl Fn(&Value) -> Option<String>) -> usize {
    let mut rules_of: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut reason_of: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut decisions = 0;
    for record in records {
        let body = &record["body"];
        match record["kind"].as_str().unwrap() {
            "policy_change" => {
                rules_of.insert(body["policy"].as_str().unwrap(), &body["versions"]);
            }
            "decision" => {
                decisions += 1;
                let policy = body["policy"].as_str().unwrap();
                assert_eq!(
                    rules_of.get(policy),
                    Some(&&body["versions"]),
                    "recorded as live before it decides"
                );
                if let Some(reason) = reasons(body) {
                    reason_of.entry(policy).or_default().insert(reason);
                }
            }
            _ => {}
        }
    }
    for (policy, reasons) in &reason_of {
        assert_eq!(reasons.len(), 1, "{policy} decides {reasons:?}");
    }
    assert!(reason_of.len() > 1, "several policies decided");
    decisions
}

fn own_reason(body: &Value) -> Option<String> {
    let hits = body["hits"].as_array()?;
    hits.iter().any(|hit| hit["rule"] == "own-rule").then(|| {
        let of_own = |reason: &&Value| reason["rule"] == "own-rule";
        body["reasons"].as_array().unwrap().iter().find(of_own).unwrap()["code"].as_str().unwrap().to_owned()
    })
}

#[test]
fn a_million_lines_go_live_and_go_away_beside_the_decisions() {
    let rules = Rules::new();
    rules.write(&own_rule("before"));
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    let list = rules.path().join("lists/blocked_cards.txt");
    let lines = |from: usize| -> String {
        (from..from + LIST_LINES).map(|number| format!("fp_long_{number}\n")).collect()
    };
    let (first, second) = (lines(0), lines(1));
    let entries = r#"tollgate_list_entries{list="blocked_cards",source="file"}"#;
    let quiet = under_load(&service, "quiet", || std::thread::sleep(QUIET));
    let times = under_load(&service, "busy", || {
        // Written in place, moved over, and emptied: each time the old million goes away.
        for (round, text) in [&first, &second, &first, &String::new()].into_iter().enumerate() {
            let old = service.policy()["policy"].clone();
            if round == 1 {
                let beside = rules.path().join("lists/.blocked_cards.txt.new");
                fs::write(&beside, text).unwrap();
                fs::rename(&beside, &list).unwrap();
            } else {
                fs::write(&list, text).unwrap();
            }
            rules.write(&own_rule(&format!("round_{round}")));
            let lines = text.lines().count();
            wait_until("the list", || {
                (service.policy()["policy"] != old && service.metric(entries) == lines as f64).then_some(())
            });
        }
    });
    let of = |times: &[Duration], share: f64| times[(times.len() as f64 * share) as usize];
    let (p50, p90, worst, before) =
        (of(&times, 0.5), of(&times, 0.9), times[times.len() - 1], of(&quiet, 0.9));
    println!(
        "{} decisions: half within {p50:?}, nine of ten within {p90:?} (before: {before:?}), all within {worst:?}",
        times.len()
    );
    let allowed = LATENCY_P90_MAX.max(5 * before);
    assert!(times.len() > 100 && p90 < allowed, "{p50:?} {p90:?} {worst:?}, before {before:?}");
    each_is_of_one_policy(&ended(service, &installation), own_reason);
}

#[test]
fn a_burst_of_thousands_of_changes_is_a_few_reloads() {
    const CHANGES: usize = 3_000;
    let rules = Rules::new();
    rules.write(&own_rule("before"));
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    let old = service.policy();
    let started = Instant::now();
    under_load(&service, "pay", || {
        let noise: Vec<_> = (0..20).map(|number| rules.path().join(format!("noise_{number}.yaml"))).collect();
        for change in 0..CHANGES {
            // Good, half and gone again, in many files.
            let file = &noise[change % noise.len()];
            match change % 3 {
                0 => fs::write(file, "rules: []\n").unwrap(),
                1 => fs::write(file, "rules:\n  - id: ha").unwrap(),
                _ => drop(fs::remove_file(file)),
            }
        }
        for file in &noise {
            drop(fs::remove_file(file));
        }
        rules.write(&own_rule("after"));
        live(&service, started, &old["policy"]);
        wait_until("the last change", || {
            let answer = service.admin("/v1/rules").good();
            let own = answer["rules"].as_array()?.iter().find(|rule| rule["id"] == "own-rule")?.clone();
            (own["reason"] == "after" && service.policy()["refused"].is_null()).then_some(())
        });
    });
    let (took, policy) = (started.elapsed(), service.policy());
    let reloads = policy["reloads"].as_u64().unwrap() + policy["refusals"].as_u64().unwrap();
    // At most one for each time that it settles, or has waited long enough to settle.
    let most = 2 + took.as_millis() / 100;
    assert!(
        u128::from(reloads) <= most && reloads < 200,
        "{reloads} reloads of {CHANGES} changes in {took:?}"
    );
    each_is_of_one_policy(&ended(service, &installation), own_reason);
}

#[test]
fn a_link_that_is_switched_at_any_moment_is_one_release_or_the_other() {
    const SWITCHES: usize = 60;
    let releases = [Rules::new(), Rules::new()];
    for (release, rules) in releases.iter().enumerate() {
        // Many files, each of which would be sound beside those of the other release.
        rules.write(&own_rule(&format!("release_{release}")));
        for part in 0..40 {
            let text = own_rule(&format!("part_{release}")).replace("own-rule", &format!("part-{part}"));
            fs::write(rules.path().join(format!("part_{part}.yaml")), text).unwrap();
        }
        fs::write(rules.path().join("lists/blocked_ips.txt"), format!("198.51.100.{release}\n")).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let (current, next) = (directory.path().join("rules"), directory.path().join("next"));
    let switch = |release: usize| {
        symlink(releases[release].path(), &next).unwrap();
        fs::rename(&next, &current).unwrap();
    };
    switch(0);
    let installation = Installation::new().rules(&current);
    let service = installation.serve();
    let versions = Mutex::new(BTreeSet::new());
    let note = || {
        let policy = service.policy();
        versions.lock().unwrap().insert(policy["versions"]["rules"].as_str().unwrap().to_owned());
        policy
    };
    note();
    under_load(&service, "pay", || {
        for turn in 1..=SWITCHES {
            switch(turn % 2);
            if turn % 3 == 0 {
                // SIGHUP and the API may come at any moment, too.
                service.connect_admin().request("POST", "/v1/policy/reload", "");
            }
            std::thread::sleep(Duration::from_millis(turn as u64 % 13));
        }
        switch(1);
        wait_until("the last release", || {
            note();
            let rules = service.admin("/v1/rules").good();
            let own = rules["rules"].as_array()?.iter().find(|rule| rule["id"] == "own-rule")?.clone();
            (own["reason"] == "release_1").then_some(())
        });
    });
    let records = ended(service, &installation);
    let changes = records.iter().filter(|record| record["kind"] == "policy_change");
    let live: BTreeSet<&str> = changes.map(|it| it["body"]["versions"]["rules"].as_str().unwrap()).collect();
    assert_eq!(live.len(), 2, "two releases, and nothing in between: {live:?}");
    each_is_of_one_policy(&records, |body| {
        let reasons: BTreeSet<&str> = body["reasons"]
            .as_array()?
            .iter()
            .filter_map(|reason| reason["code"].as_str()?.strip_prefix("part_"))
            .collect();
        (!reasons.is_empty()).then(|| format!("{reasons:?}"))
    });
}

#[test]
fn a_refusal_says_what_where_and_what_was_meant_wherever_one_looks() {
    let rules = Rules::new();
    let installation = Installation::new().rules(&rules.path());
    let service = installation.serve();
    assert_eq!(service.metric("tollgate_policy_refused"), 0.0);
    rules.write(&own_rule("broken").replace("merchant.id ==", "merchant.idd =="));
    refused(&service, Instant::now(), |errors| errors.contains("merchant.idd"));
    let said = service.wait_for_message_with("the policy candidate was refused");
    assert!(said.contains("own.yaml:4:11") && said.contains("did you mean `merchant.id`?"), "{said}");
    let of_status = service.policy()["refused"]["problems"][0].clone();
    assert_eq!(service.metric("tollgate_policy_refused"), 1.0);
    let refusals = r#"tollgate_policy_reloads_total{result="refused"}"#;
    wait_until("a counted refusal", || (service.metric(refusals) >= 1.0).then_some(()));
    let reload = service.connect_admin().request("POST", "/v1/policy/reload", "");
    assert_eq!((reload.status, reload.problem().0.as_str()), (422, "policy-refused"));
    let of_answer = reload.json()["policy"]["refused"]["problems"][0].clone();
    let old = service.policy()["policy"].clone();
    rules.write(&own_rule("mended"));
    live(&service, Instant::now(), &old);
    assert_eq!(service.metric("tollgate_policy_refused"), 0.0);
    let records = ended(service, &installation);
    let of_log = records.iter().find(|record| record["body"]["problems"].is_array()).unwrap();
    for problem in [&of_status, &of_answer, &of_log["body"]["problems"][0]] {
        assert!(problem["file"].as_str().unwrap().ends_with("rules/own.yaml"), "{problem}");
        for (name, value) in [
            ("line", json!(4)),
            ("column", json!(11)),
            ("rule", json!("own-rule")),
            ("message", json!("unknown name `merchant.idd`")),
            ("suggestion", json!("merchant.id")),
            ("source_line", json!("    when: merchant.idd == \"m_own\"")),
        ] {
            assert_eq!(problem[name], value, "{name} of {problem}");
        }
    }
}
