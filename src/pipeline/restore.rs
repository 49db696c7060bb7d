//! The start: from which state the fold of the log begins.
//!
//! The newest snapshot that fits the log; the next older one when it does not; an empty state when none does. A snapshot that is
//! not used is named with the reason, once.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::audit::damage::ReadError;
use crate::audit::lookup::LogLookup;
use crate::audit::reader::LogReader;
use crate::audit::receipt::Head;
use crate::domain::time::Clock;
use crate::engine::state::State;
use crate::pipeline::index::DecisionIndex;
use crate::pipeline::lane::Mark;
use crate::pipeline::secret::Secret;
use crate::pipeline::snapshot_directory::StateDirectory;
use crate::pipeline::snapshot_file::{read_header, read_state};
use crate::pipeline::snapshot_header::{Header, Identity, SnapshotRefusal};
use crate::window::layout::Layout;

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Where a fold begins.
#[derive(Debug)]
pub struct Beginning {
    /// The state so far.
    pub state: State,
    /// The index so far.
    pub index: Arc<DecisionIndex>,
    /// The records that follow.
    pub reader: LogReader,
    /// The snapshot that was restored; none when the fold begins with the log.
    pub restored: Option<Restored>,
}

/// A snapshot that was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What it says of itself.
    pub header: Header,
    /// Keys of its windows.
    pub keys: u64,
    /// Its length.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// What is to be restored.
#[derive(Clone, Copy, Debug)]
pub struct Restore<'a> {
    /// Where the snapshots are.
    pub snapshots: &'a StateDirectory,
    /// Where the log is.
    pub log: &'a Path,
    /// The last record of the log.
    pub head: Head,
    /// What keys must mean.
    pub identity: &'a Identity,
    /// What the windows must remember.
    pub layout: &'a Arc<Layout>,
    /// The installation's secret.
    pub secret: &'a Secret,
    /// How many decisions the ledger and the index remember.
    pub decisions_max: usize,
}

impl Restore<'_> {
    /// Finds where to begin. Fails only when the log itself cannot be read.
    pub fn begin(&self, clock: &dyn Clock) -> Result<Beginning, ReadError> {
        if let Err(error) = self.snapshots.remove_leftovers() {
            warn!(%error, "what an interrupted snapshot has left cannot be removed");
        }
        let sequences = self.snapshots.sequences().unwrap_or_else(|error| {
            warn!(%error, "the directory of the state snapshots cannot be read");
            Vec::new()
        });
        for sequence in sequences {
            let file = self.snapshots.file(sequence);
            let started = clock.instant();
            match self.restore(&file) {
                Ok((state, index, reader, mut restored)) => {
                    restored.took = clock.instant().saturating_duration_since(started);
                    let Restored { keys, bytes, took, .. } = restored;
                    info!(
                        sequence,
                        keys,
                        bytes,
                        seconds = took.as_secs_f64(),
                        "a state snapshot is restored"
                    );
                    return Ok(Beginning { state, index, reader, restored: Some(restored) });
                }
                Err(reason) => {
                    warn!(file = %file.display(), %reason, "a state snapshot is not used");
                }
            }
        }
        Ok(Beginning {
            state: State::new(Arc::clone(self.layout), self.secret.window_key(), self.decisions_max),
            index: DecisionIndex::new(self.decisions_max),
            reader: LogReader::from_sequence(self.log, 1)?,
            restored: None,
        })
    }

    pub(crate) fn restore(
        &self,
        file: &Path,
    ) -> Result<(State, Arc<DecisionIndex>, LogReader, Restored), SnapshotRefusal> {
        let file = File::open(file)?;
        let bytes = file.metadata()?.len();
        let mut input = BufReader::with_capacity(READ_BYTES, file);
        let header = read_header(&mut input)?;
        self.identity.check(&header.identity)?;
        let reader = self.check_log(&header)?;
        let (state, index, keys) =
            read_state(&mut input, Arc::clone(self.layout), self.secret, self.decisions_max)?;
        Ok((state, index, reader, Restored { header, keys, bytes, took: Duration::ZERO }))
    }

    /// Whether the log still holds all that the snapshot has counted; then, a reader of what follows. After a power loss it may end
    /// earlier, or others may stand where those records stood.
    fn check_log(&self, header: &Header) -> Result<LogReader, SnapshotRefusal> {
        let (applied, taken) = (header.applied, header.taken);
        if taken.sequence > self.head.sequence {
            let last = self.head.sequence;
            return Err(SnapshotRefusal::AheadOfLog { taken: taken.sequence, last });
        }
        let is_there = |mark: Mark, found: Head| {
            let expected = Head { sequence: mark.sequence, hash: mark.hash };
            (found == expected).then_some(()).ok_or(SnapshotRefusal::OtherRecord { sequence: mark.sequence })
        };
        let mut buffer = Vec::new();
        let lookup = LogLookup::new(self.log);
        let found = lookup.read_at(taken.position, &mut buffer)?;
        is_there(taken, Head { sequence: found.header.sequence, hash: found.hash })?;
        let reader = LogReader::after(self.log, applied.position)?;
        is_there(applied, reader.head())?;
        Ok(reader)
    }
}
