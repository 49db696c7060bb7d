//! Where a model's features stand in a catalogue: by name, and with types that fit.

use std::path::PathBuf;

use thiserror::Error;

use crate::domain::value::ValueType;
use crate::model::manifest::Model;
use crate::model::xgboost_file::FeatureType;

/// How many differences an error spells out.
const DIFFERENCES_SHOWN_MAX: usize = 40;

/// A model asks for features that the catalogue does not have, or has as something else.
#[derive(Debug, Error)]
#[error(
    "{file}: the model asks for {} features that the catalogue lacks or has as another type: {}",
    .differences.len(), shown(.differences)
)]
pub struct BindingError {
    /// The model's file.
    pub file: PathBuf,
    /// One text for each such feature, in the model's order.
    pub differences: Vec<String>,
}

fn shown(differences: &[String]) -> String {
    let mut text = differences[..differences.len().min(DIFFERENCES_SHOWN_MAX)].join("; ");
    if let Some(more @ 1..) = differences.len().checked_sub(DIFFERENCES_SHOWN_MAX) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// Where a model's features stand in the feature vector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding(Box<[u16]>);

impl Binding {
    /// Finds each feature of a model among those of a catalogue, which are given by slot.
    pub fn new(model: &Model, catalogue: &[(&str, ValueType)]) -> Result<Self, BindingError> {
        let mut slots = Vec::with_capacity(model.feature_names.len());
        let mut differences = Vec::new();
        for (name, feature_type) in model.feature_names.iter().zip(&model.feature_types) {
            let slot = catalogue.iter().position(|(known, _)| *known == &**name);
            match slot.map(|slot| (u16::try_from(slot), catalogue[slot].1)) {
                Some((Ok(slot), value_type)) if fits(*feature_type, value_type) => slots.push(slot),
                Some((_, value_type)) => {
                    differences.push(format!("{name} is {value_type}, not {}", wanted(*feature_type)));
                }
                // Of those that are not shown it need not be known.
                None if differences.len() >= DIFFERENCES_SHOWN_MAX => {
                    differences.push(format!("{name} is lacking"));
                }
                None => differences.push(match nearest(name, catalogue) {
                    Some(near) => format!("{name} is lacking (is {near} meant?)"),
                    None => format!("{name} is lacking"),
                }),
            }
        }
        if differences.is_empty() {
            Ok(Self(slots.into()))
        } else {
            Err(BindingError { file: model.file.clone(), differences })
        }
    }

    /// The slot of each feature of the model.
    pub fn slots(&self) -> &[u16] {
        &self.0
    }

    /// The same row in a vector of its own, for those who are not in a hurry.
    pub fn row(&self, numbers: &[f64]) -> Vec<f32> {
        let mut row = Vec::with_capacity(self.0.len());
        self.row_into(numbers, &mut row);
        row
    }

    /// Fills in the model's row of a feature vector: f32, as training rounds them.
    #[expect(clippy::cast_possible_truncation, reason = "XGBoost rounds features to f32 in training, too")]
    pub fn row_into(&self, numbers: &[f64], row: &mut Vec<f32>) {
        row.clear();
        row.extend(self.0.iter().map(|slot| numbers[usize::from(*slot)] as f32));
    }
}

/// Whether a catalogue's values are what the model was trained on. A bool is 0 or 1.
const fn fits(feature_type: FeatureType, value_type: ValueType) -> bool {
    match feature_type {
        FeatureType::Number => !matches!(value_type, ValueType::Text),
        FeatureType::Int | FeatureType::Category => matches!(value_type, ValueType::Int | ValueType::Bool),
        FeatureType::Indicator => matches!(value_type, ValueType::Bool),
    }
}

const fn wanted(feature_type: FeatureType) -> &'static str {
    match feature_type {
        FeatureType::Number => "a number (float)",
        FeatureType::Int => "a whole number (int)",
        FeatureType::Indicator => "a bool (i)",
        FeatureType::Category => "a whole number that is the code of a category (c)",
    }
}

/// The catalogue's name nearest to one that it lacks, if one is near: at most a quarter of its letters differ.
fn nearest<'a>(name: &str, catalogue: &[(&'a str, ValueType)]) -> Option<&'a str> {
    let distances = catalogue.iter().map(|(known, _)| (edit_distance(name, known), *known));
    let (distance, near) = distances.min()?;
    (distance <= name.len() / 4).then_some(near)
}

/// How many bytes to add, take away or change to make `a` of `b` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, of_a) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, of_b) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(of_a != of_b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn model() -> Model {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/parity/named.json");
        Model::load_file(&file).unwrap()
    }

    #[test]
    fn features_are_found_by_name_and_lacking_ones_are_listed() {
        let model = model();
        let names: Vec<String> = (0..9).rev().map(|index| format!("card.feature_{index}")).collect();
        let mut catalogue: Vec<_> = names.iter().map(|name| (name.as_str(), ValueType::Double)).collect();
        let binding = Binding::new(&model, &catalogue).unwrap();
        assert_eq!(binding.slots(), [8, 7, 6, 5, 4, 3, 2, 1]);
        let numbers: Vec<f64> = (0..9).map(f64::from).collect();
        let mut row = vec![0.5];
        binding.row_into(&numbers, &mut row);
        assert_eq!(row, [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        catalogue[8].0 = "card.featur_0";
        catalogue[7].1 = ValueType::Text;
        let error = Binding::new(&model, &catalogue).unwrap_err().to_string();
        assert!(error.contains("named.json: the model asks for 2 features"), "{error}");
        assert!(error.contains("card.feature_0 is lacking (is card.featur_0 meant?)"), "{error}");
        assert!(error.ends_with("card.feature_1 is string, not a number (float)"), "{error}");
        let error = Binding::new(&model, &[]).unwrap_err().to_string();
        assert!(error.ends_with("card.feature_6 is lacking; card.feature_7 is lacking"), "{error}");
    }

    #[test]
    fn every_type_of_the_model_says_which_types_of_the_catalogue_fit() {
        use FeatureType::{Category, Indicator, Int, Number};
        let facts = [
            (Number, [true, true, true, false]),
            (Int, [true, true, false, false]),
            (Indicator, [true, false, false, false]),
            (Category, [true, true, false, false]),
        ];
        let value_types = [ValueType::Bool, ValueType::Int, ValueType::Double, ValueType::Text];
        let mut model = model();
        for (feature_type, expected) in facts {
            model.feature_types.fill(feature_type);
            for (value_type, expected) in value_types.into_iter().zip(expected) {
                let names: Vec<String> = (0..8).map(|index| format!("card.feature_{index}")).collect();
                let catalogue: Vec<_> = names.iter().map(|name| (name.as_str(), value_type)).collect();
                let bound = Binding::new(&model, &catalogue);
                assert_eq!(bound.is_ok(), expected, "{feature_type:?} from {value_type}");
            }
        }
    }

    #[test]
    fn a_long_list_of_differences_is_cut() {
        let differences: Vec<String> = (0..45).map(|number| number.to_string()).collect();
        assert!(shown(&differences).ends_with("; 39; and 5 more"));
        assert!(shown(&differences[..40]).ends_with("; 39"));
    }
}
