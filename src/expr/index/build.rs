//! Building an index: columns numbered, equal opaque conditions made one, each term filed under its rarest leaf.

use std::collections::HashMap;

use crate::expr::index::column::{Column, Kind, MISSING, TextTable};
use crate::expr::index::leaf::{Leaf, Range};
use crate::expr::index::matcher::{
    ConditionIndex, Entry, FILTERS, Filing, Group, Packed, Run, TermTests, Test,
};
use crate::expr::index::normal::{Term, terms};
use crate::expr::index::selectivity::Survey;
use crate::expr::node::BoolNode;
use crate::expr::program::Program;
use crate::expr::schema::Slot;

/// Most texts of one set under each of which a term is filed.
const FILED_TEXTS_MAX: usize = 16;
/// Leaves that are believed to hold more often than this are no place to file a term under.
const FILED_SHARE_MAX: f64 = 0.75;

impl ConditionIndex {
    /// An index of these conditions; the numbers that it answers with are their positions. A program that is no condition never
    /// matches.
    pub fn new<'n>(conditions: impl IntoIterator<Item = &'n Program>) -> Self {
        let mut survey = Survey::default();
        let mut found: Vec<(u32, Term<'n>)> = Vec::new();
        for (number, program) in (0..).zip(conditions) {
            let alternatives = program.condition().map_or_else(Vec::new, |node| terms(node, true));
            for term in alternatives.into_iter().filter_map(joined) {
                term.iter().for_each(|leaf| survey.note(leaf));
                found.push((number, term));
            }
        }
        survey.finish();
        let mut building = Building::new(&survey);
        for (condition, term) in found {
            building.file(condition, term);
        }
        building.finish()
    }
}

/// The term with the ranges of one column made one; `None` when no key lies in all of them.
fn joined(term: Term<'_>) -> Option<Term<'_>> {
    let mut joined: Term<'_> = Vec::with_capacity(term.len());
    for leaf in term {
        if let Leaf::Range { slot, kind, range } = &leaf
            && !range.inverted
        {
            let earlier = joined.iter_mut().find_map(|known| match known {
                Leaf::Range { slot: of, kind: as_kind, range: known }
                    if of == slot && as_kind == kind && !known.inverted =>
                {
                    Some(known)
                }
                _ => None,
            });
            if let Some(known) = earlier {
                *known = Range::of(known.lo.max(range.lo), known.hi.min(range.hi));
                continue;
            }
        }
        joined.push(leaf);
    }
    let is_empty = |leaf: &Leaf<'_>| matches!(leaf, Leaf::Range { range, .. } if range.is_empty());
    (!joined.iter().any(is_empty)).then_some(joined)
}

/// Where a term is filed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// Looked at for every transaction.
    Always,
    /// Looked at when an opaque condition comes to what is wanted.
    Gate { predicate: u32, wanted: bool },
    /// Looked at for the keys of a column that the threshold says.
    Column { column: u32, filing: Filing, threshold: i64 },
}

struct Building<'s, 'n> {
    survey: &'s Survey<'n>,
    columns: Vec<Column>,
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
        let nothing = Column { slot: Slot(0), kind: Kind::Nothing, texts: TextTable::default() };
        Self {
            survey,
            columns: vec![nothing],
            numbers: HashMap::new(),
            opaque: Vec::new(),
            opaque_numbers: HashMap::new(),
            sets: Vec::new(),
            tests: Vec::new(),
            terms: Vec::new(),
            filed: Vec::new(),
        }
    }

    fn file(&mut self, condition: u32, mut term: Term<'n>) {
        let survey = self.survey;
        term.sort_by(|a, b| survey.share(a).total_cmp(&survey.share(b)));
        let filed_under = term
            .iter()
            .position(|leaf| survey.share(leaf) <= FILED_SHARE_MAX && self.can_be_filed_under(leaf));
        let (places, is_whole) = filed_under.map_or((vec![Place::Always], true), |at| self.places(&term[at]));
        if let Some(at) = filed_under
            && is_whole
        {
            term.remove(at);
        }
        let mut filters = [Packed::HOLDS; FILTERS];
        let mut tests: Vec<Test> = Vec::new();
        let mut packed = 0;
        for leaf in &term {
            match self.test(leaf) {
                Test::Range(range) if packed < FILTERS => {
                    filters[packed] = range;
                    packed += 1;
                }
                test => tests.push(test),
            }
        }
        tests.sort_by_key(|test| test.kind()); // what costs least comes first
        let number = u32::try_from(self.terms.len()).unwrap_or(u32::MAX);
        self.terms.push(TermTests { condition, tests: Run::following(self.tests.len(), tests.len()) });
        self.tests.extend(tests);
        self.filed.extend(places.into_iter().map(|place| (place, Entry { filters, term: number })));
    }

    fn can_be_filed_under(&self, leaf: &Leaf<'n>) -> bool {
        match leaf {
            Leaf::Range { range, .. } => !range.inverted,
            Leaf::Texts { texts, inverted, .. } => !inverted && texts.len() <= FILED_TEXTS_MAX,
            Leaf::Opaque { .. } => true,
        }
    }

    /// Under what a term with this leaf is filed, and whether that is all that the leaf asks.
    fn places(&mut self, leaf: &Leaf<'n>) -> (Vec<Place>, bool) {
        match leaf {
            Leaf::Range { slot, kind, range: Range { lo, hi, .. } } => {
                let column = self.column(*slot, *kind);
                let place = |filing, threshold| vec![Place::Column { column, filing, threshold }];
                match (*lo > MISSING + 1, *hi < i64::MAX) {
                    _ if lo == hi => (place(Filing::Point, *lo), true),
                    (true, has_end) => (place(Filing::Rising, *lo), !has_end),
                    (false, _) => (place(Filing::Falling, *hi), true),
                }
            }
            Leaf::Texts { slot, texts, .. } => {
                let column = self.column(*slot, Kind::Text);
                let mut keys: Vec<i64> = texts.iter().map(|text| self.text_key(column, text)).collect();
                keys.sort_unstable();
                keys.dedup();
                let place = |threshold| Place::Column { column, filing: Filing::Point, threshold };
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
                let words = self.columns[column as usize].texts.len().div_ceil(64);
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

    fn column(&mut self, slot: Slot, kind: Kind) -> u32 {
        let next = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry((slot, kind)).or_insert(next);
        if number == next {
            let texts = match kind {
                Kind::Text => self.survey.texts(slot).iter().map(|text| Box::from(*text)).collect(),
                _ => Vec::new(),
            };
            self.columns.push(Column { slot, kind, texts: TextTable::new(texts) });
        }
        number
    }

    /// The key of a text that the survey has seen.
    fn text_key(&self, column: u32, text: &str) -> i64 {
        self.columns[column as usize].texts.position(text).unwrap_or(i64::MAX)
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

    fn finish(mut self) -> ConditionIndex {
        // Falling thresholds are filed highest first, so that those that hold for a key come first, as rising ones do.
        self.filed.sort_by_key(|(place, _)| match *place {
            Place::Column { column, filing: Filing::Falling, threshold } => {
                (Place::Column { column, filing: Filing::Falling, threshold: !threshold }, 0)
            }
            place => (place, 0),
        });
        let mut index = ConditionIndex {
            columns: self.columns.into(),
            opaque: self.opaque.into(),
            sets: self.sets.into(),
            tests: self.tests.into(),
            terms: self.terms.into(),
            thresholds: self
                .filed
                .iter()
                .map(|(place, _)| match place {
                    Place::Column { threshold, .. } => *threshold,
                    _ => 0,
                })
                .collect(),
            entries: self.filed.iter().map(|(_, entry)| *entry).collect(),
            ..ConditionIndex::default()
        };
        let mut groups: Vec<Group> = Vec::new();
        let mut start = 0;
        let same = |a: &Place, b: &Place| match (a, b) {
            (Place::Column { column: a, filing: x, .. }, Place::Column { column: b, filing: y, .. }) => {
                (a, x) == (b, y)
            }
            _ => a == b,
        };
        for run in self.filed.chunk_by(|(a, _), (b, _)| same(a, b)) {
            let entries = Run::following(start, run.len());
            start += run.len();
            match run[0].0 {
                Place::Always => index.always = entries,
                Place::Gate { predicate, wanted } => index.gates.push((predicate, wanted, entries)),
                Place::Column { column, filing, .. } => groups.push(Group { column, filing, entries }),
            }
        }
        index.groups = groups.into();
        index
    }
}
