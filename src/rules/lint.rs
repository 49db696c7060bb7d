//! Rules that work, but perhaps not as meant.

use std::collections::HashMap;

use crate::domain::time::EventTime;
use crate::rules::file::State;
use crate::rules::problem::Problem;
use crate::rules::set::{Rule, RuleSet};

/// Looks for doubtful rules; `at` is the moment against which dates are held.
pub fn lint(set: &RuleSet, at: EventTime) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: HashMap<String, &Rule> = HashMap::new();
    for rule in set.rules() {
        for name in rule.program().unguarded_negations() {
            let message = format!(
                "`{name}` can be missing and is negated: then this rule does not match either; \
                 say what you mean with has({name})"
            );
            problems.push(warning(rule, message));
        }
        if rule.state == State::Paused {
            continue;
        }
        if let Some(ends) = rule.ends
            && ends <= at
        {
            problems.push(warning(rule, "has expired and never matches; remove it or give it a new date"));
        }
        let condition: String = rule.when.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(first) = seen.get(condition.as_str()) {
            let message =
                format!("has the same condition as `{}` ({}:{})", first.id, first.file, first.place.line);
            problems.push(warning(rule, message));
        } else {
            seen.insert(condition, rule);
        }
    }
    problems
}

fn warning(rule: &Rule, message: impl Into<String>) -> Problem {
    let mut problem = Problem::error(&*rule.file, message).about(Some(&rule.id)).warning();
    problem.place = Some(rule.place);
    problem
}
