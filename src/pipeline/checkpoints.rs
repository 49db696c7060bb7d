//! Checkpoints while the service runs: a thread follows the log, adds each record to the Merkle tree, and signs the tree now and then.
//!
//! A checkpoint is kept in `<data>/proof/checkpoint` first, and then recorded in the log, so that the log itself says what was signed.
//! Where the tree contradicts what was signed before, nothing is signed any more, which is logged and counted; payments are decided on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::audit::checkpoint::CheckpointRecord;
use crate::audit::damage::ReadError;
use crate::audit::follow::{Ending, FollowError, FollowThread, Follower, Work};
use crate::audit::frame::Kind;
use crate::audit::record;
use crate::audit::verify_tree::CHECKPOINT_DISTANCE_MAX;
use crate::pipeline::fold::Consequence;
use crate::pipeline::prove::ProveError;
use crate::pipeline::service::Service;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::pipeline::tree::{LogTree, Signed, TREE_DIRECTORY, TreeError};
use crate::proof::key::{KeyFileError, Signers};

/// How often a checkpoint is signed, unless config says otherwise.
pub const INTERVAL_DEFAULT: Duration = Duration::from_mins(1);
/// The file of the keys inside the data directory, unless config names another.
pub const KEY_FILE: &str = "keys/checkpoint.ed25519";
/// Records that are added to the tree in one round.
const BATCH_RECORDS_MAX: usize = 4096;
/// Wait before a checkpoint that could not be signed is tried again, where it may help.
const RETRY_WAIT: Duration = Duration::from_secs(10);
/// Most that wait at once for a checkpoint that they asked for.
const ASKED_MAX: usize = 16;
/// Longest wait for one: the tree may have to read what has come since, and the disk is waited for.
const SIGN_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the operator chose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointSettings {
    /// How often, if records have come.
    pub interval: Duration,
    /// Where the keys lie; none: `KEY_FILE` in the data directory.
    pub key_file: Option<PathBuf>,
    /// What the checkpoints call the log; none: `tollgate/` and the log's id.
    pub origin: Option<String>,
}

/// Why there are no checkpoints.
#[derive(Debug, Error)]
pub enum CheckpointsError {
    /// The keys.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The thread.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl CheckpointSettings {
    /// The file of the keys.
    pub fn key_file(&self, data: &Path) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| data.join(KEY_FILE))
    }

    /// The keys of the log with that id; made at the first start.
    pub fn signers(&self, data: &Path, log: &str) -> Result<Signers, KeyFileError> {
        let file = self.key_file(data);
        let origin = self.origin.clone().unwrap_or_else(|| format!("tollgate/{log}"));
        let signers = Signers::load_or_create(&file, &origin)?;
        if signers.name() != origin {
            let hint = if self.origin.is_some() {
                "change audit.checkpoints.origin back, or begin anew with another key file and without <data>/proof"
            } else {
                "set audit.checkpoints.origin to what the keys say, or give this log keys of its own"
            };
            return Err(KeyFileError::Name {
                file,
                found: signers.name().to_owned(),
                expected: origin,
                hint,
            });
        }
        Ok(signers)
    }
}

/// The newest checkpoint, for those who ask.
#[derive(Debug)]
pub(crate) struct Board {
    /// The directory of the tree.
    pub(crate) tree: PathBuf,
    /// Whether the log is followed for it.
    is_kept: AtomicBool,
    newest: ArcSwapOption<Signed>,
    asked: Mutex<Vec<Asked>>,
}

/// Somebody who waits for a checkpoint that covers this record. Dropped: none can be signed.
#[derive(Debug)]
struct Asked {
    sequence: u64,
    answer: oneshot::Sender<Arc<Signed>>,
}

impl Board {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            tree: data.join(TREE_DIRECTORY),
            is_kept: AtomicBool::new(false),
            newest: ArcSwapOption::empty(),
            asked: Mutex::default(),
        }
    }

    /// Asks for a checkpoint that covers the record `sequence`.
    fn ask(&self, sequence: u64) -> Result<oneshot::Receiver<Arc<Signed>>, ProveError> {
        if !self.is_kept.load(Ordering::Acquire) {
            return Err(ProveError::NotKept);
        }
        let mut asked = self.asked.lock();
        asked.retain(|asked| !asked.answer.is_closed());
        if asked.len() == ASKED_MAX {
            return Err(ProveError::NotSigned("too many wait for one already"));
        }
        let (answer, receiver) = oneshot::channel();
        asked.push(Asked { sequence, answer });
        Ok(receiver)
    }

    fn is_asked(&self, size: u64) -> bool {
        self.asked.lock().iter().any(|asked| asked.sequence <= size)
    }

    /// Answers those who asked for a checkpoint of so many records, which is the newest one; with none, nobody gets any.
    fn answer(&self, signed: Option<(u64, &Arc<Signed>)>) {
        let mut asked = self.asked.lock();
        let Some((size, signed)) = signed else { return asked.clear() };
        for asked in asked.extract_if(.., |asked| asked.sequence <= size) {
            // Who asked may have gone.
            let _ = asked.answer.send(Arc::clone(signed));
        }
    }

    pub(crate) fn newest(&self) -> Option<Arc<Signed>> {
        self.newest.load_full()
    }

    /// The first record that the tree needs the log from, at a start too, which goes on from what was signed last and holds the log to that record.
    /// None where no tree is kept and none was.
    #[cfg(feature = "parquet")]
    pub(crate) fn needs(&self) -> Result<Option<u64>, TreeError> {
        let signed = Signed::read(&self.tree)?;
        let first = self.is_kept.load(Ordering::Acquire).then_some(1);
        Ok(signed.map(|signed| signed.checkpoint.size.max(1)).or(first))
    }
}

/// Starts to follow the log of `service` under the data directory `data`.
pub fn start(
    service: &Arc<Service>,
    data: &Path,
    settings: &CheckpointSettings,
) -> Result<FollowThread, CheckpointsError> {
    let log = service.log_id.to_string();
    let signers = settings.signers(data, &log)?;
    service.board.is_kept.store(true, Ordering::Release);
    for key in signers.public() {
        info!(%key, "checkpoints of the audit log are signed");
    }
    let directory = data.join(LOG_DIRECTORY);
    let settled = service.log_status().head.sequence;
    let tree = match LogTree::open(&directory, &data.join(TREE_DIRECTORY), signers, settled) {
        Ok(tree) => Some(tree),
        Err(error) => {
            error!(%error, "no checkpoints are signed");
            service.metrics.checkpoints.count_failure();
            None
        }
    };
    let done = tree.as_ref().map_or(settled, LogTree::size);
    if let Some(last) = tree.as_ref().and_then(LogTree::last) {
        service.metrics.checkpoints.set_covered(last.checkpoint.size);
        service.board.newest.store(Some(Arc::new(last.clone())));
    }
    info!(records = done, behind = settled - done, "the audit log's tree is open");
    let follower = Follower::after(&directory, service.log_id, done, Arc::clone(&service.clock));
    let due_at = service.clock.instant() + settings.interval;
    let work = Signer { service: Arc::clone(service), tree, interval: settings.interval, due_at };
    let settled = {
        let service = Arc::clone(service);
        move || service.log_status().head.sequence
    };
    Ok(FollowThread::start("checkpoints", follower, settled, work)?)
}

struct Signer {
    service: Arc<Service>,
    /// None when nothing is to be signed any more.
    tree: Option<LogTree>,
    interval: Duration,
    due_at: Instant,
}

impl Work for Signer {
    fn round(&mut self, follower: &mut Follower, settled: u64, _ending: &Ending) -> Result<(), ReadError> {
        let Some(tree) = &mut self.tree else {
            self.service.board.answer(None);
            return Ok(());
        };
        let mut failed = None;
        let read = follower.read(settled, BATCH_RECORDS_MAX, |record| {
            failed = tree.push(record).err();
            failed.is_none()
        });
        if let Some(error) = failed {
            self.stop(&error);
            return Ok(());
        }
        follower.is_done(read?);
        self.service.metrics.checkpoints.set_lag(settled.saturating_sub(follower.done()));
        // A tree that is made anew from the log signs nothing before it has come to what was signed.
        let is_behind = tree.last().is_some_and(|last| last.checkpoint.size > tree.size());
        if is_behind {
            return Ok(());
        }
        let (size, is_asked) = (tree.size(), self.service.board.is_asked(tree.size()));
        let is_due = is_asked || self.service.clock.instant() >= self.due_at;
        // A log that has nothing but checkpoints since the last one is not signed again.
        let is_signed = !(tree.is_news() && is_due) || self.sign();
        if is_asked {
            let newest = self.service.board.newest().filter(|_| is_signed);
            self.service.board.answer(newest.as_ref().map(|newest| (size, newest)));
        }
        Ok(())
    }

    fn end(&mut self, _follower: &mut Follower) {
        let is_behind = |tree: &LogTree| tree.last().is_some_and(|last| last.checkpoint.size > tree.size());
        if self.tree.as_ref().is_some_and(|tree| tree.is_news() && !is_behind(tree)) {
            self.sign();
        }
        self.service.board.answer(None);
    }
}

impl Service {
    /// Has a checkpoint signed that covers all that is recorded, and answers with it. Where nothing but checkpoints has come since the newest one, that is it.
    pub async fn sign_checkpoint(&self) -> Result<String, ProveError> {
        let asked = self.board.ask(self.log_status().head.sequence)?;
        match timeout(SIGN_WAIT_MAX, asked).await {
            Ok(Ok(signed)) => Ok(signed.note.clone()),
            Ok(Err(_)) => Err(ProveError::NotSigned("the service's log says why")),
            Err(_) => Err(ProveError::NotSigned("the tree is behind the log")),
        }
    }
}

impl Signer {
    /// Whether that succeeded.
    fn sign(&mut self) -> bool {
        let Some(tree) = &mut self.tree else { return false };
        let now = self.service.clock.instant();
        self.due_at = now + self.interval;
        let signed = match tree.sign() {
            Ok(signed) => signed.clone(),
            Err(error @ (TreeError::Io { .. } | TreeError::Tile(_))) => {
                warn!(%error, "a checkpoint could not be signed; it is tried again");
                self.service.metrics.checkpoints.count_failure();
                self.due_at = now + RETRY_WAIT.min(self.interval);
                return false;
            }
            Err(error) => {
                self.stop(&error);
                return false;
            }
        };
        let size = signed.checkpoint.size;
        self.service.metrics.checkpoints.note_signed(size, self.service.clock.now().unix_millis());
        if let Err(reason) = self.record(&signed) {
            warn!(%reason, size, "a checkpoint is signed and kept, but not recorded in the log");
            self.service.metrics.checkpoints.count_failure();
        }
        self.service.board.newest.store(Some(Arc::new(signed)));
        true
    }

    fn record(&self, signed: &Signed) -> Result<(), String> {
        let distance = self.service.log_status().head.sequence.saturating_sub(signed.checkpoint.size);
        if distance > CHECKPOINT_DISTANCE_MAX / 2 {
            return Err(format!("{distance} records came while it was signed"));
        }
        let body = record::encode(&CheckpointRecord { note: signed.note.clone() })
            .map_err(|error| error.to_string())?;
        let ticket = self.service.log.reserve_spare().map_err(|error| error.to_string())?;
        let pending =
            ticket.commit(Kind::Checkpoint, self.service.clock.now(), body, Consequence::Checkpoint);
        pending.wait_blocking().map_err(|error| error.to_string())?;
        Ok(())
    }

    fn stop(&mut self, error: &TreeError) {
        error!(%error, "no checkpoints are signed any more");
        self.service.metrics.checkpoints.count_failure();
        self.tree = None;
    }
}
