//! How a model's features and its score were distributed in training, and how far another sample is from that.
//!
//! A column is cut into bins: bin `i` holds the values that have exactly `i` edges at or below them, and the last bin those that
//! are missing. The measure is the population stability index (PSI): the sum over all bins of `(a - e) ln(a / e)`, of the share
//! `a` in the sample and `e` in training. It is the symmetrised Kullback-Leibler divergence; by the custom of credit scoring, below
//! 0.1 nothing has moved, above 0.25 much has. Where nothing has moved, `n` rows in `b` bins have about `(b - 1) / n` all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Most bins of a column, without the one for missing values.
pub const BINS_MAX: usize = 20;
/// Added to the count of each bin on both sides, so that an empty bin has a logarithm: half a row.
pub const SMOOTHING: f64 = 0.5;

/// One column, as `manifest.json` has it.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct Column {
    /// Where one bin ends and the next begins, ascending.
    pub edges: Vec<f32>,
    /// Rows in each bin; the last are those without a value. Two more than there are edges.
    pub counts: Vec<u64>,
}

/// The part `reference` of `manifest.json`; what else stands there is for people.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct ReferenceFile {
    /// Each feature of the model.
    pub features: BTreeMap<String, Column>,
    /// The score, as a probability.
    pub score: Column,
}

/// How the features, in the order of a row, and the score were distributed.
#[derive(Clone, PartialEq, Debug)]
pub struct Reference {
    /// The features, in the order of a row.
    pub features: Box<[Column]>,
    /// The score.
    pub score: Column,
}

impl Column {
    fn check(&self) -> Result<(), String> {
        let Self { edges, counts } = self;
        if edges.len() >= BINS_MAX {
            return Err(format!("has {} edges; at most {} can be", edges.len(), BINS_MAX - 1));
        }
        if !edges.iter().all(|edge| edge.is_finite()) || !edges.is_sorted_by(|a, b| a < b) {
            return Err("has edges that are not ascending numbers".to_owned());
        }
        if counts.len() != edges.len() + 2 {
            return Err(format!("has {} edges and {} counts, not two more", edges.len(), counts.len()));
        }
        let rows = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        if rows.is_none_or(|rows| rows == 0) { Err("has no rows, or too many".to_owned()) } else { Ok(()) }
    }

    /// The number of its bins, with the one for missing values.
    pub const fn bins(&self) -> usize {
        self.counts.len()
    }

    /// The bin of a value.
    pub fn bin(&self, value: f32) -> usize {
        if value.is_nan() { self.counts.len() - 1 } else { self.edges.partition_point(|edge| *edge <= value) }
    }

    /// How far a sample with so many rows in each bin is from training: 0 when the shares are the same.
    pub fn psi(&self, sample: &[u64]) -> f64 {
        let (expected, actual) = (Shares::of(&self.counts), Shares::of(sample));
        let pairs = self.counts.iter().zip(sample);
        pairs
            .map(|(expected_count, actual_count)| {
                let (e, a) = (expected.share(*expected_count), actual.share(*actual_count));
                (a - e) * libm::log(a / e)
            })
            .sum()
    }
}

/// Counts as smoothed shares.
struct Shares {
    total: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact beyond 2^52 rows")]
impl Shares {
    fn of(counts: &[u64]) -> Self {
        Self { total: counts.iter().map(|count| *count as f64 + SMOOTHING).sum() }
    }

    fn share(&self, count: u64) -> f64 {
        (count as f64 + SMOOTHING) / self.total
    }
}

impl Reference {
    /// Puts the columns of a manifest in the order of a model's features. The error says which column is wrong, and how.
    pub fn new(mut file: ReferenceFile, feature_names: &[Box<str>]) -> Result<Arc<Self>, String> {
        let mut features = Vec::with_capacity(feature_names.len());
        for name in feature_names {
            let column =
                file.features.remove(&**name).ok_or_else(|| format!("lacks the model's feature {name}"))?;
            column.check().map_err(|what| format!("of {name} {what}"))?;
            features.push(column);
        }
        if let Some(name) = file.features.keys().next() {
            return Err(format!("has {name}, which is no feature of the model"));
        }
        file.score.check().map_err(|what| format!("of the score {what}"))?;
        Ok(Arc::new(Self { features: features.into(), score: file.score }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(edges: &[f32], counts: &[u64]) -> Column {
        Column { edges: edges.to_vec(), counts: counts.to_vec() }
    }

    #[test]
    fn a_value_at_an_edge_belongs_to_the_bin_above() {
        let column = column(&[0.0, 1.5], &[1, 1, 1, 1]);
        let facts = [
            (f32::NEG_INFINITY, 0),
            (-1e-45, 0),
            (-0.0, 1),
            (0.0, 1),
            (1.499_999_9, 1),
            (1.5, 2),
            (f32::INFINITY, 2),
            (f32::NAN, 3),
        ];
        for (value, bin) in facts {
            assert_eq!(column.bin(value), bin, "{value}");
        }
    }

    #[test]
    fn psi_is_what_numpy_computes() {
        // e = np.array(training) + .5; a = np.array(sample) + .5; e /= e.sum(); a /= a.sum(); ((a - e) * np.log(a / e)).sum()
        let facts: [(&[u64], &[u64], f64); 4] = [
            (&[100, 200, 300, 0], &[10, 20, 30, 0], 0.01660136397818312),
            (&[100, 200, 300, 0], &[300, 200, 100, 0], 0.7277674594525793),
            (&[5_000, 3_000, 1_500, 500], &[480, 330, 140, 50], 0.00434689269061226),
            (&[5_000, 3_000, 1_500, 500], &[0, 0, 0, 1_000], 9.059760456638035),
        ];
        for (training, sample, expected) in facts {
            let edges: Vec<f32> = (0_u8..2).map(f32::from).collect();
            let psi = column(&edges, training).psi(sample);
            assert!((psi - expected).abs() <= 1e-12 * expected, "{psi} is not {expected}");
        }
        assert_eq!(column(&[0.0], &[7, 8, 9]).psi(&[7, 8, 9]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let names: [Box<str>; 2] = ["a".into(), "b".into()];
        let good = column(&[1.0], &[1, 2, 3]);
        let file = |a: &Column, b: &Column, score: &Column| ReferenceFile {
            features: BTreeMap::from([("b".to_owned(), b.clone()), ("a".to_owned(), a.clone())]),
            score: score.clone(),
        };
        let other = column(&[], &[1, 2]);
        let reference = Reference::new(file(&good, &other, &good), &names).unwrap();
        assert_eq!(reference.features[..], [good.clone(), other]);
        let long: Vec<f32> = (0_u8..20).map(f32::from).collect();
        let facts = [
            (
                file(&column(&[1.0, 1.0], &[1, 1, 1, 1]), &good, &good),
                "of a has edges that are not ascending",
            ),
            (file(&column(&[f32::NAN], &[1, 1, 1]), &good, &good), "of a has edges"),
            (file(&good, &column(&[1.0], &[1, 1]), &good), "of b has 1 edges and 2 counts"),
            (file(&good, &good, &column(&[1.0], &[0, 0, 0])), "of the score has no rows"),
            (file(&good, &good, &column(&[1.0], &[u64::MAX, 1, 0])), "of the score has no rows, or too many"),
            (file(&column(&long, &[1; 22]), &good, &good), "of a has 20 edges; at most 19"),
        ];
        for (file, expected) in facts {
            let error = Reference::new(file, &names).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let mut lacking = file(&good, &good, &good);
        let column = lacking.features.remove("a").unwrap();
        assert_eq!(Reference::new(lacking.clone(), &names).unwrap_err(), "lacks the model's feature a");
        lacking.features.insert("c".to_owned(), column.clone());
        lacking.features.insert("a".to_owned(), column);
        assert!(Reference::new(lacking, &names).unwrap_err().starts_with("has c, which"));
    }
}
