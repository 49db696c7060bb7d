//! More than can be decided: what is shed is told so at once, what is begun is right, and afterwards all is as before.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tollgate::audit::writer::Ack;
use tollgate::domain::time::{Clock, SystemClock};
use tollgate::http::admission::{AdmissionOptions, OnOverload};
use tollgate::http::auth::ApiKeys;
use tollgate::http::options::ServerOptions;
use tollgate::http::rate_limit::{Rate, RateLimits};

use crate::contract::Contract;
use crate::real;
use crate::steered::{Running, Steered};
use crate::wire::{Answer, Client, PATIENCE, ask, get, post, transaction};

const DECISIONS: &str = "/v1/decisions";
/// For threads of a busy machine to have done what they were told.
const A_MOMENT: Duration = Duration::from_millis(100);

fn options(in_flight_max: usize, on_overload: OnOverload) -> ServerOptions {
    let admission = AdmissionOptions { in_flight_max, on_overload, ..AdmissionOptions::default() };
    ServerOptions { admission, ..Running::options() }
}

/// The value of a series.
async fn metric(admin: SocketAddr, series: &str) -> f64 {
    let text = String::from_utf8(get(admin, "/metrics").await.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

async fn until_begun(running: &Running, count: usize) {
    let until = SystemClock.instant() + PATIENCE;
    while running.service.begun.load(std::sync::atomic::Ordering::SeqCst) < count {
        assert!(SystemClock.instant() < until, "{count} were never begun");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn assert_shed(answer: &Answer) {
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("connection"), None, "a client that is shed keeps its connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_the_thread_full_is_shed_and_the_rest_goes_on() {
    for (on_overload, full, by_rules) in [(OnOverload::Refuse, 2, 0), (OnOverload::RulesOnly, 2, 2)] {
        let running = Running::serve_on(
            1,
            options(2, on_overload),
            Arc::new(Steered { is_ready: true, ..Steered::default() }),
        )
        .await;
        let mut held = Vec::new();
        for begun in 1..=full + by_rules {
            let mut client = Client::connect(running.decision).await;
            client.send(post(DECISIONS, "X-Deadline-Ms: 10000\r\n", transaction("held"))).await;
            until_begun(&running, begun).await;
            held.push(client);
        }
        let mut other = Client::connect(running.decision).await;
        for _ in 0..100 {
            // A body that came with its head, and one that comes later.
            let request = post(DECISIONS, "X-Deadline-Ms: 10000\r\n", transaction("a"));
            other.send(&request[..request.len() - 10]).await;
            other.send(&request[request.len() - 10..]).await;
            assert_shed(&other.answer().await.unwrap());
        }
        // Everything that is no decision is let in, and so is the other port.
        assert_eq!(get(running.decision, "/v1/decisions/dec_01JD").await.status, 200);
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(get(running.admin, path).await.status, 200, "{path}");
        }
        let refused =
            metric(running.admin, r#"tollgate_shed_total{reason="in_flight",answer="refused"}"#).await;
        assert_eq!(refused, 100.0);
        let rules =
            metric(running.admin, r#"tollgate_shed_total{reason="in_flight",answer="rules_only"}"#).await;
        assert_eq!(rules, by_rules as f64);

        running.service.release.notify_waiters();
        for (number, client) in held.iter_mut().enumerate() {
            let answer = client.answer().await.unwrap();
            let is_full = number < full;
            assert_eq!((answer.status, answer.json()["degraded"] == false), (200, is_full), "{number}");
        }
        other.send(post(DECISIONS, "", transaction("a"))).await;
        assert_eq!(other.answer().await.unwrap().status, 200);
        assert_eq!(metric(running.admin, "tollgate_admission_in_flight").await, 0.0);
    }
}

/// The thread is held up, so that requests wait in their sockets, where only the kernel knows for how long.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_waited_in_its_socket_is_shed_by_its_age() {
    let running = Running::<Steered>::serve_on(1, options(64, OnOverload::Refuse), Arc::default()).await;
    let mut waiting = Vec::new();
    // (deadline in ms, whether it can still be met after some 200 ms in the socket)
    for (deadline_ms, is_met) in [(50, false), (100, false), (10_000, true)] {
        let mut client = Client::connect(running.decision).await;
        client.send(post(DECISIONS, "X-Deadline-Ms: 10000\r\n", transaction("a"))).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        waiting.push((client, deadline_ms, is_met));
    }
    let mut blocking = Client::connect(running.decision).await;
    blocking.send(post(DECISIONS, "X-Deadline-Ms: 10000\r\n", transaction("blocks"))).await;
    until_begun(&running, 4).await;
    for (client, deadline_ms, _) in &mut waiting {
        client.send(post(DECISIONS, &format!("X-Deadline-Ms: {deadline_ms}\r\n"), transaction("b"))).await;
    }
    for (client, deadline_ms, is_met) in &mut waiting {
        let answer = client.answer().await.unwrap();
        if *is_met {
            assert_eq!(answer.status, 200, "{deadline_ms} ms: {answer:?}");
        } else {
            assert_shed(&answer);
        }
    }
    assert_eq!(blocking.answer().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_answered_in_time_and_what_is_shed_leaves_no_trace() {
    const BURST: usize = 200;
    const DEADLINE: Duration = Duration::from_secs(5);
    let data = tempfile::tempdir().unwrap();
    // Each decision takes as long as the disk, so that a burst must find the thread full.
    let service = real::start_with(data.path(), Ack::Disk, Duration::from_millis(20));
    let running = Running::serve_on(1, options(8, OnOverload::Refuse), Arc::clone(&service)).await;
    let (decision, admin) = (running.decision, running.admin);
    let contract = Contract::of(decision).await;
    let bodies: HashMap<usize, String> =
        (0..BURST).map(|number| (number, real::transaction(&format!("pay_{number}")).to_string())).collect();

    let mut asking = JoinSet::new();
    for (number, body) in &bodies {
        // Each twice: duplicates at once wait for each other, or are shed.
        for _ in 0..2 {
            let (number, request) = (*number, post(DECISIONS, "X-Deadline-Ms: 5000\r\n", body));
            asking.spawn(async move {
                let mut client = Client::connect(decision).await;
                let sent = SystemClock.instant();
                client.send(request).await;
                let answer = client.answer().await.expect("an answer, whatever it is");
                assert!(sent.elapsed() < DEADLINE + PATIENCE / 2, "late by {:?}", sent.elapsed());
                (number, answer)
            });
        }
    }
    let mut decided: HashMap<usize, String> = HashMap::new();
    let mut shed = 0;
    while let Some(answer) = asking.join_next().await {
        let (number, answer) = answer.unwrap();
        if answer.status == 503 {
            assert_shed(&answer);
            contract.check("post", DECISIONS, &answer);
            shed += 1;
            continue;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.json()["decision_id"].as_str().unwrap().to_owned();
        let first = decided.entry(number).or_insert_with(|| id.clone());
        assert_eq!(*first, id, "duplicates are one decision");
    }
    assert!(shed > 0 && !decided.is_empty(), "{shed} shed, {} decided", decided.len());

    // Afterwards all is as before: what was shed is decided anew, what was decided is answered again.
    let mut client = Client::connect(decision).await;
    let until = SystemClock.instant() + PATIENCE * 3;
    for (number, body) in &bodies {
        let answer = loop {
            client.send(post(DECISIONS, "X-Deadline-Ms: 5000\r\n", body)).await;
            let answer = client.answer().await.unwrap();
            if answer.status != 503 || SystemClock.instant() > until {
                break answer;
            }
            // On a machine that is busy with other things the queue may stand for a moment more.
            assert_shed(&answer);
            shed += 1;
            tokio::time::sleep(A_MOMENT).await;
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        assert_eq!(answer["replayed"], decided.contains_key(number), "{answer}");
        if let Some(first) = decided.get(number) {
            assert_eq!(answer["decision_id"], first.as_str());
        }
    }
    assert_eq!(metric(admin, "tollgate_admission_in_flight").await, 0.0);
    assert_eq!(metric(admin, "tollgate_counted_transactions").await, BURST as f64, "each is counted once");
    let by_count = metric(admin, r#"tollgate_shed_total{reason="in_flight",answer="refused"}"#).await
        + metric(admin, r#"tollgate_shed_total{reason="queue_delay",answer="refused"}"#).await;
    assert_eq!(by_count, f64::from(shed));
    assert_eq!(running.ended().await.connections_cut_off, 0);
    tokio::task::spawn_blocking(move || service.close(Duration::from_secs(5))).await.unwrap().unwrap();
}

/// Records become lasting once in five seconds, so that a decision is in work for as long as that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_waits_for_the_first_until_its_own_deadline() {
    const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(300);
    let data = tempfile::tempdir().unwrap();
    let service = real::start_with(data.path(), Ack::Disk, COMMIT_INTERVAL);
    let admission = AdmissionOptions { queue_delay_target: Duration::ZERO, ..AdmissionOptions::default() };
    let running =
        Running::serve(ServerOptions { admission, ..Running::options() }, Arc::clone(&service)).await;
    let (decision, admin) = (running.decision, running.admin);
    let contract = Contract::of(decision).await;
    // What comes after a pause is written at once; what comes after that waits for the next time.
    let other = ask(decision, post(DECISIONS, "", real::transaction("pay_0").to_string())).await;
    assert_eq!(other.status, 200, "{other:?}");

    let body = real::transaction("pay_1").to_string();
    let patient = || post(DECISIONS, "X-Deadline-Ms: 10000\r\n", &body);
    let mut first = Client::connect(decision).await;
    first.send(patient()).await;
    let until = SystemClock.instant() + PATIENCE;
    while metric(admin, "tollgate_admission_in_flight").await < 1.0 {
        assert!(SystemClock.instant() < until, "the first was never begun");
    }
    let mut duplicate = Client::connect(decision).await;
    duplicate.send(patient()).await;

    let sent = SystemClock.instant();
    let short = format!("X-Deadline-Ms: {}\r\n", SHORT.as_millis());
    let hasty = ask(decision, post(DECISIONS, &short, &body)).await;
    let waited = sent.elapsed();
    contract.check("post", DECISIONS, &hasty);
    assert_eq!((hasty.status, hasty.problem().as_str()), (409, "in-flight"), "{hasty:?}");
    assert_eq!(hasty.header("retry-after"), Some("1"));
    assert!(waited >= SHORT && waited < COMMIT_INTERVAL, "{waited:?}");

    let (first, duplicate) = (first.answer().await.unwrap(), duplicate.answer().await.unwrap());
    assert_eq!((first.status, duplicate.status), (200, 200), "{first:?} {duplicate:?}");
    let (first, duplicate) = (first.json(), duplicate.json());
    let again = ask(decision, post(DECISIONS, &short, &body)).await.json();
    assert_eq!((&first["replayed"], &duplicate["replayed"]), (&false.into(), &true.into()));
    for answer in [&duplicate, &again] {
        assert_eq!(answer["decision_id"], first["decision_id"]);
    }
    assert_eq!(metric(admin, "tollgate_counted_transactions").await, 2.0, "each is counted once");
    assert_eq!(running.ended().await.connections_cut_off, 0);
    tokio::task::spawn_blocking(move || service.close(Duration::from_secs(10))).await.unwrap().unwrap();
}

#[tokio::test]
async fn clients_have_limits_of_their_own() {
    let keys = |names: &[&str]| {
        names.iter().map(|name| format!("{name}:{name}-0123456789abcdef")).collect::<Vec<_>>()
    };
    // Slow enough that nothing comes back during the test.
    let rate = Rate { per_second: 1, burst: 2 };
    let big = Rate { per_second: 100_000, burst: 100_000 };
    let rate_limits = RateLimits { default: rate, keys: HashMap::from([("big".into(), big)]) };
    let keys = ApiKeys::new(&keys(&["small", "big"]), &[]).unwrap();
    let options = ServerOptions { keys, rate_limits, ..Running::options() };
    let running = Running::start_with(options, Steered { is_ready: true, ..Steered::default() }).await;
    let decide = |name: &str| {
        let key = format!("Authorization: Bearer {name}-0123456789abcdef\r\n");
        ask(running.decision, post(DECISIONS, &key, transaction("a")))
    };
    for _ in 0..2 {
        assert_eq!(decide("small").await.status, 200);
    }
    let batch = format!("{}\n", transaction("a")).repeat(30);
    let key = "Authorization: Bearer big-0123456789abcdef\r\n";
    assert_eq!(ask(running.decision, post("/v1/decisions/batch", key, batch)).await.status, 200);
    let contract = Contract::of(running.decision).await;
    let mut limited = 0;
    for _ in 0..5 {
        assert_eq!(decide("big").await.status, 200);
        let answer = decide("small").await;
        if answer.status == 429 {
            limited += 1;
            contract.check("post", DECISIONS, &answer);
            assert_eq!(answer.problem(), "too-many-requests");
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(answer.header("ratelimit-policy"), Some("\"client\";q=1;w=1;tollgate-burst=2"));
            assert_eq!(answer.header("ratelimit"), Some("\"client\";r=0;t=1"));
        }
    }
    assert!(limited > 0);
    assert_eq!(get(running.admin, "/healthz").await.status, 200);
    assert_eq!(metric(running.admin, "tollgate_rate_limited_total").await, f64::from(limited));
}
