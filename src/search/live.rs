//! The index of a service that runs: parts in files, one in memory, and a thread that follows the log and makes them.
//!
//! Nothing waits for it: a record is found some 20 ms after it is in the log. What was decided just now is told to it, and need not be
//! opened again; everything else it reads from the log. The thread works half of the time at most while it
//! catches up, so that decisions have the processors.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::follow::{Ending, Follower, Work};
use crate::audit::frame::Kind;
use crate::audit::reader::Record;
use crate::audit::receipt::{LogId, Receipt};
use crate::audit::record::RecordError;
use crate::audit::segment::list_segments;
use crate::domain::time::Clock;
use crate::search::build::{BuildError, build};
use crate::search::dossier::Dossier;
use crate::search::erased::{Erased, Pass};
use crate::search::facts::Facts;
use crate::search::file::PartFile;
use crate::search::find::{FindError, Found as FoundDecision};
use crate::search::key::SearchKey;
use crate::search::memory::{MemoryPart, Stamp};
use crate::search::open_reviews::OpenReviews;
use crate::search::part::Part as _;
use crate::search::parts::{Parts, gaps};
use crate::search::query::Query;
use crate::search::related::{Related, Subject};
use crate::search::run::{Found, Gap, Hit, SearchError, Searcher, Stretch};

/// Most records of one round.
const BATCH_RECORDS_MAX: usize = 256;
/// Most records of which it is remembered what was told when they were written, about 1 KB each. Of more, the thread reads from the log.
const WRITTEN_MAX: usize = 16_384;
/// How often building tells how far it has come, in records.
const RECORDS_PER_MESSAGE: u64 = 500_000;
/// Further behind than this, the index does not answer: what it would leave out are the newest records.
pub const LAG_RECORDS_MAX: u64 = 20_000;

#[derive(Debug)]
struct State {
    files: Vec<Arc<PartFile>>,
    memory: Arc<RwLock<MemoryPart>>,
}

/// What searches of a service ask.
#[derive(Debug)]
pub struct LiveIndex {
    searcher: Searcher,
    directory: PathBuf,
    log_id: LogId,
    state: RwLock<State>,
    reviews: Mutex<OpenReviews>,
    erased: Erased,
    /// The oldest record that is there, as far as is known.
    oldest: AtomicU64,
    /// Whether all before `through` is covered.
    is_whole: AtomicBool,
    /// The last record that is covered.
    through: watch::Sender<u64>,
    /// Records whose bodies could not be read.
    unread: AtomicU64,
    /// What was told of the last records when they were written, at most `WRITTEN_MAX`.
    written: Mutex<VecDeque<(Stamp, Facts)>>,
}

/// How far the index has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexStatus {
    /// The last record that is covered.
    pub through: u64,
    /// Whether all before it is.
    pub is_whole: bool,
    /// Parts in files.
    pub parts: usize,
    /// Records whose bodies could not be read, since the start.
    pub unread: u64,
    /// Open reviews.
    pub open_reviews: usize,
    /// Open reviews that were forgotten because there were too many, or because their segments are gone.
    pub forgotten_reviews: u64,
    /// Hashes of erased ids that parts may still hold.
    pub erased_waiting: usize,
}

impl LiveIndex {
    /// The index in `directory` of the log in `log`. Files that cannot be used are removed: they are made again.
    pub fn open(
        directory: &Path,
        log: &Path,
        log_id: LogId,
        key: SearchKey,
        bodies: Bodies,
    ) -> Result<Arc<Self>, ReadError> {
        let searcher = Searcher::new(log, key, bodies);
        let mut parts = Parts::open(directory, log, log_id, searcher.key(), searcher.lookup())?;
        for refused in &parts.refused {
            warn!(why = refused, "a part of the search index is made again");
        }
        parts.remove_useless(directory);
        let through = parts.last();
        Ok(Arc::new(Self {
            searcher,
            directory: directory.to_owned(),
            log_id,
            oldest: AtomicU64::new(parts.oldest()),
            state: RwLock::new(State {
                files: parts.files,
                memory: Arc::new(RwLock::new(MemoryPart::new(log_id))),
            }),
            reviews: Mutex::default(),
            erased: Erased::open(directory)
                .map_err(|source| ReadError::Io { path: directory.to_owned(), source })?,
            is_whole: AtomicBool::new(false),
            through: watch::Sender::new(through),
            unread: AtomicU64::new(0),
            written: Mutex::default(),
        }))
    }

    /// What searches.
    pub const fn searcher(&self) -> &Searcher {
        &self.searcher
    }

    /// The log as far as it is covered, the newest first.
    pub fn stretches(&self) -> Vec<Stretch> {
        let state = self.state.read();
        let memory = std::iter::once(Stretch::Memory(Arc::clone(&state.memory)));
        memory.chain(state.files.iter().rev().map(|part| Stretch::File(Arc::clone(part)))).collect()
    }

    /// Searches what is covered.
    pub fn search(&self, query: &Query) -> Result<Found, SearchError> {
        self.searcher.search(&self.stretches(), query, |_| ControlFlow::Continue(()))
    }

    /// All that is known of a record.
    pub fn dossier(&self, log: LogId, sequence: u64) -> Result<Option<Dossier>, SearchError> {
        self.searcher.dossier(&self.stretches(), log, sequence, || ControlFlow::Continue(()))
    }

    /// The decision of the record with that sequence, if the query takes it.
    pub fn decision(&self, sequence: u64, query: &Query) -> Result<Option<Hit>, SearchError> {
        let read = self.searcher.record(&self.stretches(), sequence, |stored| {
            match Facts::read(self.searcher.bodies(), stored) {
                Ok(Facts::Decision(decision)) if query.takes(&decision, stored.header.recorded_at) => {
                    Some(Hit::new(stored, *decision))
                }
                _ => None,
            }
        });
        Ok(read?.flatten())
    }

    /// The newest decision with that id, or of the transaction with that id.
    pub fn find(&self, id: &str) -> Result<Option<FoundDecision>, FindError> {
        let found = self.searcher.find(&self.stretches(), &[id.to_owned()], |_| ControlFlow::Continue(()))?;
        Ok(found.into_iter().next().flatten())
    }

    /// The labels and reviews of a decision.
    pub fn related(&self, subject: Subject<'_>) -> Result<Vec<Related>, SearchError> {
        self.searcher.related(&self.stretches(), subject, || ControlFlow::Continue(()))
    }

    /// The open reviews after that sequence, the oldest first, and how many there are in all.
    pub fn open_reviews(&self, after: u64, count: usize) -> (Vec<u64>, usize) {
        let reviews = self.reviews.lock();
        (reviews.after(after, count), reviews.len())
    }

    /// The oldest open review of those that stand in a part with records from that moment on; none where there is none, or the index is not
    /// whole yet.
    pub fn oldest_open_review(&self, from_ms: i64) -> Option<u64> {
        let from = {
            let state = self.state.read();
            let memory = state.memory.read();
            let in_file = state.files.iter().find(|part| part.recorded_ms().1 >= from_ms);
            in_file.map(|part| part.first()).or((!memory.is_empty()).then(|| memory.first()))?
        };
        self.reviews.lock().after(from.saturating_sub(1), 1).first().copied()
    }

    /// What erasures leave to be done in it.
    pub const fn erased(&self) -> &Erased {
        &self.erased
    }

    /// How far it has come.
    pub fn status(&self) -> IndexStatus {
        let (open_reviews, forgotten_reviews) = {
            let reviews = self.reviews.lock();
            (reviews.len(), reviews.forgotten())
        };
        IndexStatus {
            through: *self.through.borrow(),
            is_whole: self.is_whole.load(Ordering::Acquire),
            parts: self.state.read().files.len(),
            unread: self.unread.load(Ordering::Relaxed),
            open_reviews,
            forgotten_reviews,
            erased_waiting: self.erased.len(),
        }
    }

    /// Waits until the record with that sequence is covered.
    pub async fn covers(&self, sequence: u64) {
        let mut through = self.through.subscribe();
        // The sender lives as long as this value.
        let _ = through.wait_for(|through| *through >= sequence).await;
    }

    /// Tells what is known of a record that was written just now, so that the thread need not read and open it. Called in the order of
    /// the log; what does not fit, or is not told, the thread reads.
    pub fn note_written(&self, kind: Kind, receipt: &Receipt, facts: Facts) {
        let mut written = self.written.lock();
        if written.len() < WRITTEN_MAX {
            written.push_back((Stamp::of(kind, receipt), facts));
        }
    }

    /// The record with that sequence, if it was told, and else the sequence of the first after it that was.
    fn written(&self, sequence: u64) -> Result<(Stamp, Facts), Option<u64>> {
        let mut written = self.written.lock();
        while written.pop_front_if(|(stamp, _)| stamp.sequence < sequence).is_some() {}
        let next = written.front().map(|(stamp, _)| stamp.sequence);
        written.pop_front_if(|(stamp, _)| stamp.sequence == sequence).ok_or(next)
    }

    /// Takes the next record in.
    fn take(&self, stamp: &Stamp, facts: &Result<Facts, RecordError>) -> std::io::Result<()> {
        let ends_before = {
            let memory = Arc::clone(&self.state.read().memory);
            let memory = memory.read();
            memory.ends_before(stamp.position.segment, stamp.position.offset)
        };
        if ends_before {
            self.seal()?;
        }
        match facts {
            Ok(facts) => self.reviews.lock().take(stamp.sequence, facts),
            Err(error) => {
                if self.unread.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
                    warn!(%error, sequence = stamp.sequence, "a record cannot be read, so that nothing finds it but its sequence");
                }
            }
        }
        let memory = Arc::clone(&self.state.read().memory);
        memory.write().push(self.searcher.key(), stamp, facts.as_ref().ok());
        Ok(())
    }

    /// Lets go of parts whose segments are gone, and of their open reviews.
    pub fn prune(&self) -> std::io::Result<()> {
        let oldest = list_segments(self.searcher.log())?.first().copied().unwrap_or(0);
        self.oldest.store(oldest, Ordering::Release);
        self.reviews.lock().forget_before(oldest);
        let mut gone = Vec::new();
        self.state.write().files.retain(|part| {
            let stays = part.segment() >= oldest;
            if !stays {
                gone.push(Arc::clone(part));
            }
            stays
        });
        for part in gone {
            // One that cannot be removed is refused at the next start.
            let _ = std::fs::remove_file(part.path());
        }
        Ok(())
    }

    /// Moves what is in memory into a file.
    fn seal(&self) -> std::io::Result<()> {
        self.prune()?;
        let memory = Arc::clone(&self.state.read().memory);
        let part = PartFile::write(&self.directory, self.searcher.key(), &memory.read())?;
        let mut state = self.state.write();
        state.files.push(Arc::new(part));
        state.memory = Arc::new(RwLock::new(MemoryPart::new(self.log_id)));
        Ok(())
    }

    /// Puts a part among the others, in the place of one that covers the same records.
    fn put(&self, part: Arc<PartFile>) {
        let mut state = self.state.write();
        state.files.retain(|it| it.last() < part.first() || it.first() > part.last());
        let place = state.files.partition_point(|it| it.first() < part.first());
        state.files.insert(place, part);
    }
}

/// The work of the thread that follows the log.
pub struct Indexer {
    index: Arc<LiveIndex>,
    clock: Arc<dyn Clock>,
    failures: u64,
    has_reviews: bool,
    /// The erasures whose parts are being made anew.
    erasing: Option<Pass>,
    /// The last record that was taken in: one that is read again after an error is not taken twice.
    taken: u64,
}

impl std::fmt::Debug for Indexer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Indexer").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Indexer {
    /// Works for an index.
    pub fn new(index: Arc<LiveIndex>, clock: Arc<dyn Clock>) -> Self {
        let taken = *index.through.borrow();
        Self { index, clock, failures: 0, has_reviews: false, erasing: None, taken }
    }

    /// What is missing between the parts, or damaged.
    fn next_gap(&self) -> Option<Gap> {
        let state = self.index.state.read();
        let damaged = state.files.iter().find(|part| part.is_damaged());
        let damaged = damaged.map(|part| Gap { first: part.first(), last: Some(part.last()), after: None });
        damaged.or_else(|| gaps(&state.files, self.index.oldest.load(Ordering::Acquire)).into_iter().next())
    }

    fn fill(&mut self, gap: Gap, ending: &Ending) -> Result<(), ReadError> {
        info!(first = gap.first, last = gap.last, "a part of the search index is made again");
        let (index, clock) = (&self.index, &self.clock);
        let mut begun = clock.instant();
        let each = |_: &Record<'_>| {
            ending.pause(clock.instant().saturating_duration_since(begun));
            begun = clock.instant();
            if ending.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let searcher = &index.searcher;
        match build(searcher, &index.directory, gap, each, |part| index.put(part)) {
            Ok(()) => self.failures = 0,
            Err(BuildError::Read(error)) => {
                // Perhaps because the segment has gone to the archive.
                if let Err(error) = self.index.prune() {
                    warn!(%error, "the segments of the log cannot be listed");
                }
                return Err(error);
            }
            Err(BuildError::Stopped) => {}
            Err(error @ BuildError::Write { .. }) => self.failed(&error),
        }
        Ok(())
    }

    /// Finds the parts that hold hashes of what was erased, to be made anew; when there are none left to be made, the erasures are done with. A part is made
    /// anew once for each pass, whatever it holds then: what stands in clear in the log stays.
    fn erase(&mut self) {
        let index = Arc::clone(&self.index);
        if let Some(pass) = self.erasing.take() {
            if let Err(error) = index.erased.is_done(&pass) {
                self.failed(&error);
                self.erasing = Some(pass);
            }
            return;
        }
        let Some(pass) = index.erased.pass(self.taken) else { return };
        let memory = Arc::clone(&index.state.read().memory);
        let is_in_memory = pass.concerns(&*memory.read());
        if is_in_memory && let Err(error) = index.seal() {
            return self.failed(&error);
        }
        let state = index.state.read();
        let held: Vec<_> = state.files.iter().filter(|part| pass.concerns(&***part)).collect();
        held.iter().for_each(|part| part.set_damaged());
        info!(
            parts = held.len(),
            "parts of the search index that hold hashes of what was erased are made anew"
        );
        drop(held);
        drop(state);
        self.erasing = Some(pass);
    }

    /// Takes in what was told when it was written, for one round. Says as well of which later record the next was told.
    fn take_written(&mut self, follower: &mut Follower, settled: u64) -> (std::io::Result<()>, Option<u64>) {
        for _ in 0..BATCH_RECORDS_MAX {
            if self.taken >= settled {
                break;
            }
            let (stamp, facts) = match self.index.written(self.taken + 1) {
                Ok(written) => written,
                Err(told_of) => return (Ok(()), told_of),
            };
            if let Err(error) = self.index.take(&stamp, &Ok(facts)) {
                return (Err(error), None);
            }
            self.taken = stamp.sequence;
            follower.skip_past(stamp.sequence, stamp.position);
        }
        (Ok(()), None)
    }

    /// Takes in what it reads from the log, for one round. Fails where that cannot be read; what could not be written is said inside.
    fn take_stored(&mut self, follower: &mut Follower, until: u64) -> Result<std::io::Result<()>, ReadError> {
        let (index, taken, mut sealed) = (&self.index, &mut self.taken, Ok(()));
        follower.read(until, BATCH_RECORDS_MAX, |stored| {
            let sequence = stored.header.sequence;
            if sequence > *taken {
                sealed = index.take(&stored.into(), &Facts::read(index.searcher.bodies(), stored));
                if sealed.is_ok() {
                    *taken = sequence;
                }
            }
            sealed.is_ok()
        })?;
        Ok(sealed)
    }

    fn failed(&mut self, error: &dyn std::fmt::Display) {
        self.failures += 1;
        if self.failures.is_power_of_two() {
            error!(%error, failures = self.failures, "the search index cannot be written; trying on");
        }
    }

    /// The queue of reviews as the parts have it. `false` when a part cannot be read, and is to be made again.
    fn load_reviews(&mut self) -> bool {
        let files = self.index.state.read().files.clone();
        let mut reviews = OpenReviews::default();
        for part in files {
            if let Err(error) = reviews.take_part(self.index.searcher.key(), &*part) {
                warn!(part = %part.path().display(), %error, "a part of the search index is damaged");
                part.set_damaged();
                return false;
            }
        }
        *self.index.reviews.lock() = reviews;
        self.has_reviews = true;
        true
    }
}

impl Work for Indexer {
    fn round(&mut self, follower: &mut Follower, settled: u64, ending: &Ending) -> Result<(), ReadError> {
        if ending.is_asked() {
            // Whatever is left comes again with the next start.
            return Ok(());
        }
        if let Some(gap) = self.next_gap() {
            return self.fill(gap, ending);
        }
        if !self.has_reviews && !self.load_reviews() {
            return Ok(());
        }
        self.erase();
        if self.next_gap().is_some() {
            return Ok(());
        }
        self.index.is_whole.store(true, Ordering::Release);
        if follower.done() >= settled {
            return Ok(());
        }
        let (begun, done_before) = (self.clock.instant(), follower.done());
        self.taken = self.taken.max(done_before);
        let (mut sealed, told_of) = self.take_written(follower, settled);
        if sealed.is_ok() && self.taken < settled && self.taken - done_before < BATCH_RECORDS_MAX as u64 {
            let until = told_of.map_or(settled, |told_of| settled.min(told_of - 1));
            sealed = self.take_stored(follower, until)?;
        }
        let taken = self.taken;
        follower.is_done(taken);
        self.index.through.send_replace(taken);
        if let Err(error) = sealed {
            // What was read and not taken is read again.
            follower.again();
            self.failed(&error);
            return Ok(());
        }
        self.failures = 0;
        if settled - taken > BATCH_RECORDS_MAX as u64 {
            if taken / RECORDS_PER_MESSAGE > done_before / RECORDS_PER_MESSAGE {
                info!(sequence = taken, of = settled, "the search index is being made");
            }
            ending.pause(self.clock.instant().saturating_duration_since(begun));
        }
        Ok(())
    }
}
