//! Why a transaction was judged as it was: the same facts, asked again.

use crate::domain::transaction::Transaction;
use crate::engine::judge::{JudgeFacts, Judgement};
use crate::engine::policy::Policy;
use crate::rules::explain::{Explained, explained};

/// What the rules saw when `judge` made this of that transaction, under the same policy.
pub fn explain<'p>(policy: &'p Policy, transaction: &Transaction, judgement: &Judgement) -> Explained<'p> {
    let facts = JudgeFacts::new(policy, transaction, &judgement.features, judgement.score);
    explained(&policy.rules, &facts, transaction.occurred_at)
}
