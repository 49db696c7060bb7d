//! How decisions differ from others over the same transactions, with some to look at.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use serde::Serialize;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::evaluation::report::{Effect, Operation, OutcomeRow, RuleState, RuleValue, TruthCounts, share};
use crate::evaluation::report_parts::{operation, outcome_rows};
use crate::evaluation::rule_tally::{PartTally, RulesTally};
use crate::evaluation::said::{Before, Said, Subject};
use crate::evaluation::truth::IdHash;

/// How many transactions are shown of each kind of change, unless somebody asks for others.
pub const SAMPLES_DEFAULT: usize = 5;
/// Most transactions that are shown of each kind of change.
pub const SAMPLES_MAX: usize = 100;
/// Most rules that are compared by their hits; those met later are not. Two sets as large as there are.
pub const RULES_COMPARED_MAX: usize = 40_000;

/// How the decisions differ from others over the same transactions.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// Against what: `recorded`, or a directory of rules.
    pub against: String,
    /// How many transactions have both decisions.
    pub compared: u64,
    /// How many got another outcome.
    pub changed: u64,
    /// In what the decisions differ.
    pub differing: Differing,
    /// The changed ones, by direction.
    pub effect: Effect,
    /// Kinds of change, the most frequent first.
    pub changes: Vec<ChangeRow>,
    /// Outcomes that stayed, most severe first.
    pub unchanged: Vec<ChangeRow>,
    /// The decisions before, by outcome, most severe first.
    pub decisions_before: Vec<OutcomeRow>,
    /// What the decisions before catch and cost.
    pub operation_before: Operation,
    /// Rules that matched before, after, or both; those whose hits changed most come first.
    pub rules: Vec<RuleChange>,
}

/// In how many decisions each part differs. What was not said before counts as equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Differing {
    /// The outcome.
    pub outcome: u64,
    /// The code that decided.
    pub reason: u64,
    /// Any reason, in any part.
    pub reasons: u64,
    /// The score or the margin, in any bit.
    pub score: u64,
    /// The rules that matched.
    pub hits: u64,
}

/// Decisions that changed alike.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ChangeRow {
    /// What it was.
    pub before: Outcome,
    /// What it is.
    pub after: Outcome,
    /// How many.
    pub count: u64,
    /// Of all that were compared.
    pub share: Option<f64>,
    /// What became of them.
    pub truth: TruthCounts,
    /// The money in them, by currency.
    pub value: Vec<RuleValue>,
    /// Some of them: those with the lowest hashes of their ids, so that two runs show the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// One transaction to look at.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Sample {
    /// The gateway's id.
    pub transaction_id: String,
    /// When it happened, RFC 3339.
    pub occurred_at: String,
    /// The amount, in minor units.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: &'static str,
    /// What was decided before.
    pub before: SampleSide,
    /// What is decided now.
    pub after: SampleSide,
    /// What became of it; absent when nobody knows.
    pub truth: Option<Verdict>,
}

/// One of its two decisions.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SampleSide {
    /// The outcome.
    pub outcome: Outcome,
    /// The code that decided; empty when it is not known.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The rules that matched, live and shadow.
    pub rules: Vec<String>,
}

impl SampleSide {
    fn of(said: &Said<'_>) -> Self {
        Self {
            outcome: said.outcome,
            reason: said.reason.to_owned(),
            rule: said.rule.map(str::to_owned),
            rules: said.hits.iter().map(|&rule| rule.to_owned()).collect(),
        }
    }
}

/// On which side a rule is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Only before.
    Before,
    /// Only now.
    After,
    /// On both.
    Both,
}

/// One rule on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuleChange {
    /// Its id.
    pub rule: String,
    /// Whether it decides now; absent when it is not there now.
    pub state: Option<RuleState>,
    /// Where it is. What a record was decided by is known by its hits alone: a rule without one counts as not there before.
    pub presence: Presence,
    /// How often it matched before.
    pub hits_before: u64,
    /// How often it matches now.
    pub hits_after: u64,
    /// How often it did both.
    pub hits_both: u64,
    /// How often it decided before.
    pub decided_before: u64,
    /// How often it decides now.
    pub decided_after: u64,
}

impl RuleChange {
    /// By how much its hits changed, in either direction.
    pub const fn hits_moved(&self) -> u64 {
        self.hits_before + self.hits_after - 2 * self.hits_both
    }
}

#[derive(Debug, Default)]
struct Change {
    part: PartTally,
    /// The sample with the highest hash is the first to go.
    samples: BinaryHeap<Kept>,
}

/// A sample, ordered by the hash of its id; of the same id the first stays.
#[derive(Debug)]
struct Kept {
    hash: IdHash,
    number: u64,
    sample: Sample,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        (self.hash, self.number) == (other.hash, other.number)
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.hash, self.number).cmp(&(other.hash, other.number))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct RuleCounts {
    before: u64,
    after: u64,
    both: u64,
    decided_before: u64,
    decided_after: u64,
}

/// The counts so far.
#[derive(Debug)]
pub struct ComparisonTally {
    samples_max: usize,
    compared: u64,
    differing: Differing,
    before: BTreeMap<Outcome, TruthCounts>,
    more_severe: PartTally,
    milder: PartTally,
    changes: BTreeMap<(Outcome, Outcome), Change>,
    rules: HashMap<Box<str>, RuleCounts>,
}

impl ComparisonTally {
    /// Nothing counted yet; of each kind of change so many samples are kept, at most [`SAMPLES_MAX`].
    pub fn new(samples_max: usize) -> Self {
        Self {
            samples_max: samples_max.min(SAMPLES_MAX),
            compared: 0,
            differing: Differing::default(),
            before: BTreeMap::new(),
            more_severe: PartTally::default(),
            milder: PartTally::default(),
            changes: BTreeMap::new(),
            rules: HashMap::new(),
        }
    }

    /// Counts two decisions of one transaction.
    pub fn add(&mut self, subject: &Subject<'_>, before: &Before<'_>, after: &Said<'_>) {
        self.compared += 1;
        let (said, differences) = (&before.said, before.differences);
        let is_changed = said.outcome != after.outcome;
        self.differing.outcome += u64::from(is_changed);
        self.differing.reason += u64::from(differences.reason);
        self.differing.reasons += u64::from(differences.reasons);
        self.differing.score += u64::from(differences.score);
        self.differing.hits += u64::from(differences.hits);
        self.before.entry(said.outcome).or_default().count(subject.truth);
        let change = self.changes.entry((said.outcome, after.outcome)).or_default();
        change.part.add(subject.truth, subject.amount);
        if is_changed {
            let effect = if after.outcome > said.outcome { &mut self.more_severe } else { &mut self.milder };
            effect.add(subject.truth, subject.amount);
            change.keep(self.samples_max, self.compared, subject, said, after);
        }
        for id in &said.hits {
            let both = after.hits.contains(id);
            self.rule(id, |counts| {
                counts.before += 1;
                counts.both += u64::from(both);
            });
        }
        for id in &after.hits {
            self.rule(id, |counts| counts.after += 1);
        }
        if let Some(id) = said.rule {
            self.rule(id, |counts| counts.decided_before += 1);
        }
        if let Some(id) = after.rule {
            self.rule(id, |counts| counts.decided_after += 1);
        }
    }

    fn rule(&mut self, id: &str, count: impl FnOnce(&mut RuleCounts)) {
        if let Some(counts) = self.rules.get_mut(id) {
            count(counts);
        } else if self.rules.len() < RULES_COMPARED_MAX {
            count(self.rules.entry(id.into()).or_default());
        }
    }

    /// What was found. `known_before` are the rules of the other side, where they are known.
    pub fn comparison(self, against: String, rules: &RulesTally, known_before: &[String]) -> Comparison {
        let compared = self.compared;
        let all = self.before.values().fold(TruthCounts::default(), |sum, truth| sum.and(truth));
        let row = |(before, after): (Outcome, Outcome), change: Change| ChangeRow {
            before,
            after,
            count: change.part.truth().total(),
            share: share(change.part.truth().total(), compared),
            truth: *change.part.truth(),
            value: change.part.value(),
            samples: change.samples.into_sorted_vec().into_iter().map(|kept| kept.sample).collect(),
        };
        let (changed, stayed): (Vec<_>, Vec<_>) =
            self.changes.into_iter().partition(|((before, after), _)| before != after);
        let mut changes: Vec<ChangeRow> = changed.into_iter().map(|(key, change)| row(key, change)).collect();
        changes.sort_by_key(|row| (Reverse(row.count), row.before, row.after));
        Comparison {
            against,
            compared,
            changed: self.differing.outcome,
            differing: self.differing,
            effect: Effect { more_severe: self.more_severe.part(), milder: self.milder.part() },
            changes,
            unchanged: stayed.into_iter().rev().map(|(key, change)| row(key, change)).collect(),
            decisions_before: outcome_rows(&self.before, &all),
            operation_before: operation(&self.before, &all),
            rules: rule_changes(&self.rules, rules, known_before),
        }
    }
}

impl Change {
    fn keep(&mut self, max: usize, number: u64, subject: &Subject<'_>, before: &Said<'_>, after: &Said<'_>) {
        let hash = IdHash::of(subject.id);
        if self.samples.len() == max && self.samples.peek().is_none_or(|last| last.hash <= hash) {
            return;
        }
        let sample = Sample {
            transaction_id: subject.id.to_owned(),
            occurred_at: subject.at.to_string(),
            amount_minor: subject.amount.minor(),
            currency: subject.amount.currency().code(),
            before: SampleSide::of(before),
            after: SampleSide::of(after),
            truth: subject.truth,
        };
        self.samples.push(Kept { hash, number, sample });
        if self.samples.len() > max {
            self.samples.pop();
        }
    }
}

fn rule_changes(
    counted: &HashMap<Box<str>, RuleCounts>,
    rules: &RulesTally,
    known_before: &[String],
) -> Vec<RuleChange> {
    let known: BTreeSet<&str> = known_before.iter().map(String::as_str).collect();
    let ids: BTreeSet<&str> =
        counted.keys().map(|id| &**id).chain(rules.ids()).chain(known.iter().copied()).collect();
    let mut rows: Vec<RuleChange> = ids
        .into_iter()
        .filter_map(|id| {
            let counts = counted.get(id).copied().unwrap_or_default();
            let state = rules.info(id).map(|info| info.state);
            let was_there = known.contains(id) || counts.before > 0;
            let presence = match (was_there, state.is_some()) {
                (true, true) => Presence::Both,
                (true, false) => Presence::Before,
                (false, true) => Presence::After,
                (false, false) => return None,
            };
            Some(RuleChange {
                rule: id.to_owned(),
                state,
                presence,
                hits_before: counts.before,
                hits_after: counts.after,
                hits_both: counts.both,
                decided_before: counts.decided_before,
                decided_after: counts.decided_after,
            })
        })
        .collect();
    rows.sort_by_key(|row| (Reverse(row.hits_moved()), Reverse(row.hits_after), row.rule.clone()));
    rows
}
