//! Tables of facts: what is written, said and asked at which second, and what the cache then knows.

use super::*;
use crate::domain::time::{Clock as _, SystemClock};
use crate::enrich::plan::ProfileType;

const SETTINGS: CacheSettings =
    CacheSettings { entries_max: 1_000, ttl: Duration::from_secs(10), negative_ttl: Duration::from_secs(2) };

fn plan() -> ProfilePlan {
    let mut builder = ProfilePlan::builder();
    builder.field("ip", "score", ProfileType::Number).unwrap();
    builder.field("customer", "orders", ProfileType::Int).unwrap();
    builder.field("customer", "country", ProfileType::Text).unwrap();
    builder.build()
}

fn known(text: &str) -> [Lookup<ProfileValue>; 3] {
    [Lookup::Absent, Lookup::Known(ProfileValue::Int(5)), Lookup::Known(ProfileValue::Text(text.into()))]
}

struct Bench {
    cache: ProfileCache,
    plan: ProfilePlan,
    began: Instant,
}

impl Bench {
    fn new(settings: CacheSettings) -> Self {
        Self { cache: ProfileCache::new(settings).unwrap(), plan: plan(), began: SystemClock.instant() }
    }

    fn at(&self, second: u64) -> Instant {
        self.began + Duration::from_secs(second)
    }

    /// Asks for the customer at `key`: what is known of it, or the miss.
    fn ask(&self, key: &str, second: u64) -> Result<Enrichment, Miss> {
        let mut enrichment = Enrichment::absent(3);
        let entity = &self.plan.entities()[1];
        self.cache.get(&self.plan, entity, key, self.at(second), &mut enrichment).map_or(Ok(enrichment), Err)
    }

    fn keep(&self, miss: Miss, key: &str, second: u64, values: [Lookup<ProfileValue>; 3]) {
        let entity = &self.plan.entities()[1];
        self.cache.keep(miss, &self.plan, entity, key, self.at(second), &Enrichment(values.into()));
    }

    fn fill(&self, key: &str, second: u64, values: [Lookup<ProfileValue>; 3]) {
        let miss = self.ask(key, second).unwrap_err();
        self.keep(miss, key, second, values);
    }
}

#[test]
fn entries_live_as_long_as_they_may() {
    let absent = || [Lookup::Absent, Lookup::Absent, Lookup::Absent];
    let timed_out = || [Lookup::Absent, Lookup::TimedOut, Lookup::Absent];
    let long = known(&"x".repeat(CACHE_ENTRY_BYTES_MAX));
    let facts = [
        ("a profile", known("DE"), 9, true),
        ("a profile grown old", known("DE"), 10, false),
        ("nothing there", absent(), 1, true),
        ("nothing there, grown old", absent(), 2, false),
        ("no answer is nothing to keep", timed_out(), 0, false),
        ("too long to be kept", long, 0, false),
    ];
    for (fact, values, second, is_known) in facts {
        let bench = Bench::new(SETTINGS);
        bench.fill("k", 0, values.clone());
        let found = bench.ask("k", second);
        assert_eq!(found.is_ok(), is_known, "{fact}");
        if let Ok(found) = found {
            assert_eq!(*found.0, values, "{fact}");
        }
    }
    let bench = Bench::new(CacheSettings { negative_ttl: Duration::ZERO, ..SETTINGS });
    bench.fill("k", 0, absent());
    assert!(bench.ask("k", 0).is_err(), "nothing there is not kept at all");
    assert!(ProfileCache::new(CacheSettings { entries_max: 0, ..SETTINGS }).is_none());
}

#[test]
fn what_has_changed_is_forgotten_also_while_its_answer_is_on_its_way() {
    type Said = fn(&ProfileCache);
    let facts: [(&str, Said); 2] =
        [("one key", |cache| cache.invalidate("k")), ("all keys", ProfileCache::invalidate_all)];
    for (fact, say) in facts {
        let bench = Bench::new(SETTINGS);
        bench.fill("k", 0, known("DE"));
        say(&bench.cache);
        let miss = bench.ask("k", 1).expect_err(fact);
        say(&bench.cache);
        bench.keep(miss, "k", 1, known("FR"));
        assert!(bench.ask("k", 1).is_err(), "{fact}: the answer is older than the word");
        bench.fill("k", 2, known("IT"));
        assert_eq!(*bench.ask("k", 2).expect(fact).0, known("IT"), "{fact}");
        assert_eq!(bench.cache.view().invalidations, 1, "{fact}");
    }
}

#[test]
fn another_plan_asks_anew() {
    let mut bench = Bench::new(SETTINGS);
    bench.fill("k", 0, known("DE"));
    bench.plan = plan();
    assert!(bench.ask("k", 0).is_err());
}

#[test]
fn it_is_bounded_and_counts() {
    let bench = Bench::new(CacheSettings { entries_max: 160, ..SETTINGS });
    for number in 0..10_000 {
        bench.fill(&format!("k_{number}"), 0, known("DE"));
    }
    let view = bench.cache.view();
    assert_eq!((view.entries, view.evictions, view.misses, view.hits), (160, 9_840, 10_000, 0));
    assert!(bench.ask("k_9999", 0).is_ok(), "the last stays");
    assert_eq!(bench.cache.view().hits, 1);
}
