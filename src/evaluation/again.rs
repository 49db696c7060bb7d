//! Deciding again: a policy over the very values that a decision was made from.
//!
//! The only place outside the walk of a live transaction where [`judge`] is called for what is counted.

use thiserror::Error;

use crate::audit::record::DecisionRecord;
use crate::domain::decision::Outcome;
use crate::domain::enrichment::Enrichment;
use crate::domain::ip_facts::IpFacts;
use crate::domain::transaction::Transaction;
use crate::engine::judge::{Judgement, Known, judge};
use crate::engine::policy::Policy;
use crate::engine::settings::{Effort, Part};
use crate::evaluation::said::Differences;
use crate::feature::extract::windows_of;
use crate::feature::vector::FeatureVector;
use crate::rules::run_time::RunTimeLists;

/// Why a record cannot be decided again from its own values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotAgain {
    /// Its values stand in the order of another catalogue.
    #[error("it was recorded under another feature catalogue")]
    OtherCatalogue,
    /// It does not hold as many values as its catalogue has.
    #[error("its values are not as many as its feature catalogue has")]
    OtherLength,
}

/// How much of a recorded decision was made: a candidate for it must not know more than there was time for.
pub fn effort(record: &DecisionRecord) -> Effort {
    effort_without(&record.answer.missing)
}

/// The same, of a record that says that these parts were missing.
pub fn effort_without(missing: &[Box<str>]) -> Effort {
    let was_shed = missing.iter().any(|part| &**part == Part::Overload.name());
    if was_shed { Effort::RulesAlone } else { Effort::Full }
}

/// Decides by what a decision under the same catalogue saw: its vector, what the enrichment store said, what was known of the address,
/// and what stood on lists at run time.
pub fn decide(
    policy: &Policy,
    transaction: &Transaction,
    features: &FeatureVector,
    enrichment: &Enrichment,
    ip: Option<IpFacts>,
    lists: &RunTimeLists,
    effort: Effort,
) -> Judgement {
    let windows = windows_of(&policy.catalogue, features);
    decide_from_windows(policy, transaction, windows, enrichment, ip, lists, effort)
}

/// Decides by windows that were counted anew.
pub fn decide_from_windows(
    policy: &Policy,
    transaction: &Transaction,
    windows: FeatureVector,
    enrichment: &Enrichment,
    ip: Option<IpFacts>,
    lists: &RunTimeLists,
    effort: Effort,
) -> Judgement {
    judge(policy, transaction, windows, Known { enrichment, ip, lists, effort }, &mut |_| {})
}

/// The vector of a record, if it is of this policy's catalogue.
pub fn vector(policy: &Policy, record: &DecisionRecord) -> Result<FeatureVector, NotAgain> {
    if record.answer.versions.features != policy.catalogue.sha256 {
        return Err(NotAgain::OtherCatalogue);
    }
    let (features, profile) = (policy.catalogue.features.len(), policy.catalogue.profile.len());
    if record.features.len() != features || record.enrichment.0.len() != profile {
        return Err(NotAgain::OtherLength);
    }
    Ok(FeatureVector::recorded(&record.features, &record.feature_texts))
}

/// In what a decision that was made again is another than its record says, bit for bit, by the names of people; empty when it is the
/// same. What records of an older version lack counts as the same.
pub fn differing(record: &DecisionRecord, judgement: &Judgement) -> Vec<&'static str> {
    let answer = &record.answer;
    let differences = Differences::from_record(record, judgement);
    let bits = |moved: &[(u16, f32)]| -> Vec<(u16, u32)> {
        moved.iter().map(|(slot, moved)| (*slot, moved.to_bits())).collect()
    };
    let missing = judgement.missing.iter().map(|part| part.name());
    let has_other_values = record.hits.iter().zip(&judgement.hits).any(|(before, now)| {
        let now = now.values.iter().cloned().collect();
        !before.values.is_empty() && before.values != now
    });
    let bias = |bias: Option<f32>| bias.map(f32::to_bits);
    let has_other_bias = !record.contributions.is_empty() && bias(record.bias) != bias(judgement.bias);
    let recorded = FeatureVector::recorded(&record.features, &record.feature_texts);
    let parts = [
        ("decision", answer.decision != judgement.outcome),
        ("reason", differences.reason),
        ("reasons", differences.reasons),
        ("score", differences.score),
        ("risk level", answer.risk_level != judgement.risk_level),
        ("challenge", answer.challenge.is_some() != (judgement.outcome == Outcome::Challenge)),
        ("degraded", answer.degraded == judgement.missing.is_empty()),
        ("contributions", bits(&record.contributions) != bits(&judgement.contributions)),
        ("bias", has_other_bias),
        ("hits", differences.hits),
        ("values of hits", !differences.hits && has_other_values),
        ("hits left out", record.hits_left_out != judgement.hits_left_out),
        ("lists found", record.listed != judgement.listed),
        ("features", recorded != judgement.features),
        ("missing", !missing.eq(answer.missing.iter().map(|part| &**part))),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
