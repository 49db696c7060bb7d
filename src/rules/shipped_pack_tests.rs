//! The pack that ships in `rules/`: it loads, its tests pass, it is documented, and it lets honest traffic through.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::domain::decision::Outcome;
use crate::domain::field::FIELDS;
use crate::domain::ip_facts::IP_FIELDS;
use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};
use crate::rules::lint::run::lint;
use crate::rules::problem::Problem;
use crate::rules::set::RuleSet;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules")
}

/// The names that the shipped catalogue declares, without the catalogue.
pub(super) fn schema() -> (Schema, HashMap<String, Slot>) {
    let mut names: Vec<(String, ValueType, bool)> = FIELDS
        .iter()
        .map(|(field, name, value_type)| {
            let always = matches!(
                field.name(),
                "transaction_id" | "occurred_at" | "amount" | "amount_minor" | "currency"
            );
            ((*name).to_owned(), *value_type, !always)
        })
        .collect();
    let mut add = |entity: &str, aggregate: &str, windows: &str, value_type| {
        for window in windows.split(' ') {
            names.push((format!("{entity}.{aggregate}_{window}"), value_type, true));
        }
    };
    let (int, double) = (ValueType::Int, ValueType::Double);
    for entity in ["customer", "card", "device", "ip"] {
        add(entity, "count", "1m 5m 1h 24h 7d 30d", int);
        add(entity, "declined_count", "1h 24h 7d", int);
        add(entity, "approved_count", "24h 30d", int);
    }
    for entity in ["customer", "card", "device", "ip", "merchant", "terminal"] {
        add(entity, "fraud_count", "7d 30d", int);
    }
    for entity in ["merchant", "terminal"] {
        add(entity, "fraud_rate", "7d 30d", double);
    }
    add("merchant", "count", "1m 1h 24h 7d 30d", int);
    add("terminal", "count", "1h 24h 7d 30d", int);
    for entity in ["customer", "card"] {
        add(entity, "amount_sum", "1h 24h 7d 30d", double);
        add(entity, "amount_mean", "24h 7d 30d", double);
        add(entity, "amount_stddev", "30d", double);
        add(entity, "amount_max", "7d 30d", double);
        add(entity, "amount_min", "1h 7d", double);
        add(entity, "amount_zscore", "30d", double);
    }
    add("merchant", "amount_mean", "24h 7d 30d", double);
    add("merchant", "amount_zscore", "30d", double);
    for (entity, fields, windows) in [
        ("customer", "ip device card merchant", "1h 24h 7d"),
        ("customer", "shipping_country", "24h 7d"),
        ("card", "customer device", "24h 7d"),
        ("card", "merchant", "1h 24h 7d"),
        ("card", "ip", "1h 24h"),
        ("device", "card customer", "1h 24h 7d"),
        ("device", "ip", "1h 24h"),
        ("ip", "card customer", "1h 24h 7d"),
        ("ip", "device", "1h 24h"),
        ("merchant", "card", "1h 24h"),
    ] {
        for field in fields.split(' ') {
            add(entity, &format!("{field}_distinct"), windows, int);
        }
    }
    for (name, value_type) in [
        ("score", double),
        ("customer.seconds_since_last", double),
        ("card.seconds_since_last", double),
        ("device.seconds_since_last", double),
        ("customer.seconds_since_first", double),
        ("card.seconds_since_first", double),
        ("device.seconds_since_first", double),
        ("customer.speed_kmh", double),
        ("card.speed_kmh", double),
        ("customer.distance_km", double),
        ("geo.billing_shipping_mismatch", ValueType::Bool),
        ("geo.issuer_billing_mismatch", ValueType::Bool),
        ("geo.ip_billing_mismatch", ValueType::Bool),
        ("geo.issuer_ip_mismatch", ValueType::Bool),
        ("account.age_days", double),
        ("customer.profile.lifetime_orders", double),
        ("customer.profile.last_country", ValueType::Text),
        ("device.ip_country", ValueType::Text),
        ("ip.reputation.score", double),
        ("card.profile.chargebacks", double),
        ("tx.hour", int),
        ("tx.weekday", int),
        ("tx.is_night", ValueType::Bool),
        ("tx.is_weekend", ValueType::Bool),
    ] {
        names.push((name.to_owned(), value_type, true));
    }
    names.extend(IP_FIELDS.iter().map(|(_, name, value_type)| ((*name).to_owned(), *value_type, true)));
    let mut schema = Schema::new(Slot(10_000));
    let mut slots = HashMap::new();
    for (slot, (name, value_type, nullable)) in (0..).map(Slot).zip(names) {
        schema.add(&name, value_type, slot, nullable).unwrap();
        slots.insert(name, slot);
    }
    (schema, slots)
}

struct Given<'a>(HashMap<Slot, Value<'a>>);

impl Facts for Given<'_> {
    fn value(&self, slot: Slot) -> Value<'_> {
        self.0.get(&slot).copied().unwrap_or_default()
    }

    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        false
    }
}

fn load() -> RuleSet {
    RuleSet::load(&directory(), &schema().0).unwrap_or_else(|problems| {
        let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
        panic!("{}", shown.join("\n"))
    })
}

#[test]
fn the_pack_loads_without_a_warning() {
    let set = load();
    let at = EventTime::parse_rfc3339("2026-11-01T00:00:00Z").unwrap();
    let problems: Vec<String> =
        set.warnings().iter().cloned().chain(lint(&set, at)).map(|p| p.to_string()).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(set.rules().len() >= 30);
    assert_eq!(set.default_outcome(), Outcome::Approve);
    assert!(set.hash().starts_with("sha256:") && set.hash().len() == 71);
}

#[test]
fn every_rule_says_why_and_is_tested_three_ways() {
    for rule in load().rules() {
        assert!(rule.description.len() > 20, "{}", rule.id);
        assert!(rule.owner.is_some(), "{}", rule.id);
        assert!(rule.tests >= 3, "{}", rule.id);
        assert!(!rule.program().reads().is_empty(), "{}", rule.id);
    }
}

#[test]
fn the_tutorial_names_every_function() {
    let text = std::fs::read_to_string(directory().join("README.md")).unwrap();
    for (name, _, _) in crate::expr::function::FUNCTIONS {
        assert!(text.contains(&format!("{name}(")), "{name}");
    }
}

/// The tutorial's own rule, list and refusal are what it says they are.
#[test]
fn the_tutorial_works() {
    use crate::rules::directory::SourceFile;
    let text = std::fs::read_to_string(directory().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let default = file("default.yaml", "default: {then: APPROVE, reason: no_rule_matched}\n");
    let lists = ["partner_shops", "trusted_customers"].map(|name| file(&format!("lists/{name}.txt"), ""));
    assert!(blocks.len() >= 3);
    for block in blocks {
        let files: Vec<SourceFile> =
            [file("mine.yaml", block), default.clone()].into_iter().chain(lists.clone()).collect();
        if let Err(problems) = RuleSet::from_files(&files, &schema().0) {
            let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
            panic!("{block}\n{}", shown.join("\n"));
        }
    }
    let wrong = "rules:\n  - id: gift-cards-velocity\n    when: card.cuont_1h >= 4 && metadata.category == \"gift_cards\"\n    then: CHALLENGE\n    reason: gift_cards_velocity\n";
    let problems =
        RuleSet::from_files(&[file("mine.yaml", wrong), default], &schema().0).map(|_| ()).unwrap_err();
    let shown = problems[0].to_string();
    assert!(text.contains(&shown), "{shown}");
}

#[test]
fn nothing_known_means_no_hit() {
    let set = load();
    let at = EventTime::parse_rfc3339("2026-11-01T00:00:00Z").unwrap();
    assert!(set.evaluate(&Given(HashMap::new()), at).is_empty());
}

#[test]
fn what_the_pack_decides() {
    let set = load();
    let (_, slots) = schema();
    let at = EventTime::parse_rfc3339("2026-11-01T12:00:00Z").unwrap();
    let honest: &[(&str, Value<'_>)] = &[
        ("amount", Value::Double(129.99)),
        ("currency", Value::Text("EUR")),
        ("occurred_at", Value::Time(at)),
        ("customer.id", Value::Text("c_7")),
        ("card.fingerprint", Value::Text("fp_a1")),
        ("card.exp_year", Value::Int(2029)),
        ("card.exp_month", Value::Int(12)),
        ("device.user_agent", Value::Text("Mozilla/5.0 (X11; Linux x86_64)")),
        ("items.count", Value::Int(3)),
        ("card.count_5m", Value::Int(1)),
        ("card.count_1h", Value::Int(2)),
        ("customer.count_1m", Value::Int(1)),
        ("customer.ip_distinct_1h", Value::Int(1)),
        ("card.fraud_count_30d", Value::Int(0)),
        ("tx.is_night", Value::Bool(false)),
        ("customer.amount_mean_30d", Value::Double(80.0)),
        ("customer.amount_zscore_30d", Value::Double(0.7)),
        ("score", Value::Double(0.02)),
    ];
    type Values<'a> = &'a [(&'a str, Value<'a>)];
    let cases: &[(Values<'_>, Outcome, &str)] = &[
        (&[], Outcome::Approve, "no_rule_matched"),
        (&[("card.count_5m", Value::Int(6))], Outcome::Block, "velocity_exceeded"),
        (&[("customer.count_1m", Value::Int(101))], Outcome::Block, "bot_traffic"),
        (&[("items.count", Value::Int(51))], Outcome::Review, "item_limit"),
        (&[("amount", Value::Double(10_000.01))], Outcome::Review, "amount_limit"),
        (&[("customer.ip_distinct_1h", Value::Int(4))], Outcome::Challenge, "several_ips"),
        (&[("score", Value::Double(0.95))], Outcome::Block, "model_high_risk"),
        (&[("score", Value::Double(0.85))], Outcome::Challenge, "model_elevated_risk"),
        (&[("score", Value::Double(0.65))], Outcome::Review, "model_elevated_risk"),
        (
            &[("customer.speed_kmh", Value::Double(2_000.0)), ("customer.distance_km", Value::Double(900.0))],
            Outcome::Challenge,
            "impossible_travel",
        ),
    ];
    for (changed, outcome, reason) in cases {
        let values = honest.iter().chain(*changed).map(|(name, value)| (slots[*name], *value)).collect();
        let facts = Given(values);
        let verdict = set.decide(&set.evaluate(&facts, at));
        assert_eq!((verdict.outcome, verdict.reason), (*outcome, *reason), "{changed:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    /// A file that somebody is in the middle of editing is refused or loads; it never brings anything down.
    #[test]
    fn a_damaged_file_never_panics(
        file in proptest::sample::select(vec!["velocity.yaml", "amounts.yaml", "geography.yaml", "accounts.yaml", "default.yaml"]),
        at in 0.0_f64..1.0,
        cut in 0_usize..40,
        put in "[-a-z0-9{}:|>&*!'\"# \n\t.ä]{0,12}",
    ) {
        use crate::rules::directory::SourceFile;
        let mut text = std::fs::read_to_string(directory().join(file)).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
        let start = text.floor_char_boundary((text.len() as f64 * at) as usize);
        let end = text.floor_char_boundary((start + cut).min(text.len())).max(start);
        text.replace_range(start..end, &put);
        let files = [SourceFile { name: file.to_owned(), text }];
        if let Err(problems) = RuleSet::from_files(&files, &schema().0) {
            for problem in problems {
                let _ = problem.to_string();
            }
        }
    }
}
