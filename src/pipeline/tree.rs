//! The Merkle tree of a log, kept in tiles under `<data>/proof`, and the checkpoints that are signed over it.
//!
//! ```text
//! proof/tile/...      tiles (C2SP tlog-tiles); they can be made again from the log
//! proof/checkpoint    the newest checkpoint, a signed note
//! ```
//!
//! Two trees of one size are never signed: what was signed last is read at the start and held to the tiles, the tiles are held to the
//! log, and a tree that would contradict it is an error that nothing here goes past. Nothing is signed that the log could still lose:
//! before, log and tiles are brought to stable storage, and the checkpoint is there before its record is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::{info, warn};

use crate::audit::checkpoint::CheckpointRecord;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::Record;
use crate::audit::receipt::RecordHash;
use crate::audit::record::RecordError;
use crate::audit::seek;
use crate::proof::checkpoint::{Checkpoint, CheckpointError};
use crate::proof::hash::TreeHash;
use crate::proof::key::Signers;
use crate::proof::tiles::{TILE_DIRECTORY, TileError, TileWriter};

/// The directory of the tree inside the data directory.
pub const TREE_DIRECTORY: &str = "proof";
/// The file of the newest checkpoint inside it.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// What somebody can do about a log that contradicts what was signed.
const WHAT_NOW: &str = "nothing is signed; run `tollgate audit verify --key KEY` to see what differs. If the data directory was put back \
from a backup on purpose, begin a new tree: move <data>/proof and the key file away, and tell those who hold the old public key why";

/// Why nothing is signed.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A tile.
    #[error(
        "the tiles of the tree cannot be used: {0}; remove the directory `tile` beside `checkpoint`, and it is made again from the log"
    )]
    Tile(#[from] TileError),
    /// The log.
    #[error("the log cannot be read: {0}")]
    Log(#[from] ReadError),
    /// The file of the newest checkpoint, or stable storage.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The newest checkpoint is not one of ours.
    #[error(
        "{path}: the checkpoint that was signed last: {error}; put back the key that signed it, beside the new one"
    )]
    Signed {
        /// The file.
        path: PathBuf,
        /// Why.
        error: CheckpointError,
    },
    /// A checkpoint in the log.
    #[error("record {sequence} should hold a checkpoint: {error}")]
    Record {
        /// The record.
        sequence: u64,
        /// Why.
        error: RecordError,
    },
    /// Records that were signed are gone.
    #[error(
        "a checkpoint of {signed} records was signed, and the log has {there}: records are missing; {WHAT_NOW}"
    )]
    Lost {
        /// How many were signed.
        signed: u64,
        /// How many are there.
        there: u64,
    },
    /// The last record that was signed is another one.
    #[error(
        "record {sequence} is not the one that was signed, so it or one before it was changed; {WHAT_NOW}"
    )]
    Changed {
        /// Which.
        sequence: u64,
    },
    /// Another tree of this size was signed.
    #[error(
        "a checkpoint of {size} records was signed with the root {signed}, and these records have the root {found}: the log was changed; {WHAT_NOW}"
    )]
    Contradiction {
        /// The size.
        size: u64,
        /// What was signed.
        signed: TreeHash,
        /// What the log gives.
        found: TreeHash,
    },
    /// A gap.
    #[error(
        "record {expected} should come next, and {found} does: the tree needs all records; put back archived segments, or the tiles"
    )]
    Gap {
        /// The next record of the tree.
        expected: u64,
        /// The record that came.
        found: u64,
    },
}

/// A checkpoint that was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note.
    pub note: String,
}

impl Signed {
    /// Reads the newest one under `tree`; none if there is none. Signatures are not looked at.
    pub fn read(tree: &Path) -> Result<Option<Self>, TreeError> {
        let path = tree.join(CHECKPOINT_FILE);
        let note = match fs::read_to_string(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TreeError::Io { path, error }),
        };
        match Checkpoint::read_unverified(&note) {
            Ok(checkpoint) => Ok(Some(Self { checkpoint, note })),
            Err(error) => Err(TreeError::Signed { path, error }),
        }
    }
}

/// The tree of a log, with the keys.
#[derive(Debug)]
pub struct LogTree {
    log: PathBuf,
    tree: PathBuf,
    signers: Signers,
    writer: TileWriter,
    last: Option<Signed>,
    /// Whether records other than checkpoints came after the last checkpoint.
    is_news: bool,
}

impl LogTree {
    /// The tree in `tree` over the log in `log`, whose records up to `settled` are certain. Tiles that are missing or damaged begin
    /// anew: `push` all records after `size()`.
    pub fn open(log: &Path, tree: &Path, signers: Signers, settled: u64) -> Result<Self, TreeError> {
        let last = Signed::read(tree)?;
        let mut opened = TileWriter::new(tree);
        if let Some(Signed { checkpoint, note }) = &last {
            Checkpoint::open(note, &signers.public())
                .map_err(|error| TreeError::Signed { path: tree.join(CHECKPOINT_FILE), error })?;
            if checkpoint.size > settled {
                return Err(TreeError::Lost { signed: checkpoint.size, there: settled });
            }
            match TileWriter::open(tree, checkpoint.size) {
                Ok(tiles) if tiles.root() == checkpoint.root => opened = tiles,
                Ok(_) => warn!(
                    size = checkpoint.size,
                    "the tiles of the tree are damaged; they are made again from the log"
                ),
                Err(error) => {
                    warn!(%error, "the tiles of the tree cannot be read; they are made again from the log");
                }
            }
            if let Some(entry) = opened.last_entry()
                // The hash of a record covers all records before it.
                && seek::find(log, opened.size())?.map(|found| found.hash) != Some(RecordHash(*entry))
            {
                return Err(TreeError::Changed { sequence: opened.size() });
            }
        }
        let (log, tree) = (log.to_owned(), tree.to_owned());
        Ok(Self { log, tree, signers, writer: opened, last, is_news: false })
    }

    /// How many records the tree covers.
    pub const fn size(&self) -> u64 {
        self.writer.size()
    }

    /// What was signed last.
    pub const fn last(&self) -> Option<&Signed> {
        self.last.as_ref()
    }

    /// Whether there is something new to sign: records that are not themselves checkpoints.
    pub const fn is_news(&self) -> bool {
        self.is_news
    }

    /// Adds the next record.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), TreeError> {
        let (expected, found) = (self.size() + 1, record.header.sequence);
        if found != expected {
            return Err(TreeError::Gap { expected, found });
        }
        if record.header.kind == Kind::Checkpoint {
            let body = CheckpointRecord::decode(record.body)
                .map_err(|error| TreeError::Record { sequence: found, error })?;
            if let Ok(checkpoint) = Checkpoint::read_unverified(&body.note)
                && checkpoint.origin == self.signers.name()
            {
                self.check(&checkpoint)?;
            }
        } else {
            self.is_news = true;
        }
        self.writer.push(&record.hash.0)?;
        if let Some(last) = &self.last
            && last.checkpoint.size == self.size()
        {
            let checkpoint = last.checkpoint.clone();
            self.check(&checkpoint)?;
            self.writer.write_partial()?;
            self.is_news = false;
            info!(size = checkpoint.size, "the tree agrees with the checkpoint that was signed last");
        }
        Ok(())
    }

    /// Holds the tree to a checkpoint of it as it was.
    fn check(&self, checkpoint: &Checkpoint) -> Result<(), TreeError> {
        if checkpoint.size > self.size() {
            return Err(TreeError::Lost { signed: checkpoint.size, there: self.size() });
        }
        let found = self.writer.root_at(checkpoint.size)?;
        if found == checkpoint.root {
            return Ok(());
        }
        Err(TreeError::Contradiction { size: checkpoint.size, signed: checkpoint.root, found })
    }

    /// Signs the tree as it is, and keeps that; the same again where nothing has come since. From then on it counts, whether or not its record
    /// gets into the log.
    pub fn sign(&mut self) -> Result<&Signed, TreeError> {
        let (size, root) = (self.size(), self.writer.root());
        let is_there = match &self.last {
            None => false,
            Some(last) if last.checkpoint.size > size => {
                return Err(TreeError::Lost { signed: last.checkpoint.size, there: size });
            }
            Some(last) => last.checkpoint.size == size,
        };
        if is_there && let Some(last) = &self.last {
            self.check(&last.checkpoint)?;
        } else {
            self.writer.write_partial()?;
            for directory in [&self.log, &self.tree] {
                sync(directory).map_err(|error| TreeError::Io { path: directory.clone(), error })?;
            }
        }
        let checkpoint = Checkpoint { origin: self.signers.name().to_owned(), size, root };
        let note = checkpoint.sign(&self.signers);
        self.keep(&note)?;
        self.is_news = false;
        Ok(self.last.insert(Signed { checkpoint, note }))
    }

    fn keep(&self, note: &str) -> Result<(), TreeError> {
        let path = self.tree.join(CHECKPOINT_FILE);
        let new = path.with_extension("new");
        let written = fs::create_dir_all(self.tree.join(TILE_DIRECTORY))
            .and_then(|()| File::create(&new))
            .and_then(|mut file| file.write_all(note.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| File::open(&self.tree)?.sync_all());
        written.map_err(|error| TreeError::Io { path, error })
    }
}

/// Brings what lies in `directory` to stable storage: its whole file system, since a checkpoint interval leaves thousands of tiles behind.
#[cfg(target_os = "linux")]
fn sync(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    Ok(rustix::fs::syncfs(File::open(directory)?)?)
}

/// The same, file by file, where the system cannot do it at once. Tiles are left out: they can be made again.
#[cfg(not(target_os = "linux"))]
fn sync(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}
