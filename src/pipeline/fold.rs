//! What a record does to the state once it is in the log: the same for a record just written and for one read at a start.

use std::sync::Arc;
use std::vec::Drain;

use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::audit::writer::Committed;
use crate::domain::decision::Outcome;
use crate::domain::label::Label;
use crate::domain::time::EventTime;
use crate::engine::state::{Counted, State};
use crate::pipeline::index::Claimed;
use crate::pipeline::lane::{Mark, SharedLane};
use crate::pipeline::policy::LivePolicy;
use crate::pipeline::rule_counts::CountedHit;
use crate::pipeline::shadow::{Seen, ShadowQueue};
use crate::privacy::key_store::KeyStore;
use crate::rules::run_time::{Entry, ListChange};
use crate::search::facts::{DecisionFacts, Facts};
use crate::search::live::LiveIndex;

/// What is to be done when a record is in the log. Dropped undone, its claim is released.
#[derive(Debug)]
pub enum Consequence {
    /// Of a decision.
    Decision(Box<DecisionConsequence>),
    /// Of a label.
    Label(Box<LabelConsequence>),
    /// Of a change of a list.
    ListChange(Box<ListConsequence>),
    /// Of an erasure.
    Erasure(Box<ErasureConsequence>),
    /// Of a change of policy: none.
    Policy,
    /// Of a review: none, as its label has one of its own.
    Review,
    /// Of the scores of challengers: none.
    ChallengerScores,
    /// Of a signed tree head: none.
    Checkpoint,
    /// Of records that leave a place where they are kept: none.
    Retention,
}

/// See `Consequence::Decision`.
#[derive(Debug)]
pub struct DecisionConsequence {
    claimed: Claimed,
    transaction_claimed: Option<Claimed>,
    counted: Counted,
    outcome: Outcome,
    /// The rules that matched, of the policy that decided.
    hits: PolicyHits,
    /// For what is looked at afterwards.
    seen: Option<Box<Seen>>,
    /// What it is found by.
    facts: Box<DecisionFacts>,
}

/// Rules that matched.
#[derive(Debug)]
pub struct PolicyHits {
    /// By which policy.
    pub policy: Arc<LivePolicy>,
    /// Which.
    pub hits: SmallVec<[CountedHit; 2]>,
    /// When.
    pub at: EventTime,
}

/// See `Consequence::Label`.
#[derive(Debug)]
pub struct LabelConsequence {
    claimed: Claimed,
    label: Label,
    counted: Option<Counted>,
}

/// See `Consequence::ListChange`.
#[derive(Debug)]
pub struct ListConsequence {
    /// What is done.
    pub change: ListChange,
    /// Is told what stood there before.
    pub before: oneshot::Sender<Option<Entry>>,
    /// The place that the change takes among those on their way, until it is made.
    pub place: OwnedSemaphorePermit,
}

/// See `Consequence::Erasure`.
#[derive(Debug)]
pub struct ErasureConsequence {
    /// The keys that are to be destroyed.
    pub keys: Vec<u64>,
    /// What must not stand on lists any more.
    pub values: Vec<Box<str>>,
    /// Is told how many entries of lists were taken off.
    pub entries: oneshot::Sender<u64>,
}

impl Consequence {
    /// Of a decision: with a claim on its transaction id when that is not its idempotency key and nobody holds it.
    pub fn decision(
        claimed: Claimed,
        transaction_claimed: Option<Claimed>,
        counted: Counted,
        outcome: Outcome,
        hits: PolicyHits,
        seen: Option<Box<Seen>>,
        facts: Box<DecisionFacts>,
    ) -> Self {
        Self::Decision(Box::new(DecisionConsequence {
            claimed,
            transaction_claimed,
            counted,
            outcome,
            hits,
            seen,
            facts,
        }))
    }

    /// Of a label; `counted` when the labelled transaction is known.
    pub fn label(claimed: Claimed, label: Label, counted: Option<Counted>) -> Self {
        Self::Label(Box::new(LabelConsequence { claimed, label, counted }))
    }
}

/// Does what records ask for, in their order. Runs on the log's writer thread, before the answers leave.
pub(crate) fn apply(
    state: &State,
    lane: &SharedLane,
    shadow: &ShadowQueue,
    keys: &KeyStore,
    search: &LiveIndex,
    committed: Drain<'_, Committed<Consequence>>,
) {
    for Committed { receipt, context, kind } in committed {
        let (mut before, mut entries) = (None, 0);
        {
            let mut lane = lane.lock();
            match &context {
                Consequence::Decision(decision) => {
                    state.record_outcome(&decision.counted, decision.outcome);
                }
                Consequence::Label(label) => {
                    if let Some(counted) = &label.counted {
                        state.record_label(counted, &label.label);
                    }
                }
                Consequence::ListChange(made) => {
                    before = state.change_list(&made.change, receipt.sequence, receipt.recorded_at);
                }
                Consequence::Erasure(erasure) => {
                    // Before the record counts as applied: a snapshot that has seen it finds the keys doomed.
                    keys.doom(&erasure.keys);
                    entries = state.erase_listed(|value| erasure.values.iter().any(|it| **it == *value));
                }
                Consequence::Policy
                | Consequence::Review
                | Consequence::ChallengerScores
                | Consequence::Checkpoint
                | Consequence::Retention => {}
            }
            lane.applied = Some(Mark::from(&receipt));
        }
        let facts = match context {
            Consequence::Decision(decision) => {
                if let Some(claimed) = decision.transaction_claimed {
                    claimed.complete(receipt.position);
                }
                decision.claimed.complete(receipt.position);
                let PolicyHits { policy, hits, at } = decision.hits;
                policy.counts.count(hits, at);
                if let Some(seen) = decision.seen {
                    shadow.hand_over(receipt.sequence, seen);
                }
                Facts::Decision(decision.facts)
            }
            Consequence::Label(label) => {
                label.claimed.complete(receipt.position);
                shadow.hand_over_label(&label.label);
                Facts::Label(label.label.transaction_id.as_str().into())
            }
            Consequence::ListChange(made) => {
                // Who asked may have given up waiting.
                let _ = made.before.send(before);
                Facts::Other
            }
            Consequence::Erasure(erasure) => {
                let _ = erasure.entries.send(entries as u64);
                Facts::Other
            }
            // The index reads what is reviewed.
            Consequence::Review => continue,
            Consequence::Policy
            | Consequence::ChallengerScores
            | Consequence::Checkpoint
            | Consequence::Retention => Facts::Other,
        };
        search.note_written(kind, &receipt, facts);
    }
}
