//! Why rules hit one transaction or did not: for people who ask afterwards, not for the decision.

use std::cmp::Reverse;

use crate::domain::time::EventTime;
use crate::expr::explain::{Explanation, Join, Threshold, explain};
use crate::expr::node::BoolNode;
use crate::expr::program::Facts;
use crate::expr::schema::Schema;
use crate::rules::set::{Hit, Rule, RuleSet};

/// Most near misses that are shown.
pub const NEAR_MISSES_MAX: usize = 10;
/// A threshold that was missed by more than this share of it is not near.
pub const NEAR_DISTANCE_MAX: f64 = 0.5;

/// A rule whose condition held.
#[derive(Debug)]
pub struct Matched<'s> {
    /// The rule.
    pub rule: &'s Rule,
    /// Whether it counts for the decision: live, not shadow.
    pub live: bool,
    /// Its condition.
    pub condition: Explanation,
    /// Why it is no hit all the same; `None` for a hit.
    pub off: Option<Off>,
}

/// Why a rule was off.
#[derive(Clone, PartialEq, Debug)]
pub enum Off {
    /// It starts at that moment.
    NotYet(EventTime),
    /// It ended at that moment.
    Expired(EventTime),
    /// The transaction is outside its share.
    OutsideRollout,
    /// The name by which its share is drawn has no value.
    RolloutMissing,
}

/// A rule that was on and failed by one of its conjuncts.
#[derive(Debug)]
pub struct NearMiss<'s> {
    /// The rule.
    pub rule: &'s Rule,
    /// Whether it would have counted for the decision.
    pub live: bool,
    /// Its condition.
    pub condition: Explanation,
    /// The part that did not hold.
    pub failed: Explanation,
    /// How many parts had to hold.
    pub conjuncts: usize,
    /// The threshold that was missed least, if one that is near was.
    pub threshold: Option<Threshold>,
}

/// What the rules say of one transaction.
#[derive(Debug)]
pub struct Explained<'s> {
    /// The hits: those that count first, most decisive first; then the shadow ones in file order.
    pub hits: Vec<Matched<'s>>,
    /// Rules whose condition held while they were off, in file order.
    pub off: Vec<Matched<'s>>,
    /// The nearest near misses, nearest first.
    pub near_misses: Vec<NearMiss<'s>>,
    /// How many near misses there are.
    pub near_misses_total: usize,
}

/// Explains what every live and every shadow rule made of a transaction at that moment.
pub fn explained<'s, F: Facts + ?Sized>(set: &'s RuleSet, facts: &F, at: EventTime) -> Explained<'s> {
    let mut schema = set.schema().clone();
    let hits = set.evaluate(facts, at);
    let shadows = hits.iter().filter(|hit| !hit.live).copied();
    let in_order: Vec<Hit> = set.ranked(&hits).into_iter().chain(shadows).collect();
    let mut found = Explained {
        hits: in_order.into_iter().filter_map(|hit| matched(set, hit, &mut schema, facts, None)).collect(),
        off: Vec::new(),
        near_misses: Vec::new(),
        near_misses_total: 0,
    };
    let mut ranked = Vec::new();
    for hit in set.active() {
        let Some(rule) = set.rule(*hit) else { continue };
        match (rule.program().matches(facts), off(rule, facts, at)) {
            (true, None) => {}
            (true, off) => found.off.extend(matched(set, *hit, &mut schema, facts, off)),
            (false, Some(_)) => {}
            (false, None) if failing(rule, facts) == 1 => {
                ranked.extend(near_miss(set, *hit, &mut schema, facts));
            }
            (false, None) => {}
        }
    }
    found.near_misses_total = ranked.len();
    ranked.sort_by(|a, b| nearness(a).partial_cmp(&nearness(b)).unwrap_or(std::cmp::Ordering::Equal));
    ranked.truncate(NEAR_MISSES_MAX);
    found.near_misses = ranked;
    found
}

/// In the order of a reader's interest: near thresholds, then what was false, then what was missing; of these, rules of which
/// more held first.
fn nearness(miss: &NearMiss<'_>) -> (u8, f64, Reverse<usize>) {
    let rank = match (&miss.threshold, miss.failed.held) {
        (Some(_), _) => 0,
        (None, Some(_)) => 1,
        (None, None) => 2,
    };
    (rank, miss.threshold.as_ref().map_or(0.0, Threshold::distance), Reverse(miss.conjuncts))
}

fn matched<'s, F: Facts + ?Sized>(
    set: &'s RuleSet,
    hit: Hit,
    schema: &mut Schema,
    facts: &F,
    off: Option<Off>,
) -> Option<Matched<'s>> {
    let rule = set.rule(hit)?;
    let condition = explain(&rule.when, schema, facts).ok()?;
    Some(Matched { rule, live: hit.live, condition, off })
}

fn off<F: Facts + ?Sized>(rule: &Rule, facts: &F, at: EventTime) -> Option<Off> {
    match (rule.starts, rule.ends, &rule.rollout) {
        (Some(starts), _, _) if at < starts => Some(Off::NotYet(starts)),
        (_, Some(ends), _) if at >= ends => Some(Off::Expired(ends)),
        (_, _, Some(rollout)) if !rollout.includes(&rule.id, facts) => {
            Some(if rollout.knows(facts) { Off::OutsideRollout } else { Off::RolloutMissing })
        }
        _ => None,
    }
}

/// How many of the conjuncts do not hold.
fn failing<F: Facts + ?Sized>(rule: &Rule, facts: &F) -> usize {
    fn count<F: Facts + ?Sized>(node: &BoolNode, facts: &F) -> usize {
        match node {
            BoolNode::All(parts) => parts.iter().map(|part| count(part, facts)).sum(),
            node => usize::from(node.eval(facts) != Some(true)),
        }
    }
    rule.program().condition().map_or(0, |node| count(node, facts))
}

fn near_miss<'s, F: Facts + ?Sized>(
    set: &'s RuleSet,
    hit: Hit,
    schema: &mut Schema,
    facts: &F,
) -> Option<NearMiss<'s>> {
    let rule = set.rule(hit)?;
    let condition = explain(&rule.when, schema, facts).ok()?;
    let mut conjuncts = Vec::new();
    flatten(&condition, &mut conjuncts);
    let failed = (*conjuncts.iter().find(|part| part.held != Some(true))?).clone();
    let threshold = nearest_threshold(&failed).filter(|found| found.distance() <= NEAR_DISTANCE_MAX);
    let conjuncts = conjuncts.len();
    // Of a rule with one part nothing held: only a near threshold makes it worth a look.
    (conjuncts > 1 || threshold.is_some()).then_some(NearMiss {
        rule,
        live: hit.live,
        condition,
        failed,
        conjuncts,
        threshold,
    })
}

fn flatten<'e>(condition: &'e Explanation, conjuncts: &mut Vec<&'e Explanation>) {
    if condition.join == Join::All {
        condition.parts.iter().for_each(|part| flatten(part, conjuncts));
    } else {
        conjuncts.push(condition);
    }
}

/// The threshold that is missed least, where meeting one is enough.
fn nearest_threshold(failed: &Explanation) -> Option<Threshold> {
    match failed.join {
        Join::Term => failed.threshold.clone(),
        Join::Any => failed
            .parts
            .iter()
            .filter_map(nearest_threshold)
            .min_by(|a, b| a.distance().total_cmp(&b.distance())),
        Join::All | Join::Not | Join::Choice => None,
    }
}
