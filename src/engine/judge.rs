//! `judge`: everything that is known of a transaction in, the decision with its reasons out.

use std::cell::RefCell;
use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::domain::decision::{Outcome, Reason, ReasonSource, RiskLevel};
use crate::domain::enrichment::Enrichment;
use crate::domain::ip_facts::IpFacts;
use crate::domain::recorded_value::RecordedValue;
use crate::domain::time::EventTime;
use crate::domain::transaction::Transaction;
use crate::domain::value::Value;
use crate::engine::policy::{BoundModel, Policy};
use crate::engine::settings::{Effort, Part};
use crate::expr::program::Facts;
use crate::expr::schema::Slot;
use crate::feature::extract;
use crate::feature::facts::{SCORE_SLOT, TransactionFacts};
use crate::feature::vector::FeatureVector;
use crate::feature::words;
use crate::model::attribution::AttributionScratch;
use crate::model::forest::probability;
use crate::model::manifest::Thresholds;
use crate::rules::budget::{Budget, HITS_MAX, VALUES_BYTES_MAX, json_bytes};
use crate::rules::list::{Lists, as_listed};
use crate::rules::run_time::{Listed, RunTimeLists};
use crate::rules::set::{Hit, Hits, Rule};

/// How many of the features that raised the score are named as reasons.
const MODEL_REASONS_MAX: usize = 3;
/// What a value costs beside its name and its text.
const HIT_VALUE_BYTES: usize = 24;

/// What a stage of `judge` has just finished, for those who measure; nothing depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The vector and the score.
    Model,
    /// The attributions.
    Explain,
    /// The rules and the decision.
    Rules,
}

/// A rule that matched.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleHit {
    /// Its id.
    pub rule: Box<str>,
    /// Its position in `RuleSet::rules`.
    pub position: u32,
    /// Whether it only watched.
    pub is_shadow: bool,
    /// The names that its condition reads, with the values that it saw.
    pub values: HitValues,
}

/// Names with their values.
pub type HitValues = Vec<(Box<str>, RecordedValue)>;

/// What `judge` found.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    /// The decision.
    pub outcome: Outcome,
    /// The code that decided.
    pub reason: Box<str>,
    /// All reasons, most decisive first.
    pub reasons: Vec<Reason>,
    /// The fraud probability.
    pub score: Option<f32>,
    /// The raw margin (log-odds).
    pub margin: Option<f32>,
    /// The score for people.
    pub risk_level: RiskLevel,
    /// What was known of the address, as it was given.
    pub ip: Option<IpFacts>,
    /// The whole feature vector.
    pub features: FeatureVector,
    /// How much each feature of the model moved the margin, by catalogue slot; zeros are left out.
    pub contributions: Vec<(u16, f32)>,
    /// The expected margin that the contributions start from.
    pub bias: Option<f32>,
    /// Every rule that matched, in file order.
    pub hits: SmallVec<[RuleHit; 2]>,
    /// How many rules matched beside these: a decision names only so many.
    pub hits_left_out: u32,
    /// What was asked for and stood on a list at run time, in order: what the decision took from outside its policy.
    pub listed: Vec<Listed>,
    /// What was missing.
    pub missing: SmallVec<[Part; 3]>,
}

struct Scored {
    score: f32,
    margin: f32,
    bias: f32,
    contributions: Vec<(u16, f32)>,
    risk_level: RiskLevel,
}

/// What rules see: the transaction, its features, the score and the lists.
pub struct JudgeFacts<'a> {
    transaction: TransactionFacts<'a>,
    score: Option<f32>,
    lists: &'a Lists,
    run_time: &'a RunTimeLists,
    /// What was asked for and found in `run_time`.
    found: RefCell<Vec<Listed>>,
    at: EventTime,
}

impl<'a> JudgeFacts<'a> {
    /// Of a transaction whose vector and score are known.
    pub fn new(
        policy: &'a Policy,
        transaction: &'a Transaction,
        ip: Option<&'a IpFacts>,
        features: &'a FeatureVector,
        score: Option<f32>,
        run_time: &'a RunTimeLists,
    ) -> Self {
        Self {
            transaction: TransactionFacts {
                transaction,
                ip,
                features,
                feature_types: &policy.catalogue.types,
                metadata_keys: &policy.metadata_keys,
            },
            score,
            lists: policy.rules.lists(),
            run_time,
            found: RefCell::default(),
            at: transaction.occurred_at,
        }
    }

    /// Asked also for what stands in the file: what a record names must not depend on which of the two is looked at first.
    fn stands_at_run_time(&self, list: usize, value: Value<'_>) -> bool {
        let Some(list) = self.lists.get(list) else { return false };
        as_listed(value, |text| {
            let stands = self.run_time.holds(list.name(), text, self.at);
            if stands {
                let mut found = self.found.borrow_mut();
                if !found.iter().any(|it| *it.list == *list.name() && *it.value == *text) {
                    found.push(Listed { list: list.name().into(), value: text.into() });
                }
            }
            stands
        })
    }
}

impl Facts for JudgeFacts<'_> {
    fn value(&self, slot: Slot) -> Value<'_> {
        if slot == SCORE_SLOT {
            return self.score.map_or(Value::Missing, |score| Value::Double(f64::from(score)));
        }
        self.transaction.value(slot)
    }

    fn in_list(&self, list: usize, value: Value<'_>) -> bool {
        let stands_at_run_time = !self.run_time.is_empty() && self.stands_at_run_time(list, value);
        stands_at_run_time || self.lists.contains(list, value, self.at)
    }
}

/// What a decision is made from, beside the transaction and its windows.
pub struct Known<'a> {
    /// What the store said.
    pub enrichment: &'a Enrichment,
    /// What local files knew of the address.
    pub ip: Option<IpFacts>,
    /// What stands on lists beside their files: of a decision that is decided again, what its record names.
    pub lists: &'a RunTimeLists,
    /// Whether there is time for a score.
    pub effort: Effort,
}

/// Decides. `windows` is what `observe` saw. `lap` is told when a stage is over.
pub fn judge(
    policy: &Policy,
    transaction: &Transaction,
    windows: FeatureVector,
    known: Known<'_>,
    lap: &mut dyn FnMut(Stage),
) -> Judgement {
    let Known { enrichment, ip, lists, effort } = known;
    let features = extract::vector(&policy.catalogue, transaction, windows, enrichment, ip.as_ref());
    let scored = policy
        .model
        .as_ref()
        .filter(|_| effort == Effort::Full)
        .and_then(|bound| SCRATCH.with_borrow_mut(|scratch| score(bound, &features, scratch, lap)));
    let mut missing = SmallVec::new();
    if effort == Effort::RulesAlone {
        missing.push(Part::Overload);
    }
    if enrichment.is_incomplete() {
        missing.push(Part::EnrichProfile);
    }
    if policy.model.is_some() && scored.is_none() {
        missing.push(Part::Model);
    }

    let score_value = scored.as_ref().map(|scored| scored.score);
    let facts = JudgeFacts::new(policy, transaction, ip.as_ref(), &features, score_value, lists);
    let hits = policy.rules.evaluate(&facts, transaction.occurred_at);
    let verdict = policy.rules.decide(&hits);
    let mut outcome = verdict.outcome;
    let mut reason: Box<str> = verdict.reason.into();
    let mut reasons = policy.rules.reasons(&hits, &facts);
    if let Some((floor, floor_reason)) = missing_floor(policy, &missing).filter(|(floor, _)| *floor > outcome)
    {
        outcome = floor;
        reason = floor_reason.code.clone();
        reasons.insert(0, floor_reason);
    }
    if let Some(scored) = &scored {
        add_model_reasons(policy, &features, scored, &mut reasons);
    }
    let mut values = Budget::new(VALUES_BYTES_MAX);
    let told = told(policy, &hits);
    let hits_left_out = u32::try_from(hits.len() - told.len()).unwrap_or(u32::MAX);
    let hits = told
        .iter()
        .filter_map(|hit| policy.rules.rule(*hit).map(|rule| (rule, hit)))
        .map(|(rule, hit)| RuleHit {
            rule: rule.id.clone(),
            position: hit.rule,
            is_shadow: !hit.live,
            values: hit_values(rule, &facts, &mut values),
        })
        .collect();
    let mut listed = facts.found.take();
    listed.sort_unstable();
    lap(Stage::Rules);
    Judgement {
        ip,
        outcome,
        reason,
        reasons,
        score: scored.as_ref().map(|scored| scored.score),
        margin: scored.as_ref().map(|scored| scored.margin),
        risk_level: scored.as_ref().map_or(RiskLevel::Unknown, |scored| scored.risk_level),
        bias: scored.as_ref().map(|scored| scored.bias),
        contributions: scored.map_or_else(Vec::new, |scored| scored.contributions),
        features,
        hits,
        hits_left_out,
        listed,
        missing,
    }
}

/// The hits that are named: all, or the one that decided and the first others.
fn told(policy: &Policy, hits: &[Hit]) -> Hits {
    let mut told: Hits = hits.iter().take(HITS_MAX).copied().collect();
    if hits.len() > HITS_MAX
        && let Some(deciding) = policy.rules.ranked(hits).first()
        && !told.contains(deciding)
    {
        told.pop();
        told.push(*deciding);
    }
    told
}

/// What the rule's condition read; nothing when the hits before it have named as much as may be.
fn hit_values(rule: &Rule, facts: &JudgeFacts<'_>, budget: &mut Budget) -> HitValues {
    let bytes = |(name, value): (&str, Value<'_>)| {
        let text = if let Value::Text(text) = value { json_bytes(text) } else { 0 };
        HIT_VALUE_BYTES + name.len() + text
    };
    if !budget.take(rule.values_read(facts).map(bytes).sum()) {
        return Vec::new();
    }
    rule.values_read(facts).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The most severe outcome that config asks for what is missing.
fn missing_floor(policy: &Policy, missing: &[Part]) -> Option<(Outcome, Reason)> {
    let worst = missing
        .iter()
        .filter_map(|part| {
            let on_missing = match part {
                Part::EnrichProfile => policy.missing.enrich,
                Part::Model => policy.missing.model,
                Part::Overload => policy.missing.overload,
            };
            on_missing.floor().map(|floor| (floor, *part))
        })
        .max_by_key(|(floor, _)| *floor);
    worst.map(|(floor, part)| {
        let reason = Reason {
            code: format!("missing_{}", part.name().replace('.', "_")).into(),
            source: ReasonSource::Degraded,
            rule: None,
            message: Some(format!("{} is missing, and config asks for at least {floor} then", part.name())),
            value: None,
            contribution: None,
        };
        (floor, reason)
    })
}

/// The room that one thread scores in, so that a decision allocates nothing for it. Every call fills it anew: nothing passes from
/// one decision to the next.
#[derive(Default)]
struct Scratch {
    row: Vec<f32>,
    contributions: Vec<f32>,
    attribution: AttributionScratch,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The score with its attributions; `None` when the model cannot score, which a checked binding rules out.
fn score(
    bound: &BoundModel,
    features: &FeatureVector,
    scratch: &mut Scratch,
    lap: &mut dyn FnMut(Stage),
) -> Option<Scored> {
    let model = &bound.model;
    let Scratch { row, contributions, attribution } = scratch;
    bound.binding.row_into(features.numbers(), row);
    let margin = bound.scorer.margin(model, row).ok()?;
    lap(Stage::Model);
    contributions.resize(row.len(), 0.0);
    model.attributor.contributions_into(&model.forest, row, attribution, contributions).ok()?;
    let by_slot = bound.binding.slots().iter().zip(contributions.iter());
    let score = probability(margin);
    let scored = Scored {
        score,
        margin,
        bias: model.attributor.bias(),
        contributions: by_slot
            .filter(|(_, moved)| **moved != 0.0)
            .map(|(slot, moved)| (*slot, *moved))
            .collect(),
        risk_level: match model.thresholds {
            Thresholds { high, .. } if score >= high => RiskLevel::High,
            Thresholds { elevated, .. } if score >= elevated => RiskLevel::Elevated,
            Thresholds { .. } => RiskLevel::Low,
        },
    };
    lap(Stage::Explain);
    Some(scored)
}

/// Names the features that raised the score most.
fn add_model_reasons(policy: &Policy, features: &FeatureVector, scored: &Scored, reasons: &mut Vec<Reason>) {
    let mut raising: SmallVec<[(u16, f32); MODEL_REASONS_MAX + 1]> = SmallVec::new();
    for (slot, moved) in scored.contributions.iter().filter(|(_, moved)| *moved > 0.0) {
        // Of two that raised it alike, the one with the smaller slot comes first.
        let is_behind =
            |other: &(u16, f32)| moved.total_cmp(&other.1).then(other.0.cmp(slot)) == Ordering::Greater;
        let place = raising.iter().position(is_behind).unwrap_or(raising.len());
        if place < MODEL_REASONS_MAX {
            raising.insert(place, (*slot, *moved));
            raising.truncate(MODEL_REASONS_MAX);
        }
    }
    for (slot, moved) in raising {
        let value = features.numbers()[usize::from(slot)];
        let feature = &policy.catalogue.features[usize::from(slot)];
        reasons.push(Reason {
            code: feature.name.clone(),
            source: ReasonSource::Model,
            rule: None,
            message: feature.words.as_deref().map(|words| words::sentence(words, feature.value_type, value)),
            value: (!value.is_nan()).then_some(value),
            contribution: Some(moved),
        });
    }
}
