//! Windows that are counted anew from a log, record by record, as a service counts them and as its start does.

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::bodies::{Bodies, Opened};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::lookup::LogLookup;
use crate::audit::reader::{LogReader, Record};
use crate::audit::receipt::Head;
use crate::audit::record::RecordError;
use crate::domain::transaction::Mode;
use crate::engine::consequences::{Consequence, Consequences};
use crate::engine::observe::{Observation, observe, prepare};
use crate::engine::state::State;
use crate::feature::catalogue::Catalogue;
use crate::pipeline::restore::Restore;
use crate::pipeline::secret::Secret;
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_file::read_header;
use crate::pipeline::snapshot_header::{Header, Identity, SnapshotRefusal};
use crate::redecide::decision::Inputs;

/// How the service that wrote the log counted.
#[derive(Clone, Debug)]
pub struct WindowSettings {
    /// Its data directory: secret and snapshots.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// How many decisions it remembers.
    pub decisions_max: usize,
    /// Most consequences that wait for an attempt which had seen them.
    pub waiting_max: usize,
}

/// Windows under one catalogue, and what waits to reach them.
#[derive(Debug)]
pub struct CountedWindows {
    /// Of the policy with which the service that counted them was started.
    catalogue: Arc<Catalogue>,
    state: State,
    consequences: Consequences,
    /// Whether a decision was counted of which only the clear part can be read.
    lacks_erased: bool,
}

impl CountedWindows {
    /// Empty ones.
    pub fn new(catalogue: &Arc<Catalogue>, secret: &Secret, settings: &WindowSettings) -> Self {
        let layout = Arc::clone(&catalogue.layout);
        let state = State::new(layout, secret.window_key(), settings.decisions_max);
        Self::with(catalogue, state, settings)
    }

    fn with(catalogue: &Arc<Catalogue>, state: State, settings: &WindowSettings) -> Self {
        let consequences = Consequences::new(settings.waiting_max);
        Self { catalogue: Arc::clone(catalogue), state, consequences, lacks_erased: false }
    }

    /// Whether a service that starts with this catalogue would have these very windows.
    pub fn are_of(&self, catalogue: &Catalogue) -> bool {
        self.catalogue.layout == catalogue.layout && self.catalogue.entities == catalogue.entities
    }

    /// Whether a policy with this catalogue may go live on them.
    pub fn serve(&self, catalogue: &Catalogue) -> bool {
        self.catalogue.layout.covers(&catalogue.layout) && self.catalogue.entities == catalogue.entities
    }

    /// Counts the attempt of a decision, and gives what a policy with that catalogue reads of the windows then.
    pub fn observe(&mut self, sequence: u64, inputs: &Inputs<'_>, catalogue: &Catalogue) -> Observation {
        self.consequences.apply_until(&self.state, inputs.state_sequence);
        let counted = prepare(&self.state, catalogue, &inputs.transaction);
        let observation = observe(&self.state, catalogue, counted, Mode::Live);
        let outcome = Consequence::Outcome(inputs.outcome);
        self.consequences.push(&self.state, sequence, observation.counted.clone(), outcome);
        observation
    }

    /// Counts the attempt of a decision, if it is not counted yet, and reads nothing.
    pub fn count(&mut self, sequence: u64, inputs: &Inputs<'_>) {
        self.consequences.apply_until(&self.state, inputs.state_sequence);
        let counted = self.state.counted(&self.catalogue, &inputs.transaction);
        self.state.restore_attempt(&counted);
        self.consequences.push(&self.state, sequence, counted, Consequence::Outcome(inputs.outcome));
    }

    /// Counts what stands in clear of a decision that was erased or whose key is not there, as a start of the service does.
    pub fn count_left(&mut self, bodies: &Bodies, stored: &Record<'_>) {
        let Ok(Opened::Left(record, _)) = bodies.decision(stored) else { return };
        self.lacks_erased = true;
        let Ok(transaction) = record.transaction() else { return };
        self.consequences.apply_until(&self.state, record.state_sequence);
        let counted = self.state.counted(&self.catalogue, &transaction);
        self.state.restore_attempt(&counted);
        let outcome = Consequence::Outcome(record.answer.decision);
        self.consequences.push(&self.state, stored.header.sequence, counted, outcome);
    }

    /// Whether they lack customers, cards and devices of decisions that were erased or whose keys are not there: then, how many different
    /// ones a merchant had is less than it was.
    pub const fn lacks_erased(&self) -> bool {
        self.lacks_erased
    }

    /// Counts a label; of an erased transaction, what is left. The one place where this room reads the body of one.
    pub fn label(&mut self, bodies: &Bodies, stored: &Record<'_>) -> Result<(), RecordError> {
        let (labelled, _) = bodies.label(stored)?.or_left();
        if let Some(transaction) = labelled.transaction()? {
            let counted = self.state.counted(&self.catalogue, &transaction);
            let label = Consequence::Label(Box::new(labelled.label()?));
            self.consequences.push(&self.state, stored.header.sequence, counted, label);
        }
        Ok(())
    }

    /// Empty ones, and all that the log says up to that record. `go_on` is asked with each sequence; where it says no, the rest is left
    /// out.
    pub fn folded(
        catalogue: &Arc<Catalogue>,
        secret: &Secret,
        bodies: &Bodies,
        settings: &WindowSettings,
        until: u64,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Self, ReadError> {
        let mut windows = Self::new(catalogue, secret, settings);
        if until == 0 {
            return Ok(windows);
        }
        let mut reader = LogReader::from_sequence_or_oldest(&settings.log, 1)?;
        reader.limit(until);
        let mut numbers = Vec::new();
        while let Some(stored) = reader.next()? {
            let sequence = stored.header.sequence;
            if !go_on(sequence) {
                break;
            }
            match stored.header.kind {
                // What cannot be read has been counted by the pass that called for this.
                Kind::Decision => match Inputs::read(bodies, &stored, &mut numbers) {
                    Ok(inputs) => windows.count(sequence, &inputs),
                    Err(_) => windows.count_left(bodies, &stored),
                },
                Kind::Label => {
                    let _: Result<(), RecordError> = windows.label(bodies, &stored);
                }
                _ => {}
            }
        }
        Ok(windows)
    }
}

/// A snapshot that a pass can begin with.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it was taken.
    pub header: Header,
    file: PathBuf,
}

impl Snapshot {
    /// The snapshots of a data directory whose headers can be read, the oldest first.
    pub fn all(settings: &WindowSettings) -> Vec<Self> {
        let directory = StateDirectory::new(&settings.data);
        let mut sequences = directory.sequences().unwrap_or_default();
        sequences.reverse();
        let read = |sequence| {
            let file = directory.file(sequence);
            let header = std::fs::File::open(&file)
                .ok()
                .map(|open| read_header(&mut std::io::BufReader::new(open)))?;
            Some(Self { header: header.ok()?, file })
        };
        sequences.into_iter().filter_map(read).collect()
    }

    /// The windows in it, and a reader of the records that follow.
    pub fn restore(
        &self,
        catalogue: &Arc<Catalogue>,
        secret: &Secret,
        settings: &WindowSettings,
    ) -> Result<(CountedWindows, LogReader), SnapshotRefusal> {
        let taken = &self.header.taken;
        let mut buffer = Vec::new();
        let found = LogLookup::new(&settings.log).read_at(taken.position, &mut buffer)?;
        let log_id = LogReader::from_sequence_or_oldest(&settings.log, 1)?.log_id();
        let restore = Restore {
            snapshots: &StateDirectory::new(&settings.data),
            log: &settings.log,
            head: Head { sequence: found.header.sequence, hash: found.hash },
            identity: &Identity::new(log_id, secret, settings.decisions_max, catalogue),
            layout: &catalogue.layout,
            secret,
            decisions_max: settings.decisions_max,
        };
        let (state, _, reader, _) = restore.restore(&self.file)?;
        Ok((CountedWindows::with(catalogue, state, settings), reader))
    }
}
