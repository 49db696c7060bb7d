//! `tollgate decide`

use std::io::Read;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::cli::args::DecideArgs;
use crate::cli::decide_recorded;
use crate::cli::explain;
use crate::cli::output::say;
use crate::cli::policy;
use crate::domain::transaction::Transaction;
use crate::engine::judge::Judgement;
use crate::engine::policy::{BoundModel, Policy};
use crate::engine::shadow;
use crate::evaluation::session::Session;
use crate::offline::input::Format;
use crate::offline::mapping::Mapping;
use crate::offline::transactions::{ReadOptions, TransactionReader};
use crate::rules::run_time::RunTimeLists;
use crate::wire::transaction::{DecisionRequest, parse_value};

/// Largest input, in bytes: for more there is `tollgate backtest`.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Runs it.
pub fn run(args: &DecideArgs) -> anyhow::Result<()> {
    let policy = policy::load(&args.policy)?;
    if let Some(data) = &args.data {
        return decide_recorded::run(args, &policy, data);
    }
    let is_json =
        args.map.is_none() && matches!(Format::of_path(&args.file), Ok((Format::Ndjson, false)) | Err(_));
    if is_json { decide_json(args, &policy) } else { decide_table(args, &policy) }
}

/// A table, or anything that a mapping explains.
fn decide_table(args: &DecideArgs, policy: &Policy) -> anyhow::Result<()> {
    let mapping = args.map.as_deref().map(Mapping::load).transpose()?;
    let options = ReadOptions { mapping: mapping.as_ref(), skip_bad_rows: false };
    let session = Session::with_ip(policy, policy::ip_knowledge(&args.policy)?);
    for row in TransactionReader::open(&args.file, options)? {
        let request = row?.request;
        print(args, policy, &request, &session.decide(&request.transaction, request.mode));
    }
    Ok(())
}

/// One JSON value after the other, with or without line ends between them: an object, or a list of objects.
fn decide_json(args: &DecideArgs, policy: &Policy) -> anyhow::Result<()> {
    let mut text = String::new();
    policy::open(&args.file)?
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("{}: cannot be read", args.file.display()))?;
    if text.len() as u64 == INPUT_BYTES_MAX {
        bail!(
            "{}: is longer than {INPUT_BYTES_MAX} bytes; use `tollgate backtest --decisions`",
            args.file.display()
        );
    }
    let session = Session::with_ip(policy, policy::ip_knowledge(&args.policy)?);
    let mut wrong = 0;
    let mut number = 0;
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Json>() {
        let value = value.with_context(|| format!("{}: not JSON", args.file.display()))?;
        let requests = match value {
            Json::Array(items) => items,
            other => vec![other],
        };
        for request in requests {
            number += 1;
            match parse_value(&request) {
                Ok(request) => {
                    let judgement = session.decide(&request.transaction, request.mode);
                    print(args, policy, &request, &judgement);
                }
                Err(rejection) => {
                    wrong += 1;
                    eprintln!("transaction {number}: {rejection}");
                }
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {number} transactions are wrong and were not decided");
    }
    if number == 0 {
        bail!("{}: holds no transaction", args.file.display());
    }
    Ok(())
}

fn print(args: &DecideArgs, policy: &Policy, request: &DecisionRequest, judgement: &Judgement) {
    let (transaction, no_lists) = (&request.transaction, RunTimeLists::default());
    if args.json {
        let mut answer = as_json(policy, transaction, judgement);
        if args.explain {
            answer["explanation"] = explain::as_json(policy, transaction, judgement, &no_lists);
        }
        say!("{answer}");
        return;
    }
    let score = score_in_words(judgement.score);
    say!("{}  {}  {}  {score}", transaction.id, judgement.outcome, judgement.reason);
    print_reasons(policy, judgement);
    if args.explain {
        explain::print(policy, transaction, judgement, &no_lists);
    }
}

/// What was decided, as data.
pub fn as_json(policy: &Policy, transaction: &Transaction, judgement: &Judgement) -> Json {
    let mut answer = json!({
        "transaction_id": transaction.id, "decision": judgement.outcome, "reason": judgement.reason,
        "reasons": as_written(&judgement.reasons), "score": as_written(&judgement.score), "risk_level": judgement.risk_level,
        "degraded": !judgement.missing.is_empty(),
        "missing": judgement.missing.iter().map(|part| part.name()).collect::<Vec<_>>(),
        "versions": policy.versions,
    });
    let beside = challengers(policy, judgement);
    if !beside.is_empty() {
        let scores = beside.iter().map(|(name, score)| json!({"name": name, "score": as_written(&score)}));
        answer["challengers"] = scores.collect();
    }
    answer
}

/// As answers and records have it: a number with as few digits as tell it from its neighbours, which a `f32` that was made a `f64` is not.
pub fn as_written<T: Serialize>(value: &T) -> Json {
    serde_json::to_string(value).and_then(|text| serde_json::from_str(&text)).unwrap_or(Json::Null)
}

/// A score for people.
pub fn score_in_words(score: Option<f32>) -> String {
    score.map_or_else(|| "no score".to_owned(), |score| format!("score {score}"))
}

/// The reasons, and what challengers say.
pub fn print_reasons(policy: &Policy, judgement: &Judgement) {
    for reason in &judgement.reasons {
        let rule = reason.rule.as_deref().map_or_else(String::new, |rule| format!(" [{rule}]"));
        let message = reason.message.as_deref().map_or_else(String::new, |message| format!(" {message}"));
        let moved = reason
            .contribution
            .map_or_else(String::new, |moved| format!(" moved the log-odds by {moved:+.3}"));
        let value = reason.value.map_or_else(String::new, |value| format!(" = {value}"));
        say!("    {}{value}{rule}{message}{moved}", reason.code);
    }
    for (name, score) in challengers(policy, judgement) {
        say!("    challenger {name}: {}", score_in_words(score));
    }
}

/// What each challenger says of it.
fn challengers<'p>(policy: &'p Policy, judgement: &Judgement) -> Vec<(&'p str, Option<f32>)> {
    let score = |bound: &BoundModel| {
        shadow::score(bound, &bound.binding.row(judgement.features.numbers())).map(|scored| scored.score)
    };
    policy.challengers.iter().map(|challenger| (&*challenger.name, score(&challenger.bound))).collect()
}
