//! What is sent: simulated transactions and the labels that become known between them, in time order; and single ones.

#[cfg(feature = "parquet")]
use std::path::Path;
use std::path::PathBuf;

use serde_json::{Value, json};
use tollgate::domain::time::EventTime;
#[cfg(feature = "parquet")]
use tollgate::{
    domain::transaction::Transaction,
    offline::{mapping::Mapping, replay::ReplayEvent, replay_files::ReplayFiles},
    wire::{label::LabelJson, transaction::TransactionJson},
};

use crate::http::Connection;
use crate::tollgate_process::{Installation, run};

/// Something that happens, as the JSON that is posted.
#[derive(Clone, Debug)]
pub enum Event {
    Transaction(String),
    Label(String),
}

impl Event {
    pub fn send(&self, connection: &mut Connection) -> Value {
        match self {
            Self::Transaction(body) => connection.decide(body),
            Self::Label(body) => connection.label(body),
        }
    }
}

/// The files of a simulation.
pub struct Traffic {
    pub transactions: PathBuf,
    pub labels: PathBuf,
}

impl Traffic {
    /// Simulates into the installation's directory: much fraud, quickly known, on few customers, so that windows fill.
    pub fn simulate(installation: &Installation, seed: u64, customers: u32, days: u32) -> Self {
        let file = |name: &str| installation.path().join(name);
        let (transactions, labels) = (file("transactions.ndjson"), file("labels.ndjson"));
        run(
            "simulate",
            [
                "--output",
                transactions.to_str().unwrap(),
                "--labels",
                labels.to_str().unwrap(),
                "--seed",
                &seed.to_string(),
                "--customers",
                &customers.to_string(),
                "--days",
                &days.to_string(),
                "--start",
                "2025-01-06T00:00:00Z",
            ],
        );
        Self { transactions, labels }
    }

    /// The first `limit` transactions, each after the labels that are known by its time.
    pub fn events(&self, limit: usize) -> Vec<Event> {
        let read = |file: &PathBuf| std::fs::read_to_string(file).expect("the simulation's file");
        let labels = read(&self.labels);
        let mut labels = labels.lines().map(|line| (occurred_at(line), line)).peekable();
        let mut events = Vec::new();
        for transaction in read(&self.transactions).lines().take(limit) {
            let now = occurred_at(transaction);
            while let Some((_, label)) = labels.next_if(|(known_at, _)| *known_at <= now) {
                events.push(Event::Label(label.to_owned()));
            }
            events.push(Event::Transaction(transaction.to_owned()));
        }
        events
    }
}

fn occurred_at(line: &str) -> EventTime {
    let event: Value = serde_json::from_str(line).expect("an event is JSON");
    EventTime::parse_rfc3339(event["occurred_at"].as_str().unwrap()).expect("a time")
}

/// A public data set beside the project.
#[cfg(feature = "parquet")]
pub struct Public {
    file: &'static str,
    pub mapping: &'static str,
}

#[cfg(feature = "parquet")]
pub const HANDBOOK: Public = Public {
    file: "../shared/data/handbook_2018-04-01_2018-09-04.parquet",
    mapping: "models/mappings/handbook.yaml",
};

#[cfg(feature = "parquet")]
pub const SPARKOV: Public = Public {
    file: "../shared/data/sparkov_A_train_2012-01-01_2013-06-21.parquet",
    mapping: "models/mappings/sparkov.yaml",
};

#[cfg(feature = "parquet")]
impl Public {
    pub fn path(&self) -> PathBuf {
        crate::tollgate_process::root().join(self.file)
    }
}

/// The first `limit` transactions of a public data set with the labels between them; nothing where it is not at hand.
#[cfg(feature = "parquet")]
pub fn public_events(public: &Public, limit: usize) -> Option<Vec<Event>> {
    let mapping = crate::tollgate_process::root().join(public.mapping);
    let mut transactions = 0..limit;
    public_events_while(public, &mapping, |_| transactions.next().is_some())
}

/// The transactions of a public data set for as long as they are `wanted`, with the labels between them as `mapping` says.
#[cfg(feature = "parquet")]
pub fn public_events_while(
    public: &Public,
    mapping: &Path,
    mut wanted: impl FnMut(&Transaction) -> bool,
) -> Option<Vec<Event>> {
    let input = public.path();
    if !input.exists() {
        eprintln!("{} is not here: nothing to send", input.display());
        return None;
    }
    let mapping = Mapping::load(mapping).unwrap();
    let files = ReplayFiles { input: &input, labels: None, mapping: Some(&mapping), skip_bad_rows: false };
    let mut replay = files.open().unwrap();
    let mut events = Vec::new();
    loop {
        events.push(match replay.next_event().unwrap().expect("more rows") {
            ReplayEvent::Label { label, .. } => {
                Event::Label(serde_json::to_string(&LabelJson(&label)).unwrap())
            }
            ReplayEvent::Attempt { transaction, .. } if wanted(&transaction) => {
                Event::Transaction(serde_json::to_string(&TransactionJson(&transaction)).unwrap())
            }
            ReplayEvent::Attempt { .. } => return Some(events),
        });
    }
}

/// A transaction with enough in it to count for every entity.
pub fn transaction(id: &str) -> Value {
    json!({
        "transaction_id": id, "occurred_at": "2025-10-20T12:00:00Z",
        "amount": {"value": 12999, "currency": "EUR"}, "channel": "ecommerce", "customer": {"id": "c_7"},
        "card": {"fingerprint": "fp_a1", "bin": "42424242", "last4": "4242", "issuer_country": "DE"},
        "merchant": {"id": "m_1", "mcc": "5732", "country": "DE"}, "terminal": {"id": "t_44"},
        "device": {"id": "d_3", "ip": "203.0.113.7"}, "items": {"count": 3},
    })
}

/// The value of a feature in a recorded decision. `null` is missing.
pub fn feature<'a>(decision: &'a Value, name: &str) -> &'a Value {
    let slot = names().iter().position(|it| it == name).unwrap_or_else(|| panic!("no feature {name}"));
    &decision["features"][slot]
}

/// The features' names, in catalogue order.
pub fn names() -> &'static [String] {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| {
        let file = crate::tollgate_process::root().join("models/features.yaml");
        let catalogue = tollgate::feature::catalogue::Catalogue::load(&file).expect("the shipped catalogue");
        catalogue.features.iter().map(|feature| feature.name.to_string()).collect()
    })
}

/// What the first answer and its repetition must share: everything but `replayed` and `latency_us`.
pub fn lasting(answer: &str) -> String {
    let start = answer.find("\"replayed\":").expect("says whether it is a repetition");
    let rest = &answer[start..];
    let after_replayed = rest.find(',').expect("something follows") + 1;
    let latency = answer.find("\"latency_us\":{").expect("says how long it took");
    let after_latency = latency + answer[latency..].find('}').expect("ends") + 1;
    assert!(start < latency, "{answer}");
    format!("{}{}{}", &answer[..start], &answer[start + after_replayed..latency], &answer[after_latency..])
}
