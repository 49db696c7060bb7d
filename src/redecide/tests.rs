//! Records as versions before this one wrote them, and what cannot be made again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::receipt::LogId;
use crate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use crate::domain::time::EventTime;
use crate::engine::policy::{Policy, PolicyFiles};
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::model::backend::Backend;
use crate::policy_archive::store::PolicyArchive;
use crate::redecide::policies::Policies;
use crate::redecide::rebuild;
use crate::redecide::report::RedecideReport;
use crate::redecide::run::{self, Progress, Stretch};
use crate::redecide::window_state::WindowSettings;

const CATALOGUE: &str = "version: 1
entities:
  card: {key: card.fingerprint}
windows:
  - {entity: card, stream: attempts, count: [1h]}
";
const RULES: &str = "default: {then: APPROVE, reason: nothing}
rules:
  - {id: often, when: card.count_1h >= 2, then: BLOCK, reason: often, owner: tests, description: Often.}
";

/// As they are in logs: never changed, but for the names of the policy and its parts. The first two have what the first version of the
/// bodies had: hits without values, nothing of lists, addresses, repetitions and left-out hits. The third is of today.
const DECISIONS: [&str; 3] = [
    r#"{"decision_id":"dec_1","transaction_id":"t1","decision":"APPROVE","reason":"nothing","reasons":[],"score":null,"risk_level":"unknown","challenge":null,"degraded":false,"missing":[],"versions":VERSIONS,"idempotency_key":"t1","fingerprint":"00000000000000000000000000000001","received_at_ms":1772359200000,"state_sequence":1,"transaction":{"transaction_id":"t1","occurred_at":"2026-03-01T10:00:00.000Z","amount":{"value":1000,"currency":"EUR"},"card":{"fingerprint":"fp_1"}},"enrichment":[],"features":[1.0],"margin":null,"hits":[],"policy":"POLICY","latency_us":{"total":90,"parse":9,"enrich":0,"windows":2,"model":0,"explain":0,"rules":1,"audit":0}}"#,
    r#"{"decision_id":"dec_2","transaction_id":"t2","decision":"BLOCK","reason":"often","reasons":[{"code":"often","source":"rule","rule":"often"}],"score":null,"risk_level":"unknown","challenge":null,"degraded":false,"missing":[],"versions":VERSIONS,"idempotency_key":"t2","fingerprint":"00000000000000000000000000000002","received_at_ms":1772359260000,"state_sequence":2,"transaction":{"transaction_id":"t2","occurred_at":"2026-03-01T10:01:00.000Z","amount":{"value":1000,"currency":"EUR"},"card":{"fingerprint":"fp_1"}},"enrichment":[],"features":[2.0],"margin":null,"hits":[{"rule":"often"}],"policy":"POLICY","latency_us":{"total":90,"parse":9,"enrich":0,"windows":2,"model":0,"explain":0,"rules":1,"audit":0}}"#,
    r#"{"decision_id":"dec_3","transaction_id":"t2","decision":"BLOCK","reason":"often","reasons":[{"code":"often","source":"rule","rule":"often"}],"score":null,"risk_level":"unknown","challenge":null,"degraded":false,"missing":[],"versions":VERSIONS,"idempotency_key":"again","fingerprint":"00000000000000000000000000000002","received_at_ms":1772359320000,"repeat":true,"state_sequence":3,"transaction":{"transaction_id":"t2","occurred_at":"2026-03-01T10:01:00.000Z","amount":{"value":1000,"currency":"EUR"},"card":{"fingerprint":"fp_1"}},"enrichment":[],"features":[2.0],"margin":null,"hits":[{"rule":"often","values":{"card.count_1h":2}}],"policy":"POLICY","latency_us":{"total":90,"parse":9,"enrich":0,"windows":2,"model":0,"explain":0,"rules":1,"audit":0}}"#,
];

struct House {
    directory: tempfile::TempDir,
    policy: Policy,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (rules, features) = (directory.path().join("rules"), directory.path().join("features.yaml"));
        fs::create_dir(&rules).unwrap();
        fs::write(rules.join("default.yaml"), RULES).unwrap();
        fs::write(&features, CATALOGUE).unwrap();
        let backend = Backend::default();
        let files = PolicyFiles { rules, model: None, challengers: Vec::new(), features, backend };
        let missing = MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Review,
            overload: OnMissing::Continue,
        };
        let policy = Policy::load(&files, missing).unwrap();
        let house = Self { directory, policy };
        PolicyArchive::create(house.data()).unwrap().store(&house.policy, &files).unwrap();
        house
    }

    fn data(&self) -> &Path {
        self.directory.path()
    }

    /// A body, with the names of this policy.
    fn named(&self, body: &str) -> String {
        let versions = serde_json::to_string(&self.policy.versions).unwrap();
        body.replace("VERSIONS", &versions).replace("POLICY", &self.policy.hash)
    }

    /// Writes a log: what is no decision of these has sequence 1.
    fn write(&self, bodies: &[(Kind, String)]) {
        let now = EventTime::from_unix_millis(1_772_359_200_000).unwrap();
        let opened =
            OpenedLog::open(&self.data().join("log"), LogId([7; 16]), now, LogOptions::default()).unwrap();
        let handle: LogHandle<()> = LogWriter::start(
            opened,
            WriterOptions::default(),
            Box::new(|group| drop(group)),
            Box::new(|group| drop(group)),
        )
        .unwrap();
        for (kind, body) in bodies {
            let body = body.clone().into_bytes();
            handle.reserve().unwrap().commit(*kind, now, body, ()).wait_blocking().unwrap();
        }
        handle.close(Duration::from_secs(20)).unwrap();
    }

    fn run(&self) -> RedecideReport {
        let policies = Policies::new(PolicyArchive::new(self.data()), Vec::new());
        let stretch = Stretch::all(self.data().join("log"));
        let settings = WindowSettings {
            data: self.data().to_owned(),
            log: stretch.log.clone(),
            decisions_max: 1_000,
            waiting_max: 1_000,
        };
        let progress = Progress::default();
        let mut report = run::run(&stretch, &policies, 2, &progress).unwrap();
        report.rebuilt = Some(rebuild::run(&stretch, &policies, &settings, &progress).unwrap());
        assert!(report.damages.is_empty(), "{report:#?}");
        report
    }
}

fn start(house: &House) -> (Kind, String) {
    let body = r#"{"cause":"start","policy":"POLICY","versions":VERSIONS}"#;
    (Kind::PolicyChange, house.named(body))
}

#[test]
fn records_of_every_version_of_the_bodies_are_decided_again() {
    let house = House::new();
    let decisions = DECISIONS.iter().map(|body| (Kind::Decision, house.named(body)));
    house.write(&[start(&house)].into_iter().chain(decisions).collect::<Vec<_>>());
    let report = house.run();
    assert_eq!((report.decisions.seen, report.decisions.same), (3, 3), "{report:#?}");
    let rebuilt = report.rebuilt.unwrap();
    assert_eq!((rebuilt.vectors.same, rebuilt.features), (3, 3), "{rebuilt:#?}");
    assert!(rebuilt.notes[0].contains("no secret"), "{:?}", rebuilt.notes);
}

#[test]
fn what_cannot_be_made_again_is_counted_by_its_reason() {
    let house = House::new();
    let good = house.named(DECISIONS[0]);
    let cases: [(&str, String); 5] = [
        ("body is not what its schema says", "{}".to_owned()),
        ("body is not what its schema says", good.replace("\"EUR\"", "\"EURO\"")),
        ("is not in the policy archive", good.replace(&*house.policy.hash, "sha256:77")),
        ("values are not as many", good.replace("[1.0]", "[1.0,2.0]")),
        ("values are not as many", good.replace("\"enrichment\":[]", "\"enrichment\":[\"absent\"]")),
    ];
    let bodies = cases.iter().map(|(_, body)| (Kind::Decision, body.clone()));
    let odd = (Kind::ChallengerScores, "[]".to_owned());
    house.write(&[start(&house)].into_iter().chain(bodies).chain([odd]).collect::<Vec<_>>());
    let report = house.run();
    let counted = &report.decisions.not_compared;
    for (expected, _) in &cases {
        assert!(counted.0.keys().any(|why| why.contains(expected)), "{expected}: {counted:?}");
    }
    assert_eq!((report.decisions.seen, report.decisions.same, counted.total()), (5, 0, 6), "{report:#?}");
    let rebuilt = report.rebuilt.unwrap();
    assert_eq!(rebuilt.vectors.seen, 5, "{rebuilt:#?}");
    assert_eq!(rebuilt.vectors.not_compared.total(), 5, "{rebuilt:#?}");
}

#[test]
fn more_rows_than_are_counted_apart_are_counted_together() {
    let mut counts = crate::redecide::report::Counts::default();
    for number in 0..crate::redecide::report::ROWS_MAX as u64 + 5 {
        counts.add(&format!("{number:05}"), number + 1);
        counts.add("00000", number + 1);
    }
    assert_eq!(counts.total(), 2 * (crate::redecide::report::ROWS_MAX as u64 + 5));
    assert_eq!(counts.0[crate::redecide::report::OTHERS].count, 5);
    assert_eq!(counts.0["00000"].first_sequence, 1);
}
