//! Which parts of a condition keep it from ever matching, in words.

use crate::expr::explain::conjuncts;
use crate::expr::node::BoolNode;
use crate::expr::program::Program;
use crate::rules::lint::clause::clauses;
use crate::rules::lint::known::Known;
use crate::rules::lint::run::Background;
use crate::rules::set::{Rule, RuleSet};

/// Most parts of a condition that are held against each other in pairs.
const PARTS_MAX: usize = 32;

/// Why a condition that has no clauses has none: one part that never holds, or the first two that exclude each other.
pub(super) fn why_never(set: &RuleSet, rule: &Rule, known: &Known, background: &Background<'_>) -> String {
    let mut schema = set.schema().clone();
    let parts: Vec<(&str, Program)> = conjuncts(&rule.when)
        .into_iter()
        .filter_map(|part| Some((part, Program::compile_condition(part, &mut schema).ok()?)))
        .take(PARTS_MAX)
        .collect();
    let node = |program: &Program| program.condition().cloned();
    for (part, program) in &parts {
        if node(program).is_some_and(|node| clauses(&node, true, known).is_empty()) {
            return format!(
                "never matches: `{}` never holds{}",
                in_one_line(part),
                range_of(program, background)
            );
        }
    }
    for (at, (one, first)) in parts.iter().enumerate() {
        for (other, second) in &parts[at + 1..] {
            let (Some(a), Some(b)) = (node(first), node(second)) else { continue };
            if clauses(&BoolNode::All(Box::new([a, b])), true, known).is_empty() {
                return format!(
                    "never matches: `{}` and `{}` exclude each other",
                    in_one_line(one),
                    in_one_line(other)
                );
            }
        }
    }
    "never matches: its parts exclude each other".to_owned()
}

fn in_one_line(part: &str) -> String {
    part.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is known of the values of the only name that a part reads.
fn range_of(program: &Program, background: &Background<'_>) -> String {
    let [read] = program.reads() else { return String::new() };
    match background.ranges.iter().find(|(name, _, _)| *name == read.name) {
        Some((name, lowest, highest)) if highest.is_finite() => {
            format!(", since `{name}` lies from {lowest} to {highest}")
        }
        Some((name, lowest, _)) => format!(", since `{name}` is never below {lowest}"),
        None => String::new(),
    }
}
