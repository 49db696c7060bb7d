//! The forest as byte ranks and bit masks, after the idea of QuickScorer (Lucchese et al., SIGIR 2015) with ranks in place of
//! thresholds.
//!
//! The thresholds of a feature are a sorted *column*; a value becomes, once a row, its rank: how many of them it reaches. A node
//! then asks one byte whether it is greater than another, all nodes of a tree give a mask of 64 bits, and the leaf follows from
//! the mask by a walk over bits. Missing is the rank above all others, and one mask says where it goes left all the same.
//!
//! What must hold: a forest has this form only if it gives every row the leaves of the plain walk. `rank_mask_vbmi` computes it
//! in registers; what is here computes the same for every processor.

use crate::model::tree::{Node, Test, Tree};

/// Deepest tree that has this form.
pub(super) const DEPTH_MAX: usize = 8;
/// Most columns: a byte names one.
pub(super) const COLUMNS_MAX: usize = 256;
/// Most thresholds of a column; a feature with more takes several columns.
pub(super) const THRESHOLDS_MAX: usize = 254;
/// The rank of a missing value.
pub(super) const MISSING: u8 = u8::MAX;
/// What a place without a split asks: no rank exceeds it, so that every row goes left there.
const NEVER: u8 = u8::MAX;
/// How many thresholds are compared at once.
pub(super) const LINE: usize = 16;
/// How many nodes a mask has bits for.
pub(super) const WORD: usize = 64;

/// Thresholds in ascending order; what is left over is NaN, which no value reaches.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [f32; LINE]);

/// One column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// The last threshold of each of its full lines.
    pub(super) last: Line,
    /// Its first line. There are as many as its thresholds fill, and one more, which is not full.
    pub(super) line: u32,
    pub(super) feature: u16,
}

/// Sixty-four nodes: which column each asks, and what its rank must exceed to go right. Where missing goes left, one is added to
/// the rank beforehand, so that missing becomes 0, and what it must exceed is one more, too.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Word {
    pub(super) columns: [u8; WORD],
    pub(super) ranks: [u8; WORD],
}

/// A forest in this form. Node 1 of a tree is its root, and the children of node i are 2i and 2i + 1, as if it were complete.
#[derive(Clone, Debug)]
pub(super) struct RankMask {
    /// How many splits every path passes.
    pub(super) depth: usize,
    /// How many words a tree has.
    pub(super) words: usize,
    pub(super) columns: Vec<Column>,
    pub(super) lines: Vec<Line>,
    /// By tree, then by word.
    pub(super) tests: Vec<Word>,
    /// By tree, then by word: the nodes where missing goes left.
    pub(super) default_left: Vec<u64>,
    /// By tree, then by the lowest bits of where the walk ends, of which there are as many as a tree has nodes.
    pub(super) leaves: Vec<f32>,
}

/// The ranks of a row, by column.
pub(super) type Ranks = [u8; COLUMNS_MAX];

impl RankMask {
    /// Brings a forest into this form; `None` when it is too deep, has categorical splits, or too many different thresholds.
    pub(super) fn new<'a>(features: usize, trees: impl Iterator<Item = Tree<'a>> + Clone) -> Option<Self> {
        let depth = trees.clone().map(|tree| tree.depth()).max()?.max(1);
        if depth > DEPTH_MAX {
            return None;
        }
        let mut thresholds = vec![Vec::new(); features];
        for node in trees.clone().flat_map(|tree| tree.nodes) {
            match node.test() {
                Test::Leaf(_) => {}
                Test::Below { feature, threshold } => thresholds[feature as usize].push(threshold),
                Test::In { .. } => return None,
            }
        }
        let words = (1 << depth).max(WORD) / WORD;
        let mut form = Self {
            depth,
            words,
            columns: Vec::new(),
            lines: Vec::new(),
            tests: Vec::new(),
            default_left: Vec::new(),
            leaves: Vec::new(),
        };
        // By feature: its first column.
        let mut first_columns = Vec::with_capacity(features);
        for (feature, thresholds) in thresholds.iter_mut().enumerate() {
            thresholds.sort_by(f32::total_cmp);
            // -0.0 and 0.0 are one threshold: the same values reach them.
            thresholds.dedup_by(|a, b| a == b);
            first_columns.push(form.columns.len());
            for column in thresholds.chunks(THRESHOLDS_MAX) {
                form.add_column(u16::try_from(feature).ok()?, column)?;
            }
        }
        for tree in trees {
            let place = |feature: u32, threshold: f32| {
                let rank = thresholds[feature as usize].partition_point(|known| *known < threshold);
                let column = first_columns[feature as usize] + rank / THRESHOLDS_MAX;
                Some((u8::try_from(column).ok()?, u8::try_from(rank % THRESHOLDS_MAX).ok()?))
            };
            form.add_tree(tree, place)?;
        }
        Some(form)
    }

    fn add_column(&mut self, feature: u16, thresholds: &[f32]) -> Option<()> {
        if self.columns.len() == COLUMNS_MAX {
            return None;
        }
        let line = u32::try_from(self.lines.len()).ok()?;
        let mut last = [f32::NAN; LINE];
        for (last, full) in last.iter_mut().zip(thresholds.chunks_exact(LINE)) {
            *last = full[LINE - 1];
        }
        self.columns.push(Column { last: Line(last), line, feature });
        for number in 0..=thresholds.len() / LINE {
            let mut line = [f32::NAN; LINE];
            for (to, from) in line.iter_mut().zip(&thresholds[number * LINE..]) {
                *to = *from;
            }
            self.lines.push(Line(line));
        }
        Some(())
    }

    fn add_tree(&mut self, tree: Tree<'_>, place: impl Fn(u32, f32) -> Option<(u8, u8)>) -> Option<()> {
        let (words, leaves) = (self.tests.len(), self.leaves.len());
        self.tests.resize(words + self.words, Word { columns: [0; WORD], ranks: [NEVER; WORD] });
        self.default_left.resize(words + self.words, 0);
        self.leaves.resize(leaves + self.stride(), 0.0);
        // Nodes still to be placed: which, where, and how deep.
        let mut open: Vec<(&Node, usize, usize)> = vec![(&tree.nodes[0], 1, 0)];
        while let Some((node, at, depth)) = open.pop() {
            match node.test() {
                Test::Leaf(weight) => {
                    let below = self.depth - depth;
                    let first = leaves + ((at << below) & (self.stride() - 1));
                    self.leaves[first..first + (1 << below)].fill(weight);
                }
                Test::Below { feature, threshold } => {
                    let (column, rank) = place(feature, threshold)?;
                    let (word, bit) = (words + at / WORD, at % WORD);
                    self.tests[word].columns[bit] = column;
                    self.tests[word].ranks[bit] = rank + u8::from(node.is_default_left());
                    self.default_left[word] |= u64::from(node.is_default_left()) << bit;
                    for (side, child) in node.children().into_iter().enumerate() {
                        open.push((&tree.nodes[child], 2 * at + side, depth + 1));
                    }
                }
                Test::In { .. } => return None,
            }
        }
        Some(())
    }

    /// How many places a tree has for leaves.
    pub(super) const fn stride(&self) -> usize {
        self.words * WORD
    }

    /// How many trees there are.
    pub(super) fn trees(&self) -> usize {
        self.tests.len() / self.words
    }

    /// The ranks of a row.
    pub(super) fn ranks(&self, row: &[f32]) -> Ranks {
        let mut ranks = [0; COLUMNS_MAX];
        for (rank, column) in ranks.iter_mut().zip(&self.columns) {
            let x = row[usize::from(column.feature)];
            let full = reached(&column.last, x);
            let rest = reached(&self.lines[column.line as usize + usize::from(full)], x);
            *rank = if x.is_nan() { MISSING } else { full * LINE as u8 + rest };
        }
        ranks
    }

    /// Which nodes of a word a row goes right at; left at places without one.
    pub(super) fn mask(&self, word: usize, ranks: &Ranks) -> u64 {
        let Word { columns, ranks: asked } = &self.tests[word];
        let default_left = self.default_left[word];
        let mut right = 0;
        for (bit, (column, asked)) in columns.iter().zip(asked).enumerate() {
            let raised = (default_left >> bit & 1) as u8;
            right |= u64::from(ranks[usize::from(*column)].wrapping_add(raised) > *asked) << bit;
        }
        right
    }

    /// The margin, as every processor can compute it: what `verify` and tests hold the registers to.
    pub(super) fn margin(&self, row: &[f32], base_margin: f32) -> f32 {
        let ranks = self.ranks(row);
        (0..self.trees()).fold(base_margin, |margin, tree| {
            let mut at = 1;
            for _ in 0..self.depth {
                let mask = self.mask(tree * self.words + at / WORD, &ranks);
                at = 2 * at + (mask >> (at % WORD) & 1) as usize;
            }
            margin + self.leaves[tree * self.stride() + (at & (self.stride() - 1))]
        })
    }
}

/// How many thresholds of a line a value reaches.
fn reached(line: &Line, x: f32) -> u8 {
    line.0.iter().map(|threshold| u8::from(x >= *threshold)).sum()
}
