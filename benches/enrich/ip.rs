//! What it costs to look an address up: two databases and a list of more and more addresses.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::Path;

use tollgate::domain::ip::IpAddress;
use tollgate::domain::ip_facts::IpCategory;
use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::ip::files::{IpFiles, IpListFile};
use tollgate::ip::knowledge::IpKnowledge;

use crate::table::options::Options;
use crate::table::report::{Cell, Section};
use crate::table::turns::{Turn, spread};

const ENTRIES: [u32; 4] = [0, 1_000, 100_000, 1_000_000];
/// Addresses that are asked for in turn: their part of the list does not fit the nearest caches.
const ADDRESSES: u32 = 65_536;
const COLUMNS: &[&str] =
    &["addresses on the list", "us a lookup", "least", "most", "x without list", "read in ms", "found"];

/// One row for each length of the list, and one for looking at every entry of the longest.
pub(crate) fn section(options: &Options) -> Result<Section, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let addresses: Vec<IpAddress> = (0..ADDRESSES)
        .map(|number| Ipv4Addr::from(scattered(number.wrapping_mul(997))).to_string())
        .map(|text| IpAddress::parse(&text).expect("an address"))
        .collect();
    let mut loaded = Vec::new();
    for entries in ENTRIES {
        let files = files(directory.path(), entries)?;
        let began = SystemClock.instant();
        let knowledge = IpKnowledge::load(&files).map_err(|errors| format!("{errors:?}"))?;
        let read_ms = began.elapsed().as_secs_f64() * 1e3;
        let is_listed = |address: &&IpAddress| knowledge.look_up(address).list_weight == Some(1.0);
        let found = addresses.iter().filter(is_listed).count();
        loaded.push((entries, knowledge, read_ms, found));
    }
    let entries: Vec<u32> = (0..ENTRIES[3]).map(scattered).collect();
    let mut turns: Vec<Turn<'_>> = loaded
        .iter()
        .map(|(_, knowledge, ..)| {
            let look_up: Box<dyn FnMut(usize)> = Box::new(|item| {
                black_box(knowledge.look_up(&addresses[item]));
            });
            (String::new(), look_up)
        })
        .collect();
    let scan = |item: usize| {
        let std::net::IpAddr::V4(address) = addresses[item].address() else { return };
        black_box(entries.contains(&address.to_bits()));
    };
    turns.push((String::new(), Box::new(scan)));
    let times = options.turns.times(turns, addresses.len());
    let title = "an address in two databases and on a list, by the length of the list".to_owned();
    let mut section = Section::new("ip", title, COLUMNS);
    for (place, of_one) in times.iter().enumerate() {
        let [least, us, most] = spread(of_one.clone());
        let ratio = spread(of_one.iter().zip(&times[0]).map(|(one, first)| one / first).collect())[1];
        let (what, read_ms, found) = match loaded.get(place) {
            Some((entries, _, read_ms, found)) => (entries.to_string(), *read_ms, Cell::from(*found)),
            None => (format!("{}, by looking at every entry", ENTRIES[3]), f64::NAN, f64::NAN.into()),
        };
        section.row([
            what.as_str().into(),
            us.into(),
            least.into(),
            most.into(),
            ratio.into(),
            read_ms.into(),
            found,
        ]);
    }
    section.note(format!(
        "`found`: how many of the {ADDRESSES} addresses stand on the list. The databases are the test ones."
    ));
    section.note(options.turns.note());
    Ok(section)
}

/// Addresses without a pattern, none of them twice, all public or at least not all reserved.
fn scattered(number: u32) -> u32 {
    0x0100_0000 + number.wrapping_mul(2_654_435_761) % 0x8000_0000
}

fn files(directory: &Path, entries: u32) -> std::io::Result<IpFiles> {
    let shipped = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ip").join(name);
    let databases = vec![shipped("city.mmdb"), shipped("asn.mmdb")];
    if entries == 0 {
        return Ok(IpFiles { databases, lists: vec![] });
    }
    let text = (0..entries).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", Ipv4Addr::from(scattered(number))).expect("a String takes everything");
        text
    });
    let file = directory.join(format!("{entries}.txt"));
    std::fs::write(&file, text)?;
    let list = IpListFile {
        name: "drop".to_owned(),
        file,
        category: IpCategory::Abuse,
        weight: 1.0,
        reserved: false,
    };
    Ok(IpFiles { databases, lists: vec![list] })
}
