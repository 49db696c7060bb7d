//! What is looked at after a decision is made: the scores of challengers, how far features and scores drift, and what the
//! candidate's rules would have decided.
//!
//! A decision whose record is in the log is handed over, in the log's order, with the feature vector that it was made from, to one
//! thread through a queue with a bound. Handing over takes no lock and wakes nobody: the thread looks by itself. What
//! finds the queue full is dropped and counted. So nothing here can delay, fail or change an answer.
//!
//! The scores become records of their own, which name the decisions by their sequence. Such a record needs a place of the log's queue:
//! one at a time, and only while half of the places are free. What is dropped, or lost with a kill, can be scored again from the
//! record of the decision, which has every number.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{error, warn};

use crate::audit::background::stand_back;
use crate::audit::frame::Kind;
use crate::audit::record::{self, ChallengedDecision, ChallengerRecord};
use crate::audit::writer::LogHandle;
use crate::domain::label::Label;
use crate::domain::time::{Clock, EventTime};
use crate::engine::policy::{CHAMPION, Policy};
use crate::engine::shadow::{ShadowScore, score};
use crate::feature::vector::FeatureVector;
use crate::pipeline::candidate::{Candidate, CandidateKeeper};
use crate::pipeline::candidate_shadow::{CandidateBook, CandidateSeen, Told};
use crate::pipeline::drift::{Drift, ModelDrift};
use crate::pipeline::fold::Consequence;
use crate::pipeline::index::RequestKey;
use crate::pipeline::metrics::Metrics;
use crate::pipeline::policy::LivePolicy;
use crate::pipeline::remembered::Snapshot;
use crate::pipeline::shadow_metrics::Dropped;

/// Decisions that wait for the thread, unless config says otherwise; about 2 KiB each, and 8 where there is a candidate.
pub const QUEUE_MAX_DEFAULT: usize = 4_096;
/// The window of drift, unless config says otherwise.
pub const DRIFT_WINDOW_DEFAULT: Duration = Duration::from_secs(86_400);
/// Most decisions in one record of scores.
const DECISIONS_PER_RECORD_MAX: usize = 64;
/// How often the thread looks for decisions when there were none.
const PAUSE: Duration = Duration::from_millis(10);
/// How often `close` looks whether the thread has ended.
const CLOSE_PAUSE: Duration = Duration::from_millis(1);

/// What the operator chose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShadowSettings {
    /// Most decisions that wait for their shadow scores.
    pub queue_max: usize,
    /// How far back drift is measured.
    pub drift_window: Duration,
    /// The rules that decide beside the live ones, if there are any.
    pub candidate_rules: Option<PathBuf>,
}

impl Default for ShadowSettings {
    fn default() -> Self {
        Self { queue_max: QUEUE_MAX_DEFAULT, drift_window: DRIFT_WINDOW_DEFAULT, candidate_rules: None }
    }
}

/// A decision as it is looked at afterwards.
#[derive(Debug)]
pub struct Seen {
    /// By what it was decided.
    policy: Arc<LivePolicy>,
    /// What it was decided from.
    features: FeatureVector,
    /// The score of the model that decided.
    score: Option<f32>,
    key: RequestKey,
    received_at: EventTime,
    /// For the candidate, if there is one.
    candidate: Option<Box<CandidateSeen>>,
}

impl Seen {
    /// None when the policy has nothing to look at afterwards.
    pub(crate) fn new(
        policy: Arc<LivePolicy>,
        features: FeatureVector,
        score: Option<f32>,
        key: RequestKey,
        received_at: EventTime,
        candidate: Option<Box<CandidateSeen>>,
    ) -> Option<Self> {
        let is_measured = policy.policy.models().any(|(_, bound)| bound.model.reference.is_some());
        let is_wanted = is_measured || !policy.policy.challengers.is_empty() || candidate.is_some();
        is_wanted.then_some(Self { policy, features, score, key, received_at, candidate })
    }
}

/// What is handed over.
#[derive(Debug)]
pub(crate) enum Handed {
    /// A decision, with the sequence of its record.
    Decision(u64, Box<Seen>),
    /// A label, for the decisions that the candidate is measured by.
    Label(Told),
}

/// Where decisions are handed over.
#[derive(Debug)]
pub(crate) struct ShadowQueue {
    sender: SyncSender<Handed>,
    metrics: Arc<Metrics>,
    candidates: Arc<CandidateKeeper>,
}

impl ShadowQueue {
    /// A queue with that many places, and its end.
    pub(crate) fn new(
        queue_max: usize,
        metrics: &Arc<Metrics>,
        candidates: &Arc<CandidateKeeper>,
    ) -> (Self, Receiver<Handed>) {
        let (sender, receiver) = sync_channel(queue_max.max(1));
        (Self { sender, metrics: Arc::clone(metrics), candidates: Arc::clone(candidates) }, receiver)
    }

    /// Hands over the decision whose record has that sequence, or drops it.
    pub(crate) fn hand_over(&self, sequence: u64, seen: Box<Seen>) {
        self.send(Handed::Decision(sequence, seen));
    }

    /// Hands over a label that is in the log, if there is a candidate whose decisions it may be for.
    pub(crate) fn hand_over_label(&self, label: &Label) {
        if self.candidates.current().is_some() {
            self.send(Handed::Label(Told::new(label)));
        }
    }

    fn send(&self, handed: Handed) {
        // The receiving thread never sleeps in the channel, so that this wakes nobody.
        match self.sender.try_send(handed) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.metrics.shadow.count_dropped(Dropped::QueueFull, 1),
            Err(TrySendError::Disconnected(_)) => self.metrics.shadow.count_dropped(Dropped::Stopped, 1),
        }
    }
}

/// The thread. It ends with this value.
pub(crate) struct Shadow {
    drift: Arc<Mutex<Drift>>,
    candidates: Arc<Mutex<CandidateBook>>,
    ending: Arc<Ending>,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Ending {
    /// When what waits is done.
    soon: AtomicBool,
    /// As soon as it is seen.
    now: AtomicBool,
}

impl Shadow {
    /// Starts the thread.
    pub(crate) fn start(
        seen: Receiver<Handed>,
        settings: &ShadowSettings,
        log: LogHandle<Consequence>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let drift = Arc::new(Mutex::new(Drift::new(settings.drift_window)));
        let candidates = Arc::new(Mutex::new(CandidateBook::default()));
        let ending = Arc::new(Ending::default());
        let worker = Worker {
            seen,
            log,
            metrics,
            drift: Arc::clone(&drift),
            candidates: Arc::clone(&candidates),
            ending: Arc::clone(&ending),
            clock: Arc::clone(&clock),
            is_log_refusing: false,
        };
        let thread = std::thread::Builder::new().name("shadow".to_owned()).spawn(move || {
            stand_back();
            worker.run();
        })?;
        Ok(Self { drift, candidates, ending, thread: Mutex::new(Some(thread)), clock })
    }

    /// Measures the drift of the policy's models from here on. `live` is asked when no other policy can come between.
    pub(crate) fn follow(&self, live: impl FnOnce() -> Arc<LivePolicy>) {
        let mut drift = self.drift.lock();
        drift.follow(&live().policy);
    }

    /// How far features and scores are from training now.
    pub(crate) fn drift(&self, now: EventTime) -> Vec<ModelDrift> {
        self.drift.lock().measure(now)
    }

    /// What a candidate has decided so far.
    pub(crate) fn candidate_snapshot(&self, candidate: &Arc<Candidate>) -> Snapshot {
        self.candidates.lock().snapshot(candidate)
    }

    /// Lets the thread finish what waits, for so long, and ends it. Blocks. The log must still be open.
    pub(crate) fn close(&self, patience: Duration) {
        let Some(thread) = self.thread.lock().take() else { return };
        self.ending.soon.store(true, Ordering::Release);
        thread.thread().unpark();
        let until = self.clock.instant() + patience;
        while !thread.is_finished() {
            if self.clock.instant() >= until {
                warn!("decisions that waited for the scores of challengers are left without them");
                self.ending.now.store(true, Ordering::Release);
                return;
            }
            std::thread::sleep(CLOSE_PAUSE);
        }
        if thread.join().is_err() {
            error!("the thread that scores challengers had ended by a defect");
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.ending.now.store(true, Ordering::Release);
        if let Some(thread) = &*self.thread.lock() {
            thread.thread().unpark();
        }
    }
}

struct Worker {
    seen: Receiver<Handed>,
    log: LogHandle<Consequence>,
    metrics: Arc<Metrics>,
    drift: Arc<Mutex<Drift>>,
    candidates: Arc<Mutex<CandidateBook>>,
    ending: Arc<Ending>,
    clock: Arc<dyn Clock>,
    /// Said once, until a record is taken again.
    is_log_refusing: bool,
}

impl Worker {
    fn run(mut self) {
        let (mut batch, mut labels) = (Vec::with_capacity(DECISIONS_PER_RECORD_MAX), Vec::new());
        while !self.ending.now.load(Ordering::Acquire) {
            let is_ending = self.ending.soon.load(Ordering::Acquire);
            let is_cut_off = self.take(&mut batch, &mut labels);
            for of_one_policy in batch.chunk_by(|(_, a), (_, b)| Arc::ptr_eq(&a.policy, &b.policy)) {
                self.look_at(&of_one_policy[0].1.policy.policy, of_one_policy);
            }
            for (_, seen) in &batch {
                if let Some(of_candidate) = &seen.candidate {
                    CandidateBook::decide(
                        &self.candidates,
                        of_candidate,
                        &seen.features,
                        &self.metrics.shadow,
                    );
                }
            }
            let had_labels = !labels.is_empty();
            // A label comes after the decision that it is for.
            for label in labels.drain(..) {
                self.candidates.lock().tell(&label);
            }
            if batch.is_empty() && !had_labels {
                if is_ending || is_cut_off {
                    return;
                }
                std::thread::park_timeout(PAUSE);
            }
            batch.clear();
        }
    }

    /// Takes what waits, at most one record's worth; says whether nothing can come any more.
    fn take(&self, batch: &mut Vec<(u64, Box<Seen>)>, labels: &mut Vec<Told>) -> bool {
        while batch.len() < DECISIONS_PER_RECORD_MAX && labels.len() < DECISIONS_PER_RECORD_MAX {
            match self.seen.try_recv() {
                Ok(Handed::Decision(sequence, seen)) => batch.push((sequence, seen)),
                Ok(Handed::Label(label)) => labels.push(label),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
        false
    }

    /// Looks at decisions of one policy.
    fn look_at(&mut self, policy: &Policy, batch: &[(u64, Box<Seen>)]) {
        let decisions: Vec<_> =
            batch.iter().map(|(sequence, seen)| self.score(policy, *sequence, seen)).collect();
        if policy.challengers.is_empty() {
            return;
        }
        let record = ChallengerRecord {
            policy: policy.hash.clone(),
            challengers: policy.challenger_versions(),
            decisions,
        };
        match self.record(&record) {
            Ok(()) => {
                self.is_log_refusing = false;
                for (index, challenger) in policy.challengers.iter().enumerate() {
                    let scored = record.decisions.iter().filter(|it| it.margins[index].is_some()).count();
                    self.metrics.shadow.count_challenger(&challenger.name, scored, batch.len() - scored);
                }
            }
            Err(reason) => {
                self.metrics.shadow.count_dropped(Dropped::Log, batch.len());
                if !std::mem::replace(&mut self.is_log_refusing, true) {
                    warn!(%reason, "the scores of challengers cannot be recorded; they are dropped until the log takes them");
                }
            }
        }
    }

    /// Scores one decision by every challenger, and counts its values for the drift of every model.
    fn score(&self, policy: &Policy, sequence: u64, seen: &Seen) -> ChallengedDecision {
        let numbers = seen.features.numbers();
        let count = |name: &str, sha256: &str, row: &[f32], score: Option<f32>| {
            self.drift.lock().count(seen.received_at, sha256, name, row, score);
        };
        if let Some(champion) = policy.model.as_ref().filter(|bound| bound.model.reference.is_some()) {
            count(CHAMPION, &champion.model.sha256, &champion.binding.row(numbers), seen.score);
        }
        let mut scores: Vec<Option<ShadowScore>> = Vec::with_capacity(policy.challengers.len());
        for challenger in &policy.challengers {
            let row = challenger.bound.binding.row(numbers);
            let scored = score(&challenger.bound, &row);
            count(&challenger.name, &challenger.bound.model.sha256, &row, scored.map(|scored| scored.score));
            scores.push(scored);
        }
        ChallengedDecision {
            sequence,
            decision_id: seen.key.decision_id(seen.received_at).into(),
            margins: scores.iter().map(|scored| scored.map(|scored| scored.margin)).collect(),
            scores: scores.iter().map(|scored| scored.map(|scored| scored.score)).collect(),
        }
    }

    /// Writes a record and waits for it: so this thread holds one place of the log's queue at most.
    fn record(&self, record: &ChallengerRecord) -> Result<(), String> {
        let body = record::encode(record).map_err(|error| error.to_string())?;
        let ticket = self.log.reserve_spare().map_err(|error| error.to_string())?;
        let pending =
            ticket.commit(Kind::ChallengerScores, self.clock.now(), body, Consequence::ChallengerScores);
        pending.wait_blocking().map(|_| ()).map_err(|error| error.to_string())
    }
}
