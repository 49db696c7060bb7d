//! A backtest of a file: past transactions decided by a policy as if they came live, and how well that went.
//!
//! The windows are counted anew, and somebody's answers must fill their streams `approved` and `declined`: what was decided then,
//! as far as it is known. That is the recorded decision where the file has one, else the baseline's, and the candidate's own only
//! where there is nothing else. So a candidate and what it is held against see the same windows: those of the world that there was.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::time::EventTime;
use crate::domain::transaction::{Mode, Transaction};
use crate::engine::judge::Judgement;
use crate::engine::observe::Observation;
use crate::engine::policy::Policy;
use crate::evaluation::report::{BacktestReport, InputSummary, OutcomesFollow, PolicyVersions, Stopped};
use crate::evaluation::said::{Before, Differences, Said};
use crate::evaluation::session::Session;
use crate::evaluation::tally::{Against, JudgedRow, Tally};
use crate::evaluation::truth::Unlabelled;
use crate::offline::error::InputError;
use crate::offline::replay::{Replay, ReplayEvent};
use crate::offline::replay_files::ReplayFiles;
use crate::offline::transactions::TransactionReader;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct BacktestOptions<'a> {
    /// The files.
    pub files: ReplayFiles<'a>,
    /// Measure from this moment on; what is earlier only fills the windows.
    pub from: Option<EventTime>,
    /// Measure before this moment.
    pub to: Option<EventTime>,
    /// Stop after that many transactions.
    pub limit: Option<u64>,
}

/// What the candidate is held against.
#[derive(Clone, Copy, Debug, Default)]
pub enum Other<'a> {
    /// Nothing.
    #[default]
    Nothing,
    /// What the file says was decided.
    Recorded,
    /// A policy with the same catalogue.
    Policy(&'a Policy),
}

impl Other<'_> {
    const fn outcomes_follow(&self) -> OutcomesFollow {
        match self {
            Self::Nothing => OutcomesFollow::Candidate,
            Self::Recorded => OutcomesFollow::Recorded,
            Self::Policy(_) => OutcomesFollow::Baseline,
        }
    }
}

/// One decision, for those who count it or write it down.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// What was decided, and why.
    pub judgement: &'a Judgement,
    /// What became of it.
    pub truth: Option<Verdict>,
    /// What the file says was decided.
    pub recorded: Option<Outcome>,
    /// What the other policy decides.
    pub other: Option<&'a Judgement>,
    /// Whether it lies in the time that is measured.
    pub is_measured: bool,
}

/// Replays a file through a session. `each` sees every decision; it can end the run early.
pub fn replay(
    session: &Session<'_>,
    other: Other<'_>,
    options: &BacktestOptions<'_>,
    mut each: impl FnMut(Decided<'_>, &Replay<TransactionReader>) -> ControlFlow<()>,
) -> Result<Replay<TransactionReader>, InputError> {
    let mut replay = options.files.open()?;
    let mut decided = 0;
    while options.limit.is_none_or(|limit| decided < limit) {
        match replay.next_event()? {
            None => break,
            Some(ReplayEvent::Label { label, transaction }) => session.label(&transaction, &label),
            Some(ReplayEvent::Attempt { transaction, truth, decision: recorded, .. }) => {
                decided += 1;
                let Observation { windows, counted, .. } = session.observe(&transaction, Mode::Live);
                let other_judgement = match other {
                    Other::Policy(other) => Some(session.judge(other, &transaction, windows.clone())),
                    Other::Nothing | Other::Recorded => None,
                };
                let judgement = session.judge(session.policy(), &transaction, windows);
                let answered = match other {
                    Other::Nothing => None,
                    Other::Recorded => recorded,
                    Other::Policy(_) => other_judgement.as_ref().map(|other| other.outcome),
                };
                session.state().record_outcome(&counted, answered.unwrap_or(judgement.outcome));
                let at = transaction.occurred_at;
                let is_measured =
                    options.from.is_none_or(|from| at >= from) && options.to.is_none_or(|to| at < to);
                let decided = Decided {
                    transaction: &transaction,
                    judgement: &judgement,
                    truth,
                    recorded,
                    other: other_judgement.as_ref(),
                    is_measured,
                };
                if each(decided, &replay).is_break() {
                    break;
                }
            }
        }
    }
    Ok(replay)
}

/// Runs a backtest of a candidate through a session of its own, which nothing has been counted in yet. `elapsed` is asked at the end how long it took.
pub fn run(
    session: &Session<'_>,
    other: Other<'_>,
    against: Option<Against>,
    unlabelled: Unlabelled,
    options: &BacktestOptions<'_>,
    mut each: impl FnMut(Decided<'_>, &Replay<TransactionReader>) -> ControlFlow<()>,
    elapsed: impl FnOnce() -> Duration,
) -> Result<BacktestReport, InputError> {
    let policy = session.policy();
    let mut tally = Tally::of(policy, against);
    let mut stopped = None;
    let done = replay(session, other, options, |decided, replay| {
        if decided.is_measured {
            let truth = unlabelled.truth(decided.truth);
            let before = before(&decided, other);
            tally.add(&JudgedRow::new(decided.transaction, truth, decided.judgement, before));
        }
        let flow = each(decided, replay);
        stopped = flow.is_break().then_some(Stopped::Interrupted);
        flow
    })?;
    tally.set_late(session.late_events());
    let reader = done.source();
    let input = InputSummary {
        file: options.files.input.display().to_string(),
        labels_file: options.files.labels.map(|labels| labels.display().to_string()),
        rows: reader.progress().rows,
        rows_skipped: reader.bad_rows().count(),
        first_skipped: reader.bad_rows().first().to_vec(),
        replay: done.counts(),
        outcomes_follow: Some(other.outcomes_follow()),
        unlabelled,
        stopped,
        ..InputSummary::default()
    };
    Ok(tally.report(input, PolicyVersions::of(policy), elapsed()))
}

/// The other decision, where there is one.
fn before<'a>(decided: &Decided<'a>, other: Other<'_>) -> Option<Before<'a>> {
    match other {
        Other::Nothing => None,
        Other::Recorded => {
            let said = Said::outcome(decided.recorded?);
            Some(Before { said, differences: Differences::default() })
        }
        Other::Policy(_) => {
            let other = decided.other?;
            let differences = Differences::between(other, decided.judgement);
            Some(Before { said: Said::judged(other), differences })
        }
    }
}
