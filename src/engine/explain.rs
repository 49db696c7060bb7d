//! Why a transaction was judged as it was: the same facts, asked again.

use crate::domain::transaction::Transaction;
use crate::engine::judge::{JudgeFacts, Judgement};
use crate::engine::policy::Policy;
use crate::rules::explain::{Explained, explained};
use crate::rules::run_time::RunTimeLists;

/// What the rules saw when `judge` made this of that transaction, under the same policy.
pub fn explain<'p>(policy: &'p Policy, transaction: &Transaction, judgement: &Judgement) -> Explained<'p> {
    let lists = RunTimeLists::of(&judgement.listed);
    let facts = JudgeFacts::new(
        policy,
        transaction,
        judgement.ip.as_ref(),
        &judgement.features,
        judgement.score,
        &lists,
    );
    explained(&policy.rules, &facts, transaction.occurred_at)
}
