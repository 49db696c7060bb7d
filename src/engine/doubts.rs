//! What a policy knows that helps to judge its rules: ranges that its features never leave, and recorded decisions.

use crate::domain::ip_facts::IpFacts;
use crate::domain::transaction::Transaction;
use crate::engine::judge::JudgeFacts;
use crate::engine::policy::Policy;
use crate::expr::schema::Slot;
use crate::feature::catalogue::Catalogue;
use crate::feature::facts::{FEATURE_SLOT_FIRST, METADATA_SLOT_FIRST, SCORE_SLOT};
use crate::feature::vector::FeatureVector;
use crate::rules::lint::traffic::Traffic;
use crate::rules::run_time::RunTimeLists;

/// Names whose values never lie below the first or above the second number.
pub fn ranges(catalogue: &Catalogue) -> Vec<(Box<str>, f64, f64)> {
    let of_windows = catalogue.plan.never_below_zero().into_iter().filter_map(|(output, highest)| {
        let feature = catalogue.features.get(output)?;
        Some((feature.name.clone(), 0.0, highest))
    });
    [("score".into(), 0.0, 1.0), ("ip.list_weight".into(), 0.0, 1.0)].into_iter().chain(of_windows).collect()
}

/// Counts a recorded transaction; `ip`: what was known of its address; `recorded`: its features and score, if the record's catalogue is this policy's; `lists`: what it found
/// on lists beside their files.
pub fn count(
    traffic: &mut Traffic,
    policy: &Policy,
    transaction: &Transaction,
    ip: Option<&IpFacts>,
    recorded: Option<(&FeatureVector, Option<f32>)>,
    lists: &RunTimeLists,
) {
    let nothing = FeatureVector::missing(policy.catalogue.features.len());
    let (features, score) = recorded.unwrap_or((&nothing, None));
    let facts = JudgeFacts::new(policy, transaction, ip, features, score, lists);
    let is_own =
        |slot: Slot| slot >= METADATA_SLOT_FIRST || (slot.0 < FEATURE_SLOT_FIRST && slot != SCORE_SLOT);
    traffic.count(&policy.rules, &facts, |slot| recorded.is_some() || is_own(slot), recorded.is_some());
}
