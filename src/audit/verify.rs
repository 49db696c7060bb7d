//! Checking a whole log: every checksum, the chain, the sequences, the joints between segments, and with `verify_tree` the Merkle tree
//! and its checkpoints. Several segments at a time.
//!
//! A problem does not end the walk: it goes on at the next readable record, so that one report shows all of the damage.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::audit::chain::Chain;
use crate::audit::damage::{Damage, ReadError, check_follows};
use crate::audit::frame::{Frame, FrameError, Kind};
use crate::audit::receipt::{Head, LogId, RecordHash};
use crate::audit::scan::{ScanError, Scanner};
use crate::audit::segment::{FIRST_RECORD_OFFSET, SegmentHeader, list_segments, segment_path};
use crate::audit::verify_tree::{Leaves, Tree, TreeCheck, TreeReport};

/// Most problems that a report names; the rest are counted.
pub const PROBLEMS_MAX: usize = 1000;
/// Most threads that check.
pub const THREADS_MAX: usize = 64;
/// What a record that is cut off at the very end of a log means.
const AT_THE_END: &str = "if the service was killed or is running, this is what it was writing, and nobody has had an answer for it: the next start sets it aside";
/// How many bytes are checked between two calls of the progress hook.
const PROGRESS_BYTES: u64 = 4 * 1024 * 1024;

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Threads, 1 to `THREADS_MAX`.
    pub threads: usize,
    /// Check up to this record, which must be there, and nothing after it: the last acknowledged one, for a log that is being written.
    pub until: Option<u64>,
}

impl Default for VerifyOptions {
    /// All processors, and all of the log.
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, usize::from), until: None }
    }
}

/// How far the walk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes checked.
    pub bytes_done: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Bytes from its start.
    pub offset: u64,
    /// The last good record before it; 0 if there is none.
    pub after_sequence: u64,
    /// What is wrong, in words.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, after_sequence, problem } = self;
        write!(f, "{} at byte {offset}, after record {after_sequence}: {problem}", path.display())
    }
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VerifyReport {
    /// The log; none if no segment has a readable header.
    pub log_id: Option<LogId>,
    /// Segments that were checked.
    pub segments: u64,
    /// Good records.
    pub records: u64,
    /// The same by kind; kinds without records are left out.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// Bytes of the segments, headers included.
    pub bytes: u64,
    /// The first record's sequence; none without records.
    pub first_sequence: Option<u64>,
    /// The last record's sequence; none without records.
    pub last_sequence: Option<u64>,
    /// The last record's hash; of a log without records: genesis.
    pub head_hash: Option<RecordHash>,
    /// How many problems there are.
    pub problems_total: u64,
    /// The first `PROBLEMS_MAX` of them, in the order of the log.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub const fn is_good(&self) -> bool {
        self.problems_total == 0
    }
}

/// What was found in a log and in its tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// The log, with all problems, also those of the tree.
    #[serde(flatten)]
    pub log: VerifyReport,
    /// The tree.
    pub tree: TreeReport,
    /// Whether `on_progress` ended the walk before it was done; what was found is then not the whole truth.
    pub interrupted: bool,
}

/// Checks the log in `directory`. `on_progress` is called from several threads. Fails only if a file cannot be read; what is wrong in the
/// log stands in the report.
pub fn verify(
    directory: &Path,
    options: VerifyOptions,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<VerifyReport, ReadError> {
    let on_progress = |progress| {
        on_progress(progress);
        ControlFlow::Continue(())
    };
    let (walks, _) = walk(directory, options, None, &on_progress)?;
    Ok(report(directory, walks, options))
}

/// The same, and holds the log's Merkle tree to its checkpoints and to what `check` names. Ends early when `on_progress` says so.
pub fn verify_with_tree(
    directory: &Path,
    options: VerifyOptions,
    check: &TreeCheck,
    on_progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Verified, ReadError> {
    let segments =
        list_segments(directory).map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
    let tree = Tree::new(check, segments.first().copied().unwrap_or(1));
    let (walks, interrupted) = walk(directory, options, Some(&tree), on_progress)?;
    let mut log = report(directory, walks, options);
    let (mut tree, wrong) = tree.finish();
    tree.checkpoints = log.by_kind.get(Kind::Checkpoint.name()).copied().unwrap_or(0);
    if !interrupted {
        log.problems_total += wrong.len() as u64;
        log.problems.extend(wrong.into_iter().map(|(path, problem)| Problem {
            path,
            offset: 0,
            after_sequence: tree.covered,
            problem,
        }));
        log.problems.truncate(PROBLEMS_MAX);
    }
    Ok(Verified { log, tree, interrupted })
}

/// Walks all segments, and says whether it was interrupted.
fn walk(
    directory: &Path,
    options: VerifyOptions,
    tree: Option<&Tree<'_>>,
    on_progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<(Vec<Walk>, bool), ReadError> {
    let mut segments =
        list_segments(directory).map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
    if let Some(until) = options.until {
        segments.retain(|segment| *segment <= until.max(1));
    }
    let mut walks = Vec::with_capacity(segments.len());
    for segment in segments {
        walks.push(Walk::prepare(directory, segment, options.until)?);
    }
    for index in 1..walks.len() {
        let next = walks[index].header;
        walks[index - 1].end_at(next);
    }
    let total = walks.iter().map(|walk| walk.bytes).sum();
    let meter = Meter { done: AtomicU64::new(0), total, on_progress, is_over: AtomicBool::new(false) };
    let walks: Vec<Mutex<Walk>> = walks.into_iter().map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), ReadError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(walk) = walks.get(index) else { return Ok(()) };
            let walked = walk.lock().run(&meter, index, tree);
            if walked.is_err() || meter.is_over() {
                meter.give_up();
                if let Some(tree) = tree {
                    tree.give_up();
                }
                return walked;
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads.clamp(1, THREADS_MAX).min(walks.len().max(1)))
            .map(|_| scope.spawn(work))
            .collect();
        let mut result = work();
        for other in others {
            result = result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        result
    })?;
    let interrupted = meter.is_over();
    meter.add(0);
    Ok((walks.into_iter().map(Mutex::into_inner).collect(), interrupted))
}

struct Meter<'a> {
    done: AtomicU64,
    total: u64,
    on_progress: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
    is_over: AtomicBool,
}

impl Meter<'_> {
    fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let progress = Progress { bytes_done: done.min(self.total), bytes_total: self.total };
        if (self.on_progress)(progress).is_break() {
            self.give_up();
        }
    }

    fn give_up(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Where a segment's records are put to the tree.
struct ToTree<'t, 'c> {
    tree: &'t Tree<'c>,
    index: usize,
    leaves: Leaves,
}

/// Everything about one segment.
struct Walk {
    path: PathBuf,
    segment: u64,
    header: Option<SegmentHeader>,
    bytes: u64,
    end: Option<u64>,
    until: u64,
    records: u64,
    by_kind: [u64; Kind::ALL.len()],
    first: Option<Head>,
    head: Head,
    end_offset: u64,
    problems_total: u64,
    problems: Vec<Problem>,
}

impl Walk {
    fn prepare(directory: &Path, segment: u64, until: Option<u64>) -> Result<Self, ReadError> {
        let path = segment_path(directory, segment);
        let read = File::open(&path).and_then(|file| {
            let bytes = file.metadata()?.len();
            Ok((SegmentHeader::read(&file)?, bytes))
        });
        let (header, bytes) = read.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let mut walk = Self {
            path,
            segment,
            header: header.ok(),
            bytes,
            end: None,
            until: until.unwrap_or(u64::MAX),
            records: 0,
            by_kind: [0; Kind::ALL.len()],
            first: None,
            head: Head { sequence: segment.saturating_sub(1), hash: RecordHash([0; 32]) },
            end_offset: FIRST_RECORD_OFFSET,
            problems_total: 0,
            problems: Vec::new(),
        };
        match header {
            Ok(header) => {
                walk.head = header.previous();
                if header.first_sequence != segment {
                    walk.problem(0, &Damage::Name { name: segment, header: header.first_sequence });
                }
            }
            Err(error) => walk.problem(0, &error),
        }
        Ok(walk)
    }

    /// Takes the end from the segment that follows.
    fn end_at(&mut self, next: Option<SegmentHeader>) {
        let Some(next) = next else { return };
        self.end = Some(next.previous_bytes);
        if self.bytes > next.previous_bytes {
            self.problem(next.previous_bytes, &Damage::Overhang { bytes: self.bytes - next.previous_bytes });
        }
    }

    fn problem(&mut self, offset: u64, problem: &dyn fmt::Display) {
        self.problem_after(self.head.sequence, offset, problem);
    }

    fn problem_after(&mut self, after_sequence: u64, offset: u64, problem: &dyn fmt::Display) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                path: self.path.clone(),
                offset,
                after_sequence,
                problem: problem.to_string(),
            });
        }
    }

    /// Walks it, and puts it to the tree.
    fn run(&mut self, meter: &Meter<'_>, index: usize, tree: Option<&Tree<'_>>) -> Result<(), ReadError> {
        let mut to_tree = tree.map(|tree| ToTree { tree, index, leaves: tree.leaves(self.segment) });
        self.run_records(meter, to_tree.as_mut())?;
        if let Some(ToTree { tree, index, leaves }) = to_tree {
            tree.add(index, leaves, |offset, after, wrong| self.problem_after(after, offset, wrong));
            self.problems.sort_by_key(|problem| problem.offset);
        }
        Ok(())
    }

    fn run_records(
        &mut self,
        meter: &Meter<'_>,
        mut to_tree: Option<&mut ToTree<'_, '_>>,
    ) -> Result<(), ReadError> {
        let path = self.path.clone();
        let io_error = |source| ReadError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(io_error)?;
        let mut scanner = Scanner::new(file, FIRST_RECORD_OFFSET.min(self.bytes), self.end);
        // Without a header, or after damage, the next record is believed as to what stood before it.
        let mut chain = self.header.map(|header| Chain::new(header.previous()));
        let mut reported = 0;
        while self.head.sequence < self.until {
            match scanner.advance() {
                Ok(None) => break,
                Ok(Some(offset)) => {
                    let Some(frame) = scanner.frame() else { break };
                    let previous = Head {
                        sequence: frame.header.sequence.wrapping_sub(1),
                        hash: frame.header.previous_hash,
                    };
                    let mut expected = chain.unwrap_or(Chain::new(previous));
                    if let Err(error) = expected.step(&frame) {
                        self.problem(offset, &error);
                        expected = Chain::new(Head { sequence: frame.header.sequence, hash: frame.hash() });
                    }
                    self.records += 1;
                    self.by_kind[usize::from(frame.header.kind.number()) - 1] += 1;
                    self.head = expected.head();
                    self.first.get_or_insert(self.head);
                    chain = Some(expected);
                    if let Some(to_tree) = &mut to_tree {
                        self.put_to_tree(to_tree, offset, &frame);
                    }
                }
                Err(ScanError::Io(source)) => return Err(io_error(source)),
                Err(ScanError::Frame(error)) => {
                    if self.end.is_none() && matches!(error, FrameError::Torn { .. }) {
                        self.problem(scanner.offset(), &format_args!("{error}; {AT_THE_END}"));
                    } else {
                        self.problem(scanner.offset(), &error);
                    }
                    let before = self.head.sequence;
                    if let Some(to_tree) = &mut to_tree {
                        to_tree.leaves.break_off();
                    }
                    if scanner.resync().map_err(io_error)?.is_none() {
                        self.end_offset = scanner.offset();
                        meter.add(self.bytes.saturating_sub(reported));
                        return Ok(());
                    }
                    chain = None;
                    self.head.sequence = before;
                }
            }
            if scanner.offset() - reported >= PROGRESS_BYTES {
                meter.add(scanner.offset() - reported);
                reported = scanner.offset();
                if meter.is_over() {
                    break;
                }
            }
        }
        self.end_offset = scanner.offset();
        meter.add(self.bytes.saturating_sub(reported));
        Ok(())
    }

    /// The record that `head` is.
    fn put_to_tree(&mut self, to_tree: &mut ToTree<'_, '_>, offset: u64, frame: &Frame<'_>) {
        let ToTree { tree, index, leaves } = to_tree;
        let Head { sequence, hash } = self.head;
        leaves.push(sequence, hash);
        if frame.header.kind != Kind::Checkpoint {
            return;
        }
        match leaves.checkpoint(offset, sequence, frame.body, tree.keys()) {
            Ok(false) => {}
            Ok(true) => tree.settle(*index, leaves, |offset, after, wrong| {
                self.problem_after(after, offset, wrong);
            }),
            Err(wrong) => self.problem(offset, &wrong),
        }
    }
}

fn report(directory: &Path, mut walks: Vec<Walk>, options: VerifyOptions) -> VerifyReport {
    let log_id = walks.iter().find_map(|walk| walk.header).map(|header| header.log_id);
    for index in 1..walks.len() {
        let before = &walks[index - 1];
        // A damaged end has been reported where it is.
        let (head, end) = (before.head, before.end_offset);
        let after = &mut walks[index];
        if let (Some(header), Some(log_id)) = (after.header, log_id)
            && let Err(damage) = check_follows(&header, log_id, head, end)
        {
            let sequence = std::mem::replace(&mut after.head.sequence, head.sequence);
            after.problem(0, &damage);
            after.head.sequence = sequence;
            after.problems.sort_by_key(|problem| problem.offset);
        }
    }
    let mut by_kind = BTreeMap::new();
    for kind in Kind::ALL {
        let records = walks.iter().map(|walk| walk.by_kind[usize::from(kind.number()) - 1]).sum();
        if records > 0 {
            by_kind.insert(kind.name(), records);
        }
    }
    let last = walks.iter().rev().find(|walk| walk.records > 0).or(walks.last()).map(|walk| walk.head);
    let mut report = VerifyReport {
        log_id,
        segments: walks.len() as u64,
        records: walks.iter().map(|walk| walk.records).sum(),
        by_kind,
        bytes: walks.iter().map(|walk| walk.bytes).sum(),
        first_sequence: walks.iter().find_map(|walk| walk.first).map(|head| head.sequence),
        last_sequence: last.map(|head| head.sequence).filter(|sequence| *sequence > 0),
        head_hash: last.map(|head| head.hash),
        problems_total: walks.iter().map(|walk| walk.problems_total).sum(),
        problems: Vec::new(),
    };
    let reached = last.map_or(0, |head| head.sequence);
    let (path, offset) = walks
        .last()
        .map_or((directory.to_owned(), 0), |walk| (segment_path(directory, walk.segment), walk.end_offset));
    report.problems = walks.into_iter().flat_map(|walk| walk.problems).take(PROBLEMS_MAX).collect();
    if let Some(until) = options.until
        && reached < until
    {
        report.problems_total += 1;
        let problem = format!("the log ends with record {reached}; it must go on to record {until}");
        report.problems.push(Problem { path, offset, after_sequence: reached, problem });
    }
    report
}
