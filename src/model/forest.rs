//! The trees of a model, and the margin of a row.

use thiserror::Error;

use crate::model::lockstep::Lockstep;
use crate::model::rank_mask::RankMask;
use crate::model::rank_mask_vbmi::Vbmi;
use crate::model::tree::{CategorySet, Node, Tree};

/// A row of another length than the model has features.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the row has {actual} values and the model {expected} features")]
pub struct RowLengthError {
    /// The model's features.
    pub expected: usize,
    /// The row's values.
    pub actual: usize,
}

/// A way to compute margins. All give the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Tree by tree, node by node: what the others are held to.
    Walk,
    /// Sixteen trees at a time.
    Lockstep,
    /// By byte ranks and bit masks.
    RankMask,
    /// The same in the registers of AVX-512 with VBMI.
    RankMaskVbmi,
}

impl Way {
    /// All of them, the simplest first.
    pub const ALL: [Self; 4] = [Self::Walk, Self::Lockstep, Self::RankMask, Self::RankMaskVbmi];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::Lockstep => "lockstep",
            Self::RankMask => "rank_mask",
            Self::RankMaskVbmi => "rank_mask_vbmi",
        }
    }
}

/// All trees of a model, laid out for every way of scoring that fits them.
#[derive(Clone, Debug)]
pub struct Forest {
    parts: ForestBuilder,
    /// `None` for trees or rows too large for it.
    lockstep: Option<Lockstep>,
    /// `None` for trees too deep for it, categorical splits and too many different thresholds.
    rank_mask: Option<RankMask>,
    /// What this processor has.
    vbmi: Option<Vbmi>,
}

/// A forest that trees are being added to.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::model) struct ForestBuilder {
    features: usize,
    base_margin: f32,
    nodes: Vec<Node>,
    /// By node: how much a split lowered the training loss.
    gains: Vec<f32>,
    roots: Vec<usize>,
    /// Of all sets of categories.
    bits: Vec<u32>,
}

impl ForestBuilder {
    /// A forest without trees, in which every row has `base_margin`.
    pub(in crate::model) const fn new(features: usize, base_margin: f32) -> Self {
        Self {
            features,
            base_margin,
            nodes: Vec::new(),
            gains: Vec::new(),
            roots: Vec::new(),
            bits: Vec::new(),
        }
    }

    /// How many features a row has.
    pub(in crate::model) const fn features(&self) -> usize {
        self.features
    }

    /// Adds the bits of a set of categories; `None` when there would be more than `words_max` of them.
    pub(in crate::model) fn add_categories(&mut self, bits: &[u32], words_max: usize) -> Option<CategorySet> {
        if self.bits.len() + bits.len() > words_max {
            return None;
        }
        let start = u32::try_from(self.bits.len()).ok()?;
        self.bits.extend_from_slice(bits);
        Some(CategorySet { start, words: u32::try_from(bits.len()).ok()? })
    }

    /// Adds a tree, whose first node is its root; the reader has checked that it is one. `gains` has one entry a node.
    pub(in crate::model) fn push(&mut self, nodes: &[Node], gains: &[f32]) {
        self.roots.push(self.nodes.len());
        self.nodes.extend_from_slice(nodes);
        self.gains.extend_from_slice(gains);
    }

    /// Lays the trees out for scoring.
    pub(in crate::model) fn build(self) -> Forest {
        let lockstep = Lockstep::new(&self);
        let rank_mask = RankMask::new(self.features, self.trees());
        Forest { parts: self, lockstep, rank_mask, vbmi: Vbmi::detect() }
    }

    /// Each tree.
    pub(in crate::model) fn trees(&self) -> impl Iterator<Item = Tree<'_>> + Clone {
        let ends = self.roots.iter().skip(1).copied().chain(std::iter::once(self.nodes.len()));
        self.roots
            .iter()
            .zip(ends)
            .map(|(start, end)| Tree { nodes: &self.nodes[*start..end], bits: &self.bits })
    }
}

impl Forest {
    /// All nodes, each with how much it lowered the training loss (0 for a leaf).
    pub fn nodes_and_gains(&self) -> impl Iterator<Item = (&Node, f32)> {
        self.parts.nodes.iter().zip(self.parts.gains.iter().copied())
    }

    /// How many features a row has.
    pub const fn features(&self) -> usize {
        self.parts.features
    }

    /// The margin that every row starts from.
    pub const fn base_margin(&self) -> f32 {
        self.parts.base_margin
    }

    /// Each tree.
    pub fn trees(&self) -> impl Iterator<Item = Tree<'_>> {
        self.parts.trees()
    }

    /// The raw margin (log-odds) of a row: bit for bit libxgboost's, which adds the leaves to the base margin in tree order in
    /// f32. NaN is missing; infinities are ordinary values.
    pub fn margin(&self, row: &[f32]) -> Result<f32, RowLengthError> {
        match (&self.rank_mask, self.vbmi) {
            (Some(form), Some(vbmi)) => {
                self.check(row)?;
                Ok(vbmi.margin(form, row, self.base_margin()))
            }
            _ => self.margin_portable(row),
        }
    }

    /// `margin` without what only some processors have: the same to the bit.
    pub fn margin_portable(&self, row: &[f32]) -> Result<f32, RowLengthError> {
        self.check(row)?;
        Ok(match &self.lockstep {
            Some(lockstep) => lockstep.margin(row, &self.parts.bits, self.base_margin()),
            None => self.margin_tree_by_tree(row),
        })
    }

    /// The way that `margin` takes.
    pub const fn way(&self) -> Way {
        match (&self.rank_mask, self.vbmi, &self.lockstep) {
            (Some(_), Some(_), _) => Way::RankMaskVbmi,
            (_, _, Some(_)) => Way::Lockstep,
            _ => Way::Walk,
        }
    }

    /// `margin` in one certain way; `None` when model or processor do not fit it.
    pub fn margin_by(&self, way: Way, row: &[f32]) -> Result<Option<f32>, RowLengthError> {
        self.check(row)?;
        let base_margin = self.base_margin();
        Ok(match way {
            Way::Walk => Some(self.margin_tree_by_tree(row)),
            Way::Lockstep => {
                self.lockstep.as_ref().map(|form| form.margin(row, &self.parts.bits, base_margin))
            }
            Way::RankMask => self.rank_mask.as_ref().map(|form| form.margin(row, base_margin)),
            Way::RankMaskVbmi => {
                let both = self.rank_mask.as_ref().zip(self.vbmi);
                both.map(|(form, vbmi)| vbmi.margin(form, row, base_margin))
            }
        })
    }

    /// Each tree's splits where a row goes right, as bits: bit 1 is the root's, and the children of i are 2i and 2i + 1. `None`
    /// when the trees are deeper than six splits or cannot be asked in this way. `row` has the right length.
    pub(in crate::model) fn masks_into(
        &self,
        row: &[f32],
        vbmi: Option<Vbmi>,
        masks: &mut Vec<u64>,
    ) -> Option<()> {
        let form = self.rank_mask.as_ref().filter(|form| form.words == 1)?;
        masks.resize(form.trees(), 0);
        if let Some(vbmi) = vbmi {
            vbmi.masks(form, row, masks);
        } else {
            let ranks = form.ranks(row);
            masks.iter_mut().enumerate().for_each(|(tree, mask)| *mask = form.mask(tree, &ranks));
        }
        Some(())
    }

    /// Whether `masks_into` gives masks.
    pub(in crate::model) fn has_masks(&self) -> bool {
        self.rank_mask.as_ref().is_some_and(|form| form.words == 1)
    }

    /// What this processor has of what only some have.
    pub(in crate::model) const fn vbmi(&self) -> Option<Vbmi> {
        self.vbmi
    }

    /// A row of the wrong length is an error.
    pub(in crate::model) fn check(&self, row: &[f32]) -> Result<(), RowLengthError> {
        let expected = self.features();
        if row.len() == expected { Ok(()) } else { Err(RowLengthError { expected, actual: row.len() }) }
    }

    /// The margin by the plain walk, one tree after the other: what the fast ways are held to.
    fn margin_tree_by_tree(&self, row: &[f32]) -> f32 {
        self.trees().fold(self.base_margin(), |margin, tree| margin + tree.leaf(row))
    }
}

/// The probability of a margin, as libxgboost computes it in f32.
pub fn probability(margin: f32) -> f32 {
    // The last term vanishes in f32; it stands here because it stands there.
    1.0 / ((-margin).min(88.7).exp() + 1.0 + 1e-16)
}

#[cfg(test)]
#[path = "forest_tests.rs"]
mod tests;
