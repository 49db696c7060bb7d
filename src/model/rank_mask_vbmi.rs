//! The rank-mask form computed in the registers of AVX-512 with VBMI: the ranks of all columns stay in four registers, a tree's
//! nodes look theirs up with byte permutes, and eight trees walk their masks at once.

use std::arch::x86_64::{
    __m512i, _CMP_GE_OQ, _mm512_add_epi64, _mm512_and_si512, _mm512_cmp_ps_mask, _mm512_cmpgt_epu8_mask,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_mask_mov_epi64, _mm512_mask_sub_epi8,
    _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_set1_epi8, _mm512_set1_epi64, _mm512_set1_ps,
    _mm512_srlv_epi64, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_test_epi64_mask,
};

use crate::model::attribution_lanes::{Block, LANES as LANE_TREES, LanePoint};
use crate::model::lanes_avx512;
use crate::model::rank_mask::{COLUMNS_MAX, LINE, Line, MISSING, RankMask, Ranks, WORD, Word};

/// How many trees walk their masks together.
const LANES: usize = 8;
/// How many times as many are asked for their masks before the first walks, so that no walk waits for a mask being stored.
const BLOCK: usize = 4;

/// Says that this processor has what is here; there is none where it has not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vbmi(());

impl Vbmi {
    /// Looks whether this processor has it.
    pub(super) fn detect() -> Option<Self> {
        let found = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vbmi")
            && std::arch::is_x86_feature_detected!("popcnt");
        found.then_some(Self(()))
    }

    /// The margin of a row.
    #[expect(unsafe_code, reason = "the compiler cannot know what `detect` found")]
    pub(super) fn margin(self, form: &RankMask, row: &[f32], base_margin: f32) -> f32 {
        // SAFETY: `self` exists only where `detect` found every feature that the functions are compiled for.
        unsafe {
            match (form.words, form.columns.len() <= COLUMNS_MAX / 2) {
                (1, true) => margin::<1, WORD, true>(form, row, base_margin),
                (1, false) => margin::<1, WORD, false>(form, row, base_margin),
                (2, _) => margin::<2, { 2 * WORD }, false>(form, row, base_margin),
                _ => margin::<4, { 4 * WORD }, false>(form, row, base_margin),
            }
        }
    }

    /// Adds what every split of sixteen trees moved to `values`; see `attribution_lanes`.
    #[expect(unsafe_code, reason = "the compiler cannot know what `detect` found")]
    pub(super) fn add_lanes<const POINTS: usize>(
        self,
        block: &Block<POINTS>,
        points: &[LanePoint; POINTS],
        right: &[u64; LANE_TREES],
        live: &[u64; LANE_TREES],
        values: &mut [f32],
    ) {
        // SAFETY: as in `margin`.
        unsafe { lanes_avx512::walk(block, points, right, live, values) }
    }

    /// Each tree's mask of the nodes where a row goes right, for trees of one word.
    #[expect(unsafe_code, reason = "the compiler cannot know what `detect` found")]
    pub(super) fn masks(self, form: &RankMask, row: &[f32], masks: &mut [u64]) {
        // SAFETY: as in `margin`.
        unsafe { all_masks(form, row, masks) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
fn all_masks(form: &RankMask, row: &[f32], masks: &mut [u64]) {
    let table = load_ranks(&ranks(form, row));
    for (word, to) in masks.iter_mut().enumerate().take(form.tests.len()) {
        *to = mask::<false>(&form.tests[word], form.default_left[word], table);
    }
}

/// Trees have `WORDS` words and `LEAVES` places for leaves. `FEW`: two registers hold all ranks.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
fn margin<const WORDS: usize, const LEAVES: usize, const FEW: bool>(
    form: &RankMask,
    row: &[f32],
    base_margin: f32,
) -> f32 {
    let table = load_ranks(&ranks(form, row));
    let mut margin = base_margin;
    let mut masks = [[[0_u64; LANES]; WORDS]; BLOCK];
    let mut at = [[0_u64; LANES]; BLOCK];
    let (tests, _) = form.tests.as_chunks::<WORDS>();
    let (default_left, _) = form.default_left.as_chunks::<WORDS>();
    let (leaves, _) = form.leaves.as_chunks::<LEAVES>();
    let blocks = tests.chunks(LANES * BLOCK).zip(default_left.chunks(LANES * BLOCK));
    for ((tests, default_left), leaves) in blocks.zip(leaves.chunks(LANES * BLOCK)) {
        let eights = tests.chunks(LANES).zip(default_left.chunks(LANES));
        for (masks, (tests, default_left)) in masks.iter_mut().zip(eights) {
            for (lane, (tests, default_left)) in tests.iter().zip(default_left).enumerate() {
                for word in 0..WORDS {
                    masks[word][lane] = mask::<FEW>(&tests[word], default_left[word], table);
                }
            }
        }
        for (at, masks) in at.iter_mut().zip(&masks).take(leaves.len().div_ceil(LANES)) {
            *at = walk(form.depth, masks);
        }
        for (leaves, at) in leaves.iter().zip(at.as_flattened()) {
            margin += leaves[*at as usize % LEAVES];
        }
    }
    margin
}

/// The ranks of a row, as `RankMask::ranks` gives them.
#[target_feature(enable = "avx512f,popcnt")]
fn ranks(form: &RankMask, row: &[f32]) -> Ranks {
    let mut ranks = [0; COLUMNS_MAX];
    for (rank, column) in ranks.iter_mut().zip(&form.columns) {
        let x = row[usize::from(column.feature)];
        let full = reached(&column.last, x);
        let rest = reached(&form.lines[column.line as usize + full as usize], x);
        let reached = full * LINE as u32 + rest;
        *rank = if x.is_nan() { MISSING } else { reached as u8 };
    }
    ranks
}

/// How many thresholds of a line a value reaches.
#[inline]
#[target_feature(enable = "avx512f,popcnt")]
#[expect(unsafe_code, reason = "there is no safe load yet")]
fn reached(line: &Line, x: f32) -> u32 {
    // SAFETY: a line is the sixteen f32 that the load takes, from any address.
    let thresholds = unsafe { _mm512_loadu_ps(line.0.as_ptr()) };
    _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_set1_ps(x), thresholds).count_ones()
}

/// The ranks in registers.
#[target_feature(enable = "avx512f")]
fn load_ranks(ranks: &Ranks) -> [__m512i; 4] {
    let (quarters, _) = ranks.as_chunks::<WORD>();
    [load(&quarters[0]), load(&quarters[1]), load(&quarters[2]), load(&quarters[3])]
}

/// Which nodes of a word a row goes right at.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn mask<const FEW: bool>(test: &Word, default_left: u64, table: [__m512i; 4]) -> u64 {
    let columns = load(&test.columns);
    let mut ranks = _mm512_permutex2var_epi8(table[0], columns, table[1]);
    if !FEW {
        let upper = _mm512_permutex2var_epi8(table[2], columns, table[3]);
        ranks = _mm512_mask_blend_epi8(_mm512_movepi8_mask(columns), ranks, upper);
    }
    let raised = _mm512_mask_sub_epi8(ranks, default_left, ranks, _mm512_set1_epi8(-1));
    _mm512_cmpgt_epu8_mask(raised, load(&test.ranks))
}

/// Where the walks of eight trees end; the root is 1, and the children of i are 2i and 2i + 1.
#[inline]
#[target_feature(enable = "avx512f")]
fn walk<const WORDS: usize>(depth: usize, masks: &[[u64; LANES]; WORDS]) -> [u64; LANES] {
    let word = |word: usize| load_lanes(&masks[word]);
    let one = _mm512_set1_epi64(1);
    let bit_in_word = _mm512_set1_epi64(63);
    let mut at = one;
    for level in 0..depth {
        // Nodes below level 6 stand in the first word, those of level 6 in the second, and those of level 7 in two more.
        let bits = match level {
            0..=5 => _mm512_srlv_epi64(word(0), at),
            6 if WORDS > 1 => _mm512_srlv_epi64(word(1), _mm512_and_si512(at, bit_in_word)),
            7 if WORDS > 2 => {
                let upper = _mm512_test_epi64_mask(at, _mm512_set1_epi64(64));
                let mask = _mm512_mask_mov_epi64(word(2), upper, word(3));
                _mm512_srlv_epi64(mask, _mm512_and_si512(at, bit_in_word))
            }
            _ => break,
        };
        // at = 2 * at | bits & 1
        at = _mm512_ternarylogic_epi64::<0xF8>(_mm512_add_epi64(at, at), bits, one);
    }
    store_lanes(at)
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "there is no safe load yet")]
fn load(bytes: &[u8; WORD]) -> __m512i {
    // SAFETY: these are the 64 bytes that the load takes, from any address.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "there is no safe load yet")]
fn load_lanes(lanes: &[u64; LANES]) -> __m512i {
    // SAFETY: these are the 64 bytes that the load takes, from any address.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "there is no safe store yet")]
fn store_lanes(from: __m512i) -> [u64; LANES] {
    let mut lanes = [0; LANES];
    // SAFETY: these are the 64 bytes that the store fills, at any address.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), from) };
    lanes
}
