//! Building an index: columns numbered, equal opaque conditions made one, each term filed under the leaf that was chosen for it.

use std::collections::HashMap;

use crate::expr::index::column::{Column, Columns, Kind, TextTable};
use crate::expr::index::filing::{Filing, choose};
use crate::expr::index::leaf::{Leaf, Range};
use crate::expr::index::matcher::{
    ConditionIndex, Entry, FILTERS, Group, Packed, Run, SECOND_FILTERS, TermTests, Test,
};
use crate::expr::index::selectivity::Survey;
use crate::expr::index::term::{Term, terms};
use crate::expr::node::BoolNode;
use crate::expr::program::Program;
use crate::expr::schema::Slot;

impl ConditionIndex {
    /// An index of these conditions; the numbers that it answers with are their positions. A program that is no condition never
    /// matches.
    pub fn new<'n>(conditions: impl IntoIterator<Item = &'n Program>) -> Self {
        let mut survey = Survey::default();
        let mut found: Vec<(u32, Term<'n>)> = Vec::new();
        let mut count = 0;
        for program in conditions {
            let alternatives = program.condition().map_or_else(Vec::new, terms);
            for term in alternatives {
                term.iter().for_each(|leaf| survey.note(leaf));
                found.push((count, term));
            }
            count += 1;
        }
        survey.finish();
        let under = choose(&found, &survey);
        let mut building = Building::new(&survey);
        for ((condition, term), under) in found.into_iter().zip(under) {
            building.file(condition, term, under);
        }
        building.finish(count)
    }
}

/// Where a term is filed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// Looked at for every transaction.
    Always,
    /// Looked at when an opaque condition comes to what is wanted.
    Gate { predicate: u32, wanted: bool },
    /// Looked at for the keys of a column that the threshold says. Thresholds of `Falling` are inverted bit by bit, so that those that
    /// hold for a key come first, as those of `Rising` do.
    Column { filing: Filing, column: u32, threshold: i64 },
}

impl Place {
    /// Whether both are in one group.
    fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Column { filing, column, .. },
                Self::Column { filing: other_filing, column: other_column, .. },
            ) => (filing, column) == (other_filing, other_column),
            _ => self == other,
        }
    }

    fn threshold(&self) -> i64 {
        match self {
            Self::Column { threshold, .. } => *threshold,
            Self::Always | Self::Gate { .. } => 0,
        }
    }
}

struct Building<'s, 'n> {
    survey: &'s Survey<'n>,
    columns: Columns,
    numbers: HashMap<(Slot, Kind), u32>,
    opaque: Vec<BoolNode>,
    opaque_numbers: HashMap<String, u32>,
    sets: Vec<u64>,
    tests: Vec<Test>,
    terms: Vec<TermTests>,
    filed: Vec<(Place, Entry)>,
}

impl<'s, 'n> Building<'s, 'n> {
    fn new(survey: &'s Survey<'n>) -> Self {
        let column = |(slot, kind)| {
            let texts = match kind {
                Kind::Text => survey.texts(slot).iter().map(|text| Box::from(*text)).collect(),
                _ => Vec::new(),
            };
            Column { slot, kind, texts: TextTable::new(texts) }
        };
        let nothing = (Slot(0), Kind::Nothing);
        let columns = Columns::new([nothing].into_iter().chain(survey.columns()).map(column).collect());
        let numbers = (0..).zip(columns.all()).map(|(number, column)| ((column.slot, column.kind), number));
        Self {
            survey,
            numbers: numbers.collect(),
            columns,
            opaque: Vec::new(),
            opaque_numbers: HashMap::new(),
            sets: Vec::new(),
            tests: Vec::new(),
            terms: Vec::new(),
            filed: Vec::new(),
        }
    }

    fn file(&mut self, condition: u32, mut term: Term<'n>, under: Option<usize>) {
        let (places, is_whole) = under.map_or((vec![Place::Always], false), |at| self.places(&term[at]));
        if let Some(at) = under
            && is_whole
        {
            term.remove(at);
        }
        let survey = self.survey;
        term.sort_by(|a, b| survey.share(a).total_cmp(&survey.share(b)));
        let mut ranges: Vec<Packed> = Vec::new();
        let mut tests: Vec<Test> = Vec::new();
        for leaf in &term {
            match self.test(leaf) {
                Test::Range(range) if ranges.len() < FILTERS + SECOND_FILTERS => ranges.push(range),
                test => tests.push(test),
            }
        }
        tests.sort_by_key(Test::kind); // what costs least comes first
        ranges.resize(FILTERS + SECOND_FILTERS, Packed::HOLDS);
        let number = u32::try_from(self.terms.len()).unwrap_or(u32::MAX);
        self.terms.push(TermTests {
            filters: std::array::from_fn(|at| ranges[FILTERS + at]),
            condition,
            tests: Run::following(self.tests.len(), tests.len()),
        });
        self.tests.extend(tests);
        let entry = Entry { filters: std::array::from_fn(|at| ranges[at]), term: number };
        self.filed.extend(places.into_iter().map(|place| (place, entry)));
    }

    /// Where a term is filed under this leaf, and whether being found there is all that the leaf asks.
    fn places(&mut self, leaf: &Leaf<'n>) -> (Vec<Place>, bool) {
        match leaf {
            Leaf::Range { slot, kind, range } => {
                let Some(filing) = Filing::of(*kind, *range) else { return (vec![Place::Always], false) };
                let (threshold, is_whole) = match filing {
                    Filing::Dense | Filing::Point => (range.lo, range.lo == range.hi),
                    Filing::Rising => (range.lo, range.hi == i64::MAX),
                    Filing::Falling => (!range.hi, true),
                };
                (vec![Place::Column { filing, column: self.column(*slot, *kind), threshold }], is_whole)
            }
            Leaf::Texts { slot, texts, .. } => {
                let column = self.column(*slot, Kind::Text);
                let mut keys: Vec<i64> = texts.iter().map(|text| self.text_key(column, text)).collect();
                keys.sort_unstable();
                keys.dedup();
                let place = |threshold| Place::Column { filing: Filing::Dense, column, threshold };
                (keys.into_iter().map(place).collect(), true)
            }
            Leaf::Opaque { node, wanted } => {
                (vec![Place::Gate { predicate: self.predicate(node), wanted: *wanted }], true)
            }
        }
    }

    fn test(&mut self, leaf: &Leaf<'n>) -> Test {
        match leaf {
            Leaf::Range { slot, kind, range } => Test::Range(Packed::new(self.column(*slot, *kind), *range)),
            Leaf::Texts { slot, texts, inverted } => {
                let column = self.column(*slot, Kind::Text);
                if let [text] = texts[..] {
                    let key = self.text_key(column, text);
                    let range = Range { inverted: *inverted, ..Range::of(key, key) };
                    return Test::Range(Packed::new(column, range));
                }
                let words = self.texts_len(column).div_ceil(64);
                let set = Run::following(self.sets.len(), words);
                self.sets.resize(self.sets.len() + words, 0);
                for text in texts {
                    let key = usize::try_from(self.text_key(column, text)).unwrap_or(0);
                    self.sets[set.range()][key / 64] |= 1 << (key % 64);
                }
                Test::Texts { column, set, inverted: *inverted }
            }
            Leaf::Opaque { node, wanted } => {
                Test::Opaque { predicate: self.predicate(node), wanted: *wanted }
            }
        }
    }

    /// The number of a column that the survey has seen.
    fn column(&self, slot: Slot, kind: Kind) -> u32 {
        self.numbers.get(&(slot, kind)).copied().unwrap_or(0)
    }

    /// The key of a text that the survey has seen.
    fn text_key(&self, column: u32, text: &str) -> i64 {
        self.columns.all()[column as usize].texts.position(text).unwrap_or(i64::MAX)
    }

    fn texts_len(&self, column: u32) -> usize {
        self.columns.all()[column as usize].texts.len()
    }

    /// The number of an opaque condition: the same for conditions that are written the same.
    fn predicate(&mut self, node: &BoolNode) -> u32 {
        let next = u32::try_from(self.opaque.len()).unwrap_or(u32::MAX);
        let number = *self.opaque_numbers.entry(format!("{node:?}")).or_insert(next);
        if number == next {
            self.opaque.push(node.clone());
        }
        number
    }

    fn finish(mut self, conditions: u32) -> ConditionIndex {
        self.filed.sort_by_key(|(place, _)| *place);
        let mut index = ConditionIndex { conditions: conditions as usize, ..ConditionIndex::default() };
        let mut start = 0;
        for run in self.filed.chunk_by(|(a, _), (b, _)| a.is_beside(b)) {
            let entries = Run::following(start, run.len());
            start += run.len();
            match run[0].0 {
                Place::Always => index.always = entries,
                Place::Gate { predicate, wanted } => index.gates.push((predicate, wanted, entries)),
                Place::Column { filing, column, threshold } => {
                    let group = Group { column, entries, first: threshold };
                    match filing {
                        Filing::Rising => index.rising.push(group),
                        Filing::Falling => index.falling.push(group),
                        Filing::Point => index.points.push(group),
                        Filing::Dense => {
                            let keys = i64::try_from(self.texts_len(column).max(2)).unwrap_or(i64::MAX);
                            let starts = index.dense_starts.len();
                            index.dense_starts.extend((0..=keys).map(|key| {
                                let before = run.partition_point(|(place, _)| place.threshold() < key);
                                u32::try_from(entries.range().start + before).unwrap_or(u32::MAX)
                            }));
                            index
                                .dense
                                .push((column, Run::following(starts, index.dense_starts.len() - starts)));
                        }
                    }
                }
            }
        }
        ConditionIndex {
            columns: self.columns,
            opaque: self.opaque.into(),
            sets: self.sets.into(),
            tests: self.tests.into(),
            terms: self.terms.into(),
            thresholds: self.filed.iter().map(|(place, _)| place.threshold()).collect(),
            entries: self.filed.iter().map(|(_, entry)| *entry).collect(),
            ..index
        }
    }
}
