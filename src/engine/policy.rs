//! A policy: catalogue, model, rules and what missing parts mean, checked together, named by one hash. Immutable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::decision::Versions;
use crate::domain::hash::sha256_of_parts;
use crate::domain::value::ValueType;
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::feature::catalogue::Catalogue;
use crate::feature::facts::SCORE_SLOT;
use crate::model::backend::{Backend, Scorer};
use crate::model::binding::Binding;
use crate::model::manifest::Model;
use crate::rules::directory::SourceFile;
use crate::rules::set::RuleSet;

/// Where a policy is read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFiles {
    /// The directory of the rules.
    pub rules: PathBuf,
    /// The directory of the model; `None` decides by rules alone.
    pub model: Option<PathBuf>,
    /// The feature catalogue.
    pub features: PathBuf,
    /// Who computes the model's margins.
    pub backend: Backend,
}

impl PolicyFiles {
    /// Everything that a change of must lead to a reload.
    pub fn watched(&self) -> Vec<PathBuf> {
        let model = self.model.as_deref().map(Path::to_owned);
        [Some(self.rules.clone()), model, Some(self.features.clone())].into_iter().flatten().collect()
    }
}

/// A model, and where its features stand in the vector.
#[derive(Debug)]
pub struct BoundModel {
    /// The model.
    pub model: Model,
    /// The slot of each of its features.
    pub binding: Binding,
    /// What computes its margins.
    pub scorer: Scorer,
}

/// A policy.
#[derive(Debug)]
pub struct Policy {
    /// The features.
    pub catalogue: Arc<Catalogue>,
    /// The model, if there is one.
    pub model: Option<BoundModel>,
    /// The rules.
    pub rules: RuleSet,
    /// The metadata keys that expressions read, in the order of their slots.
    pub metadata_keys: Box<[Box<str>]>,
    /// What missing parts mean.
    pub missing: MissingPolicy,
    /// What it is made of.
    pub versions: Versions,
    /// `sha256:` and the hash of all of it.
    pub hash: Box<str>,
}

impl Policy {
    /// Reads and checks all files. Each mistake is a text with its file and line; all are reported at once, except that rules
    /// and model are not looked at when the catalogue that they refer to is wrong.
    pub fn load(files: &PolicyFiles, missing: MissingPolicy) -> Result<Self, Vec<String>> {
        let catalogue = Catalogue::load(&files.features)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let model =
            files.model.as_deref().map(|directory| bind(directory, files.backend, &catalogue)).transpose();
        let rules = load_rules(&files.rules, &catalogue);
        match (model, rules) {
            (Ok(model), Ok(rules)) => Ok(Self::new(Arc::new(catalogue), model, rules, missing)),
            (model, rules) => Err([model.err(), rules.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// A catalogue alone: no model, and rules that approve everything. For training sets of a catalogue that nothing else fits.
    pub fn features_only(features: &Path, missing: MissingPolicy) -> Result<Self, Vec<String>> {
        let catalogue = Catalogue::load(features)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let default = SourceFile {
            name: "default.yaml".to_owned(),
            text: "default: {then: APPROVE, reason: no_rule_matched}\n".to_owned(),
        };
        let rules = RuleSet::from_files(&[default], &catalogue.schema)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let no_model_needed = MissingPolicy { model: OnMissing::Continue, ..missing };
        Ok(Self::new(Arc::new(catalogue), None, rules, no_model_needed))
    }

    fn new(
        catalogue: Arc<Catalogue>,
        model: Option<BoundModel>,
        rules: RuleSet,
        missing: MissingPolicy,
    ) -> Self {
        let versions = Versions {
            rules: rules.hash().into(),
            model: model.as_ref().map(|bound| bound.model.sha256.clone()),
            features: catalogue.sha256.clone(),
        };
        let missing_text = format!("{missing:?}");
        let parts =
            [&*versions.rules, versions.model.as_deref().unwrap_or(""), &versions.features, &missing_text];
        let other_backend = model
            .as_ref()
            .map(|bound| bound.scorer.backend())
            .filter(|backend| *backend != Backend::default());
        let parts = parts.into_iter().chain(other_backend.map(Backend::name));
        let hash = sha256_of_parts(parts.map(str::as_bytes));
        let metadata_keys = rules.metadata_keys().iter().map(|(key, _)| key.clone()).collect();
        Self { catalogue, model, rules, metadata_keys, missing, versions, hash }
    }
}

fn bind(directory: &Path, backend: Backend, catalogue: &Catalogue) -> Result<BoundModel, Vec<String>> {
    let model = Model::load(directory).map_err(|error| vec![error.to_string()])?;
    let features: Vec<(&str, ValueType)> =
        catalogue.features.iter().map(|feature| (&*feature.name, feature.value_type)).collect();
    let binding = Binding::new(&model, &features).map_err(|error| vec![error.to_string()])?;
    let scorer = Scorer::new(backend, &model).map_err(|error| vec![error.to_string()])?;
    Ok(BoundModel { model, binding, scorer })
}

fn load_rules(directory: &Path, catalogue: &Catalogue) -> Result<RuleSet, Vec<String>> {
    let mut schema = catalogue.schema.clone();
    schema.add("score", ValueType::Double, SCORE_SLOT, true).map_err(|error| vec![error.to_string()])?;
    RuleSet::load(directory, &schema).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}
