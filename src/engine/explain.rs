//! Why a transaction was judged as it was: the same facts, asked again.

use crate::domain::transaction::Transaction;
use crate::engine::judge::{JudgeFacts, Judgement};
use crate::engine::policy::Policy;
use crate::rules::explain::{Explained, explained};
use crate::rules::run_time::RunTimeLists;

/// What the rules saw when `judge` made this of that transaction, under the same policy. `standing`: what stood on lists at run time,
/// for the parts of conditions that nobody had to ask.
pub fn explain<'p>(
    policy: &'p Policy,
    transaction: &Transaction,
    judgement: &Judgement,
    standing: &RunTimeLists,
) -> Explained<'p> {
    let by = |lists: &RunTimeLists| {
        let facts = JudgeFacts::new(
            policy,
            transaction,
            judgement.ip.as_ref(),
            &judgement.features,
            judgement.score,
            lists,
        );
        explained(&policy.rules, &facts, transaction.occurred_at)
    };
    let found = by(&standing.and(&judgement.listed));
    let hits = judgement.hits.len() + judgement.hits_left_out as usize;
    let is_of_judgement = found.hits.len() == hits
        && judgement.hits.iter().all(|hit| found.hits.iter().any(|it| it.rule.id == hit.rule));
    // A list may have been changed while the decision was made. What it found is what counts.
    if is_of_judgement { found } else { by(&RunTimeLists::of(&judgement.listed)) }
}
