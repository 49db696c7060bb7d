//! `tollgate audit forward`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::audit::follow::Place;
use crate::audit::reader::LogReader;
use crate::audit::receipt::{Head, LogId};
use crate::audit::segment::{LogLock, list_segments};
use crate::cli::forward_targets;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::policy::settings;
use crate::cli::progress;
use crate::forward::cursors::place_file;
use crate::forward::dead_letters::DeadLetters;
use crate::forward::forwarding;
use crate::forward::replay::replay;
use crate::forward::settings::TargetSettings;
use crate::pipeline::start::LOG_DIRECTORY;

/// `tollgate audit forward`
#[derive(Args, Debug)]
#[command(
    after_help = "Without a further flag it prints how far each target of [[forward]] has come, how many records of the log are left, and how many dead letters there are.\n\nExamples:\n  tollgate audit forward\n  The target `risk` refused records that were too long for it; its bound, and message_bytes_max, have been raised. The service may be running:\n    tollgate audit forward --replay-dead risk\n  A consumer of `lake` has lost what it had; send everything from record 88123 on once more. The service must not be running:\n    tollgate audit forward --target lake --from 88123\n\nWhat comes again carries the same id as before. A Redis stream that still holds a record is not given it a second time."
)]
pub struct AuditForwardArgs {
    /// Settings file; without it tollgate.toml in the working directory.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the service [default: that of the settings].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print how far each target has come; the same as no flag at all.
    #[arg(long, conflicts_with_all = ["replay_dead", "from"])]
    pub status: bool,
    /// Send the dead letters of that target again, behind what it has; those that it refuses again are kept.
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    pub replay_dead: Option<String>,
    /// Have the next start of the service send everything from that sequence on.
    #[arg(long, value_name = "SEQUENCE", requires = "target")]
    pub from: Option<u64>,
    /// Which target goes back.
    #[arg(long, value_name = "NAME", requires = "from")]
    pub target: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(args: &AuditForwardArgs) -> anyhow::Result<()> {
    let config = settings(args.config.as_deref())?;
    let targets = forward_targets::all(&config.forward)?;
    let data = args.data.as_ref().unwrap_or(&config.paths.data);
    if let Some(name) = &args.replay_dead {
        replay_dead(find(&targets, name)?, data, args.json)
    } else if let (Some(from), Some(name)) = (args.from, &args.target) {
        go_back(find(&targets, name)?, data, from, args.json)
    } else {
        status(&targets, data, args.json)
    }
}

fn find<'a>(targets: &'a [TargetSettings], name: &str) -> anyhow::Result<&'a TargetSettings> {
    let Some(target) = targets.iter().find(|target| target.name.as_str() == name) else {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        bail!(
            "the settings have no target of forwarding with the name {name}; there are: [{}]",
            names.join(", ")
        );
    };
    Ok(target)
}

/// The id of the log, and its last record.
fn head(data: &Path) -> anyhow::Result<(LogId, Head)> {
    let directory = data.join(LOG_DIRECTORY);
    let context = || format!("{}: no log to read", directory.display());
    let newest = list_segments(&directory).with_context(context)?.last().copied().with_context(context)?;
    let mut reader = LogReader::from_sequence(&directory, newest)?;
    while reader.next()?.is_some() {}
    Ok((reader.log_id(), reader.head()))
}

fn status(targets: &[TargetSettings], data: &Path, is_json: bool) -> anyhow::Result<()> {
    if targets.is_empty() && !is_json {
        say!("the settings name no target ([[forward]]): the log is not forwarded");
        return Ok(());
    }
    let (log, head) = head(data)?;
    let mut lines = Vec::new();
    for target in targets {
        let file = place_file(data, &target.name);
        let place = Place::read(&file).with_context(|| format!("{}: cannot be read", file.display()))?;
        let done = place.filter(|place| place.log == log.to_string()).map(|place| place.sequence);
        let letters = DeadLetters::of(data, &target.name).count()?;
        let lag = head.sequence.saturating_sub(done.unwrap_or(0));
        let place = target.destination.to_string();
        lines.push(json!({
            "name": target.name.as_str(), "place": place, "done": done, "lag_records": lag, "dead_letters": letters.letters,
            "dead_letter_bytes": letters.bytes,
        }));
        if !is_json {
            let done = done.map_or("has not begun".to_owned(), |done| format!("up to record {done}"));
            say!("{}: {done}, {lag} records behind, {} dead letters; {place}", target.name, letters.letters);
        }
    }
    if is_json {
        say!("{}", json!({"log": log, "head": head.sequence, "targets": lines}));
    }
    Ok(())
}

fn replay_dead(target: &TargetSettings, data: &Path, is_json: bool) -> anyhow::Result<()> {
    let (log, _) = head(data)?;
    let letters = DeadLetters::of(data, &target.name);
    let mut sink = forwarding::sink(target, log)?;
    let bar = progress::things("replay", Some(letters.count()?.letters));
    let interrupt = Interrupt::listen();
    let replayed = replay(&letters, &mut *sink, || {
        bar.inc(1);
        !interrupt.is_set()
    });
    bar.finish_and_clear();
    let replayed = replayed.with_context(|| target.destination.to_string())?;
    if is_json {
        say!("{}", serde_json::to_string(&replayed)?);
    } else {
        say!("{} dead letters sent, {} refused again and kept", replayed.sent, replayed.left);
        if let Some(reason) = &replayed.reason {
            say!("the last of these: {reason}");
        }
    }
    if interrupt.is_set() {
        bail!("interrupted: the other dead letters are kept");
    }
    Ok(())
}

fn go_back(target: &TargetSettings, data: &Path, from: u64, is_json: bool) -> anyhow::Result<()> {
    let directory = data.join(LOG_DIRECTORY);
    let (log, head) = head(data)?;
    let _lock = LogLock::take(&directory).context("end the service first: it would note its own place")?;
    if !(1..=head.sequence + 1).contains(&from) {
        bail!("--from must be from 1 to {}: the log ends with record {}", head.sequence + 1, head.sequence);
    }
    forwarding::make_directory(data)?;
    let file = place_file(data, &target.name);
    // Without a mark, nothing counts as lost that a stream does not hold.
    let place = Place { log: log.to_string(), sequence: from - 1, mark: None };
    place.write(&file).with_context(|| format!("{}: cannot be written", file.display()))?;
    if is_json {
        say!("{}", serde_json::to_string(&place)?);
    } else {
        say!("the next start of the service sends {} everything from record {from} on", target.name);
    }
    Ok(())
}
