//! What several files say together.

use std::path::{Path, PathBuf};

use crate::domain::ip::IpAddress;
use crate::domain::ip_facts::IpCategory;
use crate::ip::files::{IpFiles, IpListFile, LIST_NAME_BYTES_MAX};
use crate::ip::knowledge::IpKnowledge;

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/ip").join(name)
}

fn list(directory: &Path, name: &str, category: IpCategory, weight: f64, text: &str) -> IpListFile {
    assert!(name.len() <= LIST_NAME_BYTES_MAX);
    let file = directory.join(format!("{name}.txt"));
    std::fs::write(&file, text).unwrap();
    IpListFile { name: name.to_owned(), file, category, weight, reserved: false }
}

/// As a record keeps it.
fn known(knowledge: &IpKnowledge, address: &str) -> String {
    serde_json::to_string(&knowledge.look_up(&IpAddress::parse(address).unwrap())).unwrap()
}

#[test]
fn what_is_known_of_an_address_comes_from_all_files() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut own = list(at, "own", IpCategory::Proxy, 0.25, "10.1.0.0/16\n81.2.69.9\n");
    own.reserved = true;
    let files = IpFiles {
        databases: vec![shipped("city.mmdb"), shipped("asn.mmdb")],
        lists: vec![
            list(at, "exits", IpCategory::Tor, 0.5, "81.2.69.8\n81.2.69.9\n2a02:cf40::/64\n"),
            list(at, "drop", IpCategory::Abuse, 1.0, "81.2.69.8/31 ; SBL1\n10.0.0.0/8\n"),
            own,
        ],
    };
    let knowledge = IpKnowledge::load(&files).unwrap();
    let norway = r#""country":"NO","asn":2119,"as_org":"Telenor Norge AS""#;
    let on = |tor: bool, proxy: bool, abuse: bool| {
        format!(r#""is":{{"tor":{tor},"proxy":{proxy},"abuse":{abuse}}}"#)
    };
    let facts = [
        (
            "81.2.69.1",
            format!(
                r#"{{"kind":"public",{norway},"lists":"","list_weight":0.0,{}}}"#,
                on(false, false, false)
            ),
        ),
        (
            "::ffff:81.2.69.8",
            format!(
                r#"{{"kind":"public",{norway},"lists":"drop,exits","list_weight":1.0,{}}}"#,
                on(true, false, true)
            ),
        ),
        (
            "81.2.69.9",
            format!(
                r#"{{"kind":"public",{norway},"lists":"drop,exits,own","list_weight":1.0,{}}}"#,
                on(true, true, true)
            ),
        ),
        (
            "8.8.8.8",
            format!(r#"{{"kind":"public","lists":"","list_weight":0.0,{}}}"#, on(false, false, false)),
        ),
        // A private address has no country whatever a database says, and is on no list that does not ask for such.
        ("10.1.2.3", r#"{"kind":"private","lists":"own","list_weight":0.25,"is":{"proxy":true}}"#.to_owned()),
        ("10.2.2.3", r#"{"kind":"private","lists":"","list_weight":0.0,"is":{"proxy":false}}"#.to_owned()),
        ("::1", r#"{"kind":"loopback","lists":"","list_weight":0.0,"is":{"proxy":false}}"#.to_owned()),
    ];
    for (address, expected) in facts {
        assert_eq!(known(&knowledge, address), expected, "{address}");
    }
    let org = knowledge.look_up(&IpAddress::parse("2a02:cf40::1").unwrap()).as_org.unwrap();
    assert_eq!(org.len(), 128, "cut between letters");
}

#[test]
fn without_files_only_the_kind_is_known() {
    let nothing = IpKnowledge::load(&IpFiles::default()).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(known(&nothing, "81.2.69.1"), r#"{"kind":"public"}"#);
    assert_eq!(known(&nothing, "192.168.0.1"), r#"{"kind":"private"}"#);
    let databases = vec![shipped("city.mmdb")];
    let only_databases = IpKnowledge::load(&IpFiles { databases, lists: Vec::new() }).unwrap();
    assert_eq!(known(&only_databases, "81.2.69.1"), r#"{"kind":"public","country":"NO"}"#);
}

#[test]
fn every_mistake_of_every_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let files = IpFiles {
        databases: vec![at.join("nowhere.mmdb"), shipped("other.mmdb")],
        lists: vec![
            list(at, "a1", IpCategory::Tor, 1.0, "198.51.100.1\nx\ny\n"),
            list(at, "a2", IpCategory::Tor, 1.0, ""),
        ],
    };
    let mistakes = IpKnowledge::load(&files).unwrap_err();
    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let expected = ["nowhere.mmdb: ", "other.mmdb: ", "a1.txt:2: ", "a1.txt:3: ", "a2.txt: holds no address"];
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.contains(expected), "{mistake} / {expected}");
    }
}

#[test]
fn a_file_that_was_replaced_is_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let files = IpFiles {
        databases: vec![shipped("city.mmdb")],
        lists: vec![list(directory.path(), "drop", IpCategory::Abuse, 1.0, "198.51.100.1\n")],
    };
    let knowledge = IpKnowledge::load(&files).unwrap();
    assert!(knowledge.is_of(&files));
    let beside = directory.path().join("new");
    std::fs::write(&beside, "198.51.100.2\n").unwrap();
    std::fs::rename(&beside, &files.lists[0].file).unwrap();
    assert!(!knowledge.is_of(&files));
    std::fs::remove_file(&files.lists[0].file).unwrap();
    assert!(!knowledge.is_of(&files));
}
