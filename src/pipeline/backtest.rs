//! A backtest on request: candidate rules over the recorded traffic of this instance, one at a time, on a thread that may block.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;

use crate::audit::damage::ReadError;
use crate::domain::time::EventTime;
use crate::engine::policy::{Policy, rules_from_files};
use crate::evaluation::comparison::SAMPLES_DEFAULT;
use crate::evaluation::recorded::{self, Rebuild, RecordedOptions};
use crate::evaluation::report::{BacktestReport, Stopped};
use crate::evaluation::rule_tally::rules_of;
use crate::evaluation::standing::StandingLists;
use crate::evaluation::tally::Against;
use crate::evaluation::truth::{Truth, Unlabelled};
use crate::pipeline::service::Service;
use crate::rules::candidate::CandidateFiles;
use crate::rules::problem::Problem;

/// How many decisions a backtest is over, unless it says otherwise.
pub const LAST_DEFAULT: u64 = 10_000;
/// Most decisions of one backtest.
pub const LAST_MAX: u64 = 100_000;
/// How many records are looked through for each decision that is asked for: labels and scores of challengers lie between them.
const RECORDS_PER_DECISION: u64 = 4;
/// How long a backtest may take; then it gives what it has.
pub const TIME_MAX: Duration = Duration::from_secs(30);
/// How long it may take to read the changes of lists before the first decision.
const LISTS_TIME_MAX: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct CandidateRun {
    /// The candidate.
    pub files: CandidateFiles,
    /// How many of the last decisions, at most [`LAST_MAX`].
    pub last: u64,
    /// Of these, only those from this moment on (event time).
    pub from: Option<EventTime>,
    /// And before this moment.
    pub to: Option<EventTime>,
    /// How many samples of each kind of change.
    pub samples: usize,
    /// What a transaction without a label counts as.
    pub unlabelled: Unlabelled,
}

impl CandidateRun {
    /// Over the last decisions.
    pub const fn new(files: CandidateFiles) -> Self {
        let (from, to) = (None, None);
        Self {
            files,
            last: LAST_DEFAULT,
            from,
            to,
            samples: SAMPLES_DEFAULT,
            unlabelled: Unlabelled::LeftOut,
        }
    }
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum BacktestError {
    /// Another one is running.
    #[error("another backtest is running")]
    Busy,
    /// The rules have mistakes.
    #[error("the candidate rules are not sound")]
    Refused(Vec<Problem>),
    /// The log cannot be read, or a defect of this program.
    #[error("{0}")]
    Failed(String),
}

impl Service {
    /// Runs candidate rules over the last recorded decisions, from their recorded values.
    pub async fn backtest(self: &Arc<Self>, wanted: CandidateRun) -> Result<BacktestReport, BacktestError> {
        let Ok(alone) = Arc::clone(&self.backtests).try_acquire_owned() else {
            return Err(BacktestError::Busy);
        };
        let service = Arc::clone(self);
        // The permit goes along: it is held until the work is done, also when nobody waits for it any more.
        let work = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            service.backtest_blocking(wanted)
        });
        work.await.unwrap_or_else(|error| Err(BacktestError::Failed(error.to_string())))
    }

    fn backtest_blocking(&self, wanted: CandidateRun) -> Result<BacktestReport, BacktestError> {
        let started = self.clock.instant();
        let live = self.policies.live();
        let directory = self.policies.rules_directory();
        let shown = directory.display().to_string();
        let files = wanted.files.with_directory(directory, &shown).map_err(BacktestError::Refused)?;
        let rules = rules_from_files(&files, &live.policy.catalogue).map_err(BacktestError::Refused)?;
        let candidate = live.policy.with_rules(rules);
        let against = Against {
            rules: rules_of(&live.policy).into_iter().map(|rule| rule.id).collect(),
            ..Against::recorded()
        };
        // What comes after this record may still be taken back by the writer.
        let settled = self.log.status().head.sequence;
        let last = wanted.last.min(LAST_MAX);
        let first_sequence = settled.saturating_sub(last.saturating_mul(RECORDS_PER_DECISION)).max(1);
        let elapsed = || self.clock.instant().saturating_duration_since(started);
        let options = RecordedOptions {
            first_sequence,
            last_sequence: Some(settled),
            from: wanted.from,
            to: wanted.to,
            last: Some(last),
            rebuild: Rebuild::Never,
            unlabelled: wanted.unlabelled,
            lists: self
                .standing_before(&candidate, first_sequence, elapsed)
                .map_err(|error| BacktestError::Failed(error.to_string()))?,
            ..RecordedOptions::all(self.log_directory.clone())
        };
        let report = recorded::run(
            &candidate,
            against.samples(wanted.samples),
            None,
            &options,
            Truth::default(),
            |_| match () {
                () if self.draining.load(Ordering::Acquire) => ControlFlow::Break(Stopped::Interrupted),
                () if elapsed() > TIME_MAX => ControlFlow::Break(Stopped::Time),
                () => ControlFlow::Continue(()),
            },
            elapsed,
        );
        report.map_err(|error| BacktestError::Failed(error.to_string()))
    }

    /// What stood on lists before that record, by the whole log; of a log that takes too long to read, what the live state can say.
    fn standing_before(
        &self,
        candidate: &Policy,
        sequence: u64,
        elapsed: impl Fn() -> Duration,
    ) -> Result<StandingLists, ReadError> {
        if !StandingLists::matter_to(candidate) {
            return Ok(StandingLists::default());
        }
        let is_over = || elapsed() > LISTS_TIME_MAX || self.draining.load(Ordering::Acquire);
        let go_on = |_| if is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        Ok(match StandingLists::before(&self.log_directory, sequence, go_on)? {
            ControlFlow::Continue(standing) => standing,
            ControlFlow::Break(()) => StandingLists::of_now(&self.state.lists.load(), sequence),
        })
    }
}
