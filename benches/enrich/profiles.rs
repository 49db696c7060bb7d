//! All profiles of one payment: from Redis, from the cache before it, and from the embedded store.

use std::hint::black_box;
use std::time::Duration;

use tollgate::enrich::cache::CacheSettings;
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::source::ProfileSource;

use crate::enrich::ground::{AMPLE, Ground};
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::turns::{Turn, spread};

/// Payments that are asked for in turn.
const PAYMENTS: usize = 4_096;
/// A cache in which nothing grows old meanwhile.
const CACHE: CacheSettings = CacheSettings {
    entries_max: 1_000_000,
    ttl: Duration::from_secs(3_600),
    negative_ttl: Duration::from_secs(3_600),
};
const COLUMNS: &[&str] = &["from", "us a payment", "least", "most", "x cache", "x least", "x most"];

/// One row for each.
pub(crate) fn section(options: &Options, ground: &Ground) -> Result<Section, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let embedded = EmbeddedProfiles::open(directory.path())?;
    ground.store_profiles(&embedded);
    let (redis, cached) = (ground.redis(CacheSettings::default()), ground.redis(CACHE));
    for payment in 0..PAYMENTS {
        let expected = fetch(ground, &redis, payment);
        // The first fills the cache, the second is answered from it.
        for found in [
            fetch(ground, &cached, payment),
            fetch(ground, &cached, payment),
            fetch(ground, &embedded, payment),
        ] {
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "payment {payment}");
        }
    }
    let turns = vec![
        turn("cache", ground, &cached),
        turn("Redis, one round trip", ground, &redis),
        turn("embedded store", ground, &embedded),
    ];
    let names: Vec<String> = turns.iter().map(|(name, _)| name.clone()).collect();
    let times = options.turns.times(turns, PAYMENTS);
    let title = "the five profiles of one payment, one payment at a time".to_owned();
    let mut section = Section::new("profiles", title, COLUMNS);
    for (name, of_one) in names.iter().zip(&times) {
        let [least, us, most] = spread(of_one.clone());
        let ratio = spread(of_one.iter().zip(&times[0]).map(|(one, cache)| one / cache).collect());
        section.row([
            name.as_str().into(),
            us.into(),
            least.into(),
            most.into(),
            ratio[1].into(),
            ratio[0].into(),
            ratio[2].into(),
        ]);
    }
    section.note("Before that, all must answer the same. Each includes entering the runtime.".to_owned());
    section.note(options.turns.note());
    Ok(section)
}

fn fetch(
    ground: &Ground,
    store: &impl ProfileSource,
    payment: usize,
) -> tollgate::domain::enrichment::Enrichment {
    let policy = &ground.policy;
    let keys = policy.profile_keys(&ground.payments[payment]);
    ground.runtime.block_on(store.fetch(&policy.profile_plan, &keys, AMPLE))
}

fn turn<'a>(name: &str, ground: &'a Ground, store: &'a impl ProfileSource) -> Turn<'a> {
    let run = move |payment| {
        black_box(fetch(ground, store, payment));
    };
    (name.to_owned(), Box::new(run))
}
