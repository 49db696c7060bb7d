//! What to ask a profile store for, compiled once per policy, and how a stored text becomes a typed value.
//!
//! Profiles are stored as texts, so that any system can write them with a plain `HSET`. The catalogue says what each
//! text means. A text that is not of its declared type is **`Absent`**: the store did answer, and it holds nothing that
//! can be used; asking again would not help, so it is not a degraded answer. It is counted, and logged by field (never
//! with the value or the id, which are personal data) at its 1st, 2nd, 4th, 8th, … occurrence. It is never zero.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tracing::warn;

use crate::domain::enrichment::{Enrichment, Lookup, ProfileValue};
use crate::domain::limits::TEXT_BYTES_MAX;
use crate::enrich::counters::{ProfileCounters, count};
use crate::enrich::source::ProfileKeys;

/// Most entities that one plan asks about.
pub const PLAN_ENTITIES_MAX: usize = 64;
/// Most values that one plan asks for.
pub const PLAN_OUTPUTS_MAX: usize = 1024;
/// Longest name of an entity, in bytes.
pub const ENTITY_NAME_BYTES_MAX: usize = 64;
/// Longest name of a profile field, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 128;

/// The type that the catalogue gives a profile field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProfileType {
    /// `true`, `false`, `1` or `0`.
    Bool,
    /// A whole number in decimal, within 64 bits.
    Int,
    /// A finite decimal number.
    Number,
    /// UTF-8 of at most 1,024 bytes.
    Text,
}

impl ProfileType {
    /// The name that the catalogue gives the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Number => "number",
            Self::Text => "string",
        }
    }

    /// Reads a stored text; `None` when it is not of this type.
    pub fn parse(self, stored: &[u8]) -> Option<ProfileValue> {
        if stored.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(stored).ok()?;
        match self {
            Self::Bool => match text {
                "true" | "1" => Some(ProfileValue::Bool(true)),
                "false" | "0" => Some(ProfileValue::Bool(false)),
                _ => None,
            },
            Self::Int => text.parse().ok().map(ProfileValue::Int),
            Self::Number => {
                text.parse().ok().filter(|number: &f64| number.is_finite()).map(ProfileValue::Number)
            }
            Self::Text => Some(ProfileValue::Text(text.into())),
        }
    }
}

/// Why a plan was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProfilePlanError {
    /// An entity name that would not be safe as part of a key.
    #[error(
        "entity {0:?}: must be 1 to {ENTITY_NAME_BYTES_MAX} lower-case letters, digits or '_', beginning with a letter"
    )]
    EntityName(String),
    /// A field name that is empty, too long or not printable.
    #[error(
        "profile field {0:?}: must be 1 to {FIELD_NAME_BYTES_MAX} bytes long and free of control characters"
    )]
    FieldName(String),
    /// Too many entities.
    #[error("profiles of more than {PLAN_ENTITIES_MAX} entities")]
    TooManyEntities,
    /// Too many values.
    #[error("more than {PLAN_OUTPUTS_MAX} profile values")]
    TooManyOutputs,
}

/// One field to ask for.
#[derive(Debug)]
pub struct PlanField {
    name: Box<str>,
    kind: ProfileType,
    output: usize,
    malformed_count: AtomicU64,
}

impl PlanField {
    /// The name under which the value is stored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The declared type.
    pub const fn kind(&self) -> ProfileType {
        self.kind
    }

    /// Where the value stands in the `Enrichment`.
    pub const fn output(&self) -> usize {
        self.output
    }
}

/// One entity to ask about, with its fields in the order of their outputs.
#[derive(Debug)]
pub struct PlanEntity {
    name: Box<str>,
    fields: Vec<PlanField>,
}

impl PlanEntity {
    /// The entity's name, such as `customer`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to ask for; never empty.
    pub fn fields(&self) -> &[PlanField] {
        &self.fields
    }

    /// Puts a stored text, or its absence, where the field belongs.
    pub(super) fn answer(
        &self,
        field: &PlanField,
        stored: Option<&[u8]>,
        counters: &ProfileCounters,
        enrichment: &mut Enrichment,
    ) {
        let lookup = match stored.map(|stored| field.kind.parse(stored)) {
            None => Lookup::Absent,
            Some(Some(value)) => Lookup::Known(value),
            Some(None) => {
                count(&counters.malformed_values);
                let occurrence = field.malformed_count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                if occurrence.is_power_of_two() {
                    warn!(
                        entity = &*self.name,
                        field = &*field.name,
                        declared = field.kind.name(),
                        occurrence,
                        "a stored profile value is not of its declared type and is left out"
                    );
                }
                Lookup::Absent
            }
        };
        if let Some(slot) = enrichment.0.get_mut(field.output) {
            *slot = lookup;
        }
    }

    /// Says of all fields of this entity that nobody knows.
    pub(super) fn answer_timed_out(&self, enrichment: &mut Enrichment) {
        for field in &self.fields {
            if let Some(slot) = enrichment.0.get_mut(field.output) {
                *slot = Lookup::TimedOut;
            }
        }
    }
}

/// What to ask for, compiled once per policy from the catalogue's `profile:` section.
#[derive(Debug)]
pub struct ProfilePlan {
    id: u64,
    entities: Box<[PlanEntity]>,
    output_count: usize,
}

impl ProfilePlan {
    /// A plan to fill in.
    pub fn builder() -> ProfilePlanBuilder {
        ProfilePlanBuilder { entities: Vec::new(), output_count: 0 }
    }

    /// A number that no other plan of this process has.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Number of outputs: the length of every `Enrichment` that this plan yields.
    pub const fn len(&self) -> usize {
        self.output_count
    }

    /// Whether there is nothing to ask for.
    pub const fn is_empty(&self) -> bool {
        self.output_count == 0
    }

    /// The entities, in the order in which `ProfileKeys` holds their ids.
    pub fn entities(&self) -> &[PlanEntity] {
        &self.entities
    }

    /// The position of an entity in `ProfileKeys`; `None` when the plan asks nothing about it.
    pub fn entity_index(&self, name: &str) -> Option<usize> {
        self.entities.iter().position(|entity| &*entity.name == name)
    }

    /// The entities that this transaction has, with their ids.
    pub(super) fn asked<'p, 'id>(
        &'p self,
        keys: &'p ProfileKeys<'id>,
    ) -> impl Iterator<Item = (&'p PlanEntity, &'id str)> {
        self.entities.iter().enumerate().filter_map(|(index, entity)| Some((entity, keys.get(index)?)))
    }

    /// The answer when nobody answers: `TimedOut` for all that was asked, `Absent` for entities the transaction lacks.
    pub(crate) fn unanswered(&self, keys: &ProfileKeys<'_>) -> Enrichment {
        let mut enrichment = Enrichment::absent(self.output_count);
        for (entity, _) in self.asked(keys) {
            entity.answer_timed_out(&mut enrichment);
        }
        enrichment
    }
}

/// Collects the catalogue's `profile:` entries into a plan.
#[derive(Debug)]
pub struct ProfilePlanBuilder {
    entities: Vec<PlanEntity>,
    output_count: usize,
}

impl ProfilePlanBuilder {
    /// Asks for one more value; answers its output index: 0 for the first call, then 1, and so on.
    pub fn field(&mut self, entity: &str, name: &str, kind: ProfileType) -> Result<usize, ProfilePlanError> {
        if !is_entity_name(entity) {
            return Err(ProfilePlanError::EntityName(shortened(entity)));
        }
        if !is_field_name(name) {
            return Err(ProfilePlanError::FieldName(shortened(name)));
        }
        if self.output_count >= PLAN_OUTPUTS_MAX {
            return Err(ProfilePlanError::TooManyOutputs);
        }
        let output = self.output_count;
        let field = PlanField { name: name.into(), kind, output, malformed_count: AtomicU64::new(0) };
        let is_full = self.entities.len() >= PLAN_ENTITIES_MAX;
        match self.entities.iter_mut().find(|known| &*known.name == entity) {
            Some(known) => known.fields.push(field),
            None if is_full => return Err(ProfilePlanError::TooManyEntities),
            None => self.entities.push(PlanEntity { name: entity.into(), fields: vec![field] }),
        }
        self.output_count += 1;
        Ok(output)
    }

    /// The finished plan.
    pub fn build(self) -> ProfilePlan {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        ProfilePlan { id, entities: self.entities.into(), output_count: self.output_count }
    }
}

/// Whether a text can name an entity. No ':' may occur: keys would become ambiguous.
pub(super) fn is_entity_name(text: &str) -> bool {
    text.len() <= ENTITY_NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether a text can name a field of a profile.
pub(super) fn is_field_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= FIELD_NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// The beginning of a text that may be very long, for an error message.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn stored_texts_become_values_of_the_declared_type_or_nothing() {
        use ProfileType::{Bool, Int, Number, Text};
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let known: [(ProfileType, &[u8], ProfileValue); 13] = [
            (Bool, b"true", ProfileValue::Bool(true)),
            (Bool, b"0", ProfileValue::Bool(false)),
            (Int, b"5", ProfileValue::Int(5)),
            (Int, b"-9223372036854775808", ProfileValue::Int(i64::MIN)),
            (Int, b"0", ProfileValue::Int(0)),
            (Number, b"0.25", ProfileValue::Number(0.25)),
            (Number, b"-1e3", ProfileValue::Number(-1000.0)),
            (Number, b"7", ProfileValue::Number(7.0)),
            (Text, b"DE", ProfileValue::Text("DE".into())),
            (Text, b"", ProfileValue::Text("".into())),
            (Text, b"12", ProfileValue::Text("12".into())),
            (Text, "Łódź".as_bytes(), ProfileValue::Text("Łódź".into())),
            (Text, &long.as_bytes()[1..], ProfileValue::Text(long[1..].into())),
        ];
        for (kind, stored, expected) in known {
            assert_eq!(kind.parse(stored), Some(expected), "{} {stored:?}", kind.name());
        }
        let malformed: [(ProfileType, &[u8]); 14] = [
            (Bool, b"yes"),
            (Bool, b"TRUE"),
            (Bool, b""),
            (Int, b""),
            (Int, b"5.0"),
            (Int, b" 5"),
            (Int, b"9223372036854775808"),
            (Number, b""),
            (Number, b"nan"),
            (Number, b"inf"),
            (Number, b"1e999"),
            (Number, b"1,5"),
            (Text, b"\xff\xfe"),
            (Text, long.as_bytes()),
        ];
        for (kind, stored) in malformed {
            assert_eq!(kind.parse(stored), None, "{} {stored:?}", kind.name());
        }
    }

    #[test]
    fn outputs_keep_the_order_of_the_catalogue_and_entities_are_asked_once() {
        let mut builder = ProfilePlan::builder();
        assert_eq!(builder.field("customer", "orders", ProfileType::Int), Ok(0));
        assert_eq!(builder.field("ip", "score", ProfileType::Number), Ok(1));
        assert_eq!(builder.field("customer", "country", ProfileType::Text), Ok(2));
        let plan = builder.build();
        assert_eq!((plan.len(), plan.entities().len()), (3, 2));
        assert_eq!((plan.entity_index("ip"), plan.entity_index("card")), (Some(1), None));
        let outputs: Vec<_> = plan.entities()[0].fields().iter().map(PlanField::output).collect();
        assert_eq!(outputs, [0, 2]);

        let keys = ProfileKeys::from_iter([None, Some("203.0.113.7")]);
        let expected = [Lookup::Absent, Lookup::TimedOut, Lookup::Absent];
        assert_eq!(*plan.unanswered(&keys).0, expected);
    }

    #[test]
    fn names_that_would_make_keys_ambiguous_are_refused() {
        for entity in ["", "a:b", "Customer", "1st", "_x", "kunde\u{e9}", &"x".repeat(65)] {
            let refused = ProfilePlan::builder().field(entity, "f", ProfileType::Int);
            assert!(matches!(refused, Err(ProfilePlanError::EntityName(_))), "{entity:?}");
        }
        for field in ["", "a\nb", &"x".repeat(129)] {
            let refused = ProfilePlan::builder().field("customer", field, ProfileType::Int);
            assert!(matches!(refused, Err(ProfilePlanError::FieldName(_))), "{field:?}");
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn malformed_values_are_counted_and_logged_rarely_and_without_the_value() {
        let mut builder = ProfilePlan::builder();
        builder.field("customer", "orders", ProfileType::Int).unwrap();
        let plan = builder.build();
        let entity = &plan.entities()[0];
        let (counters, log) = (ProfileCounters::default(), Log::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let mut enrichment = Enrichment::timed_out(1);
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1000 {
                let field = &entity.fields()[0];
                entity.answer(field, Some(b"jane@example.com"), &counters, &mut enrichment);
            }
        });
        assert_eq!(*enrichment.0, [Lookup::Absent]);
        assert_eq!(counters.read().malformed_values, 1000);
        let log = String::from_utf8(log.0.lock().clone()).unwrap();
        assert_eq!(log.lines().count(), 10, "the 1st, 2nd, 4th, … 512th: {log}");
        assert!(log.contains("orders") && log.contains("int") && !log.contains("jane"), "{log}");
    }

    #[test]
    fn a_plan_is_bounded() {
        let mut builder = ProfilePlan::builder();
        for index in 0..PLAN_ENTITIES_MAX {
            assert_eq!(builder.field(&format!("e{index}"), "f", ProfileType::Int), Ok(index));
        }
        assert_eq!(builder.field("one_more", "f", ProfileType::Int), Err(ProfilePlanError::TooManyEntities));
        for _ in PLAN_ENTITIES_MAX..PLAN_OUTPUTS_MAX {
            assert!(builder.field("e0", "f", ProfileType::Int).is_ok());
        }
        assert_eq!(builder.field("e0", "f", ProfileType::Int), Err(ProfilePlanError::TooManyOutputs));
    }
}
