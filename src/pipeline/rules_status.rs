//! The rules now live, with what became of them: what an analyst looks at.

use std::time::Duration;

use serde::Serialize;

use crate::domain::decision::Outcome;
use crate::domain::time::EventTime;
use crate::pipeline::rule_counts::Counts;
use crate::pipeline::service::Service;
use crate::rules::file::State;
use crate::rules::set::Rule;

/// The rules now live.
#[derive(Clone, Debug, Serialize)]
pub struct RulesStatus {
    /// Their content hash, with the lists that they name.
    pub version: Box<str>,
    /// Decisions since the start of the service, by this policy and those before it.
    pub decisions: u64,
    /// Each rule, in the order of the files.
    pub rules: Vec<RuleStatus>,
}

/// One rule now live.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// Its id.
    pub id: Box<str>,
    /// Why it exists.
    pub description: Box<str>,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
    /// Its condition as written.
    pub when: Box<str>,
    /// What it asks for.
    pub then: Outcome,
    /// The code that the answer shows.
    pub reason: Box<str>,
    /// Whether it decides.
    pub state: State,
    /// Higher wins.
    pub priority: i32,
    /// For whom it is on; for all when absent.
    pub rollout: Option<RolloutStatus>,
    /// The first day (UTC, of a transaction) on which it is on.
    pub starts: Option<String>,
    /// The last day (UTC, of a transaction) on which it is on.
    pub expires: Option<String>,
    /// How many in-file tests it has.
    pub tests: usize,
    /// The file that it stands in.
    pub file: Box<str>,
    /// The line there, counted from 1.
    pub line: usize,
    /// How often it matched.
    pub counts: CountsStatus,
}

/// For which share of the values of which name a rule is on.
#[derive(Clone, Debug, Serialize)]
pub struct RolloutStatus {
    /// The share in percent.
    pub percent: f64,
    /// The name.
    pub by: Box<str>,
}

/// What became of a rule since its counts began: at the start, or when a reload changed what it asks for.
#[derive(Clone, Debug, Serialize)]
pub struct CountsStatus {
    /// Since when, in RFC 3339.
    pub since: String,
    /// How many decisions asked it; 0 for a draft or a paused one.
    pub evaluated: u64,
    /// How often it matched while live.
    pub hits: u64,
    /// In how many of these it decided.
    pub decided: u64,
    /// How often it matched while it only watched.
    pub shadow_hits: u64,
    /// When a payment came that it matched last, in RFC 3339.
    pub last_hit: Option<String>,
}

impl From<Counts> for CountsStatus {
    fn from(counts: Counts) -> Self {
        let Counts { since, evaluated, hits, decided, shadow_hits, last_hit } = counts;
        let last_hit = last_hit.map(|at| at.to_string());
        Self { since: since.to_string(), evaluated, hits, decided, shadow_hits, last_hit }
    }
}

impl RuleStatus {
    fn new(rule: &Rule, counts: Counts) -> Self {
        let day = |at: EventTime| at.to_string().chars().take(10).collect();
        Self {
            id: rule.id.clone(),
            description: rule.description.clone(),
            owner: rule.owner.clone(),
            when: rule.when.clone(),
            then: rule.then,
            reason: rule.reason.clone(),
            state: rule.state,
            priority: rule.priority,
            rollout: rule
                .rollout
                .as_ref()
                .map(|rollout| RolloutStatus { percent: rollout.percent(), by: rollout.by().into() }),
            starts: rule.starts.map(day),
            // The first moment at which it is off again is the one after its last day.
            expires: rule.ends.map(|ends| day(ends.minus(Duration::from_millis(1)))),
            tests: rule.tests,
            file: rule.file.clone(),
            line: rule.place.line,
            counts: counts.into(),
        }
    }
}

impl Service {
    /// The rules now live.
    pub fn rules_status(&self) -> RulesStatus {
        let live = self.policies.live();
        let rules = live.policy.rules.rules().iter().enumerate().filter_map(|(position, rule)| {
            live.counts.of(position, rule.state).map(|counts| RuleStatus::new(rule, counts))
        });
        RulesStatus {
            version: live.policy.versions.rules.clone(),
            decisions: live.counts.decisions(),
            rules: rules.collect(),
        }
    }
}
