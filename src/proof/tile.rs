//! Names of tiles (C2SP tlog-tiles): 256 hashes of one level, or the entries under 256 leaves, by level and index.

use std::fmt;

/// Hashes of a full tile.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree that one tile covers.
pub const TILE_HEIGHT: u8 = 8;
/// Levels of tiles that a tree of 2^64 entries has.
pub const TILE_LEVELS_MAX: u8 = 8;

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TileKind {
    /// Hashes of the nodes at eight times this level, which is below `TILE_LEVELS_MAX`.
    Hashes(u8),
    /// Entries, each with its length before it.
    Entries,
}

/// A tile's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Which of those, from 0.
    pub index: u64,
    /// How many it holds: 1 to `TILE_WIDTH`; less is a partial tile.
    pub width: u64,
}

impl Tile {
    /// The tile as it is in a tree of `size` entries; none if that has no such tile.
    pub fn of_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let shift = match kind {
            TileKind::Hashes(level) => u32::from(level * TILE_HEIGHT),
            TileKind::Entries => 0,
        };
        let there = size.checked_shr(shift).unwrap_or(0);
        let width = there.saturating_sub(index.checked_mul(TILE_WIDTH)?).min(TILE_WIDTH);
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Whether it will never change.
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile when it is full.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// Reads a name, as `Display` writes it. Nothing but the one way of writing a name is taken, so that a name is a safe path.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().ok().filter(|level| *level < TILE_LEVELS_MAX)?),
        };
        let (path, width) = match rest.split_once(".p/") {
            Some((path, width)) => {
                (path, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?)
            }
            None => (rest, TILE_WIDTH),
        };
        let mut index = 0_u64;
        for group in path.split('/') {
            let digits = group.trim_start_matches('x');
            if digits.len() != 3 {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { kind, index, width };
        (tile.to_string() == text).then_some(tile)
    }
}

/// As in a path: `0/x001/x234/067`, `entries/005.p/17`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "{level}")?,
            TileKind::Entries => f.write_str("entries")?,
        }
        let digits = self.index.to_string();
        let padded = format!("{digits:0>width$}", width = digits.len().next_multiple_of(3));
        let groups = padded.len() / 3;
        for group in 0..groups {
            let last = group + 1 == groups;
            write!(f, "/{}{}", if last { "" } else { "x" }, &padded[3 * group..3 * group + 3])?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}
