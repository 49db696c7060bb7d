//! Rows that try a model where it could go wrong: missing, infinite, denormal and negative-zero values, and those at and right
//! beside its thresholds. The same seed draws the same rows, on every machine and also in `models/parity/make.py`.

use std::collections::BTreeSet;

use crate::model::forest::Forest;
use crate::model::tree::Test;

/// Values that arithmetic is not used to.
const ODD: [f32; 11] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    f32::from_bits(1),
    f32::from_bits(0x8000_0001),
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    1.0,
];
/// How far apart the rows of two seeds begin.
const ROWS_PER_SEED: u64 = 1 << 32;

/// Draws rows for one model.
#[derive(Clone, Debug)]
pub struct DrawnRows {
    /// By feature: the bits of its thresholds.
    thresholds: Vec<Vec<u32>>,
    /// The number of the next row.
    next: u64,
}

impl DrawnRows {
    /// For a forest; `seed` says where the rows begin.
    pub fn new(forest: &Forest, seed: u32) -> Self {
        let mut thresholds = vec![BTreeSet::new(); forest.features()];
        for node in forest.trees().flat_map(|tree| tree.nodes) {
            if let Test::Below { feature, threshold } = node.test() {
                thresholds[feature as usize].insert(threshold.to_bits());
            }
        }
        let thresholds = thresholds.into_iter().map(|bits| bits.into_iter().collect()).collect();
        Self { thresholds, next: u64::from(seed) * ROWS_PER_SEED }
    }

    /// Draws the next row.
    pub fn fill(&mut self, row: &mut [f32]) {
        let first = self.next.wrapping_mul(row.len() as u64);
        self.next += 1;
        for (feature, (value, thresholds)) in row.iter_mut().zip(&self.thresholds).enumerate() {
            let z = scrambled(first.wrapping_add(feature as u64 + 1));
            let pick = (z >> 4 & 0xFF_FFFF) as usize;
            let threshold = || thresholds.get(pick % thresholds.len().max(1)).copied();
            let any = (z >> 32) as u32;
            *value = match z & 15 {
                0..=1 => f32::NAN,
                2 => ODD[pick % ODD.len()],
                3..=8 => f32::from_bits(threshold().unwrap_or(any)),
                9 => f32::from_bits(threshold().map_or(any, |bits| bits.wrapping_add(1))),
                10 => f32::from_bits(threshold().map_or(any, |bits| bits.wrapping_sub(1))),
                11..=13 => (pick % 12) as f32,
                _ => f32::from_bits(any),
            };
        }
    }
}

/// The 64 bits that splitmix64 gives for a counter.
const fn scrambled(counter: u64) -> u64 {
    let z = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
