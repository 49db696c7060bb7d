//! Keys under use, restarts, and files torn at any byte.

use proptest::prelude::*;

use super::entry::{ENTRY_BYTES, Entry};
use super::key_file::{DIRECTORY, FILE_NAME, Held, KeyFile};
use super::key_store::{KeyStore, KeyStoreError, UNWRITTEN_MAX};
use super::subject::{Subject, Tagger};

const LOG: [u8; 16] = [7; 16];

fn open(data: &std::path::Path, subjects_max: usize) -> KeyStore {
    KeyStore::open(data, LOG, Tagger::new([9; 32]), subjects_max).unwrap()
}

#[test]
fn a_subject_keeps_its_key_until_it_is_erased_and_gets_another_then() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = (Subject::Customer("alice"), Subject::Customer("bob"));
    let (first, other) = {
        let store = open(data.path(), 10);
        let first = store.key_of(alice).unwrap();
        assert_eq!(store.key_of(alice).unwrap(), first);
        let other = store.key_of(bob).unwrap();
        store.write_new().unwrap();
        (first, other)
    };
    assert_ne!(first.key, other.key);
    let store = open(data.path(), 10);
    assert_eq!(store.key_of(alice).unwrap(), first);
    let tag = store.tagger().tag(alice);
    assert_eq!(store.numbers_of(&[tag]).unwrap(), [first.number]);
    store.doom(&[first.number]);
    assert_eq!(store.counts().doomed, 1);
    store.settle().unwrap();
    let counts = store.counts();
    assert_eq!((counts.doomed, counts.destroyed, counts.entries), (0, 1, 2));
    let keys = KeyFile::beside(&data.path().join("log")).unwrap();
    assert_eq!(keys.key(first.number).unwrap(), Held::Erased);
    assert_eq!(keys.key(other.number).unwrap(), Held::Key(other.key.clone()));
    let second = store.key_of(alice).unwrap();
    assert_eq!(second.number, 3);
    assert_ne!(second.key, first.key);
    let bytes = std::fs::read(data.path().join(DIRECTORY).join(FILE_NAME)).unwrap();
    for gone in [&first.key.0[..], &first.key.0[..8], &first.key.0[24..]] {
        assert!(!bytes.windows(gone.len()).any(|window| window == gone));
    }
    store.write_new().unwrap();
    drop(store);
    let store = open(data.path(), 10);
    assert_eq!(store.key_of(alice).unwrap(), second);
    assert_eq!(store.key_of(bob).unwrap(), other);
}

#[test]
fn a_new_key_is_used_at_once_and_written_when_it_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path(), 10);
    let (alice, bob) = (Subject::Customer("alice"), Subject::Customer("bob"));
    let first = store.key_of(alice).unwrap();
    assert_eq!(store.keys().key(first.number).unwrap(), Held::Lost, "nobody who decides writes");
    assert_eq!(store.key_of(alice).unwrap(), first);
    store.write_new().unwrap();
    let other = store.key_of(bob).unwrap();
    let keys = KeyFile::beside(&data.path().join("log")).unwrap();
    assert_eq!(keys.key(first.number).unwrap(), Held::Key(first.key.clone()));
    assert_eq!(keys.key(other.number).unwrap(), Held::Lost);
    // Who is to be erased, and whoever waits for a sync, finds all that were given.
    assert_eq!(store.numbers_of(&[store.tagger().tag(bob)]).unwrap(), [other.number]);
    let third = store.key_of(Subject::Card("c")).unwrap();
    store.sync_through(third.number).unwrap();
    assert!(store.is_synced(third.number));
    assert_eq!(keys.key(third.number).unwrap(), Held::Key(third.key));
    assert_eq!((store.key_of(alice).unwrap(), store.key_of(bob).unwrap()), (first, other));
}

#[test]
fn keys_that_wait_to_be_written_are_bounded() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path(), 2 * UNWRITTEN_MAX);
    let key_of = |number: usize| store.key_of(Subject::Customer(&number.to_string()));
    let given: Vec<u64> = (0..UNWRITTEN_MAX).map(|number| key_of(number).unwrap().number).collect();
    assert!(matches!(key_of(UNWRITTEN_MAX), Err(KeyStoreError::Full { .. })));
    assert_eq!(key_of(0).unwrap().number, given[0], "who has one keeps it");
    store.write_new().unwrap();
    assert_eq!(key_of(UNWRITTEN_MAX).unwrap().number, UNWRITTEN_MAX as u64 + 1);
}

#[test]
fn beyond_the_bound_every_record_has_a_key_and_all_are_found_to_be_destroyed() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path(), 1);
    let (alice, bob) = (Subject::Customer("alice"), Subject::Customer("bob"));
    let first = store.key_of(alice).unwrap();
    let many: Vec<u64> = (0..3).map(|_| store.key_of(bob).unwrap().number).collect();
    assert_eq!(many, [2, 3, 4]);
    assert_eq!(store.key_of(alice).unwrap(), first);
    assert_eq!((store.counts().known, store.counts().made_beyond_bound), (1, 3));
    assert_eq!(store.numbers_of(&[store.tagger().tag(bob)]).unwrap(), many);
}

#[test]
fn a_number_that_a_record_names_is_never_given_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path(), 10);
    store.skip_through(5);
    assert_eq!(store.key_of(Subject::Card("a")).unwrap().number, 6);
    assert_eq!(store.keys().key(5).unwrap(), Held::Lost);
    assert_eq!(store.keys().key(u64::MAX).unwrap(), Held::Lost);
    assert_eq!(store.keys().key(0).unwrap(), Held::Lost);
}

#[test]
fn keys_of_another_log_and_other_files_are_refused() {
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path(), 10));
    let other = KeyStore::open(data.path(), [8; 16], Tagger::new([9; 32]), 10);
    assert!(matches!(other, Err(KeyStoreError::OtherLog(_))), "{other:?}");
    std::fs::write(data.path().join(DIRECTORY).join(FILE_NAME), [b'x'; 200]).unwrap();
    let foreign = KeyStore::open(data.path(), LOG, Tagger::new([9; 32]), 10);
    assert!(matches!(foreign, Err(KeyStoreError::Io { .. })), "{foreign:?}");
}

#[test]
fn many_threads_agree_on_the_key_of_a_subject() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path(), 100);
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let ask = || names.iter().map(|name| store.key_of(Subject::Customer(name)).unwrap()).collect::<Vec<_>>();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(store.counts().entries, 20);
}

/// What is done to a file of keys.
#[derive(Clone, Debug)]
enum Step {
    Use(u8),
    Erase(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..6).prop_map(Step::Use),
        2 => (0_u8..6).prop_map(Step::Erase),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The last write of the file is torn at any byte: nothing else changes, whoever had a key has it, and what is torn is lost and
    /// neither opened nor given again.
    #[test]
    fn a_torn_write_harms_nobody_else(steps in steps(), at in 0_usize..=ENTRY_BYTES) {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(DIRECTORY).join(FILE_NAME);
        let mut store = open(data.path(), 100);
        let mut before = std::fs::read(&path).unwrap();
        for step in &steps {
            let now = std::fs::read(&path).unwrap();
            match step {
                Step::Use(who) => {
                    store.key_of(Subject::Customer(&who.to_string())).unwrap();
                    store.write_new().unwrap();
                }
                Step::Erase(who) => {
                    let tag = store.tagger().tag(Subject::Customer(&who.to_string()));
                    store.doom(&store.numbers_of(&[tag]).unwrap());
                    store.settle().unwrap();
                }
                Step::Restart => { drop(store); store = open(data.path(), 100); }
            }
            if std::fs::read(&path).unwrap() != now {
                before = now;
            }
        }
        let after = std::fs::read(&path).unwrap();
        drop(store);
        // What a power loss may leave: the entry that differs, written as far as `at`.
        let torn_at = (0..after.len()).step_by(ENTRY_BYTES).rev()
            .find(|start| before.get(*start..start + ENTRY_BYTES) != after.get(*start..start + ENTRY_BYTES));
        let Some(start) = torn_at else { return Ok(()) };
        prop_assume!(start > 0);
        let mut torn = before.clone();
        if start < before.len() {
            torn[start..start + at].copy_from_slice(&after[start..start + at]);
        } else {
            torn.extend_from_slice(&after[start..start + at]);
        }
        std::fs::write(&path, &torn).unwrap();
        let number = (start / ENTRY_BYTES) as u64;
        let store = open(data.path(), 100);
        for other in 1..(after.len() / ENTRY_BYTES) as u64 {
            let place = other as usize * ENTRY_BYTES;
            let mut bytes = [0; ENTRY_BYTES];
            bytes.copy_from_slice(&after[place..place + ENTRY_BYTES]);
            let expected = Entry::decode(other, &bytes);
            let found = store.keys().entry(other).unwrap();
            if other == number {
                let was = before.get(place..place + ENTRY_BYTES).map(|old| {
                    bytes.copy_from_slice(old);
                    Entry::decode(other, &bytes)
                });
                prop_assert!(found == expected || found == Entry::Lost || Some(&found) == was.as_ref());
            } else {
                prop_assert_eq!(found, expected);
            }
        }
        let new = store.key_of(Subject::Customer("somebody new")).unwrap();
        let is_free = at == 0 && start >= before.len();
        prop_assert!(new.number > number || is_free && new.number == number);
        // An erasure that was torn is finished by the log's word.
        store.doom(&[number]);
        store.settle().unwrap();
        prop_assert_eq!(store.keys().entry(number).unwrap(), Entry::Erased);
    }
}
