//! Inclusion and consistency proofs: made as RFC 6962, sections 2.1.1 and 2.1.2, defines them, checked as RFC 9162, sections 2.1.3.2
//! and 2.1.4.2, says.

use thiserror::Error;

use crate::proof::hash::TreeHash;
use crate::proof::range::Range;

/// Most hashes of one proof: one a level.
pub const PATH_HASHES_MAX: usize = 64;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// No such entry.
    #[error("the tree has {size} entries, so there is none with the index {index}")]
    Index {
        /// The index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The later tree is smaller.
    #[error("a tree of {new} entries cannot hold one of {old}")]
    Sizes {
        /// The earlier tree.
        old: u64,
        /// The later one.
        new: u64,
    },
    /// Too few or too many hashes.
    #[error("the proof has {found} hashes, which is not what trees of these sizes need")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// Another root.
    #[error("the proof leads to the root {found}, not to {expected}")]
    Root {
        /// What was signed.
        expected: TreeHash,
        /// What the hashes give.
        found: TreeHash,
    },
}

/// The largest power of two below `size`, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Reads perfect subtrees, by level and index.
pub trait Nodes {
    /// Why one cannot be read.
    type Error;
    /// The hash of one.
    fn node(&mut self, level: u8, index: u64) -> Result<TreeHash, Self::Error>;
}

/// The leaves from `begin` to `end`, where `begin` is a multiple of a power of two that is at least their number.
fn leaves<N: Nodes>(nodes: &mut N, begin: u64, end: u64) -> Result<Range, N::Error> {
    let mut range = Range::new(begin);
    while range.end() < end {
        let left = end - range.end();
        let level = u8::try_from(63 - left.leading_zeros()).unwrap_or(0);
        let hash = nodes.node(level, range.end() >> level)?;
        range.push(level, hash);
    }
    Ok(range)
}

fn subtree<N: Nodes>(nodes: &mut N, begin: u64, end: u64) -> Result<TreeHash, N::Error> {
    Ok(leaves(nodes, begin, end)?.fold())
}

/// The first `size` leaves.
pub fn range<N: Nodes>(nodes: &mut N, size: u64) -> Result<Range, N::Error> {
    leaves(nodes, 0, size)
}

/// The root of the first `size` leaves.
pub fn root<N: Nodes>(nodes: &mut N, size: u64) -> Result<TreeHash, N::Error> {
    subtree(nodes, 0, size)
}

/// The hashes that prove the entry at `index` in the tree of `size` entries, from the leaf's sibling up. Empty if there is no such entry.
pub fn inclusion<N: Nodes>(nodes: &mut N, index: u64, size: u64) -> Result<Vec<TreeHash>, N::Error> {
    let mut path = Vec::new();
    let (mut begin, mut end) = (0, size);
    while index < size && end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(subtree(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(subtree(nodes, begin, middle)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The hashes that prove that the tree of `new` entries begins with that of `old` entries. Empty where nothing needs a proof.
pub fn consistency<N: Nodes>(nodes: &mut N, old: u64, new: u64) -> Result<Vec<TreeHash>, N::Error> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let (mut begin, mut end) = (0, new);
    // Whether the part that is left is the whole old tree, whose root the verifier has.
    let mut is_old_root = true;
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(subtree(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(subtree(nodes, begin, middle)?);
            begin = middle;
            is_old_root = false;
        }
    }
    if !is_old_root {
        path.push(subtree(nodes, begin, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that the entry with that leaf hash stands at `index` of the tree with `size` entries and `root`.
pub fn check_inclusion(
    leaf: TreeHash,
    index: u64,
    size: u64,
    path: &[TreeHash],
    root: TreeHash,
) -> Result<(), PathError> {
    if index >= size {
        return Err(PathError::Index { index, size });
    }
    let length = PathError::Length { found: path.len() };
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return Err(length);
        }
        if at % 2 == 1 || at == last {
            hash = TreeHash::node(sibling, &hash);
            while at % 2 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = TreeHash::node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    if hash == root { Ok(()) } else { Err(PathError::Root { expected: root, found: hash }) }
}

/// Checks that the tree of `new.0` entries with the root `new.1` begins with the tree `old`.
pub fn check_consistency(
    old: (u64, TreeHash),
    new: (u64, TreeHash),
    path: &[TreeHash],
) -> Result<(), PathError> {
    let length = PathError::Length { found: path.len() };
    let same = |expected: TreeHash, found: TreeHash| {
        if found == expected { Ok(()) } else { Err(PathError::Root { expected, found }) }
    };
    if old.0 > new.0 {
        return Err(PathError::Sizes { old: old.0, new: new.0 });
    }
    if old.0 == 0 || old.0 == new.0 {
        if !path.is_empty() {
            return Err(length);
        }
        let root = if old.0 == 0 { TreeHash::empty() } else { new.1 };
        return same(old.1, root);
    }
    let mut rest = path.iter().copied();
    let (mut at, mut last) = (old.0 - 1, new.0 - 1);
    while at % 2 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // The old tree is one perfect subtree, so that its root is the proof's first hash and is left out.
    let first = if old.0.is_power_of_two() { Some(old.1) } else { rest.next() };
    let Some(first) = first else { return Err(length) };
    let (mut old_root, mut new_root) = (first, first);
    for hash in rest {
        if last == 0 {
            return Err(length);
        }
        if at % 2 == 1 || at == last {
            old_root = TreeHash::node(&hash, &old_root);
            new_root = TreeHash::node(&hash, &new_root);
            while at % 2 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_root = TreeHash::node(&new_root, &hash);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    same(old.1, old_root)?;
    same(new.1, new_root)
}
