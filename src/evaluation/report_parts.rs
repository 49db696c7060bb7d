//! Parts of a report that both sides of a comparison have.

use std::collections::BTreeMap;

use crate::domain::decision::Outcome;
use crate::evaluation::report::{Operation, OutcomeRow, Point, TruthCounts, share};

/// Decisions by outcome, most severe first.
pub fn outcome_rows(outcomes: &BTreeMap<Outcome, TruthCounts>, all: &TruthCounts) -> Vec<OutcomeRow> {
    let mut from_here = TruthCounts::default();
    let mut rows = Vec::with_capacity(Outcome::ALL.len());
    for outcome in Outcome::ALL.into_iter().rev() {
        let truth = outcomes.get(&outcome).copied().unwrap_or_default();
        from_here.fraud += truth.fraud;
        from_here.legitimate += truth.legitimate;
        rows.push(OutcomeRow {
            outcome,
            count: truth.total(),
            share: share(truth.total(), all.total()),
            truth,
            precision: truth.precision(),
            recall: truth.recall(all),
            precision_from_here: from_here.precision(),
            recall_from_here: from_here.recall(all),
        });
    }
    rows
}

/// What decisions catch and cost.
pub fn operation(outcomes: &BTreeMap<Outcome, TruthCounts>, all: &TruthCounts) -> Operation {
    let stopped = outcomes.iter().filter(|(outcome, _)| **outcome > Outcome::Approve);
    let stopped = stopped.fold(TruthCounts::default(), |sum, (_, truth)| sum.and(truth));
    let blocked = outcomes.get(&Outcome::Block).copied().unwrap_or_default();
    Operation { stopped: Point::new(stopped, all), blocked: Point::new(blocked, all) }
}
