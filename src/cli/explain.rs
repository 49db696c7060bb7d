//! `tollgate decide --explain`: what the rules saw, for people and as data.

use serde_json::{Value as Json, json};

use crate::cli::output::say;
use crate::domain::transaction::Transaction;
use crate::engine::explain;
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::expr::explain::{Explanation, Join, Threshold};
use crate::expr::program::Scalar;
use crate::rules::explain::{Explained, Matched, NearMiss, Off};
use crate::rules::run_time::RunTimeLists;
use crate::rules::set::Rule;

/// How many features are shown.
const FEATURES_SHOWN: usize = 10;

/// Prints it: hits, rules that were off, near misses, and the features that moved the score most.
pub fn print(policy: &Policy, transaction: &Transaction, judgement: &Judgement, standing: &RunTimeLists) {
    let found = explain::explain(policy, transaction, judgement, standing);
    for hit in &found.hits {
        let watching = if hit.live { "" } else { ", only watching" };
        say!("    hit: {} asks for {}{watching}", hit.rule.id, hit.rule.then);
        tree(&hit.condition, 2);
    }
    for matched in &found.off {
        say!("    off: {} matched{}", matched.rule.id, off_in_words(matched));
        tree(&matched.condition, 2);
    }
    for miss in &found.near_misses {
        let watching = if miss.live { "" } else { ", only watching" };
        let threshold = miss.threshold.as_ref().or(miss.failed.threshold.as_ref());
        say!(
            "    near miss: {} would ask for {}{watching}; 1 of {} parts did not hold{}",
            miss.rule.id,
            miss.rule.then,
            miss.conjuncts,
            threshold.map_or_else(String::new, |it| format!(": {}", in_words(it)))
        );
        tree(&miss.condition, 2);
    }
    if found.near_misses_total > found.near_misses.len() {
        say!("    and {} more near misses", found.near_misses_total - found.near_misses.len());
    }
    for (name, value, moved) in moved(policy, judgement) {
        say!("    {moved:+.4}  {name} = {value}");
    }
}

/// The same as data.
pub fn as_json(
    policy: &Policy,
    transaction: &Transaction,
    judgement: &Judgement,
    standing: &RunTimeLists,
) -> Json {
    let Explained { hits, off, near_misses, near_misses_total } =
        explain::explain(policy, transaction, judgement, standing);
    let moved = moved(policy, judgement)
        .map(|(name, value, moved)| json!({"feature": name, "value": value, "moved": moved}));
    json!({
        "hits": hits.iter().map(|hit| of_rule(hit.rule, hit.live, &hit.condition)).collect::<Vec<_>>(),
        "off": off.iter().map(off_as_json).collect::<Vec<_>>(),
        "near_misses": near_misses.iter().map(miss_as_json).collect::<Vec<_>>(),
        "near_misses_total": near_misses_total,
        "features": moved.collect::<Vec<_>>(),
    })
}

/// One line for each part, deeper ones further in: `[+]` held, `[-]` did not, `[?]` is missing.
fn tree(condition: &Explanation, indent: usize) {
    let mark = match condition.held {
        Some(true) => "[+]",
        Some(false) => "[-]",
        None => "[?]",
    };
    let margin = "    ".repeat(indent);
    let text = condition.text.split_whitespace().collect::<Vec<_>>().join(" ");
    match condition.join {
        Join::Term => {
            let values =
                condition.values.iter().map(|(name, value)| format!("{name} = {}", value.as_value()));
            let values: Vec<String> = values.collect();
            let gap = if values.is_empty() { "" } else { "    " };
            say!("{margin}{mark} {text}{gap}{}", values.join(", "));
        }
        Join::All => say!("{margin}{mark} all of"),
        Join::Any => say!("{margin}{mark} one of"),
        Join::Not => say!("{margin}{mark} not"),
        Join::Choice => say!("{margin}{mark} if the first, the second, else the third of"),
    }
    condition.parts.iter().for_each(|part| tree(part, indent + 1));
}

fn in_words(threshold: &Threshold) -> String {
    let Threshold { text, value, needs, bound } = threshold;
    format!("{} = {value}, needs {needs} {bound}", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn off_in_words(matched: &Matched<'_>) -> String {
    let rollout = matched.rule.rollout.as_ref();
    match (&matched.off, rollout) {
        (Some(Off::NotYet(at)), _) => format!(", but starts at {at}"),
        (Some(Off::Expired(at)), _) => format!(", but ended at {at}"),
        (Some(Off::OutsideRollout), Some(rollout)) => {
            format!(", but this {} is outside its rollout of {} percent", rollout.by(), rollout.percent())
        }
        (Some(Off::RolloutMissing), Some(rollout)) => {
            format!(", but {} is missing, by which its rollout is drawn", rollout.by())
        }
        _ => String::new(),
    }
}

fn of_rule(rule: &Rule, live: bool, condition: &Explanation) -> Json {
    json!({
        "rule": rule.id, "file": rule.file, "line": rule.place.line, "state": if live { "live" } else { "shadow" },
        "decision": rule.then, "reason": rule.reason, "condition": condition_as_json(condition),
    })
}

fn off_as_json(matched: &Matched<'_>) -> Json {
    let why = match matched.off {
        Some(Off::NotYet(_)) => "not_started",
        Some(Off::Expired(_)) => "expired",
        Some(Off::OutsideRollout) => "outside_rollout",
        Some(Off::RolloutMissing) => "rollout_value_missing",
        None => "on",
    };
    let mut shown = of_rule(matched.rule, matched.live, &matched.condition);
    shown["off_because"] = json!(why);
    shown
}

fn miss_as_json(miss: &NearMiss<'_>) -> Json {
    let mut shown = of_rule(miss.rule, miss.live, &miss.condition);
    shown["failed"] = condition_as_json(&miss.failed);
    shown["conjuncts"] = json!(miss.conjuncts);
    if let Some(threshold) = &miss.threshold {
        shown["distance"] = json!(threshold.distance());
    }
    shown
}

fn condition_as_json(condition: &Explanation) -> Json {
    let join = match condition.join {
        Join::All => "all",
        Join::Any => "any",
        Join::Not => "not",
        Join::Choice => "if",
        Join::Term => "term",
    };
    let mut shown = json!({"text": condition.text, "join": join, "held": condition.held});
    if condition.join == Join::Term {
        shown["values"] =
            condition.values.iter().map(|(name, value)| (name.to_string(), value_as_json(value))).collect();
    } else {
        shown["parts"] = condition.parts.iter().map(condition_as_json).collect();
    }
    if let Some(Threshold { text, value, needs, bound }) = &condition.threshold {
        shown["threshold"] = json!({"text": text, "value": value, "needs": needs, "bound": bound});
    }
    shown
}

fn value_as_json(value: &Scalar<'_>) -> Json {
    match value {
        Scalar::Missing => Json::Null,
        Scalar::Bool(flag) => json!(flag),
        Scalar::Int(number) => json!(number),
        Scalar::Double(number) => json!(number),
        Scalar::Text(text) => json!(text),
        Scalar::Time(_) | Scalar::Duration(_) => json!(value.as_value().to_string()),
    }
}

/// The features that moved the score most, with their values and by how much.
fn moved<'a>(policy: &'a Policy, judgement: &'a Judgement) -> impl Iterator<Item = (&'a str, String, f32)> {
    let mut moved = judgement.contributions.clone();
    moved.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    moved.into_iter().take(FEATURES_SHOWN).map(|(slot, contribution)| {
        let slot = usize::from(slot);
        let value = judgement.features.get(slot, policy.catalogue.types[slot]).to_string();
        (&*policy.catalogue.features[slot].name, value, contribution)
    })
}
