//! The contract of the feature path, held against plain lists: what `tollgate features` computes, recomputed from every event.
//!
//! The path is the command line's own: wire format, policy, session. The oracle knows transactions by their ids and goes
//! through all of them for every number. Counts and sums are equal exactly; means, deviations and z-scores bit for bit,
//! because the formula over exact integers is part of the contract.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tollgate::domain::decision::Outcome;
use tollgate::domain::time::EventTime;
use tollgate::domain::transaction::Mode;
use tollgate::engine::policy::{Policy, PolicyFiles};
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::evaluation::session::Session;
use tollgate::feature::catalogue::Catalogue;
use tollgate::model::backend::Backend;
use tollgate::wire::{label, transaction};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 2026-01-10T00:00:00Z
const START_MS: i64 = 1_768_003_200_000;
/// The test's rules block from this amount on.
const BLOCK_MINOR: i64 = 40_000;

const WINDOWS: [(&str, i64); 3] = [("1h", HOUR_MS), ("1d", DAY_MS), ("30d", 30 * DAY_MS)];
/// Entities of the test catalogue with the fields of their keys.
const ENTITIES: [(&str, &[&str]); 3] =
    [("customer", &["customer"]), ("terminal", &["terminal"]), ("pair", &["customer", "terminal"])];

const CATALOGUE_HEAD: &str = "version: 1
entities:
  customer: {key: customer.id}
  terminal: {key: terminal.id}
  pair: {key: [customer.id, terminal.id]}
windows:
";

fn catalogue_text() -> String {
    let mut text = CATALOGUE_HEAD.to_owned();
    let all = "[1h, 1d, 30d]";
    let mut derived = String::from("derived:\n");
    for (entity, _) in ENTITIES {
        for stream in ["attempts", "approved", "declined"] {
            text += &format!("  - {{entity: {entity}, stream: {stream}, count: {all}}}\n");
            text += &format!(
                "  - {{entity: {entity}, stream: {stream}, of: amount, sum: {all}, mean: {all}, stddev: {all}, min: {all}, max: {all}}}\n"
            );
        }
        text += &format!("  - {{entity: {entity}, stream: attempts, of: device.ip, distinct: {all}}}\n");
        text += &format!("  - {{entity: {entity}, stream: labels, count: {all}}}\n");
        text +=
            &format!("  - {{entity: {entity}, stream: labels, where: fraud, count: {all}, rate: {all}}}\n");
        derived +=
            &format!("  - {{name: {entity}.zscore_30d, zscore: amount, entity: {entity}, window: 30d}}\n");
        derived += &format!("  - {{name: {entity}.since_last, since_last: {entity}}}\n");
        derived += &format!("  - {{name: {entity}.since_first, since_first: {entity}}}\n");
        derived += &format!("  - {{name: {entity}.session_count, session_count: {entity}, gap: 30m}}\n");
        derived += &format!("  - {{name: {entity}.session_seconds, session_seconds: {entity}, gap: 30m}}\n");
        derived += &format!(
            "  - {{name: {entity}.testing, card_testing: {entity}, window: 1d, small: \"50\", large: \"100.5\"}}\n"
        );
    }
    text + &derived
}

/// A policy with the test's catalogue in a directory that must outlive it.
fn policy(directory: &Path) -> Policy {
    let (features, rules) = (directory.join("features.yaml"), directory.join("rules"));
    fs::create_dir(&rules).unwrap();
    fs::write(&features, catalogue_text()).unwrap();
    let pack =
        "rules:\n  - id: too_much\n    when: amount_minor >= 40000\n    then: BLOCK\n    reason: too_much\n";
    fs::write(rules.join("pack.yaml"), pack).unwrap();
    fs::write(rules.join("default.yaml"), "default: {then: APPROVE, reason: no_rule_matched}\n").unwrap();
    let missing = MissingPolicy {
        enrich: OnMissing::Continue,
        model: OnMissing::Continue,
        overload: OnMissing::Continue,
    };
    let files =
        PolicyFiles { rules, model: None, challengers: Vec::new(), backend: Backend::default(), features };
    Policy::load(&files, missing).unwrap()
}

/// A transaction as the oracle knows it.
#[derive(Clone, Debug)]
struct Tx {
    id: usize,
    at: i64,
    minor: i64,
    currency: &'static str,
    customer: Option<u32>,
    terminal: Option<u32>,
    ip: Option<u32>,
}

fn rfc3339(millis: i64) -> String {
    EventTime::from_unix_millis(millis).unwrap().to_string()
}

impl Tx {
    fn at(id: usize, at: i64) -> Self {
        Self { id, at, minor: 1_000, currency: "EUR", customer: Some(1), terminal: Some(1), ip: None }
    }

    fn read(&self) -> tollgate::domain::transaction::Transaction {
        let mut body = json!({
            "transaction_id": format!("t{}", self.id), "occurred_at": rfc3339(self.at),
            "amount": {"value": self.minor, "currency": self.currency},
        });
        for (object, field, value) in [
            ("customer", "id", self.customer.map(|it| format!("c{it}"))),
            ("terminal", "id", self.terminal.map(|it| format!("m{it}"))),
            ("device", "ip", self.ip.map(|it| format!("10.0.0.{it}"))),
        ] {
            if let Some(value) = value {
                body[object] = json!({ field: value });
            }
        }
        transaction::parse_value(&body).unwrap().transaction
    }

    fn key(&self, fields: &[&str]) -> Option<Vec<u32>> {
        fields.iter().map(|field| if *field == "customer" { self.customer } else { self.terminal }).collect()
    }

    fn per_major(&self) -> f64 {
        if self.currency == "JPY" { 1.0 } else { 100.0 }
    }
}

/// Everything that happened, in the order in which it became known.
#[derive(Default)]
struct History {
    attempts: Vec<Tx>,
    labels: Vec<(Tx, i64, bool)>,
}

impl History {
    /// The feature by its definition; NaN is missing.
    fn feature(&self, name: &str, tx: &Tx) -> f64 {
        let (entity, rest) = name.split_once('.').unwrap();
        let fields = ENTITIES.iter().find(|(known, _)| *known == entity).unwrap().1;
        let Some(key) = tx.key(fields) else { return f64::NAN };
        let earlier: Vec<&Tx> = self
            .attempts
            .iter()
            .filter(|it| it.id != tx.id && it.at <= tx.at && it.key(fields).as_ref() == Some(&key))
            .collect();
        match rest {
            "since_last" => {
                return earlier.iter().map(|it| it.at).max().map_or(f64::NAN, |at| (tx.at - at) as f64 / 1e3);
            }
            "since_first" => {
                let first = earlier.iter().map(|it| it.at).min().unwrap_or(tx.at);
                return (tx.at - first) as f64 / 1e3;
            }
            "session_count" | "session_seconds" => {
                let mut times: Vec<i64> = earlier.iter().map(|it| it.at).chain([tx.at]).collect();
                times.sort_unstable();
                let pause = times.windows(2).rposition(|pair| pair[1] - pair[0] > HOUR_MS / 2);
                let session = &times[pause.map_or(0, |pause| pause + 1)..];
                let seconds = (tx.at - session[0]) as f64 / 1e3;
                return if rest == "session_count" { session.len() as f64 } else { seconds };
            }
            "testing" => {
                // 50 and 100.50 in the present currency.
                let (small, large) = if tx.currency == "JPY" { (50, 100) } else { (5_000, 10_050) };
                let is_small =
                    |it: &&&Tx| it.at > tx.at - DAY_MS && it.currency == tx.currency && it.minor <= small;
                let small_ones = earlier.iter().filter(is_small).count();
                return if tx.minor < large { 0.0 } else { small_ones as f64 };
            }
            _ => {}
        }
        let (what, window) = rest.rsplit_once('_').unwrap();
        let window_ms = WINDOWS.iter().find(|(known, _)| *known == window).unwrap().1;
        let within = |at: i64| tx.at - window_ms < at && at <= tx.at;
        if what.starts_with("fraud_") || what.starts_with("labels_") {
            let said: Vec<bool> = self
                .labels
                .iter()
                .filter(|(of, at, _)| of.key(fields).as_ref() == Some(&key) && within(*at))
                .map(|(_, _, fraud)| *fraud)
                .collect();
            let frauds = said.iter().filter(|fraud| **fraud).count() as f64;
            return match what {
                "labels_count" => said.len() as f64,
                "fraud_count" => frauds,
                _ if said.is_empty() => f64::NAN,
                _ => frauds / said.len() as f64,
            };
        }
        let mut events: Vec<&Tx> = earlier.into_iter().filter(|it| within(it.at)).collect();
        let what = if let Some(what) = what.strip_prefix("approved_") {
            events.retain(|it| it.minor < BLOCK_MINOR);
            what
        } else if let Some(what) = what.strip_prefix("declined_") {
            events.retain(|it| it.minor >= BLOCK_MINOR);
            what
        } else {
            if what != "zscore" {
                events.push(tx);
            }
            what
        };
        if what == "count" {
            return events.len() as f64;
        }
        if what == "ip_distinct" {
            let mut ips: Vec<u32> = events.iter().filter_map(|it| it.ip).collect();
            ips.sort_unstable();
            ips.dedup();
            return ips.len() as f64;
        }
        let minors: Vec<i128> =
            events.iter().filter(|it| it.currency == tx.currency).map(|it| it.minor.into()).collect();
        amounts(what, &minors, tx)
    }
}

/// Aggregates over exact minor units.
fn amounts(what: &str, minors: &[i128], tx: &Tx) -> f64 {
    let (n, sum) = (minors.len() as i128, minors.iter().sum::<i128>());
    // n^2 times the variance: a whole number.
    let spread = n * minors.iter().map(|minor| minor * minor).sum::<i128>() - sum * sum;
    let divisor = n as f64 * tx.per_major();
    match what {
        "amount_sum" => sum as f64 / tx.per_major(),
        "zscore" if n < 2 || spread == 0 => f64::NAN,
        "zscore" => (n * i128::from(tx.minor) - sum) as f64 / (spread as f64).sqrt(),
        _ if n == 0 => f64::NAN,
        "amount_mean" => sum as f64 / divisor,
        "amount_stddev" => (spread as f64).sqrt() / divisor,
        "amount_min" => *minors.iter().min().unwrap() as f64 / tx.per_major(),
        "amount_max" => *minors.iter().max().unwrap() as f64 / tx.per_major(),
        other => panic!("no oracle for {other}"),
    }
}

fn say(session: &Session<'_>, history: &mut History, tx: &Tx, at: i64, fraud: bool) {
    let verdict = if fraud { "fraud" } else { "legitimate" };
    let body: Value = json!({"transaction_id": format!("t{}", tx.id), "label": verdict, "kind": "chargeback", "occurred_at": rfc3339(at)});
    session.label(&tx.read(), &label::parse_value(&body).unwrap());
    history.labels.push((tx.clone(), at, fraud));
}

fn decide(session: &Session<'_>, tx: &Tx) -> Vec<f64> {
    session.decide(&tx.read(), Mode::Live).features.numbers().to_vec()
}

#[test]
fn every_feature_is_what_a_plain_list_gives() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(directory.path());
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (session, mut history) = (Session::new(&policy), History::default());
        let mut known: Vec<Tx> = Vec::new();
        let mut unlabelled: Vec<Tx> = Vec::new();
        let mut now = START_MS;
        for id in 0..400 {
            // Steps of whole half hours make equal times and window edges common.
            now += rng.random_range(0..3) * (HOUR_MS / 2);
            let is_repeat = !known.is_empty() && rng.random_bool(0.1);
            let tx = if is_repeat {
                known[rng.random_range(0..known.len())].clone()
            } else {
                let late = if rng.random_bool(0.2) { rng.random_range(0..60) * (HOUR_MS / 2) } else { 0 };
                Tx {
                    id,
                    at: now - late,
                    minor: rng.random_range(1..50_000),
                    currency: if rng.random_bool(0.7) { "EUR" } else { "JPY" },
                    customer: rng.random_bool(0.9).then(|| rng.random_range(0..4)),
                    terminal: rng.random_bool(0.9).then(|| rng.random_range(0..3)),
                    ip: rng.random_bool(0.8).then(|| rng.random_range(1..6)),
                }
            };
            let ours = decide(&session, &tx);
            for (slot, feature) in policy.catalogue.features.iter().enumerate() {
                let expected = history.feature(&feature.name, &tx);
                let same =
                    ours[slot].to_bits() == expected.to_bits() || ours[slot].is_nan() && expected.is_nan();
                assert!(same, "seed {seed}, {} of {tx:?}: {} and not {expected}", feature.name, ours[slot]);
            }
            if !is_repeat {
                history.attempts.push(tx.clone());
                known.push(tx.clone());
                unlabelled.push(tx);
            }
            if rng.random_bool(0.4) && !unlabelled.is_empty() {
                let of = unlabelled.swap_remove(rng.random_range(0..unlabelled.len()));
                let fraud = rng.random_bool(0.5);
                say(&session, &mut history, &of, now.max(of.at), fraud);
            }
        }
    }
}

#[test]
fn facts() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(directory.path());
    let slot = |name: &str| policy.catalogue.slot(name).unwrap();
    let fresh = || Session::new(&policy);
    let (count, mean) = (slot("customer.count_1h"), slot("customer.amount_mean_1h"));

    let session = fresh();
    let six: Vec<f64> = (0..6).map(|id| decide(&session, &Tx::at(id, START_MS + id as i64))[count]).collect();
    assert_eq!(six, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "the sixth one is number six");

    let session = fresh();
    decide(&session, &Tx::at(0, START_MS));
    assert_eq!(decide(&session, &Tx::at(1, START_MS + HOUR_MS))[count], 1.0, "t - W is outside");
    assert_eq!(
        decide(&session, &Tx::at(2, START_MS + HOUR_MS - 1))[count],
        2.0,
        "just after t - W is inside, late or not"
    );
    assert_eq!(
        decide(&session, &Tx::at(3, START_MS + HOUR_MS))[count],
        3.0,
        "t is inside, and so is the late one"
    );
    assert_eq!(
        decide(&session, &Tx::at(3, START_MS + HOUR_MS))[count],
        3.0,
        "the same one again counts once"
    );

    let session = fresh();
    let first = decide(&session, &Tx::at(0, START_MS));
    for (name, expected) in [
        ("customer.count_1h", 1.0),
        ("customer.approved_count_1h", 0.0),
        ("customer.declined_count_1h", 0.0),
        ("customer.fraud_count_1h", 0.0),
        ("customer.amount_mean_1h", 10.0),
        ("customer.since_first", 0.0),
    ] {
        assert_eq!(first[slot(name)], expected, "{name} of a key never seen");
    }
    for name in ["customer.approved_amount_mean_1h", "customer.since_last", "customer.fraud_rate_1h"] {
        assert!(first[slot(name)].is_nan(), "{name} of a key never seen is missing");
    }
    let nobody = decide(&session, &Tx { customer: None, ..Tx::at(1, START_MS) });
    assert!(nobody[count].is_nan() && nobody[mean].is_nan() && nobody[slot("pair.count_1h")].is_nan());
    assert_eq!(nobody[slot("terminal.count_1h")], 2.0);

    let (session, mut history) = (fresh(), History::default());
    let tx = Tx::at(0, START_MS);
    decide(&session, &tx);
    say(&session, &mut history, &tx, START_MS + HOUR_MS, true);
    let fraud = slot("customer.fraud_count_1h");
    for (id, at, expected) in
        [(1, HOUR_MS - 1, 0.0), (2, HOUR_MS, 1.0), (3, 2 * HOUR_MS - 1, 1.0), (4, 2 * HOUR_MS, 0.0)]
    {
        assert_eq!(
            decide(&session, &Tx::at(id, START_MS + at))[fraud],
            expected,
            "a label counts from its own time: {at}"
        );
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features.yaml")
}

#[test]
fn the_shipped_catalogue_is_wide() {
    let catalogue = Catalogue::load(&shipped()).unwrap();
    assert!(catalogue.features.len() >= 150, "{} features", catalogue.features.len());
    for entity in
        ["customer", "card", "device", "ip", "merchant", "terminal", "customer_merchant", "card_merchant"]
    {
        let prefix = format!("{entity}.");
        assert!(catalogue.features.iter().any(|it| it.name.starts_with(&prefix)), "nothing of {entity}");
    }
    let words = |name: &str| catalogue.features[catalogue.slot(name).unwrap()].words.as_deref();
    for feature in &catalogue.features {
        let words = words(&feature.name).unwrap_or_else(|| panic!("{} has no words", feature.name));
        assert!(!words.contains(['{', '}']), "{}: {words}", feature.name);
    }
    assert_eq!(words("card.count_5m"), Some("attempts of this card in 5m"));
    assert_eq!(
        words("card.count_1h_share_of_24h"),
        Some("share of the attempts of this card in 24h that came in 1h")
    );
}

#[test]
fn a_derived_feature_may_have_a_name_without_a_dot() {
    let text = "version: 1
entities:
  customer: {key: customer.id}
windows:
  - {entity: customer, stream: attempts, count: [1d]}
derived:
  - {name: customer_nb_tx_1day, expr: customer.count_1d}
  - {name: twice, expr: customer_nb_tx_1day + customer_nb_tx_1day}
  - {name: seconds_ago, since_last: customer}
";
    let directory = tempfile::tempdir().unwrap();
    let (features, rules) = (directory.path().join("features.yaml"), directory.path().join("rules"));
    fs::write(&features, text).unwrap();
    fs::create_dir(&rules).unwrap();
    let pack = "rules:\n  - {id: often, when: twice >= 4, then: BLOCK, reason: often, message: \"{twice} is twice\"}\n";
    fs::write(rules.join("pack.yaml"), pack).unwrap();
    fs::write(rules.join("default.yaml"), "default: {then: APPROVE, reason: no_rule_matched}\n").unwrap();
    let missing = MissingPolicy {
        enrich: OnMissing::Continue,
        model: OnMissing::Continue,
        overload: OnMissing::Continue,
    };
    let policy = Policy::load(
        &PolicyFiles { rules, model: None, challengers: Vec::new(), backend: Backend::default(), features },
        missing,
    )
    .unwrap();
    let names: Vec<&str> = policy.catalogue.features.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["customer.count_1d", "customer_nb_tx_1day", "twice", "seconds_ago"]);

    let session = Session::new(&policy);
    let judge = |id: usize| session.decide(&Tx::at(id, START_MS + 1_000 * id as i64).read(), Mode::Live);
    assert_eq!(judge(0).outcome, Outcome::Approve);
    let second = judge(1);
    assert_eq!(second.features.numbers(), [2.0, 2.0, 4.0, 1.0]);
    assert_eq!(second.outcome, Outcome::Block, "a rule reads such a name");

    let clash = text.replace("name: twice", "name: channel");
    let errors = Catalogue::compile(Path::new("wrong.yaml"), &clash).unwrap_err();
    assert!(errors[0].to_string().contains("`channel` is declared twice"), "{}", errors[0]);
}

#[test]
fn mistakes_are_refused_with_file_and_line() {
    let window = |line: &str| format!("{CATALOGUE_HEAD}  - {line}\n");
    let derived = |line: &str| {
        format!("version: 1\nentities:\n  customer: {{key: customer.id}}\nderived:\n  - {line}\n")
    };
    for (text, line, says) in [
        (window("{entity: custmer, stream: attempts, count: [1h]}"), 7, "did you mean `customer`"),
        (window("{entity: customer, stream: tries, count: [1h]}"), 7, "no stream `tries`"),
        (window("{entity: customer, stream: attempts}"), 7, "names no window"),
        (window("{entity: customer, stream: attempts, count: [1 fortnight]}"), 7, ""),
        (window("{entity: customer, stream: attempts, sum: [1h]}"), 7, "of: amount"),
        (window("{entity: customer, stream: attempts, where: fraud, count: [1h]}"), 7, "`where`"),
        (window("{entity: customer, stream: labels, rate: [1h]}"), 7, "where: fraud"),
        (window("{entity: customer, stream: attempts, of: device.ipp, distinct: [1h]}"), 7, "device.ip"),
        (window("{entity: customer, stream: attempts, count: [1h, 1h]}"), 7, "customer.count_1h"),
        (window("{entity: customer, stream: attempts, median: [1h]}"), 7, "median"),
        (derived("{name: a.b, expr: \"amount > \"}"), 5, "a.b"),
        (derived("{name: a.b, expr: \"amount > customer.count_1h\"}"), 5, "customer.count_1h"),
        (derived("{name: a.b, since_last: customer, expr: amount}"), 5, "exactly one"),
        (derived("{name: a.b, zscore: amount}"), 5, "zscore"),
        (derived("{name: a.b, session_count: customer}"), 5, "gap: 30m"),
        (derived("{name: a.b, session_seconds: customer, gap: 30}"), 5, ""),
        (derived("{name: a.b, session_count: costumer, gap: 30m}"), 5, "did you mean `customer`"),
        (derived("{name: a.b, since_last: customer, gap: 30m}"), 5, "`gap` is only for"),
        (derived("{name: a.b, since_last: customer, window: 1h}"), 5, "`window` is only for"),
        (derived("{name: a.b, card_testing: customer, window: 1h, small: \"2.00\"}"), 5, "large:"),
        (derived("{name: a.b, card_testing: customer, small: \"2\", large: \"20\"}"), 5, "window: 1h"),
        (derived("{name: a.b, expr: amount, large: \"20\"}"), 5, "only for card_testing"),
        (
            derived("{name: a.b, expr: amount}\nwords:\n  - {features: \"a.c*\", say: it}"),
            7,
            "no feature is called like `a.c*`",
        ),
    ] {
        let errors = Catalogue::compile(Path::new("wrong.yaml"), &text).unwrap_err();
        let shown = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(shown.contains(&format!("wrong.yaml:{line}")), "{text}\n{shown}");
        assert!(shown.contains(says), "{text}\n{shown}");
    }
}
