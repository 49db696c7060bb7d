//! How much memory a key takes, with all that belongs to it: index, events, slack.

use tollgate::window::store::WindowStore;

use super::field::Entrant;
use crate::report::Section;
use crate::support::workload::{Distribution, ENTITIES};

/// One row for each store that holds something.
pub(crate) fn section(entrants: &[Entrant], distribution: Distribution) -> Section {
    let columns = &[
        "keys_drawn",
        "contestant",
        "users",
        "keys",
        "events_per_key",
        "heap_bytes_per_key",
        "resident_bytes_per_key",
        "heap_bytes_per_event",
    ];
    let title = "live heap bytes by the allocator, and resident memory, over the keys held after the fill; an event is held once a key";
    // What earlier stores left with the allocator is resident already.
    let is_first = distribution == Distribution::ALL[0];
    let mut section = Section::new("memory", title.to_owned(), columns);
    for entrant in entrants.iter().filter(|entrant| entrant.is_store()) {
        let (contestant, keys) = (&entrant.contestant, entrant.contestant.keys());
        let events = entrant.recorded as f64 * ENTITIES.len() as f64;
        let per_key = |bytes: i64| bytes as f64 / keys as f64;
        let remote = contestant.remote_bytes().map(|bytes| bytes as i64);
        let heap_bytes = remote.unwrap_or(entrant.heap_bytes);
        let resident = entrant.resident_bytes.filter(|_| is_first).map_or(f64::NAN, per_key);
        section.row([
            distribution.name().into(),
            contestant.name().into(),
            entrant.workload.users.into(),
            keys.into(),
            (events / keys as f64).into(),
            per_key(heap_bytes).into(),
            if remote.is_some() { f64::NAN } else { resident }.into(),
            (heap_bytes as f64 / events).into(),
        ]);
        if let Some(stats) = contestant.store().map(WindowStore::stats) {
            let total = |of: fn(&_) -> u64| -> u64 { stats.iter().map(of).sum() };
            section.note(format!(
                "{}, {}: {} events held one by one; {} keys busy, {} evicted, {} events late",
                contestant.name(),
                distribution.name(),
                total(|entity: &tollgate::window::stats::EntityStats| entity.events),
                total(|entity| entity.busy_keys),
                total(|entity| entity.evicted_keys),
                total(|entity| entity.late_events),
            ));
        }
    }
    section
}
