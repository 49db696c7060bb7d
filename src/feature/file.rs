//! The catalogue file as it is written: YAML in, the same things with their places out. Nothing is checked here but its form.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;
use thiserror::Error;

use crate::feature::words::WordsEntry;

/// Largest catalogue file, in bytes.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What is wrong with a catalogue, and where.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct CatalogueError {
    /// The file.
    pub file: PathBuf,
    /// Line and column, from 1; `None` when it is about the whole file.
    pub place: Option<(u64, u64)>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The whole file.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFile {
    /// Of this format: 1.
    pub version: u32,
    /// Who is counted for.
    pub entities: BTreeMap<String, Spanned<EntityEntry>>,
    /// What is counted.
    #[serde(default)]
    pub windows: Vec<Spanned<WindowEntry>>,
    /// What is computed from other things.
    #[serde(default)]
    pub derived: Vec<Spanned<DerivedEntry>>,
    /// What comes from the enrichment store.
    #[serde(default)]
    pub profile: Vec<Spanned<ProfileEntry>>,
    /// What features are called in reasons; of several entries for one feature, the first holds.
    #[serde(default)]
    pub words: Vec<WordsEntry>,
}

/// One entity.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct EntityEntry {
    /// The field or fields that identify it.
    pub key: OneOrMany,
    /// Most keys held, such as `5_000_000`.
    pub max_keys: Option<Spanned<String>>,
    /// How long a key that is not seen counts as seen, such as `35d`; it is held for the longest window more, in which events may
    /// still come late.
    pub ttl: Option<Spanned<String>>,
}

/// One field name or several.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several: the key is all of them together.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// Aggregates of one entity over one stream.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct WindowEntry {
    /// For whom.
    pub entity: String,
    /// `attempts`, `approved`, `declined` or `labels`.
    pub stream: String,
    /// The field that is aggregated.
    pub of: Option<String>,
    /// For labels: `fraud`.
    #[serde(rename = "where")]
    pub only: Option<String>,
    /// Windows to count over.
    #[serde(default)]
    pub count: Vec<Spanned<String>>,
    /// Windows to sum over.
    #[serde(default)]
    pub sum: Vec<Spanned<String>>,
    /// Windows of the mean.
    #[serde(default)]
    pub mean: Vec<Spanned<String>>,
    /// Windows of the population standard deviation.
    #[serde(default)]
    pub stddev: Vec<Spanned<String>>,
    /// Windows of the smallest.
    #[serde(default)]
    pub min: Vec<Spanned<String>>,
    /// Windows of the largest.
    #[serde(default)]
    pub max: Vec<Spanned<String>>,
    /// Windows to count different values over.
    #[serde(default)]
    pub distinct: Vec<Spanned<String>>,
    /// Windows of the share of labels that say fraud.
    #[serde(default)]
    pub rate: Vec<Spanned<String>>,
}

/// A feature computed from other things: exactly one of the ways.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct DerivedEntry {
    /// Its name.
    pub name: Spanned<String>,
    /// `zscore: amount`, with `entity` and `window`.
    pub zscore: Option<String>,
    /// For `zscore`.
    pub entity: Option<String>,
    /// For `zscore` and `card_testing`.
    pub window: Option<String>,
    /// Attempts of the entity's running session, with `gap`.
    pub session_count: Option<String>,
    /// Seconds since the entity's running session began, with `gap`.
    pub session_seconds: Option<String>,
    /// The longest pause inside a session.
    pub gap: Option<String>,
    /// How many small attempts of the entity came before a large one, with `window`, `small` and `large`.
    pub card_testing: Option<String>,
    /// For `card_testing`: at most so much is small, in major units.
    pub small: Option<String>,
    /// For `card_testing`: from so much on it is large, in major units.
    pub large: Option<String>,
    /// Kilometres an hour since the entity's last located attempt.
    pub impossible_travel: Option<String>,
    /// Kilometres from the entity's last located attempt.
    pub distance_km: Option<String>,
    /// Seconds since the entity's last attempt.
    pub since_last: Option<String>,
    /// Seconds since the entity was first seen.
    pub since_first: Option<String>,
    /// An expression over the transaction and the features above it.
    pub expr: Option<Spanned<String>>,
}

impl DerivedEntry {
    /// What is wrong with options that belong to other kinds of features.
    pub fn misplaced_option(&self) -> Option<&'static str> {
        let has_session = self.session_count.is_some() || self.session_seconds.is_some();
        let rules = [
            (self.entity.is_some() && self.zscore.is_none(), "`entity` is only for zscore"),
            (
                self.window.is_some() && self.zscore.is_none() && self.card_testing.is_none(),
                "`window` is only for zscore and card_testing",
            ),
            (self.gap.is_some() && !has_session, "`gap` is only for session_count and session_seconds"),
            (
                (self.small.is_some() || self.large.is_some()) && self.card_testing.is_none(),
                "`small` and `large` are only for card_testing",
            ),
        ];
        rules.into_iter().find_map(|(is_wrong, message)| is_wrong.then_some(message))
    }
}

/// A value of an entity's stored profile.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct ProfileEntry {
    /// The feature's name.
    pub name: Spanned<String>,
    /// The entity.
    pub from: String,
    /// The field of its stored profile.
    pub field: String,
    /// `number`, `int`, `bool` or `string`.
    #[serde(rename = "type")]
    pub value_type: String,
}

/// Reads a catalogue's text.
pub fn parse(file: &Path, text: &str) -> Result<CatalogueFile, CatalogueError> {
    serde_saphyr::from_str::<CatalogueFile>(text).map_err(|error| CatalogueError {
        file: file.to_owned(),
        place: error.location().map(|location| (location.line(), location.column())),
        message: error.render_with_formatter(&serde_saphyr::DefaultMessageFormatter),
    })
}
