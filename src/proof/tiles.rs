//! A tree kept as files: the tiles of C2SP tlog-tiles, under a directory that a web server could serve as it is.
//!
//! A full tile is written once. Partial ones are written for a checkpoint, beside the full ones, and removed when the tile is full. All
//! are written under another name first; none is synced here. They can be made again from the entries.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::proof::hash::{HASH_BYTES, TreeHash};
use crate::proof::path::{self, Nodes};
use crate::proof::range::Range;
use crate::proof::tile::{TILE_HEIGHT, TILE_LEVELS_MAX, TILE_WIDTH, Tile, TileKind};

/// Length of an entry, in bytes: the hash of a record.
pub const ENTRY_BYTES: usize = 32;
/// The directory of the tiles inside that of the tree.
pub const TILE_DIRECTORY: &str = "tile";
/// Most tiles that a reader holds: a proof needs fewer.
const TILES_HELD_MAX: usize = 64;

/// Why a tile cannot be used.
#[derive(Debug, Error)]
pub enum TileError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its length is wrong.
    #[error("{path}: has {found} bytes, must have {expected}")]
    Length {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: usize,
        /// What it must have.
        expected: usize,
    },
    /// No tree of that size has it.
    #[error("the tree of {size} entries has no node {index} of level {level}")]
    NoNode {
        /// The tree's size.
        size: u64,
        /// The level.
        level: u8,
        /// The index.
        index: u64,
    },
}

/// The bytes of a tile. Where it is partial and has no file, its beginning is that of a wider one, or of the full tile.
pub fn read_tile(directory: &Path, tile: Tile) -> Result<Vec<u8>, TileError> {
    let bytes_each = match tile.kind {
        TileKind::Hashes(_) => HASH_BYTES,
        TileKind::Entries => ENTRY_BYTES + 2,
    };
    let expected = |tile: Tile| usize::try_from(tile.width).unwrap_or(usize::MAX) * bytes_each;
    let read = |tile: Tile| {
        let path = directory.join(tile.to_string());
        match fs::read(&path) {
            Ok(bytes) if bytes.len() == expected(tile) => Ok(bytes),
            Ok(bytes) => Err(TileError::Length { path, found: bytes.len(), expected: expected(tile) }),
            Err(error) => Err(TileError::Io { path, error }),
        }
    };
    let own = read(tile);
    if tile.is_full() || own.is_ok() {
        return own;
    }
    let wider = wider(directory, tile).and_then(|width| read(Tile { width, ..tile }).ok());
    let Some(mut bytes) = wider.or_else(|| read(tile.full()).ok()) else { return own };
    bytes.truncate(expected(tile));
    Ok(bytes)
}

/// The width of the widest partial tile that is there, if it is wider than this one.
fn wider(directory: &Path, tile: Tile) -> Option<u64> {
    let partials = fs::read_dir(directory.join(format!("{}.p", tile.full()))).ok()?;
    let widths = partials.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    widths.max().filter(|width| (tile.width + 1..TILE_WIDTH).contains(width))
}

fn hashes(bytes: &[u8]) -> Vec<TreeHash> {
    bytes.as_chunks::<HASH_BYTES>().0.iter().map(|hash| TreeHash(*hash)).collect()
}

/// Reads the nodes of a tree of some size from its tiles.
#[derive(Debug)]
pub struct TileReader {
    directory: PathBuf,
    size: u64,
    held: HashMap<Tile, Vec<TreeHash>>,
}

impl TileReader {
    /// A reader of the first `size` entries of the tree in `tree`.
    pub fn new(tree: &Path, size: u64) -> Self {
        Self { directory: tree.join(TILE_DIRECTORY), size, held: HashMap::new() }
    }
}

impl Nodes for TileReader {
    type Error = TileError;

    fn node(&mut self, level: u8, index: u64) -> Result<TreeHash, TileError> {
        let no_node = TileError::NoNode { size: self.size, level, index };
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << height;
        let Some(tile) = Tile::of_tree(TileKind::Hashes(tile_level), first / TILE_WIDTH, self.size) else {
            return Err(no_node);
        };
        if !self.held.contains_key(&tile) {
            if self.held.len() >= TILES_HELD_MAX {
                self.held.clear();
            }
            let read = hashes(&read_tile(&self.directory, tile)?);
            self.held.insert(tile, read);
        }
        let within = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let part = self.held.get(&tile).and_then(|held| held.get(within..within + (1 << height)));
        part.map(TreeHash::perfect).ok_or(no_node)
    }
}

/// A tree that grows. Holds the last tile of each level in memory.
#[derive(Debug)]
pub struct TileWriter {
    directory: PathBuf,
    size: u64,
    /// Hashes of each level that fill no tile yet.
    levels: Vec<Vec<TreeHash>>,
    /// Entries that fill no tile yet.
    entries: Vec<[u8; ENTRY_BYTES]>,
    last_entry: Option<[u8; ENTRY_BYTES]>,
}

impl TileWriter {
    /// An empty tree in the directory `tree`. Files that are there already are overwritten as they are reached.
    pub fn new(tree: &Path) -> Self {
        Self {
            directory: tree.join(TILE_DIRECTORY),
            size: 0,
            levels: Vec::new(),
            entries: Vec::new(),
            last_entry: None,
        }
    }

    /// The tree of `size` entries whose tiles lie in `tree`. Only the last tile of each level is read: compare the root.
    pub fn open(tree: &Path, size: u64) -> Result<Self, TileError> {
        let mut writer = Self { size, ..Self::new(tree) };
        for level in 0..TILE_LEVELS_MAX {
            let there = size >> (level * TILE_HEIGHT);
            if there == 0 {
                break;
            }
            let tile = Tile::of_tree(TileKind::Hashes(level), there / TILE_WIDTH, size);
            let read = tile.map(|tile| read_tile(&writer.directory, tile)).transpose()?;
            writer.levels.push(hashes(&read.unwrap_or_default()));
        }
        if let Some(tile) = Tile::of_tree(TileKind::Entries, size.saturating_sub(1) / TILE_WIDTH, size) {
            let bytes = read_tile(&writer.directory, tile)?;
            let entries = bytes.as_chunks::<{ ENTRY_BYTES + 2 }>().0;
            writer.entries = entries.iter().filter_map(|entry| entry[2..].try_into().ok()).collect();
            writer.last_entry = writer.entries.last().copied();
            if tile.is_full() {
                writer.entries.clear();
            }
        }
        Ok(writer)
    }

    /// How many entries it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The entry that was added last.
    pub const fn last_entry(&self) -> Option<&[u8; ENTRY_BYTES]> {
        self.last_entry.as_ref()
    }

    /// The root that the tree had when it had `size` entries.
    pub fn root_at(&self, size: u64) -> Result<TreeHash, TileError> {
        path::root(
            &mut Grown {
                writer: self,
                reader: TileReader {
                    directory: self.directory.clone(),
                    size: self.size,
                    held: HashMap::new(),
                },
            },
            size,
        )
    }

    /// The root of the tree.
    pub fn root(&self) -> TreeHash {
        let mut range = Range::new(0);
        let mut level = u8::try_from(self.levels.len()).unwrap_or(TILE_LEVELS_MAX);
        for hashes in self.levels.iter().rev() {
            level -= 1;
            for hash in hashes {
                range.push(level * TILE_HEIGHT, *hash);
            }
        }
        range.fold()
    }

    /// Adds an entry. After an error the tree is not to be used any more.
    pub fn push(&mut self, entry: &[u8; ENTRY_BYTES]) -> Result<(), TileError> {
        self.entries.push(*entry);
        self.last_entry = Some(*entry);
        self.size += 1;
        if self.entries.len() as u64 == TILE_WIDTH {
            let index = (self.size - 1) / TILE_WIDTH;
            self.write_full(
                Tile { kind: TileKind::Entries, index, width: TILE_WIDTH },
                &bundle(&self.entries),
            )?;
            self.entries.clear();
        }
        let mut hash = TreeHash::leaf(entry);
        for level in 0..TILE_LEVELS_MAX {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(usize::from(level)) else { break };
            row.push(hash);
            if (row.len() as u64) < TILE_WIDTH {
                break;
            }
            hash = TreeHash::perfect(row);
            let bytes = row.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();
            row.clear();
            let index = (self.size - 1) >> ((level + 1) * TILE_HEIGHT);
            self.write_full(Tile { kind: TileKind::Hashes(level), index, width: TILE_WIDTH }, &bytes)?;
        }
        Ok(())
    }

    fn write_full(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), TileError> {
        self.write(tile, bytes)?;
        let partial = self.directory.join(format!("{tile}.p"));
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(TileError::Io { path: partial, error })
            }
            _ => Ok(()),
        }
    }

    /// Writes the tiles that are not full, as a checkpoint of this size needs them.
    pub fn write_partial(&mut self) -> Result<(), TileError> {
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            if let Some(tile) = self.open_tile(TileKind::Hashes(level)) {
                self.write(tile, &hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>())?;
            }
        }
        if let Some(tile) = self.open_tile(TileKind::Entries) {
            self.write(tile, &bundle(&self.entries))?;
        }
        Ok(())
    }

    /// The last tile of a kind, if it is partial.
    fn open_tile(&self, kind: TileKind) -> Option<Tile> {
        let shift = if let TileKind::Hashes(level) = kind { level * TILE_HEIGHT } else { 0 };
        Tile::of_tree(kind, (self.size >> shift) / TILE_WIDTH, self.size)
    }

    fn write(&self, tile: Tile, bytes: &[u8]) -> Result<(), TileError> {
        let path = self.directory.join(tile.to_string());
        let io_error = |error| TileError::Io { path: path.clone(), error };
        let new = path.with_extension("new");
        let written = match fs::write(&new, bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&new, bytes))
            }
            written => written,
        };
        written.and_then(|()| fs::rename(&new, &path)).map_err(io_error)
    }
}

/// The nodes of a tree that grows: what fills no tile yet is in memory alone.
struct Grown<'a> {
    writer: &'a TileWriter,
    reader: TileReader,
}

impl Nodes for Grown<'_> {
    type Error = TileError;

    fn node(&mut self, level: u8, index: u64) -> Result<TreeHash, TileError> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << height;
        let there = self.writer.size >> (tile_level * TILE_HEIGHT);
        if first / TILE_WIDTH < there / TILE_WIDTH {
            return self.reader.node(level, index);
        }
        let within = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let row = self.writer.levels.get(usize::from(tile_level));
        let part = row.and_then(|row| row.get(within..within + (1 << height)));
        part.map(TreeHash::perfect).ok_or(TileError::NoNode { size: self.writer.size, level, index })
    }
}

/// Entries as one file: each with its length before it, 16 bits, big-endian.
fn bundle(entries: &[[u8; ENTRY_BYTES]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * (ENTRY_BYTES + 2));
    for entry in entries {
        bytes.extend_from_slice(&(ENTRY_BYTES as u16).to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    bytes
}
