//! The walk of sixteen trees, in the registers of AVX-512.

use std::arch::x86_64::{
    __m512, __mmask16, _mm512_add_ps, _mm512_kunpackb, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_blend_ps, _mm512_mask_mul_ps, _mm512_mul_ps, _mm512_set1_epi64, _mm512_set1_ps,
    _mm512_storeu_ps, _mm512_sub_ps, _mm512_test_epi64_mask,
};

use crate::model::attribution_lanes::{Block, LANES, LanePoint, Lanes, SplitLanes};
use crate::model::lanes_kernel::lanes_kernel;

type Vector = __m512;
type Mask = __mmask16;

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: f32) -> Vector {
    _mm512_set1_ps(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "there is no safe load yet")]
fn load(from: &Lanes) -> Vector {
    // SAFETY: lanes are the sixteen f32 that the load takes, from any address.
    unsafe { _mm512_loadu_ps(from.0.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "there is no safe store yet")]
fn store(from: Vector) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    // SAFETY: these are the sixteen f32 that the store fills, at any address.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), from) };
    lanes
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sub(a: Vector, b: Vector) -> Vector {
    _mm512_sub_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn mul(a: Vector, b: Vector) -> Vector {
    _mm512_mul_ps(a, b)
}

/// `a * b` where the mask holds, else `a`.
#[inline]
#[target_feature(enable = "avx512f")]
fn mul_where(mask: Mask, a: Vector, b: Vector) -> Vector {
    _mm512_mask_mul_ps(a, mask, a, b)
}

/// `yes` where the mask holds, else `no`.
#[inline]
#[target_feature(enable = "avx512f")]
fn select(mask: Mask, no: Vector, yes: Vector) -> Vector {
    _mm512_mask_blend_ps(mask, no, yes)
}

/// One bit of each lane's word.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "there is no safe load yet")]
fn bits(words: &[u64; LANES], bit: usize) -> Mask {
    let (eights, _) = words.as_chunks::<8>();
    let asked = _mm512_set1_epi64(1 << bit);
    let of = |eight: &[u64; 8]| {
        // SAFETY: these are the 64 bytes that the load takes, from any address.
        let eight = unsafe { _mm512_loadu_si512(eight.as_ptr().cast()) };
        __mmask16::from(_mm512_test_epi64_mask(eight, asked))
    };
    _mm512_kunpackb(of(&eights[1]), of(&eights[0]))
}

lanes_kernel!(#[target_feature(enable = "avx512f")]);
