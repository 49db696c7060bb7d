//! The scores of challengers, made again. Their records come after those of the decisions that they name, perhaps in another segment.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::audit::reader::Record;
use crate::audit::record::{self, ChallengedDecision, ChallengerRecord, RecordError};
use crate::domain::decision::ChallengerVersion;
use crate::engine::policy::Policy;
use crate::engine::shadow::{ShadowScore, score};
use crate::feature::vector::FeatureVector;
use crate::redecide::compare::json;
use crate::redecide::report::{Compared, Difference, FieldDifference};

/// Most decisions of which the scores are kept for the record that tells of them: four times as many as wait for it in a service with
/// the default `shadow.queue_decisions_max`.
pub const KEPT_MAX: usize = 16_384;
/// Most scores of one segment that wait for the scores of the segments before it.
pub const OPEN_MAX: usize = 16_384;

/// Counted under this reason: a score whose decision was not made again, or lies before the stretch that is looked at.
const NO_DECISION: &str = "its decision was not made again here, or too far before it";

/// What challengers say now of one decision.
#[derive(Clone, Debug)]
struct Scored {
    sequence: u64,
    policy: Arc<Policy>,
    scores: Box<[Option<ShadowScore>]>,
}

/// What a record says of one decision.
#[derive(Debug)]
struct Told {
    /// The record's own sequence, and when it was recorded.
    sequence: u64,
    recorded_at: String,
    policy: Box<str>,
    challengers: Arc<[ChallengerVersion]>,
    decision: ChallengedDecision,
}

/// The scores of a stretch of the log.
#[derive(Debug, Default)]
pub struct Challenged {
    kept: VecDeque<Scored>,
    /// Of decisions before this stretch.
    open: Vec<Told>,
    compared: Compared,
    row: Vec<f32>,
}

impl Challenged {
    /// A decision of a policy with challengers: their scores, for later.
    pub fn decided(&mut self, sequence: u64, policy: &Arc<Policy>, features: &FeatureVector) {
        let scores = policy.challengers.iter().map(|challenger| {
            challenger.bound.binding.row_into(features.numbers(), &mut self.row);
            score(&challenger.bound, &self.row)
        });
        let scores = scores.collect();
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Scored { sequence, policy: Arc::clone(policy), scores });
    }

    /// A record of scores.
    pub fn told(&mut self, stored: &Record<'_>) -> Result<(), RecordError> {
        let ChallengerRecord { policy, challengers, decisions } = record::decode(stored.body)?;
        let challengers: Arc<[ChallengerVersion]> = challengers.into();
        for decision in decisions {
            let told = Told {
                sequence: stored.header.sequence,
                recorded_at: stored.header.recorded_at.to_string(),
                policy: policy.clone(),
                challengers: Arc::clone(&challengers),
                decision,
            };
            match self.find(told.decision.sequence) {
                Some(scored) => compare(&mut self.compared, &scored, &told),
                None if self.open.len() < OPEN_MAX => self.open.push(told),
                None => not_compared(&mut self.compared, &told),
            }
        }
        Ok(())
    }

    /// Adds the stretch that comes next.
    pub fn follow(&mut self, next: Self) {
        let Self { kept, open, compared, .. } = next;
        for told in &open {
            match self.find(told.decision.sequence) {
                Some(scored) => compare(&mut self.compared, &scored, told),
                None => not_compared(&mut self.compared, told),
            }
        }
        self.compared.merge(compared);
        self.kept.extend(kept);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT_MAX));
    }

    /// What came of all of it, when nothing comes before the first stretch.
    pub fn finish(mut self) -> Compared {
        for told in std::mem::take(&mut self.open) {
            not_compared(&mut self.compared, &told);
        }
        self.compared
    }

    fn find(&self, sequence: u64) -> Option<Scored> {
        let at = self.kept.binary_search_by_key(&sequence, |scored| scored.sequence).ok()?;
        self.kept.get(at).cloned()
    }
}

fn not_compared(compared: &mut Compared, told: &Told) {
    for _ in told.challengers.iter() {
        compared.seen += 1;
        compared.not_compared.add(NO_DECISION, told.sequence);
    }
}

fn compare(compared: &mut Compared, scored: &Scored, told: &Told) {
    let Told { decision, challengers, .. } = told;
    let versions = scored.policy.challenger_versions();
    for (index, challenger) in challengers.iter().enumerate() {
        compared.seen += 1;
        let recorded =
            (decision.margins.get(index).copied().flatten(), decision.scores.get(index).copied().flatten());
        let now = scored.scores.get(index).copied().flatten();
        let now = (now.map(|it| it.margin), now.map(|it| it.score));
        let bits =
            |(margin, score): (Option<f32>, Option<f32>)| (margin.map(f32::to_bits), score.map(f32::to_bits));
        let is_other_policy = *scored.policy.hash != *told.policy || versions.get(index) != Some(challenger);
        let (kind, recorded, now) = if is_other_policy {
            let now = (&scored.policy.hash, versions.get(index));
            ("challenger", json(&(&told.policy, challenger)), json(&now))
        } else if bits(recorded) != bits(now) {
            ("score of a challenger", json(&recorded), json(&now))
        } else {
            compared.same += 1;
            continue;
        };
        compared.differs(told.sequence, [kind], || Difference {
            sequence: told.sequence,
            decision_id: decision.decision_id.to_string(),
            transaction_id: String::new(),
            recorded_at: told.recorded_at.clone(),
            policy: told.policy.to_string(),
            fields: vec![FieldDifference {
                field: format!("{kind} {} of record {}", challenger.name, decision.sequence),
                recorded,
                decided: now,
            }],
        });
    }
}
