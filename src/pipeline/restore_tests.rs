//! Snapshots that are refused, and what a start does then.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::audit::receipt::{Head, LogId, Position, RecordHash};
use crate::domain::hash::sha256;
use crate::domain::time::EventTime;
use crate::engine::ledger::Ledger;
use crate::pipeline::house_tests::{Facts, House, PATIENCE, Traffic, snapshot_of, stop};
use crate::pipeline::index::{DecisionIndex, Fingerprint, RequestKey};
use crate::pipeline::lane::Mark;
use crate::pipeline::policy::LivePolicy;
use crate::pipeline::restore::Restore;
use crate::pipeline::secret::Secret;
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_file::{Beside, write_head, write_rest};
use crate::pipeline::snapshot_header::{EntityIdentity, Header, Identity, SnapshotRefusal};
use crate::rules::run_time::{Entry, RunTimeLists};
use crate::window::event::KeyHasher;

/// A house with two snapshots and a log that goes on after them; and how its state looked to some probes.
async fn lived_in() -> (House, Traffic, Vec<String>, Facts, Head, Arc<LivePolicy>) {
    let (house, mut traffic) = (House::new(), Traffic::new(0..3));
    let service = house.start();
    for _ in 0..2 {
        traffic.send(&service, 30).await;
        service.snapshots.take(PATIENCE);
    }
    traffic.send(&service, 10).await;
    stop(&service);
    let probes = traffic.probes();
    let facts = Facts::of(&service, &traffic, &probes);
    let (head, policy) = (service.log_status().head, service.policies.live());
    (house, traffic, probes, facts, head, policy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_by_name() {
    let (house, .., head, policy) = lived_in().await;
    let catalogue = &policy.policy.catalogue;
    let secret = Secret::load_or_create(&house.data()).unwrap();
    let snapshots = StateDirectory::new(&house.data());
    let newest = snapshots.file(snapshots.sequences().unwrap()[0]);
    let good = fs::read(&newest).unwrap();
    let log = house.data().join("log");
    let service = house.start();
    let log_id = service.log_id;
    stop(&service);
    let identity = Identity::new(log_id, &secret, house.decisions_max, catalogue);
    let ask = |file: &Path, identity: &Identity, head: Head| {
        let restore = Restore {
            snapshots: &snapshots,
            log: &log,
            head,
            identity,
            layout: &catalogue.layout,
            secret: &secret,
            decisions_max: house.decisions_max,
        };
        restore.restore(file).map(|(.., restored)| restored)
    };
    let restored = ask(&newest, &identity, head).unwrap();
    assert_eq!(restored.bytes, good.len() as u64);
    assert_eq!(restored.header.identity, identity);

    // Another installation, another catalogue, other settings, a shorter log.
    let refusal = |change: &dyn Fn(&mut Identity)| {
        let mut changed = identity.clone();
        change(&mut changed);
        ask(&newest, &changed, head).unwrap_err()
    };
    let other_log = refusal(&|identity| identity.log = LogId([1; 16]));
    assert!(matches!(other_log, SnapshotRefusal::OtherLog { found } if found == log_id), "{other_log}");
    let public = Secret::public().check_value();
    assert!(matches!(refusal(&|identity| identity.secret = public), SnapshotRefusal::OtherSecret));
    let other_bound = refusal(&|identity| identity.decisions_max += 1).to_string();
    assert!(other_bound.contains("idempotency_keys_max = 1100, which is 1101 now"), "{other_bound}");
    fn entity<'a>(identity: &'a mut Identity, name: &str) -> &'a mut EntityIdentity {
        identity.entities.iter_mut().find(|entity| entity.name == name).unwrap()
    }
    let other_key = refusal(&|identity| entity(identity, "card").key[0] = "card.bin".into()).to_string();
    assert!(other_key.contains("the entity `card`"), "{other_key}");
    let other_count = refusal(&|identity| entity(identity, "customer").attributes.reverse()).to_string();
    assert!(other_count.contains("the entity `customer`"), "{other_count}");
    let fewer = refusal(&|identity| identity.entities.truncate(3)).to_string();
    assert!(fewer.contains("the list of entities"), "{fewer}");
    let taken = restored.header.taken.sequence;
    let shorter = ask(&newest, &identity, Head { sequence: taken - 1, hash: head.hash }).unwrap_err();
    assert!(matches!(shorter, SnapshotRefusal::AheadOfLog { .. }), "{shorter}");

    // Other bytes.
    let file = house.data().join("changed");
    let changed = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        ask(&file, &identity, head).unwrap_err()
    };
    let flipped = |position: usize| {
        let mut bytes = good.clone();
        bytes[position] ^= 0x10;
        changed(&bytes)
    };
    assert!(matches!(flipped(0), SnapshotRefusal::NotASnapshot));
    assert!(matches!(flipped(16), SnapshotRefusal::Version { found: 18 }));
    assert!(flipped(16).to_string().contains("version 18; this program reads version 2"));
    for position in (20..good.len()).step_by(good.len() / 150) {
        let refusal = flipped(position);
        let is_damage = matches!(
            refusal,
            SnapshotRefusal::Damaged(_) | SnapshotRefusal::Io(_) | SnapshotRefusal::Windows(_)
        );
        assert!(is_damage, "{position}: {refusal}");
    }
    for length in (0..good.len()).step_by(good.len() / 100).chain([good.len() - 1]) {
        let refusal = changed(&good[..length]);
        assert!(
            matches!(refusal, SnapshotRefusal::Io(_) | SnapshotRefusal::Windows(_)),
            "{length}: {refusal}"
        );
    }
    let longer = changed(&[&good[..], b"\0"].concat());
    assert!(matches!(longer, SnapshotRefusal::Damaged("something follows its end")), "{longer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_falls_back_to_the_older_one_and_then_to_the_log() {
    let (house, traffic, probes, facts, ..) = lived_in().await;
    let snapshots = StateDirectory::new(&house.data());
    let sequences = snapshots.sequences().unwrap();
    let left = house.data().join("state/00000000000000000099.new");
    fs::write(&left, "what a kill has left").unwrap();
    for (number, expected) in [sequences[0], sequences[1], 0].into_iter().enumerate() {
        if let Some(newest) = number.checked_sub(1) {
            let file = snapshots.file(sequences[newest]);
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
        let service = house.start();
        assert_eq!(snapshot_of(&service), expected);
        assert!(!left.exists());
        Facts::of(&service, &traffic, &probes).must_be(&facts, &format!("{number} damaged"));
        stop(&service);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_catalogue_means_the_whole_log() {
    let (house, traffic, probes, facts, ..) = lived_in().await;
    let cases: [(&str, &str, &str, bool); 3] = [
        ("another key", "card: {key: card.fingerprint", "card: {key: card.last4", false),
        ("a longer window", "count: [1h, 24h, 7d, 30d, 37d]", "count: [1h, 24h, 7d, 30d, 38d]", false),
        ("a window less", "count: [1h, 24h, 7d, 30d, 37d]", "count: [1h, 24h, 30d, 37d]", true),
    ];
    for (what, old, new, is_used) in cases {
        let copy = house.copy(true);
        copy.change_catalogue(|text| {
            assert!(text.contains(old), "{what}");
            text.replace(old, new)
        });
        let service = copy.start();
        assert_eq!(snapshot_of(&service) > 0, is_used, "{what}");
        let full = {
            let copy = copy.copy(false);
            copy.start()
        };
        Facts::of(&service, &traffic, &probes).must_be(&Facts::of(&full, &traffic, &probes), what);
    }
    let service = house.start();
    Facts::of(&service, &traffic, &probes).must_be(&facts, "unchanged");
}

/// A snapshot without windows, whose format is watched elsewhere.
fn a_small_one() -> Vec<u8> {
    let hasher = KeyHasher::new([7; 16]);
    let (ledger, index, secret) = (Ledger::new(1_000), DecisionIndex::new(1_000), Secret::public());
    for number in 0..700_u64 {
        let (id, at) = (number.to_string(), Position { segment: 1, offset: 96 + 1_000 * number });
        ledger.count_attempt(hasher.key(255, [&id]));
        if number % 3 == 0 {
            ledger.count_outcome(hasher.key(255, [&id]));
        }
        index.insert(RequestKey::of_request(&secret, &id), Fingerprint::of(id.as_bytes()), at);
    }
    let mark = |sequence: u64, byte: u8| Mark {
        sequence,
        hash: RecordHash([byte; 32]),
        position: Position { segment: 1, offset: 96 + 1_000 * sequence },
    };
    let entity = EntityIdentity {
        name: "card".into(),
        key: vec!["card.fingerprint".into()],
        attributes: vec!["device.ip".into()],
    };
    let header = Header {
        identity: Identity {
            log: LogId([3; 16]),
            secret: secret.check_value(),
            decisions_max: 1_000,
            entities: vec![entity],
        },
        applied: mark(640, 1),
        taken: mark(650, 2),
        taken_at_ms: 1_750_000_000_000,
    };
    let (mut lists, until) = (RunTimeLists::default(), EventTime::from_unix_millis(1_800_000_000_000).ok());
    let (note, by, added_at) = ("stolen".into(), "ops".into(), EventTime::EPOCH);
    lists.put("blocked_cards", "fp_1".into(), Entry { until, note, by, added_at, sequence: 600 });
    let mut bytes = Vec::new();
    write_head(&mut bytes, &header).unwrap();
    write_rest(
        &mut bytes,
        &header,
        ledger.begin_snapshot().unwrap(),
        Beside { index: &index, lists: &lists },
    )
    .unwrap();
    bytes
}

#[test]
fn version_2_has_not_changed() {
    // When this fails, the format has changed: raise `VERSION`, so that a file of the old one is refused.
    assert_eq!(&*sha256(&a_small_one()), GOLDEN);
}

const GOLDEN: &str = "sha256:92606c813a0b07be1917cb6b8c665cb4e2d129f2983a057dc2a10400dc8c39bb";
