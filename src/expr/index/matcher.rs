//! Asking an index.

use crate::expr::index::column::{Columns, MISSING};
use crate::expr::index::leaf::Range;
use crate::expr::node::BoolNode;
use crate::expr::program::Facts;

/// Leaves that are packed beside a filed term, and held against it first.
pub(super) const FILTERS: usize = 2;
/// Leaves that are held against it next.
pub(super) const SECOND_FILTERS: usize = 2;

/// Many conditions, to be asked at once.
#[derive(Debug, Default)]
pub struct ConditionIndex {
    /// How many.
    pub(super) conditions: usize,
    pub(super) columns: Columns,
    pub(super) opaque: Box<[BoolNode]>,
    /// Sets of texts: one bit for each key of their column.
    pub(super) sets: Box<[u64]>,
    pub(super) tests: Box<[Test]>,
    pub(super) terms: Box<[TermTests]>,
    /// What the key of a group's column is held against, of each entry.
    pub(super) thresholds: Box<[i64]>,
    pub(super) entries: Box<[Entry]>,
    /// Entries whose threshold is the key or below, lowest first.
    pub(super) rising: Vec<Group>,
    /// Entries whose threshold is the key or above, highest first; thresholds and key inverted bit by bit.
    pub(super) falling: Vec<Group>,
    /// Entries whose threshold is the key.
    pub(super) points: Vec<Group>,
    /// Entries by key, of columns whose keys count from 0: the column, and where in `dense_starts` the entries of each key begin and end.
    pub(super) dense: Vec<(u32, Run)>,
    pub(super) dense_starts: Vec<u32>,
    /// Entries that an opaque condition stands before.
    pub(super) gates: Vec<(u32, bool, Run)>,
    /// Entries that nothing stands before.
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

/// The entries under one column, in the order of their thresholds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) column: u32,
    pub(super) entries: Run,
    /// The first threshold.
    pub(super) first: i64,
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

    #[inline]
    fn holds(&self, keys: &[i64]) -> bool {
        let key = keys[self.column as usize];
        let is_within = key.wrapping_sub(self.lo).cast_unsigned() <= self.width;
        (is_within != self.inverted) & (key != MISSING)
    }
}

/// What else a term asks, once its first filters hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct TermTests {
    pub(super) filters: [Packed; SECOND_FILTERS],
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
    /// Terms whose filters hold, in the order in which they were found.
    candidates: Vec<u32>,
    /// One bit for each condition that is true.
    is_true: Vec<u64>,
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
        let IndexScratch { keys, opaque, candidates, is_true, matching } = scratch;
        self.columns.keys(facts, keys);
        opaque.clear();
        opaque.resize(self.opaque.len(), Asked::NotYet);
        candidates.resize(self.entries.len() + 1, 0);
        is_true.clear();
        is_true.resize(self.conditions.div_ceil(64), 0);
        matching.clear();

        let mut found = self.filed(keys, candidates);
        for (predicate, wanted, entries) in &self.gates {
            if self.ask(*predicate, facts, opaque) == Some(*wanted) {
                found = filter(&self.entries[entries.range()], keys, candidates, found);
            }
        }
        found = filter(&self.entries[self.always.range()], keys, candidates, found);
        found = self.filter_again(keys, candidates, found);
        for term in &candidates[..found] {
            let term = &self.terms[*term as usize];
            if self.tests[term.tests.range()].iter().all(|test| self.holds(test, keys, facts, opaque)) {
                is_true[term.condition as usize / 64] |= 1 << (term.condition % 64); // it may have several terms
            }
        }
        for (word, first) in is_true.iter().zip((0..).step_by(64)) {
            let mut word = *word;
            while word != 0 {
                matching.push(first + word.trailing_zeros());
                word &= word - 1;
            }
        }
        matching
    }

    /// Looks where keys select entries.
    fn filed(&self, keys: &[i64], candidates: &mut [u32]) -> usize {
        let mut found = 0;
        let mut select = |group: &Group, selected: std::ops::Range<usize>| {
            let entries = &self.entries[group.entries.range()][selected];
            found = filter(entries, keys, candidates, found);
        };
        // Most keys select nothing of these, as terms are filed under what is rare: the first threshold says so.
        for group in &self.rising {
            let key = keys[group.column as usize];
            if group.first <= key {
                select(group, 0..self.of(group).partition_point(|threshold| *threshold <= key));
            }
        }
        for group in &self.falling {
            let key = !keys[group.column as usize];
            if (group.first <= key) & (key != !MISSING) {
                select(group, 0..self.of(group).partition_point(|threshold| *threshold <= key));
            }
        }
        for group in &self.points {
            let key = keys[group.column as usize];
            let first = self.of(group).partition_point(|threshold| *threshold < key);
            let same = self.of(group)[first..].partition_point(|threshold| *threshold == key);
            select(group, first..first + same);
        }
        for (column, starts) in &self.dense {
            if let Ok(key) = usize::try_from(keys[*column as usize])
                && let Some([start, end]) = self.dense_starts[starts.range()].get(key..key + 2)
            {
                found = filter(&self.entries[*start as usize..*end as usize], keys, candidates, found);
            }
        }
        found
    }

    fn of(&self, group: &Group) -> &[i64] {
        &self.thresholds[group.entries.range()]
    }

    /// Keeps the candidates whose second filters hold too.
    fn filter_again(&self, keys: &[i64], candidates: &mut [u32], found: usize) -> usize {
        let mut kept = 0;
        for at in 0..found {
            let term = candidates[at];
            candidates[kept] = term;
            kept += usize::from(all_hold(&self.terms[term as usize].filters, keys));
        }
        kept
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
#[inline]
fn filter(entries: &[Entry], keys: &[i64], candidates: &mut [u32], mut found: usize) -> usize {
    for entry in entries {
        candidates[found] = entry.term;
        found += usize::from(all_hold(&entry.filters, keys));
    }
    found
}

#[inline]
fn all_hold(filters: &[Packed; 2], keys: &[i64]) -> bool {
    filters[0].holds(keys) & filters[1].holds(keys)
}
