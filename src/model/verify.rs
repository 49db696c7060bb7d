//! Holds the margins that a model is served with to those of every other way to compute them, and to libxgboost's where it is
//! built in: what `tollgate model verify` prints as a parity certificate.

use std::fmt;

use serde::Serialize;

use crate::model::backend::{HAS_LIBXGBOOST, MarginError};
use crate::model::forest::{RowLengthError, Way, probability};
#[cfg(feature = "xgboost")]
use crate::model::libxgboost::{BATCH_ROWS, LibXgboost};
use crate::model::manifest::Model;

/// How far probabilities may be apart: `expf` is the C library's, and libxgboost may have been built with another one.
pub const PROBABILITY_ULPS_MAX: u32 = 1;
/// The version of the certificate's shape.
const CERTIFICATE_SCHEMA: u32 = 1;

/// What was compared with the served margins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Comparison {
    /// The way, or `libxgboost`.
    pub with: &'static str,
    /// Of libxgboost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What libxgboost was given to read: `file`, `file_with_plain_base_score`, or `trees_of_tollgate` where it cannot read the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<&'static str>,
    /// Rows whose margins are not the same bits.
    pub differing_rows: u64,
    /// How far margins are apart at most, in units in the last place.
    pub margin_ulps_max: u32,
    /// How far probabilities are apart at most.
    pub probability_ulps_max: u32,
}

/// What a comparison found: the manifest's `parity`. It holds no time, so that the same model and rows give the same
/// certificate on the same kind of processor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Certificate {
    /// Of its shape.
    pub schema: u32,
    /// The version of Tollgate.
    pub tollgate: &'static str,
    /// The hash of the model's file.
    pub model_sha256: String,
    /// How many features it has.
    pub features: usize,
    /// How many trees it has.
    pub trees: usize,
    /// How many rows were compared.
    pub rows: u64,
    /// Where they came from.
    pub rows_from: String,
    /// The way of the margins that are served on this processor.
    pub served: &'static str,
    /// What they were compared with.
    pub compared: Vec<Comparison>,
    /// Whether all margins are the same bits, and all probabilities at most one unit in the last place apart.
    pub holds: bool,
}

/// Compares row after row.
#[derive(Debug)]
pub struct Verifier<'a> {
    model: &'a Model,
    rows: u64,
    ways: Vec<(Way, Difference)>,
    #[cfg(feature = "xgboost")]
    libxgboost: Option<WithLibXgboost>,
}

#[cfg(feature = "xgboost")]
#[derive(Debug)]
struct WithLibXgboost {
    loaded: LibXgboost,
    difference: Difference,
    /// Rows that it has not been given yet, and the margins that are served for them.
    waiting: Vec<f32>,
    served: Vec<f32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Difference {
    rows: u64,
    margin_ulps_max: u32,
    probability_ulps_max: u32,
}

impl Difference {
    fn note(&mut self, served: (f32, f32), other: (f32, f32)) {
        self.rows += u64::from(served.0.to_bits() != other.0.to_bits());
        self.margin_ulps_max = self.margin_ulps_max.max(ulps(served.0, other.0));
        self.probability_ulps_max = self.probability_ulps_max.max(ulps(served.1, other.1));
    }

    fn holds(self) -> bool {
        self.rows == 0 && self.probability_ulps_max <= PROBABILITY_ULPS_MAX
    }
}

impl<'a> Verifier<'a> {
    /// Compares the ways of Tollgate's own forest with each other.
    pub fn new(model: &'a Model) -> Self {
        Self {
            model,
            rows: 0,
            ways: Way::ALL.map(|way| (way, Difference::default())).into(),
            #[cfg(feature = "xgboost")]
            libxgboost: None,
        }
    }

    /// And with libxgboost.
    #[cfg(feature = "xgboost")]
    #[must_use]
    pub fn with_libxgboost(mut self, loaded: LibXgboost) -> Self {
        let difference = Difference::default();
        self.libxgboost = Some(WithLibXgboost { loaded, difference, waiting: vec![], served: vec![] });
        self
    }

    /// Compares the margins of a row.
    pub fn add(&mut self, row: &[f32]) -> Result<(), MarginError> {
        let forest = &self.model.forest;
        let margin = forest.margin(row)?;
        let served = (margin, probability(margin));
        self.rows += 1;
        let mut error: Option<RowLengthError> = None;
        self.ways.retain_mut(|(way, difference)| match forest.margin_by(*way, row) {
            Ok(Some(other)) => {
                difference.note(served, (other, probability(other)));
                true
            }
            Ok(None) => false,
            Err(wrong) => {
                error = Some(wrong);
                true
            }
        });
        #[cfg(feature = "xgboost")]
        if let Some(with) = &mut self.libxgboost {
            with.waiting.extend_from_slice(row);
            with.served.push(margin);
            if with.served.len() == BATCH_ROWS {
                with.compare()?;
            }
        }
        error.map_or(Ok(()), |wrong| Err(wrong.into()))
    }

    /// What was found. `rows_from` says where the rows came from.
    pub fn finish(self, rows_from: String) -> Result<Certificate, MarginError> {
        let served = self.model.forest.way();
        let mut holds = self.rows > 0;
        let mut compared = Vec::new();
        let mut conclude = |with, version, reading, difference: Difference| {
            let Difference { rows: differing_rows, margin_ulps_max, probability_ulps_max } = difference;
            holds &= difference.holds();
            compared.push(Comparison {
                with,
                version,
                reading,
                differing_rows,
                margin_ulps_max,
                probability_ulps_max,
            });
        };
        #[cfg(feature = "xgboost")]
        if let Some(mut with) = self.libxgboost {
            with.compare()?;
            let (version, reading) = (with.loaded.version().to_owned(), with.loaded.reading().name());
            conclude("libxgboost", Some(version), Some(reading), with.difference);
        }
        for (way, difference) in self.ways.into_iter().filter(|(way, _)| *way != served) {
            conclude(way.name(), None, None, difference);
        }
        Ok(Certificate {
            schema: CERTIFICATE_SCHEMA,
            tollgate: env!("CARGO_PKG_VERSION"),
            model_sha256: self.model.sha256.to_string(),
            features: self.model.forest.features(),
            trees: self.model.forest.trees().count(),
            rows: self.rows,
            rows_from,
            served: served.name(),
            compared,
            holds,
        })
    }
}

#[cfg(feature = "xgboost")]
impl WithLibXgboost {
    /// Gives libxgboost the rows that wait.
    fn compare(&mut self) -> Result<(), MarginError> {
        if self.served.is_empty() {
            return Ok(());
        }
        let margins = self.loaded.margins(&self.waiting)?;
        let probabilities = self.loaded.probabilities(&self.waiting)?;
        if margins.len() != self.served.len() || probabilities.len() != self.served.len() {
            return Err(MarginError::LibXgboost(format!(
                "gave {} margins and {} probabilities of {} rows",
                margins.len(),
                probabilities.len(),
                self.served.len()
            )));
        }
        for ((served, margin), other) in self.served.iter().zip(margins).zip(probabilities) {
            self.difference.note((*served, probability(*served)), (margin, other));
        }
        self.waiting.clear();
        self.served.clear();
        Ok(())
    }
}

impl Certificate {
    /// Whether libxgboost was asked.
    pub fn is_against_libxgboost(&self) -> bool {
        self.compared.iter().any(|comparison| comparison.version.is_some())
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = if self.holds { "hold" } else { "DO NOT HOLD" };
        writeln!(f, "The margins {holds}: {} rows, {}", self.rows, self.rows_from)?;
        writeln!(f, "  model {}, {} trees, {} features", self.model_sha256, self.trees, self.features)?;
        writeln!(f, "  served by {} of tollgate {}, and compared with", self.served, self.tollgate)?;
        writeln!(f, "  {:<46} {:>10} {:>12} {:>17}", "", "other rows", "margin ulps", "probability ulps")?;
        for Comparison { with, version, reading, differing_rows, margin_ulps_max, probability_ulps_max } in
            &self.compared
        {
            let name = match (version, reading) {
                (Some(version), Some(reading)) => format!("{with} {version} ({reading})"),
                _ => (*with).to_owned(),
            };
            writeln!(
                f,
                "  {name:<46} {differing_rows:>10} {margin_ulps_max:>12} {probability_ulps_max:>17}"
            )?;
        }
        if !self.is_against_libxgboost() {
            let why = if HAS_LIBXGBOOST {
                "whose version here would score such a model another way."
            } else {
                "which this build lacks: `cargo build --release --features xgboost`."
            };
            writeln!(
                f,
                "Only Tollgate's own ways were compared with each other. Not with libxgboost, {why}"
            )?;
        }
        Ok(())
    }
}

/// How many f32 two numbers are apart; -0.0 and 0.0 are one number here. NaN is as far as can be from everything else.
fn ulps(a: f32, b: f32) -> u32 {
    let place = |x: f32| {
        let magnitude = i64::from(x.to_bits() & 0x7FFF_FFFF);
        if x.is_sign_negative() { -magnitude } else { magnitude }
    };
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0,
        (false, false) => u32::try_from(place(a).abs_diff(place(b))).unwrap_or(u32::MAX),
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::drawn_rows::DrawnRows;

    #[test]
    fn ulps_are_counted_across_zero() {
        let tiny = f32::from_bits(1);
        let facts = [
            (1.0, 1.0, 0),
            (1.0, 1.000_000_1, 1),
            (0.0, -0.0, 0),
            (tiny, -tiny, 2),
            (f32::NAN, f32::NAN, 0),
            (f32::NAN, 1.0, u32::MAX),
            (f32::MAX, f32::INFINITY, 1),
        ];
        for (a, b, expected) in facts {
            assert_eq!((ulps(a, b), ulps(b, a)), (expected, expected), "{a} and {b}");
        }
    }

    #[test]
    fn one_other_bit_is_enough_for_a_certificate_not_to_hold() {
        let mut difference = Difference::default();
        difference.note((0.5, 0.5), (0.5, f32::from_bits(0.5_f32.to_bits() + 1)));
        assert!(difference.holds());
        difference.note((0.0, 0.5), (-0.0, 0.5));
        assert_eq!(difference, Difference { rows: 1, margin_ulps_max: 0, probability_ulps_max: 1 });
        assert!(!difference.holds());
        let mut difference = Difference::default();
        difference.note((0.5, 0.5), (0.5, f32::from_bits(0.5_f32.to_bits() + 2)));
        assert!(!difference.holds());
    }

    #[test]
    fn every_way_that_fits_the_model_is_compared() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity");
        for (name, with_ranks) in [("depth6_complete.json", true), ("categories_sets.json", false)] {
            let model = Model::load_file(&directory.join(name)).unwrap();
            let mut verifier = Verifier::new(&model);
            let mut rows = DrawnRows::new(&model.forest, 1);
            let mut row = vec![0.0; model.forest.features()];
            for _ in 0..2_000 {
                rows.fill(&mut row);
                verifier.add(&row).unwrap();
            }
            assert!(verifier.add(&row[1..]).is_err());
            let certificate = verifier.finish("drawn".to_owned()).unwrap();
            assert!(certificate.holds && certificate.rows == 2_000, "{certificate}");
            let compared: Vec<&str> = certificate.compared.iter().map(|one| one.with).collect();
            assert!(compared.contains(&"walk") && !compared.contains(&certificate.served), "{compared:?}");
            assert_eq!(compared.contains(&"rank_mask"), with_ranks, "{name}");
            assert!(certificate.to_string().contains("Not with libxgboost"));
        }
        let model = Model::load_file(&directory.join("depth1.json")).unwrap();
        assert!(!Verifier::new(&model).finish("nothing".to_owned()).unwrap().holds);
    }
}
