//! Drift: the stability indices are what the log's own numbers give; traffic as in training leaves them low, other traffic raises
//! them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::model::manifest::Model;

use crate::challengers::{metric, model_of_trees};
use crate::tollgate_process::{Installation, Service, wait_until};
use crate::traffic::{Event, Traffic, feature};

const SENT: usize = 600;
/// Bins of the reference that the test makes, without the one for missing values.
const BINS: usize = 5;

/// A column as a test sees it: every value, NaN where it is missing.
type Values = Vec<f32>;

/// The values of each feature of the model, and of the score, in the decisions of a log.
fn columns(decisions: &[Value], model: &Model) -> BTreeMap<String, Values> {
    let number =
        |value: &Value| value.as_f64().map_or(f32::NAN, |number| format!("{number}").parse().unwrap());
    let features = model.feature_names.iter().map(|name| {
        (name.to_string(), decisions.iter().map(|it| number(feature(it, name))).collect::<Values>())
    });
    let scores = decisions.iter().map(|it| number(&it["score"])).collect();
    features.chain([("the score".to_owned(), scores)]).collect()
}

/// Edges that cut the values into about equal parts.
fn edges(values: &Values) -> Vec<f32> {
    let mut known: Values = values.iter().copied().filter(|value| !value.is_nan()).collect();
    known.sort_by(f32::total_cmp);
    let mut edges: Vec<f32> =
        (1..BINS).filter_map(|cut| known.get(cut * known.len() / BINS).copied()).collect();
    edges.dedup();
    edges
}

/// Counted value by value: how many edges are not above it; the last count is of what is missing.
fn counts(values: &Values, edges: &[f32]) -> Vec<usize> {
    let mut counts = vec![0; edges.len() + 2];
    for value in values {
        let bin =
            if value.is_nan() { edges.len() + 1 } else { edges.iter().filter(|edge| *edge <= value).count() };
        counts[bin] += 1;
    }
    counts
}

/// The textbook's formula, with half a row added to each bin.
fn psi(training: &[usize], live: &[usize]) -> f64 {
    let share = |counts: &[usize], bin: usize| {
        let rows = counts.iter().sum::<usize>() as f64 + 0.5 * counts.len() as f64;
        (counts[bin] as f64 + 0.5) / rows
    };
    let bins = 0..training.len();
    bins.map(|bin| (share(live, bin), share(training, bin))).map(|(a, e)| (a - e) * (a.ln() - e.ln())).sum()
}

/// Writes the reference into the model's manifest.
fn add_reference(directory: &Path, columns: &BTreeMap<String, Values>) {
    let column = |values: &Values| {
        let edges = edges(values);
        json!({"counts": counts(values, &edges), "edges": edges})
    };
    let file = directory.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let features: BTreeMap<&String, Value> = columns
        .iter()
        .filter(|(name, _)| *name != "the score")
        .map(|(name, it)| (name, column(it)))
        .collect();
    manifest["reference"] = json!({"features": features, "score": column(&columns["the score"])});
    fs::write(file, manifest.to_string()).unwrap();
}

fn of_feature(service: &Service, name: &str) -> f64 {
    metric(service, &format!("tollgate_model_feature_psi{{model=\"champion\",feature=\"{name}\"}}"))
}

/// A model whose reference is what a first service saw of these events.
fn trained_on(events: &[Event]) -> (TempDir, Model, BTreeMap<String, Values>) {
    let directory = model_of_trees(40);
    remove_reference(directory.path());
    let model = Model::load(directory.path()).unwrap();
    let first = Installation::new().model(directory.path());
    let service = first.serve();
    assert_eq!(service.heard(UNMEASURED).len(), 1, "said once");
    let mut connection = service.connect();
    for event in events {
        event.send(&mut connection);
    }
    let text = service.admin("/metrics").body;
    assert!(!text.lines().any(|line| line.starts_with("tollgate_model_")), "nothing is exposed: {text}");
    service.terminate();
    assert!(service.ended().success());
    let columns = columns(&first.decisions(), &model);
    add_reference(directory.path(), &columns);
    (directory, model, columns)
}

const UNMEASURED: &str = "no drift is measured of a model whose manifest has no reference";

fn remove_reference(directory: &Path) {
    let file = directory.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("reference");
    fs::write(file, manifest.to_string()).unwrap();
}

/// Sends the events, waits until all are counted, holds every index to the log, and answers them: features, then the score.
fn measured(
    events: &[Event],
    directory: &Path,
    model: &Model,
    training: &BTreeMap<String, Values>,
) -> (BTreeMap<String, f64>, f64) {
    let installation = Installation::new().model(directory).challenger("next", directory);
    let service = installation.serve();
    assert!(service.heard(UNMEASURED).is_empty());
    let mut connection = service.connect();
    for event in events {
        event.send(&mut connection);
    }
    let counted =
        |model: &str| metric(&service, &format!("tollgate_model_drift_decisions{{model=\"{model}\"}}"));
    wait_until("the last count", || {
        (counted("champion") + counted("next") >= 2.0 * SENT as f64).then_some(())
    });

    let live = columns(&installation.decisions(), model);
    let expected = |name: &str| {
        let edges = edges(&training[name]);
        psi(&counts(&training[name], &edges), &counts(&live[name], &edges))
    };
    let mut features = BTreeMap::new();
    for name in &model.feature_names {
        let (found, expected) = (of_feature(&service, name), expected(name));
        assert!((found - expected).abs() < 1e-9, "{name}: {found}, by the log {expected}");
        features.insert(name.to_string(), found);
    }
    let score = metric(&service, "tollgate_model_score_psi{model=\"champion\"}");
    let expected = expected("the score");
    assert!((score - expected).abs() < 1e-9, "the score: {score}, by the log {expected}");
    // A challenger is measured like the champion; here it is the same model.
    let of_next = metric(&service, "tollgate_model_score_psi{model=\"next\"}");
    assert_eq!(of_next.to_bits(), score.to_bits());
    (features, score)
}

/// The same events with other amounts and without addresses.
fn drifted(events: &[Event]) -> Vec<Event> {
    let drift = |event: &Event| match event {
        Event::Label(body) => Event::Label(body.clone()),
        Event::Transaction(body) => {
            let mut body: Value = serde_json::from_str(body).unwrap();
            body["amount"]["value"] = json!(body["amount"]["value"].as_i64().unwrap() * 20);
            if let Some(device) = body["device"].as_object_mut() {
                device.remove("ip");
            }
            Event::Transaction(body.to_string())
        }
    };
    events.iter().map(drift).collect()
}

#[test]
fn indices_are_what_the_log_says_and_rise_only_with_drift() {
    // Every other transaction is trained on, so that both halves are of the same days, customers and merchants.
    let events = Traffic::simulate(&Installation::new(), 41, 300, 20).events(2 * SENT);
    let (mut training, mut live, mut number) = (Vec::new(), Vec::new(), 0);
    for event in events.into_iter().filter(|event| matches!(event, Event::Transaction(_))) {
        if number % 2 == 0 {
            training.push(event);
        } else {
            live.push(event);
        }
        number += 1;
    }
    let (directory, model, columns) = trained_on(&training);

    let (features, score) = measured(&live, directory.path(), &model, &columns);
    let worst = features.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert!(*worst.1 < 0.1 && score < 0.1, "{worst:?}, the score {score}");

    let (features, _) = measured(&drifted(&live), directory.path(), &model, &columns);
    for name in
        ["card.amount_sum_24h", "device.ip_distinct_24h"].into_iter().filter(|it| features.contains_key(*it))
    {
        assert!(features[name] > 0.25, "{name}: {}", features[name]);
    }
    let raised = features.values().filter(|psi| **psi > 0.25).count();
    assert!(raised >= 10, "{raised} features: {features:?}");
}
