//! Rules held against each other: which never decide because a higher one always matches too, and which say the same twice.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::domain::decision::Outcome;
use crate::expr::schema::Slot;
use crate::rules::file::State;
use crate::rules::lint::allowed::Allowed;
use crate::rules::lint::clause::Clause;
use crate::rules::set::Rule;

/// Most times that a clause of one rule is held against a clause of another; what comes later is not compared.
pub(super) const COMPARISONS_MAX: usize = 2_000_000;

/// A rule with its clauses; none when it never matches.
#[derive(Debug)]
pub(super) struct Examined<'s> {
    pub(super) rule: &'s Rule,
    pub(super) clauses: Vec<Clause<'s>>,
}

/// What a clause can be found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key<'a> {
    Everything,
    Name(Slot),
    Text(Slot, &'a str),
    Whole(&'a str, bool),
}

/// Most texts under each of which a clause is filed.
const FILED_TEXTS_MAX: usize = 16;

/// Every place under which a clause could be filed: each a few keys, all of which are used.
fn places<'a>(clause: &'a Clause<'_>) -> impl Iterator<Item = Vec<Key<'a>>> {
    let names = clause.names.iter().map(|(slot, allowed)| match allowed {
        Allowed::Texts(texts) if !texts.inverted && texts.texts.len() <= FILED_TEXTS_MAX => {
            texts.texts.iter().map(|text| Key::Text(*slot, text)).collect()
        }
        _ => vec![Key::Name(*slot)],
    });
    names.chain(clause.whole.iter().map(|(text, wanted)| vec![Key::Whole(text, *wanted)]))
}

/// Where to look for clauses that this one implies: whatever it implies asks for no name and no text that it does not ask for.
fn lookups<'a>(clause: &'a Clause<'_>) -> impl Iterator<Item = Key<'a>> {
    let texts = clause.names.iter().filter_map(|(slot, allowed)| match allowed {
        Allowed::Texts(texts) if !texts.inverted => texts.texts.first().map(|text| Key::Text(*slot, text)),
        _ => None,
    });
    let whole = clause.whole.iter().map(|(text, wanted)| Key::Whole(text, *wanted));
    [Key::Everything]
        .into_iter()
        .chain(texts)
        .chain(clause.names.keys().map(|slot| Key::Name(*slot)))
        .chain(whole)
}

/// As `RuleSet::decide` ranks them: higher is greater.
fn rank(rule: &Rule, position: usize) -> (i32, Outcome, Reverse<usize>) {
    (rule.priority, rule.then, Reverse(position))
}

/// Whether `other` is on whenever `rule` is, for every transaction.
fn is_on_whenever(other: &Rule, rule: &Rule) -> bool {
    let starts = other.starts.is_none_or(|other| rule.starts.is_some_and(|starts| other <= starts));
    let ends = other.ends.is_none_or(|other| rule.ends.is_some_and(|ends| other >= ends));
    other.rollout.is_none() && starts && ends
}

/// Live rules that never decide, each with rules that rank higher and of which one matches whenever it does, by position.
pub(super) fn never_deciding(rules: &[Examined<'_>]) -> Vec<(usize, Vec<usize>)> {
    let live = || rules.iter().enumerate().filter(|(_, examined)| examined.rule.state == State::Live);
    let clauses = || {
        live().flat_map(|(position, examined)| examined.clauses.iter().map(move |clause| (position, clause)))
    };
    let mut shares: HashMap<Key<'_>, usize> = HashMap::new();
    for key in clauses().flat_map(|(_, clause)| places(clause)).flatten() {
        *shares.entry(key).or_default() += 1;
    }
    let share = |place: &Vec<Key<'_>>| place.iter().filter_map(|key| shares.get(key)).sum::<usize>();
    // Each clause is filed where the fewest are.
    let mut filed: HashMap<Key<'_>, Vec<(usize, &Clause<'_>)>> = HashMap::new();
    for (position, clause) in clauses() {
        for key in places(clause).min_by_key(share).unwrap_or_else(|| vec![Key::Everything]) {
            filed.entry(key).or_default().push((position, clause));
        }
    }
    let mut comparisons = 0;
    let mut found = Vec::new();
    for (position, examined) in live() {
        let rank_here = rank(examined.rule, position);
        let mut above_of = |clause: &Clause<'_>| {
            let candidates = lookups(clause).filter_map(|key| filed.get(&key)).flatten();
            for (other, wider) in candidates {
                comparisons += 1;
                if comparisons > COMPARISONS_MAX {
                    return None;
                }
                let above = rules[*other].rule;
                if rank(above, *other) > rank_here
                    && is_on_whenever(above, examined.rule)
                    && clause.implies(wider)
                {
                    return Some(*other);
                }
            }
            None
        };
        let above: Option<BTreeSet<usize>> = examined.clauses.iter().map(&mut above_of).collect();
        if let Some(above) = above.filter(|above| !above.is_empty()) {
            found.push((position, above.into_iter().collect()));
        }
    }
    found
}

/// Most rules of one condition that a further one is held against.
const SAME_MAX: usize = 16;

/// Two rules with one condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Duplicate {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Whether they ask for different outcomes.
    pub(super) is_conflict: bool,
}

/// Rules that hold for the same transactions, at a time: each with the first such rule before it.
pub(super) fn duplicates(rules: &[Examined<'_>]) -> Vec<Duplicate> {
    let mut seen: HashMap<Vec<&Clause<'_>>, Vec<usize>> = HashMap::new();
    let mut found = Vec::new();
    for (second, examined) in rules.iter().enumerate() {
        if examined.clauses.is_empty() {
            continue;
        }
        let mut clauses: Vec<&Clause<'_>> = examined.clauses.iter().collect();
        clauses.sort_unstable();
        clauses.dedup();
        let same = seen.entry(clauses).or_default();
        let duplicate = same.iter().take(SAME_MAX).find_map(|first| {
            let (one, other) = (rules[*first].rule, examined.rule);
            let is_conflict = one.then != other.then;
            let higher = if rank(one, *first) > rank(other, second) { one } else { other };
            // A shadow rule that tries another outcome for a live one's condition is what shadow rules are for, and a rule that is on for
            // some before another is what rollouts are for.
            let is_meant = is_conflict
                && (one.state != State::Live || other.state != State::Live || is_for_some(higher));
            (!is_meant && overlap(one, other)).then_some(Duplicate { first: *first, second, is_conflict })
        });
        found.extend(duplicate);
        same.push(second);
    }
    found
}

fn is_for_some(rule: &Rule) -> bool {
    rule.rollout.as_ref().is_some_and(|rollout| rollout.percent() < 100.0)
}

/// Whether both can be on at one moment.
fn overlap(one: &Rule, other: &Rule) -> bool {
    let before = |ends: Option<_>, starts: Option<_>| matches!((ends, starts), (Some(ends), Some(starts)) if ends <= starts);
    !before(one.ends, other.starts) && !before(other.ends, one.starts)
}
