//! `tollgate check`

use std::collections::HashMap;

use anyhow::{Context, bail};

use crate::cli::args::CheckArgs;
use crate::cli::output::say;
use crate::cli::policy::{files, settings};
use crate::domain::time::{Clock, SystemClock};
use crate::engine::doubts::ranges;
use crate::engine::mistake::Mistake;
use crate::engine::policy::Policy;
use crate::ip::files::IpError;
use crate::ip::knowledge::IpKnowledge;
use crate::offline::recorded_traffic::{RecordedTraffic, recorded};
use crate::pipeline::start::LOG_DIRECTORY;
use crate::rules::lint::run::{Background, lint_with};
use crate::rules::lint::traffic::{TRANSACTIONS_MIN, Traffic};
use crate::rules::problem::{Kind, Place, Problem};

/// Runs it.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let config = settings(args.policy.config.as_deref())?;
    let files = files(&args.policy, &config);
    let policy = Policy::check(&files, config.on_missing.policy())
        .map_err(|mistakes| mistakes.iter().map(Mistake::problem).collect::<Vec<_>>());
    let ip = IpKnowledge::load(&config.ip.settings().files)
        .map_err(|errors| errors.iter().map(of_ip).collect::<Vec<_>>());
    let policy = match (policy, ip) {
        (Ok(policy), Ok(_)) => policy,
        (policy, ip) => {
            let problems: Vec<Problem> = [policy.err(), ip.err()].into_iter().flatten().flatten().collect();
            if args.json {
                say!("{:#}", serde_json::json!({"sound": false, "errors": problems, "warnings": []}));
            } else {
                problems.iter().for_each(|problem| eprintln!("{problem}"));
            }
            bail!("the policy is not sound: {} errors", problems.len());
        }
    };
    let traffic = traffic(args, &policy)?;
    let warnings = warnings(&policy, traffic.as_ref().map(|it| &it.traffic));
    if args.json {
        report_json(&policy, traffic.as_ref(), &warnings);
    } else {
        report(&policy, traffic.as_ref(), &warnings);
    }
    if args.deny_warnings && !warnings.is_empty() {
        bail!("{} warnings, and warnings are denied", warnings.len());
    }
    Ok(())
}

/// What is wrong with a file about addresses.
fn of_ip(error: &IpError) -> Problem {
    let problem = Problem::error(error.file.display().to_string(), &error.message);
    let line = error.line.and_then(|line| usize::try_from(line).ok());
    Problem { place: line.map(|line| Place { line, column: 1, width: 1 }), ..problem }
        .of(if error.line.is_some() { Kind::InvalidList } else { Kind::Unreadable })
}

fn traffic(args: &CheckArgs, policy: &Policy) -> anyhow::Result<Option<RecordedTraffic>> {
    let Some(data) = &args.traffic else { return Ok(None) };
    let directory = data.join(LOG_DIRECTORY);
    let traffic = recorded(&directory, policy, args.last)
        .with_context(|| format!("{}: recorded decisions cannot be read", directory.display()))?;
    Ok(Some(traffic))
}

/// All warnings, each with the line that it points at.
fn warnings(policy: &Policy, traffic: Option<&Traffic>) -> Vec<Problem> {
    let ranges = ranges(&policy.catalogue);
    let background = Background { at: SystemClock.now(), ranges: &ranges, traffic };
    let of_models = policy.catalogue_warnings().into_iter().map(|message| {
        let (model, message) =
            message.split_once(": ").map_or(("models", &*message), |(model, rest)| (model, rest));
        Problem::error(model, message).of(Kind::OtherCatalogue).warning()
    });
    let of_rules = policy.rules.warnings().iter().cloned().chain(lint_with(&policy.rules, background));
    let mut texts: HashMap<String, String> = HashMap::new();
    let with_line = |problem: Problem| match problem.place {
        Some(place) if problem.source_line.is_none() => {
            let text = texts
                .entry(problem.file.clone())
                .or_insert_with_key(|file| std::fs::read_to_string(file).unwrap_or_default());
            problem.at(place, text)
        }
        _ => problem,
    };
    of_rules.map(with_line).chain(of_models).collect()
}

fn report_json(policy: &Policy, recorded: Option<&RecordedTraffic>, warnings: &[Problem]) {
    let rules = policy.rules.rules();
    let tests: usize = rules.iter().map(|rule| rule.tests).sum();
    let mut result = serde_json::json!({
        "sound": true, "policy": policy.hash, "versions": policy.versions,
        "challengers": policy.challenger_versions(), "features": policy.catalogue.features.len(),
        "rules": rules.len(), "tests": tests, "errors": [], "warnings": warnings,
    });
    if let Some(RecordedTraffic { traffic, lists_note }) = recorded {
        result["traffic"] =
            serde_json::json!({"decisions": traffic.transactions(), "with_features": traffic.judged()});
        if let Some(note) = lists_note {
            result["traffic"]["lists_note"] = serde_json::json!(note);
        }
    }
    say!("{result:#}");
}

fn report(policy: &Policy, recorded: Option<&RecordedTraffic>, warnings: &[Problem]) {
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    let rules = policy.rules.rules();
    let tests: usize = rules.iter().map(|rule| rule.tests).sum();
    let model = policy.model.as_ref().map_or_else(
        || "no model".to_owned(),
        |bound| format!("model {} over {} features", bound.model.name, bound.model.feature_names.len()),
    );
    let beside = match policy.challengers.len() {
        0 => String::new(),
        count => format!(", {count} beside it as challengers"),
    };
    say!(
        "sound: {} features, {model}{beside}, {} rules, {tests} tests passed, {} warnings",
        policy.catalogue.features.len(),
        rules.len(),
        warnings.len()
    );
    if let Some(RecordedTraffic { traffic, lists_note }) = recorded {
        let (decisions, judged) = (traffic.transactions(), traffic.judged());
        say!(
            "held against {decisions} recorded decisions, {judged} of them with the features of this catalogue"
        );
        if judged < TRANSACTIONS_MIN {
            say!("fewer than {TRANSACTIONS_MIN} with features say nothing about rules and features");
        }
        if let Some(note) = lists_note {
            say!("lists: {note}");
        }
    }
}
