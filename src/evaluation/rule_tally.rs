//! Counts what each rule matches, what it alone matches, and what would be decided with its state turned around.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::domain::money::{Currency, Money};
use crate::engine::policy::Policy;
use crate::evaluation::interval::Estimate;
use crate::evaluation::report::{Effect, Part, RuleRow, RuleState, RuleValue, TruthCounts};
use crate::evaluation::said::{Said, Subject};
use crate::rules::file::State;

/// A rule of the policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleInfo {
    /// Its id.
    pub id: String,
    /// Whether it decides.
    pub state: RuleState,
    /// What it says.
    pub outcome: Outcome,
    /// Higher wins.
    pub priority: i32,
}

/// The rules of a policy that are evaluated, in file order.
pub fn rules_of(policy: &Policy) -> Vec<RuleInfo> {
    let rules = policy.rules.rules().iter();
    rules
        .filter_map(|rule| {
            let state = match rule.state {
                State::Live => RuleState::Live,
                State::Shadow => RuleState::Shadow,
                State::Draft | State::Paused => return None,
            };
            Some(RuleInfo { id: rule.id.to_string(), state, outcome: rule.then, priority: rule.priority })
        })
        .collect()
}

/// Some transactions, counted.
#[derive(Clone, Debug, Default)]
pub struct PartTally {
    truth: TruthCounts,
    value: BTreeMap<Currency, [i128; 3]>,
}

impl PartTally {
    /// Takes one in.
    pub fn add(&mut self, truth: Option<Verdict>, amount: Money) {
        self.truth.count(truth);
        let [fraud, legitimate, unlabelled] = self.value.entry(amount.currency()).or_default();
        let sum = match truth {
            Some(Verdict::Fraud) => fraud,
            Some(Verdict::Legitimate) => legitimate,
            None => unlabelled,
        };
        *sum += i128::from(amount.minor());
    }

    /// What became of them.
    pub const fn truth(&self) -> &TruthCounts {
        &self.truth
    }

    /// The money in them, by currency in the order of the codes.
    pub fn value(&self) -> Vec<RuleValue> {
        let value = self.value.iter().map(|(currency, [fraud, legitimate, unlabelled])| RuleValue {
            currency: currency.code(),
            fraud_minor: *fraud,
            legitimate_minor: *legitimate,
            unlabelled_minor: *unlabelled,
        });
        value.collect()
    }

    /// As the report has it.
    pub fn part(&self) -> Part {
        Part { count: self.truth.total(), truth: self.truth, value: self.value() }
    }
}

/// The rules with their counts.
#[derive(Debug, Default)]
pub struct RulesTally {
    rules: Vec<RuleTally>,
    by_id: HashMap<String, usize>,
    default: Option<Outcome>,
}

#[derive(Debug)]
struct RuleTally {
    info: RuleInfo,
    decided: u64,
    hits: PartTally,
    alone: PartTally,
    more_severe: PartTally,
    milder: PartTally,
}

impl RulesTally {
    /// Nothing counted yet. `default` is what is decided when no live rule matches.
    pub fn new(rules: Vec<RuleInfo>, default: Outcome) -> Self {
        let by_id = rules.iter().enumerate().map(|(at, rule)| (rule.id.clone(), at)).collect();
        let rules = rules.into_iter().map(|info| RuleTally {
            info,
            decided: 0,
            hits: PartTally::default(),
            alone: PartTally::default(),
            more_severe: PartTally::default(),
            milder: PartTally::default(),
        });
        Self { rules: rules.collect(), by_id, default: Some(default) }
    }

    /// What a rule is; `None` for one that the policy does not have.
    pub fn info(&self, id: &str) -> Option<&RuleInfo> {
        self.by_id.get(id).and_then(|at| self.rules.get(*at)).map(|rule| &rule.info)
    }

    /// The ids, in file order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.info.id.as_str())
    }

    /// Counts a decision.
    pub fn add(&mut self, subject: &Subject<'_>, said: &Said<'_>) {
        let hits: SmallVec<[usize; 8]> =
            said.hits.iter().filter_map(|id| self.by_id.get(*id).copied()).collect();
        let is_live = |at: &usize| self.rules[*at].info.state == RuleState::Live;
        let live: SmallVec<[usize; 8]> = hits.iter().copied().filter(is_live).collect();
        let stopping = live.iter().filter(|at| self.rules[**at].info.outcome > Outcome::Approve).count();
        let others: SmallVec<[Outcome; 8]> = hits.iter().map(|at| self.turned(*at, &live, said)).collect();
        for (at, other) in hits.iter().zip(others) {
            let rule = &mut self.rules[*at];
            rule.hits.add(subject.truth, subject.amount);
            let is_stopping = rule.info.state == RuleState::Live && rule.info.outcome > Outcome::Approve;
            if is_stopping && stopping == 1 {
                rule.alone.add(subject.truth, subject.amount);
            }
            if other > said.outcome {
                rule.more_severe.add(subject.truth, subject.amount);
            } else if other < said.outcome {
                rule.milder.add(subject.truth, subject.amount);
            }
        }
        let decided = said.rule.and_then(|id| self.by_id.get(id));
        if let Some(rule) = decided.and_then(|at| self.rules.get_mut(*at)) {
            rule.decided += 1;
        }
    }

    /// What would be decided without a live rule, or with a shadow rule live. What is missing keeps its floor.
    fn turned(&self, at: usize, live: &[usize], said: &Said<'_>) -> Outcome {
        let now = self.winner(live.iter().copied());
        let floor = (said.outcome > now).then_some(said.outcome);
        let turned = if live.contains(&at) {
            self.winner(live.iter().copied().filter(|it| *it != at))
        } else {
            self.winner(live.iter().copied().chain([at]))
        };
        floor.map_or(turned, |floor| floor.max(turned))
    }

    /// As [`crate::rules::set::RuleSet::decide`]: priority, then severity, then the order of the files.
    fn winner(&self, live: impl Iterator<Item = usize>) -> Outcome {
        let ranked = live.filter_map(|at| self.rules.get(at).map(|rule| (at, &rule.info)));
        let first = ranked.max_by_key(|(at, info)| (info.priority, info.outcome, Reverse(*at)));
        first.map_or_else(|| self.default.unwrap_or(Outcome::Approve), |(_, info)| info.outcome)
    }

    /// The rows, in file order.
    pub fn rows(&self, all: &TruthCounts) -> Vec<RuleRow> {
        self.rules.iter().map(|rule| rule.row(all)).collect()
    }
}

impl RuleTally {
    fn row(&self, all: &TruthCounts) -> RuleRow {
        let truth = *self.hits.truth();
        let is_live = self.info.state == RuleState::Live;
        let effect = Effect { more_severe: self.more_severe.part(), milder: self.milder.part() };
        let (without_it, if_live) = if is_live { (Some(effect), None) } else { (None, Some(effect)) };
        RuleRow {
            rule: self.info.id.clone(),
            state: self.info.state,
            outcome: self.info.outcome,
            hits: truth.total(),
            decided: self.decided,
            truth,
            precision: Estimate::share(truth.fraud, truth.fraud + truth.legitimate),
            recall: Estimate::share(truth.fraud, all.fraud),
            value: self.hits.value(),
            alone: (is_live && self.info.outcome > Outcome::Approve).then(|| self.alone.part()),
            without_it,
            if_live,
        }
    }
}
