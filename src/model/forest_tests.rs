//! Every way of scoring against the plain walk, over drawn forests and rows.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::model::attribution::{AttributionScratch, Attributor};
use crate::model::attribution_walk;
use crate::model::quadrature::gauss_legendre;
use crate::model::tree::Test;

/// How many rows each forest gets.
const ROWS: usize = 100;

/// What forests are drawn like.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    trees: usize,
    depth: usize,
    features: usize,
    /// Different thresholds of a feature, at most.
    cuts: u32,
    /// How many splits in a hundred end early as a leaf.
    leaves_percent: u32,
    /// How many splits in a hundred are categorical.
    categorical_percent: u32,
    /// The least share of its parent's cover that a child is drawn; what is below 0 counts as 0.
    share_min: f32,
}

const PLAIN: Recipe = Recipe {
    trees: 37,
    depth: 6,
    features: 20,
    cuts: 40,
    leaves_percent: 10,
    categorical_percent: 0,
    share_min: 0.02,
};

impl Recipe {
    fn forest(self, random: &mut ChaCha8Rng) -> Forest {
        let mut forest = ForestBuilder::new(self.features, random.random_range(-3.0..3.0));
        let everything: Vec<u32> = (0..4).map(|_| random.random()).collect();
        let set = forest.add_categories(&everything, 4).unwrap();
        for _ in 0..self.trees {
            let mut covers = vec![(0, 1000.0_f32)];
            let mut nodes = Vec::new();
            while let Some(&(depth, cover)) = covers.get(nodes.len()) {
                if depth == self.depth || random.random_range(0..100) < self.leaves_percent {
                    nodes.push(Node::leaf(random.random_range(-0.5..0.5), cover));
                    continue;
                }
                let left = u32::try_from(covers.len()).unwrap();
                let share = random.random_range(self.share_min..1.0 - self.share_min).clamp(0.0, 1.0);
                covers.extend([(depth + 1, cover * share), (depth + 1, cover * (1.0 - share))]);
                let feature = random.random_range(0..u32::try_from(self.features).unwrap());
                let test = if random.random_range(0..100) < self.categorical_percent {
                    Test::In { feature, set }
                } else {
                    Test::Below { feature, threshold: self.threshold(random) }
                };
                nodes.push(Node::split(test, random.random_bool(0.5), left, cover));
            }
            forest.push(&nodes, &vec![0.0; nodes.len()]);
        }
        forest.build()
    }

    /// One of few, so that rows hit them; zero of both signs among them.
    fn threshold(self, random: &mut ChaCha8Rng) -> f32 {
        match random.random_range(0..self.cuts) {
            0 => -0.0,
            1 => 0.0,
            cut => cut as f32 - self.cuts as f32 / 2.0,
        }
    }

    fn row(self, random: &mut ChaCha8Rng) -> Vec<f32> {
        let mut value = || match random.random_range(0..12) {
            0..=2 => f32::NAN,
            3 => f32::INFINITY,
            4 => f32::NEG_INFINITY,
            5 => f32::from_bits(random.random()),
            6 => 0.0,
            7 => -0.0,
            _ => self.threshold(random),
        };
        (0..self.features).map(|_| value()).collect()
    }
}

fn recipes() -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = (1..=9).map(|depth| Recipe { depth, ..PLAIN }).collect();
    recipes.extend([
        Recipe { trees: 1, ..PLAIN },
        Recipe { trees: 8, ..PLAIN },
        Recipe { trees: 0, ..PLAIN },
        Recipe { leaves_percent: 100, ..PLAIN },
        // Columns beyond the first register and beyond the second.
        Recipe { features: 100, trees: 100, ..PLAIN },
        Recipe { features: 200, trees: 100, ..PLAIN },
        // Features that take several columns, and too many of them.
        Recipe { features: 3, trees: 150, cuts: 1500, ..PLAIN },
        Recipe { features: 1, trees: 20, cuts: 256, ..PLAIN },
        Recipe { features: 300, trees: 100, ..PLAIN },
        Recipe { categorical_percent: 30, ..PLAIN },
        // More values than a prepared row holds without an allocation.
        Recipe { features: 700, ..PLAIN },
    ]);
    recipes
}

#[test]
fn every_way_gives_the_margin_of_the_plain_walk_to_the_bit() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut by_ranks, mut by_vbmi) = (0, 0);
    for recipe in recipes() {
        let forest = recipe.forest(&mut random);
        for _ in 0..ROWS {
            let row = recipe.row(&mut random);
            let expected = forest.margin_tree_by_tree(&row).to_bits();
            assert_eq!(forest.margin(&row).unwrap().to_bits(), expected, "{recipe:?}");
            assert_eq!(forest.margin_portable(&row).unwrap().to_bits(), expected, "lockstep, {recipe:?}");
            if let Some(form) = &forest.rank_mask {
                by_ranks += 1;
                assert_eq!(form.margin(&row, forest.base_margin()).to_bits(), expected, "ranks, {recipe:?}");
                if let Some(vbmi) = forest.vbmi {
                    by_vbmi += 1;
                    let found = vbmi.margin(form, &row, forest.base_margin());
                    assert_eq!(found.to_bits(), expected, "vbmi, {recipe:?}");
                }
            }
        }
    }
    assert_eq!(by_ranks, ROWS * 15, "rows of forests of this form");
    assert!(by_vbmi == by_ranks || Vbmi::detect().is_none());
}

#[test]
fn the_ways_take_what_fits_them() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let facts = [
        (PLAIN, true),
        (Recipe { depth: 9, leaves_percent: 0, ..PLAIN }, false),
        (Recipe { features: 300, trees: 200, ..PLAIN }, false),
        (Recipe { categorical_percent: 30, ..PLAIN }, false),
    ];
    for (recipe, expected) in facts {
        let forest = recipe.forest(&mut random);
        assert_eq!(forest.rank_mask.is_some(), expected, "{recipe:?}");
        assert!(forest.lockstep.is_some(), "{recipe:?}");
    }
}

#[test]
fn a_row_of_another_length_is_an_error() {
    let forest = PLAIN.forest(&mut ChaCha8Rng::seed_from_u64(3));
    let wrong = Err(RowLengthError { expected: 20, actual: 19 });
    assert_eq!(forest.margin(&[0.0; 19]), wrong);
    assert_eq!(forest.margin_portable(&[0.0; 19]), wrong);
}

#[test]
fn attributions_are_the_same_bits_everywhere_and_near_those_in_f64() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut recipes = recipes();
    // Covers of nothing and next to nothing.
    recipes.push(Recipe { share_min: 0.0, features: 4, ..PLAIN });
    recipes.push(Recipe { share_min: -0.3, features: 6, ..PLAIN });
    for recipe in recipes {
        let forest = recipe.forest(&mut random);
        let attributor = Attributor::new(&forest);
        let points = gauss_legendre(5);
        let mut scratch = AttributionScratch::default();
        let mut walk = attribution_walk::WalkScratch::default();
        walk.prepare(recipe.depth, recipe.features);
        let (mut found, mut portable) = (vec![0.0; recipe.features], vec![0.0; recipe.features]);
        for _ in 0..ROWS / 10 {
            let row = recipe.row(&mut random);
            attributor.contributions_into(&forest, &row, &mut scratch, &mut found).unwrap();
            attributor.contributions_portable_into(&forest, &row, &mut scratch, &mut portable).unwrap();
            let mut exact = vec![0.0; recipe.features];
            for tree in forest.trees() {
                attribution_walk::add(tree, &points, &row, &mut walk, &mut exact);
            }
            let margin = forest.margin(&row).unwrap();
            let scale = margin.abs().max(1.0);
            for (feature, (found, portable)) in found.iter().zip(&portable).enumerate() {
                assert_eq!(found.to_bits(), portable.to_bits(), "feature {feature}, {recipe:?}");
                let apart = (f64::from(*found) - exact[feature]).abs();
                assert!(apart <= 1e-5 * f64::from(scale), "feature {feature}: {apart} apart, {recipe:?}");
            }
            let together: f32 = found.iter().sum::<f32>() + attributor.bias();
            assert!((together - margin).abs() <= 2e-5 * scale, "{together}, not {margin}: {recipe:?}");
        }
    }
}
