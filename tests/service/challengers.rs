//! Challengers: their scores are in the log, the same as offline to the bit; no answer depends on them; what is too much is dropped
//! and counted.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::domain::hash::sha256;
use tollgate::model::forest::probability;
use tollgate::model::manifest::Model;

use crate::http::Connection;
use crate::tollgate_process::{Installation, PATIENT, Service, root, wait_until};
use crate::traffic::{Event, Traffic, lasting, names};

/// A model made of the shipped one: its trees, as many of them as `trees` says, from the start again when there are too few.
pub fn model_of_trees(trees: usize) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path(), trees);
    directory
}

fn write_model(directory: &Path, trees: usize) {
    let shipped = root().join("models/default");
    let mut model: Value = serde_json::from_slice(&fs::read(shipped.join("model.json")).unwrap()).unwrap();
    let parts = &mut model["learner"]["gradient_booster"]["model"];
    let all = parts["trees"].as_array().unwrap().clone();
    let mut chosen: Vec<Value> = all.into_iter().cycle().take(trees).collect();
    for (id, tree) in chosen.iter_mut().enumerate() {
        tree["id"] = json!(id);
    }
    parts["trees"] = chosen.into();
    parts["tree_info"] = json!(vec![0; trees]);
    parts["iteration_indptr"] = json!((0..=trees).collect::<Vec<_>>());
    parts["gbtree_model_param"]["num_trees"] = json!(trees.to_string());
    let text = model.to_string();
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(shipped.join("manifest.json")).unwrap()).unwrap();
    manifest["model_sha256"] = json!(&*sha256(text.as_bytes()));
    fs::write(directory.join("model.json"), text).unwrap();
    fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
}

/// The value of a metric, with its labels as they are written; 0 when it is not there.
pub fn metric(service: &Service, name: &str) -> f64 {
    let text = service.admin("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// What a model says of a recorded decision, when it is asked by itself.
fn offline(model: &Model, decision: &Value) -> (f32, f32) {
    let value = |name: &str| {
        let slot = names().iter().position(|it| it == name).unwrap();
        decision["features"][slot].as_f64().map_or(f32::NAN, |number| {
            #[expect(clippy::cast_possible_truncation, reason = "as in training")]
            let number = number as f32;
            number
        })
    };
    let row: Vec<f32> = model.feature_names.iter().map(|name| value(name)).collect();
    let margin = model.forest.margin(&row).unwrap();
    (margin, probability(margin))
}

fn number(value: &Value) -> f32 {
    value.to_string().parse().unwrap()
}

/// The scores in the log: the sequence of the decision, its id, the record that they are in, and its place there.
fn scored(records: &[Value]) -> Vec<(u64, &str, &Value, usize)> {
    let of_challengers = records.iter().filter(|record| record["kind"] == "challenger_scores");
    let each = of_challengers.flat_map(|record| {
        let decisions = record["body"]["decisions"].as_array().unwrap().iter().enumerate();
        decisions.map(move |(index, decision)| {
            let sequence = decision["sequence"].as_u64().unwrap();
            assert!(sequence < record["sequence"].as_u64().unwrap(), "the decision was there before");
            (sequence, decision["decision_id"].as_str().unwrap(), record, index)
        })
    });
    each.collect()
}

const DECIDED: [&str; 9] = [
    "transaction_id",
    "decision",
    "reason",
    "reasons",
    "score",
    "risk_level",
    "degraded",
    "missing",
    "versions",
];

#[test]
fn their_scores_are_in_the_log_as_they_are_offline_and_no_answer_knows_of_them() {
    let few = model_of_trees(50);
    let shipped = root().join("models/default");
    let alone = Installation::new();
    let with = Installation::new().challenger("few-trees", few.path()).challenger("the_same", &shipped);
    let events = Traffic::simulate(&alone, 23, 60, 20).events(300);

    let (service, lonely) = (with.serve(), alone.serve());
    let status = service.policy();
    assert_eq!(status["challengers"][0]["name"], "few-trees");
    assert_eq!(status["challengers"][1]["model"], status["versions"]["model"]);
    let (mut connection, mut other) = (service.connect(), lonely.connect());
    for event in &events {
        let (answer, expected) = (event.send(&mut connection), event.send(&mut other));
        if matches!(event, Event::Transaction(_)) {
            assert_eq!(DECIDED.map(|part| &answer[part]), DECIDED.map(|part| &expected[part]));
            assert!(answer.get("challengers").is_none(), "{answer}");
        }
    }
    service.terminate();
    assert!(service.ended().success());

    let (models, records) = ([few.path(), &shipped].map(|it| Model::load(it).unwrap()), with.records());
    let started = records.iter().find(|record| record["kind"] == "policy_change").unwrap();
    assert_eq!(started["body"]["challengers"], status["challengers"]);
    let decisions: Vec<&Value> = records.iter().filter(|record| record["kind"] == "decision").collect();
    let scored = scored(&records);
    assert_eq!(decisions.len(), 300);
    assert_eq!(scored.len(), 300, "nothing was dropped");
    let mut different = 0;
    for (decision, (sequence, decision_id, record, index)) in decisions.iter().zip(scored) {
        assert_eq!(decision["sequence"], sequence, "in the order of the log");
        assert_eq!(decision["body"]["decision_id"], decision_id);
        assert_eq!(record["body"]["policy"], decision["body"]["policy"]);
        assert_eq!(record["body"]["challengers"], status["challengers"]);
        let said = &record["body"]["decisions"][index];
        for (place, model) in models.iter().enumerate() {
            let found = (number(&said["margins"][place]), number(&said["scores"][place]));
            let expected = offline(model, &decision["body"]);
            assert_eq!(
                (found.0.to_bits(), found.1.to_bits()),
                (expected.0.to_bits(), expected.1.to_bits()),
                "{said}"
            );
        }
        assert_eq!(said["margins"][1], decision["body"]["margin"]);
        assert_eq!(said["scores"][1], decision["body"]["score"]);
        different += usize::from(said["scores"][0] != said["scores"][1]);
    }
    assert!(different > 250, "the two are two models: {different}");
    let verified = with.verify();
    assert!(verified["by_kind"]["challenger_scores"].as_u64().unwrap() >= 5, "{verified:#}");
}

#[test]
fn a_log_with_their_scores_is_recovered_from_a_snapshot_and_from_its_beginning() {
    let few = model_of_trees(50);
    let with = Installation::new().challenger("few", few.path());
    let events = Traffic::simulate(&with, 29, 40, 10).events(120);
    let (load, after) = events.split_at(events.len() - 20);
    let service = with.serve();
    let mut connection = service.connect();
    let Event::Transaction(first) = load.iter().find(|it| matches!(it, Event::Transaction(_))).unwrap()
    else {
        unreachable!("it is one")
    };
    let answer = connection.post("/v1/decisions", "", first).body;
    for event in load {
        event.send(&mut connection);
    }
    let recorded = "tollgate_challenger_scores_total{challenger=\"few\"}";
    wait_until("the scores", || (metric(&service, recorded) >= 100.0).then_some(()));
    service.kill();
    let mut expected = None;
    for is_clean in [true, false] {
        if !is_clean {
            fs::remove_dir_all(with.data().join("state")).unwrap(); // what the clean end has left: now the whole log is read
        }
        let service = with.serve();
        let again = service.connect().post("/v1/decisions", "", first).body;
        assert_eq!(lasting(&again), lasting(&answer));
        let mut connection = service.connect();
        let dry = after.iter().filter_map(|event| match event {
            Event::Transaction(body) => {
                let mut body: Value = serde_json::from_str(body).unwrap();
                body["mode"] = json!("dry_run");
                Some(connection.decide(&body.to_string())["score"].clone())
            }
            Event::Label(_) => None,
        });
        let scores: Vec<Value> = dry.collect();
        assert_eq!(expected.get_or_insert_with(|| scores.clone()), &scores);
        service.terminate();
        assert!(service.ended().success());
    }
    with.verify();
}

#[test]
fn what_a_slow_challenger_does_not_keep_up_with_is_dropped_and_counted_and_nobody_waits() {
    const SENT: usize = 400;
    let slow = model_of_trees(1_000);
    let settings = format!("{PATIENT}[shadow]\nqueue_decisions_max = 1\n");
    let with = Installation::with_settings(&settings).challenger("slow", slow.path());
    let transactions = Traffic::simulate(&with, 31, 60, 20).events(SENT);
    let service = with.serve();
    let mut connection = service.connect();
    for event in &transactions {
        event.send(&mut connection);
    }
    let scores = || metric(&service, "tollgate_challenger_scores_total{challenger=\"slow\"}");
    let dropped = || metric(&service, "tollgate_shadow_dropped_decisions_total{reason=\"queue_full\"}");
    wait_until("the last score", || (scores() + dropped() >= 400.0).then_some(()));
    let (scores, dropped) = (scores(), dropped());
    assert!(dropped > 0.0 && scores > 0.0 && scores + dropped == 400.0, "{scores} and {dropped}");
    assert_eq!(metric(&service, "tollgate_challenger_failures_total{challenger=\"slow\"}"), 0.0);
    assert_eq!(metric(&service, "tollgate_requests_total{result=\"ok\"}"), 400.0);
    service.terminate();
    assert!(service.ended().success());

    let (records, model) = (with.records(), Model::load(slow.path()).unwrap());
    let found = scored(&records);
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "each once, in the order of the log");
    assert_eq!(found.len(), scores as usize);
    for (sequence, _, record, index) in found {
        let decision = records.iter().find(|record| record["sequence"] == sequence).unwrap();
        let said = number(&record["body"]["decisions"][index]["margins"][0]);
        assert_eq!(said.to_bits(), offline(&model, &decision["body"]).0.to_bits());
    }
}

#[test]
fn a_log_without_room_to_spare_takes_every_decision_and_no_scores() {
    let few = model_of_trees(20);
    let settings = format!("{PATIENT}[audit]\nqueue_records_max = 1\n");
    let with = Installation::with_settings(&settings).challenger("few", few.path());
    let transactions = Traffic::simulate(&with, 37, 60, 20).events(100);
    let service = with.serve();
    let mut connection = service.connect();
    for event in &transactions {
        event.send(&mut connection);
    }
    let dropped = || metric(&service, "tollgate_shadow_dropped_decisions_total{reason=\"log\"}");
    wait_until("the last drop", || (dropped() >= 100.0).then_some(()));
    assert_eq!(metric(&service, "tollgate_challenger_scores_total{challenger=\"few\"}"), 0.0);
    assert_eq!(metric(&service, "tollgate_requests_total{result=\"ok\"}"), 100.0);
    service.terminate();
    assert!(service.ended().success());
    assert!(scored(&with.records()).is_empty());
    assert_eq!(with.decisions().len(), 100);
}

#[test]
fn a_challenger_is_replaced_while_the_service_runs_and_a_broken_one_is_refused_by_name() {
    let next = model_of_trees(50);
    let with = Installation::new().challenger("next", next.path());
    let service = with.serve();
    let first = service.policy();
    let reload = || Connection::open(service.admin).post("/v1/policy/reload", "", "");

    fs::write(next.path().join("model.json"), "{}").unwrap();
    let refused = reload();
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("challenger `next`: "), "{}", refused.body);
    assert_eq!(service.policy()["policy"], first["policy"]);

    write_model(next.path(), 60);
    reload();
    let second = wait_until("the new challenger", || {
        let now = service.policy();
        (now["refused"].is_null() && now["policy"] != first["policy"]).then_some(now)
    });
    assert_ne!(second["challengers"], first["challengers"]);
    assert_eq!(second["versions"], first["versions"], "what decides is the same");
}
