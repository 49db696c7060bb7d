//! All checks of a set.

use std::collections::HashSet;

use crate::domain::time::EventTime;
use crate::rules::file::State;
use crate::rules::lint::clause::{Clause, always_holds, clauses};
use crate::rules::lint::doubtful::compares_doubles_for_equality;
use crate::rules::lint::exclusion::why_never;
use crate::rules::lint::known::Known;
use crate::rules::lint::ranking::{Duplicate, Examined, duplicates, never_deciding};
use crate::rules::lint::traffic::{self, Traffic};
use crate::rules::problem::{Kind, Problem, capped};
use crate::rules::set::{Rule, RuleSet};

/// What is known beside the rules.
#[derive(Clone, Copy, Debug)]
pub struct Background<'a> {
    /// The moment against which dates are held.
    pub at: EventTime,
    /// Names whose values never lie below the first or above the second number.
    pub ranges: &'a [(Box<str>, f64, f64)],
    /// What recorded transactions held.
    pub traffic: Option<&'a Traffic>,
}

/// Looks for doubtful rules by what stands in them; `at` is the moment against which dates are held.
pub fn lint(set: &RuleSet, at: EventTime) -> Vec<Problem> {
    lint_with(set, Background { at, ranges: &[], traffic: None })
}

/// Looks for doubtful rules, in the order of the files; beyond `PROBLEMS_MAX` warnings the rest are counted.
pub fn lint_with(set: &RuleSet, background: Background<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let known = Known::new(set.schema(), background.ranges);
    let written = set.rules().iter().filter(|rule| rule.state != State::Paused);
    let mut examined: Vec<Examined<'_>> = written
        .map(|rule| {
            let condition = rule.program().condition();
            let mut clauses = condition.map_or_else(Vec::new, |condition| clauses(condition, true, &known));
            if always_holds(&clauses, &known) {
                clauses = vec![Clause::default()];
            }
            Examined { rule, clauses }
        })
        .collect();
    set.rules().iter().for_each(|rule| negations(rule, &mut problems));
    for Examined { rule, clauses } in &examined {
        if clauses.is_empty() {
            problems.push(warning(rule, Kind::NeverHits, why_never(set, rule, &known, &background)));
        } else if clauses[..] == [Clause::default()] {
            let message = "matches every transaction";
            let advice = "what is decided when nothing matches stands under `default`";
            problems.push(warning(rule, Kind::AlwaysHits, message).advising(advice));
        }
        written_doubtfully(rule, &mut problems);
        dates_and_rollout(rule, background.at, &mut problems);
    }
    examined.retain(|examined| !is_over(examined.rule, background.at));
    against_each_other(&examined, &mut problems);
    if let Some(found) = background.traffic {
        traffic::lint(set, found, &mut problems);
    }
    problems.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
    capped(problems, "more")
}

fn against_each_other(examined: &[Examined<'_>], problems: &mut Vec<Problem>) {
    let same = duplicates(examined);
    for Duplicate { first, second, is_conflict } in &same {
        let (first, rule) = (examined[*first].rule, examined[*second].rule);
        let message = format!("has the same condition as `{}` ({})", first.id, place(first));
        problems.push(if *is_conflict {
            let message =
                format!("{message}, which asks for {} where this asks for {}", first.then, rule.then);
            warning(rule, Kind::ConflictingDuplicate, message).advising("leave one of them")
        } else {
            warning(rule, Kind::Duplicate, message).advising("leave one of them")
        });
    }
    let said: HashSet<(usize, usize)> = same.iter().map(|it| (it.first, it.second)).collect();
    for (position, above) in never_deciding(examined) {
        if above.iter().any(|above| said.contains(&(position, *above)) || said.contains(&(*above, position)))
        {
            continue;
        }
        let names = above.iter().map(|above| examined[*above].rule);
        let names: Vec<String> = names.map(|above| format!("`{}` ({})", above.id, place(above))).collect();
        let message = format!(
            "never decides: whenever it matches, {} matches too and ranks higher",
            names.join(" or ")
        );
        problems.push(
            warning(examined[position].rule, Kind::NeverDecides, message)
                .advising("give it a higher priority, or make it shadow"),
        );
    }
}

fn is_over(rule: &Rule, at: EventTime) -> bool {
    rule.ends.is_some_and(|ends| ends <= at)
}

fn negations(rule: &Rule, problems: &mut Vec<Problem>) {
    for name in rule.program().unguarded_negations() {
        let message = format!("`{name}` can be missing and is negated: then this rule does not match either");
        let advice = format!("say what you mean with has({name})");
        problems.push(warning(rule, Kind::NegatedMissing, message).advising(advice));
    }
}

fn written_doubtfully(rule: &Rule, problems: &mut Vec<Problem>) {
    let Some(condition) = rule.program().condition() else { return };
    if compares_doubles_for_equality(condition) {
        let message = "asks whether two doubles are the same, which sums and shares seldom are";
        problems.push(
            warning(rule, Kind::DoubleEquality, message).advising("give a range: x > 0.29 && x < 0.31"),
        );
    }
}

fn dates_and_rollout(rule: &Rule, at: EventTime, problems: &mut Vec<Problem>) {
    if is_over(rule, at) {
        let message = "has expired and never matches";
        problems.push(warning(rule, Kind::Expired, message).advising("remove it or give it a new date"));
    }
    if rule.rollout.as_ref().is_some_and(|rollout| rollout.percent() == 0.0) {
        let message = "has a rollout of 0 percent and never matches";
        problems.push(warning(rule, Kind::NoRollout, message).advising("make it shadow or paused"));
    }
}

fn place(rule: &Rule) -> String {
    format!("{}:{}", rule.file, rule.place.line)
}

pub(super) fn warning(rule: &Rule, kind: Kind, message: impl Into<String>) -> Problem {
    let mut problem = Problem::error(&*rule.file, message).of(kind).about(Some(&rule.id)).warning();
    problem.place = Some(rule.place);
    problem
}
