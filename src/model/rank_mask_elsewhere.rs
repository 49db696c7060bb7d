//! What stands for `rank_mask_vbmi` where the processor cannot have AVX-512: a value of which there is none.

use crate::model::rank_mask::RankMask;

/// There is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vbmi {}

impl Vbmi {
    /// This processor has not got it.
    pub(super) const fn detect() -> Option<Self> {
        None
    }

    /// Never called.
    pub(super) const fn margin(self, _form: &RankMask, _row: &[f32], _base_margin: f32) -> f32 {
        match self {}
    }

    /// Never called.
    pub(super) const fn masks(self, _form: &RankMask, _row: &[f32], _masks: &mut [u64]) {
        match self {}
    }
}
