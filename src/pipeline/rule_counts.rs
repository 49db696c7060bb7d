//! How often each rule of a policy matched: atomics that one decision touches only for the rules that it matched.
//!
//! A rule keeps its counts over a reload while it asks for the same of the same payments: the same id, condition, outcome, reason,
//! state, priority, rollout and dates. Where it stands, its description, its owner, its tests and the lists and features that it
//! reads may change meanwhile. A decision that began before a reload counts for its own policy's rule, which is the same count then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::domain::time::EventTime;
use crate::rules::file::State;
use crate::rules::set::{Rule, RuleSet};

/// No hit yet.
const NEVER: i64 = -1;

/// The counts of a policy's rules.
#[derive(Debug)]
pub struct RuleCounts {
    /// Decisions by any policy since the start.
    decisions: Arc<AtomicU64>,
    rules: Box<[Arc<RuleCount>]>,
}

/// The counts of one rule.
#[derive(Debug)]
struct RuleCount {
    since: EventTime,
    /// How many decisions there had been by then.
    decisions_before: u64,
    hits: AtomicU64,
    decided: AtomicU64,
    shadow_hits: AtomicU64,
    last_hit_ms: AtomicI64,
}

/// The counts of one rule, as they are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Since when.
    pub since: EventTime,
    /// How many decisions asked it: none for a draft or a paused one.
    pub evaluated: u64,
    /// How often it matched while live.
    pub hits: u64,
    /// In how many of these it decided.
    pub decided: u64,
    /// How often it matched while it only watched.
    pub shadow_hits: u64,
    /// When a payment came that it matched last.
    pub last_hit: Option<EventTime>,
}

/// A rule that matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountedHit {
    /// Its position in the set.
    pub position: u32,
    /// Whether it only watched.
    pub is_shadow: bool,
    /// Whether it decided.
    pub has_decided: bool,
}

impl RuleCounts {
    /// Counts that begin now.
    pub fn new(rules: &RuleSet, now: EventTime) -> Self {
        Self::with(Arc::default(), rules, |_| None, now)
    }

    /// Counts that go on where the rules are the same as before.
    pub fn following(&self, old: &RuleSet, new: &RuleSet, now: EventTime) -> Self {
        let kept: HashMap<&str, (&Rule, &Arc<RuleCount>)> =
            old.rules().iter().zip(&self.rules).map(|(rule, count)| (&*rule.id, (rule, count))).collect();
        let of = |rule: &Rule| {
            let (old, count) = kept.get(&*rule.id)?;
            asks_the_same(old, rule).then(|| Arc::clone(count))
        };
        Self::with(Arc::clone(&self.decisions), new, of, now)
    }

    fn with(
        decisions: Arc<AtomicU64>,
        rules: &RuleSet,
        kept: impl Fn(&Rule) -> Option<Arc<RuleCount>>,
        now: EventTime,
    ) -> Self {
        let decisions_before = decisions.load(Ordering::Relaxed);
        let count = |rule: &Rule| {
            kept(rule).unwrap_or_else(|| {
                Arc::new(RuleCount {
                    since: now,
                    decisions_before,
                    hits: AtomicU64::new(0),
                    decided: AtomicU64::new(0),
                    shadow_hits: AtomicU64::new(0),
                    last_hit_ms: AtomicI64::new(NEVER),
                })
            })
        };
        let rules = rules.rules().iter().map(count).collect();
        Self { decisions, rules }
    }

    /// Counts one decision.
    pub fn count(&self, hits: impl IntoIterator<Item = CountedHit>, at: EventTime) {
        self.decisions.fetch_add(1, Ordering::Relaxed);
        for CountedHit { position, is_shadow, has_decided } in hits {
            let Some(count) = self.rules.get(position as usize) else { continue };
            let hits = if is_shadow { &count.shadow_hits } else { &count.hits };
            hits.fetch_add(1, Ordering::Relaxed);
            if has_decided {
                count.decided.fetch_add(1, Ordering::Relaxed);
            }
            count.last_hit_ms.fetch_max(at.unix_millis(), Ordering::Relaxed);
        }
    }

    /// The counts of the rule at that position of the set.
    pub fn of(&self, position: usize, state: State) -> Option<Counts> {
        let count = self.rules.get(position)?;
        let is_asked = matches!(state, State::Live | State::Shadow);
        let decisions = self.decisions.load(Ordering::Relaxed).saturating_sub(count.decisions_before);
        Some(Counts {
            since: count.since,
            evaluated: if is_asked { decisions } else { 0 },
            hits: count.hits.load(Ordering::Relaxed),
            decided: count.decided.load(Ordering::Relaxed),
            shadow_hits: count.shadow_hits.load(Ordering::Relaxed),
            last_hit: EventTime::from_unix_millis(count.last_hit_ms.load(Ordering::Relaxed)).ok(),
        })
    }

    /// Decisions by any policy since the start.
    pub fn decisions(&self) -> u64 {
        self.decisions.load(Ordering::Relaxed)
    }
}

fn asks_the_same(a: &Rule, b: &Rule) -> bool {
    let what = |rule: &Rule| (rule.then, rule.state, rule.priority, rule.starts, rule.ends);
    // Not the slot of a rollout's name: another metadata key may have moved it.
    let whom = |rule: &Rule| {
        rule.rollout.as_ref().map(|rollout| (rollout.percent().to_bits(), rollout.by().to_owned()))
    };
    a.when == b.when && a.reason == b.reason && what(a) == what(b) && whom(a) == whom(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::schema::Schema;
    use crate::feature::catalogue::Catalogue;
    use crate::rules::directory::SourceFile;

    const RULES: &str = "default: {then: APPROVE, reason: none}
rules:
  - {id: a, when: amount > 5, then: BLOCK, reason: r, owner: o, description: d}
  - {id: b, when: amount > 6, then: REVIEW, reason: r, owner: o, description: d, state: shadow}
  - {id: c, when: amount > 7, then: REVIEW, reason: r, owner: o, description: d, state: draft}
";

    fn set(text: &str, schema: &Schema) -> RuleSet {
        let file = SourceFile { name: "default.yaml".to_owned(), text: text.to_owned() };
        RuleSet::from_files(&[file], schema).unwrap()
    }

    #[test]
    fn a_rule_keeps_its_counts_while_it_asks_for_the_same() {
        let catalogue = format!("{}/models/features.yaml", env!("CARGO_MANIFEST_DIR"));
        let schema = Catalogue::load(catalogue.as_ref()).unwrap().schema;
        let at = |ms| EventTime::from_unix_millis(ms).unwrap();
        let old = set(RULES, &schema);
        let before = RuleCounts::new(&old, at(1));
        let hit = |position, is_shadow, has_decided| CountedHit { position, is_shadow, has_decided };
        before.count([hit(0, false, true), hit(1, true, false)], at(20));
        before.count([hit(0, false, false)], at(10));
        before.count([], at(30));
        let numbers = |counts: &RuleCounts, position: usize, state| {
            let it = counts.of(position, state).unwrap();
            (it.since.unix_millis(), it.evaluated, it.hits, it.decided, it.shadow_hits)
        };
        assert_eq!(numbers(&before, 0, State::Live), (1, 3, 2, 1, 0));
        assert_eq!(before.of(0, State::Live).unwrap().last_hit, Some(at(20)));
        assert_eq!(numbers(&before, 1, State::Shadow), (1, 3, 0, 0, 1));
        assert_eq!(numbers(&before, 2, State::Draft), (1, 0, 0, 0, 0));
        assert_eq!(before.of(2, State::Draft).unwrap().last_hit, None);
        // What is changed in the rule `a`, and whether it goes on.
        let facts = [
            ("owner: o", "owner: p", true),
            ("description: d", "description: e", true),
            (
                "rules:\n",
                "rules:\n  - {id: z, when: amount > 1, then: BLOCK, reason: r, owner: o, description: d}\n",
                true,
            ),
            ("amount > 5", "amount > 8", false),
            ("then: BLOCK", "then: REVIEW", false),
            ("reason: r", "reason: s", false),
            ("owner: o", "owner: o, state: shadow", false),
            ("owner: o", "owner: o, priority: 1", false),
            ("owner: o", "owner: o, rollout: {percent: 5, by: customer.id}", false),
            ("owner: o", "owner: o, expires: 2027-01-01", false),
            ("id: a", "id: y", false),
        ];
        for (from, to, is_kept) in facts {
            let new = set(&RULES.replacen(from, to, 1), &schema);
            let after = before.following(&old, &new, at(40));
            let position = new.rules().iter().position(|rule| matches!(&*rule.id, "a" | "y")).unwrap();
            let expected = if is_kept { (1, 3, 2, 1, 0) } else { (40, 0, 0, 0, 0) };
            assert_eq!(numbers(&after, position, State::Live), expected, "{from} -> {to}");
        }
        // A decision that is still under way when its policy is replaced.
        let after = before.following(&old, &old, at(50));
        before.count([hit(0, false, true)], at(60));
        assert_eq!(numbers(&after, 0, State::Live), (1, 4, 3, 2, 0));
    }
}
