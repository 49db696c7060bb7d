//! A catalogue file compiled: every feature has a slot, every window a place in the store, every expression a program.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use crate::domain::field::Field;
use crate::domain::hash::sha256;
use crate::domain::value::{ValueType, parse_duration};
use crate::expr::program::Program;
use crate::expr::schema::Schema;
use crate::expr::suggest::nearest;
use crate::feature::facts::{feature_slot, transaction_schema};
use crate::feature::file::{
    CatalogueError, CatalogueFile, EntityEntry, FILE_BYTES_MAX, ProfileEntry, WindowEntry, parse,
};
use crate::feature::naming::window_feature;
use crate::feature::words::{WORDS_BYTES_MAX, WORDS_MAX, WordsEntry};
use crate::window::layout::{AttributeLayout, EntityLayout, Layout, Stream, Streams};
use crate::window::plan::{Measure, Plan, SinceRead, WindowRead};

/// Most features of a catalogue.
pub const FEATURES_MAX: usize = 4_096;
/// How many keys an entity holds when its entry does not say.
pub const KEYS_MAX_DEFAULT: usize = 1_000_000;
/// The field of an address's profile that local files may fill.
const IP_COUNTRY_FIELD: &str = "country";
/// How long a key counts as seen when its entry does not say.
const TTL_DEFAULT: Duration = Duration::from_secs(35 * 86_400);

/// One feature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub value_type: ValueType,
    /// What it is called in reasons.
    pub words: Option<Box<str>>,
}

/// Who is counted for, and what identifies them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entity {
    /// Its name.
    pub name: Box<str>,
    /// The fields that make its key; a transaction that lacks one has no such entity.
    pub key: Box<[Field]>,
    /// The fields whose different values are counted for it, in the order of the store's attributes.
    pub attributes: Box<[Field]>,
}

/// A value that the enrichment store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileFeature {
    /// The slot of the feature.
    pub slot: usize,
    /// The entity whose profile holds it.
    pub entity: Box<str>,
    /// The transaction's field that identifies the profile.
    pub key: Field,
    /// The field of the profile.
    pub field: Box<str>,
    /// Its type.
    pub value_type: ValueType,
    /// Whether it is the country of the address, which local files may know where the profile does not.
    pub is_ip_country: bool,
}

/// A feature computed from others.
#[derive(Debug)]
pub struct DerivedFeature {
    /// Its slot.
    pub slot: usize,
    /// What it computes.
    pub program: Program,
}

/// A compiled catalogue. Immutable.
#[derive(Debug)]
pub struct Catalogue {
    /// `sha256:` and the hash of the file's bytes.
    pub sha256: Box<str>,
    /// The file's text, as it was read: what an archive keeps.
    pub text: Box<str>,
    /// Every feature, by slot.
    pub features: Box<[Feature]>,
    /// The type of every feature, by slot.
    pub types: Box<[ValueType]>,
    /// Every entity, in the order of the store.
    pub entities: Box<[Entity]>,
    /// What the window store has to remember.
    pub layout: Arc<Layout>,
    /// What is read from it for a transaction.
    pub plan: Plan,
    /// What comes from the enrichment store.
    pub profile: Box<[ProfileFeature]>,
    /// What is computed, in order.
    pub derived: Box<[DerivedFeature]>,
    /// The names that rules may use of it: the transaction's fields and every feature.
    pub schema: Schema,
    /// The metadata keys that derived features read, in the order of their slots.
    pub metadata_keys: Box<[Box<str>]>,
    by_name: HashMap<Box<str>, usize>,
}

impl Catalogue {
    /// Reads and compiles a file; every mistake in it is reported at once.
    pub fn load(file: &Path) -> Result<Self, Vec<CatalogueError>> {
        let unreadable =
            |message: String| vec![CatalogueError { file: file.to_owned(), place: None, message }];
        let bytes = std::fs::metadata(file)
            .map_err(|error| {
                unreadable(format!("cannot be read: {error}. Name another with --model or in the config"))
            })?
            .len();
        if bytes > FILE_BYTES_MAX {
            return Err(unreadable(format!(
                "is {bytes} bytes long; a catalogue has at most {FILE_BYTES_MAX}"
            )));
        }
        let text =
            std::fs::read_to_string(file).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        Self::compile(file, &text)
    }

    /// Compiles a text; `file` is named in errors.
    pub fn compile(file: &Path, text: &str) -> Result<Self, Vec<CatalogueError>> {
        let written = parse(file, text).map_err(|error| vec![error])?;
        let mut compiler = Compiler::new(file).map_err(|error| vec![error])?;
        compiler.add_file(&written);
        compiler.finish(text)
    }

    /// The slot of a feature.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// A catalogue being compiled.
pub(super) struct Compiler {
    file: PathBuf,
    errors: Vec<CatalogueError>,
    pub(super) schema: Schema,
    features: Vec<Feature>,
    by_name: HashMap<Box<str>, usize>,
    pub(super) entities: Vec<EntityDraft>,
    window_reads: Vec<WindowRead>,
    pub(super) since_reads: Vec<SinceRead>,
    profile: Vec<ProfileFeature>,
    pub(super) derived: Vec<DerivedFeature>,
}

pub(super) struct EntityDraft {
    name: Box<str>,
    key: Vec<Field>,
    keys_max: usize,
    ttl: Duration,
    pub(super) longest_window: Duration,
    /// The fields whose different values are counted, each with the longest window.
    attributes: Vec<(Field, Duration)>,
    pub(super) streams: Streams,
}

impl Compiler {
    fn new(file: &Path) -> Result<Self, CatalogueError> {
        let schema = transaction_schema().map_err(|error| CatalogueError {
            file: file.to_owned(),
            place: None,
            message: error.to_string(),
        })?;
        Ok(Self {
            file: file.to_owned(),
            errors: Vec::new(),
            schema,
            features: Vec::new(),
            by_name: HashMap::new(),
            entities: Vec::new(),
            window_reads: Vec::new(),
            since_reads: Vec::new(),
            profile: Vec::new(),
            derived: Vec::new(),
        })
    }

    pub(super) fn reject(&mut self, at: Location, message: impl Into<String>) {
        self.errors.push(CatalogueError {
            file: self.file.clone(),
            place: Some((at.line(), at.column())),
            message: message.into(),
        });
    }

    fn add_file(&mut self, written: &CatalogueFile) {
        if written.version != 1 {
            self.errors.push(CatalogueError {
                file: self.file.clone(),
                place: None,
                message: format!("is of version {}; this program reads version 1", written.version),
            });
        }
        for (name, entry) in &written.entities {
            self.add_entity(name, entry);
        }
        for entry in &written.windows {
            self.add_windows(entry);
        }
        for entry in &written.profile {
            self.add_profile(entry);
        }
        for entry in &written.derived {
            self.add_derived(entry);
        }
        self.add_words(&written.words);
    }

    fn add_words(&mut self, entries: &[WordsEntry]) {
        for (number, entry) in entries.iter().enumerate() {
            let (at, pattern) = (entry.features.referenced, &entry.features.value);
            if number >= WORDS_MAX || entry.say.len() > WORDS_BYTES_MAX {
                self.reject(
                    at,
                    format!("`words` has at most {WORDS_MAX} entries of at most {WORDS_BYTES_MAX} bytes"),
                );
                return;
            }
            let mut is_used = false;
            for feature in &mut self.features {
                let Some(words) = entry.for_feature(&feature.name) else { continue };
                is_used = true;
                feature.words.get_or_insert_with(|| words.into());
            }
            if !is_used {
                self.reject(at, format!("no feature is called like `{pattern}`"));
            }
        }
    }

    fn add_entity(&mut self, name: &str, entry: &Spanned<EntityEntry>) {
        let at = entry.referenced;
        let mut key = Vec::new();
        for field in entry.value.key.names() {
            match Field::parse(field) {
                Some((field, ValueType::Text)) => key.push(field),
                Some(_) => self.reject(at, format!("`{field}` is no text, so it cannot identify {name}")),
                None => self.reject_field(at, field),
            }
        }
        let keys_max = entry.value.max_keys.as_ref().map_or(KEYS_MAX_DEFAULT, |keys_max| {
            let parsed = keys_max.value.replace('_', "").parse::<usize>().ok().filter(|count| *count > 0);
            parsed.unwrap_or_else(|| {
                self.reject(keys_max.referenced, "max_keys must be a whole number above 0");
                KEYS_MAX_DEFAULT
            })
        });
        let ttl = entry.value.ttl.as_ref().map_or(TTL_DEFAULT, |ttl| self.duration(ttl));
        self.entities.push(EntityDraft {
            name: name.into(),
            key,
            keys_max,
            ttl,
            longest_window: Duration::ZERO,
            attributes: Vec::new(),
            streams: Streams::ATTEMPTS,
        });
    }

    fn reject_field(&mut self, at: Location, name: &str) {
        let names = crate::domain::field::FIELDS.iter().map(|(_, name, _)| *name);
        let hint = nearest(name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        self.reject(at, format!("a transaction has no field `{name}`{hint}"));
    }

    fn duration(&mut self, text: &Spanned<String>) -> Duration {
        parse_duration(&text.value).unwrap_or_else(|error| {
            self.reject(text.referenced, error.to_string());
            TTL_DEFAULT
        })
    }

    pub(super) fn entity(&mut self, at: Location, name: &str) -> Option<usize> {
        let found = self.entities.iter().position(|entity| &*entity.name == name);
        if found.is_none() {
            let hint = nearest(name, self.entities.iter().map(|entity| &*entity.name))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.reject(at, format!("there is no entity `{name}` under `entities`{hint}"));
        }
        found
    }

    /// An entity's number in the store.
    pub(super) fn position(&mut self, at: Location, entity: usize) -> Option<u8> {
        let position = u8::try_from(entity).ok();
        if position.is_none() {
            self.reject(at, "there are too many entities");
        }
        position
    }

    /// Gives a feature its slot.
    pub(super) fn add_feature(&mut self, at: Location, name: &str, value_type: ValueType) -> Option<usize> {
        let slot = self.features.len();
        if slot >= FEATURES_MAX {
            self.reject(
                at,
                format!("is feature number {}; a catalogue has at most {FEATURES_MAX}", slot + 1),
            );
            return None;
        }
        if let Err(error) = self.schema.add(name, value_type, feature_slot(slot), true) {
            self.reject(at, error.to_string());
            return None;
        }
        self.features.push(Feature { name: name.into(), value_type, words: None });
        self.by_name.insert(name.into(), slot);
        Some(slot)
    }

    fn add_windows(&mut self, entry: &Spanned<WindowEntry>) {
        let at = entry.referenced;
        let written = &entry.value;
        let Some(entity) = self.entity(at, &written.entity) else { return };
        let stream = match written.stream.as_str() {
            "attempts" => Stream::Attempts,
            "approved" => Stream::Approved,
            "declined" => Stream::Declined,
            "labels" => Stream::Labels,
            other => {
                return self.reject(
                    at,
                    format!("there is no stream `{other}`: attempts, approved, declined or labels"),
                );
            }
        };
        let fraud_only = match written.only.as_deref() {
            None => false,
            Some("fraud") if stream == Stream::Labels => true,
            Some(_) => {
                return self.reject(at, "`where` is only for `stream: labels`, and can only be `fraud`");
            }
        };
        let of = match written.of.as_deref().map(|name| (name, Field::parse(name))) {
            None => None,
            Some((_, Some((field, _)))) => Some(field),
            Some((name, None)) => return self.reject_field(at, name),
        };
        let groups: [(&str, &[Spanned<String>]); 8] = [
            ("count", &written.count),
            ("sum", &written.sum),
            ("mean", &written.mean),
            ("stddev", &written.stddev),
            ("min", &written.min),
            ("max", &written.max),
            ("distinct", &written.distinct),
            ("rate", &written.rate),
        ];
        if groups.iter().all(|(_, windows)| windows.is_empty()) {
            self.reject(at, "names no window: write for instance `count: [1h, 24h]`");
        }
        for (aggregate, windows) in groups {
            for window in windows {
                let named_field = if aggregate == "count" { None } else { of };
                let Some(measure) =
                    self.measure(window.referenced, entity, stream, fraud_only, of, aggregate)
                else {
                    break;
                };
                let length = self.duration(window);
                let name = window_feature(
                    &written.entity,
                    stream,
                    fraud_only,
                    named_field,
                    aggregate,
                    &window.value,
                );
                self.add_read(window.referenced, &name, entity, stream, measure, length);
            }
        }
    }

    pub(super) fn add_read(
        &mut self,
        at: Location,
        name: &str,
        entity: usize,
        stream: Stream,
        measure: Measure,
        window: Duration,
    ) {
        let value_type = match measure {
            Measure::Count | Measure::Distinct { .. } | Measure::FraudCount => ValueType::Int,
            _ => ValueType::Double,
        };
        let position = self.position(at, entity);
        if let (Some(position), Some(output)) = (position, self.add_feature(at, name, value_type)) {
            let draft = &mut self.entities[entity];
            draft.longest_window = draft.longest_window.max(window);
            draft.streams.ask_for(stream, measure.is_over_amounts());
            if let Measure::Distinct { attribute } = measure {
                let (_, longest) = &mut draft.attributes[usize::from(attribute)];
                *longest = window.max(*longest);
            }
            self.window_reads.push(WindowRead { entity: position, stream, measure, window, output });
        }
    }

    fn measure(
        &mut self,
        at: Location,
        entity: usize,
        stream: Stream,
        fraud_only: bool,
        of: Option<Field>,
        aggregate: &str,
    ) -> Option<Measure> {
        let of_amount = of == Some(Field::Amount) && stream != Stream::Labels;
        let measure = match aggregate {
            "count" if fraud_only => Measure::FraudCount,
            "count" => Measure::Count,
            "rate" if fraud_only => Measure::FraudRate,
            "rate" => {
                self.reject(
                    at,
                    "`rate` is the share of labels that say fraud: write `stream: labels, where: fraud`",
                );
                return None;
            }
            "distinct" => return self.distinct(at, entity, stream, of),
            _ if !of_amount => {
                self.reject(
                    at,
                    format!("`{aggregate}` needs `of: amount` and one of attempts, approved or declined"),
                );
                return None;
            }
            "sum" => Measure::Sum,
            "mean" => Measure::Mean,
            "stddev" => Measure::Stddev,
            "min" => Measure::Min,
            _ => Measure::Max,
        };
        Some(measure)
    }

    fn distinct(
        &mut self,
        at: Location,
        entity: usize,
        stream: Stream,
        of: Option<Field>,
    ) -> Option<Measure> {
        let Some(field) = of.filter(|_| stream == Stream::Attempts) else {
            self.reject(at, "`distinct` needs `of:` and a field, over `stream: attempts`");
            return None;
        };
        let attributes = &mut self.entities[entity].attributes;
        let position = attributes.iter().position(|(known, _)| *known == field).unwrap_or_else(|| {
            attributes.push((field, Duration::ZERO));
            attributes.len() - 1
        });
        match u8::try_from(position) {
            Ok(attribute) => Some(Measure::Distinct { attribute }),
            Err(_) => {
                self.reject(at, "an entity has at most 256 fields whose different values are counted");
                None
            }
        }
    }

    fn add_profile(&mut self, entry: &Spanned<ProfileEntry>) {
        let written = &entry.value;
        let value_type = match written.value_type.as_str() {
            "number" | "double" => ValueType::Double,
            "int" => ValueType::Int,
            "bool" => ValueType::Bool,
            "string" => ValueType::Text,
            other => {
                let message = format!("there is no type `{other}`: number, int, bool or string");
                return self.reject(entry.referenced, message);
            }
        };
        let Some(entity) = self.entity(entry.referenced, &written.from) else { return };
        let draft = &self.entities[entity];
        let (&[key], from) = (draft.key.as_slice(), draft.name.clone()) else {
            return self.reject(
                entry.referenced,
                format!("`{}` is a pair, and pairs have no profile", written.from),
            );
        };
        if let Some(slot) = self.add_feature(written.name.referenced, &written.name.value, value_type) {
            let field = written.field.as_str().into();
            let is_ip_country =
                key == Field::DeviceIp && value_type == ValueType::Text && written.field == IP_COUNTRY_FIELD;
            self.profile.push(ProfileFeature { slot, entity: from, key, field, value_type, is_ip_country });
        }
    }

    fn finish(mut self, text: &str) -> Result<Catalogue, Vec<CatalogueError>> {
        let layout = Arc::new(Layout {
            entities: self
                .entities
                .iter()
                .map(|draft| EntityLayout {
                    name: draft.name.clone(),
                    keys_max: draft.keys_max,
                    ttl: draft.ttl,
                    // Without a window, as for `since_last` alone, what can be looked back at is what has to be kept.
                    longest_window: if draft.longest_window.is_zero() {
                        draft.ttl
                    } else {
                        draft.longest_window
                    },
                    attributes: draft
                        .attributes
                        .iter()
                        .map(|&(field, longest_window)| AttributeLayout {
                            name: field.name().into(),
                            longest_window,
                        })
                        .collect(),
                    streams: draft.streams,
                })
                .collect(),
        });
        let plan = Plan::compile(&layout, &self.window_reads, &self.since_reads, self.features.len());
        let plan = match plan {
            Ok(plan) if self.errors.is_empty() => plan,
            Ok(_) => return Err(self.errors),
            Err(error) => {
                self.errors.push(CatalogueError { file: self.file, place: None, message: error.to_string() });
                return Err(self.errors);
            }
        };
        let metadata_keys = self.schema.metadata_keys().map(|(key, _)| key.into()).collect();
        Ok(Catalogue {
            sha256: sha256(text.as_bytes()),
            text: text.into(),
            types: self.features.iter().map(|feature| feature.value_type).collect(),
            features: self.features.into(),
            entities: self
                .entities
                .into_iter()
                .map(|draft| Entity {
                    name: draft.name,
                    key: draft.key.into(),
                    attributes: draft.attributes.iter().map(|&(field, _)| field).collect(),
                })
                .collect(),
            layout,
            plan,
            profile: self.profile.into(),
            derived: self.derived.into(),
            schema: self.schema,
            metadata_keys,
            by_name: self.by_name,
        })
    }
}
