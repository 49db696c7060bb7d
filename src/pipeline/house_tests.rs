//! A service in this process with data of its own, and traffic for it: what the tests of snapshots share.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tempfile::TempDir;

use crate::audit::writer::Ack;
use crate::domain::time::{Clock, EventTime, SystemClock};
use crate::domain::transaction::Mode;
use crate::engine::observe::{observe, prepare};
use crate::engine::policy::PolicyFiles;
use crate::engine::settings::{Effort, MissingPolicy, OnMissing};
use crate::enrich::embedded::EmbeddedProfiles;
use crate::enrich::profiles::Profiles;
use crate::model::backend::Backend;
use crate::pipeline::index::RequestKey;
use crate::pipeline::ip::IpSettings;
use crate::pipeline::lane::Mark;
use crate::pipeline::lists::ListError;
use crate::pipeline::privacy::PrivacySettings;
use crate::pipeline::service::Service;
use crate::pipeline::settings::{OnAuditFailure, OnBacklog, ServiceSettings};
use crate::pipeline::shadow::ShadowSettings;
use crate::pipeline::start::{LogSettings, Parts};
use crate::rules::run_time::Entry;
use crate::window::stats::EntityStats;
use crate::wire::transaction::parse_slice;

/// So small that decisions are forgotten, and the keys of every entity evicted.
pub(crate) const DECISIONS_MAX: usize = 1_100;
const SMALL: [(&str, &str); 3] = [("2_000_000", "150"), ("500_000", "30"), ("4_000_000", "400")];
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody waits for the next one: the tests ask.
const INTERVAL: Duration = Duration::from_secs(86_400);

/// A directory with a policy and data.
pub(crate) struct House {
    directory: TempDir,
    pub(crate) decisions_max: usize,
}

impl House {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rules = directory.path().join("rules");
        fs::create_dir(&rules).unwrap();
        let file = "default: {then: APPROVE, reason: no_rule_matched}
rules:
  - {id: dear, when: amount > 250, then: BLOCK, reason: amount_high, owner: tests, description: Dear.}
";
        fs::write(rules.join("default.yaml"), file).unwrap();
        fs::create_dir(rules.join("lists")).unwrap();
        fs::write(rules.join("lists/watched.txt"), "").unwrap();
        let house = Self { directory, decisions_max: DECISIONS_MAX };
        house.change_catalogue(|text| text);
        house
    }

    /// The shipped catalogue with small bounds, and what `change` makes of it.
    pub(crate) fn change_catalogue(&self, change: impl FnOnce(String) -> String) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features.yaml");
        let text = SMALL.iter().fold(fs::read_to_string(shipped).unwrap(), |text, (large, small)| {
            text.replace(&format!("max_keys: {large}"), &format!("max_keys: {small}"))
        });
        fs::write(self.directory.path().join("features.yaml"), change(text)).unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn start(&self) -> Arc<Service> {
        self.start_with(Some(INTERVAL))
    }

    pub(crate) fn start_with(&self, snapshot_interval: Option<Duration>) -> Arc<Service> {
        let parts = Parts {
            data: self.data(),
            files: PolicyFiles {
                rules: self.directory.path().join("rules"),
                model: None,
                backend: Backend::default(),
                challengers: Vec::new(),
                features: self.directory.path().join("features.yaml"),
            },
            missing: MissingPolicy {
                enrich: OnMissing::Continue,
                model: OnMissing::Continue,
                overload: OnMissing::Continue,
            },
            settings: ServiceSettings {
                deadline_default: PATIENCE,
                enrich_timeout_max: Duration::ZERO,
                clock_skew_max: Duration::from_secs(300),
                in_flight_max: 64,
                decisions_max: self.decisions_max,
                on_audit_failure: OnAuditFailure::Refuse,
                on_backlog: OnBacklog::Fail,
            },
            log: LogSettings {
                ack: Ack::Process,
                commit_interval: Duration::from_millis(5),
                segment_bytes_max: 1 << 20,
                queue_max: 1_024,
            },
            shadow: ShadowSettings::default(),
            ip: IpSettings::default(),
            privacy: PrivacySettings::default(),
            snapshot_interval,
        };
        fs::create_dir_all(self.data()).unwrap();
        let profiles = Profiles::Embedded(EmbeddedProfiles::open(&self.data()).unwrap());
        Service::start(parts, profiles, Arc::new(SystemClock)).unwrap()
    }

    /// A house with the same policy, log and secret, and with the snapshots if wanted. Nobody may be writing.
    pub(crate) fn copy(&self, with_snapshots: bool) -> Self {
        let copy = Self { decisions_max: self.decisions_max, ..Self::new() };
        fs::copy(self.directory.path().join("features.yaml"), copy.directory.path().join("features.yaml"))
            .unwrap();
        fs::create_dir_all(copy.data()).unwrap();
        fs::copy(self.data().join("secret"), copy.data().join("secret")).unwrap();
        for directory in ["log", "keys", "state"].into_iter().take(2 + usize::from(with_snapshots)) {
            fs::create_dir(copy.data().join(directory)).unwrap();
            for file in fs::read_dir(self.data().join(directory)).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), copy.data().join(directory).join(file.file_name())).unwrap();
            }
        }
        copy
    }
}

/// Ends a service as a kill does: without a last snapshot. What it held can still be asked.
pub(crate) fn stop(service: &Service) {
    service.log.close(PATIENCE).unwrap();
}

/// The sequence of the snapshot that a service restored or wrote last; 0 when there is none.
pub(crate) fn snapshot_of(service: &Service) -> u64 {
    metric(service, "tollgate_snapshot_sequence")
}

pub(crate) fn metric(service: &Service, name: &str) -> u64 {
    let text = service.metrics_text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// What several clients send: each its own transactions at random, some of them again, and labels for earlier ones. The clients'
/// transactions meet at the same cards, customers, devices and merchants.
pub(crate) struct Traffic {
    clients: Vec<Client>,
}

#[derive(Clone)]
struct Client {
    name: usize,
    random: ChaCha8Rng,
    sent: Vec<String>,
}

/// Moves on by a second or so with each transaction of whichever client.
static NOW_MS: AtomicI64 = AtomicI64::new(1_750_000_000_000);

impl Traffic {
    /// Of clients with these numbers, which are in their transactions' ids.
    pub(crate) fn new(clients: Range<usize>) -> Self {
        let client = |name| Client { name, random: ChaCha8Rng::seed_from_u64(name as u64), sent: Vec::new() };
        Self { clients: clients.map(client).collect() }
    }

    /// Each client sends so many requests, one after the other; all clients at once.
    pub(crate) async fn send(&mut self, service: &Arc<Service>, requests: usize) {
        let mut tasks = Vec::new();
        for mut client in self.clients.drain(..) {
            let service = Arc::clone(service);
            tasks.push(tokio::spawn(async move {
                for _ in 0..requests {
                    client.step(&service).await;
                }
                client
            }));
        }
        for task in tasks {
            self.clients.push(task.await.unwrap());
        }
    }

    /// The ids of all transactions so far.
    pub(crate) fn ids(&self) -> impl Iterator<Item = String> {
        self.clients.iter().flat_map(|client| {
            (0..client.sent.len()).map(|number| format!("pay_{}_{number}", client.name)).collect::<Vec<_>>()
        })
    }

    /// Transactions that show what is held of everybody, without changing it: new ones, and old ones again.
    pub(crate) fn probes(&self) -> Vec<String> {
        let mut probe = Client { name: usize::MAX, random: ChaCha8Rng::seed_from_u64(99), sent: Vec::new() };
        let old =
            self.clients.iter().flat_map(|client| client.sent.iter().rev().step_by(7).take(20).cloned());
        let mut probes: Vec<String> = old.collect();
        probes.extend((0..300).map(|_| probe.transaction()));
        probes
    }
}

impl Client {
    fn transaction(&mut self) -> String {
        let random = &mut self.random;
        let now_ms = NOW_MS.fetch_add(random.random_range(0..2_000), Ordering::Relaxed);
        let late_ms = if random.random_range(0..10) == 0 { random.random_range(0..7_200_000) } else { 0 };
        let at = EventTime::from_unix_millis(now_ms - late_ms).unwrap();
        let country = ["DE", "FR", "US"][random.random_range(0..3)];
        let mut one_of =
            |name: &str, many: u32| format!("{name}_{}", random.random_range(0..many).pow(2) / many);
        json!({
            "transaction_id": format!("pay_{}_{}", self.name, self.sent.len()),
            "occurred_at": at.to_string(),
            "customer": {"id": one_of("c", 250)},
            "card": {"fingerprint": one_of("f", 300), "issuer_country": "DE"},
            "merchant": {"id": one_of("m", 50), "mcc": "5732"},
            "terminal": {"id": one_of("t", 60)},
            "device": {"id": one_of("d", 200), "ip": format!("203.0.113.{}", random.random_range(0..200))},
            "shipping": {"country": country},
            "amount": {"value": random.random_range(100..30_000), "currency": "EUR"},
        })
        .to_string()
    }

    /// Puts a value on the one list, or takes it off; the clients' values meet.
    async fn change_list(&mut self, service: &Service) {
        let value = format!("c_{}", self.random.random_range(0..30));
        let put = br#"{"note": "a test", "expires": "2999-12-31"}"#;
        if self.random.random_range(0..3) > 0 {
            service.put_on_list("watched", &value, put, "tests").await.unwrap();
        } else {
            match service.take_off_list("watched", &value, br#"{"note": "a test"}"#, "tests").await {
                Ok(_) | Err(ListError::NotListed) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn step(&mut self, service: &Service) {
        if self.random.random_range(0..10) == 0 {
            self.change_list(service).await;
        }
        let chosen = self.random.random_range(0..20);
        let received = SystemClock.instant();
        if chosen >= 6 || self.sent.is_empty() {
            let body = self.transaction();
            service.decide(body.as_bytes(), None, None, received, Effort::Full).await.unwrap();
            self.sent.push(body);
            return;
        }
        // Whether another key for a transaction is needed is asked when its request comes: not for one that may be forgotten until
        // its record is written.
        let back = if chosen == 5 { 20 } else { 200 };
        let number = self.sent.len() - 1 - self.random.random_range(0..self.sent.len().min(back));
        let body = &self.sent[number];
        if chosen < 4 {
            let word = if chosen == 0 { "legitimate" } else { "fraud" };
            let label = json!({"transaction_id": format!("pay_{}_{number}", self.name), "label": word,
                "kind": "chargeback", "occurred_at": parse_slice(body.as_bytes()).unwrap().transaction.occurred_at
                    .plus(Duration::from_secs(60)).to_string()});
            service.label(label.to_string().as_bytes()).await.unwrap();
        } else {
            let key = format!("again {}", self.random.random_range(0..1_000_000));
            let key = (chosen == 5).then_some(&*key);
            service.decide(body.as_bytes(), key, None, received, Effort::Full).await.unwrap();
        }
    }
}

/// What a service knows: the same for all that have seen the same log.
#[derive(PartialEq, Debug)]
pub(crate) struct Facts {
    stats: Vec<EntityStats>,
    counted: (usize, u64),
    has_attempt: Vec<bool>,
    answered: (usize, u64),
    positions: Vec<Option<crate::audit::receipt::Position>>,
    applied: Option<Mark>,
    lists: BTreeMap<(String, String), Entry>,
    features: Vec<u64>,
}

impl Facts {
    pub(crate) fn of(service: &Service, traffic: &Traffic, probes: &[String]) -> Self {
        let policy = service.policies.live();
        let catalogue = &policy.policy.catalogue;
        let mut features = Vec::new();
        let mut has_attempt = Vec::new();
        for probe in probes {
            let transaction = parse_slice(probe.as_bytes()).unwrap().transaction;
            let counted = prepare(&service.state, catalogue, &transaction);
            has_attempt.push(service.state.ledger.has_attempt(counted.transaction));
            let seen = observe(&service.state, catalogue, counted, Mode::DryRun);
            features.extend(seen.windows.numbers().iter().map(|number| number.to_bits()));
        }
        let position = |id: String| service.index.position(RequestKey::of_request(&service.secret, &id));
        Self {
            stats: service.state.windows.stats().to_vec(),
            counted: service.state.ledger.len_and_forgotten(),
            has_attempt,
            answered: service.index.len_and_forgotten(),
            positions: traffic.ids().map(position).collect(),
            applied: service.lane.lock().applied,
            lists: service
                .state
                .lists
                .load()
                .iter()
                .map(|(list, value, entry)| ((list.into(), value.into()), entry.clone()))
                .collect(),
            features,
        }
    }

    /// Says which part differs, not all of it.
    pub(crate) fn must_be(&self, expected: &Self, what: &str) {
        assert_eq!(self.applied, expected.applied, "{what}");
        assert_eq!(self.stats, expected.stats, "{what}");
        assert_eq!(self.counted, expected.counted, "{what}");
        assert_eq!(self.lists, expected.lists, "{what}");
        assert_eq!(self.answered, expected.answered, "{what}");
        assert!(self.has_attempt == expected.has_attempt, "{what}: what has been counted");
        assert!(self.positions == expected.positions, "{what}: what has been answered");
        let differ = self.features.iter().zip(&expected.features).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "{what}: features of {}", expected.features.len());
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.stats.iter().map(|stats| stats.evicted_keys).sum()
    }

    pub(crate) fn forgotten(&self) -> (u64, u64) {
        (self.counted.1, self.answered.1)
    }
}
