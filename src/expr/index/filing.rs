//! Under which leaf each term is filed: rarely looked at, and in few places.
//!
//! A term costs as often as its leaf holds, and a place costs for every transaction, whatever is filed there. So terms gather where
//! many are: each takes the leaf whose share, with its part of the place's cost, is least, given where the others are.

use std::collections::HashMap;

use crate::expr::index::column::{Kind, MISSING};
use crate::expr::index::leaf::{Leaf, Range};
use crate::expr::index::selectivity::Survey;
use crate::expr::index::term::Term;
use crate::expr::schema::Slot;

/// Most texts of one set under each of which a term is filed.
const FILED_TEXTS_MAX: usize = 16;
/// What it costs to look whether a column's key selects anything, in terms looked at.
const COLUMN_COST: f64 = 3.0;
/// What it costs to ask an opaque condition.
const OPAQUE_COST: f64 = 20.0;
/// How often the choice is made anew, given the others'.
const ROUNDS: usize = 4;

/// How a group of terms is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Filing {
    /// By a threshold that is the key, where keys count from 0: a text's position, 0 and 1.
    Dense,
    /// By a threshold that is the key.
    Point,
    /// By a threshold that is the key or below.
    Rising,
    /// By a threshold that is the key or above.
    Falling,
}

impl Filing {
    /// How terms with a leaf that asks for this range are filed, if they are.
    pub(super) fn of(kind: Kind, range: Range) -> Option<Self> {
        match (kind, range) {
            (_, Range { inverted: true, .. }) => None,
            (Kind::Bool | Kind::Presence | Kind::Text, _) => Some(Self::Dense),
            (_, Range { lo, hi, .. }) if lo == hi => Some(Self::Point),
            (_, Range { lo, .. }) if lo > MISSING + 1 => Some(Self::Rising),
            _ => Some(Self::Falling),
        }
    }
}

/// A place that terms share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Place {
    Column(Slot, Kind, Filing),
    Gate(String, bool),
}

/// One of the leaves under which a term could be filed.
struct Choice {
    leaf: usize,
    share: f64,
    place: usize,
}

/// For each term the number of the leaf that it is filed under; `None` when it is looked at for every transaction.
pub(super) fn choose(terms: &[(u32, Term<'_>)], survey: &Survey<'_>) -> Vec<Option<usize>> {
    let mut places: HashMap<Place, usize> = HashMap::new();
    let mut costs: Vec<f64> = Vec::new();
    let mut choices_of = |term: &Term<'_>| -> Vec<Choice> {
        let of_leaf = |(leaf, of): (usize, &Leaf<'_>)| {
            let (place, cost) = place(of)?;
            let next = places.len();
            let place = *places.entry(place).or_insert(next);
            if place == next {
                costs.push(cost);
            }
            Some(Choice { leaf, share: survey.share(of), place })
        };
        term.iter().enumerate().filter_map(of_leaf).collect()
    };
    let choices: Vec<Vec<Choice>> = terms.iter().map(|(_, term)| choices_of(term)).collect();

    let mut filed = vec![0_u32; costs.len()];
    let mut chosen: Vec<Option<usize>> = vec![None; terms.len()];
    for round in 0..ROUNDS {
        for (choices, chosen) in choices.iter().zip(&mut chosen) {
            if let Some(choice) = chosen.map(|at| &choices[at]) {
                filed[choice.place] -= 1;
            }
            let cost = |choice: &Choice| {
                let alone =
                    if round == 0 { 0.0 } else { costs[choice.place] / f64::from(filed[choice.place] + 1) };
                choice.share + alone
            };
            let best = (0..choices.len()).min_by(|a, b| cost(&choices[*a]).total_cmp(&cost(&choices[*b])));
            *chosen = best.filter(|best| round == 0 || cost(&choices[*best]) < 1.0);
            if let Some(choice) = chosen.map(|at| &choices[at]) {
                filed[choice.place] += 1;
            }
        }
    }
    chosen.iter().zip(&choices).map(|(chosen, choices)| chosen.map(|at| choices[at].leaf)).collect()
}

/// The place of terms that are filed under this leaf, and what looking there costs.
fn place(leaf: &Leaf<'_>) -> Option<(Place, f64)> {
    Some(match leaf {
        Leaf::Range { slot, kind, range } => {
            (Place::Column(*slot, *kind, Filing::of(*kind, *range)?), COLUMN_COST)
        }
        Leaf::Texts { inverted: true, .. } => return None,
        Leaf::Texts { texts, .. } if texts.len() > FILED_TEXTS_MAX => return None,
        Leaf::Texts { slot, .. } => (Place::Column(*slot, Kind::Text, Filing::Dense), COLUMN_COST),
        Leaf::Opaque { node, wanted } => (Place::Gate(format!("{node:?}"), *wanted), OPAQUE_COST),
    })
}
