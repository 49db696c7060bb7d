//! `<hash>.json`: what an archived policy is made of.

use serde::{Deserialize, Serialize};

use crate::domain::decision::Versions;
use crate::engine::settings::MissingPolicy;
use crate::model::backend::Backend;

/// The version that is written, and the only one there has been.
pub const FORMAT: u32 = 1;
/// Longest manifest, in bytes: rule files and lists are at most 512, of 255 bytes a name.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A file of a policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// What it was called: in the directory of the rules or of the model; the catalogue as config names it.
    pub name: String,
    /// The hash of its bytes, and, without `sha256:`, its name in the archive.
    pub sha256: Box<str>,
    /// How many bytes.
    pub bytes: u64,
}

/// A model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchivedModel {
    /// `manifest.json`
    pub manifest: ArchivedFile,
    /// XGBoost's file.
    pub model: ArchivedFile,
}

/// A model that scored beside the one that decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchivedChallenger {
    /// What config called it.
    pub name: Box<str>,
    /// The model.
    #[serde(flatten)]
    pub model: ArchivedModel,
}

/// Everything that a policy is made of, and all that its hash depends on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ArchivedPolicy {
    /// Of this file.
    pub format: u32,
    /// The policy, by content hash.
    pub policy: Box<str>,
    /// The version of the program that archived it.
    pub program: String,
    /// Its parts, as answers and records name them.
    pub versions: Versions,
    /// The feature catalogue.
    pub catalogue: ArchivedFile,
    /// The rule files and the lists.
    pub rules: Vec<ArchivedFile>,
    /// The model, if there is one.
    pub model: Option<ArchivedModel>,
    /// The models beside it, in the order of config.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub challengers: Vec<ArchivedChallenger>,
    /// What missing parts mean.
    pub on_missing: MissingPolicy,
    /// Who computes the margins.
    pub backend: Backend,
}
