//! The Merkle tree of a log while it is walked segment by segment, several at a time: each checkpoint in it is held to the root that the
//! records give, and so are checkpoints that somebody has kept.
//!
//! A segment's leaves are hashed apart, on the thread that walks it. Segments are then put together in their order: a thread waits for
//! its turn, so that no more is held in memory than one segment's part for each thread.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::Serialize;

use crate::audit::checkpoint::CheckpointRecord;
use crate::audit::receipt::RecordHash;
use crate::proof::checkpoint::Checkpoint;
use crate::proof::hash::TreeHash;
use crate::proof::key::VerifierKey;
use crate::proof::range::Range;

/// How far, in records, a checkpoint may stand behind the last record that it covers: so many leaves are held, 32 bytes each, for every
/// thread.
pub const CHECKPOINT_DISTANCE_MAX: u64 = 1 << 20;
/// Most checkpoints of one segment that wait for the segments before it.
const WAITING_MAX: usize = 1024;

/// What a log's tree is held to.
#[derive(Debug, Default)]
pub struct TreeCheck {
    /// Keys, one of which must have signed each checkpoint. Without any, signatures are not looked at.
    pub keys: Vec<VerifierKey>,
    /// Checkpoints that were kept outside of the log.
    pub known: Vec<KnownCheckpoint>,
    /// The tree of the records before the log's first one, where those are archived. It is proven by the checkpoints that follow.
    pub before: Option<Range>,
}

/// A checkpoint that was kept outside of the log.
#[derive(Clone, Debug)]
pub struct KnownCheckpoint {
    /// Where it comes from.
    pub file: PathBuf,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// What was found about the tree. What is wrong stands among the problems of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TreeReport {
    /// How many records the tree covers: all of the log, unless damage or a missing beginning ends it before.
    pub size: u64,
    /// Its root, in Base 64; none where the beginning is missing.
    pub root: Option<TreeHash>,
    /// Checkpoints in the log.
    pub checkpoints: u64,
    /// Those that name the root that the records give.
    pub checkpoints_agreeing: u64,
    /// Those that one of the given keys has signed.
    pub checkpoints_signed: u64,
    /// How many records the newest one that agrees covers, be it in the log or kept outside; 0 without any.
    pub covered: u64,
    /// Checkpoints from outside with whose root the records agree.
    pub known_agreeing: u64,
}

/// What is wrong with a checkpoint.
#[derive(Debug)]
enum Wrong {
    Later { size: u64, sequence: u64 },
    Distant { size: u64 },
    Root { checkpoint: Checkpoint, found: TreeHash, covered: u64 },
    Unknown { size: u64, whole: u64 },
    Missing { size: u64, there: u64 },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { size, sequence } => {
                write!(
                    f,
                    "the checkpoint in record {sequence} covers {size} records, and {} come before it: records are missing",
                    sequence.saturating_sub(1)
                )
            }
            Self::Distant { size } => write!(
                f,
                "the checkpoint covers {size} records, which is less than a checkpoint before it, or more than {CHECKPOINT_DISTANCE_MAX} records ago"
            ),
            Self::Root { checkpoint, found, covered } => {
                let Checkpoint { size, root, .. } = checkpoint;
                write!(
                    f,
                    "records 1 to {size} are not those that were signed: their root is {found}, the checkpoint says {root}; "
                )?;
                match covered {
                    0 => f.write_str("no checkpoint before it agrees"),
                    covered => {
                        write!(f, "what differs lies after record {covered}, up to where a checkpoint agrees")
                    }
                }
            }
            Self::Unknown { size, whole } => write!(
                f,
                "the checkpoint of {size} records cannot be checked: the tree is known up to record {whole} only, where records are damaged or missing"
            ),
            Self::Missing { size, there } => {
                write!(
                    f,
                    "the log ends with record {there}, and {size} records were signed: its end is missing"
                )
            }
        }
    }
}

/// A checkpoint of a segment that waits for the segments before it.
#[derive(Debug)]
struct Waiting {
    offset: u64,
    sequence: u64,
    checkpoint: Checkpoint,
    /// The leaves from the segment's first to the checkpoint's last; none if that lies before the segment.
    range: Option<Range>,
}

/// Leaves of consecutive records.
#[derive(Debug)]
pub(super) struct Leaves {
    range: Range,
    /// The last ones, which are not in `range` yet, so that the tree of a moment ago can still be had.
    recent: VecDeque<TreeHash>,
    is_broken: bool,
    waiting: Vec<Waiting>,
    /// Sizes at which the tree is wanted, rising.
    wanted: Vec<u64>,
    kept: Vec<Range>,
}

impl Leaves {
    pub(super) fn new(range: Range, wanted: &[u64]) -> Self {
        Self {
            range,
            recent: VecDeque::new(),
            is_broken: false,
            waiting: Vec::new(),
            wanted: wanted.to_vec(),
            kept: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        self.range.end() + self.recent.len() as u64
    }

    /// The next record; one that does not follow ends the tree.
    pub(super) fn push(&mut self, sequence: u64, hash: RecordHash) {
        self.is_broken |= sequence != self.end() + 1;
        if self.is_broken {
            return;
        }
        self.recent.push_back(TreeHash::leaf(&hash.0));
        if self.recent.len() as u64 > CHECKPOINT_DISTANCE_MAX {
            self.fold_to(self.end() - CHECKPOINT_DISTANCE_MAX / 2);
        }
    }

    /// What follows is not known.
    pub(super) const fn break_off(&mut self) {
        self.is_broken = true;
    }

    /// Puts the leaves up to `size` into the range.
    fn fold_to(&mut self, size: u64) {
        while self.range.end() < size
            && let Some(leaf) = self.recent.pop_front()
        {
            self.range.push_leaf(leaf);
            if self.wanted.binary_search(&self.range.end()).is_ok() {
                self.kept.push(self.range.clone());
            }
        }
    }

    /// The leaves up to `size`; none if those are not known, or not any more.
    fn at(&mut self, size: u64) -> Option<Range> {
        if size < self.range.end() || size > self.end() {
            return None;
        }
        self.fold_to(size);
        Some(self.range.clone())
    }

    /// A record that holds a checkpoint. `Err` says what is wrong with it as it stands. `true`: call `Tree::settle`.
    pub(super) fn checkpoint(
        &mut self,
        offset: u64,
        sequence: u64,
        body: &[u8],
        keys: &[VerifierKey],
    ) -> Result<bool, String> {
        let note = CheckpointRecord::decode(body).map_err(|error| error.to_string())?.note;
        let opened = if keys.is_empty() {
            Checkpoint::read_unverified(&note)
        } else {
            Checkpoint::open(&note, keys).map(|(checkpoint, _)| checkpoint)
        };
        let checkpoint = opened
            .map_err(|error| format!("the checkpoint in record {sequence} is not to be believed: {error}"))?;
        if checkpoint.size >= sequence {
            return Err(Wrong::Later { size: checkpoint.size, sequence }.to_string());
        }
        let range = if checkpoint.size < self.range.begin() { None } else { self.at(checkpoint.size) };
        self.waiting.push(Waiting { offset, sequence, checkpoint, range });
        Ok(self.waiting.len() >= WAITING_MAX)
    }
}

/// Whose turn it is to be put to the tree.
#[derive(Default)]
struct Turn {
    next: usize,
    is_over: bool,
}

/// The tree of all segments up to the one whose turn it is.
pub(super) struct Tree<'a> {
    check: &'a TreeCheck,
    wanted: Vec<u64>,
    turn: Mutex<Turn>,
    changed: Condvar,
    front: Mutex<Front>,
}

struct Front {
    leaves: Leaves,
    report: TreeReport,
    /// The roots at the wanted sizes, as they are found.
    roots: Vec<(u64, TreeHash)>,
}

impl<'a> Tree<'a> {
    /// A tree of the log whose first record has that sequence.
    pub(super) fn new(check: &'a TreeCheck, first_sequence: u64) -> Self {
        let mut wanted: Vec<u64> = check.known.iter().map(|known| known.checkpoint.size).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let begin = first_sequence.saturating_sub(1);
        let before = check.before.clone().filter(|before| before.end() == begin);
        let leaves = Leaves::new(before.unwrap_or(Range::new(begin)), &wanted);
        let report = TreeReport {
            size: 0,
            root: None,
            checkpoints: 0,
            checkpoints_agreeing: 0,
            checkpoints_signed: 0,
            covered: 0,
            known_agreeing: 0,
        };
        let roots = leaves.range.root().map(|root| (begin, root)).into_iter().chain([(0, TreeHash::empty())]);
        let front = Mutex::new(Front { roots: roots.collect(), leaves, report });
        Self { check, wanted, turn: Mutex::default(), changed: Condvar::new(), front }
    }

    pub(super) fn keys(&self) -> &[VerifierKey] {
        &self.check.keys
    }

    /// The leaves of a segment, none yet.
    pub(super) fn leaves(&self, first_sequence: u64) -> Leaves {
        Leaves::new(Range::new(first_sequence.saturating_sub(1)), &self.wanted)
    }

    /// Waits until all segments before that one are put together; none when the walk is over.
    fn turn_of(&self, segment: usize) -> Option<MutexGuard<'_, Front>> {
        let mut turn = self.turn.lock();
        while turn.next != segment && !turn.is_over {
            self.changed.wait(&mut turn);
        }
        if turn.is_over { None } else { Some(self.front.lock()) }
    }

    /// Checks the checkpoints that wait. `problem` is told what is wrong, with offset and sequence.
    pub(super) fn settle(
        &self,
        segment: usize,
        part: &mut Leaves,
        mut problem: impl FnMut(u64, u64, &dyn fmt::Display),
    ) {
        if let Some(mut front) = self.turn_of(segment) {
            front.settle(part, !self.check.keys.is_empty(), &mut problem);
        }
    }

    /// Puts a whole segment to the tree.
    pub(super) fn add(
        &self,
        segment: usize,
        mut part: Leaves,
        mut problem: impl FnMut(u64, u64, &dyn fmt::Display),
    ) {
        let Some(mut front) = self.turn_of(segment) else { return };
        front.settle(&mut part, !self.check.keys.is_empty(), &mut problem);
        front.add(part);
        drop(front);
        self.turn.lock().next += 1;
        self.changed.notify_all();
    }

    /// Nobody waits any more: the walk is given up.
    pub(super) fn give_up(&self) {
        self.turn.lock().is_over = true;
        self.changed.notify_all();
    }

    /// What was found, and what is wrong with the known checkpoints, by file.
    pub(super) fn finish(self) -> (TreeReport, Vec<(PathBuf, String)>) {
        let mut front = self.front.into_inner();
        front.leaves.fold_to(u64::MAX);
        front.keep_roots(None);
        let end = front.leaves.range.end();
        let (mut wrong, is_broken) = (Vec::new(), front.leaves.is_broken);
        let mut agreeing = Vec::new();
        for KnownCheckpoint { file, checkpoint } in &self.check.known {
            let size = checkpoint.size;
            let problem = match front.roots.iter().find(|(at, _)| *at == size) {
                Some((_, root)) if *root == checkpoint.root => {
                    agreeing.push(size);
                    continue;
                }
                Some((_, found)) => {
                    let covered = if front.report.covered < size { front.report.covered } else { 0 };
                    Wrong::Root { checkpoint: checkpoint.clone(), found: *found, covered }
                }
                None if is_broken || size <= end => Wrong::Unknown { size, whole: end },
                None => Wrong::Missing { size, there: end },
            };
            wrong.push((file.clone(), problem.to_string()));
        }
        let mut report = front.report;
        report.size = end;
        report.root = front.leaves.range.root();
        report.known_agreeing = agreeing.len() as u64;
        report.covered = agreeing.into_iter().fold(report.covered, u64::max);
        (report, wrong)
    }
}

impl Front {
    fn settle(
        &mut self,
        part: &mut Leaves,
        is_signed: bool,
        problem: &mut dyn FnMut(u64, u64, &dyn fmt::Display),
    ) {
        for Waiting { offset, sequence, checkpoint, range } in std::mem::take(&mut part.waiting) {
            self.report.checkpoints_signed += u64::from(is_signed);
            let size = checkpoint.size;
            let whole = match range {
                Some(range) => {
                    self.leaves.at(range.begin()).and_then(|mut whole| whole.merge(&range).then_some(whole))
                }
                None => self.leaves.at(size),
            };
            let wrong = match whole.and_then(|whole| whole.root()) {
                Some(found) if found == checkpoint.root => {
                    self.report.checkpoints_agreeing += 1;
                    self.report.covered = self.report.covered.max(size);
                    continue;
                }
                Some(found) => Wrong::Root { checkpoint, found, covered: self.report.covered },
                None if self.leaves.is_broken || part.is_broken || self.leaves.range.begin() > 0 => {
                    Wrong::Unknown { size, whole: self.leaves.end() }
                }
                None => Wrong::Distant { size },
            };
            problem(offset, sequence.saturating_sub(1), &wrong);
        }
    }

    fn add(&mut self, part: Leaves) {
        if self.leaves.is_broken || part.range.begin() != self.leaves.end() {
            self.leaves.is_broken = true;
            return;
        }
        self.leaves.fold_to(u64::MAX);
        self.keep_roots(None);
        self.keep_roots(Some(&part.kept));
        self.leaves.range.merge(&part.range);
        self.leaves.recent = part.recent;
        self.leaves.is_broken = part.is_broken;
    }

    /// Notes the roots at wanted sizes: of the leaves up to here, or of parts that follow these.
    fn keep_roots(&mut self, parts: Option<&[Range]>) {
        let Some(parts) = parts else {
            let kept = std::mem::take(&mut self.leaves.kept);
            self.roots.extend(kept.iter().filter_map(|range| Some((range.end(), range.root()?))));
            return;
        };
        for part in parts {
            let mut whole = self.leaves.range.clone();
            if whole.merge(part)
                && let Some(root) = whole.root()
            {
                self.roots.push((whole.end(), root));
            }
        }
    }
}
