//! What stood on lists at run time when a record was made, as the changes of lists in the log say it.
//!
//! The one place that answers this question: backtests, checks against recorded traffic and explanations all ask it here. A log
//! whose oldest segments are gone may lack changes; then [`StandingLists::note`] says so, for the report.

use std::ops::ControlFlow;
use std::path::Path;

use crate::audit::bodies::{Bodies, Opened};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{DecisionRecord, RecordError, Unreadable};
use crate::domain::time::EventTime;
use crate::engine::policy::Policy;
use crate::rules::run_time::{ListChange, RUN_TIME_ENTRIES_MAX, RunTimeLists, SWEEP_AFTER};

/// How many records pass between two questions whether to go on.
const RECORDS_PER_QUESTION: u64 = 1_024;

/// What stood on lists at a decision of the log.
#[derive(Clone, Debug, Default)]
pub struct ListsThen {
    /// For deciding it again.
    pub deciding: RunTimeLists,
    /// For asking what was never asked.
    pub explaining: RunTimeLists,
    /// In what they may be incomplete.
    pub note: Option<String>,
}

/// What stood on lists at the decision `record` with that sequence, by all of the log in `directory` before it. A policy without lists
/// needs no reading. `go_on` is asked now and then, with the sequence of the last record read.
pub fn lists_then(
    directory: &Path,
    policy: &Policy,
    sequence: u64,
    record: &DecisionRecord,
    go_on: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<ControlFlow<(), ListsThen>, ReadError> {
    if !StandingLists::matter_to(policy) {
        return Ok(ControlFlow::Continue(ListsThen::default()));
    }
    Ok(StandingLists::before(directory, sequence, go_on)?.map_continue(|standing| ListsThen {
        deciding: standing.for_deciding(policy, record),
        explaining: standing.with_found(record),
        note: standing.note(),
    }))
}

/// Lists as the records of a log left them that were taken in, in their order.
#[derive(Clone, Debug, Default)]
pub struct StandingLists {
    lists: RunTimeLists,
    /// The first record that there was to read, where older ones are gone.
    begins_at: Option<u64>,
    /// By how much more than the most there may be they may grow before they are swept.
    slack: usize,
    /// Changes that could not be read.
    unread: u64,
    /// Whether they are what stands now, without what was put there later.
    is_of_now: bool,
}

impl StandingLists {
    /// Before the record with that sequence, by all of the log in `directory` before it: every change of a list is read, of other
    /// records no body is decoded. `go_on` is asked now and then, with the sequence of the last record read.
    pub fn before<B>(
        directory: &Path,
        sequence: u64,
        mut go_on: impl FnMut(u64) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Self>, ReadError> {
        let mut standing = Self::default();
        if sequence <= 1 {
            return Ok(ControlFlow::Continue(standing));
        }
        let bodies = Bodies::beside(directory)
            .map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
        let mut reader = LogReader::from_sequence_or_oldest(directory, 1)?;
        standing.begin(1, &reader);
        if reader.first() >= sequence {
            return Ok(ControlFlow::Continue(standing));
        }
        reader.limit(sequence - 1);
        while let Some(stored) = reader.next()? {
            if standing.take(&bodies, &stored).is_err() {
                standing.unread += 1;
            }
            if stored.header.sequence.is_multiple_of(RECORDS_PER_QUESTION)
                && let ControlFlow::Break(why) = go_on(stored.header.sequence)
            {
                return Ok(ControlFlow::Break(why));
            }
        }
        Ok(ControlFlow::Continue(standing))
    }

    /// Of what stands now, the entries that were put there before that record: a makeshift, as it lacks what was taken off since.
    pub fn of_now(now: &RunTimeLists, sequence: u64) -> Self {
        Self { lists: now.before(sequence), is_of_now: true, ..Self::default() }
    }

    /// Tells that a reader that was to begin with the record `wanted` is where the changes come from.
    pub fn begin(&mut self, wanted: u64, reader: &LogReader) {
        if reader.first() > wanted.max(1) {
            self.begins_at = Some(reader.first());
        }
    }

    /// Takes the next record in: only a change of a list makes a difference. One that was erased makes none: its value stands nowhere.
    pub fn take(&mut self, bodies: &Bodies, stored: &Record<'_>) -> Result<(), RecordError> {
        if stored.header.kind == Kind::ListChange {
            let change = match bodies.list_change(stored)? {
                Opened::Whole(recorded) => ListChange::try_from(recorded)?,
                Opened::Left(_, Unreadable::Erased) => return Ok(()),
                Opened::Left(_, why) => return Err(why.into()),
            };
            self.lists.apply(&change, stored.header.sequence, stored.header.recorded_at);
            if self.lists.len() > RUN_TIME_ENTRIES_MAX + self.slack {
                self.sweep(stored.header.recorded_at);
            }
        }
        Ok(())
    }

    /// Takes off what has long been over, as the service did, which tells nobody: so there are never many more than it had.
    fn sweep(&mut self, now: EventTime) {
        let before = now.minus(SWEEP_AFTER);
        let expired = self.lists.expired(before, usize::MAX);
        self.lists.remove_expired(&expired, before);
        self.slack = self.lists.len().saturating_sub(RUN_TIME_ENTRIES_MAX) + RUN_TIME_ENTRIES_MAX / 100;
    }

    /// For deciding a record again that comes next in the log. Who decided it then gets what that decision found, as a change may have
    /// come while it was made. Others may ask for more, and get what the log has told so far.
    pub fn for_deciding(&self, policy: &Policy, record: &DecisionRecord) -> RunTimeLists {
        if policy.versions == record.answer.versions {
            RunTimeLists::of(&record.listed)
        } else {
            self.with_found(record)
        }
    }

    /// For asking what was never asked of a record that comes next in the log.
    pub fn with_found(&self, record: &DecisionRecord) -> RunTimeLists {
        self.lists.and(&record.listed)
    }

    /// Whether a policy asks for lists at all: without, there is nothing to read and nothing to say.
    pub fn matter_to(policy: &Policy) -> bool {
        policy.rules.lists().iter().next().is_some()
    }

    /// In what they may be incomplete, for people.
    pub fn note(&self) -> Option<String> {
        if self.is_of_now {
            return Some(
                "the log was too long to read all changes of lists: entries that were taken off or put there again since may be missing"
                    .to_owned(),
            );
        }
        if let Some(first) = self.begins_at {
            return Some(format!(
                "the log begins with record {first}: entries that were put on lists at run time before it may be missing"
            ));
        }
        (self.unread > 0).then(|| {
            format!("{} changes of lists could not be read: their entries may be wrong", self.unread)
        })
    }
}
