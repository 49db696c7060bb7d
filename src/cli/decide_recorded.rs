//! `tollgate decide --data DIR --id ID`: a recorded decision, made again from what it saw, and explained.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::bail;
use serde_json::json;

use crate::audit::record::DecisionRecord;
use crate::cli::args::DecideArgs;
use crate::cli::decide::{as_json, as_written, print_reasons, score_in_words};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{explain, log_search, progress};
use crate::domain::transaction::Transaction;
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::evaluation::again;
use crate::evaluation::standing::{ListsThen, lists_then};
use crate::pipeline::start::LOG_DIRECTORY;
use crate::search::find::Found;

/// Finds, decides and shows every one. What cannot be decided again is told on standard error, and the rest is shown all the same.
pub fn run(args: &DecideArgs, policy: &Policy, data: &Path) -> anyhow::Result<()> {
    let log = data.join(LOG_DIRECTORY);
    let interrupt = Interrupt::listen();
    let go_on = || if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let search = log_search::open(data)?;
    let bar = progress::things("search", None);
    let found = search.searcher.find(&search.stretches, &args.id, |scanned| {
        bar.set_position(scanned);
        go_on()
    });
    bar.finish_and_clear();
    let mut wrong = 0;
    for (id, found) in args.id.iter().zip(found?) {
        let shown = match &found {
            None => Err(anyhow::anyhow!(
                "{id}: no decision with this id, and none of a transaction with this id, is in {}{}",
                log.display(),
                log_search::elsewhere(data)
            )),
            Some(found) => show_one(args, policy, &log, found, go_on),
        };
        if let Err(error) = shown {
            wrong += 1;
            eprintln!("{error:#}");
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} decisions could not be decided again", args.id.len());
    }
    Ok(())
}

fn show_one(
    args: &DecideArgs,
    policy: &Policy,
    log: &Path,
    found: &Found,
    go_on: impl Fn() -> ControlFlow<()>,
) -> anyhow::Result<()> {
    let record = &found.record;
    if let Some(why) = found.unreadable {
        bail!(
            "{}: record {} of {}: {why}; it was answered {}  {}  {}, and is not decided again",
            found.id,
            found.sequence,
            found.recorded_at,
            record.answer.decision.name(),
            record.answer.reason,
            score_in_words(record.answer.score)
        );
    }
    let features = match again::vector(policy, record) {
        Ok(features) => features,
        Err(error) => bail!(
            "{}: {error}: the record needs the catalogue {}, and this one is {}; name the file of then with --features, and rules and model \
             that fit it",
            found.id,
            record.answer.versions.features,
            policy.catalogue.sha256
        ),
    };
    let transaction = record.transaction()?;
    let bar = progress::things("lists", Some(found.sequence));
    let lists = lists_then(log, policy, found.sequence, record, |sequence| {
        bar.set_position(sequence);
        go_on()
    });
    bar.finish_and_clear();
    let ControlFlow::Continue(lists) = lists? else { bail!("interrupted") };
    let judgement = again::decide(
        policy,
        &transaction,
        &features,
        &record.enrichment,
        record.ip.clone(),
        &lists.deciding,
        again::effort(record),
    );
    let shown = Shown { found, transaction: &transaction, judgement: &judgement, lists: &lists };
    if args.json {
        shown.say_json(args, policy);
    } else {
        shown.say_text(args, policy);
    }
    Ok(())
}

struct Shown<'a> {
    found: &'a Found,
    transaction: &'a Transaction,
    judgement: &'a Judgement,
    lists: &'a ListsThen,
}

impl Shown<'_> {
    fn say_json(&self, args: &DecideArgs, policy: &Policy) {
        let Self { found, transaction, judgement, lists } = self;
        let Found { sequence, recorded_at, record, .. } = found;
        let differs = again::differing(record, judgement);
        let mut answer = json!({
            "decision_id": record.answer.decision_id, "transaction_id": record.answer.transaction_id,
            "sequence": sequence, "recorded_at": recorded_at.to_string(),
            "recorded": as_written(&record.answer), "again": as_json(policy, transaction, judgement),
            "same": differs.is_empty(), "differs": differs,
        });
        if let Some(note) = &lists.note {
            answer["lists_note"] = json!(note);
        }
        if args.explain {
            answer["explanation"] = explain::as_json(policy, transaction, judgement, &lists.explaining);
        }
        say!("{answer}");
    }

    fn say_text(&self, args: &DecideArgs, policy: &Policy) {
        let Self { found, transaction, judgement, lists } = self;
        let Found { sequence, recorded_at, record, .. } = found;
        let answer = &record.answer;
        say!(
            "{}  transaction {}  record {sequence} of {recorded_at}",
            answer.decision_id,
            answer.transaction_id
        );
        let line = |what: &str, outcome: &str, reason: &str, score: Option<f32>| {
            say!("    {what:<14} {outcome}  {reason}  {}", score_in_words(score));
        };
        line("recorded", answer.decision.name(), &answer.reason, answer.score);
        line("decided again", judgement.outcome.name(), &judgement.reason, judgement.score);
        for (what, then, now) in other_versions(policy, record) {
            say!("    other {what}: {then} then, {now} now");
        }
        match again::differing(record, judgement).as_slice() {
            [] => say!("    the same, bit for bit"),
            parts => say!("    different in: {}", parts.join(", ")),
        }
        if let Some(note) = &lists.note {
            say!("    lists: {note}");
        }
        print_reasons(policy, judgement);
        if args.explain {
            explain::print(policy, transaction, judgement, &lists.explaining);
        }
    }
}

/// What of the policy is not what decided then.
fn other_versions<'a>(
    policy: &'a Policy,
    record: &'a DecisionRecord,
) -> impl Iterator<Item = (&'static str, &'a str, &'a str)> {
    let (now, then) = (&policy.versions, &record.answer.versions);
    let name = |model: &'a Option<Box<str>>| model.as_deref().unwrap_or("none");
    let parts = [("rules", &*then.rules, &*now.rules), ("model", name(&then.model), name(&now.model))];
    parts.into_iter().filter(|(_, then, now)| then != now)
}
