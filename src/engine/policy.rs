//! A policy: catalogue, model, rules and what missing parts mean, checked together, named by one hash. Immutable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::decision::{ChallengerVersion, Versions};
use crate::domain::hash::sha256_of_parts;
use crate::domain::value::ValueType;
use crate::engine::mistake::Mistake;
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::expr::schema::Schema;
use crate::feature::catalogue::Catalogue;
use crate::feature::facts::SCORE_SLOT;
use crate::model::backend::{Backend, Scorer};
use crate::model::binding::Binding;
use crate::model::manifest::Model;
use crate::rules::directory::SourceFile;
use crate::rules::problem::{Kind, Problem};
use crate::rules::set::RuleSet;

/// Most challengers beside a champion.
pub const CHALLENGERS_MAX: usize = 4;
/// What the model that decides is called beside its challengers.
pub const CHAMPION: &str = "champion";
/// Longest name of a challenger, in bytes.
const CHALLENGER_NAME_BYTES_MAX: usize = 40;

/// Where a challenger is read from, and what it is called in records and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChallengerFiles {
    /// Its name: lower-case letters, digits, `_`, `-` and `.`, at most 40; not `champion`.
    pub name: String,
    /// Its model directory.
    pub model: PathBuf,
}

/// Where a policy is read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFiles {
    /// The directory of the rules.
    pub rules: PathBuf,
    /// The directory of the model; `None` decides by rules alone.
    pub model: Option<PathBuf>,
    /// The models that score beside it without deciding; at most `CHALLENGERS_MAX`.
    pub challengers: Vec<ChallengerFiles>,
    /// The feature catalogue.
    pub features: PathBuf,
    /// Who computes the model's margins.
    pub backend: Backend,
}

impl PolicyFiles {
    /// Everything that a change of must lead to a reload.
    pub fn watched(&self) -> Vec<PathBuf> {
        let models = self.model.iter().chain(self.challengers.iter().map(|challenger| &challenger.model));
        [&self.rules].into_iter().chain(models).chain([&self.features]).cloned().collect()
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

/// A model that scores every decision after it was made, and changes nothing of it.
#[derive(Debug)]
pub struct Challenger {
    /// Its name in records and metrics.
    pub name: Box<str>,
    /// The model.
    pub bound: BoundModel,
}

/// A policy.
#[derive(Debug)]
pub struct Policy {
    /// The features.
    pub catalogue: Arc<Catalogue>,
    /// The model, if there is one.
    pub model: Option<Arc<BoundModel>>,
    /// The models that score beside it, in the order of config.
    pub challengers: Box<[Challenger]>,
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
    /// As `load`, with each mistake as data.
    pub fn check(files: &PolicyFiles, missing: MissingPolicy) -> Result<Self, Vec<Mistake>> {
        let catalogue = Catalogue::load(&files.features)
            .map_err(|errors| errors.into_iter().map(Mistake::Catalogue).collect::<Vec<_>>())?;
        let of_models = |directory: &Path, errors: Vec<String>| {
            let mistake = |message| Mistake::Model { directory: directory.to_owned(), message };
            errors.into_iter().map(mistake).collect::<Vec<_>>()
        };
        let model = files.model.as_deref().map(|directory| {
            let bound = bind(directory, files.backend, &catalogue).map(Arc::new);
            bound.map_err(|errors| of_models(directory, errors))
        });
        let challengers = load_challengers(&files.challengers, &catalogue)
            .map_err(|errors| of_models(Path::new("challengers"), errors));
        let rules = load_rules(&files.rules, &catalogue)
            .map_err(|problems| problems.into_iter().map(Mistake::Rules).collect());
        match (model.transpose(), challengers, rules) {
            (Ok(model), Ok(challengers), Ok(rules)) => {
                Ok(Self::new(Arc::new(catalogue), model, challengers, rules, missing))
            }
            (model, challengers, rules) => {
                Err([model.err(), challengers.err(), rules.err()].into_iter().flatten().flatten().collect())
            }
        }
    }

    /// Reads and checks all files. Each mistake is a text with its file and line; all are reported at once, except that rules
    /// and model are not looked at when the catalogue that they refer to is wrong.
    pub fn load(files: &PolicyFiles, missing: MissingPolicy) -> Result<Self, Vec<String>> {
        Self::check(files, missing).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
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
        Ok(Self::new(Arc::new(catalogue), None, Box::default(), rules, no_model_needed))
    }

    /// Which challengers it has, by name and content hash.
    pub fn challenger_versions(&self) -> Vec<ChallengerVersion> {
        let version = |challenger: &Challenger| ChallengerVersion {
            name: challenger.name.clone(),
            model: challenger.bound.model.sha256.clone(),
        };
        self.challengers.iter().map(version).collect()
    }

    /// Every model with its name: the champion, then the challengers.
    pub fn models(&self) -> impl Iterator<Item = (&str, &BoundModel)> {
        let champion = self.model.iter().map(|bound| (CHAMPION, &**bound));
        champion.chain(self.challengers.iter().map(|challenger| (&*challenger.name, &challenger.bound)))
    }

    /// Of each model that was trained with another catalogue than this one, what that may mean. Names and types of its features fit,
    /// but nobody can tell whether they are still computed in the same way.
    pub fn catalogue_warnings(&self) -> Vec<String> {
        let others = self.models().filter_map(|(name, bound)| {
            let trained = bound.model.features_sha256.as_deref()?;
            (trained != &*self.catalogue.sha256).then(|| {
                format!(
                    "{name}: model {} was trained with the catalogue {trained}, and this one is {}; where a feature of the same name \
                     is defined otherwise now, it sees other values than in training: train it again",
                    bound.model.name, self.catalogue.sha256
                )
            })
        });
        others.collect()
    }

    /// The same with other rules, and without challengers: what a candidate is.
    #[must_use]
    pub fn with_rules(&self, rules: RuleSet) -> Self {
        Self::new(Arc::clone(&self.catalogue), self.model.clone(), Box::default(), rules, self.missing)
    }

    /// Of parts that have been checked against each other, as `load` does it.
    pub fn new(
        catalogue: Arc<Catalogue>,
        model: Option<Arc<BoundModel>>,
        challengers: Box<[Challenger]>,
        rules: RuleSet,
        missing: MissingPolicy,
    ) -> Self {
        let versions = Versions {
            rules: rules.hash().into(),
            model: model.as_ref().map(|bound| bound.model.sha256.clone()),
            features: catalogue.sha256.clone(),
        };
        // All that a decision depends on; the risk levels are the manifest's, not the model file's.
        let chosen = format!("{missing:?} {:?}", model.as_ref().map(|bound| bound.model.thresholds));
        let backend = model.as_ref().map_or("", |bound| bound.scorer.backend().name());
        let parts =
            [&*versions.rules, versions.model.as_deref().unwrap_or(""), &versions.features, &chosen, backend];
        let beside = challengers.iter().flat_map(|it| [&*it.name, &*it.bound.model.sha256]);
        let hash = sha256_of_parts(parts.into_iter().chain(beside).map(str::as_bytes));
        let metadata_keys = rules.metadata_keys().iter().map(|(key, _)| key.clone()).collect();
        Self { catalogue, model, challengers, rules, metadata_keys, missing, versions, hash }
    }
}

fn bind(directory: &Path, backend: Backend, catalogue: &Catalogue) -> Result<BoundModel, Vec<String>> {
    let model = Model::load(directory).map_err(|error| vec![error.to_string()])?;
    bind_model(model, backend, catalogue)
}

/// Finds the places of a model's features, and makes its backend ready.
pub fn bind_model(model: Model, backend: Backend, catalogue: &Catalogue) -> Result<BoundModel, Vec<String>> {
    let features: Vec<(&str, ValueType)> =
        catalogue.features.iter().map(|feature| (&*feature.name, feature.value_type)).collect();
    let binding = Binding::new(&model, &features).map_err(|error| vec![error.to_string()])?;
    let scorer = Scorer::new(backend, &model).map_err(|error| vec![error.to_string()])?;
    Ok(BoundModel { model, binding, scorer })
}

/// Reads and checks all challengers as the champion is; every mistake is reported at once.
fn load_challengers(
    files: &[ChallengerFiles],
    catalogue: &Catalogue,
) -> Result<Box<[Challenger]>, Vec<String>> {
    let mut errors = Vec::new();
    if files.len() > CHALLENGERS_MAX {
        errors.push(format!("{} challengers are named; at most {CHALLENGERS_MAX} can be", files.len()));
    }
    let mut challengers = Vec::new();
    for (index, ChallengerFiles { name, model }) in files.iter().enumerate().take(CHALLENGERS_MAX) {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        if !(1..=CHALLENGER_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
            errors.push(format!(
                "challenger {name:?}: a name is made of a-z, 0-9, _, - and ., and at most {CHALLENGER_NAME_BYTES_MAX} long"
            ));
        } else if name == CHAMPION {
            errors.push(format!(
                "challenger `{name}`: is what the model that decides is called; choose another name"
            ));
        } else if files[..index].iter().any(|earlier| earlier.name == *name) {
            errors
                .push(format!("challenger `{name}`: two have this name; choose another one for one of them"));
        }
        match bind(model, Backend::default(), catalogue) {
            Ok(bound) => challengers.push(Challenger { name: name.as_str().into(), bound }),
            Err(reasons) => {
                errors.extend(reasons.iter().map(|reason| format!("challenger `{name}`: {reason}")));
            }
        }
    }
    if errors.is_empty() { Ok(challengers.into()) } else { Err(errors) }
}

/// Reads and checks the rules of a directory against a catalogue.
pub fn load_rules(directory: &Path, catalogue: &Catalogue) -> Result<RuleSet, Vec<Problem>> {
    RuleSet::load(directory, &rules_schema(catalogue)?)
}

/// The same for files in memory.
pub fn rules_from_files(files: &[SourceFile], catalogue: &Catalogue) -> Result<RuleSet, Vec<Problem>> {
    RuleSet::from_files(files, &rules_schema(catalogue)?)
}

/// The names that rules may read: the catalogue's and the score.
fn rules_schema(catalogue: &Catalogue) -> Result<Schema, Vec<Problem>> {
    let mut schema = catalogue.schema.clone();
    schema
        .add("score", ValueType::Double, SCORE_SLOT, true)
        .map_err(|error| vec![Problem::error("rules", error.to_string()).of(Kind::InvalidCatalogue)])?;
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    /// Name and directory of each challenger.
    type Named<'a> = &'a [(&'a str, &'a str)];

    fn load(challengers: Named<'_>) -> Result<Policy, Vec<String>> {
        load_with(DEFAULT, challengers)
    }

    fn load_with(champion: &str, challengers: Named<'_>) -> Result<Policy, Vec<String>> {
        let root = Path::new(ROOT);
        let files = PolicyFiles {
            rules: root.join("rules"),
            model: Some(root.join(champion)),
            challengers: challengers
                .iter()
                .map(|(name, model)| ChallengerFiles { name: (*name).to_owned(), model: root.join(model) })
                .collect(),
            backend: Backend::default(),
            features: root.join("models/features.yaml"),
        };
        let missing = MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Review,
            overload: OnMissing::Continue,
        };
        Policy::load(&files, missing)
    }

    const DEFAULT: &str = "models/default";

    #[test]
    fn challengers_are_part_of_the_policy_and_of_its_hash_but_not_of_its_versions() {
        let alone = load(&[]).unwrap();
        let with = load(&[("next", DEFAULT), ("last-1.0_b", DEFAULT)]).unwrap();
        let renamed = load(&[("next", DEFAULT), ("last", DEFAULT)]).unwrap();
        let names: Vec<_> = with.models().map(|(name, _)| name).collect();
        assert_eq!(names, ["champion", "next", "last-1.0_b"]);
        assert_eq!(with.versions, alone.versions);
        assert!(with.hash != alone.hash && with.hash != renamed.hash);
    }

    #[test]
    fn the_risk_levels_of_the_manifest_are_part_of_the_hash() {
        let directory = tempfile::tempdir().unwrap();
        let from = Path::new(ROOT).join(DEFAULT);
        std::fs::copy(from.join("model.json"), directory.path().join("model.json")).unwrap();
        let manifest = std::fs::read_to_string(from.join("manifest.json")).unwrap();
        let changed = manifest.replacen("0.20000000298023224", "0.25", 1);
        assert_ne!(changed, manifest);
        std::fs::write(directory.path().join("manifest.json"), changed).unwrap();
        let (before, after) =
            (load(&[]).unwrap(), load_with(directory.path().to_str().unwrap(), &[]).unwrap());
        assert_eq!(before.versions, after.versions);
        assert_ne!(before.hash, after.hash);
    }

    #[test]
    fn a_model_that_was_trained_with_another_catalogue_is_named() {
        assert_eq!(load(&[]).unwrap().catalogue_warnings(), [""; 0]);
        let directory = tempfile::tempdir().unwrap();
        let features = directory.path().join("features.yaml");
        let text = std::fs::read_to_string(Path::new(ROOT).join("models/features.yaml")).unwrap();
        std::fs::write(&features, format!("{text}# another one\n")).unwrap();
        let files = PolicyFiles {
            rules: Path::new(ROOT).join("rules"),
            model: Some(Path::new(ROOT).join(DEFAULT)),
            challengers: Vec::new(),
            backend: Backend::default(),
            features,
        };
        let missing = MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Review,
            overload: OnMissing::Continue,
        };
        let warnings = Policy::load(&files, missing).unwrap().catalogue_warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("champion: model default was trained with the catalogue sha256:"));
    }

    #[test]
    fn every_mistake_of_every_challenger_is_named() {
        let facts: [(Named<'_>, &[&str]); 6] = [
            (&[("a", DEFAULT), ("b", DEFAULT), ("a", DEFAULT)], &["challenger `a`: two have this name"]),
            (&[("champion", DEFAULT)], &["challenger `champion`: is what the model that decides is called"]),
            (
                &[("", DEFAULT), ("A b", DEFAULT)],
                &["challenger \"\": a name is made of", "challenger \"A b\": a name"],
            ),
            (&[("n\"}", DEFAULT)], &["challenger \"n\\\"}\": a name is made of"]),
            (&[("a", "models/nowhere"), ("b", "models/parity")], &["challenger `a`: ", "challenger `b`: "]),
            (
                &[("a", DEFAULT), ("b", DEFAULT), ("c", DEFAULT), ("d", DEFAULT), ("e", DEFAULT)],
                &["5 challengers are named; at most 4 can be"],
            ),
        ];
        for (challengers, expected) in facts {
            let errors = load(challengers).unwrap_err();
            assert_eq!(errors.len(), expected.len(), "{errors:?}");
            for (error, expected) in errors.iter().zip(expected) {
                assert!(error.starts_with(expected), "{error} does not begin with {expected}");
            }
        }
        let errors = load(&[("a", "models/nowhere")]).unwrap_err();
        assert!(errors[0].contains("models/nowhere/manifest.json: cannot be read"), "{errors:?}");
    }
}
