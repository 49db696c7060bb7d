//! What recorded transactions held, and what the rules make of them.

use crate::expr::program::Facts;
use crate::expr::schema::Slot;
use crate::rules::file::State;
use crate::rules::lint::run::warning;
use crate::rules::problem::{Kind, Problem};
use crate::rules::rollout::Rollout;
use crate::rules::set::RuleSet;

/// Fewer transactions than this prove nothing.
pub const TRANSACTIONS_MIN: u64 = 1_000;

/// Counts over recorded transactions.
#[derive(Debug)]
pub struct Traffic {
    transactions: u64,
    judged: u64,
    /// Of each name that a rule reads: how many transactions tell, and how many had a value.
    names: Vec<(Slot, u64, u64)>,
    matched: Vec<u64>,
}

impl Traffic {
    /// Nothing counted yet.
    pub fn new(set: &RuleSet) -> Self {
        let reads = set.rules().iter().flat_map(|rule| rule.program().reads().iter().map(|read| read.slot));
        let rollouts = set.rules().iter().filter_map(|rule| rule.rollout.as_ref().map(Rollout::by_slot));
        let mut slots: Vec<Slot> = reads.chain(rollouts).collect();
        slots.sort_unstable();
        slots.dedup();
        let names = slots.into_iter().map(|slot| (slot, 0, 0)).collect();
        Self { transactions: 0, judged: 0, names, matched: vec![0; set.rules().len()] }
    }

    /// How many transactions were counted.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// How many of them the rules were asked about.
    pub fn judged(&self) -> u64 {
        self.judged
    }

    /// How many transactions told of a slot without one that had a value.
    fn always_missing_in(&self, slot: Slot) -> Option<u64> {
        let at = self.names.binary_search_by_key(&slot, |(slot, _, _)| *slot).ok()?;
        let (_, told, present) = self.names.get(at)?;
        (*present == 0 && *told >= TRANSACTIONS_MIN).then_some(*told)
    }

    /// Counts a transaction. `knows`: whether `facts` tell of a slot at all; `is_whole`: whether they tell of every one, so that
    /// the rules can be asked.
    pub fn count<F: Facts + ?Sized>(
        &mut self,
        set: &RuleSet,
        facts: &F,
        knows: impl Fn(Slot) -> bool,
        is_whole: bool,
    ) {
        self.transactions += 1;
        for (slot, told, present) in self.names.iter_mut().filter(|(slot, _, _)| knows(*slot)) {
            *told += 1;
            *present += u64::from(facts.value(*slot).is_present());
        }
        if is_whole {
            self.judged += 1;
            set.each_matching(facts, |rule| {
                if let Some(matched) = self.matched.get_mut(rule as usize) {
                    *matched += 1;
                }
            });
        }
    }
}

/// Warns of names that never had a value, and of rules that matched nothing.
pub(super) fn lint(set: &RuleSet, traffic: &Traffic, problems: &mut Vec<Problem>) {
    for (rule, matched) in set.rules().iter().zip(&traffic.matched) {
        if rule.state == State::Paused {
            continue;
        }
        for read in rule.program().reads() {
            if let Some(told) = traffic.always_missing_in(read.slot) {
                let message = format!("`{}` was missing in all of {told} recorded transactions", read.name);
                let advice = "send it, fill it, or leave it out of the rule";
                problems.push(warning(rule, Kind::AlwaysMissing, message).advising(advice));
            }
        }
        if let Some(rollout) = &rule.rollout
            && let Some(told) = traffic.always_missing_in(rollout.by_slot())
        {
            let message = format!(
                "its rollout is drawn by `{}`, which was missing in all of {told} recorded transactions: it is off",
                rollout.by()
            );
            problems
                .push(warning(rule, Kind::AlwaysMissing, message).advising("draw it by a name that is sent"));
        }
        let is_asked = matches!(rule.state, State::Live | State::Shadow);
        if is_asked && *matched == 0 && traffic.judged >= TRANSACTIONS_MIN {
            let message = format!("matches none of {} recorded transactions", traffic.judged);
            problems.push(warning(rule, Kind::NeverMatched, message));
        }
    }
}
