//! A stretch of a tree's leaves as the few perfect subtrees that it is made of: what a root needs, and what stretches that were hashed
//! apart are put together from.

use crate::proof::hash::TreeHash;

/// One perfect subtree: it covers the leaves `index << level` to `(index + 1) << level`, the last one not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its height.
    pub level: u8,
    /// Which of those of this height, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: TreeHash,
}

/// The leaves from `begin` to `end`, the latter not included. Holds at most two nodes a level, 126 in all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    begin: u64,
    end: u64,
    nodes: Vec<Node>,
}

impl Range {
    /// No leaves, before the one with that index.
    pub const fn new(begin: u64) -> Self {
        Self { begin, end: begin, nodes: Vec::new() }
    }

    /// The index of the first leaf.
    pub const fn begin(&self) -> u64 {
        self.begin
    }

    /// The index after the last leaf.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Adds the leaf that follows.
    pub fn push_leaf(&mut self, hash: TreeHash) {
        self.push(0, hash);
    }

    /// Adds the perfect subtree that follows; the range's end must be a multiple of its size.
    pub fn push(&mut self, level: u8, hash: TreeHash) {
        debug_assert_eq!(self.end & ((1 << level) - 1), 0, "a subtree begins at a multiple of its size");
        let mut node = Node { level, index: self.end >> level, hash };
        self.end += 1 << level;
        while node.index % 2 == 1
            && let Some(left) = self.nodes.pop_if(|left| left.level == node.level)
        {
            node = Node {
                level: node.level + 1,
                index: node.index >> 1,
                hash: TreeHash::node(&left.hash, &node.hash),
            };
        }
        self.nodes.push(node);
    }

    /// Adds the leaves of a range that begins where this one ends; `false`, and nothing added, if it begins elsewhere.
    pub fn merge(&mut self, other: &Self) -> bool {
        if other.begin != self.end {
            return false;
        }
        for node in &other.nodes {
            self.push(node.level, node.hash);
        }
        true
    }

    /// The root of the tree of these leaves; none if it does not begin with the first.
    pub fn root(&self) -> Option<TreeHash> {
        (self.begin == 0).then(|| self.fold())
    }

    /// All of it as one hash, as it stands in a tree whose last leaf is its last.
    pub(crate) fn fold(&self) -> TreeHash {
        let folded =
            self.nodes.iter().rev().map(|node| node.hash).reduce(|right, left| TreeHash::node(&left, &right));
        folded.unwrap_or_else(TreeHash::empty)
    }
}
