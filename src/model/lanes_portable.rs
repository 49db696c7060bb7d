//! The walk of sixteen trees, for every processor.

use crate::model::attribution_lanes::{Block, LANES, LanePoint, Lanes, SplitLanes};
use crate::model::lanes_kernel::lanes_kernel;

type Vector = [f32; LANES];
/// All bits where it holds, none where not.
type Mask = [u32; LANES];

#[inline(always)]
const fn splat(x: f32) -> Vector {
    [x; LANES]
}

#[inline(always)]
const fn load(from: &Lanes) -> Vector {
    from.0
}

#[inline(always)]
const fn store(from: Vector) -> [f32; LANES] {
    from
}

#[inline(always)]
fn each(mut a: Vector, b: Vector, operation: impl Fn(f32, f32) -> f32) -> Vector {
    for (a, b) in a.iter_mut().zip(b) {
        *a = operation(*a, b);
    }
    a
}

#[inline(always)]
fn add(a: Vector, b: Vector) -> Vector {
    each(a, b, |a, b| a + b)
}

#[inline(always)]
fn sub(a: Vector, b: Vector) -> Vector {
    each(a, b, |a, b| a - b)
}

#[inline(always)]
fn mul(a: Vector, b: Vector) -> Vector {
    each(a, b, |a, b| a * b)
}

/// `a * b` where the mask holds, else `a`.
#[inline(always)]
fn mul_where(mask: Mask, a: Vector, b: Vector) -> Vector {
    select(mask, a, mul(a, b))
}

/// `yes` where the mask holds, else `no`.
#[inline(always)]
fn select(mask: Mask, no: Vector, mut yes: Vector) -> Vector {
    for ((yes, no), mask) in yes.iter_mut().zip(no).zip(mask) {
        *yes = f32::from_bits(yes.to_bits() & mask | no.to_bits() & !mask);
    }
    yes
}

/// One bit of each lane's word.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "one bit is left")]
fn bits(words: &[u64; LANES], bit: usize) -> Mask {
    words.map(|word| 0_u32.wrapping_sub((word >> bit) as u32 & 1))
}

lanes_kernel!();
