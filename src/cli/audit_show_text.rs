//! A record as an auditor reads it.

use serde_json::Value;

use crate::audit::record::{self, DecisionRecord, LabelRecord};
use crate::audit::review_record::ReviewRecord;
use crate::cli::output::say;
use crate::domain::decision::{Reason, ReasonSource};
use crate::feature::catalogue::Catalogue;
use crate::search::dossier::{Dossier, Later};

/// How many features are shown that moved the score.
const MOVED_SHOWN: usize = 12;

/// Prints it; values of features with their names where `catalogue` is the one of then.
pub(super) fn print(dossier: &Dossier, catalogue: Option<&Catalogue>) -> anyhow::Result<()> {
    if dossier.kind != "decision" {
        say!("{}  record {} of {}", dossier.kind, dossier.sequence, dossier.recorded_at);
        title("What was recorded");
        fields(&serde_json::from_str(dossier.body.get())?, "");
        place(dossier);
        return Ok(());
    }
    let body: Value = serde_json::from_str(dossier.body.get())?;
    if let Some(why) = body.get("unreadable").and_then(Value::as_str) {
        let why = if why == "erased" { "erased on request" } else { "not readable: its key is not there" };
        say!("decision  record {} of {}", dossier.sequence, dossier.recorded_at);
        say!("    its personal data was {why}; this is what is left");
        title("What is left");
        fields(&body, "");
        later(dossier)?;
        place(dossier);
        return Ok(());
    }
    let decided: DecisionRecord = record::decode(dossier.body.get().as_bytes())?;
    let answer = &decided.answer;
    let score = answer.score.map_or_else(|| "no score".to_owned(), |score| format!("score {score:.6}"));
    say!("{}  {}  {}", answer.decision_id, answer.decision, answer.reason);
    say!("    {score}, risk {}", word(&answer.risk_level));
    say!("    transaction {}, record {} of {}", answer.transaction_id, dossier.sequence, dossier.recorded_at);
    if decided.repeat {
        say!("    decided before under another idempotency key: counted once");
    }

    title("What came in");
    fields(&serde_json::from_str(decided.transaction.get())?, "");

    title("What was known");
    let catalogue = catalogue.filter(|it| it.sha256 == answer.versions.features);
    known(&decided, catalogue)?;

    title("Why");
    answer.reasons.iter().for_each(reason);
    for hit in &decided.hits {
        let watching = if hit.shadow { ", only watching" } else { "" };
        say!("    rule {} matched{watching}", hit.rule);
        for (name, value) in &hit.values {
            say!("        {name} = {}", serde_json::to_string(value)?);
        }
    }
    if decided.hits_left_out > 0 {
        say!("    and {} more rules matched", decided.hits_left_out);
    }
    moved(&decided, catalogue);

    later(dossier)?;

    title("By what it was decided");
    say!("    policy    {}", decided.policy);
    say!("    rules     {}", answer.versions.rules);
    say!("    model     {}", answer.versions.model.as_deref().unwrap_or("none"));
    say!("    features  {}", answer.versions.features);
    let times = serde_json::to_value(decided.latency_us)?;
    let times = times.as_object().into_iter().flatten().map(|(stage, us)| format!("{stage} {us}"));
    say!("    took, in microseconds: {}", times.collect::<Vec<_>>().join(", "));
    say!("    tollgate decide --data DIR --id {} --explain decides it again", answer.decision_id);
    place(dossier);
    Ok(())
}

fn later(dossier: &Dossier) -> anyhow::Result<()> {
    title("What became known later");
    if dossier.labels.is_empty() && dossier.reviews.is_empty() {
        say!("    nothing");
    }
    dossier.labels.iter().try_for_each(label)?;
    dossier.reviews.iter().try_for_each(review)
}

fn title(text: &str) {
    say!("\n{text}");
}

/// Where it stands in the chain.
fn place(dossier: &Dossier) {
    title("Where it stands");
    say!("    log       {}", dossier.log);
    say!("    record    {}", dossier.sequence);
    say!("    hash      {}", dossier.hash);
    say!("    follows   {}", dossier.previous_hash);
    say!("    file      {:020}.log at byte {}", dossier.segment, dossier.offset);
}

/// Every value with its path: `card.bin = 42424242`.
fn fields(value: &Value, path: &str) {
    match value {
        Value::Object(parts) => {
            for (name, part) in parts {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(part, &path);
            }
        }
        Value::String(text) => say!("    {path} = {text}"),
        other => say!("    {path} = {other}"),
    }
}

/// A value's name in JSON.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

fn known(decided: &DecisionRecord, catalogue: Option<&Catalogue>) -> anyhow::Result<()> {
    match catalogue {
        None => say!(
            "    {} values of features and {} of profiles, whose names the catalogue {} has: name it with --features",
            decided.features.len(),
            decided.enrichment.0.len(),
            decided.answer.versions.features
        ),
        Some(catalogue) => {
            for (slot, (feature, value)) in catalogue.features.iter().zip(&decided.features).enumerate() {
                let text = decided.feature_texts.iter().find(|(it, _)| usize::from(*it) == slot);
                match (text, value) {
                    (Some((_, text)), _) => say!("    {} = {text}", feature.name),
                    (None, Some(value)) => say!("    {} = {value}", feature.name),
                    (None, None) => say!("    {} is missing", feature.name),
                }
            }
        }
    }
    if let Some(ip) = &decided.ip {
        fields(&serde_json::to_value(ip)?, "ip");
    }
    for listed in &decided.listed {
        fields(&serde_json::to_value(listed)?, "listed");
    }
    if !decided.answer.missing.is_empty() {
        say!("    missing: {}", decided.answer.missing.join(", "));
    }
    Ok(())
}

fn reason(reason: &Reason) {
    let Reason { code, source, rule, message, value, contribution } = reason;
    let message = message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    match source {
        ReasonSource::Rule => {
            say!("    {code}, by rule {}{message}", rule.as_deref().unwrap_or("?"));
        }
        ReasonSource::Model => {
            let value = value.map_or_else(|| "missing".to_owned(), |value| value.to_string());
            let effect = contribution.map_or_else(String::new, |it| format!(" {}", effect(it)));
            say!("    {code} = {value}{effect}, by the model{message}");
        }
        ReasonSource::Degraded => say!("    {code}, since something was missing{message}"),
    }
}

/// `raised the risk (+0.8100 log-odds)`.
fn effect(moved: f32) -> String {
    let verb = if moved < 0.0 { "lowered" } else { "raised" };
    format!("{verb} the risk ({moved:+.4} log-odds)")
}

/// The features that moved the score most.
fn moved(decided: &DecisionRecord, catalogue: Option<&Catalogue>) {
    let Some(catalogue) = catalogue else { return };
    let mut moved = decided.contributions.clone();
    moved.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    if let (Some(bias), false) = (decided.bias, moved.is_empty()) {
        say!("    of all features, those that moved the score most, from {bias:+.4}:");
    }
    for (slot, contribution) in moved.into_iter().take(MOVED_SHOWN) {
        let slot = usize::from(slot);
        let Some(feature) = catalogue.features.get(slot) else { continue };
        let value = decided.features.get(slot).copied().flatten();
        let value = value.map_or_else(|| "missing".to_owned(), |value| value.to_string());
        let words = feature.words.as_deref().map_or_else(String::new, |words| format!(" ({words})"));
        say!("        {}{words} = {value} {}", feature.name, effect(contribution));
    }
}

fn label(later: &Later) -> anyhow::Result<()> {
    let label = record::decode::<LabelRecord>(later.body.get().as_bytes())?.label()?;
    let code =
        label.reason_code.as_ref().map_or_else(String::new, |code| format!(", code {}", code.as_str()));
    say!(
        "    label: {} by {} of {}{code}  (record {})",
        word(&label.verdict),
        word(&label.kind),
        label.occurred_at,
        later.sequence
    );
    Ok(())
}

fn review(later: &Later) -> anyhow::Result<()> {
    let review: ReviewRecord = record::decode(later.body.get().as_bytes())?;
    let who = review.analyst.as_ref().map_or_else(String::new, |who| format!(", {who}"));
    let replaces = review.replaces.map_or_else(String::new, |it| format!(", in place of record {it}"));
    say!(
        "    review: {} of {} by {}{who}{replaces}: {}  (record {})",
        word(&review.verdict),
        review.occurred_at,
        review.by,
        review.note,
        later.sequence
    );
    Ok(())
}
