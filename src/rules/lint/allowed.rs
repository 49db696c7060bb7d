//! Sets of values: what a conjunction leaves to one name.

use std::collections::BTreeSet;

/// How values become keys: whole numbers in the order of the values, without a value between two neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Kind {
    Bool,
    Int,
    Double,
    /// Milliseconds since the Unix epoch.
    Time,
}

/// Keys, as ascending ranges with both ends included, none of which touches the next.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Keys(Vec<(i64, i64)>);

impl Keys {
    /// From one key to another; none when the first is above the second.
    pub(super) fn range(lo: i64, hi: i64) -> Self {
        Self(if lo <= hi { vec![(lo, hi)] } else { Vec::new() })
    }

    /// Those that are in one of the ranges.
    pub(super) fn union(mut ranges: Vec<(i64, i64)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
        for (lo, hi) in ranges {
            match merged.last_mut() {
                Some((_, end)) if lo <= end.saturating_add(1) => *end = hi.max(*end),
                _ => merged.push((lo, hi)),
            }
        }
        Self(merged)
    }

    /// Those of `within` that are not in here.
    pub(super) fn complement(&self, within: (i64, i64)) -> Self {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(within.0);
        for (lo, hi) in &self.0 {
            if let Some(start) = next.filter(|start| start < lo) {
                rest.push((start, lo - 1));
            }
            next = hi.checked_add(1);
        }
        if let Some(start) = next.filter(|start| *start <= within.1) {
            rest.push((start, within.1));
        }
        Self(rest)
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut common = Vec::new();
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let (lo, hi) = (a.0.max(b.0), a.1.min(b.1));
            if lo <= hi {
                common.push((lo, hi));
            }
            if a.1 < b.1 {
                left.next()
            } else {
                right.next()
            };
        }
        Self(common)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ranges(&self) -> &[(i64, i64)] {
        &self.0
    }

    fn is_within(&self, other: &Self) -> bool {
        self.intersection(other) == *self
    }
}

/// Texts: these, or all but these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Texts<'n> {
    pub(super) texts: BTreeSet<&'n str>,
    pub(super) inverted: bool,
}

impl<'n> Texts<'n> {
    fn intersection(&self, other: &Self) -> Self {
        let (texts, inverted): (BTreeSet<&'n str>, bool) = match (self.inverted, other.inverted) {
            (false, false) => (self.texts.intersection(&other.texts).copied().collect(), false),
            (false, true) => (self.texts.difference(&other.texts).copied().collect(), false),
            (true, false) => (other.texts.difference(&self.texts).copied().collect(), false),
            (true, true) => (self.texts.union(&other.texts).copied().collect(), true),
        };
        Self { texts, inverted }
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && !self.inverted
    }
}

/// What is left to a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Allowed<'n> {
    /// To be missing.
    Missing,
    /// To have any value.
    Present,
    /// A value with one of these keys.
    Keys(Kind, Keys),
    /// One of these texts.
    Texts(Texts<'n>),
}

/// What two conditions on one name leave to it together.
#[derive(PartialEq, Debug)]
pub(super) enum Together<'n> {
    Allowed(Allowed<'n>),
    /// Nothing.
    Never,
    /// They ask for values of two types, as rules may of metadata: not decided here.
    Unknown,
}

impl<'n> Allowed<'n> {
    pub(super) fn and(&self, other: &Self) -> Together<'n> {
        let allowed = match (self, other) {
            (Self::Missing, Self::Missing) => Self::Missing,
            (Self::Missing, _) | (_, Self::Missing) => return Together::Never,
            (Self::Present, other) | (other, Self::Present) => other.clone(),
            (Self::Keys(kind, a), Self::Keys(other, b)) if kind == other => {
                Self::Keys(*kind, a.intersection(b))
            }
            (Self::Texts(a), Self::Texts(b)) => Self::Texts(a.intersection(b)),
            _ => return Together::Unknown,
        };
        if allowed.is_empty() { Together::Never } else { Together::Allowed(allowed) }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Missing | Self::Present => false,
            Self::Keys(_, keys) => keys.is_empty(),
            Self::Texts(texts) => texts.is_empty(),
        }
    }

    /// Whether everything that this leaves, `other` leaves too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Missing, Self::Missing) => true,
            (Self::Missing, _) | (_, Self::Missing) => false,
            (_, Self::Present) => true,
            (Self::Keys(kind, a), Self::Keys(other, b)) => kind == other && a.is_within(b),
            (Self::Texts(a), Self::Texts(b)) => a.intersection(b) == *a,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Keys> {
        let end = prop_oneof![Just(i64::MIN), Just(i64::MAX), -4_i64..5];
        prop::collection::vec((end.clone(), end).prop_filter("ascending", |(lo, hi)| lo <= hi), 0..4)
            .prop_map(Keys::union)
    }

    fn has(keys: &Keys, key: i64) -> bool {
        keys.ranges().iter().any(|(lo, hi)| (*lo..=*hi).contains(&key))
    }

    proptest! {
        #[test]
        fn keys_are_sets(a in keys(), b in keys()) {
            let everything = (i64::MIN, i64::MAX);
            let (both, rest) = (a.intersection(&b), a.complement(everything));
            let sample = (-6..7).chain([i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]);
            for key in sample.clone() {
                prop_assert_eq!(has(&both, key), has(&a, key) && has(&b, key));
                prop_assert_eq!(has(&rest, key), !has(&a, key));
            }
            if a.is_within(&b) {
                prop_assert!(sample.into_iter().all(|key| !has(&a, key) || has(&b, key)));
            }
            prop_assert!(a.is_within(&a) && both.is_within(&a) && both.is_within(&b));
            prop_assert_eq!(rest.complement(everything), a);
        }

        #[test]
        fn texts_are_sets(a in prop::collection::btree_set(prop::sample::select(vec!["x", "y", "z"]), 0..3), b in prop::collection::btree_set(prop::sample::select(vec!["x", "y", "z"]), 0..3), inverted in any::<(bool, bool)>()) {
            let has = |texts: &Texts<'_>, text: &str| texts.texts.contains(text) != texts.inverted;
            let (a, b) = (Texts { texts: a, inverted: inverted.0 }, Texts { texts: b, inverted: inverted.1 });
            let both = a.intersection(&b);
            for text in ["x", "y", "z", "another"] {
                prop_assert_eq!(has(&both, text), has(&a, text) && has(&b, text));
            }
            if Allowed::Texts(a.clone()).is_within(&Allowed::Texts(b.clone())) {
                prop_assert!(["x", "y", "z", "another"].iter().all(|text| !has(&a, text) || has(&b, text)));
            }
        }
    }
}
