//! What a cache keeps from Redis while simulated payments go by: questions and processor time.

use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::enrich::cache::CacheSettings;
use tollgate::enrich::source::ProfileSource as _;

use crate::enrich::ground::{AMPLE, Ground};
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::turns::spread;

/// Most entries of the cache.
const ENTRIES: [usize; 4] = [0, 1_000, 10_000, 100_000];
const COLUMNS: &[&str] = &[
    "cache entries",
    "us a payment",
    "least",
    "most",
    "questions a payment",
    "questions saved %",
    "payments that asked nothing %",
    "Redis us a payment",
    "x without cache",
];

/// What one pass over all payments showed, each a mean of one payment.
struct Seen {
    us: f64,
    questions: f64,
    asked: f64,
    redis_us: f64,
}

/// One row for each size of the cache, which is empty at the start of each pass.
pub(crate) fn section(options: &Options, ground: &Ground) -> Section {
    let mut all: Vec<Vec<Seen>> = ENTRIES.map(|_| vec![]).into();
    for round in 0..options.turns.rounds {
        for turn in 0..ENTRIES.len() {
            let number = (round + turn) % ENTRIES.len();
            all[number].push(pass(ground, ENTRIES[number]));
        }
        eprintln!("saved: round {}", round + 1);
    }
    let title = format!(
        "{} simulated payments, as fast as they go one after the other, with an empty cache at first",
        ground.payments.len()
    );
    let mut section = Section::new("saved", title, COLUMNS);
    for (entries, seen) in ENTRIES.iter().zip(&all) {
        let of = |of: fn(&Seen) -> f64| spread(seen.iter().map(of).collect());
        let [least, us, most] = of(|it| it.us);
        let questions = of(|it| it.questions)[1];
        let without = spread(all[0].iter().map(|it| it.questions).collect())[1];
        let ratio =
            spread(seen.iter().zip(&all[0]).map(|(this, it)| this.redis_us / it.redis_us).collect())[1];
        section.row([
            (*entries).into(),
            us.into(),
            least.into(),
            most.into(),
            questions.into(),
            (100.0 * (1.0 - questions / without)).into(),
            (100.0 * (1.0 - of(|it| it.asked)[1])).into(),
            of(|it| it.redis_us)[1].into(),
            ratio.into(),
        ]);
    }
    section.note(format!(
        "A question is one HMGET. {} rounds; entries live for 5 s, and 1 s where there is no profile, which is hardly over here: the share \
         that is saved is that of traffic which brings all these payments within that time.",
        options.turns.rounds
    ));
    section
}

fn pass(ground: &Ground, entries_max: usize) -> Seen {
    let redis = ground.redis(CacheSettings { entries_max, ..CacheSettings::default() });
    ground.redis.command(&["CONFIG", "RESETSTAT"]);
    let cpu_us = ground.redis_cpu_us();
    let began = SystemClock.instant();
    let policy = &ground.policy;
    ground.runtime.block_on(async {
        for payment in &ground.payments {
            std::hint::black_box(
                redis.fetch(&policy.profile_plan, &policy.profile_keys(payment), AMPLE).await,
            );
        }
    });
    let payments = ground.payments.len() as f64;
    let us = began.elapsed().as_secs_f64() * 1e6 / payments;
    let stats = ground.redis.command(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls="));
    let questions = calls.and_then(|rest| rest.split(',').next()?.parse::<f64>().ok()).unwrap_or(0.0);
    Seen {
        us,
        questions: questions / payments,
        asked: redis.counters().read().fetches as f64 / payments,
        redis_us: (ground.redis_cpu_us() - cpu_us) / payments,
    }
}
