//! Policies go into an archive and come back the same; what is wrong with either is said.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::engine::policy::{ChallengerFiles, Policy, PolicyFiles};
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::model::backend::{Backend, HAS_LIBXGBOOST};
use crate::policy_archive::error::{LoadError, StoreError};
use crate::policy_archive::store::{ArchiveSize, PolicyArchive};

const MISSING: MissingPolicy =
    MissingPolicy { enrich: OnMissing::Continue, model: OnMissing::Review, overload: OnMissing::Continue };

/// The shipped policy with a list and a challenger, in a directory that may be changed.
struct House {
    directory: TempDir,
    files: PolicyFiles,
}

impl House {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (from, to) in [("rules", "rules"), ("models/default", "model")] {
            copy(&root.join(from), &at(to));
        }
        fs::write(at("rules/lists/blocked_cards.txt"), "fp_1\n").unwrap();
        fs::copy(root.join("models/features.yaml"), at("features.yaml")).unwrap();
        let files = PolicyFiles {
            rules: at("rules"),
            model: Some(at("model")),
            challengers: vec![ChallengerFiles { name: "next".to_owned(), model: at("model") }],
            features: at("features.yaml"),
            backend: Backend::default(),
        };
        Self { directory, files }
    }

    fn policy(&self) -> Policy {
        Policy::load(&self.files, MISSING).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn manifest(&self, policy: &Policy) -> PathBuf {
        self.data().join(format!("policies/{}.json", policy.hash.trim_start_matches("sha256:")))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_policy_comes_back_from_the_archive_alone_and_what_two_have_is_stored_once() {
    let house = House::new();
    let archive = PolicyArchive::create(&house.data()).unwrap();
    let first = house.policy();
    archive.store(&first, &house.files).unwrap();
    let one = archive.size();
    archive.store(&first, &house.files).unwrap();
    assert_eq!(archive.size(), one, "a second time is nothing new");

    fs::write(house.files.rules.join("lists/blocked_cards.txt"), "fp_1\nfp_22\n").unwrap();
    let second = house.policy();
    assert_ne!(first.hash, second.hash);
    archive.store(&second, &house.files).unwrap();
    let two = ArchiveSize { policies: 2, bytes: one.bytes + "fp_1\nfp_22\n".len() as u64 };
    assert_eq!(archive.size(), two);
    assert_eq!(PolicyArchive::create(&house.data()).unwrap().size(), two, "as it is found");

    for part in ["rules", "model"] {
        fs::remove_dir_all(house.directory.path().join(part)).unwrap();
    }
    let reader = PolicyArchive::new(&house.data());
    for policy in [&first, &second] {
        let loaded = reader.load(&policy.hash).unwrap();
        assert_eq!((&loaded.hash, &loaded.versions), (&policy.hash, &policy.versions));
        assert_eq!(loaded.challenger_versions(), policy.challenger_versions());
        assert_eq!(loaded.missing, policy.missing);
    }
    let mut hashes = reader.hashes().unwrap();
    hashes.sort();
    let mut expected = [first.hash, second.hash];
    expected.sort();
    assert_eq!(*hashes, expected);
}

#[test]
fn what_changes_while_it_is_archived_is_not_taken_for_what_was_loaded() {
    type Change = (&'static str, fn(&House));
    let changes: [Change; 4] = [
        ("a list", |house| fs::write(house.files.rules.join("lists/blocked_cards.txt"), "fp_9\n").unwrap()),
        ("a rule file that is new", |house| {
            fs::write(house.files.rules.join("new.yaml"), "rules: []\n").unwrap();
        }),
        ("the model", |house| {
            let file = house.directory.path().join("model/model.json");
            let text = fs::read_to_string(&file).unwrap() + "\n";
            fs::write(file, text).unwrap();
        }),
        ("the thresholds", |house| {
            let file = house.directory.path().join("model/manifest.json");
            let text = fs::read_to_string(&file).unwrap().replacen("0.20000000298023224", "0.25", 1);
            fs::write(file, text).unwrap();
        }),
    ];
    for (what, change) in changes {
        let house = House::new();
        let policy = house.policy();
        change(&house);
        let archive = PolicyArchive::create(&house.data()).unwrap();
        let refused = archive.store(&policy, &house.files).unwrap_err();
        assert!(matches!(refused, StoreError::Changed { .. }), "{what}: {refused}");
        assert!(matches!(archive.load(&policy.hash), Err(LoadError::NotArchived)), "{what}");
    }
}

#[test]
fn what_is_not_as_it_was_archived_is_said() {
    let house = House::new();
    let archive = PolicyArchive::create(&house.data()).unwrap();
    let policy = house.policy();
    archive.store(&policy, &house.files).unwrap();
    let file = house.manifest(&policy);
    let text = fs::read_to_string(&file).unwrap();
    let catalogue = policy.versions.features.trim_start_matches("sha256:").to_owned();
    let facts: [(&str, &str, &str, &str); 5] = [
        (
            "other settings",
            "\"model\": \"REVIEW\"",
            "\"model\": \"BLOCK\"",
            "computes another hash of the same files",
        ),
        ("another format", "\"format\": 1", "\"format\": 2", "is of format 2"),
        ("a file that is not there", &catalogue[..20], "00000000000000000000", "cannot be read"),
        ("no hash", &catalogue[..20], "../../../../../../..", "is no hash of a file"),
        ("libxgboost", "\"backend\": \"tollgate\"", "\"backend\": \"xgboost\"", "libxgboost"),
    ];
    for (what, old, new, expected) in facts {
        if what == "libxgboost" && HAS_LIBXGBOOST {
            continue;
        }
        // The versions name the catalogue, too; it is the file's own name that is meant.
        let (head, tail) = text.split_at(text.find("\"catalogue\"").unwrap());
        let changed = if tail.contains(old) {
            format!("{head}{}", tail.replacen(old, new, 1))
        } else {
            text.replacen(old, new, 1)
        };
        assert_ne!(changed, text, "{what}");
        fs::write(&file, changed).unwrap();
        let error = archive.load(&policy.hash).unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    fs::write(&file, text).unwrap();
    let blob = house.data().join("policies/blobs").join(catalogue);
    fs::write(&blob, "version: 1\n").unwrap();
    let error = archive.load(&policy.hash).unwrap_err().to_string();
    assert!(error.contains("that was stored; restore it from a backup"), "{error}");
    archive.store(&policy, &house.files).unwrap();
    assert_eq!(archive.load(&policy.hash).unwrap().hash, policy.hash, "stored again, it is whole");
    for nothing in ["sha256:00", "../secret", ""] {
        assert!(matches!(archive.load(nothing), Err(LoadError::NotArchived)), "{nothing}");
    }
}
