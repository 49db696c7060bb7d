//! More customers in the windows: time of reading all and adding one payment, and memory.

use std::sync::Arc;
use std::time::Duration;

use crate::counting::{counted, resident_bytes};
use crate::scale::growth::knee_note;
use crate::support::contestant::{Contestant as _, Tollgate};
use crate::support::fill::fill;
use crate::support::measure::{Pass, Spread, pass};
use crate::support::reads::Reads;
use crate::support::workload::{Distribution, Generator, Workload, go_on_from};
use crate::table::options::Options;
use crate::table::report::Section;

/// Customers of the smallest store whose bytes are taken for those of any.
pub(crate) const SMALL: u32 = 100_000;
const USERS: [u32; 3] = [10_000, SMALL, 1_000_000];
/// Most payments of one pass, and how long it takes at most.
const EVENTS: usize = 20_000;
const PASS_MAX: Duration = Duration::from_millis(300);
const SEED: u64 = 77;
const KNEE: f64 = 2.0;

const COLUMNS: &[&str] = &[
    "customers",
    "keys",
    "us",
    "least",
    "most",
    "p99 us",
    "x step before",
    "heap bytes a customer",
    "resident bytes a customer",
    "GB per million customers",
];

/// A store after thirty days of so many customers.
pub(crate) struct Fill {
    pub(crate) users: u32,
    pub(crate) heap_bytes: i64,
    resident_bytes: i64,
    store: Tollgate,
    reads: Arc<Reads>,
    workload: Arc<Workload>,
}

impl Fill {
    /// Fills it, each customer paying `attempts` times on average.
    pub(crate) fn of(users: u32, attempts: u64) -> Self {
        let reads = Reads::of_shipped_catalogue(USERS[2]);
        let workload =
            Workload::new(&reads.layout, users, Distribution::Uniform).with_attempts_per_user(attempts);
        let workload = Arc::new(workload);
        let resident_before = resident_bytes();
        eprintln!("filling windows with {attempts} payments of each of {users} customers");
        let (store, heap_bytes) = counted(|| {
            let store = Tollgate::new(&reads);
            fill(&store, &workload);
            store
        });
        let resident_bytes =
            resident_bytes().zip(resident_before).map_or(0, |(after, before)| after - before);
        Self { users, heap_bytes, resident_bytes, store, reads, workload }
    }
}

/// Ten thousand to a million customers.
pub(crate) fn keys(options: &Options, attempts: u64) -> Section {
    let fills = USERS.map(|users| Fill::of(users, attempts));
    let mut generators: Vec<Vec<Generator>> =
        fills.iter().map(|fill| vec![Generator::after_fill(&fill.workload, SEED, 0, 1)]).collect();
    let mut next: Vec<u64> = fills.iter().map(|fill| fill.workload.attempts).collect();
    let mut passes: Vec<Vec<Pass>> = fills.iter().map(|_| vec![]).collect();
    for round in 0..options.turns.rounds {
        for turn in 0..fills.len() {
            let number = (round + turn) % fills.len();
            let fill = &fills[number];
            go_on_from(&mut generators[number], next[number]);
            let batch = [generators[number][0].take(EVENTS)];
            let pass = pass(&fill.store, &batch, fill.reads.outputs, PASS_MAX);
            next[number] = pass.number_next;
            passes[number].push(pass);
        }
    }
    let title = format!(
        "all shipped windows of one payment read and the payment added, as customers grow; {attempts} payments of each in thirty days"
    );
    let mut section = Section::new("keys", title, COLUMNS);
    let mut knees = Vec::new();
    for (place, fill) in fills.iter().enumerate() {
        let quantile = |quantile| Spread::of(passes[place].iter().map(|pass| pass.quantile_us(quantile)));
        let p50 = quantile(0.5);
        let before = place.checked_sub(1).map_or(f64::NAN, |before| {
            let pairs = passes[place].iter().zip(&passes[before]);
            Spread::of(pairs.map(|(this, before)| this.quantile_us(0.5) / before.quantile_us(0.5))).median
        });
        if before > KNEE {
            knees.push(fill.users.to_string());
        }
        let a_customer = |bytes: i64| bytes as f64 / f64::from(fill.users);
        section.row([
            fill.users.into(),
            fill.store.keys().into(),
            p50.median.into(),
            p50.least.into(),
            p50.most.into(),
            quantile(0.99).median.into(),
            before.into(),
            a_customer(fill.heap_bytes).into(),
            a_customer(fill.resident_bytes).into(),
            (a_customer(fill.resident_bytes) / 1e3).into(),
        ]);
    }
    section.note(knee_note(&knees));
    section.note(format!(
        "{} rounds. Keys of customers, cards, devices, addresses, merchants and terminals; all that belongs to them is in the bytes.",
        options.turns.rounds
    ));
    section
}
