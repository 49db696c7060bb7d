//! Whether a decision that was made again is the recorded one, and in what it is not.

use serde::Serialize;

use crate::audit::record::{DecisionRecord, RecordedHit};
use crate::audit::record_view::{RecordField, RecordView};
use crate::domain::decision::{Challenge, Outcome};
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::evaluation::again;
use crate::feature::vector::FeatureVector;
use crate::redecide::decision::Inputs;
use crate::redecide::report::FieldDifference;

/// Most bytes of a value that are shown of a difference.
const SHOWN_BYTES_MAX: usize = 600;
/// Most fields of one record that are shown.
const SHOWN_FIELDS_MAX: usize = 16;

/// In what a record differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differences {
    /// The kinds: names of people for parts of a record.
    pub kinds: Vec<&'static str>,
    /// Each with both values.
    pub fields: Vec<FieldDifference>,
    /// The decision's id.
    pub decision_id: Box<str>,
    /// Its transaction's.
    pub transaction_id: Box<str>,
}

/// Whether a record says of its decision, byte for byte, what is written of this judgement. Bytes that are the same mean the same;
/// others may do so, too.
pub fn is_written_so(
    view: &RecordView<'_>,
    inputs: &Inputs<'_>,
    policy: &Policy,
    judgement: &Judgement,
    text: &mut Vec<u8>,
) -> bool {
    let mut same = Same { view, text };
    let Judgement { outcome, reason, reasons, score, risk_level, features, .. } = judgement;
    let missing: Vec<&str> = judgement.missing.iter().map(|part| part.name()).collect();
    same.is(RecordField::TransactionId, inputs.transaction.id.as_str())
        && same.is(RecordField::Decision, outcome)
        && same.is(RecordField::Reason, reason)
        && same.is(RecordField::Reasons, reasons)
        && same.is(RecordField::Score, score)
        && same.is(RecordField::RiskLevel, risk_level)
        && same.is(RecordField::Challenge, &challenge(*outcome))
        && same.is(RecordField::Degraded, &!missing.is_empty())
        && same.is(RecordField::Missing, &missing)
        && same.is(RecordField::Versions, &policy.versions)
        && *features == inputs.features
        && same.is(RecordField::Margin, &judgement.margin)
        && same.is_unless(
            judgement.contributions.is_empty(),
            RecordField::Contributions,
            &judgement.contributions,
        )
        && same.is_unless(judgement.bias.is_none(), RecordField::Bias, &judgement.bias)
        && same.is(RecordField::Hits, &hits(judgement))
        && same.is_unless(judgement.hits_left_out == 0, RecordField::HitsLeftOut, &judgement.hits_left_out)
        && same.is_unless(judgement.listed.is_empty(), RecordField::Listed, &judgement.listed)
}

struct Same<'a, 'b> {
    view: &'a RecordView<'b>,
    text: &'a mut Vec<u8>,
}

impl Same<'_, '_> {
    fn is<T: Serialize + ?Sized>(&mut self, field: RecordField, value: &T) -> bool {
        self.text.clear();
        serde_json::to_writer(&mut *self.text, value).is_ok() && self.view.raw(field) == Some(&**self.text)
    }

    /// A field that is left out where it would say nothing.
    fn is_unless<T: Serialize + ?Sized>(
        &mut self,
        says_nothing: bool,
        field: RecordField,
        value: &T,
    ) -> bool {
        if says_nothing { self.view.raw(field).is_none() } else { self.is(field, value) }
    }
}

fn challenge(outcome: Outcome) -> Option<Challenge> {
    (outcome == Outcome::Challenge).then_some(Challenge::ThreeDs)
}

/// The hits as a record has them.
fn hits(judgement: &Judgement) -> Vec<RecordedHit> {
    let hit = |hit: &crate::engine::judge::RuleHit| RecordedHit {
        rule: hit.rule.clone(),
        shadow: hit.is_shadow,
        values: hit.values.iter().cloned().collect(),
    };
    judgement.hits.iter().map(hit).collect()
}

/// In what a record differs from a judgement, value by value; `None` where in nothing. What records of an older version lack counts as
/// the same.
pub fn differences(
    record: &DecisionRecord,
    inputs: &Inputs<'_>,
    policy: &Policy,
    judgement: &Judgement,
) -> Option<Differences> {
    let mut kinds = again::differing(record, judgement);
    if policy.versions != record.answer.versions {
        kinds.push("versions");
    }
    if *record.answer.transaction_id != *inputs.transaction.id.as_str() {
        kinds.push("transaction id");
    }
    if kinds.is_empty() {
        return None;
    }
    let field = |kind: &&'static str| field(kind, record, inputs, policy, judgement);
    Some(Differences {
        fields: kinds.iter().take(SHOWN_FIELDS_MAX).map(field).collect(),
        kinds,
        decision_id: record.answer.decision_id.clone(),
        transaction_id: record.answer.transaction_id.clone(),
    })
}

fn field(
    kind: &str,
    record: &DecisionRecord,
    inputs: &Inputs<'_>,
    policy: &Policy,
    judgement: &Judgement,
) -> FieldDifference {
    let of =
        |recorded: String, decided: String| FieldDifference { field: kind.to_owned(), recorded, decided };
    let answer = &record.answer;
    match kind {
        "decision" => of(json(&answer.decision), json(&judgement.outcome)),
        "reason" => of(json(&answer.reason), json(&judgement.reason)),
        "reasons" => of(json(&answer.reasons), json(&judgement.reasons)),
        "score" => of(json(&(answer.score, record.margin)), json(&(judgement.score, judgement.margin))),
        "risk level" => of(json(&answer.risk_level), json(&judgement.risk_level)),
        "challenge" => of(json(&answer.challenge), json(&challenge(judgement.outcome))),
        "degraded" => of(json(&answer.degraded), json(&!judgement.missing.is_empty())),
        "missing" => {
            let missing: Vec<&str> = judgement.missing.iter().map(|part| part.name()).collect();
            of(json(&answer.missing), json(&missing))
        }
        "versions" => of(json(&answer.versions), json(&policy.versions)),
        "transaction id" => of(json(&answer.transaction_id), json(inputs.transaction.id.as_str())),
        "contributions" => contribution(record, policy, judgement),
        "bias" => of(json(&record.bias), json(&judgement.bias)),
        "hits" | "values of hits" => of(json(&record.hits), json(&hits(judgement))),
        "hits left out" => of(json(&record.hits_left_out), json(&judgement.hits_left_out)),
        "lists found" => of(json(&record.listed), json(&judgement.listed)),
        _ => feature(&inputs.features, &judgement.features, policy)
            .unwrap_or_else(|| of("null".to_owned(), "null".to_owned())),
    }
}

/// The first feature that two vectors of a policy differ in.
pub fn feature(recorded: &FeatureVector, now: &FeatureVector, policy: &Policy) -> Option<FieldDifference> {
    policy.catalogue.features.iter().enumerate().find_map(|(slot, feature)| {
        let bits = |vector: &FeatureVector| vector.numbers().get(slot).map(|number| number.to_bits());
        let (then, then_bits) = (recorded.get(slot, feature.value_type), bits(recorded));
        let (now, now_bits) = (now.get(slot, feature.value_type), bits(now));
        // Numbers by their bits, texts by what they say.
        (then != now || then_bits != now_bits).then(|| FieldDifference {
            field: format!("features.{}", feature.name),
            recorded: then.to_string(),
            decided: now.to_string(),
        })
    })
}

/// The first feature that moved the margin otherwise.
fn contribution(record: &DecisionRecord, policy: &Policy, judgement: &Judgement) -> FieldDifference {
    let of = |moved: &[(u16, f32)], slot: u16| {
        moved.iter().find(|(known, _)| *known == slot).map(|(_, moved)| *moved)
    };
    let slots = 0..u16::try_from(policy.catalogue.features.len()).unwrap_or(u16::MAX);
    for slot in slots {
        let (then, now) = (of(&record.contributions, slot), of(&judgement.contributions, slot));
        if then.map(f32::to_bits) != now.map(f32::to_bits) {
            let name = &policy.catalogue.features[usize::from(slot)].name;
            return FieldDifference {
                field: format!("contributions.{name}"),
                recorded: json(&then),
                decided: json(&now),
            };
        }
    }
    FieldDifference {
        field: "contributions".to_owned(),
        recorded: json(&record.contributions),
        decided: json(&judgement.contributions),
    }
}

/// A value as JSON, as much of it as is shown.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_else(|error| error.to_string());
    if text.len() > SHOWN_BYTES_MAX {
        let end = (0..=SHOWN_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}
