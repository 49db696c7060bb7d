//! A whole log, or a stretch of it: segments in parallel, results in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::segment::{list_segments, segment_path};
use crate::domain::time::EventTime;
use crate::redecide::challenged::Challenged;
use crate::redecide::compare::Differences;
use crate::redecide::decision::{Again, Redecided, Redecider};
use crate::redecide::policies::{Found, Policies};
use crate::redecide::report::{
    Compared, Count, DAMAGES_MAX, Difference, OTHERS, OfPolicy, ROWS_MAX, RedecideReport,
};

/// Most threads.
pub const THREADS_MAX: usize = 256;
/// How many records pass between two looks at whether to stop.
const RECORDS_PER_LOOK: u64 = 64;

/// Which records.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The directory of the log.
    pub log: PathBuf,
    /// The first sequence.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// Recorded at or after this moment.
    pub since: Option<EventTime>,
    /// Recorded before this one.
    pub until: Option<EventTime>,
}

impl Stretch {
    /// All of a log.
    pub const fn all(log: PathBuf) -> Self {
        Self { log, from: 1, to: u64::MAX, since: None, until: None }
    }

    /// Whether a record is one of them.
    pub fn holds(&self, stored: &Record<'_>) -> bool {
        let (sequence, at) = (stored.header.sequence, stored.header.recorded_at);
        (self.from..=self.to).contains(&sequence)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }
}

/// How far the work has come, and whether it is to stop; for any number of threads.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Bytes of the log that have been read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// More of them.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Asks everybody to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A segment of the log, as much of it as is wanted.
#[derive(Clone, Copy, Debug)]
struct Part {
    first: u64,
    last: u64,
}

/// The segments that a stretch needs.
fn parts(stretch: &Stretch) -> Result<Vec<Part>, ReadError> {
    let segments =
        list_segments(&stretch.log).map_err(|source| ReadError::Io { path: stretch.log.clone(), source })?;
    if segments.is_empty() {
        return Err(ReadError::NotThere { path: stretch.log.clone(), sequence: stretch.from, oldest: None });
    }
    let ends = segments.iter().skip(1).map(|next| next - 1).chain([u64::MAX]);
    let parts =
        segments.iter().zip(ends).map(|(first, last)| Part { first: *first, last: last.min(stretch.to) });
    Ok(parts.filter(|part| part.last >= stretch.from && part.first <= stretch.to).collect())
}

/// What opens the records of a log: the keys beside it.
pub(super) fn opened(log: &Path) -> Result<Bodies, ReadError> {
    Bodies::beside(log).map_err(|source| ReadError::Io { path: log.to_owned(), source })
}

/// How many bytes the segments of a stretch have, as far as they can be asked.
pub fn bytes(stretch: &Stretch) -> Result<u64, ReadError> {
    let size =
        |part: &Part| std::fs::metadata(segment_path(&stretch.log, part.first)).map_or(0, |it| it.len());
    Ok(parts(stretch)?.iter().map(size).sum())
}

/// What came of some records that follow each other.
#[derive(Debug, Default)]
struct Done {
    first_sequence: Option<u64>,
    last_sequence: Option<u64>,
    records: u64,
    decisions: Compared,
    policies: BTreeMap<String, OfPolicy>,
    challenged: Challenged,
    damage: Option<String>,
}

/// Makes all decisions of a stretch again, on that many threads. `progress` may be looked at meanwhile, and can stop it.
pub fn run(
    stretch: &Stretch,
    policies: &Policies,
    threads: usize,
    progress: &Progress,
) -> Result<RedecideReport, ReadError> {
    let parts = parts(stretch)?;
    let bodies = opened(&stretch.log)?;
    let threads = threads.clamp(1, THREADS_MAX);
    let next = AtomicUsize::new(0);
    let merger = Mutex::new(Merger::new(stretch));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(parts.len()) {
            scope.spawn(|| {
                let mut redecider = Redecider::new(policies, &bodies);
                while !progress.is_stopped() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(index) else { return };
                    let done = redecide_part(stretch, *part, &mut redecider, progress);
                    merger.lock().take(index, done);
                }
            });
        }
    });
    let mut report = merger.into_inner().finish();
    report.is_interrupted = progress.is_stopped();
    report.threads = threads;
    Ok(report)
}

/// Results of parts, which come in any order, added up in theirs.
struct Merger {
    report: RedecideReport,
    challenged: Challenged,
    next: usize,
    waiting: BTreeMap<usize, Done>,
}

impl Merger {
    fn new(stretch: &Stretch) -> Self {
        let report = RedecideReport {
            log: stretch.log.display().to_string(),
            first_sequence: None,
            last_sequence: None,
            records: 0,
            decisions: Compared::default(),
            policies: BTreeMap::new(),
            challenger_scores: Compared::default(),
            rebuilt: None,
            damages: Vec::new(),
            is_interrupted: false,
            threads: 1,
            seconds: 0.0,
        };
        Self { report, challenged: Challenged::default(), next: 0, waiting: BTreeMap::new() }
    }

    fn take(&mut self, index: usize, done: Done) {
        self.waiting.insert(index, done);
        while let Some(done) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.add(done);
        }
    }

    fn add(&mut self, done: Done) {
        let report = &mut self.report;
        report.first_sequence = report.first_sequence.or(done.first_sequence);
        report.last_sequence = done.last_sequence.or(report.last_sequence);
        report.records += done.records;
        report.decisions.merge(done.decisions);
        for (hash, of_policy) in done.policies {
            count_policy(&mut report.policies, &hash, of_policy);
        }
        self.challenged.follow(done.challenged);
        report.damages.extend(done.damage.filter(|_| report.damages.len() < DAMAGES_MAX));
    }

    fn finish(mut self) -> RedecideReport {
        // After an interruption, parts behind one that was not begun.
        for (_, done) in std::mem::take(&mut self.waiting) {
            self.add(done);
        }
        self.report.challenger_scores = self.challenged.finish();
        self.report
    }
}

fn count_policy(policies: &mut BTreeMap<String, OfPolicy>, hash: &str, more: OfPolicy) {
    let hash = if policies.contains_key(hash) || policies.len() < ROWS_MAX { hash } else { OTHERS };
    match policies.get_mut(hash) {
        Some(known) => known.decisions.count += more.decisions.count,
        None => {
            policies.insert(hash.to_owned(), more);
        }
    }
}

fn redecide_part(stretch: &Stretch, part: Part, redecider: &mut Redecider<'_>, progress: &Progress) -> Done {
    let mut done = Done::default();
    if let Err(error) = read_part(stretch, part, redecider, progress, &mut done) {
        done.damage = Some(error.to_string());
    }
    done
}

fn read_part(
    stretch: &Stretch,
    part: Part,
    redecider: &mut Redecider<'_>,
    progress: &Progress,
    done: &mut Done,
) -> Result<(), ReadError> {
    let mut reader = LogReader::from_sequence(&stretch.log, part.first)?;
    reader.limit(part.last);
    let (mut read, mut told) = (0, 0);
    while let Some(stored) = reader.next()? {
        if stored.header.sequence.is_multiple_of(RECORDS_PER_LOOK) {
            if progress.is_stopped() {
                return Ok(());
            }
            read = stored.position.offset;
            progress.add_bytes(read - told);
            told = read;
        }
        if !stretch.holds(&stored) {
            continue;
        }
        done.records += 1;
        done.first_sequence.get_or_insert(stored.header.sequence);
        done.last_sequence = Some(stored.header.sequence);
        match stored.header.kind {
            Kind::Decision => decision(&stored, redecider, done),
            Kind::ChallengerScores => {
                if done.challenged.told(&stored).is_err() {
                    let why = "a record of scores is not what its schema says";
                    done.decisions.not_compared.add(why, stored.header.sequence);
                }
            }
            // They change what later decisions see, which those say themselves.
            Kind::Label
            | Kind::ListChange
            | Kind::PolicyChange
            | Kind::Review
            | Kind::Erasure
            | Kind::Checkpoint
            | Kind::Retention => {}
        }
    }
    let bytes = std::fs::metadata(segment_path(&stretch.log, part.first)).map_or(read, |it| it.len());
    progress.add_bytes(bytes.saturating_sub(told));
    Ok(())
}

fn decision(stored: &Record<'_>, redecider: &mut Redecider<'_>, done: &mut Done) {
    let sequence = stored.header.sequence;
    let Redecided { policy_hash, found, features, again } = redecider.redecide(stored);
    let compared = &mut done.decisions;
    compared.seen += 1;
    match again {
        Again::Same => compared.same += 1,
        Again::Not(why) => compared.not_compared.add(&why, sequence),
        Again::Different(differences) => {
            let Differences { kinds, fields, decision_id, transaction_id } = *differences;
            compared.differs(sequence, kinds, || Difference {
                sequence,
                decision_id: decision_id.into(),
                transaction_id: transaction_id.into(),
                recorded_at: stored.header.recorded_at.to_string(),
                policy: policy_hash.as_deref().unwrap_or_default().to_owned(),
                fields,
            });
        }
    }
    if let (Some(hash), Some(found)) = (&policy_hash, &found) {
        if let Some(known) = done.policies.get_mut(&**hash) {
            known.decisions.count += 1;
        } else {
            let decisions = Count { count: 1, first_sequence: sequence };
            count_policy(&mut done.policies, hash, OfPolicy { decisions, from: found.origin() });
        }
        if let (Found::Policy(policy, _), Some(features)) = (&**found, &features) {
            done.challenged.decided(sequence, policy, features);
        }
    }
}
