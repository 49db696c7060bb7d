//! `kill -9`, again and again, under load of all kinds: every decision, label and change of a list that was answered is in the log, with the hash that was
//! answered, and the log is whole. `TOLLGATE_TEST_KILLS=1000` for more kills than in a default run.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Connection;
use crate::reload::Rules;
use crate::tollgate_process::{Installation, PATIENT};
use crate::traffic::transaction;

const KILLS: usize = 20;
const CONNECTIONS: usize = 4;
/// A kill comes when the first answers are there, and up to so much later.
const DELAY_MS_MAX: usize = 60;
/// After so many kills, an installation of its own begins, so that starts stay quick.
const KILLS_OF_AN_INSTALLATION: usize = 100;

/// What was answered: the record's sequence, kind and hash, and what of it is looked for in its body.
type Answered = HashMap<u64, (&'static str, String, String)>;

/// The requests of one connection, in turns: payments, labels of them, and entries of a list.
struct Load<'a> {
    decisions: Connection,
    admin: Connection,
    number: &'a AtomicUsize,
    answered: &'a Mutex<Answered>,
}

impl Load<'_> {
    fn note(&self, kind: &'static str, answer: &Value, of: &str) {
        let audit = &answer["audit"];
        let (Some(sequence), Some(hash)) = (audit["sequence"].as_u64(), audit["hash"].as_str()) else {
            panic!("answered without a record: {answer}");
        };
        let other = self.answered.lock().unwrap().insert(sequence, (kind, hash.to_owned(), of.to_owned()));
        assert!(other.is_none(), "record {sequence} was answered twice: {other:?} and {answer}");
    }

    /// Until the service is gone.
    fn run(mut self) {
        loop {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let id = format!("pay_{number}");
            let mut body = transaction(&id);
            body["customer"]["id"] = json!(format!("c_{}", number % 500));
            let Ok(answer) = self.decisions.try_post("/v1/decisions", "", &body.to_string()) else { return };
            self.note("decision", &answer.good(), &id);
            if number.is_multiple_of(3) {
                let label = json!({"transaction_id": id, "label": "fraud", "kind": "chargeback", "occurred_at": "2025-11-20T12:00:00Z"});
                let Ok(answer) = self.decisions.try_post("/v1/labels", "", &label.to_string()) else {
                    return;
                };
                self.note("label", &answer.good(), &id);
            }
            if number.is_multiple_of(4) {
                let (path, note) =
                    (format!("/v1/lists/blocked_cards/fp_{number}"), format!("note of {number}"));
                let body = json!({"note": note}).to_string();
                let Ok(answer) = self.admin.try_request("PUT", &path, &body) else { return };
                self.note("list_change", &answer.json(), &note);
            }
        }
    }
}

/// Kills so often; says how many answers there were.
fn kills(ack: &str, kills: usize, first_number: usize) -> usize {
    let rules = Rules::new();
    std::fs::write(rules.path().join("lists/blocked_cards.txt"), "").unwrap();
    let settings =
        format!("{PATIENT}[audit]\nack = \"{ack}\"\nsegment_mib = 1\n[state]\nsnapshot_interval_s = 1\n");
    let installation = Installation::with_settings(&settings).rules(&rules.path());
    let number = AtomicUsize::new(first_number);
    let answered: Mutex<Answered> = Mutex::default();
    for kill in 0..kills {
        let service = installation.serve();
        let before = answered.lock().unwrap().len();
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                let load = Load {
                    decisions: service.connect(),
                    admin: service.connect_admin(),
                    number: &number,
                    answered: &answered,
                };
                scope.spawn(|| load.run());
            }
            while answered.lock().unwrap().len() == before {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(((kill * 7_919 + first_number) % DELAY_MS_MAX) as u64));
            service.kill();
        });
    }
    installation.verify();
    let answered = answered.into_inner().unwrap();
    let records = installation.records();
    let mut found = 0;
    for record in &records {
        let Some((kind, hash, of)) = record["sequence"].as_u64().and_then(|it| answered.get(&it)) else {
            continue;
        };
        found += 1;
        assert_eq!((&record["kind"], &record["hash"]), (&json!(kind), &json!(hash)));
        assert!(record["body"].to_string().contains(of), "{of}: {record}");
    }
    assert_eq!(found, answered.len(), "answered and not in the log");
    found
}

#[test]
fn every_answer_is_in_the_log_however_often_the_service_is_killed() {
    let all = std::env::var("TOLLGATE_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (mut done, mut answers) = (0, 0);
    while done < all {
        let now = (all - done).min(KILLS_OF_AN_INSTALLATION).min(all.div_ceil(2));
        let ack = if (done / now).is_multiple_of(2) { "process" } else { "disk" };
        answers += kills(ack, now, done * 1_000_000);
        done += now;
    }
    println!("{done} kills under load: {answers} answers, all of them in the log");
}
