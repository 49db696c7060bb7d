//! How fast decisions can update the profiles of customer and card: batches as the service sends them, into both stores.

use std::collections::HashMap;

use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::domain::transaction::Transaction;
use tollgate::enrich::cache::CacheSettings;
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::source::ProfileSource;
use tollgate::enrich::update::{ProfileUpdate, UpdateStep};

use crate::enrich::ground::Ground;
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::turns::spread;

/// Decisions of a batch, as `pipeline::profile_updates` takes them from the log.
const BATCH: usize = 256;
/// Batches of one pass.
const BATCHES: usize = 16;
const COLUMNS: &[&str] =
    &["store", "decisions/s", "least", "most", "us a decision", "profiles a decision", "Redis us a decision"];

/// One row for each store.
pub(crate) fn section(options: &Options, ground: &Ground) -> Result<Section, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let embedded = EmbeddedProfiles::open(directory.path())?;
    let redis = ground.redis(CacheSettings::default());
    let mut rates = [vec![], vec![]];
    let (mut redis_us, mut profiles) = (vec![], 0);
    let mut sequence = 0;
    for round in 0..options.turns.rounds {
        let mut decided = ground.payments.iter().cycle().skip(round * BATCH * BATCHES);
        let batches: Vec<Vec<ProfileUpdate>> = (0..BATCHES)
            .map(|_| batch(&decided.by_ref().take(BATCH).collect::<Vec<_>>(), &mut sequence))
            .collect();
        profiles += batches.iter().map(Vec::len).sum::<usize>();
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                let before_us = ground.redis_cpu_us();
                rates[0].push(pass(ground, &redis, &batches));
                redis_us.push((ground.redis_cpu_us() - before_us) / (BATCH * BATCHES) as f64);
            } else {
                rates[1].push(pass(ground, &embedded, &batches));
            }
        }
    }
    let title =
        format!("profiles of customer and card updated by batches of {BATCH} decisions, one after the other");
    let mut section = Section::new("updates", title, COLUMNS);
    let a_decision = profiles as f64 / (options.turns.rounds * BATCH * BATCHES) as f64;
    let redis_us = spread(redis_us)[1];
    for (name, rates, redis_us) in
        [("Redis", rates[0].clone(), redis_us), ("embedded store, on disk", rates[1].clone(), f64::NAN)]
    {
        let [least, rate, most] = spread(rates);
        section.row([
            name.into(),
            (rate as u64).into(),
            (least as u64).into(),
            (most as u64).into(),
            (1e6 / rate).into(),
            a_decision.into(),
            redis_us.into(),
        ]);
    }
    section.note(format!(
        "{} rounds of {} decisions; each batch is stored before the next is sent.",
        options.turns.rounds,
        BATCH * BATCHES
    ));
    Ok(section)
}

/// Decisions a second.
fn pass(ground: &Ground, store: &impl ProfileSource, batches: &[Vec<ProfileUpdate>]) -> f64 {
    let batches = batches.to_vec();
    let began = SystemClock.instant();
    for batch in batches {
        let steps: usize = batch.iter().map(|update| update.steps.len()).sum();
        let applied = ground.runtime.block_on(store.apply(batch)).expect("the store takes updates");
        assert_eq!((applied.steps, applied.refused), (steps as u64, 0), "all of them are new");
    }
    (BATCH * BATCHES) as f64 / began.elapsed().as_secs_f64()
}

/// What the service makes of approved decisions: per profile, its steps in the order of the log.
fn batch(decided: &[&Transaction], sequence: &mut u64) -> Vec<ProfileUpdate> {
    let mut updates: Vec<ProfileUpdate> = Vec::new();
    let mut places = HashMap::new();
    for payment in decided {
        *sequence += 1;
        for (entity, id) in [("customer", &payment.customer.id), ("card", &payment.card.fingerprint)] {
            let Some(id) = id else { continue };
            let place = *places.entry((entity, id)).or_insert_with(|| {
                updates.push(ProfileUpdate {
                    entity: entity.into(),
                    id: id.clone(),
                    log: "a".into(),
                    steps: vec![],
                });
                updates.len() - 1
            });
            updates[place].steps.push(step(*sequence, payment));
        }
    }
    updates
}

fn step(sequence: u64, payment: &Transaction) -> UpdateStep {
    let amount = format!("lifetime_amount_{}", payment.amount.currency().code());
    let add = vec![
        ("lifetime_attempts".into(), 1),
        ("lifetime_orders".into(), 1),
        (amount.into(), payment.amount.minor()),
    ];
    let device = payment.device.id.as_ref().map(|device| ("last_device".into(), device.as_str().into()));
    let country =
        payment.billing.country.as_ref().map(|country| ("last_country".into(), country.as_str().into()));
    let seen = ("last_seen_ms".into(), payment.occurred_at.unix_millis().to_string().into());
    UpdateStep { sequence, add, set: [Some(seen), device, country].into_iter().flatten().collect() }
}
