//! A backtest over the audit log: every recorded decision decided again, from the values that it was made from.
//!
//! The log is read twice: first for its labels, which are the truth to the end of the log, and for what there is; then for the
//! decisions. A running service may be writing it: reading takes no lock, and the second reading ends where the first one did.
//!
//! Where the catalogues differ, the recorded values mean nothing to the candidate. Then the windows are rebuilt: every transaction
//! and label of the log, from the first one, counted in the order in which the service counted them, and what was really answered
//! fills the streams `approved` and `declined`. What the enrichment store said is then known only where the catalogue is the same.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{self, BODY_SCHEMA, DecisionRecord, RecordError, Unreadable};
use crate::audit::record_view::{RecordField, RecordView};
use crate::domain::enrichment::Enrichment;
use crate::domain::time::EventTime;
use crate::domain::transaction::{Mode, Transaction};
use crate::engine::consequences::{Consequence, Consequences};
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::evaluation::again::{self, NotAgain};
use crate::evaluation::report::{
    BacktestReport, BadRow, InputSummary, Origin, OutcomesFollow, PolicyVersions, SkippedRow, Stopped,
    Windows,
};
use crate::evaluation::said::{Before, Differences, Said};
use crate::evaluation::session::Session;
use crate::evaluation::standing::StandingLists;
use crate::evaluation::tally::{Against, JudgedRow, Tally};
use crate::evaluation::truth::{IdHash, LABELLED_MAX, Truth, Unlabelled};
use crate::feature::vector::FeatureVector;

/// Most consequences that wait for an attempt that had seen them: more than any service has on its way.
const WAITING_MAX: usize = 65_536;
/// Most skipped records that are listed; the rest is only counted.
const SKIPPED_LISTED_MAX: usize = 20;
/// How many records pass between two looks at the progress.
const RECORDS_PER_PROGRESS: u64 = 256;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum RecordedError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// More labelled transactions than can be remembered.
    #[error("more than {LABELLED_MAX} transactions have labels; take a shorter stretch of the log")]
    TooManyLabels,
}

/// When windows are rebuilt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rebuild {
    /// Never: decisions under another catalogue are skipped.
    Never,
    /// When any decision to be measured was made under another catalogue.
    #[default]
    WhenNeeded,
    /// In any case.
    Always,
}

/// What to read, and what to measure of it.
#[derive(Clone, Debug)]
pub struct RecordedOptions {
    /// The directory of the log.
    pub log: PathBuf,
    /// The first record to read.
    pub first_sequence: u64,
    /// What stood on lists at run time before it.
    pub lists: StandingLists,
    /// The last one; up to the end when absent.
    pub last_sequence: Option<u64>,
    /// Measure from this moment on (event time).
    pub from: Option<EventTime>,
    /// Measure before this moment.
    pub to: Option<EventTime>,
    /// Measure only so many of the last decisions of the log.
    pub last: Option<u64>,
    /// Measure only so many of the first ones that are left.
    pub limit: Option<u64>,
    /// When windows are rebuilt.
    pub rebuild: Rebuild,
    /// What a transaction without a label counts as.
    pub unlabelled: Unlabelled,
    /// The file that `truth` began with, if there is one.
    pub labels_file: Option<String>,
}

impl RecordedOptions {
    /// All of a log.
    pub fn all(log: PathBuf) -> Self {
        Self {
            log,
            first_sequence: 1,
            lists: StandingLists::default(),
            last_sequence: None,
            from: None,
            to: None,
            last: None,
            limit: None,
            rebuild: Rebuild::default(),
            unlabelled: Unlabelled::LeftOut,
            labels_file: None,
        }
    }
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// How many records of how many have been read, both readings together.
    Progress {
        /// So many.
        done: u64,
        /// Of so many; absent while nobody knows.
        total: Option<u64>,
    },
    /// A decision that is measured.
    Decided {
        /// The transaction.
        transaction: &'a Transaction,
        /// What the candidate decides.
        judgement: &'a Judgement,
    },
}

/// Runs a candidate over a log, against what was recorded or, with a `baseline` of the same catalogue and model, against what that
/// decides. `truth` may know something already. `each` can end the run; `elapsed` is asked at the end how long it took.
pub fn run(
    candidate: &Policy,
    against: Against,
    baseline: Option<&Policy>,
    options: &RecordedOptions,
    truth: Truth,
    mut each: impl FnMut(Step<'_>) -> ControlFlow<Stopped>,
    elapsed: impl FnOnce() -> Duration,
) -> Result<BacktestReport, RecordedError> {
    let unreadable = |source| ReadError::Io { path: options.log.clone(), source };
    let bodies = Bodies::beside(&options.log).map_err(unreadable)?;
    let mut overview = Overview { truth, ..Overview::default() };
    let mut stopped = overview.read(candidate, options, &bodies, &mut each)?;
    let is_rebuilt = match options.rebuild {
        Rebuild::Never => false,
        Rebuild::WhenNeeded => overview.other_catalogue > 0,
        Rebuild::Always => true,
    };
    let mut run = Run {
        lists: options.lists.clone(),
        bodies,
        candidate,
        baseline,
        options,
        rebuilding: is_rebuilt.then(|| Rebuilding::new(candidate)),
        tally: Tally::of(candidate, Some(against)),
        skipped: Skipped::new(options.log.display().to_string()),
        measured: 0,
        rows: 0,
        without_profiles: 0,
    };
    if stopped.is_none() {
        stopped = run.read(&overview, &mut each)?;
    }
    let windows_note = (is_rebuilt && options.rebuild == Rebuild::WhenNeeded).then(|| {
        format!(
            "{} of {} decisions were recorded under another feature catalogue; what the enrichment store said is left out of {}",
            overview.other_catalogue, overview.decisions_in_range, run.without_profiles
        )
    });
    let asks = StandingLists::matter_to(candidate) || baseline.is_some_and(StandingLists::matter_to);
    let lists_note = run.lists.note().filter(|_| asks);
    let input = InputSummary {
        origin: Origin::Log,
        file: options.log.display().to_string(),
        labels_file: options.labels_file.clone(),
        rows: run.rows,
        rows_skipped: run.skipped.count,
        first_skipped: run.skipped.first,
        skipped: run.skipped.by_reason.into_values().collect(),
        windows: if is_rebuilt { Windows::Rebuilt } else { Windows::Recorded },
        windows_note,
        lists_note,
        outcomes_follow: is_rebuilt.then_some(OutcomesFollow::Recorded),
        unlabelled: options.unlabelled,
        stopped,
        ..InputSummary::default()
    };
    if let Some(rebuilding) = &run.rebuilding {
        run.tally.set_late(rebuilding.session.late_events());
    }
    Ok(run.tally.report(input, PolicyVersions::of(candidate), elapsed()))
}

/// A reader from the first record that is asked for, or the oldest one that is still there.
fn open(options: &RecordedOptions) -> Result<LogReader, ReadError> {
    LogReader::from_sequence_or_oldest(&options.log, options.first_sequence)
}

/// What the first reading finds.
#[derive(Debug, Default)]
struct Overview {
    truth: Truth,
    /// Records read.
    records: u64,
    /// Decisions among them.
    decisions: u64,
    /// Of the last ones that are asked for: those under another catalogue than the candidate's.
    other_catalogue: u64,
    decisions_in_range: u64,
    /// The last record read.
    head: u64,
}

/// As much of a decision as the first reading looks at.
#[derive(Deserialize)]
struct Glance {
    versions: GlanceVersions,
}

#[derive(Deserialize)]
struct GlanceVersions {
    features: Box<str>,
}

impl GlanceVersions {
    fn of(body: &[u8]) -> Option<Self> {
        match RecordView::of(body) {
            Some(view) => view.required(RecordField::Versions).ok(),
            None => record::decode(body).ok().map(|Glance { versions }| versions),
        }
    }
}

impl Overview {
    fn read(
        &mut self,
        candidate: &Policy,
        options: &RecordedOptions,
        bodies: &Bodies,
        each: &mut impl FnMut(Step<'_>) -> ControlFlow<Stopped>,
    ) -> Result<Option<Stopped>, RecordedError> {
        let mut reader = open(options)?;
        if let Some(last) = options.last_sequence {
            reader.limit(last);
        }
        // Where the catalogue changed, by the number of the decision from which on it holds.
        let mut catalogues: Vec<(u64, bool)> = Vec::new();
        while let Some(stored) = reader.next()? {
            self.records += 1;
            self.head = stored.header.sequence;
            match stored.header.kind {
                Kind::Decision => {
                    if let Some(versions) = GlanceVersions::of(stored.body) {
                        let is_other = versions.features != candidate.catalogue.sha256;
                        if catalogues.last().is_none_or(|(_, last)| *last != is_other) {
                            catalogues.push((self.decisions, is_other));
                        }
                    }
                    self.decisions += 1;
                }
                Kind::Label => {
                    // A label that cannot be read is counted in the second reading.
                    if let Ok(label) = bodies.label(&stored).and_then(|it| it.get().label())
                        && !self.truth.tell(
                            IdHash::of(label.transaction_id.as_str()),
                            label.occurred_at,
                            label.verdict,
                        )
                    {
                        return Err(RecordedError::TooManyLabels);
                    }
                }
                _ => {}
            }
            if self.records.is_multiple_of(RECORDS_PER_PROGRESS)
                && let ControlFlow::Break(stopped) = each(Step::Progress { done: self.records, total: None })
            {
                return Ok(Some(stopped));
            }
        }
        let first = self.first(options);
        self.decisions_in_range = self.decisions - first;
        let ends = catalogues.iter().skip(1).map(|(from, _)| *from).chain([self.decisions]);
        let stretches = catalogues.iter().zip(ends).filter(|((_, is_other), _)| *is_other);
        self.other_catalogue = stretches.map(|((from, _), to)| to.saturating_sub(first.max(*from))).sum();
        Ok(None)
    }

    /// How many decisions come before the last ones that are asked for.
    fn first(&self, options: &RecordedOptions) -> u64 {
        options.last.map_or(0, |last| self.decisions.saturating_sub(last))
    }
}

/// The second reading.
struct Run<'a> {
    candidate: &'a Policy,
    baseline: Option<&'a Policy>,
    options: &'a RecordedOptions,
    rebuilding: Option<Rebuilding<'a>>,
    tally: Tally,
    skipped: Skipped,
    /// As the changes of lists that were read left them.
    lists: StandingLists,
    bodies: Bodies,
    measured: u64,
    rows: u64,
    without_profiles: u64,
}

impl Run<'_> {
    fn read(
        &mut self,
        overview: &Overview,
        each: &mut impl FnMut(Step<'_>) -> ControlFlow<Stopped>,
    ) -> Result<Option<Stopped>, RecordedError> {
        let mut reader = open(self.options)?;
        self.lists.begin(self.options.first_sequence, &reader);
        reader.limit(overview.head);
        let first = overview.first(self.options);
        let (mut records, mut decisions) = (0_u64, 0_u64);
        while let Some(stored) = reader.next()? {
            records += 1;
            if records.is_multiple_of(RECORDS_PER_PROGRESS) {
                let (done, total) = (overview.records + records, Some(2 * overview.records));
                if let ControlFlow::Break(stopped) = each(Step::Progress { done, total }) {
                    return Ok(Some(stopped));
                }
            }
            match stored.header.kind {
                Kind::Decision => {
                    decisions += 1;
                    let is_wanted = decisions > first;
                    if !is_wanted && self.rebuilding.is_none() {
                        continue;
                    }
                    match self.decision(&stored, is_wanted, &overview.truth, each) {
                        Ok(ControlFlow::Continue(())) => {}
                        Ok(ControlFlow::Break(stopped)) => return Ok(Some(stopped)),
                        Err(problem) => self.skipped.take(stored.header.sequence, problem),
                    }
                }
                Kind::Label => self.label(&stored),
                Kind::ListChange => self.list_change(&stored),
                // What challengers say, changes of policy, checkpoints: nothing that is decided again.
                _ => {}
            }
            if self.options.limit.is_some_and(|limit| self.measured >= limit) {
                break;
            }
        }
        Ok(None)
    }

    fn label(&mut self, stored: &Record<'_>) {
        let read = self.bodies.label(stored).and_then(|it| {
            // Of an erased transaction, what is kept of it is counted.
            let it = it.get();
            Ok((it.label()?, it.transaction()?))
        });
        match (read, &mut self.rebuilding) {
            (Ok((label, Some(transaction))), Some(rebuilding)) => {
                let state = rebuilding.session.state();
                let counted = state.counted(&self.candidate.catalogue, &transaction);
                let label = Consequence::Label(Box::new(label));
                rebuilding.consequences.push(state, stored.header.sequence, counted, label);
            }
            (Ok(_), _) => {}
            (Err(error), _) => self.skipped.take(stored.header.sequence, error.into()),
        }
    }

    fn list_change(&mut self, stored: &Record<'_>) {
        if let Err(error) = self.lists.take(&self.bodies, stored) {
            self.skipped.take(stored.header.sequence, error.into());
        }
    }

    fn decision(
        &mut self,
        stored: &Record<'_>,
        is_wanted: bool,
        truth: &Truth,
        each: &mut impl FnMut(Step<'_>) -> ControlFlow<Stopped>,
    ) -> Result<ControlFlow<Stopped>, Problem> {
        self.rows += u64::from(is_wanted);
        let (record, unreadable) = self.bodies.decision(stored)?.or_left();
        let transaction = record.transaction()?;
        let at = transaction.occurred_at;
        let is_measured = is_wanted
            && self.options.from.is_none_or(|from| at >= from)
            && self.options.to.is_none_or(|to| at < to);
        let vector = again::vector(self.candidate, &record);
        let sequence = stored.header.sequence;
        let windows = self.rebuilding.as_mut().map(|it| it.observe(sequence, &record, &transaction));
        if !is_measured {
            return Ok(ControlFlow::Continue(()));
        }
        if let Some(why) = unreadable {
            return Err(Problem::Unreadable(why));
        }
        let judge_by = |policy: &Policy| match &windows {
            None => vector
                .as_ref()
                .map(|vector| {
                    again::decide(
                        policy,
                        &transaction,
                        vector,
                        &record.enrichment,
                        record.ip.clone(),
                        &self.lists.for_deciding(policy, &record),
                        again::effort(&record),
                    )
                })
                .map_err(|error| Problem::NotAgain(*error)),
            Some(windows) => {
                let nothing = Enrichment::absent(policy.catalogue.profile.len());
                let enrichment = if vector.is_ok() { &record.enrichment } else { &nothing };
                // From other windows, rules may ask for more than they did then.
                let lists = self.lists.with_found(&record);
                Ok(again::decide_from_windows(
                    policy,
                    &transaction,
                    windows.clone(),
                    enrichment,
                    record.ip.clone(),
                    &lists,
                    again::effort(&record),
                ))
            }
        };
        let judgement = judge_by(self.candidate)?;
        let other = self.baseline.map(judge_by).transpose()?;
        self.without_profiles += u64::from(windows.is_some() && vector.is_err());
        let before = match &other {
            None => Before {
                said: Said::recorded(&record),
                differences: Differences::from_record(&record, &judgement),
            },
            Some(other) => {
                Before { said: Said::judged(other), differences: Differences::between(other, &judgement) }
            }
        };
        let verdict = truth.of(IdHash::of(transaction.id.as_str()));
        self.measured += 1;
        let truth = self.options.unlabelled.truth(verdict);
        self.tally.add(&JudgedRow::new(&transaction, truth, &judgement, Some(before)));
        Ok(each(Step::Decided { transaction: &transaction, judgement: &judgement }))
    }
}

/// Windows that are counted anew.
struct Rebuilding<'p> {
    session: Session<'p>,
    consequences: Consequences,
}

impl<'p> Rebuilding<'p> {
    fn new(policy: &'p Policy) -> Self {
        Self { session: Session::new(policy), consequences: Consequences::new(WAITING_MAX) }
    }

    fn observe(
        &mut self,
        sequence: u64,
        record: &DecisionRecord,
        transaction: &Transaction,
    ) -> FeatureVector {
        let state = self.session.state();
        self.consequences.apply_until(state, record.state_sequence);
        let observation = self.session.observe(transaction, Mode::Live);
        let outcome = Consequence::Outcome(record.answer.decision);
        self.consequences.push(state, sequence, observation.counted, outcome);
        observation.windows
    }
}

/// Why a record is left out.
enum Problem {
    Schema(u16),
    Unreadable(Unreadable),
    Body(RecordError),
    NotAgain(NotAgain),
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Schema(schema) => Self::Schema(schema),
            error => Self::Body(error),
        }
    }
}

/// The records that were left out.
struct Skipped {
    file: String,
    count: u64,
    first: Vec<BadRow>,
    by_reason: BTreeMap<String, SkippedRow>,
}

impl Skipped {
    const fn new(file: String) -> Self {
        Self { file, count: 0, first: Vec::new(), by_reason: BTreeMap::new() }
    }

    fn take(&mut self, sequence: u64, problem: Problem) {
        // The reasons are few: what is particular to one record is only in the list.
        let (reason, detail) = match problem {
            Problem::Schema(schema) => {
                (format!("its body has the schema {schema}; this version reads up to {BODY_SCHEMA}"), None)
            }
            Problem::Unreadable(why) => (why.to_string(), None),
            Problem::Body(error) => {
                ("its body is not what its schema says".to_owned(), Some(error.to_string()))
            }
            Problem::NotAgain(reason) => (reason.to_string(), None),
        };
        self.count += 1;
        if self.first.len() < SKIPPED_LISTED_MAX {
            let reason = detail.unwrap_or_else(|| reason.clone());
            self.first.push(BadRow { file: self.file.clone(), row: sequence, column: None, reason });
        }
        let row = self.by_reason.entry(reason.clone());
        row.or_insert(SkippedRow { reason, count: 0, first_sequence: sequence }).count += 1;
    }
}
