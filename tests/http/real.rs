//! The pipeline's own service behind the ports: its answers are those that the OpenAPI document describes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::audit::writer::Ack;
use tollgate::domain::time::{Clock, SystemClock};
use tollgate::engine::policy::PolicyFiles;
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::profiles::Profiles;
use tollgate::model::backend::Backend;
use tollgate::pipeline::ip::IpSettings;
use tollgate::pipeline::privacy::PrivacySettings;
use tollgate::pipeline::service::Service;
use tollgate::pipeline::settings::{OnAuditFailure, OnBacklog, ServiceSettings};
use tollgate::pipeline::shadow::ShadowSettings;
use tollgate::pipeline::start::{LogSettings, Parts};

use crate::contract::Contract;
use crate::steered::{Running, Steered};
use crate::wire::{ask, get, post, request};

pub(crate) fn start(data: &Path) -> Arc<Service> {
    start_with(data, Ack::Process, Duration::from_millis(5))
}

/// With records that count as written when `ack` says so.
pub(crate) fn start_with(data: &Path, ack: Ack, commit_interval: Duration) -> Arc<Service> {
    let mut parts = parts(data);
    (parts.log.ack, parts.log.commit_interval) = (ack, commit_interval);
    let profiles = Profiles::Embedded(EmbeddedProfiles::open(data).unwrap());
    Service::start(parts, profiles, Arc::new(SystemClock)).unwrap()
}

/// What a service with the shipped rules and no model is made of.
pub(crate) fn parts(data: &Path) -> Parts {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Parts {
        privacy: PrivacySettings::default(),
        data: data.to_owned(),
        files: PolicyFiles {
            rules: root.join("rules"),
            model: None,
            backend: Backend::default(),
            challengers: Vec::new(),
            features: root.join("models/features.yaml"),
        },
        missing: MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Continue,
            overload: OnMissing::Continue,
        },
        settings: ServiceSettings {
            deadline_default: Duration::from_secs(5),
            enrich_timeout_max: Duration::from_secs(1),
            clock_skew_max: Duration::from_secs(300),
            in_flight_max: 64,
            decisions_max: 10_000,
            on_audit_failure: OnAuditFailure::Refuse,
            on_backlog: OnBacklog::Fail,
        },
        log: LogSettings {
            ack: Ack::Process,
            commit_interval: Duration::from_millis(5),
            segment_bytes_max: 16 << 20,
            queue_max: 1_024,
        },
        shadow: ShadowSettings::default(),
        ip: IpSettings::default(),
        snapshot_interval: None,
    }
}

pub(crate) fn transaction(id: &str) -> Value {
    json!({
        "transaction_id": id, "occurred_at": SystemClock.now().to_string(),
        "amount": {"value": 12999, "currency": "EUR"}, "channel": "ecommerce", "customer": {"id": "c_7"},
        "card": {"fingerprint": "fp_a1", "bin": "42424242", "issuer_country": "US"},
        "merchant": {"id": "m_1", "mcc": "5732", "country": "DE"}, "metadata": {"campaign": "spring", "gift": true},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_answers_are_as_described() {
    let data = tempfile::tempdir().unwrap();
    let service = start(data.path());
    let running = Running::serve(Running::<Steered>::options(), Arc::clone(&service)).await;
    let (decision, admin) = (running.decision, running.admin);
    let contract = Contract::of(decision).await;
    let decisions = "/v1/decisions";

    let body = transaction("pay_1").to_string();
    let first = ask(decision, post(decisions, "", &body)).await;
    assert_eq!(first.status, 200, "{first:?}");
    contract.check("post", decisions, &first);
    let again = ask(decision, post(decisions, "", &body)).await;
    contract.check("post", decisions, &again);
    assert_eq!((again.status, again.json()["replayed"].as_bool()), (200, Some(true)));
    let mut other = transaction("pay_1");
    other["amount"]["value"] = json!(1);
    let reused = ask(decision, post(decisions, "", other.to_string())).await;
    contract.check("post", decisions, &reused);
    assert_eq!((reused.status, reused.problem().as_str()), (422, "idempotency-key-reused"));
    let mut dry_run = transaction("pay_2");
    dry_run["mode"] = json!("dry_run");
    let dry_run = ask(decision, post(decisions, "X-Deadline-Ms: 1000\r\n", dry_run.to_string())).await;
    contract.check("post", decisions, &dry_run);
    assert!(dry_run.json()["audit"].is_null());

    let id = first.json()["decision_id"].as_str().unwrap().to_owned();
    for (path, described) in [
        (format!("{decisions}/{id}"), "/v1/decisions/{decision_id}"),
        (format!("{decisions}?transaction_id=pay_1"), decisions),
    ] {
        let found = get(decision, &path).await;
        contract.check("get", described, &found);
        assert_eq!(found.json()["decision_id"], id);
    }
    assert_eq!(
        get(decision, "/v1/decisions?transaction_id=pay_2").await.status,
        404,
        "a dry run is not recorded"
    );

    let label = json!({"transaction_id": "pay_1", "label": "fraud", "kind": "chargeback",
        "occurred_at": SystemClock.now().to_string()});
    let labelled = ask(decision, post("/v1/labels", "", label.to_string())).await;
    contract.check("post", "/v1/labels", &labelled);
    assert_eq!(labelled.json()["transaction_known"], true);

    let lines: Vec<_> = (0..100).map(|number| transaction(&format!("batch_{number}")).to_string()).collect();
    let batch = ask(decision, post("/v1/decisions/batch", "", lines.join("\n"))).await;
    let answers = String::from_utf8(batch.body).unwrap();
    assert_eq!(answers.lines().count(), 100);
    for (number, line) in answers.lines().enumerate() {
        let answer = serde_json::from_str(line).unwrap();
        contract.check_value("#/components/schemas/Decision", &answer);
        assert_eq!(answer["transaction_id"], format!("batch_{number}"));
    }

    let (one, entry) = ("/v1/lists/{list}", "/v1/lists/{list}/{value}");
    let note = r#"{"note": "stolen", "expires": "2999-01-31"}"#;
    for (method, path, described, body, status) in [
        ("put", "/v1/lists/blocked_cards/fp_9", entry, note, 201),
        ("put", "/v1/lists/blocked_cards/fp_9", entry, note, 200),
        ("put", "/v1/lists/blocked_cards/fp_9", entry, "{}", 422),
        ("put", "/v1/lists/nowhere/fp_9", entry, note, 404),
        ("get", "/v1/lists/blocked_cards/fp_9", entry, "", 200),
        ("get", "/v1/lists/blocked_cards", one, "", 200),
        ("get", "/v1/lists", "/v1/lists", "", 200),
        ("post", "/v1/rules/check", "/v1/rules/check", r#"{"files": {}}"#, 200),
        ("post", "/v1/rules/check", "/v1/rules/check", r#"{"files": {"a.yaml": "rules: 7"}}"#, 200),
        ("post", "/v1/rules/check", "/v1/rules/check", "{}", 422),
    ] {
        let answer = ask(admin, request(method, path, "", body)).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        contract.check(method, described, &answer);
    }
    let mut blocked = transaction("pay_blocked");
    blocked["card"]["fingerprint"] = json!("fp_9");
    let blocked = ask(decision, post(decisions, "", blocked.to_string())).await.json();
    let found = get(decision, &format!("{decisions}/{}", blocked["decision_id"].as_str().unwrap())).await;
    contract.check("get", "/v1/decisions/{decision_id}", &found);
    assert_eq!(found.json()["listed"], json!([{"list": "blocked_cards", "value": "fp_9"}]));
    let off = ask(admin, request("DELETE", "/v1/lists/blocked_cards/fp_9?note=found", "", "")).await;
    assert_eq!(off.status, 200);
    contract.check("delete", entry, &off);

    for path in ["/healthz", "/readyz", "/metrics", "/v1/policy", "/v1/rules"] {
        let answer = get(admin, path).await;
        assert_eq!(answer.status, 200, "{path}");
        contract.check("get", path, &answer);
    }
    let reload = ask(admin, post("/v1/policy/reload", "", "")).await;
    assert_eq!(reload.status, 200);
    contract.check("post", "/v1/policy/reload", &reload);

    service.start_draining();
    let late = ask(decision, post(decisions, "", transaction("late").to_string())).await;
    contract.check("post", decisions, &late);
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    assert_eq!(get(admin, "/readyz").await.status, 503);
    assert_eq!(running.ended().await.connections_cut_off, 0);
    tokio::task::spawn_blocking(move || service.close(Duration::from_secs(5))).await.unwrap().unwrap();
}
