//! Asking an index.

use crate::expr::index::column::{Column, MISSING};
use crate::expr::index::leaf::Range;
use crate::expr::node::BoolNode;
use crate::expr::program::Facts;

/// Leaves that are packed beside a filed term.
pub(super) const FILTERS: usize = 2;

/// Many conditions, to be asked at once.
#[derive(Debug, Default)]
pub struct ConditionIndex {
    pub(super) columns: Box<[Column]>,
    pub(super) opaque: Box<[BoolNode]>,
    /// Sets of texts: one bit for each key of their column.
    pub(super) sets: Box<[u64]>,
    pub(super) tests: Box<[Test]>,
    pub(super) terms: Box<[TermTests]>,
    /// What the key of a group's column is held against, of each entry.
    pub(super) thresholds: Box<[i64]>,
    pub(super) entries: Box<[Entry]>,
    pub(super) groups: Box<[Group]>,
    pub(super) gates: Vec<(u32, bool, Run)>,
    pub(super) always: Run,
}

/// Neighbours in an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Run {
    start: u32,
    len: u32,
}

impl Run {
    /// The `len` that come after the first `start`.
    pub(super) fn following(start: usize, len: usize) -> Self {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { start: number(start), len: number(len) }
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// Which entries of a group a key selects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Filing {
    /// Those whose threshold is the key.
    Point,
    /// Those whose threshold is the key or below.
    Rising,
    /// Those whose threshold is the key or above.
    Falling,
}

/// The entries under one column, in the order in which keys select them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) column: u32,
    pub(super) filing: Filing,
    pub(super) entries: Run,
}

/// A filed term, with the leaves that are held against it first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) filters: [Packed; FILTERS],
    pub(super) term: u32,
}

/// A range of a column's keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    lo: i64,
    width: u64,
    column: u32,
    inverted: bool,
}

impl Packed {
    /// What always holds: the key of the column `Nothing`, which comes first.
    pub(super) const HOLDS: Self = Self { lo: 0, width: 0, column: 0, inverted: false };

    pub(super) fn new(column: u32, range: Range) -> Self {
        Self {
            lo: range.lo,
            width: range.hi.wrapping_sub(range.lo).cast_unsigned(),
            column,
            inverted: range.inverted,
        }
    }

    fn holds(&self, keys: &[i64]) -> bool {
        let key = keys[self.column as usize];
        let is_within = key.wrapping_sub(self.lo).cast_unsigned() <= self.width;
        (is_within != self.inverted) & (key != MISSING)
    }
}

/// What else a term asks, once its filters hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct TermTests {
    pub(super) condition: u32,
    pub(super) tests: Run,
}

/// One of these.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    Range(Packed),
    Texts { column: u32, set: Run, inverted: bool },
    Opaque { predicate: u32, wanted: bool },
}

impl Test {
    /// Kinds in the order of what they cost.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Range(_) => 0,
            Self::Texts { .. } => 1,
            Self::Opaque { .. } => 2,
        }
    }
}

/// The room that an index is asked in; it grows once, and every question fills it anew.
#[derive(Debug, Default)]
pub struct IndexScratch {
    keys: Vec<i64>,
    /// What the opaque conditions came to, as far as they were asked.
    opaque: Vec<Asked>,
    candidates: Vec<u32>,
    matching: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    NotYet,
    Came(Option<bool>),
}

impl ConditionIndex {
    /// The numbers of the conditions that are exactly `true`, in order.
    pub fn matching<'s, F: Facts + ?Sized>(&self, facts: &F, scratch: &'s mut IndexScratch) -> &'s [u32] {
        let IndexScratch { keys, opaque, candidates, matching } = scratch;
        keys.clear();
        keys.extend(self.columns.iter().map(|column| column.key(facts.value(column.slot))));
        opaque.clear();
        opaque.resize(self.opaque.len(), Asked::NotYet);
        candidates.resize(self.entries.len() + 1, 0);
        matching.clear();

        let mut found = 0;
        for group in &self.groups {
            let selected = self.selected(group, keys[group.column as usize]);
            found = filter(&self.entries[selected], keys, candidates, found);
        }
        for (predicate, wanted, entries) in &self.gates {
            if self.ask(*predicate, facts, opaque) == Some(*wanted) {
                found = filter(&self.entries[entries.range()], keys, candidates, found);
            }
        }
        found = filter(&self.entries[self.always.range()], keys, candidates, found);
        for term in &candidates[..found] {
            let term = &self.terms[*term as usize];
            if self.tests[term.tests.range()].iter().all(|test| self.holds(test, keys, facts, opaque)) {
                matching.push(term.condition);
            }
        }
        matching.sort_unstable();
        matching.dedup(); // a condition may have several terms
        matching
    }

    /// The entries of a group that a key selects.
    fn selected(&self, group: &Group, key: i64) -> std::ops::Range<usize> {
        let all = group.entries.range();
        let thresholds = &self.thresholds[all.clone()];
        match group.filing {
            Filing::Rising => {
                // Most keys select nothing, as terms are filed under what is rare.
                if thresholds.first().is_none_or(|lowest| *lowest > key) {
                    return all.start..all.start;
                }
                all.start..all.start + thresholds.partition_point(|threshold| *threshold <= key)
            }
            Filing::Falling => {
                if key == MISSING || thresholds.first().is_none_or(|highest| *highest < key) {
                    return all.start..all.start;
                }
                all.start..all.start + thresholds.partition_point(|threshold| *threshold >= key)
            }
            Filing::Point => {
                let first = thresholds.partition_point(|threshold| *threshold < key);
                let same = thresholds[first..].partition_point(|threshold| *threshold == key);
                all.start + first..all.start + first + same
            }
        }
    }

    fn holds<F: Facts + ?Sized>(&self, test: &Test, keys: &[i64], facts: &F, opaque: &mut [Asked]) -> bool {
        match *test {
            Test::Range(packed) => packed.holds(keys),
            Test::Texts { column, set, inverted } => {
                let key = keys[column as usize];
                let is_member = usize::try_from(key).is_ok_and(|key| {
                    self.sets[set.range()].get(key / 64).is_some_and(|word| word >> (key % 64) & 1 == 1)
                });
                (is_member != inverted) & (key != MISSING)
            }
            Test::Opaque { predicate, wanted } => self.ask(predicate, facts, opaque) == Some(wanted),
        }
    }

    fn ask<F: Facts + ?Sized>(&self, predicate: u32, facts: &F, opaque: &mut [Asked]) -> Option<bool> {
        let predicate = predicate as usize;
        match opaque[predicate] {
            Asked::Came(to) => to,
            Asked::NotYet => {
                let to = self.opaque[predicate].eval(facts);
                opaque[predicate] = Asked::Came(to);
                to
            }
        }
    }
}

/// Adds the terms of the entries whose filters hold, and says how many there are now. Adding is no branch: which entries pass
/// is not to be foreseen.
fn filter(entries: &[Entry], keys: &[i64], candidates: &mut [u32], mut found: usize) -> usize {
    for entry in entries {
        candidates[found] = entry.term;
        found += usize::from(entry.filters[0].holds(keys) & entry.filters[1].holds(keys));
    }
    found
}
