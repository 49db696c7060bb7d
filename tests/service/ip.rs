//! Local files about addresses: rules read them, they change under traffic, a broken one changes nothing but the refusal, and the
//! log is decided again when they are gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Connection;
use crate::reload::Rules;
use crate::tollgate_process::{Installation, PATIENT, Service, root, run, wait_until};
use crate::traffic::transaction;

/// Of Norway in `tests/data/ip/city.mmdb`, and of AS2119 in `asn.mmdb`.
const NORWEGIAN: &str = "81.2.69.1";
const PRIVATE: &str = "10.1.2.3";
const ROUNDS: usize = 12;

/// Blocks who comes from Norway and stands on the list.
const RULE: &str = r#"rules:
  - id: norwegian-exit
    description: An exit of Tor in Norway.
    when: merchant.id == "m_own" && ip.is_tor && ip.lists.contains("exits") && device.ip_country == "NO" && ip.asn == 2119
    then: BLOCK
    reason: exit
    message: "On {ip.lists} with the weight {ip.list_weight}"
    owner: tests
    tests:
      - {given: {merchant.id: m_own, ip.is_tor: true, ip.lists: "exits", device.ip_country: "NO", ip.asn: 2119}, expect: match}
      - {given: {merchant.id: m_own, ip.is_tor: false}, expect: no_match}
"#;

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["city.mmdb", "asn.mmdb"] {
            fs::copy(root().join("tests/data/ip").join(name), files.path(name)).unwrap();
        }
        files.put("198.51.100.1\n1.2.3.4 # an exit\n");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the list as a careful download does.
    fn put(&self, text: &str) {
        let beside = self.path("exits.new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path("exits.txt")).unwrap();
    }

    fn settings(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "{PATIENT}[ip]\ndatabases = [{:?}, {:?}]\nlists = [{{name = \"exits\", file = {:?}, category = \"tor\", weight = 0.5}}]\n",
            path("city.mmdb"),
            path("asn.mmdb"),
            path("exits.txt"),
        )
    }
}

fn decide(connection: &mut Connection, number: usize, address: Option<&str>) -> Value {
    let mut body = transaction(&format!("pay_{number}"));
    body["merchant"]["id"] = json!("m_own");
    body["card"]["fingerprint"] = json!(format!("fp_{number}"));
    body["customer"]["id"] = json!(format!("c_{number}"));
    body["device"] = json!({"id": format!("d_{number}")});
    if let Some(address) = address {
        body["device"]["ip"] = json!(address);
    }
    connection.decide(&body.to_string())
}

/// Waits until so many candidates of the files have gone live.
fn reloads(service: &Service, count: u64) {
    wait_until("the files", || (service.policy()["ip"]["reloads"].as_u64()? >= count).then_some(()));
}

#[test]
fn rules_read_the_files_and_the_log_is_decided_again_without_them() {
    let (rules, files) = (Rules::new(), Files::new());
    rules.write(RULE);
    let installation = Installation::with_settings(&files.settings()).rules(&rules.path());
    let service = installation.serve();
    let mut connection = service.connect();
    let first = decide(&mut connection, 0, Some(NORWEGIAN));
    assert_ne!(first["reason"], "exit");
    files.put("81.2.69.0/24\n10.0.0.0/8\n");
    reloads(&service, 1);
    let listed = decide(&mut connection, 1, Some(NORWEGIAN));
    assert_eq!(listed["reason"], "exit", "{listed:#}");
    assert_eq!(listed["reasons"][0]["message"], "On exits with the weight 0.5");
    decide(&mut connection, 2, Some(PRIVATE));
    decide(&mut connection, 3, None);
    let policy = service.policy();
    assert_eq!(policy["ip"]["databases"][0]["built_at"], "2025-10-09T08:53:20.000Z");
    assert_eq!(policy["ip"]["databases"][0]["is_old"], true);
    assert_eq!(policy["ip"]["lists"][0]["entries"], 2);
    for (series, expected) in [
        ("tollgate_ip_list_entries{list=\"exits\"}", 2.0),
        ("tollgate_ip_lookups_total{result=\"known\"}", 2.0),
        ("tollgate_ip_reloads_total{result=\"live\"}", 1.0),
        ("tollgate_ip_refused", 0.0),
    ] {
        assert_eq!(service.metric(series), expected, "{series}");
    }
    assert!(service.metric("tollgate_ip_lookups_total{result=\"reserved\"}") >= 1.0);
    service.terminate();
    assert!(service.ended().success());

    let norway = json!({"kind": "public", "country": "NO", "asn": 2119, "as_org": "Telenor Norge AS"});
    let with = |mut facts: Value, more: Value| {
        facts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        facts
    };
    let decisions = installation.decisions();
    let unlisted = json!({"lists": "", "list_weight": 0.0, "is": {"tor": false}});
    let on = json!({"lists": "exits", "list_weight": 0.5, "is": {"tor": true}});
    assert_eq!(decisions[0]["ip"], with(norway.clone(), unlisted));
    assert_eq!(decisions[1]["ip"], with(norway, on));
    assert_eq!(decisions[2]["ip"], json!({"kind": "private"}));
    assert_eq!(decisions[3].get("ip"), None);

    drop(files);
    let mut flags = installation.policy();
    flags.extend(["--data".into(), installation.data().display().to_string(), "--json".into()]);
    let report: Value = serde_json::from_str(&run("backtest", flags.iter().map(String::as_str))).unwrap();
    assert_eq!(report["comparison"]["compared"], 4, "{report:#}");
    assert_eq!(report["comparison"]["changed"], 0, "{report:#}");
}

#[test]
fn a_broken_file_changes_nothing_but_the_refusal() {
    let files = Files::new();
    let installation = Installation::with_settings(&files.settings());
    let service = installation.serve();
    let mut connection = service.connect();
    let refused = |part: &str| {
        wait_until("a refusal", || {
            let policy = service.policy();
            let errors = policy["ip"]["refused"]["errors"].as_array()?.clone();
            errors.iter().any(|error| error.as_str().is_some_and(|error| error.contains(part))).then_some(())
        });
    };
    let whole = fs::read(files.path("city.mmdb")).unwrap();
    // Half a database, written in place; half a list; no list; nothing at all.
    fs::write(files.path("city.mmdb"), &whole[..whole.len() / 2]).unwrap();
    refused("city.mmdb: is no whole database");
    let reload = service.connect_admin().post("/v1/policy/reload", "", "");
    assert_eq!(reload.status, 422, "{}", reload.body);
    assert!(reload.body.contains("city.mmdb: is no whole database"), "{}", reload.body);
    files.put("198.51.100.1\n198.51.100.\n");
    refused("exits.txt:2: ");
    fs::write(files.path("exits.txt"), "").unwrap();
    refused("exits.txt: holds no address");
    fs::remove_file(files.path("exits.txt")).unwrap();
    refused("exits.txt: cannot be read");
    assert_eq!(service.metric("tollgate_ip_refused"), 1.0);
    assert_eq!(decide(&mut connection, 0, Some(NORWEGIAN))["degraded"], false);
    // All is there again.
    fs::write(files.path("city.mmdb"), &whole).unwrap();
    files.put("198.51.100.2\n");
    reloads(&service, 1);
    wait_until("no refusal", || service.policy()["ip"]["refused"].is_null().then_some(()));
    service.terminate();
    assert!(service.ended().success());
    assert_eq!(installation.decisions()[0]["ip"]["country"], "NO", "what was read before stayed");
    let changes: Vec<Value> =
        installation.records().into_iter().filter(|record| record["kind"] == "policy_change").collect();
    assert_eq!(changes[0]["body"]["ip"]["files"].as_array().unwrap().len(), 3);
    let refusals = changes.iter().filter(|it| it["body"]["ip"]["refused"].is_array()).count();
    assert!(refusals >= 4, "{refusals}");
    assert!(changes.last().unwrap()["body"]["ip"].get("refused").is_none());

    // A start has nothing that it could fall back to.
    fs::write(files.path("exits.txt"), "nonsense\n").unwrap();
    let flags = installation.policy();
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["check"].into_iter().map(str::to_owned).chain(flags))
        .current_dir(root())
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("exits.txt:1"));
}

#[test]
fn files_that_cannot_be_recorded_do_not_go_live() {
    let files = Files::new();
    let installation = Installation::with_settings(&files.settings());
    let service = installation.serve();
    let mut connection = service.connect();
    decide(&mut connection, 0, Some(NORWEGIAN));
    // No more room for the log: the record of the change does not fit.
    let log = installation.data().join(format!("log/{:020}.log", 1));
    let bytes = fs::metadata(log).unwrap().len();
    assert!(service.limit_files(Some(bytes + 100)), "prlimit (util-linux) is needed");
    files.put("81.2.69.0/24\n");
    let refused = wait_until("a refusal", || {
        let refused = service.policy()["ip"]["refused"]["errors"][0].as_str().map(str::to_owned);
        refused.filter(|error| error.contains("cannot be recorded"))
    });
    assert!(refused.contains("reload again"), "{refused}");
    assert_eq!(service.policy()["ip"]["reloads"], 0);
    assert!(service.limit_files(None));
    wait_until("room", || (service.admin("/readyz").status == 200).then_some(()));
    decide(&mut connection, 1, Some(NORWEGIAN));
    assert_eq!(service.connect_admin().post("/v1/policy/reload", "", "").status, 200);
    assert_eq!(service.policy()["ip"]["reloads"], 1);
    decide(&mut connection, 2, Some(NORWEGIAN));
    service.terminate();
    assert!(service.ended().success());
    let seen: Vec<Value> = installation
        .records()
        .into_iter()
        .filter_map(|record| match record["kind"].as_str() {
            Some("decision") => Some(record["body"]["ip"]["is"]["tor"].clone()),
            Some("policy_change") => Some(record["body"]["ip"]["files"].as_array()?.len().into()),
            _ => None,
        })
        .collect();
    assert_eq!(
        seen,
        [json!(3), json!(false), json!(false), json!(3), json!(true)],
        "live as soon as it is recorded"
    );
}

#[test]
fn files_change_under_traffic_and_every_request_is_answered() {
    let files = Files::new();
    let installation = Installation::with_settings(&files.settings());
    let service = installation.serve();
    let is_over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|client| {
                let (service, is_over) = (&service, &is_over);
                scope.spawn(move || {
                    let mut connection = service.connect();
                    let mut sent = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        sent += 1;
                        let answer = decide(&mut connection, client * 1_000_000 + sent, Some(NORWEGIAN));
                        assert_eq!(answer["degraded"], false, "{answer}");
                    }
                    sent
                })
            })
            .collect();
        for round in 0..ROUNDS {
            let is_listed = round % 2 == 0;
            let filler: String = (0..20_000_u32).map(|n| format!("9.{}.{}.7\n", n >> 8, n & 0xff)).collect();
            files.put(&format!("{filler}{}\n", if is_listed { "81.2.69.0/24" } else { "81.2.99.0/24" }));
            reloads(&service, round as u64 + 1);
            std::thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    service.terminate();
    assert!(service.ended().success());
    let records = installation.records();
    let first = |is_it: &dyn Fn(&Value) -> bool| records.iter().position(is_it).unwrap();
    let recorded = first(&|it| it["body"]["cause"] == "file_change");
    let seen = first(&|it| it["body"]["ip"]["is"]["tor"] == true);
    assert!(recorded < seen, "record {recorded} says what a decision saw in record {seen}");
    let decisions = installation.decisions();
    assert_eq!(decisions.len(), sent);
    // Each decision saw one version of the list, whole.
    let (mut on, mut off) = (0, 0);
    for decision in &decisions {
        let ip = &decision["ip"];
        match (&ip["lists"], &ip["is"]["tor"], ip["list_weight"].as_f64()) {
            (Value::String(lists), Value::Bool(true), Some(0.5)) if lists == "exits" => on += 1,
            (Value::String(lists), Value::Bool(false), Some(0.0)) if lists.is_empty() => off += 1,
            _ => panic!("{ip}"),
        }
    }
    assert!(on > 0 && off > 0, "{on} on, {off} off");
}

#[test]
fn the_command_says_which_file_knows_what() {
    let files = Files::new();
    files.put("81.2.69.1\n");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tollgate.toml");
    fs::write(&config, files.settings()).unwrap();
    let say = |address: &str, more: &[&str]| {
        let config = config.to_str().unwrap();
        run("ip", [&[address, "--config", config], more].concat())
    };
    let text = say(NORWEGIAN, &[]);
    for expected in [
        "ip.country      NO\n",
        "ip.is_tor       true\n",
        "ip.is_vpn       missing\n",
        "city.mmdb: 81.2.69.0/24: country NO\n",
        "asn.mmdb: 81.2.69.0/25: AS2119 Telenor Norge AS\n",
        "exits.txt: on the list exits (tor, weight 0.5)\n",
    ] {
        assert!(text.contains(expected), "{expected}{text}");
    }
    let json: Value = serde_json::from_str(&say(PRIVATE, &["--json"])).unwrap();
    assert_eq!(json["names"]["ip.kind"], "private");
    assert_eq!(json["names"]["ip.country"], Value::Null);
    assert_eq!(json["files"], json!([]));
    assert!(say(PRIVATE, &[]).contains("kept for something else"));
    let nothing = directory.path().join("nothing.toml");
    fs::write(&nothing, "").unwrap();
    let said = run("ip", [NORWEGIAN, "--config", Path::new(&nothing).to_str().unwrap()]);
    assert!(said.contains("No file is named"), "{said}");
}
