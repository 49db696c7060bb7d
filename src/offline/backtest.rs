//! A backtest: past transactions decided by a policy, and how well that went.

use std::ops::ControlFlow;
use std::time::Duration;

use smallvec::SmallVec;

use crate::domain::decision::ReasonSource;
use crate::domain::label::Verdict;
use crate::domain::time::EventTime;
use crate::domain::transaction::{Mode, Transaction};
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::offline::error::InputError;
use crate::offline::replay::{Replay, ReplayEvent};
use crate::offline::report::{BacktestReport, InputSummary, PolicyVersions, RuleState};
use crate::offline::session::{ReplayFiles, Session};
use crate::offline::tally::{JudgedRow, RuleInfo, Tally};
use crate::offline::transactions::TransactionReader;
use crate::rules::file::State as RuleFileState;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct BacktestOptions<'a> {
    /// The files.
    pub files: ReplayFiles<'a>,
    /// Measure from this moment on; what is earlier only fills the windows.
    pub from: Option<EventTime>,
    /// Stop after that many transactions.
    pub limit: Option<u64>,
}

/// One decision, for those who write them down.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// What was decided, and why.
    pub judgement: &'a Judgement,
    /// What became of it.
    pub truth: Option<Verdict>,
}

/// Replays a file through a session. `each` sees every decision; it can end the run early.
pub fn replay(
    session: &Session<'_>,
    options: &BacktestOptions<'_>,
    mut each: impl FnMut(Decided<'_>, &Replay<TransactionReader>) -> ControlFlow<()>,
) -> Result<Replay<TransactionReader>, InputError> {
    let mut replay = options.files.open()?;
    let mut decided = 0;
    while options.limit.is_none_or(|limit| decided < limit) {
        match replay.next_event()? {
            None => break,
            Some(ReplayEvent::Label { label, transaction }) => session.label(&transaction, &label),
            Some(ReplayEvent::Attempt { transaction, truth, .. }) => {
                decided += 1;
                let judgement = session.decide(&transaction, Mode::Live);
                let is_measured = options.from.is_none_or(|from| transaction.occurred_at >= from);
                if is_measured
                    && each(Decided { transaction: &transaction, judgement: &judgement, truth }, &replay)
                        .is_break()
                {
                    break;
                }
            }
        }
    }
    Ok(replay)
}

/// Runs a backtest. `elapsed` is asked at the end how long it took.
pub fn run(
    policy: &Policy,
    options: &BacktestOptions<'_>,
    mut each: impl FnMut(Decided<'_>, &Replay<TransactionReader>) -> ControlFlow<()>,
    elapsed: impl FnOnce() -> Duration,
) -> Result<BacktestReport, InputError> {
    let session = Session::new(policy);
    let mut tally = Tally::new(rules(policy));
    let done = replay(&session, options, |decided, replay| {
        count(&mut tally, &decided);
        each(decided, replay)
    })?;
    let reader = done.source();
    let input = InputSummary {
        file: options.files.input.display().to_string(),
        labels_file: options.files.labels.map(|labels| labels.display().to_string()),
        rows: reader.progress().rows,
        rows_skipped: reader.bad_rows().count(),
        first_skipped: reader.bad_rows().first().to_vec(),
        replay: done.counts(),
        ..InputSummary::default()
    };
    let versions = PolicyVersions {
        rules: policy.versions.rules.to_string(),
        model: policy.versions.model.as_deref().map(str::to_owned),
        features: policy.versions.features.to_string(),
    };
    let mut report = tally.report(input, versions, elapsed(), None);
    report.late = session.late_events();
    Ok(report)
}

fn rules(policy: &Policy) -> Vec<RuleInfo> {
    let rules = policy.rules.rules().iter();
    rules
        .filter_map(|rule| {
            let state = match rule.state {
                RuleFileState::Live => RuleState::Live,
                RuleFileState::Shadow => RuleState::Shadow,
                RuleFileState::Draft | RuleFileState::Paused => return None,
            };
            Some(RuleInfo { id: rule.id.to_string(), state, outcome: rule.then })
        })
        .collect()
}

fn count(tally: &mut Tally, decided: &Decided<'_>) {
    let judgement = decided.judgement;
    let hits: SmallVec<[&str; 8]> = judgement.hits.iter().map(|hit| &*hit.rule).collect();
    let missing: SmallVec<[&str; 2]> = judgement.missing.iter().map(|part| part.name()).collect();
    let decided_by = judgement.reasons.first().filter(|reason| reason.source == ReasonSource::Rule);
    tally.add(&JudgedRow {
        transaction: decided.transaction,
        truth: decided.truth,
        outcome: judgement.outcome,
        reason: &judgement.reason,
        decided_by: decided_by.and_then(|reason| reason.rule.as_deref()),
        score: judgement.score.map(f64::from),
        hits: &hits,
        missing: &missing,
        is_late: false,
    });
}
