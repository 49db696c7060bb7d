//! Databases of each vendor's layout: `tests/data/ip/make.py` says what stands in them.

use std::path::PathBuf;

use crate::ip::database::Database;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/ip").join(name)
}

/// As a line: country, autonomous system, operator.
fn said(database: &Database, address: &str) -> String {
    let located = database.look_up(address.parse().unwrap());
    let country = located.country.map_or("-".to_owned(), |code| code.to_string());
    let asn = located.asn.map_or("-".to_owned(), |asn| asn.to_string());
    format!(
        "{country} {asn} {}",
        located.as_org.map_or("-".to_owned(), |name| name.chars().take(20).collect())
    )
}

#[test]
fn the_layouts_of_the_vendors_are_read() {
    let facts = [
        ("city.mmdb", "81.2.69.1", "NO - -"),
        ("city.mmdb", "::ffff:81.2.69.1", "NO - -"),
        ("city.mmdb", "81.2.70.1", "SE - -"), // where it is registered, when nobody knows where it is used
        ("city.mmdb", "81.2.71.1", "- - -"),
        ("city.mmdb", "81.2.72.1", "- - -"),
        ("city.mmdb", "2a02:cf40::1", "FI - -"),
        ("city.mmdb", "2a02:cf48::1", "- - -"),
        ("asn.mmdb", "81.2.69.127", "- 2119 Telenor Norge AS"),
        ("asn.mmdb", "81.2.69.128", "- - -"),
        ("asn.mmdb", "81.2.70.1", "- 64512 -"),
        ("asn.mmdb", "2a02:cf40::1", "- 4200000001 ØØØØØØØØØØØØØØØØØØØØ"),
        ("ipinfo_lite.mmdb", "81.2.69.1", "NO 2119 Telenor Norge AS"),
        ("ipinfo_country.mmdb", "81.2.69.1", "NO - -"),
        ("ipinfo_asn.mmdb", "81.2.69.1", "- 2119 Telenor Norge AS"),
        ("odd.mmdb", "81.2.69.1", "NO 2119 Telenor"),
    ];
    for (name, address, expected) in facts {
        assert_eq!(said(&Database::load(&file(name)).unwrap(), address), expected, "{name} {address}");
    }
}

#[test]
fn a_database_says_when_it_was_made_and_which_network_it_means() {
    let database = Database::load(&file("city.mmdb")).unwrap();
    assert_eq!((database.kind(), database.built_at_s()), ("GeoLite2-City", 1_760_000_000));
    assert!(database.nodes() > 0);
    assert_eq!(database.network("81.2.69.7".parse().unwrap()).as_deref(), Some("81.2.69.0/24"));
    assert_eq!(database.network("2a02:cf40::7".parse().unwrap()).as_deref(), Some("2a02:cf40::/29"));
    assert_eq!(database.network("81.2.72.7".parse().unwrap()), None);
}

#[test]
fn what_is_no_whole_or_no_useful_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file("city.mmdb")).unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Database::load(&path).map(|_| ()).unwrap_err().message
    };
    for length in (0..whole.len()).step_by(7) {
        let message = refused("half.mmdb", &whole[..length]);
        assert!(message.starts_with("is no whole database"), "{length} bytes: {message}");
    }
    assert!(refused("text.mmdb", b"198.51.100.0/24\n").starts_with("is no whole database"));
    let other = std::fs::read(file("other.mmdb")).unwrap();
    assert!(refused("other.mmdb", &other).contains("\"Connection-Type\" without country"));
    let nowhere = Database::load(&directory.path().join("nowhere.mmdb")).unwrap_err();
    assert!(nowhere.message.starts_with("cannot be read"));
    let no_file = Database::load(directory.path()).unwrap_err();
    assert_eq!(no_file.message, "is no file");
}

/// Whatever bytes are wrong inside, reading and asking end, and end without a panic.
#[test]
fn damage_inside_is_refused_or_says_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file("city.mmdb")).unwrap();
    let path = directory.path().join("damaged.mmdb");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        if let Ok(database) = Database::load(&path) {
            for address in ["81.2.69.1", "10.0.0.1", "2a02:cf40::1", "::1", "255.255.255.255"] {
                database.look_up(address.parse().unwrap());
                database.network(address.parse().unwrap());
            }
        }
    }
}
