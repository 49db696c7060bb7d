//! `kill -9` at any moment loses no answered decision, and the next one is decided as if nothing had happened.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::http::Connection;
use crate::tollgate_process::{Installation, Service, wait_until};
use crate::traffic::{Event, Traffic, lasting};

const TRANSACTIONS: usize = 3_000;
const CONNECTIONS: usize = 4;
const REPEATED_EVERY: usize = 25;
const LOAD_CONNECTIONS: usize = 6;
/// How many more answers each round of load waits for before it kills.
const ANSWERS_BEFORE_KILL: [usize; 4] = [1, 150, 37, 260];

/// What two records of one transaction must share when both services saw the same history.
const DECIDED: [&str; 14] = [
    "transaction_id",
    "decision",
    "reason",
    "reasons",
    "score",
    "risk_level",
    "missing",
    "features",
    "feature_texts",
    "margin",
    "contributions",
    "hits",
    "repeat",
    "policy",
];

/// Sends one event after the other, over several connections in turn, and answers what came back.
fn send(service: &Service, events: &[Event]) -> Vec<Value> {
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| service.connect()).collect();
    events.iter().enumerate().map(|(turn, event)| event.send(&mut connections[turn % CONNECTIONS])).collect()
}

#[test]
fn a_killed_service_goes_on_as_its_uninterrupted_twin() {
    let (victim, twin) = (Installation::new(), Installation::new());
    let events = Traffic::simulate(&twin, 7, 160, 30).events(TRANSACTIONS);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Transaction(_))).count(), TRANSACTIONS);
    assert!(events.iter().filter(|event| matches!(event, Event::Label(_))).count() >= 10, "labels take part");
    kill_and_compare(&victim, &twin, &events, events.len().div_ceil(3));
}

/// Ten thousand rows of public data, a kill, and a thousand more; where the data are at hand.
#[cfg(feature = "parquet")]
#[test]
fn ten_thousand_public_transactions_survive_a_kill() {
    let Some(events) = crate::traffic::public_events(&crate::traffic::HANDBOOK, 11_000) else { return };
    kill_and_compare(&Installation::new(), &Installation::new(), &events, 10_000);
}

/// Sends the same to both; one of them is killed and started again after each `part` of the events. Both must have decided
/// everything the same.
fn kill_and_compare(victim: &Installation, twin: &Installation, events: &[Event], part: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let service = twin.serve();
            send(&service, events);
            service.kill();
        });
        scope.spawn(|| {
            let mut answered: Vec<(&Event, Value)> = Vec::new();
            for part in events.chunks(part) {
                let service = victim.serve();
                // What was asked before the kill is answered as before, and counts no second time.
                let mut connection = service.connect();
                for (event, first) in answered.iter().step_by(REPEATED_EVERY) {
                    let again = event.send(&mut connection);
                    assert_eq!(again["replayed"], true, "{again}");
                    assert_eq!(without_times(again), without_times(first.clone()));
                }
                answered.extend(part.iter().zip(send(&service, part)));
                service.kill();
            }
        });
    });

    let transactions = events.iter().filter(|event| matches!(event, Event::Transaction(_))).count();
    let (victims, twins) = (victim.decisions(), twin.decisions());
    assert_eq!((victims.len(), twins.len()), (transactions, transactions));
    for (victims, twins) in victims.iter().zip(&twins) {
        for field in DECIDED {
            assert_eq!(victims[field], twins[field], "{field} of {}", twins["transaction_id"]);
        }
    }
    let (victims, twins) = (victim.verify(), twin.verify());
    for kind in ["decision", "label"] {
        assert_eq!(victims["by_kind"][kind], twins["by_kind"][kind], "{kind}");
    }
}

/// An answer without what may differ when it comes again.
fn without_times(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().expect("an object");
    fields.remove("replayed").expect("says whether it is a repetition");
    fields.remove("latency_us");
    answer
}

#[test]
fn the_first_answer_comes_again_byte_for_byte_after_a_kill() {
    let installation = Installation::new();
    let events = Traffic::simulate(&installation, 11, 40, 5).events(60);
    let bodies: Vec<&String> = events
        .iter()
        .filter_map(|event| if let Event::Transaction(body) = event { Some(body) } else { None })
        .collect();
    let service = installation.serve();
    let mut connection = service.connect();
    let first: Vec<_> = bodies.iter().map(|body| connection.post("/v1/decisions", "", body)).collect();
    service.kill();
    let service = installation.serve();
    let mut connection = service.connect();
    for (body, first) in bodies.iter().zip(first) {
        let again = connection.post("/v1/decisions", "", body);
        assert_eq!(
            (first.good()["replayed"].as_bool(), again.good()["replayed"].as_bool()),
            (Some(false), Some(true))
        );
        assert_eq!(lasting(&again.body), lasting(&first.body));
    }
    assert_eq!(installation.decisions().len(), bodies.len());
}

#[test]
fn every_answered_decision_is_in_the_log_whenever_the_kill_comes() {
    let installation = Installation::new();
    let events = Traffic::simulate(&installation, 13, 120, 20).events(2_500);
    let next = AtomicUsize::new(0);
    let answered: Mutex<HashMap<String, Value>> = Mutex::default();
    let unanswered: Mutex<Vec<Event>> = Mutex::default();

    for answers in ANSWERS_BEFORE_KILL {
        let service = installation.serve();
        let address = service.decision;
        let enough = answered.lock().unwrap().len() + answers;
        std::thread::scope(|scope| {
            for _ in 0..LOAD_CONNECTIONS {
                scope.spawn(|| {
                    let Ok(mut connection) = Connection::try_open(address) else { return };
                    while let Some(event) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (path, body) = match event {
                            Event::Transaction(body) => ("/v1/decisions", body),
                            Event::Label(body) => ("/v1/labels", body),
                        };
                        let Ok(answer) = connection.try_post(path, "", body) else {
                            unanswered.lock().unwrap().push(event.clone());
                            return;
                        };
                        let answer = answer.good();
                        if let Some(id) = answer["decision_id"].as_str() {
                            answered.lock().unwrap().insert(id.to_owned(), answer);
                        }
                    }
                });
            }
            wait_until("answers under load", || (answered.lock().unwrap().len() >= enough).then_some(()));
            service.kill();
        });
        assert!(next.load(Ordering::Relaxed) < events.len(), "the kill came under load");
    }

    // Those without an answer may have been decided: whoever asks again gets a decision, and it counts once.
    let service = installation.serve();
    let mut connection = service.connect();
    for event in unanswered.into_inner().unwrap() {
        event.send(&mut connection);
    }
    let probes: Vec<String> =
        events[next.load(Ordering::Relaxed)..].iter().filter_map(dry_run).take(100).collect();
    let probe = |connection: &mut Connection| -> Vec<Value> {
        let answers = probes.iter().map(|probe| without_times(connection.decide(probe)));
        answers
            .map(|mut answer| {
                answer.as_object_mut().unwrap().remove("decision_id");
                answer
            })
            .collect()
    };
    let before = probe(&mut connection);
    service.kill();
    let service = installation.serve();
    assert_eq!(probe(&mut service.connect()), before, "the log holds all that the windows held");
    service.kill();

    installation.verify();
    let mut recorded: HashMap<String, Value> = HashMap::new();
    let mut transactions = HashMap::new();
    for record in installation.records().into_iter().filter(|record| record["kind"] == "decision") {
        let body = &record["body"];
        *transactions.entry(body["transaction_id"].to_string()).or_insert(0) += 1;
        recorded.insert(body["decision_id"].as_str().unwrap().to_owned(), record);
    }
    assert!(transactions.values().all(|times| *times == 1), "no transaction is recorded twice");
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() >= ANSWERS_BEFORE_KILL.iter().sum());
    for (id, answer) in answered {
        let record = recorded.get(&id).unwrap_or_else(|| panic!("{id} was answered and is not in the log"));
        for field in ["transaction_id", "decision", "reason", "score"] {
            assert_eq!(record["body"][field], answer[field], "{field} of {id}");
        }
        for field in ["sequence", "hash"] {
            assert_eq!(record[field], answer["audit"][field], "{field} of {id}");
        }
    }
}

/// A transaction as a dry run: it shows what the windows hold, without changing them.
fn dry_run(event: &Event) -> Option<String> {
    let Event::Transaction(body) = event else { return None };
    let mut body: Value = serde_json::from_str(body).unwrap();
    body["mode"] = json!("dry_run");
    Some(body.to_string())
}
