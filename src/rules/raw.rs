//! A rule file as YAML gives it: every scalar as text with its place. What a text means is decided in [`super::file`], so
//! that `NO` stays a country and every wrong field is found, not only the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::Spanned;

/// A scalar and where it stands.
pub(crate) type Scalar = Spanned<String>;

/// Declares a mapping whose keys are all optional and whose unknown keys are kept instead of stopping the reading.
macro_rules! mapping {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: Option<$type>,)*
            pub(crate) unknown: Vec<Scalar>,
        }

        impl $name {
            pub(crate) const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Keys;
                impl<'de> Visitor<'de> for Keys {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut found = $name::default();
                        while let Some(key) = map.next_key::<Scalar>()? {
                            match key.value.as_str() {
                                $(stringify!($field) => found.$field = map.next_value()?,)*
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                    found.unknown.push(key);
                                }
                            }
                        }
                        Ok(found)
                    }
                }
                deserializer.deserialize_map(Keys)
            }
        }
    };
}

mapping! {
    /// A whole file.
    RawFile, "a mapping with `rules` or `default`" { rules: Vec<Spanned<RawRule>>, default: Spanned<RawDefault> }
}

mapping! {
    /// One rule.
    RawRule, "a rule: a mapping with id, when, then and reason" {
        id: Scalar,
        description: Scalar,
        when: Scalar,
        then: Scalar,
        reason: Scalar,
        message: Scalar,
        state: Scalar,
        priority: Scalar,
        rollout: Spanned<RawRollout>,
        owner: Scalar,
        starts: Scalar,
        expires: Scalar,
        tests: Vec<Spanned<RawTest>>,
    }
}

mapping! {
    /// What holds when nothing matched.
    RawDefault, "a mapping with then and reason" { then: Scalar, reason: Scalar, description: Scalar, owner: Scalar }
}

mapping! {
    /// For whom a rule is on.
    RawRollout, "a mapping with percent and by" { percent: Scalar, by: Scalar }
}

mapping! {
    /// One test of a rule.
    RawTest, "a test: a mapping with given and expect" {
        name: Scalar,
        given: Entries<Option<Scalar>>,
        lists: Entries<Vec<Scalar>>,
        expect: Scalar,
    }
}

/// A mapping with free keys, in the order of the file.
#[derive(Debug)]
pub(crate) struct Entries<V>(pub(crate) Vec<(Scalar, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Keys<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Keys(std::marker::PhantomData))
    }
}
