//! One profile as it is written, checked; and its packed form in the embedded store.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::domain::limits::TEXT_BYTES_MAX;
use crate::domain::text::{Id, TextError};
use crate::enrich::plan::{
    ENTITY_NAME_BYTES_MAX, FIELD_NAME_BYTES_MAX, is_entity_name, is_field_name, shortened,
};

/// Most fields of one profile.
pub const PROFILE_FIELDS_MAX: usize = 256;

/// Why a profile cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProfileRecordError {
    /// The entity's name.
    #[error(
        "entity {0:?}: must be 1 to {ENTITY_NAME_BYTES_MAX} lower-case letters, digits or '_', beginning with a letter"
    )]
    Entity(String),
    /// The id. It is personal data and is not repeated.
    #[error("id: {0}")]
    Id(TextError),
    /// A field's name.
    #[error(
        "field {0:?}: a name must be 1 to {FIELD_NAME_BYTES_MAX} bytes long and free of control characters"
    )]
    FieldName(String),
    /// A field's value.
    #[error("field {0:?}: a value must be at most {TEXT_BYTES_MAX} bytes long")]
    ValueTooLong(String),
    /// One field twice.
    #[error("field {0:?} occurs twice")]
    Repeated(String),
    /// No fields at all.
    #[error("there are no fields")]
    Empty,
    /// More fields than a profile may have.
    #[error("a profile has at most {PROFILE_FIELDS_MAX} fields")]
    TooManyFields,
}

/// Fields of one profile to write: a value replaces, `None` removes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileRecord {
    entity: Box<str>,
    id: Id,
    fields: BTreeMap<Box<str>, Option<Box<str>>>,
}

impl ProfileRecord {
    /// Checks and takes a profile.
    pub fn new<'a>(
        entity: &str,
        id: &str,
        fields: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, ProfileRecordError> {
        if !is_entity_name(entity) {
            return Err(ProfileRecordError::Entity(shortened(entity)));
        }
        let id = Id::parse(id).map_err(ProfileRecordError::Id)?;
        let mut checked = BTreeMap::new();
        for (name, value) in fields {
            if !is_field_name(name) {
                return Err(ProfileRecordError::FieldName(shortened(name)));
            }
            if value.is_some_and(|value| value.len() > TEXT_BYTES_MAX) {
                return Err(ProfileRecordError::ValueTooLong(name.to_owned()));
            }
            if checked.len() >= PROFILE_FIELDS_MAX {
                return Err(ProfileRecordError::TooManyFields);
            }
            if checked.insert(Box::from(name), value.map(Box::from)).is_some() {
                return Err(ProfileRecordError::Repeated(name.to_owned()));
            }
        }
        if checked.is_empty() {
            return Err(ProfileRecordError::Empty);
        }
        Ok(Self { entity: entity.into(), id, fields: checked })
    }

    /// Whose profile: `customer`, `card`, ….
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// The entity's id.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The fields by name: what to store, or `None` to remove.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.fields.iter().map(|(name, value)| (&**name, value.as_deref()))
    }
}

/// Format of a packed profile; the first byte of every row. Never reuse a number.
const PACKED_FORMAT: u8 = 1;

/// The fields of a packed profile, in the order of their names. Layout: the format byte, then for each field the length
/// of its name in one byte, the name, the length of its value in two bytes (little-endian), the value.
///
/// Stops with `Err(Unreadable)` where the row cannot be read.
pub(super) fn unpack(row: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Unreadable>> {
    let (mut rest, mut broken) = match row.split_first() {
        Some((&PACKED_FORMAT, rest)) => (rest, false),
        _ => (row, true),
    };
    std::iter::from_fn(move || {
        if broken {
            broken = false;
            rest = &[];
            return Some(Err(Unreadable));
        }
        if rest.is_empty() {
            return None;
        }
        match unpack_field(rest) {
            Some((name, value, after)) => {
                rest = after;
                Some(Ok((name, value)))
            }
            None => {
                rest = &[];
                Some(Err(Unreadable))
            }
        }
    })
}

fn unpack_field(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&name_len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
    let (&value_len, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(value_len)))?;
    Some((name, value, rest))
}

/// A packed profile that cannot be read: of an unknown format, or cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unreadable;

/// What came of merging a record into a row.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Merged {
    /// The new row.
    Row(Vec<u8>),
    /// No field is left.
    Nothing,
    /// More than `PROFILE_FIELDS_MAX` fields.
    TooManyFields,
}

/// The row after a record was written over it.
pub(super) fn merge(row: Option<&[u8]>, record: &ProfileRecord) -> Result<Merged, Unreadable> {
    let mut fields: BTreeMap<&[u8], &[u8]> =
        row.map(unpack).into_iter().flatten().collect::<Result<_, _>>()?;
    for (name, value) in record.fields() {
        match value {
            Some(value) => fields.insert(name.as_bytes(), value.as_bytes()),
            None => fields.remove(name.as_bytes()),
        };
    }
    if fields.is_empty() {
        return Ok(Merged::Nothing);
    }
    if fields.len() > PROFILE_FIELDS_MAX {
        return Ok(Merged::TooManyFields);
    }
    let mut packed = vec![PACKED_FORMAT];
    for (name, value) in fields {
        packed.push(u8::try_from(name.len()).map_err(|_| Unreadable)?);
        packed.extend_from_slice(name);
        packed.extend_from_slice(&u16::try_from(value.len()).map_err(|_| Unreadable)?.to_le_bytes());
        packed.extend_from_slice(value);
    }
    Ok(Merged::Row(packed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn merges_do_what_a_map_does(
            writes in prop::collection::vec(
                prop::collection::btree_map("[a-f]{1,2}", prop::option::of("\\PC{0,8}"), 1..5),
                1..20,
            ),
        ) {
            let mut oracle = BTreeMap::new();
            let mut row: Option<Vec<u8>> = None;
            for fields in &writes {
                for (name, value) in fields {
                    match value {
                        Some(value) => oracle.insert(name.clone(), value.clone()),
                        None => oracle.remove(name),
                    };
                }
                let fields = fields.iter().map(|(name, value)| (&**name, value.as_deref()));
                let record = ProfileRecord::new("customer", "c_1", fields).unwrap();
                row = match merge(row.as_deref(), &record).unwrap() {
                    Merged::Row(row) => Some(row),
                    Merged::Nothing => None,
                    Merged::TooManyFields => panic!("too many fields"),
                };
                let stored: Vec<_> = row.iter().flat_map(|row| unpack(row)).map(Result::unwrap).collect();
                let expected: Vec<_> =
                    oracle.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
                prop_assert_eq!(stored, expected);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut row in prop::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
            if let (true, Some(first)) = (known, row.first_mut()) {
                *first = PACKED_FORMAT;
            }
            let fields = unpack(&row).count();
            prop_assert!(fields <= row.len() + 1);
        }
    }

    fn record(fields: &[(&str, Option<&str>)]) -> ProfileRecord {
        ProfileRecord::new("customer", "c_1", fields.iter().copied()).unwrap()
    }

    #[test]
    fn wrong_profiles_are_refused_and_say_why() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, Option<&'a str>)], &'a str);
        let cases: [Case<'_>; 9] = [
            ("a:b", "c", &[("f", Some("1"))], "entity \"a:b\""),
            ("customer", "", &[("f", Some("1"))], "id: must not be empty"),
            ("customer", "a\u{0}b", &[("f", Some("1"))], "id: must be free of control characters"),
            ("customer", &long, &[("f", Some("1"))], "id: must be at most 256 bytes"),
            ("customer", "c", &[("", Some("1"))], "field \"\""),
            ("customer", "c", &[("f\n", Some("1"))], "free of control characters"),
            ("customer", "c", &[("f", Some(&long))], "field \"f\": a value"),
            ("customer", "c", &[("f", None), ("f", Some("1"))], "field \"f\" occurs twice"),
            ("customer", "c", &[], "no fields"),
        ];
        for (entity, id, fields, expected) in cases {
            let error = ProfileRecord::new(entity, id, fields.iter().copied()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} / {expected}");
        }
    }

    #[test]
    fn merging_replaces_adds_and_removes() {
        let Ok(Merged::Row(first)) = merge(None, &record(&[("b", Some("2")), ("a", Some("1"))])) else {
            panic!("a row")
        };
        let Ok(Merged::Row(second)) =
            merge(Some(&first), &record(&[("b", None), ("c", Some("")), ("a", Some("ü"))]))
        else {
            panic!("a row")
        };
        let fields: Vec<_> = unpack(&second).collect();
        assert_eq!(fields, [Ok((&b"a"[..], "ü".as_bytes())), Ok((b"c", b""))]);
        assert_eq!(merge(Some(&second), &record(&[("a", None), ("c", None)])), Ok(Merged::Nothing));
    }

    #[test]
    fn a_profile_cannot_outgrow_its_bound() {
        let names: Vec<String> = (0..PROFILE_FIELDS_MAX).map(|index| format!("f{index}")).collect();
        let full = ProfileRecord::new("card", "x", names.iter().map(|name| (&**name, Some("1")))).unwrap();
        let Ok(Merged::Row(row)) = merge(None, &full) else { panic!("a row") };
        assert_eq!(merge(Some(&row), &record(&[("one_more", Some("1"))])), Ok(Merged::TooManyFields));
        assert!(matches!(merge(Some(&row), &record(&[("f0", Some("2"))])), Ok(Merged::Row(_))));
    }

    #[test]
    fn every_cut_of_a_row_is_read_or_refused_without_panic() {
        let Ok(Merged::Row(row)) = merge(None, &record(&[("aa", Some("1234")), ("bb", Some("5"))])) else {
            panic!("a row")
        };
        for end in 0..row.len() {
            let fields: Vec<_> = unpack(&row[..end]).collect();
            let boundary = end == 1 || end == 1 + 1 + 2 + 2 + 4;
            assert_eq!(fields.contains(&Err(Unreadable)), !boundary, "cut at {end}");
        }
        assert_eq!(unpack(&[9, 1, 2]).collect::<Vec<_>>(), [Err(Unreadable)]);
    }
}
